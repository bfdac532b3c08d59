//! The GitHub Action in a container from a clean checkout, against a real host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use stdbctl_tests::action::{Github, Job, JobRun, Machine, TOKEN, Trigger, inputs};
use stdbctl_tests::lab::LabHost;
use stdbctl_tests::operator::{Operator, binary};

/// What the jobs of one project say of a host of the lab.
struct Project<'a> {
    machine: &'a Machine,
    github: &'a Github,
    address: &'a str,
    with: BTreeMap<String, String>,
}

impl Project<'_> {
    /// A job that publishes, or would publish, a module of the fixtures.
    fn job(&self, trigger: Trigger, module: &str, more: &[(&str, &str)]) -> JobRun {
        let mut with = self.with.clone();
        with.insert("module".to_owned(), format!("../action/tests/fixtures/modules/{module}.wasm"));
        with.extend(inputs(more));
        Job { machine: self.machine, github: self.github, trigger, with }.run()
    }

    /// The newest comment, without what is different on each host and in each run.
    fn comment(&self) -> String {
        let body = self.github.comments().pop().unwrap().body;
        let stable = |line: &str| match line {
            _ if line.starts_with("| snapshot |") => "| snapshot | SIZES |\n".to_owned(),
            _ => line.replace(self.address, "HOST") + "\n",
        };
        body.lines().map(stable).collect()
    }
}

/// All arguments of all processes of the runner, until told to stop.
const WATCH: &str = "while [ ! -e /tmp/watched ]; do cat /proc/[0-9]*/cmdline || true; done 2>/dev/null |
    tr '\\0' '\\n' | awk '!seen[$0]++' >/tmp/arguments; touch /tmp/written";

/// Writes down what curl is called with, which may be over sooner than somebody looks.
const CURL: &str = r#"printf '%s\n' '#!/bin/sh' 'printf "%s\n" "$@" >>/tmp/called' 'exec /usr/bin/curl "$@"' >curl;
    sudo install -m 755 curl /usr/local/bin; rm curl"#;

#[test]
fn a_clean_checkout_previews_and_publishes_to_a_real_host() {
    let host = LabHost::up("action");
    host.deploy(&Operator::new());
    let machine = Machine::beside(&host);
    let github = Github::start(machine.gateway());
    let key = std::fs::read_to_string(&host.identity).unwrap();
    let address = host.address.to_string();
    let known = std::fs::read_to_string(&host.known_hosts).unwrap().replace(&host.ip().to_string(), &address);
    let mut with = github.release(env!("CARGO_PKG_VERSION"), &binary());
    with.extend(inputs(&[
        ("name", "my-game"),
        ("host", &format!("ubuntu@{address}")),
        ("ssh-key", &key),
        ("known-hosts", &known),
    ]));
    let project = Project { machine: &machine, github: &github, address: &address, with };

    machine.sh(CURL);
    let mut watch = machine.bash(&machine.home(), &BTreeMap::new(), WATCH).spawn().unwrap();
    let made = project.job(Trigger::Push, "demo_v1", &[("check-sql", "select * from person")]);
    made.ended(0, "");
    assert_eq!((made.output("changed"), made.output("breaks-clients")), ("true", "false"));
    assert_eq!(made.output("database").len(), 64, "{made:?}");
    let preview = project.job(Trigger::PullRequest(7), "demo_v2_addtable", &[]);
    preview.ended(0, "::group::");
    machine.sh("touch /tmp/watched");
    assert!(watch.wait().unwrap().success());
    let seen = machine.sh("cat /tmp/arguments /tmp/written /tmp/called");
    assert!(seen.contains("--name=my-game") && seen.contains("--header"), "{seen}");
    let secret = key.lines().nth(2).unwrap();
    for (place, text) in [("an argument", &seen), ("a log", &made.log), ("a log", &preview.log)] {
        assert!(
            !text.contains(secret) && !text.contains(TOKEN),
            "the key or the token is in {place}\n{text}"
        );
    }

    assert_eq!((preview.output("changed"), preview.output("database")), ("true", made.output("database")));
    insta::assert_snapshot!("preview_comment", project.comment());
    let again = project.job(Trigger::PullRequest(7), "demo_v4_noreducer", &[]);
    again.ended(1, "--break-clients");
    assert_eq!(again.output("breaks-clients"), "true", "{again:?}");
    assert!(again.summary.contains("cannot be published"), "{}", again.summary);
    assert_eq!(github.writes(), ["POST", "PATCH"], "the same comment");
    insta::assert_snapshot!("preview_comment_breaking", project.comment());

    let broken = project.job(Trigger::Push, "demo_v5_initpanic", &[("name", "broken")]);
    broken.ended(1, "::error title=");
    project.job(Trigger::Push, "demo_v4_noreducer", &[]).ended(1, "--break-clients");
    let elsewhere = known.replace(&address, "192.0.2.1");
    project.job(Trigger::Push, "demo_v2_addtable", &[("known-hosts", &elsewhere)]).ended(5, "::error title=");
    project
        .job(Trigger::Push, "demo_v2_addtable", &[("sha256", &"0".repeat(64))])
        .ended(1, "Nothing of it was run");
    let same = project.job(Trigger::Push, "demo_v1", &[]);
    assert_eq!((same.code, same.output("changed")), (0, "false"), "{same:?}");

    std::thread::scope(|scope| {
        let jobs = [("my-game", "demo_v2_addtable"), ("other-game", "demo_v1")];
        let jobs = jobs.map(|(name, module)| {
            let project = &project;
            scope.spawn(move || project.job(Trigger::Push, module, &[("name", name)]))
        });
        for job in jobs {
            let run = job.join().unwrap();
            run.ended(0, "");
            assert_eq!(run.output("changed"), "true", "{run:?}");
        }
    });
    assert_eq!(
        machine.sh("find . -path ./action -prune -o -name 'secrets.*' -print"),
        "",
        "no key is left behind"
    );
}
