//! Publishing: a module goes live under a database's name, its migration seen first, and with a way back.
//!
//! Three phases, each one script. The look says what is there; the preview what the server would do, if that is not
//! plain already; the change does it under the host's lock, with its proof and its way back.

mod change;
mod error;
mod history;
mod inquiry;
mod log;
mod look;
mod order;
mod plan;
mod prepare;
mod preview;
mod proof;
mod rules;
mod wish;

use std::collections::BTreeMap;
use std::sync::Arc;

use stdbctl_engine::host::Host;
use stdbctl_engine::plan::HostPlan;

pub use self::change::carry_out;
pub use self::error::{Kind, PublishError};
pub use self::prepare::prepare;
pub use self::preview::{
    Consent, CopyKind, ModuleFacts, Operation, Preview, RestoreFacts, SnapshotFacts, Source,
};
pub use self::wish::{Checks, SqlCheck, What, Wish, check_name};

/// A publish that has been looked at and not been begun.
pub struct Prepared {
    /// What would be done on the host. Nothing, if the module is live already.
    pub plan: HostPlan,
    /// The same, for people who own databases.
    pub preview: Preview,
    host: Arc<dyn Host>,
    order: order::Order,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("plan", &self.plan)
            .field("preview", &self.preview)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// Why this must not be carried out: the server could not, or what it does has not been agreed to.
    pub fn refusal(&self, wish: &Wish) -> Option<PublishError> {
        rules::refusal(&self.preview, wish)
    }
}

/// A publish that has been carried out and stood its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The database's identity.
    pub identity: String,
    /// What was done.
    pub operation: Operation,
    /// How many rows there are now in the tables concerned.
    pub rows: BTreeMap<String, u64>,
    /// Whether the database was locked against deletion.
    pub locked: bool,
    /// What the module has logged since, oldest first.
    pub log: Vec<String>,
}
