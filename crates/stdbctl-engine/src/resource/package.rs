//! Packages of the distribution, through apt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, PackageState, Probes};
use crate::plan::Action;
use crate::resource::{Kind, Planning};
use crate::sh::words;

/// Packages that must be installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Their names. One task for all: apt takes one lock and resolves once.
    pub names: Vec<String>,
}

impl Package {
    fn missing(&self, seen: &Observation) -> Vec<&str> {
        self.names.iter().map(String::as_str).filter(|name| !seen.is_installed(name)).collect()
    }
}

impl Kind for Package {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        for name in &self.names {
            probes.package(name);
        }
        let names = words(self.names.iter().map(String::as_str));
        probes.fragment(task, format!("simulate {names}"), false);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let missing = self.missing(planning.seen);
        if missing.is_empty() {
            return None;
        }
        let mut details: Vec<String> = missing.iter().map(|name| detail(name, planning.seen)).collect();
        let simulated = planning.seen.extra(&planning.task.id).map_or("", |extra| extra.text.as_str());
        let pulled = simulated.lines().filter(|line| !line.is_empty()).count();
        details.push(match pulled {
            0 => "with what they depend on; apt cannot tell before its lists are updated".to_owned(),
            _ => format!("{pulled} packages in all, as apt says now"),
        });
        let script = format!("install_packages {}", words(missing));
        Some(Change::new(Action::Create, details, script).inexact().under("dpkg"))
    }

    fn predict(&self, _task: &str, seen: &mut Observation) {
        for name in &self.names {
            if !seen.is_installed(name) {
                seen.fresh_packages.insert(name.clone());
                let state = PackageState { status: "ii".to_owned(), version: String::new() };
                seen.packages.insert(name.clone(), state);
            }
        }
    }
}

fn detail(name: &str, seen: &Observation) -> String {
    match seen.packages.get(name).map(|state| state.status.as_str()) {
        Some(status) if !matches!(status.get(1..2), Some("n" | "c")) => {
            format!("finish the interrupted installation of {name} (dpkg says {status})")
        }
        _ => format!("install {name}"),
    }
}
