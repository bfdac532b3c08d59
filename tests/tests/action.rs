//! The GitHub Action and the GitLab template: their steps, run as a runner does, with a stand-in for the binary, which can
//! be made to answer anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use stdbctl_playbook::yaml;
use stdbctl_tests::action::{Action, Comment, Github, Job, JobRun, Machine, TOKEN, Trigger, inputs};
use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::lab::checkout;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MARKER: &str = "<!-- stdbctl:my-game@ubuntu@web.example -->\n";

/// Answers as told by files in its home directory, and writes down how it was called.
const STAND_IN: &str = r#"#!/bin/sh
[ "$1" != --version ] || { echo 'stdbctl 0.0.0'; exit; }
{ printf '%s\n' "$@"; echo; } >>"$HOME/arguments"
env >>"$HOME/environment"
for argument; do
  case $argument in --identity=* | --known-hosts=*) stat -c %a "${argument#*=}" && cat "${argument#*=}" ;; esac
done >>"$HOME/secrets"
case "$*" in
  *json*) echo '{"plans":[{"operation":"x"}],"previews": [{"database":"my-game","identity":"c200aa","operation":"update","notes":["\"operation\":\"x\""],"breaks_clients":true}]}'; exit 10 ;;
  *--plan*) cat "$HOME/preview" >>"$GITHUB_STEP_SUMMARY"; exit 10 ;;
esac
read -r code rest <"$HOME/codes" || code=0
sed -i 1d "$HOME/codes"
case $code in
  0) echo '### Published' >>"$GITHUB_STEP_SUMMARY" ;;
  hang) exec perl -e '$SIG{INT} = sub { exit 130 }; open F, ">", "$ENV{HOME}/hangs"; sleep 600' ;;
  2) echo 'error: wrong usage' >&2 ;;
  *) echo '### Locked' >>"$GITHUB_STEP_SUMMARY"; echo '::error title=web.example::another run holds the lock: ada@laptop' ;;
esac
exit "$code"
"#;

/// A runner whose stdbctl is the stand-in.
struct Bench {
    machine: Machine,
    github: Github,
    with: BTreeMap<String, String>,
}

impl Bench {
    fn new() -> Self {
        let machine = Machine::this();
        let github = Github::start(machine.gateway());
        let stand_in = machine.home().join("stand-in");
        std::fs::write(&stand_in, STAND_IN).unwrap();
        std::fs::write(machine.home().join("preview"), "### Preview\n\nA \"quoted\" \\ ta\tb, ümlaut\n")
            .unwrap();
        std::fs::write(machine.home().join("codes"), "").unwrap();
        let mut with = github.release(VERSION, &stand_in);
        with.extend(inputs(&[
            ("name", "my-game"),
            ("host", "ubuntu@web.example"),
            ("ssh-key", "-----BEGIN KEY-----\r\nc2VjcmV0\r\n-----END KEY-----"),
            ("known-hosts", "web.example ssh-ed25519 AAAA"),
            ("module", "module.wasm"),
        ]));
        Self { machine, github, with }
    }

    fn job(&self, trigger: Trigger, more: &[(&str, &str)]) -> JobRun {
        let mut with = self.with.clone();
        with.extend(inputs(more));
        Job { machine: &self.machine, github: &self.github, trigger, with }.run()
    }

    /// What the stand-in wrote down.
    fn seen(&self, name: &str) -> String {
        std::fs::read_to_string(self.machine.home().join(name)).unwrap_or_default()
    }

    /// What the next publishes end with.
    fn ends_with(&self, codes: &str) {
        std::fs::write(self.machine.home().join("codes"), codes).unwrap();
    }
}

#[test]
fn the_action_says_what_it_takes_and_hands_it_over_as_data() {
    let action = Action::ours();
    assert_eq!(action.runs.using, "composite");
    assert_eq!(action.inputs["version"].default.as_deref(), Some(VERSION));
    let environment = || action.runs.steps.iter().flat_map(|step| step.env.values());
    for step in &action.runs.steps {
        assert!(!step.run.contains("${{"), "an input would be code in `{}`", step.name);
        assert_eq!(step.shell, "bash");
    }
    for (name, input) in &action.inputs {
        let expression = format!("${{{{ inputs.{name} }}}}");
        assert!(environment().any(|value| *value == expression), "nothing reads the input `{name}`");
        assert!(!input.description.is_empty());
    }
    let page = std::fs::read_to_string(checkout().join("docs/ci.md")).unwrap();
    for name in action.inputs.keys().chain(action.outputs.keys()) {
        assert!(page.contains(&format!("`{name}`")), "docs/ci.md does not name `{name}`");
    }
}

#[derive(Deserialize)]
struct Template {
    #[serde(rename = ".stdbctl")]
    job: GitlabJob,
}

#[derive(Deserialize)]
struct GitlabJob {
    variables: BTreeMap<String, String>,
    script: Vec<String>,
}

#[test]
fn gitlab_jobs_do_the_same_with_the_same_scripts() {
    let text = std::fs::read_to_string(checkout().join("ci/gitlab.yml")).unwrap();
    let Template { job } = yaml::read("ci/gitlab.yml", &text).unwrap();
    let tag = format!("v{VERSION}");
    assert_eq!(
        (job.variables["PUBLISH_VERSION"].as_str(), &job.variables["PUBLISH_SCRIPTS_REF"]),
        (VERSION, &tag)
    );

    let bench = Bench::new();
    let home = bench.machine.home();
    std::fs::write(home.join("key"), "c2VjcmV0\n").unwrap();
    let at_home = |name: &str| home.join(name).to_string_lossy().into_owned();
    let mut variables = job.variables;
    variables.extend(inputs(&[
        ("CI_API_V4_URL", &bench.github.url("/api")),
        ("CI_COMMIT_SHA", "c0ffee1"),
        ("CI_JOB_URL", "https://gitlab.example/jobs/42"),
        ("CI_PROJECT_DIR", &at_home("work")),
        ("CI_PROJECT_ID", "5"),
        ("PUBLISH_DOWNLOAD_URL", &bench.with["download-url"]),
        ("PUBLISH_SHA256", &bench.with["sha256"]),
        ("PUBLISH_SCRIPTS_URL", &format!("file://{}", checkout().display())),
        ("PUBLISH_SCRIPTS_REF", "HEAD"),
        ("PUBLISH_HOST", "ubuntu@web.example"),
        ("PUBLISH_KNOWN_HOSTS", "web.example ssh-ed25519 AAAA"),
        ("PUBLISH_NAME", "my-game"),
        ("PUBLISH_SSH_KEY", &at_home("key")),
        ("PUBLISH_TOKEN", TOKEN),
    ]));
    let run = |source: &[(&str, &str)]| {
        let mut variables = variables.clone();
        variables.extend(inputs(source));
        let script = job.script.join("\n");
        let run =
            finish(&mut bench.machine.bash(&home.join("work"), &variables, &script), Duration::from_secs(60));
        assert!(!home.join("work.tmp/stdbctl").exists(), "the key and all else are gone");
        run
    };
    let merge_request = [("CI_PIPELINE_SOURCE", "merge_request_event"), ("CI_MERGE_REQUEST_IID", "7")];
    for writes in [&["POST"][..], &["POST", "PUT"]] {
        let run = run(&merge_request);
        assert!(run.status.success(), "{}{}", run.stdout, run.stderr);
        assert_eq!(bench.github.writes(), writes);
    }
    let note = bench.github.comments().pop().unwrap();
    assert!(note.number == 7 && note.body.starts_with(&format!("{MARKER}### Preview\n")), "{note:?}");

    bench.ends_with("7\n1\n");
    let run = run(&[("CI_PIPELINE_SOURCE", "push")]);
    assert_eq!(run.status.code(), Some(1), "{}{}", run.stdout, run.stderr);
    for line in [
        "notice: web.example: another run holds the lock: ada@laptop\n",
        "error: web.example: another run holds the lock: ada@laptop\n",
    ] {
        assert!(run.stdout.contains(line), "no `{line}` in\n{}", run.stdout);
    }
    assert!(bench.seen("secrets").starts_with("600\nc2VjcmV0\n600\nweb.example "));
    assert!(!bench.seen("environment").contains(TOKEN), "a build has no use for the API's token");
}

#[test]
fn a_push_publishes_with_the_key_in_a_file_of_its_own() {
    let bench = Bench::new();
    let odd = "'; touch \"$HOME/pwned\"; echo $(touch $HOME/pwned) `x` \"";
    let args = "--delete-data\n\n--set=tls.mode=off\n";
    let run = bench.job(
        Trigger::Push,
        &[("check-sql", odd), ("expect", "3"), ("args", args), ("break-clients", "true"), ("env", "live")],
    );
    run.ended(0, "stdbctl 0.0.0");
    assert_eq!(
        (run.output("changed"), run.output("breaks-clients"), run.output("database")),
        ("true", "true", "c200aa")
    );
    assert_eq!(run.summary, "### Published\n");
    assert_eq!(bench.github.writes(), [""; 0], "a push has no pull request");
    assert!(!bench.machine.home().join("pwned").exists());

    let calls = bench.seen("arguments");
    let call: Vec<_> = calls.split("\n\n").nth(1).unwrap().lines().collect();
    let (first, last) = call.split_at(2);
    assert_eq!(first, ["publish", "--name=my-game"]);
    assert_eq!(
        last[2..],
        [
            "--host=ubuntu@web.example",
            "--env=live",
            &format!("--check-sql={odd}"),
            "--expect=3",
            "--break-clients",
            "--delete-data",
            "--set=tls.mode=off",
            "--output",
            "github",
            "--yes",
            "--",
            "module.wasm"
        ]
    );
    let secrets = bench.seen("secrets");
    assert!(
        secrets.starts_with("600\n-----BEGIN KEY-----\nc2VjcmV0\n-----END KEY-----\n600\nweb.example "),
        "{secrets}"
    );
    for (place, text) in
        [("argv", calls), ("the environment", bench.seen("environment")), ("the log", run.log.clone())]
    {
        assert!(!text.contains("c2VjcmV0"), "the key is in {place}\n{text}");
    }
    assert_eq!(run.left, ["./stdbctl/bin/stdbctl", "./stdbctl/summary.md"]);
}

#[test]
fn a_pull_request_has_one_comment_that_is_kept_up_to_date() {
    let bench = Bench::new();
    let comment = |number, bot, body: String| Comment { number, bot, body };
    // More than one page of what others say; some of it looks like ours.
    bench.github.comment(comment(7, false, format!("{MARKER}by somebody else")));
    bench.github.comment(comment(7, true, format!("see \"body\":\"{MARKER}")));
    bench.github.comment(comment(8, true, format!("{MARKER}of another pull request")));
    (0..120).for_each(|_| bench.github.comment(comment(7, true, "{\"id\": 1, [".to_owned())));
    let others = bench.github.comments().len();

    let run = bench.job(Trigger::PullRequest(7), &[]);
    run.ended(0, "");
    assert_eq!(run.output("breaks-clients"), "true");
    assert!(run.summary.contains("ümlaut") && !run.summary.contains("<!--"), "{}", run.summary);
    let job = "[this job](https://github.example/games/my-game/actions/runs/42)";
    let end = format!("\n<sub>Preview of c0ffee1 by {job}. Nothing has been changed.</sub>\n");
    let made = bench.github.comments().pop().unwrap().body;
    assert_eq!(made, format!("{MARKER}### Preview\n\nA \"quoted\" \\ ta\tb, ümlaut\n{end}"));

    let long = format!("```\n{}", "0123456789 line of text\n".repeat(5000));
    std::fs::write(bench.machine.home().join("preview"), long).unwrap();
    bench.job(Trigger::PullRequest(7), &[]).ended(0, "");
    assert_eq!(bench.github.writes(), ["POST", "PATCH"]);
    let comments = bench.github.comments();
    assert_eq!(comments.len(), others + 1);
    let body = &comments.last().unwrap().body;
    assert!(
        body.len() < 65536 && body.contains("\n```\n\n*And more") && body.ends_with(&end),
        "{}",
        body.len()
    );

    let run = bench.job(Trigger::PullRequest(7), &[("comment", "false")]);
    run.ended(0, "");
    assert_eq!(bench.github.writes().len(), 2);

    bench.github.forbid_writing();
    bench
        .job(Trigger::PullRequest(7), &[])
        .ended(0, "::warning title=stdbctl::the preview is not a comment: ");
}

#[test]
fn who_comes_second_waits_for_a_bounded_time() {
    let bench = Bench::new();
    bench.ends_with("7\n8\n0\n");
    let run = bench.job(Trigger::Push, &[]);
    run.ended(0, "::notice title=web.example::another run holds the lock: ada@laptop");
    assert!(!run.log.contains("::error"), "it ended well\n{}", run.log);
    assert_eq!(run.summary, "### Published\n");

    bench.ends_with("7\n7\n7\n7\n7\n");
    let run = bench.job(Trigger::Push, &[("wait", "1")]);
    run.ended(7, "::error title=web.example::another run holds the lock: ada@laptop");

    bench.ends_with("2\n");
    bench.job(Trigger::Push, &[]).ended(2, "::error title=stdbctl::wrong usage");
    bench.ends_with("1\n0\n");
    bench.job(Trigger::Push, &[]).ended(1, "::error title=web.example::");
    assert_eq!(bench.seen("codes"), "0\n", "what failed is not tried again");
}

#[test]
fn what_is_not_safe_is_refused_before_a_host_is_asked() {
    let bench = Bench::new();
    bench.job(Trigger::Push, &[("ssh-key", " \n")]).ended(1, "::error title=stdbctl::there is no SSH key");
    // A pull request from a fork has no secrets, and is no reason to fail.
    let run = bench.job(Trigger::PullRequest(7), &[("ssh-key", "")]);
    run.ended(0, "::warning title=stdbctl::no preview: there is no SSH key");
    bench.job(Trigger::Push, &[("known-hosts", "")]).ended(1, "known-hosts is empty");
    bench.job(Trigger::Push, &[("args", "--stats\n--accept-new")]).ended(1, "take --accept-new out of args");
    bench.job(Trigger::Other("pull_request_target"), &[("mode", "publish")]).ended(1, "use pull_request");
    bench.job(Trigger::Other("schedule"), &[]).ended(1, "mode is 'preview' or 'publish'");
    bench.job(Trigger::Push, &[("wait", "soon")]).ended(1, "not a number of seconds");
    bench.job(Trigger::Push, &[("break-clients", "yes")]).ended(1, "not true or false");
    assert_eq!((bench.seen("arguments"), bench.github.writes().len()), (String::new(), 0));
}

#[test]
fn a_binary_that_is_not_the_release_is_never_run() {
    let bench = Bench::new();
    let zeros = "0".repeat(64);
    let run = bench.job(Trigger::Push, &[("sha256", &zeros)]);
    run.ended(1, &format!("not {zeros}. Nothing of it was run"));
    // Plain HTTP without a sha256 is a file from anybody, beside a checksum from anybody.
    let run = bench.job(Trigger::Push, &[("sha256", "")]);
    run.ended(1, "/SHA256SUMS (see above)");
    let sums = format!("{zeros}  stdbctl-{VERSION}-riscv.tar.gz\n{zeros} *other.tar.gz\n");
    bench.job(Trigger::Push, &[("sha256", &sums)]).ended(1, "no sha256 is known for stdbctl-");
    bench.job(Trigger::Push, &[("version", "../0")]).ended(1, "it must be that of a release");
    bench.job(Trigger::Push, &[("version", "9.9.9")]).ended(1, "cannot download");
    assert_eq!(bench.seen("arguments"), "");
}

#[test]
fn a_job_that_is_cancelled_ends_as_with_ctrl_c_and_leaves_no_key() {
    let bench = Bench::new();
    let home = bench.machine.home();
    bench.ends_with("hang\n");
    let folder = home.join("temp/stdbctl/bin");
    std::fs::create_dir_all(&folder).unwrap();
    bench.machine.sh("install -m 755 stand-in temp/stdbctl/bin/stdbctl");
    let temp = home.join("temp").to_string_lossy().into_owned();
    let variables = inputs(&[
        ("RUNNER_TEMP", &temp),
        ("GITHUB_EVENT_NAME", "push"),
        ("PUBLISH_NAME", "my-game"),
        ("PUBLISH_SSH_KEY", "key"),
        ("PUBLISH_KNOWN_HOSTS", "hosts"),
    ]);
    let script = format!("exec '{}/ci/run.sh'", checkout().display());
    let mut command = bench.machine.bash(&home, &variables, &script);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for("stdbctl runs", Duration::from_secs(60), || home.join("hangs").exists().then_some(()));
    bench.machine.sh(&format!("ls temp/stdbctl/secrets.*/key && kill -INT {}", child.id()));
    let status = wait_for("the job ends", Duration::from_secs(60), || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    assert_eq!(bench.machine.sh("ls temp/stdbctl"), "bin\n");
}
