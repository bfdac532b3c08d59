//! Reducers, procedures, views and routes: what clients call.

use super::{Difference, Pair, Severity, Subject, paired};
use crate::schema::{Access, Lifecycle, Param, Procedure, Reducer, Route, Type, View};

use Severity::{BreaksClients, Compatible};

pub(super) fn compare_reducers(old: &[Reducer], new: &[Reducer]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for pair in paired(old, new, |reducer| &reducer.name) {
        match pair {
            Pair::Added(new) => {
                differences.push(reducer(new, Compatible, "added").with(signature(&new.params)));
            }
            Pair::Removed(old) => differences.push(reducer(old, if_callable(old.callable), "removed")),
            Pair::Both(old, new) => compare_reducer(old, new, &mut differences),
        }
    }
    differences
}

fn compare_reducer(old: &Reducer, new: &Reducer, differences: &mut Vec<Difference>) {
    if !same_params(&old.params, &new.params) {
        let changed = reducer(old, if_callable(old.callable), "takes other parameters");
        differences.push(changed.with(from_to(&old.params, &new.params)));
    }
    if old.lifecycle != new.lifecycle {
        let how = format!("{} and is now {}", role(old.lifecycle), role(new.lifecycle));
        differences.push(reducer(old, if_callable(old.callable && !new.callable), &format!("was {how}")));
    } else if old.callable && !new.callable {
        differences.push(reducer(old, BreaksClients, "is no longer there for clients"));
    } else if !old.callable && new.callable {
        differences.push(reducer(old, Compatible, "is now there for clients"));
    }
}

fn role(lifecycle: Option<Lifecycle>) -> &'static str {
    match lifecycle {
        None => "an ordinary one",
        Some(Lifecycle::Init) => "called when a database is made",
        Some(Lifecycle::ClientConnected) => "called when a client connects",
        Some(Lifecycle::ClientDisconnected) => "called when a client is gone",
    }
}

fn reducer(reducer: &Reducer, severity: Severity, how: &str) -> Difference {
    Difference::new(Subject::Reducer, &reducer.name, severity, format!("reducer {} {how}", reducer.name))
}

pub(super) fn compare_procedures(old: &[Procedure], new: &[Procedure]) -> Vec<Difference> {
    let difference = |name: &str, severity, how: &str| {
        Difference::new(Subject::Procedure, name, severity, format!("procedure {name} {how}"))
    };
    let mut differences = Vec::new();
    for pair in paired(old, new, |procedure| &procedure.name) {
        match pair {
            Pair::Added(new) => {
                let details = format!("{} -> {}", signature(&new.params), new.returns);
                differences.push(difference(&new.name, Compatible, "added").with(details));
            }
            Pair::Removed(old) => {
                differences.push(difference(&old.name, if_callable(old.callable), "removed"));
            }
            Pair::Both(old, new) => {
                let breaks = if_callable(old.callable);
                if !same_params(&old.params, &new.params) {
                    let changed = difference(&old.name, breaks, "takes other parameters");
                    differences.push(changed.with(from_to(&old.params, &new.params)));
                }
                if !old.returns.has_shape_of(&new.returns) {
                    let details = returns(&old.returns, &new.returns);
                    differences.push(difference(&old.name, breaks, "returns another type").with(details));
                }
                if old.callable && !new.callable {
                    differences.push(difference(&old.name, breaks, "is no longer there for clients"));
                } else if !old.callable && new.callable {
                    differences.push(difference(&old.name, Compatible, "is now there for clients"));
                }
            }
        }
    }
    differences
}

pub(super) fn compare_views(old: &[View], new: &[View]) -> Vec<Difference> {
    let difference = |name: &str, severity, how: &str| {
        Difference::new(Subject::View, name, severity, format!("view {name} {how}"))
    };
    let mut differences = Vec::new();
    for pair in paired(old, new, |view| &view.name) {
        match pair {
            Pair::Added(new) => {
                let details = format!("{} -> {}", signature(&new.params), new.returns);
                differences.push(difference(&new.name, Compatible, "added").with(details));
            }
            Pair::Removed(old) => {
                differences.push(difference(&old.name, if_callable(old.access == Access::Public), "removed"));
            }
            Pair::Both(old, new) => {
                let breaks = if_callable(old.access == Access::Public);
                match (old.access, new.access) {
                    (Access::Public, Access::Private) => {
                        differences.push(difference(&old.name, BreaksClients, "made private"));
                    }
                    (Access::Private, Access::Public) => {
                        differences.push(difference(&old.name, Compatible, "made public"));
                    }
                    _ => {}
                }
                if !same_params(&old.params, &new.params) {
                    let changed = difference(&old.name, breaks, "takes other parameters");
                    differences.push(changed.with(from_to(&old.params, &new.params)));
                }
                if !old.returns.has_shape_of(&new.returns) {
                    let details = returns(&old.returns, &new.returns);
                    differences.push(difference(&old.name, breaks, "returns another type").with(details));
                }
                if old.anonymous != new.anonymous {
                    let how =
                        if new.anonymous { "is now the same for everybody" } else { "depends on who asks" };
                    differences.push(difference(&old.name, breaks, how));
                }
            }
        }
    }
    differences
}

pub(super) fn compare_routes(old: &[Route], new: &[Route]) -> Vec<Difference> {
    let difference = |route: &Route, severity, how: &str| {
        let what = format!("route {} {} {how}", route.method, route.path);
        Difference::new(Subject::Route, &route.path, severity, what)
    };
    let within = |route: &Route, routes: &[Route]| {
        routes.iter().any(|other| (&other.path, &other.method) == (&route.path, &route.method))
    };
    let removed = old.iter().filter(|route| !within(route, new));
    let added = new.iter().filter(|route| !within(route, old));
    removed
        .map(|route| difference(route, BreaksClients, "removed"))
        .chain(added.map(|route| difference(route, Compatible, "added")))
        .collect()
}

/// What clients cannot call cannot break them.
fn if_callable(callable: bool) -> Severity {
    if callable { BreaksClients } else { Compatible }
}

fn same_params(old: &[Param], new: &[Param]) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| old.name == new.name && old.ty.has_shape_of(&new.ty))
}

fn returns(old: &Type, new: &Type) -> String {
    let (old, new) = old.apart(new);
    format!("{old} becomes {new}")
}

/// Types that changed and kept their names are spelled out, the others are not.
fn from_to(old: &[Param], new: &[Param]) -> String {
    let apart = |nth: usize, param: &Param, others: &[Param]| match others.get(nth) {
        Some(other) if !param.ty.has_shape_of(&other.ty) => param.ty.apart(&other.ty).0,
        _ => param.ty.to_string(),
    };
    let listed = |params: &[Param], others: &[Param]| {
        let each = params.iter().enumerate();
        in_parentheses(each.map(|(nth, param)| format!("{}: {}", param.name, apart(nth, param, others))))
    };
    format!("{} becomes {}", listed(old, new), listed(new, old))
}

fn signature(params: &[Param]) -> String {
    in_parentheses(params.iter().map(|param| format!("{}: {}", param.name, param.ty)))
}

fn in_parentheses(each: impl Iterator<Item = String>) -> String {
    format!("({})", each.collect::<Vec<_>>().join(", "))
}
