//! The preview as a plan of the engine, so that all reporters show it as any other.

use stdbctl_engine::plan::{Action, HostPlan, PlannedChange};

use super::preview::{CopyKind, Operation, Preview, SnapshotFacts, Source};
use super::wish::{Checks, Wish};
use crate::migration::{Difference, Severity};

/// What is to be done beyond what the preview says.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a step of its own")]
pub(super) struct Needs {
    /// The owner's token is to be made.
    pub(super) owner: bool,
    /// The module's bytes are to be sent.
    pub(super) upload: bool,
    /// The module that is live is to be kept.
    pub(super) keep_live: bool,
    /// The database is to be locked.
    pub(super) lock: bool,
}

/// The steps, in their order.
pub(super) fn plan(preview: &Preview, wish: &Wish, needs: Needs) -> HostPlan {
    let mut changes = Vec::new();
    if preview.operation != Operation::Unchanged {
        changes.extend(needs.owner.then(|| owner(preview)));
        changes.extend((needs.upload || needs.keep_live).then(|| upload(preview, needs)));
        changes.extend(preview.snapshot.as_ref().map(snapshot));
        changes.push(publish(preview));
        changes.push(proof(&wish.checks, preview.operation));
        changes.extend(needs.lock.then(|| change("lock", "database locked", Action::Run, Vec::new())));
    }
    // What every publish needs: an owner, the bytes and the module live.
    let done = ["owner", "upload", "publish"].iter();
    let unchanged = done.filter(|step| !changes.iter().any(|change| change.task == **step)).count();
    HostPlan { host: preview.host.clone(), changes, unchanged, skipped: Vec::new() }
}

fn change(task: &str, title: &str, action: Action, details: Vec<String>) -> PlannedChange {
    PlannedChange {
        task: task.to_owned(),
        title: title.to_owned(),
        action,
        details,
        exact: true,
        diffs: Vec::new(),
    }
}

fn owner(preview: &Preview) -> PlannedChange {
    let owner = preview.owner.clone().unwrap_or_default();
    change(
        "owner",
        "token of the owner",
        Action::Create,
        vec![format!("of {owner}, signed with the server's key")],
    )
}

fn upload(preview: &Preview, needs: Needs) -> PlannedChange {
    let mut details = Vec::new();
    if needs.upload {
        details.push(format!("{} bytes, sha256 {}", preview.module.bytes, preview.module.sha256));
    }
    if needs.keep_live {
        details.push("the module that is live is kept for the way back".to_owned());
    }
    change("upload", "module on the host", Action::Create, details)
}

fn snapshot(facts: &SnapshotFacts) -> PlannedChange {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let how = match facts.kind {
        CopyKind::Reflink => "sharing its blocks",
        CopyKind::Copy => "copied",
    };
    let details = vec![format!("{} MiB, {how}; {} MiB free", mib(facts.bytes), mib(facts.free))];
    change("snapshot", "snapshot of the data", Action::Create, details)
}

fn publish(preview: &Preview) -> PlannedChange {
    let short = preview.module.sha256.get(..12).unwrap_or(&preview.module.sha256);
    let title = format!("database {}: module {short}", preview.database);
    let action = match preview.operation {
        Operation::Create => Action::Create,
        _ => Action::Update,
    };
    let mut details: Vec<String> = preview.loses_data.iter().map(|loss| format!("LOST: {loss}")).collect();
    let said = preview.manual.iter().filter(|_| preview.source == Source::Server);
    details.extend(said.map(|reason| format!("needs a manual migration: {reason}")));
    details.extend(preview.plan_lines.iter().cloned());
    PlannedChange { exact: preview.manual.is_none(), ..change("publish", &title, action, details) }
}

fn proof(checks: &Checks, operation: Operation) -> PlannedChange {
    let mut details = vec!["the module is live and tells its schema".to_owned()];
    details.extend(checks.reducer.iter().map(|reducer| format!("reducer {reducer} succeeds")));
    details.extend(checks.sql.iter().map(|sql| match &sql.expect {
        Some(expect) => format!("`{}` answers {expect}", sql.query),
        None => format!("`{}` is answered", sql.query),
    }));
    let otherwise = match operation {
        Operation::Create => "otherwise the database is deleted again",
        _ => "otherwise the old module goes live again",
    };
    details.push(otherwise.to_owned());
    change("proof", "the database works", Action::Wait, details)
}

/// The differences as lines, for servers that have no words of their own for them.
pub(super) fn lines<'d>(differences: impl Iterator<Item = &'d Difference>) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in differences {
        let mark = match difference.severity {
            Severity::Compatible => "",
            Severity::BreaksClients => " (breaks clients)",
            Severity::Manual => " (needs a manual migration)",
        };
        lines.push(format!("{}{mark}", difference.what));
        lines.extend(difference.details.iter().map(|detail| format!("  {detail}")));
    }
    lines
}
