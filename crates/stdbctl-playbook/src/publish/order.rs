//! What the host is told to do, as the variables of its script.

use std::fmt::Write as _;
use std::sync::Arc;

use stdbctl_engine::dialogue::{assign, condense};

use super::look::{self, Seen};
use super::preview::Operation;
use super::proof;
use super::wish::{Checks, Wish};
use crate::owner::{Claims, Identity};
use crate::settings::Settings;

/// All that a publish is, once it is decided.
pub(super) struct Order {
    /// The functions of the script, and where the server is.
    front: String,
    schema_version: u32,
    /// Whether the server plans migrations.
    plans: bool,
    database: Option<Identity>,
    live: Option<String>,
    checks: Checks,
    /// The owner, and what its token is made from.
    pub(super) claims: Claims,
    pub(super) live_sha256: Option<String>,
    pub(super) sha256: String,
    pub(super) program: String,
    /// The module's bytes, if the host does not have them.
    pub(super) payload: Option<Arc<[u8]>>,
    /// The ids of the plan's steps.
    pub(super) steps: Vec<String>,
    pub(super) operation: Operation,
    /// Whether the data is deleted.
    pub(super) clears: bool,
    /// Binds the publish to the plan that the server has shown.
    pub(super) migration_token: Option<String>,
    /// The tables whose rows are counted before and after.
    pub(super) tables: Vec<String>,
    /// The snapshot that the data goes back to.
    pub(super) restore_from: Option<String>,
}

impl Order {
    /// An order that does nothing yet.
    pub(super) fn new(settings: &Settings, wish: &Wish, seen: &Seen) -> Self {
        Self {
            front: look::front(settings, &wish.name),
            schema_version: seen.schema_version(),
            plans: seen.version.plans_migrations(),
            database: seen.database.as_ref().map(|database| database.identity.clone()),
            live: seen.database.as_ref().and_then(|database| database.live.clone()),
            checks: wish.checks.clone(),
            claims: Claims::owner(),
            live_sha256: None,
            sha256: String::new(),
            program: String::new(),
            payload: None,
            steps: Vec::new(),
            operation: Operation::Unchanged,
            clears: false,
            migration_token: None,
            tables: Vec::new(),
            restore_from: None,
        }
    }

    /// The script that carries it out, for whoever is named.
    pub(super) fn script(&self, operator: &str) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let flag = |on: bool| if on { "yes" } else { "" }.to_owned();
        let database = self.database.as_ref();
        let sql = self.checks.sql.as_ref();
        let expect = sql.and_then(|sql| sql.expect.as_deref());
        let put = if self.operation == Operation::Restore { "put_data" } else { "put_module" };
        let mut script = self.front.clone();
        for (name, value) in [
            ("schema_version", self.schema_version.to_string()),
            ("plans", flag(self.plans)),
            ("database", database.map(Identity::to_string).unwrap_or_default()),
            ("database_le", database.map(Identity::to_le_hex).unwrap_or_default()),
            ("owner", self.claims.identity.to_string()),
            ("owner_le", self.claims.identity.to_le_hex()),
            ("claims", self.claims.arguments()),
            ("live", text(&self.live)),
            ("live_sha", text(&self.live_sha256)),
            ("sha", self.sha256.clone()),
            ("program", self.program.clone()),
            ("payload", flag(self.payload.is_some())),
            ("bytes", self.payload.as_ref().map_or(0, |bytes| bytes.len()).to_string()),
            ("steps", self.steps.join(" ")),
            ("operation", operation(self.operation).to_owned()),
            ("put", put.to_owned()),
            ("query", self.query()),
            ("cleared", flag(self.clears)),
            ("tables", self.tables.join(" ")),
            ("restore_from", text(&self.restore_from)),
            ("check_reducer", self.checks.reducer.as_deref().map(in_path).unwrap_or_default()),
            ("check_sql", sql.map(|sql| sql.query.clone()).unwrap_or_default()),
            ("check_expect", expect.unwrap_or_default().to_owned()),
            ("check_rows", expect.map(proof::expected_rows).unwrap_or_default()),
            ("operator", operator.replace(char::is_control, " ")),
        ] {
            script.push_str(&assign(name, &value));
        }
        script.push_str(&look::about_data());
        script.push_str(&condense(include_str!("../sh/publish.sh")));
        script
    }

    /// The query of the request that publishes, after `host_type`.
    fn query(&self) -> String {
        let mut query = String::new();
        if self.clears {
            query.push_str("&clear=true");
        }
        if let Some(token) = self.migration_token.as_deref().filter(|token| is_hash(token)) {
            // Servers hold a module to its token under this policy only. What the plan does has been agreed to.
            // Writing to a string cannot fail.
            let _ = write!(query, "&token={token}&policy=BreakClients");
        }
        query
    }
}

/// A token goes into an address: anything else than a hash is none.
fn is_hash(token: &str) -> bool {
    let digits = token.strip_prefix("0x").unwrap_or(token);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A name as a part of an address.
fn in_path(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Unchanged => "unchanged",
        Operation::Rollback => "rollback",
        Operation::Restore => "restore",
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
