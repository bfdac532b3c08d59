//! The planner's cases, as data: tasks and what a host said of itself go in, the plan comes out.
//!
//! `fixtures/KIND/CASE.json` holds `tasks` as a playbook has them, `observed` as the host's records say it, and
//! last the `plan`, each change with the sh it would run. Every kind has a case, and one named `noop` that plans
//! nothing. After a change that is meant, `UPDATE_FIXTURES=1 cargo nextest run -p stdbctl-engine fixtures` writes
//! the plans anew: read the difference before you commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::dialogue::RunKey;
use crate::graph::Graph;
use crate::host::Stdin;
use crate::observe::Observation;
use crate::plan::Action;
use crate::planner::{self, Changes};
use crate::record::Record;
use crate::resource::require::Outside;
use crate::script::{self, Apply};
use crate::task::{KINDS, Task, TaskSpec};

/// One case as its file holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(skip)]
    name: String,
    /// What it shows, in a sentence.
    about: String,
    tasks: Vec<TaskSpec>,
    /// Tasks that are left out, and why.
    #[serde(default)]
    skipped: BTreeMap<String, String>,
    observed: Vec<Said>,
    /// What the operator's side knows, for requirements.
    #[serde(default)]
    outside: Known,
    /// Why nothing may be changed.
    #[serde(default)]
    problems: Vec<String>,
    plan: Vec<Step>,
}

/// A record of the host.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    kind: String,
    #[serde(default)]
    lines: Vec<String>,
    /// In place of lines, for what is not text.
    #[serde(default)]
    bytes: Vec<u8>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    #[serde(default)]
    clock: i64,
    #[serde(default)]
    peer: Option<IpAddr>,
    #[serde(default)]
    resolved: Option<Vec<IpAddr>>,
    #[serde(default)]
    unresolved: Option<String>,
}

/// A change of the plan, with what would be run.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    task: String,
    action: Action,
    details: Vec<String>,
    exact: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    diffs: Vec<Diff>,
    script: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Diff {
    path: String,
    diff: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All cases, sorted by `KIND/CASE`.
fn cases() -> Vec<Case> {
    let mut names = Vec::new();
    for kind in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap()) {
        if !kind.file_type().unwrap().is_dir() {
            continue;
        }
        let kind_name = kind.file_name().into_string().unwrap();
        for case in std::fs::read_dir(kind.path()).unwrap().map(|entry| entry.unwrap()) {
            let case = case.file_name().into_string().unwrap();
            let case = case.strip_suffix(".json").unwrap_or_else(|| panic!("{case} is not a case"));
            names.push(format!("{kind_name}/{case}"));
        }
    }
    names.sort();
    names.into_iter().map(|name| Case::load(&name)).collect()
}

impl Case {
    fn path(name: &str) -> PathBuf {
        folder().join(format!("{name}.json"))
    }

    fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(Self::path(name)).unwrap();
        let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), ..case }
    }

    fn kind(&self) -> &str {
        self.name.split_once('/').unwrap().0
    }

    fn is_noop(&self) -> bool {
        self.name.contains("noop")
    }

    fn graph(&self) -> Graph {
        let task = |spec: &TaskSpec| {
            spec.clone().into_task(self.skipped.get(&spec.id).cloned()).unwrap_or_else(|e| panic!("{e}"))
        };
        let tasks: Vec<Task> = self.tasks.iter().map(task).collect();
        Graph::new(&tasks).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn records(&self) -> Vec<Record> {
        let record = |said: &Said| Record {
            kind: said.kind.clone(),
            data: if said.bytes.is_empty() { said.lines.join("\n").into_bytes() } else { said.bytes.clone() },
        };
        self.observed.iter().map(record).collect()
    }

    fn outside(&self) -> Outside {
        let known = &self.outside;
        let resolved = known.resolved.clone().map(Ok).or(known.unresolved.clone().map(Err));
        Outside { clock: known.clock, peer: known.peer, resolved }
    }

    /// Writes the plan into the file, in place of the one that ends it.
    fn update(&self, plan: &[Step]) {
        let path = Self::path(&self.name);
        let text = std::fs::read_to_string(&path).unwrap();
        let (kept, _) = text.split_once("\n  \"plan\": ").expect("the plan is a case's last field");
        let plan = pretty(plan).replace('\n', "\n  ");
        std::fs::write(&path, format!("{kept}\n  \"plan\": {plan}\n}}\n")).unwrap();
    }
}

fn steps(changes: &Changes<'_>) -> Vec<Step> {
    let plan = changes.to_plan("host");
    assert_eq!(plan.changes.len(), changes.list.len());
    plan.changes
        .into_iter()
        .zip(&changes.list)
        .map(|(planned, (_, change))| Step {
            task: planned.task,
            action: planned.action,
            details: planned.details,
            exact: planned.exact,
            diffs: planned.diffs.into_iter().map(|d| Diff { path: d.path, diff: lines(&d.diff) }).collect(),
            script: lines(&change.script),
            payload: change.payload.as_ref().map(|payload| match &payload.stdin {
                Stdin::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Stdin::File { path, len, .. } => format!("{len} bytes of {}", path.display()),
            }),
            lock: change.lock.map(str::to_owned),
        })
        .collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn pretty(plan: &[Step]) -> String {
    serde_json::to_string_pretty(plan).unwrap()
}

/// How two texts differ; nothing if they do not.
fn difference(expected: &str, is: &str) -> Option<String> {
    (expected != is)
        .then(|| TextDiff::from_lines(expected, is).unified_diff().header("expected", "is").to_string())
}

#[test]
fn every_case_plans_what_it_says() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some() && std::env::var_os("CI").is_none();
    let mut failures = Vec::new();
    for case in cases() {
        assert!(!case.about.is_empty(), "{} says what it shows", case.name);
        let graph = case.graph();
        let seen = Observation::read(&case.records());
        let plan = steps(&planner::plan(&graph, &seen));
        let problems = planner::problems(&graph, &seen, &case.outside()).join("\n");
        if let Some(difference) = difference(&case.problems.join("\n"), &problems) {
            failures.push(format!("{}: problems\n{difference}", case.name));
        }
        if let Some(difference) = difference(&pretty(&case.plan), &pretty(&plan)) {
            if update {
                case.update(&plan);
            } else {
                failures.push(format!("{}\n{difference}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The kinds a playbook can name, from the vocabulary itself.
fn kinds() -> BTreeSet<String> {
    let schema = schemars::schema_for!(TaskSpec);
    let properties = schema.get("properties").unwrap().as_object().unwrap();
    let of_every_task = ["id", "title", "why", "when", "needs"];
    properties.keys().filter(|name| !of_every_task.contains(&name.as_str())).cloned().collect()
}

#[test]
fn every_kind_has_a_case_and_one_with_nothing_to_do() {
    let cases = cases();
    for kind in kinds() {
        let of_kind = || cases.iter().filter(|case| case.kind() == kind);
        assert!(of_kind().any(|case| !case.is_noop()), "{kind} has a case that is not a no-op");
        assert!(of_kind().any(Case::is_noop), "{kind} has a no-op case");
    }
    for case in &cases {
        let named =
            case.tasks.iter().any(|task| serde_json::to_value(task).unwrap().get(case.kind()).is_some());
        assert!(named, "{} has a task of its kind", case.name);
        assert!(!case.is_noop() || case.plan.is_empty(), "{} plans nothing", case.name);
    }
}

#[test]
fn the_message_that_names_all_kinds_forgets_none() {
    assert_eq!(KINDS.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), kinds());
}

/// The script at the front of what goes to a host.
fn text(stdin: &[Stdin]) -> String {
    let Some(Stdin::Bytes(first)) = stdin.first() else { panic!("a script comes first") };
    let (length, script) = std::str::from_utf8(first).unwrap().split_once('\n').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), script.len());
    script.to_owned()
}

#[test]
fn every_script_of_every_case_parses_under_every_shell() {
    let mut scripts = vec![
        ("record.sh".to_owned(), include_str!("sh/record.sh").to_owned()),
        ("observe.sh".to_owned(), include_str!("sh/observe.sh").to_owned()),
        ("lock.sh".to_owned(), include_str!("sh/lock.sh").to_owned()),
        ("apply.sh".to_owned(), include_str!("sh/apply.sh").to_owned()),
        ("change.sh".to_owned(), include_str!("sh/change.sh").to_owned()),
    ];
    for case in cases() {
        let graph = case.graph();
        let probes = planner::probes(&graph);
        let requirements = planner::requirement_probes(&graph);
        let seen = Observation::read(&case.records());
        let changes = planner::plan(&graph, &seen);
        let text_of = str::to_owned;
        let key = RunKey { nonce: text_of("n"), id: text_of("r"), holder: text_of("it's ada") };
        let apply = Apply { key: &key, lost_run: "l", digest: &seen.digest };
        for probes in [&probes, &requirements] {
            scripts.push((case.name.clone(), text(&[Stdin::Bytes(script::observe("n", probes))])));
        }
        scripts.push((case.name.clone(), text(&script::observe_locked(&key, "l", "m", &probes))));
        scripts.push((case.name.clone(), text(&apply.script(&graph, &probes, &changes))));
    }
    for shell in [&["dash", "-n"][..], &["bash", "--posix", "-n"], &["busybox", "sh", "-n"]] {
        for (case, script) in &scripts {
            let mut child = Command::new(shell[0])
                .args(&shell[1..])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && words.is_empty(), "{case} under {}: {words}", shell[0]);
        }
    }
}

/// What a host that lies does to a record.
fn lied(record: &Record, how: u8, at: usize, noise: &[u8]) -> Record {
    let mut record = record.clone();
    let at = at.checked_rem(record.data.len()).unwrap_or(0);
    match how % 5 {
        0 => record.data.truncate(at),
        1 => drop(record.data.splice(at..at, noise.iter().copied())),
        2 => record.data = noise.to_vec(),
        3 => record.data.retain(|byte| !matches!(byte, b'|' | b':' | b'=')),
        _ => {
            let digits = record.data.iter().flat_map(|byte| {
                let count = if byte.is_ascii_digit() { 25 } else { 1 };
                std::iter::repeat_n(*byte, count)
            });
            record.data = digits.collect();
        }
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_host_makes_the_planner_panic(
        which in any::<prop::sample::Index>(),
        lies in prop::collection::vec((any::<u8>(), any::<usize>(), prop::collection::vec(any::<u8>(), 0..30)), 1..4),
    ) {
        thread_local! {
            static CASES: Vec<(Graph, Vec<Record>, Outside)> =
                cases().iter().map(|case| (case.graph(), case.records(), case.outside())).collect();
        }
        CASES.with(|cases| {
            let (graph, records, outside) = which.get(cases);
            let mut records = records.clone();
            for (number, record) in records.iter_mut().enumerate() {
                let (how, at, noise) = &lies[number % lies.len()];
                *record = lied(record, *how, *at, noise);
            }
            let seen = Observation::read(&records);
            let changes = planner::plan(graph, &seen);
            let done = changes.list.len() + changes.unchanged + changes.skipped.len();
            prop_assert_eq!(done, graph.tasks().len());
            planner::problems(graph, &seen, outside);
            Ok(())
        })?;
    }
}
