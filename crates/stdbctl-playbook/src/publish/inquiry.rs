//! The second look, only where the first does not tell enough: what the server would do with the module, how many rows
//! that concerns, and how much room there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use stdbctl_engine::dialogue::{self, Record, assign, condense};
use stdbctl_engine::host::{Host, Stdin};

use super::error::PublishError;
use super::history;
use super::look;
use super::preview::{CopyKind, SnapshotFacts};
use crate::owner::{Claims, Identity};
use crate::schema::Definition;
use crate::server::Answer;
use crate::settings::Settings;

/// What is asked.
pub(super) struct Inquiry<'a> {
    pub(super) settings: &'a Settings,
    pub(super) database_name: &'a str,
    pub(super) database: &'a Identity,
    pub(super) owner: &'a Identity,
    /// What the owner's token is made from first, if it is not there or does not fit.
    pub(super) claims: Option<Claims>,
    pub(super) sha256: &'a str,
    /// The module's bytes, if the server is to be asked and the host does not have them.
    pub(super) payload: Option<Arc<[u8]>>,
    /// Whether the host keeps them for the change.
    pub(super) keep: bool,
    /// Whether the server says beforehand what it would do.
    pub(super) plans: bool,
    /// The tables whose rows are counted.
    pub(super) tables: Vec<String>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) migration: Option<ServerPlan>,
    /// The server's hash of the module that is live, if the token had to be made to ask for it.
    pub(super) live: Option<String>,
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) room: Option<SnapshotFacts>,
    /// What the module is made of, if the host knows it.
    pub(super) definition: Option<Definition>,
}

/// What the server says it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerPlan {
    /// It migrates by itself.
    Auto {
        /// Its description.
        plan: String,
        breaks_clients: bool,
        /// Binds the publish to this plan.
        token: String,
    },
    /// It does not.
    Manual {
        /// Why.
        reason: String,
    },
}

impl Inquiry<'_> {
    /// Asks. The host was got ready for one script that comes on standard input; if that is this one, it is got ready
    /// again for the change.
    pub(super) async fn ask(self, host: &dyn Host) -> Result<Answered, PublishError> {
        let script = self.script();
        let keep = self.keep;
        let records = match self.payload {
            None => dialogue::look(host, &script).await?,
            Some(bytes) => {
                let payload = vec![Stdin::Bytes(bytes.to_vec())];
                let asking = dialogue::ask(host, &script, payload);
                // Polled after the question is on its way, so that it does not take its channel.
                let preparing = async {
                    if keep {
                        host.prepare();
                    }
                };
                tokio::join!(biased; asking, preparing).0?
            }
        };
        Answered::read(&records, self.database_name)
    }

    fn script(&self) -> String {
        let flag = |on: bool| if on { "yes" } else { "" };
        let mut script = look::front(self.settings, self.database_name);
        script.push_str(&assign("database", self.database.as_str()));
        script.push_str(&assign("database_le", &self.database.to_le_hex()));
        script.push_str(&assign("owner", self.owner.as_str()));
        script.push_str(&assign("owner_le", &self.owner.to_le_hex()));
        script.push_str(&assign("claims", &self.claims.as_ref().map(Claims::arguments).unwrap_or_default()));
        script.push_str(&assign("sha", self.sha256));
        let bytes = self.payload.as_ref().map_or(0, |bytes| bytes.len());
        // Writing to a string cannot fail.
        let _ = writeln!(script, "bytes={bytes}");
        script.push_str(&assign("payload", flag(self.payload.is_some())));
        script.push_str(&assign("keep", flag(self.keep)));
        script.push_str(&assign("plans", flag(self.plans)));
        script.push_str(&assign("tables", &self.tables.join(" ")));
        script.push_str(&look::about_data());
        script.push_str(&condense(include_str!("../sh/preview.sh")));
        script.push_str("preview\n");
        script
    }
}

impl Answered {
    fn read(records: &[Record], database: &str) -> Result<Self, PublishError> {
        let text = |kind: &str| records.iter().find(|record| record.kind == kind).map(Record::text);
        if let Some(why) = text("unowned") {
            return Err(PublishError::Token { database: database.to_owned(), why });
        }
        if let Some(why) = text("unreceived") {
            let hints = vec!["nothing was changed; make room on the host and run again".to_owned()];
            return Err(PublishError::Step { step: "upload".to_owned(), why, hints });
        }
        let migration = Answer::find(records, "migration").as_ref().map(ServerPlan::read).transpose()?;
        Ok(Self {
            migration,
            live: Answer::find(records, "program").as_ref().and_then(look::live),
            rows: history::counts(text("rows").unwrap_or_default().lines()),
            room: text("room").as_deref().and_then(room),
            definition: text("schema").and_then(|schema| Definition::from_json(&schema).ok()),
        })
    }
}

/// The answer to `pre_publish`.
#[derive(Deserialize)]
enum PrePublish {
    AutoMigrate { migrate_plan: String, break_clients: bool, token: String },
    ManualMigrate { reason: String },
}

impl ServerPlan {
    pub(super) fn read(answer: &Answer) -> Result<Self, PublishError> {
        if !answer.is_success() {
            return Err(PublishError::rejected(answer));
        }
        match serde_json::from_str(&answer.body) {
            Ok(PrePublish::AutoMigrate { migrate_plan, break_clients, token }) => {
                Ok(Self::Auto { plan: migrate_plan, breaks_clients: break_clients, token })
            }
            Ok(PrePublish::ManualMigrate { reason }) => Ok(Self::Manual { reason: reason.trim().to_owned() }),
            Err(_) => Err(PublishError::Answer(format!(
                "pre_publish: {}",
                answer.body.chars().take(200).collect::<String>()
            ))),
        }
    }
}

/// `BYTES FREE KIND`.
fn room(text: &str) -> Option<SnapshotFacts> {
    let mut words = text.split_whitespace();
    let (bytes, free) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let kind = if words.next()? == "reflink" { CopyKind::Reflink } else { CopyKind::Copy };
    Some(SnapshotFacts { bytes, free, kind })
}

#[cfg(test)]
#[path = "inquiry_tests.rs"]
mod tests;
