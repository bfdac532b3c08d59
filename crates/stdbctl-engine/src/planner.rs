//! The planner: from what is observed to what would be changed. Pure.

use std::collections::BTreeSet;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes};
use crate::plan::{HostPlan, PlannedChange, SkippedTask};
use crate::resource::require::Outside;
use crate::resource::{Planning, Resource};
use crate::task::Task;

/// The changes of one host, each with its task, in order.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) list: Vec<(&'a Task, Change)>,
    pub(crate) unchanged: usize,
    pub(crate) skipped: Vec<SkippedTask>,
}

/// What must be known of a host to plan it.
pub(crate) fn probes(graph: &Graph) -> Probes {
    probes_of(graph, |task| !matches!(task.resource, Resource::Require(_)))
}

/// What must be known of a host before it is changed, beyond what its plan needed.
pub(crate) fn requirement_probes(graph: &Graph) -> Probes {
    probes_of(graph, |task| matches!(task.resource, Resource::Require(_)))
}

fn probes_of(graph: &Graph, wanted: impl Fn(&Task) -> bool) -> Probes {
    let mut probes = Probes::default();
    for task in active(graph).filter(|task| wanted(task)) {
        task.resource.kind().probe(&task.id, graph, &mut probes);
    }
    probes
}

/// Plans every task on what will be there once those before it are done.
pub(crate) fn plan<'a>(graph: &'a Graph, observed: &Observation) -> Changes<'a> {
    let mut seen = observed.clone();
    let mut changing = BTreeSet::new();
    let mut changes = Changes { list: Vec::new(), unchanged: 0, skipped: skipped(graph) };
    for task in active(graph) {
        let kind = task.resource.kind();
        let planning = Planning { task, graph, seen: &seen, changing: &changing };
        let Some(change) = kind.plan(&planning) else {
            changes.unchanged += 1;
            continue;
        };
        kind.predict(&task.id, &mut seen);
        if change.content {
            changing.insert(task.id.clone());
        }
        changes.list.push((task, change));
    }
    changes
}

/// Why the host cannot be worked on. Asked before the first change, and only if there is one.
pub(crate) fn problems(graph: &Graph, seen: &Observation, outside: &Outside) -> Vec<String> {
    active(graph)
        .filter_map(|task| match &task.resource {
            Resource::Require(require) => Some(require.problems(&task.id, seen, outside)),
            _ => None,
        })
        .flatten()
        .collect()
}

/// The name that must resolve to this host, if a task asks for one.
pub(crate) fn name_to_resolve(graph: &Graph) -> Option<&str> {
    active(graph).find_map(|task| match &task.resource {
        Resource::Require(require) => require.resolves_here.as_deref(),
        _ => None,
    })
}

impl Changes<'_> {
    /// The plan as readers see it.
    pub(crate) fn to_plan(&self, host: &str) -> HostPlan {
        let changes = self.list.iter().map(|(task, change)| PlannedChange {
            task: task.id.clone(),
            title: task.title.clone(),
            action: change.action,
            details: change.details.clone(),
            exact: change.exact,
            diffs: change.diffs.clone(),
        });
        HostPlan {
            host: host.to_owned(),
            changes: changes.collect(),
            unchanged: self.unchanged,
            skipped: self.skipped.clone(),
        }
    }
}

fn active(graph: &Graph) -> impl Iterator<Item = &Task> {
    graph.tasks().iter().filter(|task| task.skipped.is_none())
}

fn skipped(graph: &Graph) -> Vec<SkippedTask> {
    let skipped = |task: &Task| Some(SkippedTask { task: task.id.clone(), why: task.skipped.clone()? });
    graph.tasks().iter().filter_map(skipped).collect()
}
