//! Owner, group and mode: what directories and files have in common.

use crate::observe::PathState;

/// Mode, owner and group as they are and as they should be, one line for each that differs.
pub(super) fn differences(state: &PathState, owner: &str, group: &str, mode: &str) -> Vec<String> {
    let mut details = Vec::new();
    let now = format!("{:04o}", state.mode);
    if now != mode {
        details.push(format!("mode {now} -> {mode}"));
    }
    if state.owner != owner {
        details.push(format!("owner {} -> {owner}", state.owner));
    }
    if state.group != group {
        details.push(format!("group {} -> {group}", state.group));
    }
    details
}
