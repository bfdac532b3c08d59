//! `action.yml` run as GitHub's runner does it: its steps in order, each by bash in an environment of its own.

mod github;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use stdbctl_playbook::yaml;
use tempfile::TempDir;

use crate::deadline::{Finished, finish};
use crate::lab::{LabHost, checkout};

pub use github::{Comment, Github, TOKEN};

/// Longer than any step takes.
const STEP: Duration = Duration::from_secs(120);

/// What `action.yml` says.
#[derive(Debug, Deserialize)]
pub struct Action {
    /// What it takes, by name.
    pub inputs: BTreeMap<String, Input>,
    /// What it gives, by name.
    pub outputs: BTreeMap<String, Output>,
    /// What it does.
    pub runs: Runs,
}

/// An input of an action.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What it is.
    pub description: String,
    /// Its value if none is given.
    pub default: Option<String>,
}

/// An output of an action.
#[derive(Debug, Deserialize)]
pub struct Output {
    /// Where it comes from.
    pub value: String,
}

/// The steps of an action.
#[derive(Debug, Deserialize)]
pub struct Runs {
    /// `composite`.
    pub using: String,
    /// In this order.
    pub steps: Vec<Step>,
}

/// A step of an action.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// Its title.
    pub name: String,
    /// What others call it.
    pub id: Option<String>,
    /// When it runs; after successes only, if nothing is said.
    #[serde(rename = "if")]
    pub condition: Option<String>,
    /// Who runs the script.
    pub shell: String,
    /// The script.
    pub run: String,
    /// What it finds in its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Action {
    /// The one of this checkout.
    ///
    /// # Panics
    /// When it is not what it should be.
    pub fn ours() -> Self {
        let text = std::fs::read_to_string(checkout().join("action.yml")).unwrap_or_else(|e| panic!("{e}"));
        yaml::read("action.yml", &text).unwrap_or_else(|error| panic!("{error}\n{}", error.snippet))
    }
}

/// Where jobs run: a machine with bash, a checkout of the action, and a workspace.
pub enum Machine {
    /// This one, with the action as it lies here.
    This(TempDir),
    /// A container beside a host of the lab, with a clean checkout.
    Container {
        /// Its name.
        name: String,
        /// Where it finds this machine.
        gateway: String,
    },
}

impl Machine {
    /// This machine, for scripts that reach nothing else.
    ///
    /// # Panics
    /// When there is no room for a directory.
    pub fn this() -> Self {
        let home = TempDir::with_prefix("runner-").unwrap_or_else(|error| panic!("{error}"));
        let machine = Self::This(home);
        machine.sh("mkdir work");
        machine
    }

    /// A container on the network of this host, with what git has of this checkout and nothing else.
    ///
    /// # Panics
    /// When docker cannot start it.
    pub fn beside(host: &LabHost) -> Self {
        let look =
            "{{.Config.Image}} {{range $n, $s := .NetworkSettings.Networks}}{{$n}} {{$s.Gateway}}{{end}}";
        let shown = docker(&["inspect", "--format", look, &host.container]);
        let [image, network, gateway] = shown.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{}: {shown}", host.container)
        };
        let name = format!("{}-runner", host.container);
        // It ends by itself, whatever becomes of the test.
        let run = ["run", "--detach", "--rm", "--init", "--network", network, "--name", &name];
        docker(&[&run[..], &["--entrypoint", "sleep", image, "900"]].concat());
        let machine = Self::Container { name: name.clone(), gateway: gateway.to_owned() };
        machine.sh("mkdir work action");
        let copy = format!(
            "git ls-files -z | tar --null --ignore-failed-read -cf - -T - |
             docker exec -i -u ubuntu {name} tar -C /home/ubuntu/action -xf -"
        );
        let copied = finish(Command::new("bash").args(["-c", &copy]).current_dir(checkout()), STEP);
        assert!(copied.status.success(), "no checkout in the container\n{}", copied.stderr);
        machine
    }

    /// The address by which it reaches a server of this test.
    pub fn gateway(&self) -> &str {
        match self {
            Self::This(_) => "127.0.0.1",
            Self::Container { gateway, .. } => gateway,
        }
    }

    /// The home directory of the user that jobs run as.
    pub fn home(&self) -> PathBuf {
        match self {
            Self::This(home) => home.path().to_path_buf(),
            Self::Container { .. } => PathBuf::from("/home/ubuntu"),
        }
    }

    fn action(&self) -> PathBuf {
        match self {
            Self::This(_) => checkout().to_path_buf(),
            Self::Container { .. } => self.home().join("action"),
        }
    }

    /// Bash with these variables and few others.
    pub fn bash(&self, directory: &Path, variables: &BTreeMap<String, String>, script: &str) -> Command {
        let bash = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script];
        let home = self.home();
        let mut command = match self {
            Self::This(_) => {
                let mut command = Command::new("bash");
                command.args(&bash[1..]).current_dir(directory).env_clear().env("HOME", home);
                command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
                command
            }
            Self::Container { name, .. } => {
                let mut command = Command::new("docker");
                command.args(["exec", "--user", "ubuntu", "--env", "HOME=/home/ubuntu", "--workdir"]);
                // By name only: values are nobody's business on this machine either.
                let names = variables.keys().flat_map(|key| ["--env", key]);
                command.arg(directory).args(names).arg(name).args(bash);
                command
            }
        };
        command.envs(variables);
        command
    }

    /// Runs a script in the home directory, and returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let finished = finish(&mut self.bash(&self.home(), &BTreeMap::new(), script), STEP);
        assert!(finished.status.success(), "{script}\n{}\n{}", finished.stdout, finished.stderr);
        finished.stdout
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Self::Container { name, .. } = self {
            finish(Command::new("docker").args(["rm", "--force", name]), STEP);
        }
    }
}

fn docker(arguments: &[&str]) -> String {
    let Finished { status, stdout, stderr, .. } = finish(Command::new("docker").args(arguments), STEP);
    assert!(status.success(), "docker {arguments:?}\n{stderr}");
    stdout
}

/// What starts a job.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    /// Something was pushed.
    Push,
    /// A pull request of this number.
    PullRequest(u32),
    /// Any other event.
    Other(&'static str),
}

/// Inputs by name.
pub fn inputs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A job whose one step uses the action.
pub struct Job<'a> {
    /// Where it runs.
    pub machine: &'a Machine,
    /// The service that starts it.
    pub github: &'a Github,
    /// What starts it.
    pub trigger: Trigger,
    /// The action's `with`.
    pub with: BTreeMap<String, String>,
}

/// A job that has ended.
#[derive(Debug)]
pub struct JobRun {
    /// The exit code of the first step that failed; 0 if none did.
    pub code: i32,
    /// What its steps said, in order.
    pub log: String,
    /// The action's outputs.
    pub outputs: BTreeMap<String, String>,
    /// The summary of the job.
    pub summary: String,
    /// What was left in the runner's temporary directory.
    pub left: Vec<String>,
}

impl Job<'_> {
    /// Runs it to its end.
    ///
    /// # Panics
    /// When the action is no action, or a step does not end.
    pub fn run(&self) -> JobRun {
        let action = Action::ours();
        let folder = self.machine.sh("mktemp -d \"$HOME/job.XXXXXX\"").trim_end().to_owned();
        self.machine.sh(&format!("mkdir {folder}/temp && : >{folder}/summary"));
        let mut steps = BTreeMap::new();
        let (mut code, mut log) = (0, String::new());
        for (number, step) in action.runs.steps.iter().enumerate() {
            if code != 0 && !runs_after_a_failure(step) {
                continue;
            }
            let output = format!("{folder}/output-{number}");
            let value = |expression: &str| self.value(&action, &steps, expression);
            let mut variables: BTreeMap<_, _> =
                step.env.iter().map(|(key, text)| (key.clone(), evaluated(text, value))).collect();
            variables.extend(self.defaults(&folder, &output));
            let workspace = self.machine.home().join("work");
            let finished = finish(&mut self.machine.bash(&workspace, &variables, &step.run), STEP);
            // Writing to a string cannot fail.
            write!(log, "== {}\n{}{}", step.name, finished.stdout, finished.stderr).ok();
            if code == 0 && !finished.status.success() {
                code = finished.status.code().unwrap_or(-1);
            }
            if let Some(id) = &step.id {
                let written = self.machine.sh(&format!("cat {output} 2>/dev/null || true"));
                let lines = written.lines().filter_map(|line| line.split_once('='));
                steps.extend(
                    lines.map(|(key, value)| (format!("steps.{id}.outputs.{key}"), value.to_owned())),
                );
            }
        }
        let value = |expression: &str| self.value(&action, &steps, expression);
        let outputs = action
            .outputs
            .iter()
            .map(|(name, output)| (name.clone(), evaluated(&output.value, value)))
            .collect();
        let left = self.machine.sh(&format!("cd {folder}/temp && find . -type f | sort"));
        let left = left.lines().map(str::to_owned).collect();
        let summary = self.machine.sh(&format!("cat {folder}/summary"));
        JobRun { code, log, outputs, summary, left }
    }

    /// The value of an expression of the few kinds that `action.yml` needs.
    fn value(&self, action: &Action, steps: &BTreeMap<String, String>, expression: &str) -> String {
        if let Some(name) = expression.strip_prefix("inputs.") {
            let input = action.inputs.get(name).unwrap_or_else(|| panic!("no input `{name}`"));
            return self.with.get(name).or(input.default.as_ref()).cloned().unwrap_or_default();
        }
        if expression.starts_with("steps.") {
            return steps.get(expression).cloned().unwrap_or_default();
        }
        match (expression, self.trigger) {
            ("github.token", _) => TOKEN.to_owned(),
            ("github.event.pull_request.number", Trigger::PullRequest(number)) => number.to_string(),
            ("github.event.pull_request.head.sha", Trigger::PullRequest(_)) => "c0ffee1".to_owned(),
            (event, _) if event.starts_with("github.event.pull_request.") => String::new(),
            _ => panic!("this runner does not know `{expression}`"),
        }
    }

    /// What every step finds in its environment.
    fn defaults(&self, folder: &str, output: &str) -> BTreeMap<String, String> {
        let event = match self.trigger {
            Trigger::Push => "push",
            Trigger::PullRequest(_) => "pull_request",
            Trigger::Other(name) => name,
        };
        [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTION_PATH", &self.machine.action().to_string_lossy()),
            ("GITHUB_API_URL", &self.github.url("/api")),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_OUTPUT", output),
            ("GITHUB_PATH", &format!("{folder}/path")),
            ("GITHUB_REPOSITORY", "games/my-game"),
            ("GITHUB_RUN_ID", "42"),
            ("GITHUB_SERVER_URL", "https://github.example"),
            ("GITHUB_SHA", "facade2"),
            ("GITHUB_STEP_SUMMARY", &format!("{folder}/summary")),
            ("RUNNER_TEMP", &format!("{folder}/temp")),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

impl JobRun {
    /// Asserts that it ended so, saying this.
    ///
    /// # Panics
    /// When it did not.
    pub fn ended(&self, code: i32, said: &str) -> &Self {
        assert!(self.code == code, "exit code {}, not {code}\n{}", self.code, self.log);
        assert!(self.log.contains(said), "`{said}` was not said\n{}", self.log);
        self
    }

    /// An output.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map(String::as_str).unwrap_or_default()
    }
}

fn runs_after_a_failure(step: &Step) -> bool {
    match step.condition.as_deref() {
        None => false,
        Some("${{ always() }}" | "${{ !cancelled() }}") => true,
        Some(other) => panic!("this runner does not know the condition `{other}`"),
    }
}

/// Text with its `${{ expressions }}` replaced.
fn evaluated(text: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = text.split("${{");
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").unwrap_or_else(|| panic!("no end in `{text}`"));
        done.push_str(&value(expression.trim()));
        done.push_str(rest);
    }
    done
}
