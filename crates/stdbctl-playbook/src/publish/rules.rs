//! What may be done: nothing that loses data or breaks clients without a flag of its own.

use std::collections::BTreeMap;

use super::error::PublishError;
use super::history;
use super::inquiry::ServerPlan;
use super::preview::{Consent, Operation, Preview};
use super::wish::{What, Wish};
use crate::migration::{Migration, Severity, Subject};
use crate::schema::Definition;
use crate::server::Version;

/// What the migration means, whoever said so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why the server cannot do it by itself.
    pub(super) manual: Option<String>,
    pub(super) breaks_clients: bool,
}

/// Weighs what the server says of its own migration, and what comparing the modules tells besides.
pub(super) fn weigh(server: Option<&ServerPlan>, compared: Option<&Migration>) -> Verdict {
    let breaks = |difference: &crate::migration::Difference| difference.severity == Severity::BreaksClients;
    match server {
        Some(ServerPlan::Manual { reason }) => Verdict {
            manual: Some(reason.clone()),
            breaks_clients: compared.is_some_and(|migration| migration.beyond_the_server().any(breaks)),
        },
        Some(ServerPlan::Auto { breaks_clients, .. }) => Verdict {
            manual: None,
            breaks_clients: *breaks_clients
                || compared.is_some_and(|migration| migration.beyond_the_server().any(breaks)),
        },
        None => {
            let Some(compared) = compared else { return Verdict::default() };
            let manual: Vec<_> =
                compared.of_severity(Severity::Manual).map(|difference| difference.what.as_str()).collect();
            Verdict {
                manual: (!manual.is_empty()).then(|| manual.join("; ")),
                breaks_clients: compared.differences.iter().any(breaks),
            }
        }
    }
}

/// What servers of this version are known to fail at although they plan it.
pub(super) fn doubt(compared: &Migration) -> Option<String> {
    let manual: Vec<_> =
        compared.of_severity(Severity::Manual).map(|difference| difference.what.as_str()).collect();
    (!manual.is_empty()).then(|| {
        format!("the server plans this, but some of its version have failed at it: {}", manual.join("; "))
    })
}

/// The tables of the live module that the migration touches.
pub(super) fn touched(compared: &Migration, live: &Definition) -> Vec<String> {
    let touched = compared.tables_touched().into_iter().filter(|name| live.table(name).is_some());
    touched.filter(|name| is_plain(name)).map(str::to_owned).collect()
}

/// All tables of a module that can be asked for their rows.
pub(super) fn countable(definition: &Definition) -> Vec<String> {
    let tables = definition.tables.iter().filter(|table| !table.event && is_plain(&table.name));
    tables.map(|table| table.name.clone()).collect()
}

/// A name that needs no quoting anywhere. The others are left alone: no server of today takes them.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The rows that go with tables that are not in the new module.
pub(super) fn removed_rows(
    compared: &Migration,
    live: &Definition,
    new: &Definition,
    rows: &BTreeMap<String, u64>,
    server: Version,
) -> Option<String> {
    let gone = compared.differences.iter().filter(|difference| {
        difference.subject == Subject::Table
            && new.table(&difference.name).is_none()
            && live.table(&difference.name).is_some_and(|table| !table.event)
    });
    let lost: Vec<String> = gone
        .filter_map(|difference| match rows.get(&difference.name) {
            Some(0) => None,
            // What nobody could count, the server does.
            None if keeps_rows(server) => None,
            Some(rows) => Some(format!("table {} goes with {}", difference.name, counted(*rows))),
            None => {
                Some(format!("table {} goes with all its rows, which could not be counted", difference.name))
            }
        })
        .collect();
    (!lost.is_empty()).then(|| lost.join("; "))
}

/// Whether a server refuses to remove tables that have rows.
fn keeps_rows(server: Version) -> bool {
    server >= Version::new(2, 2, 0)
}

/// Why a server does not remove tables that have rows, if it does not.
pub(super) fn kept_rows(server: Version, lost: &str) -> Option<String> {
    keeps_rows(server).then(|| {
        format!("{lost}, and SpacetimeDB {server} removes empty tables only: `stdbctl db sql` can empty it")
    })
}

/// What deleting everything loses.
pub(super) fn all_rows(rows: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = rows.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
    match each.as_slice() {
        [] => "all rows of the database are deleted".to_owned(),
        each => format!("all rows of the database are deleted: {}", each.join(", ")),
    }
}

/// What going back to a snapshot loses.
pub(super) fn rows_since(taken: &str, then: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> String {
    let then = |table: &str| then.get(table).copied();
    let changed: Vec<_> = now
        .iter()
        .filter(|(table, now)| then(table).unwrap_or(0) != **now)
        .map(|(table, now)| match then(table) {
            Some(then) => format!("{table} has {} now and {then} then", counted(*now)),
            None => format!("{table} has {} now", counted(*now)),
        })
        .collect();
    let since = format!("all that was written since {} is lost", history::taken(taken));
    if changed.is_empty() { since } else { format!("{since}: {}", changed.join(", ")) }
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// Why this must not be carried out.
pub(super) fn refusal(preview: &Preview, wish: &Wish) -> Option<PublishError> {
    if let Some(reason) = &preview.manual
        && preview.operation != Operation::Restore
        && !wish.delete_data
    {
        return Some(PublishError::Manual { reason: reason.clone(), hints: ways_out(preview, wish) });
    }
    let given = |consent: &Consent| match consent {
        Consent::BreakClients(_) => wish.break_clients,
        Consent::DeleteData(_) => wish.delete_data,
        Consent::RestoreData(_) => wish.restore_data,
    };
    preview.consents().into_iter().find(|consent| !given(consent)).map(PublishError::Consent)
}

/// What can be done where the server does not migrate.
fn ways_out(preview: &Preview, wish: &Wish) -> Vec<String> {
    let mut ways = Vec::new();
    match (&wish.what, &preview.restores) {
        (What::Rollback { .. }, Some(snapshot)) => ways.push(format!(
            "nothing was changed; with --restore-data the data goes back to the snapshot of {}; {}",
            history::taken(&snapshot.taken),
            rows_since(&snapshot.taken, &snapshot.rows, &preview.rows)
        )),
        (What::Rollback { .. }, None) => ways.push(
            "nothing was changed; there is no snapshot of the data from when that module was live".to_owned(),
        ),
        (What::Module(_), _) => ways.push(
            "nothing was changed; keep what is there and add to it: a new table can take what the old one cannot"
                .to_owned(),
        ),
    }
    ways.push(format!("with --delete-data the database begins anew; {}", all_rows(&preview.rows)));
    ways
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
