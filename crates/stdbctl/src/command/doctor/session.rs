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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;

    use secrecy::SecretString;
    use stdbctl_engine::host::BoxFuture;
    use stdbctl_engine::root::PasswordSource;
    use tempfile::TempDir;

    use super::*;
    use crate::host::Place;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A login on this machine, where some programs are others.
    struct Here(TempDir);

    impl Here {
        fn new(programs: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in programs {
                let file = directory.path().join(name);
                std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            Self(directory)
        }
    }

    impl Login for Here {
        fn host(&self) -> &'static str {
            "web1"
        }

        fn start<'a>(
            &'a self,
            line: &'a str,
            _: Input,
            output: mpsc::Sender<Output>,
        ) -> BoxFuture<'a, Result<Ending, HostError>> {
            let path = self.0.path().display();
            let line = format!(
                "echo loud >&2; printf noise; export PATH='{path}':/usr/bin:/bin SHELL=/bin/dash; {line}"
            );
            Box::pin(async move { Ok(Place::Local(None).exec(&[line], output).await?.0) })
        }
    }

    /// A password that nobody may ask for.
    struct Never;

    impl PasswordSource for Never {
        fn password<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>> {
            Box::pin(async { panic!("it is not wanted") })
        }
    }

    /// Says who one is: nobody special, but for what becomes root.
    const ID: (&str, &str) = ("id", r#"[ "$1" = -un ] && echo ada || echo "${ROOT:-1000}""#);
    const SUDO: (&str, &str) = ("sudo", r#"[ "$1" = -n ] || exit 9; shift; ROOT=0 SUDO_USER=ada exec "$@""#);
    const DOAS: (&str, &str) = ("doas", r#"[ "$1" = -n ] || exit 9; shift; ROOT=0 DOAS_USER=ada exec "$@""#);
    const ASKING: (&str, &str) = ("sudo", "echo 'sudo: a password is required' >&2; exit 1");

    async fn root_of(programs: &[(&str, &str)], can_ask: bool) -> (Step, Option<Trouble>) {
        let password = Arc::new(SudoPassword::new(Never));
        let given = (!can_ask && programs.contains(&SUDO)).then_some(password);
        let mut inside = look(&Here::new(programs), given, can_ask, PATIENCE).await;
        assert_eq!(inside.steps.len(), 3);
        (inside.steps.pop().unwrap(), inside.trouble)
    }

    #[tokio::test]
    async fn shell_and_system_are_told_through_the_noise() {
        let host = Here::new(&[ID, SUDO, ("uname", "echo Linux 6.1 x86_64")]);
        let inside = look(&host, None, false, PATIENCE).await;
        let told: Vec<_> = inside.steps.iter().map(|step| step.details.join("; ")).collect();
        assert!(told[0].starts_with("a command was answered in "), "{told:?}");
        assert_eq!(
            told[1..],
            ["/bin/dash of ada; Linux 6.1 x86_64", "deploy becomes root with sudo, without a password"]
        );
        assert!(inside.trouble.is_none());
    }

    #[tokio::test]
    async fn each_way_to_root_is_told_from_the_others() {
        let told = |(step, trouble): (Step, Option<Trouble>)| {
            assert!(trouble.is_none(), "{trouble:?}");
            (step.result, step.details[0].clone())
        };
        let doas = told(root_of(&[ID, ASKING, DOAS], false).await);
        assert_eq!(doas, (Outcome::Ok, "deploy becomes root with doas, without a password".to_owned()));
        let root = told(root_of(&[("id", "[ $1 = -un ] && echo root || echo 0")], false).await);
        assert_eq!(root, (Outcome::Ok, "the login user is root: deploy needs no sudo".to_owned()));
        // A password that was given is not asked for where none is wanted.
        assert_eq!(told(root_of(&[ID, SUDO], false).await).0, Outcome::Ok);
        let asked = told(root_of(&[ID, ASKING], true).await);
        assert_eq!(asked.0, Outcome::Unproven);
        assert!(asked.1.contains("not in sudoers"), "{}", asked.1);
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_a_wanted_password_is_a_failure() {
        let (step, trouble) = root_of(&[ID, ASKING], false).await;
        assert_eq!(step.result, Outcome::Failed);
        let trouble = trouble.unwrap();
        assert_eq!(trouble.cause, "sudo wants a password, and nobody can be asked for it");
        assert!(trouble.hints[0].contains("--sudo-password-file"), "{trouble:?}");
        // Only sudo-rs says so without having seen a password.
        let words = "sudo: I'm sorry ada. I'm afraid I can't do that";
        let refuses = ("sudo", format!("echo \"{words}\" >&2; exit 1"));
        let trouble = root_of(&[ID, (refuses.0, &refuses.1)], true).await.1.unwrap();
        assert_eq!(trouble.cause, words);
    }

    #[tokio::test]
    async fn a_shell_that_runs_nothing_is_named_with_its_words() {
        struct Nologin;
        impl Login for Nologin {
            fn host(&self) -> &'static str {
                "web1"
            }

            fn start<'a>(
                &'a self,
                _: &'a str,
                _: Input,
                output: mpsc::Sender<Output>,
            ) -> BoxFuture<'a, Result<Ending, HostError>> {
                Box::pin(async move {
                    let words = b"\x1b[2JThis account is currently not available.\n".to_vec();
                    output.send(Output::Stdout(words)).await.unwrap();
                    Ok(Ending::Status(1))
                })
            }
        }
        let inside = look(&Nologin, None, false, PATIENCE).await;
        let results: Vec<_> = inside.steps.iter().map(|step| step.result).collect();
        assert_eq!(results, [Outcome::Ok, Outcome::Failed, Outcome::NotReached]);
        let cause = inside.trouble.unwrap().cause;
        assert!(cause.contains("(exit status 1), saying: \u{fffd}[2JThis account"), "{cause}");
    }

    #[tokio::test]
    async fn a_shell_that_never_answers_is_not_waited_for() {
        struct Waiting(Mutex<Option<mpsc::Sender<Output>>>);
        impl Login for Waiting {
            fn host(&self) -> &'static str {
                "web1"
            }

            fn start<'a>(
                &'a self,
                _: &'a str,
                _: Input,
                output: mpsc::Sender<Output>,
            ) -> BoxFuture<'a, Result<Ending, HostError>> {
                Box::pin(async move {
                    output.send(Output::Stderr(b"mounting /home".to_vec())).await.unwrap();
                    *self.0.lock().unwrap() = Some(output);
                    std::future::pending().await
                })
            }
        }
        let inside = look(&Waiting(Mutex::default()), None, false, Duration::from_secs(1)).await;
        let results: Vec<_> = inside.steps.iter().map(|step| step.result).collect();
        assert_eq!(results, [Outcome::Ok, Outcome::Failed, Outcome::NotReached]);
        let trouble = inside.trouble.unwrap();
        assert_eq!(trouble.cause, "no answer within 1 s, saying: mounting /home");
        assert!(trouble.hints[0].contains(".bashrc"), "{trouble:?}");
    }
}
