//! One configuration, and the verdicts on it.

use std::process::Command;
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::{Finished, finish};
use stdbctl_tests::lab::line;
use stdbctl_tests::operator::Run;
use stdbctl_tests::terminal::Terminal;

use crate::world::World;

/// Longer than a login takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// What `ssh` exits with when it did not get in.
const SSH_REFUSED: i32 = 255;

/// A configuration.
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) server: &'static str,
    pub(crate) lines: &'static str,
    verdict: Verdict,
    root: Root,
    /// What is asked for on a terminal, and what is typed then.
    pub(crate) typed: Option<(&'static str, &'static str)>,
}

/// What must come of it. stdbctl's refusals are its exit code and a part of its last line.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    In,
    Refused(i32, &'static str),
    /// `ssh` gets in, and stdbctl does not by design.
    OnlySsh(i32, &'static str),
}

/// How root is reached, where that is what is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// Not by `ssh` and `exec`; by a deployment with sudo.
    Unasked,
    Sudo,
    Password,
    Login,
}

/// A configuration where nobody has to be root but a deployment.
pub(crate) const fn cell(
    name: &'static str,
    server: &'static str,
    lines: &'static str,
    verdict: Verdict,
) -> Cell {
    Cell { name, server, lines, verdict, root: Root::Unasked, typed: None }
}

impl Cell {
    pub(crate) const fn by(self, root: Root) -> Self {
        Self { root, ..self }
    }

    pub(crate) const fn typing(self, question: &'static str, answer: &'static str) -> Self {
        Self { typed: Some((question, answer)), ..self }
    }

    /// The host as `ssh_config` knows it.
    pub(crate) fn host(&self) -> String {
        if self.server == "six-typed" {
            return "::1".to_owned();
        }
        self.name.to_lowercase().replace(", ", "-").replace(' ', "-")
    }

    /// What is not as it must be, with all that was said.
    pub(crate) fn fault(&self, world: &World) -> Option<String> {
        let (ssh, exec, deploy) = (self.ssh(world), self.exec(world), self.deploy(world));
        let expected = match self.verdict {
            Verdict::In | Verdict::OnlySsh(..) => Some(0),
            Verdict::Refused(..) => Some(SSH_REFUSED),
        };
        let mut faults = Vec::new();
        if ssh.status.code() != expected {
            faults.push("ssh");
        }
        if !self.is_verdict(&exec) {
            faults.push("exec");
        }
        if !self.is_verdict(&deploy) || !self.is_no_op(&deploy) {
            faults.push("deploy");
        }
        let Finished { status, stdout, stderr, .. } = ssh;
        (!faults.is_empty()).then(|| {
            format!(
                "== {}: wrong: {}\n-- ssh: {status}\n{stdout}{stderr}\n-- exec\n{exec}\n-- deploy\n{deploy}",
                self.name,
                faults.join(", ")
            )
        })
    }

    fn is_verdict(&self, run: &Run) -> bool {
        match self.verdict {
            Verdict::In => run.code == Some(0),
            Verdict::Refused(code, cause) | Verdict::OnlySsh(code, cause) => {
                run.code == Some(code) && run.last_words().contains(cause)
            }
        }
    }

    fn ssh(&self, world: &World) -> Finished {
        let as_root = r#"test "$(id -u)" = 0"#;
        let command = match self.root {
            Root::Unasked => "true".to_owned(),
            Root::Login => as_root.to_owned(),
            Root::Sudo => format!("sudo sh -c '{as_root}'"),
            Root::Password => format!("sudo -S -p '' sh -c '{as_root}'"),
        };
        // The shell gives it the password that sudo asks for.
        let input = if self.root == Root::Password { "sudo-password" } else { "/dev/null" };
        let mut ssh = Command::new("sh");
        ssh.args(["-c", &format!("exec ssh \"$@\" <{input}"), "sh", "-F", "config"]);
        ssh.args(world.destination(self).1).arg(command);
        let home = world.operator.home();
        ssh.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap()).current_dir(home);
        if self.typed.is_some() {
            ssh.env("SSH_ASKPASS", world.answering(self)).env("SSH_ASKPASS_REQUIRE", "force");
        }
        finish(&mut ssh, LIMIT)
    }

    fn exec(&self, world: &World) -> Run {
        let (as_root, command): (&[&str], &[&str]) = match self.root {
            Root::Unasked => (&[], &["true"]),
            _ => (&["--sudo"], &["sh", "-c", r#"test "$(id -u)" = 0"#]),
        };
        self.run(world, &line(&[&self.reach(world)], &[&["exec"], as_root, &["--"], command].concat()))
    }

    fn deploy(&self, world: &World) -> Run {
        let wish = world.web.wish_private();
        // What is read by a program asks nobody.
        let output = if self.typed.is_some() { "human" } else { "json" };
        self.run(world, &line(&[&self.reach(world), &wish], &["deploy", "--yes", "--output", output]))
    }

    fn run(&self, world: &World, arguments: &[String]) -> Run {
        let Some((question, answer)) = self.typed else { return world.operator.run(arguments) };
        let began = Instant::now();
        let mut terminal = Terminal::start(&world.operator, arguments);
        if terminal.shows_before_its_end(question) {
            terminal.press(&format!("{answer}\r"));
        }
        let (code, shown) = terminal.end();
        Run { code: Some(code), stdout: String::new(), stderr: shown, took: began.elapsed() }
    }

    fn reach(&self, world: &World) -> Vec<String> {
        let host = world.destination(self).0;
        let mut reach = vec!["--ssh-config", "config", "--host", &host];
        if self.root == Root::Password {
            reach.extend(["--sudo-password-file", "sudo-password"]);
        }
        reach.into_iter().map(str::to_owned).collect()
    }

    /// Whether a deployment found everything in place, if it got in.
    fn is_no_op(&self, deploy: &Run) -> bool {
        match (deploy.code, self.typed) {
            (Some(0), Some(_)) => deploy.stderr.contains("nothing to do"),
            (Some(0), None) => {
                let finished = deploy.finished();
                let counts = finished["hosts"].as_object().unwrap().values().next().unwrap();
                counts["changed"] == 0 && counts["failed"] == 0 && counts["unchanged"].as_u64() > Some(20)
            }
            _ => true,
        }
    }
}
