//! What changes between the module that runs and the one that shall: what of it the server does by itself, what it
//! refuses to do, and what breaks clients that were built against the old one.
//!
//! Servers from 1.6 say themselves what they will do to tables; they never mention reducers and procedures. Older
//! ones say nothing before they do it, and their own rules are repeated here.

mod functions;
mod plan_text;
mod tables;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::BTreeSet;

use serde::Serialize;

pub use self::plan_text::plan_lines;
use crate::schema::Definition;

/// Whose rules decide what needs a manual migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// 1.0 to 1.2: a column's type stays as it is.
    V1Strict,
    /// 1.3: a column's type may grow in place where its size stays the same.
    V1,
    /// 1.4 to 2.1: columns with a default may be added as well.
    V1WithDefaults,
    /// 2.2 and later: empty tables may be removed as well. From 2.7.1 unique constraints may be added.
    V2,
}

impl Rules {
    /// The rules of a server of version `major.minor`.
    pub fn of_server(major: u64, minor: u64) -> Self {
        match (major, minor) {
            (0, _) | (1, 0..=2) => Self::V1Strict,
            (1, 3) => Self::V1,
            (1, _) | (2, 0 | 1) => Self::V1WithDefaults,
            _ => Self::V2,
        }
    }

    fn allows_columns_with_default(self) -> bool {
        matches!(self, Self::V1WithDefaults | Self::V2)
    }
}

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The server does it, and clients notice nothing.
    Compatible,
    /// The server does it, and clients built against the old module fail.
    BreaksClients,
    /// The server refuses the module for it, unless the data goes.
    Manual,
}

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A table, or anything of it.
    Table,
    /// A view.
    View,
    /// Row-level security.
    Security,
    /// A reducer.
    Reducer,
    /// A procedure.
    Procedure,
    /// An HTTP route.
    Route,
}

/// One difference between two modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub subject: Subject,
    /// The name of what it is about: for anything of a table, the table's.
    pub name: String,
    /// One plain line: `table score added (public): id u64, points i64`.
    pub what: String,
    /// More about it, and why it means what it means.
    pub details: Vec<String>,
    /// What it means.
    pub severity: Severity,
}

impl Difference {
    fn new(subject: Subject, name: &str, severity: Severity, what: impl AsRef<str>) -> Self {
        Self {
            subject,
            name: name.to_owned(),
            what: in_one_line(what.as_ref()),
            details: Vec::new(),
            severity,
        }
    }

    fn with(mut self, detail: impl AsRef<str>) -> Self {
        self.details.push(in_one_line(detail.as_ref()));
        self
    }
}

/// Everything that changes from one module to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The differences: tables first, each kind by name.
    pub differences: Vec<Difference>,
}

impl Migration {
    /// Whether nothing changes but code.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// The worst there is in it.
    pub fn severity(&self) -> Option<Severity> {
        self.differences.iter().map(|difference| difference.severity).max()
    }

    /// The differences of one severity.
    pub fn of_severity(&self, severity: Severity) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |difference| difference.severity == severity)
    }

    /// What no server mentions in a plan of its own: reducers, procedures and routes.
    pub fn beyond_the_server(&self) -> impl Iterator<Item = &Difference> {
        let mentioned = [Subject::Table, Subject::View, Subject::Security];
        self.differences.iter().filter(move |difference| !mentioned.contains(&difference.subject))
    }

    /// The tables that change in any way, also those that come or go, by name.
    pub fn tables_touched(&self) -> Vec<&str> {
        let tables = self.differences.iter().filter(|difference| difference.subject == Subject::Table);
        let names: BTreeSet<&str> = tables.map(|difference| difference.name.as_str()).collect();
        names.into_iter().collect()
    }
}

/// Compares the module that runs with the one that shall.
///
/// Something with another name is something else: what was renamed is removed and added. The names of types do not
/// matter, their shape does.
pub fn compare(old: &Definition, new: &Definition, rules: Rules) -> Migration {
    let mut differences = tables::compare(&old.tables, &new.tables, rules);
    differences.extend(functions::compare_views(&old.views, &new.views));
    differences.extend(compare_security(old, new, rules));
    differences.extend(functions::compare_reducers(&old.reducers, &new.reducers));
    differences.extend(functions::compare_procedures(&old.procedures, &new.procedures));
    differences.extend(functions::compare_routes(&old.routes, &new.routes));
    Migration { differences }
}

fn compare_security(old: &Definition, new: &Definition, rules: Rules) -> Vec<Difference> {
    // A 2.x server disconnects everybody, so that nobody goes on seeing what the new rules hide.
    let severity = if rules == Rules::V2 { Severity::BreaksClients } else { Severity::Compatible };
    let difference = |sql: &String, how| {
        Difference::new(Subject::Security, sql, severity, format!("row-level security {how}: {sql}"))
    };
    let (old, new) = (&old.row_level_security, &new.row_level_security);
    let removed = old.iter().filter(|sql| !new.contains(sql)).map(|sql| difference(sql, "removed"));
    let added = new.iter().filter(|sql| !old.contains(sql)).map(|sql| difference(sql, "added"));
    removed.chain(added).collect()
}

/// Names come from a module nobody has looked at: nothing in them may steer a terminal.
fn in_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is in one of two lists, or in both under the same name.
enum Pair<'item, T> {
    Removed(&'item T),
    Added(&'item T),
    Both(&'item T, &'item T),
}

/// Both lists are in the order of their names; so is the result.
fn paired<'item, T>(old: &'item [T], new: &'item [T], name: fn(&T) -> &str) -> Vec<Pair<'item, T>> {
    let names: BTreeSet<&str> = old.iter().chain(new).map(name).collect();
    let find = |list: &'item [T], wanted: &str| list.iter().find(|item| name(item) == wanted);
    let pairs = names.into_iter().filter_map(|wanted| match (find(old, wanted), find(new, wanted)) {
        (Some(old), Some(new)) => Some(Pair::Both(old, new)),
        (Some(old), None) => Some(Pair::Removed(old)),
        (None, Some(new)) => Some(Pair::Added(new)),
        (None, None) => None,
    });
    pairs.collect()
}
