//! The two scripts that go to a host: one that looks, one that changes. Each is whole: nothing is asked of the
//! operator's side once it runs.

use std::fmt::Write as _;

use crate::dialogue::RunKey;
use crate::graph::Graph;
use crate::host::Stdin;
use crate::observe::Probes;
use crate::planner::Changes;
use crate::sh::{condense, quote};

/// The script that looks.
pub(crate) fn observe(nonce: &str, probes: &Probes) -> Vec<u8> {
    let script = format!(
        "nonce={nonce} ssh_connection=${{1:-}}\n{}observe_stable\nobserve_volatile\nrec end ''\n",
        probes.functions()
    );
    framed(&script)
}

/// The script that looks while it holds the host's lock, for which it waits; above all for the run of the id
/// `lost_run`, empty for none, whose connection is lost. On another machine than that of the id `machine`, if one is
/// known, it does nothing but say so.
pub(crate) fn observe_locked(key: &RunKey, lost_run: &str, machine: &str, probes: &Probes) -> Vec<Stdin> {
    let RunKey { nonce, holder, .. } = key;
    let script = format!(
        "nonce={nonce} holder={} lost_run={lost_run} ssh_connection=${{1:-}}\n{}{}if is_same_machine {} && take_lock; then\nrecall_lost_run\nobserve_stable\nobserve_volatile\nrm -f /run/stdbctl/holder\nfi\nrec end ''\n",
        quote(holder),
        probes.functions(),
        condense(include_str!("sh/lock.sh")),
        quote(machine),
    );
    vec![Stdin::Bytes(framed(&script))]
}

/// Who a changing script runs for, and on which observation it was made.
pub(crate) struct Apply<'a> {
    pub(crate) key: &'a RunKey,
    /// The run of the same operator whose connection was lost; empty for none.
    pub(crate) lost_run: &'a str,
    pub(crate) digest: &'a str,
}

impl Apply<'_> {
    /// The script that changes, and its payloads.
    pub(crate) fn script(&self, graph: &Graph, probes: &Probes, changes: &Changes<'_>) -> Vec<Stdin> {
        let mut script = format!(
            "nonce={} run_id={} holder={} lost_run={} digest={} ssh_connection=${{1:-}} count=0\n",
            self.key.nonce,
            self.key.id,
            quote(&self.key.holder),
            self.lost_run,
            self.digest
        );
        script.push_str(&probes.functions());
        script.push_str(&condense(concat!(include_str!("sh/lock.sh"), include_str!("sh/apply.sh"))));
        let mut payloads = Vec::new();
        let mut lengths = Vec::new();
        for (index, (task, change)) in changes.list.iter().enumerate() {
            let number = index + 1;
            let _ = writeln!(script, "task_{number}() {{\n{}\n}}", change.script.trim_end());
            let state = if change.payload.is_some() { "waiting" } else { "-" };
            let lock = change.lock.unwrap_or("-");
            let needs = needs(graph, changes, &task.id);
            let _ = writeln!(script, "task {number} {} {lock} {state}{needs}", quote(&task.id));
            if let Some(payload) = &change.payload {
                lengths.push(format!("{number}:{}", payload.len));
                payloads.push(payload.stdin.clone());
            }
        }
        let _ = writeln!(script, "payloads={}\napply\nrec end ''", quote(&lengths.join(" ")));
        std::iter::once(Stdin::Bytes(framed(&script))).chain(payloads).collect()
    }
}

/// The numbers of the changes that the one of this task waits for: those of all its ancestors, since tasks with
/// nothing to do are not in the script.
fn needs(graph: &Graph, changes: &Changes<'_>, id: &str) -> String {
    let ancestors = graph.ancestors(id);
    let mut numbers: Vec<usize> = changes
        .list
        .iter()
        .enumerate()
        .filter(|(_, (task, _))| ancestors.iter().any(|ancestor| ancestor.id == task.id))
        .map(|(index, _)| index + 1)
        .collect();
    numbers.sort_unstable();
    numbers.iter().fold(String::new(), |mut text, number| {
        let _ = write!(text, " {number}");
        text
    })
}

/// The script that says over a fresh connection that it got in.
pub(crate) fn confirm(run_id: &str) -> Vec<Stdin> {
    vec![Stdin::Bytes(framed(&format!(": >/var/lib/stdbctl/run/{run_id}/confirmed\n")))]
}

/// Its length first, as a [`crate::host::Host`] expects it.
pub(crate) fn framed(script: &str) -> Vec<u8> {
    format!("{}\n{script}", script.len()).into_bytes()
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
