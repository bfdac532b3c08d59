//! What there is behind the login: a channel, a shell, and the way to root.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stdbctl_engine::host::{Ending, HostError, Output};
use stdbctl_engine::root::{Input, Login, Root, RootError, SudoPassword};
use stdbctl_ssh::{printable, quote};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::steps::unreached;
use crate::error::in_one_line;
use crate::report::doctor::{Outcome, Step};
use crate::report::exec::describe;

const CHANNEL: &str = "channel";
const SHELL: &str = "shell";
const ROOT: &str = "root";
/// What the lines of an answer begin with: login shells say things of their own accord.
const MARK: &str = "stdbctl-doctor ";
/// Asks for the login shell, the user, and the system: on lines of their own, whatever the shell said before.
const WHO: &str = r#"printf '\nstdbctl-doctor %s\n' "$SHELL" "$(id -un)" "$(uname -srm)""#;
/// Asks for the user, and for what has made it that: both say so.
const WHICH: &str = r#"printf '\nstdbctl-doctor %s\n' "$(id -u)" "${SUDO_USER:+sudo}" "${DOAS_USER:+doas}""#;
const NO_SHELL: &str = "the user needs a shell that runs commands: look at its entry in /etc/passwd, and for a \
                        ForceCommand in sshd_config or a command= in authorized_keys";
const WAITS: &str = "something there waits: a line of the user's .bashrc or the like, or a home directory that does \
                     not answer (NFS); `ssh HOST true` waits there, too";
const CUT: &str =
    "look why sshd let go as soon as a command was to run: `journalctl -u ssh -u sshd` on the host";
/// How many bytes of each of a host's two outputs are kept.
const MOST: usize = 64 << 10;

/// What was found, and what of it does not work.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) steps: Vec<Step>,
    pub(super) trouble: Option<Trouble>,
}

/// Why a step does not work.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) step: &'static str,
    pub(super) cause: String,
    pub(super) hints: Vec<String>,
}

/// How a host becomes root.
#[derive(Debug, Clone, Copy)]
enum Way {
    Login,
    Sudo,
    Doas,
}

/// What a command has written so far, in bounded memory.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// What a command has said.
#[derive(Default)]
struct Said {
    /// The lines that were asked for.
    answer: Vec<String>,
    /// The last of all others, errors before all else.
    last_words: String,
}

impl Heard {
    /// Reads a command's output to its end.
    async fn listen(&mut self, mut output: mpsc::Receiver<Output>) {
        while let Some(piece) = output.recv().await {
            let (all, piece) = match piece {
                Output::Stdout(piece) => (&mut self.stdout, piece),
                Output::Stderr(piece) => (&mut self.stderr, piece),
            };
            all.extend(piece);
            all.drain(..all.len().saturating_sub(MOST));
        }
    }

    fn said(&self) -> Said {
        let mut said = Said::default();
        for output in [&self.stdout, &self.stderr] {
            for line in String::from_utf8_lossy(output).lines() {
                match line.strip_prefix(MARK) {
                    Some(answer) => said.answer.push(printable(answer)),
                    None if line.trim().is_empty() => {}
                    None => said.last_words = printable(line),
                }
            }
        }
        said
    }
}

impl Said {
    fn words(&self) -> String {
        if self.last_words.is_empty() { String::new() } else { format!(", saying: {}", self.last_words) }
    }
}

/// The steps behind the login where there was none.
pub(super) fn not_reached() -> Vec<Step> {
    all_unreached(&[CHANNEL, SHELL, ROOT])
}

fn all_unreached(steps: &[&'static str]) -> Vec<Step> {
    steps.iter().copied().map(unreached).collect()
}

/// Looks around, and changes nothing. `password` is what sudo gets, once, if it wants one. `patience` is how long the
/// login shell may take.
pub(super) async fn look(
    login: &dyn Login,
    password: Option<Arc<SudoPassword>>,
    can_ask: bool,
    patience: Duration,
) -> Inside {
    let mut steps = match shell(login, patience).await {
        Ok(steps) => steps,
        Err(inside) => return inside,
    };
    let (step, trouble) = root(login, password, can_ask).await;
    steps.push(step);
    Inside { steps, trouble }
}

/// A command in a channel, and what its shell says of itself.
async fn shell(login: &dyn Login, patience: Duration) -> Result<Vec<Step>, Inside> {
    let started = Instant::now();
    let (ended, said) = ask_login(login, patience).await;
    let took = started.elapsed();
    let ending = match ended {
        // The channel has a limit of its own.
        None => {
            let cause = format!("no answer within {} s{}", patience.as_secs(), said.words());
            return Err(failed_shell(unanswered(), cause, WAITS));
        }
        Some(Ok(Ending::Lost(why))) => return Err(failed_channel(why, vec![CUT.to_owned()])),
        Some(Ok(ending)) => ending,
        Some(Err(error)) => return Err(failed_channel(in_one_line(&error), error.hints)),
    };
    if let [shell, user, system] = said.answer.as_slice() {
        let told = vec![format!("{shell} of {user}"), system.clone()];
        return Ok(vec![channel(took), Step::new(SHELL, Outcome::Ok, told)]);
    }
    let cause = format!("the login shell ran no command, but ended ({}){}", describe(&ending), said.words());
    Err(failed_shell(channel(took), cause, NO_SHELL))
}

fn failed_channel(cause: String, hints: Vec<String>) -> Inside {
    let steps = vec![Step::new(CHANNEL, Outcome::Failed, vec![cause.clone()])];
    let steps = [steps, all_unreached(&[SHELL, ROOT])].concat();
    Inside { steps, trouble: Some(Trouble { step: CHANNEL, cause, hints }) }
}

fn failed_shell(channel: Step, cause: String, hint: &str) -> Inside {
    let steps = vec![channel, Step::new(SHELL, Outcome::Failed, vec![cause.clone()]), unreached(ROOT)];
    Inside { steps, trouble: Some(Trouble { step: SHELL, cause, hints: vec![hint.to_owned()] }) }
}

fn channel(took: Duration) -> Step {
    let told = vec![format!("a command was answered in {} ms, two round trips", took.as_millis())];
    Step { seconds: Some(took.as_secs_f64()), ..Step::new(CHANNEL, Outcome::Ok, told) }
}

fn unanswered() -> Step {
    Step::new(CHANNEL, Outcome::Ok, vec!["open: a command was sent".to_owned()])
}

/// None if it does not end in time.
async fn ask_login(login: &dyn Login, patience: Duration) -> (Option<Result<Ending, HostError>>, Said) {
    let Ok(line) = quote::join(["sh", "-c", WHO]) else {
        return (Some(Err(HostError::new("the command contains a NUL byte"))), Said::default());
    };
    let mut heard = Heard::default();
    let (sender, output) = mpsc::channel(4);
    let asking = async { tokio::join!(login.start(&line, Input::default(), sender), heard.listen(output)).0 };
    let ended = timeout(patience, asking).await.ok();
    (ended, heard.said())
}

/// The way to root, as `deploy` goes it.
async fn root(
    login: &dyn Login,
    password: Option<Arc<SudoPassword>>,
    can_ask: bool,
) -> (Step, Option<Trouble>) {
    let error = match become_root(login, None).await {
        Ok(way) => return (rooted(way, "without a password"), None),
        Err(error) => error,
    };
    if !wants_password(&error) {
        return no_root(error);
    }
    if let Some(password) = password {
        return match become_root(login, Some(password)).await {
            Ok(way) => (rooted(way, "with the password given"), None),
            Err(error) => no_root(error),
        };
    }
    if can_ask {
        let told = [
            "sudo wants a password, which deploy asks for here, or the user is not in sudoers: it says the same to both",
            "none was tried; --sudo-password-file FILE tries one, once",
        ];
        return (Step::new(ROOT, Outcome::Unproven, told.map(str::to_owned).to_vec()), None);
    }
    no_root(error)
}

fn rooted(way: Way, how: &str) -> Step {
    let told = match way {
        Way::Login => "the login user is root: deploy needs no sudo".to_owned(),
        Way::Sudo => format!("deploy becomes root with sudo, {how}"),
        Way::Doas => format!("deploy becomes root with doas, {how}"),
    };
    Step::new(ROOT, Outcome::Ok, vec![told])
}

fn no_root(error: HostError) -> (Step, Option<Trouble>) {
    let cause = match error.source.as_ref().and_then(|source| source.downcast_ref::<RootError>()) {
        Some(error) => in_one_line(error),
        None => in_one_line(&error),
    };
    let step = Step::new(ROOT, Outcome::Failed, vec![cause.clone()]);
    (step, Some(Trouble { step: ROOT, cause, hints: error.hints }))
}

fn wants_password(error: &HostError) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref::<RootError>());
    matches!(source, Some(RootError::PasswordNeeded))
}

async fn become_root(login: &dyn Login, password: Option<Arc<SudoPassword>>) -> Result<Way, HostError> {
    let words = quote::join(["sh", "-c", WHICH]);
    let words = words.map_err(|_| HostError::new("the command contains a NUL byte"))?;
    let root = Root::new(password);
    let mut heard = Heard::default();
    let (sender, output) = mpsc::channel(4);
    let (ending, ()) = tokio::join!(root.command(login, &words, sender), heard.listen(output));
    let (ending, said) = (ending?, heard.said());
    match said.answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["0", "sudo", _] => Ok(Way::Sudo),
        ["0", _, "doas"] => Ok(Way::Doas),
        ["0", ..] => Ok(Way::Login),
        _ => Err(HostError::new(format!("root ran no command ({}): {}", describe(&ending), said.last_words))),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
