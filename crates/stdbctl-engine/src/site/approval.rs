//! Whether what is left of a plan was approved with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::Change;
use crate::graph::Graph;
use crate::plan::{Action, HostPlan, PlannedChange};
use crate::planner::Changes;
use crate::task::Task;

/// A plan, with what its readers are not shown.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) plan: HostPlan,
    /// By task, the sha256 of the file it replaces.
    replaces: BTreeMap<String, String>,
}

impl Planned {
    pub(super) fn new(changes: &Changes<'_>, host: &str) -> Self {
        let replaces = |(task, change): &(&Task, Change)| Some((task.id.clone(), change.replaces.clone()?));
        Self { plan: changes.to_plan(host), replaces: changes.list.iter().filter_map(replaces).collect() }
    }

    pub(super) fn has(&self, task: &str) -> bool {
        self.plan.changes.iter().any(|change| change.task == task)
    }

    /// The tasks of this plan that are not left any more.
    pub(super) fn without(&self, left: &Self) -> BTreeSet<String> {
        let tasks = self.plan.changes.iter().map(|change| &change.task);
        tasks.filter(|task| !left.has(task)).cloned().collect()
    }
}

/// What is left and was not approved.
///
/// A change was approved if the plan had its task and would not have done less: whatever becomes of a file is the very
/// same diff of the very same content, and each further detail stood there too. Details of a change behind one of those
/// that this run has `made` may be others: it was planned on a prediction (`start` of what its package has started by
/// now). So may those that were an estimate. To wait is always approved.
pub(super) fn unapproved<'l>(
    left: &'l Planned,
    approved: &Planned,
    made: &BTreeSet<String>,
    graph: &Graph,
) -> Vec<&'l PlannedChange> {
    let is_of_same = |task: &str| {
        left.replaces.get(task).is_none_or(|content| approved.replaces.get(task) == Some(content))
    };
    let was_predicted = |task: &str| graph.ancestors(task).iter().any(|before| made.contains(&before.id));
    let is_approved = |change: &&PlannedChange| {
        let of_task = approved.plan.changes.iter().find(|other| other.task == change.task);
        change.action == Action::Wait
            || of_task.is_some_and(|approved| {
                let is_loose = !approved.exact || was_predicted(&change.task);
                is_of_same(&change.task)
                    && holds(&approved.diffs, &change.diffs)
                    && (is_loose || holds(&approved.details, &change.details))
            })
    };
    left.plan.changes.iter().filter(|change| !is_approved(change)).collect()
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

    fn planned(changes: &[PlannedChange]) -> Planned {
        let host = "host".to_owned();
        let plan = HostPlan { host, changes: changes.to_vec(), unchanged: 0, skipped: Vec::new() };
        Planned { plan, replaces: BTreeMap::new() }
    }

    fn approved() -> Planned {
        planned(&[
            change("packages", "3 packages", ""),
            change("site", "start", ""),
            change("unit", "content", "-old\n+new\n"),
        ])
    }

    /// Of what is left once this run has made the rest.
    fn refused(left: &[PlannedChange]) -> Vec<String> {
        let (left, approved) = (planned(left), approved());
        names(&unapproved(&left, &approved, &approved.without(&left), &graph()))
    }

    fn names(changes: &[&PlannedChange]) -> Vec<String> {
        changes.iter().map(|change| change.task.clone()).collect()
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
    fn what_somebody_else_has_made_was_no_prediction_of_this_run() {
        let left = planned(&[change("site", "reload", "")]);
        assert_eq!(names(&unapproved(&left, &approved(), &BTreeSet::new(), &graph())), ["site"]);
    }

    #[test]
    fn a_content_that_is_not_shown_must_be_the_one_that_was_approved() {
        let of = |content: Option<&str>| {
            let key = change("unit", "content", "(secret: not shown)");
            let replaces = content.map(|content| ("unit".to_owned(), content.to_owned()));
            Planned { replaces: replaces.into_iter().collect(), ..planned(&[key]) }
        };
        let refused = |left: Planned, approved: Planned| {
            names(&unapproved(&left, &approved, &BTreeSet::new(), &graph()))
        };
        assert!(refused(of(Some("ours")), of(Some("ours"))).is_empty());
        assert_eq!(refused(of(Some("theirs")), of(Some("ours"))), ["unit"]);
        assert_eq!(refused(of(Some("theirs")), of(None)), ["unit"]);
    }

    #[test]
    fn to_wait_changes_nothing() {
        let wait = PlannedChange { action: Action::Wait, ..change("answers", "until it answers", "") };
        assert!(refused(&[wait]).is_empty());
    }
}
