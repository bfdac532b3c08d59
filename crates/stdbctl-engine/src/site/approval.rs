//! Whether what is left of a plan was approved with it.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::plan::{Action, HostPlan, PlannedChange};

/// What is left and was not approved.
///
/// A change was approved if the plan had its task and would not have done less: whatever becomes of a file is the very
/// same diff, and each further detail stood there too. Details of a change behind one that has been made in the
/// meantime may be others: it was planned on a prediction (`start` of what its package has started by now). So may
/// those that were an estimate. To wait is always approved.
pub(super) fn unapproved<'l>(
    left: &'l HostPlan,
    approved: &HostPlan,
    graph: &Graph,
) -> Vec<&'l PlannedChange> {
    let ids = |plan: &HostPlan| -> BTreeSet<String> {
        plan.changes.iter().map(|change| change.task.clone()).collect()
    };
    let made: BTreeSet<String> = ids(approved).difference(&ids(left)).cloned().collect();
    let was_predicted = |task: &str| graph.ancestors(task).iter().any(|before| made.contains(&before.id));
    let is_approved = |change: &&PlannedChange| {
        let of_task = approved.changes.iter().find(|other| other.task == change.task);
        change.action == Action::Wait
            || of_task.is_some_and(|approved| {
                let is_loose = !approved.exact || was_predicted(&change.task);
                holds(&approved.diffs, &change.diffs)
                    && (is_loose || holds(&approved.details, &change.details))
            })
    };
    left.changes.iter().filter(|change| !is_approved(change)).collect()
}

fn holds<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|one| all.contains(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::FileDiff;
    use crate::task::{Task, TaskSpec};

    /// `site` needs `packages`; `unit` needs nothing.
    fn graph() -> Graph {
        let tasks = json!([
            {"id": "packages", "title": "packages", "package": {"names": ["nginx"]}},
            {"id": "site", "title": "site", "needs": ["packages"], "service": {"name": "nginx", "running": true}},
            {"id": "unit", "title": "unit", "file": {"path": "/unit", "content": "new\n"}},
            {"id": "answers", "title": "answers", "http": {"url": "http://127.0.0.1/", "status": 200}},
        ]);
        let specs: Vec<TaskSpec> = serde_json::from_value(tasks).unwrap();
        let tasks: Vec<Task> = specs.into_iter().map(|spec| spec.into_task(None).unwrap()).collect();
        Graph::new(&tasks).unwrap()
    }

    fn change(task: &str, detail: &str, diff: &str) -> PlannedChange {
        let diff = FileDiff { path: format!("/{task}"), diff: diff.to_owned() };
        PlannedChange {
            task: task.to_owned(),
            title: task.to_owned(),
            action: Action::Update,
            details: vec![detail.to_owned()],
            exact: task != "packages",
            diffs: if diff.diff.is_empty() { Vec::new() } else { vec![diff] },
        }
    }

    fn plan(changes: &[PlannedChange]) -> HostPlan {
        let host = "host".to_owned();
        HostPlan { host, changes: changes.to_vec(), unchanged: 0, skipped: Vec::new() }
    }

    fn refused(left: &[PlannedChange]) -> Vec<String> {
        let approved = plan(&[
            change("packages", "3 packages", ""),
            change("site", "start", ""),
            change("unit", "content", "-old\n+new\n"),
        ]);
        let left = plan(left);
        unapproved(&left, &approved, &graph()).into_iter().map(|change| change.task.clone()).collect()
    }

    #[test]
    fn a_part_of_the_plan_was_approved_with_it() {
        assert!(refused(&[]).is_empty());
        let unit = change("unit", "content", "-old\n+new\n");
        assert!(refused(std::slice::from_ref(&unit)).is_empty());
        assert!(
            refused(&[change("packages", "3 packages", ""), change("site", "start", ""), unit]).is_empty()
        );
    }

    #[test]
    fn another_diff_detail_or_task_was_not() {
        assert_eq!(refused(&[change("unit", "content", "-theirs\n+new\n")]), ["unit"]);
        assert_eq!(refused(&[change("unit", "mode 0777 -> 0644", "")]), ["unit"]);
        assert_eq!(refused(&[change("answers", "until it answers", "")]), ["answers"]);
    }

    #[test]
    fn what_was_a_prediction_may_have_come_otherwise() {
        assert!(refused(&[change("site", "reload", "")]).is_empty(), "its packages are there by now");
        let before_them = [change("packages", "3 packages", ""), change("site", "reload", "")];
        assert_eq!(refused(&before_them), ["site"]);
        assert!(refused(&[change("packages", "2 packages", "")]).is_empty(), "it was an estimate");
        assert_eq!(refused(&[change("site", "content", "-theirs\n+new\n")]), ["site"]);
    }

    #[test]
    fn to_wait_changes_nothing() {
        let wait = PlannedChange { action: Action::Wait, ..change("answers", "until it answers", "") };
        assert!(refused(&[wait]).is_empty());
    }
}
