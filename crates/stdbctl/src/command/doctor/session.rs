//! What there is behind the login: a channel, a shell, and the way to root.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stdbctl_engine::host::{Ending, HostError, Output};
use stdbctl_engine::root::{Input, Login, Root, RootError, SudoPassword};
use stdbctl_ssh::{printable, quote};
use tokio::sync::mpsc;

use super::steps::unreached;
use crate::error::in_one_line;
use crate::report::doctor::{Outcome, Step};
use crate::report::exec::describe;

const CHANNEL: &str = "channel";
const SHELL: &str = "shell";
const ROOT: &str = "root";
/// What the lines of an answer begin with: login shells say things of their own accord.
const MARK: &str = "stdbctl-doctor ";
/// Asks for the login shell, the user, and the system.
const WHO: &str = r#"printf 'stdbctl-doctor %s\n' "$SHELL" "$(id -un)" "$(uname -srm)""#;
/// Asks for the user, and for what has made it that: both say so.
const WHICH: &str = r#"printf 'stdbctl-doctor %s\n' "$(id -u)" "${SUDO_USER:+sudo}" "${DOAS_USER:+doas}""#;
const NO_SHELL: &str = "the user needs a shell that runs commands: look at its entry in /etc/passwd, and for a \
                        ForceCommand in sshd_config or a command= in authorized_keys";
/// How many bytes of what a host says are kept.
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

/// What a command has said.
#[derive(Default)]
struct Said {
    /// The lines that were asked for.
    answer: Vec<String>,
    /// The last of all others.
    last_words: String,
}

/// The steps behind the login where there was none.
pub(super) fn not_reached() -> Vec<Step> {
    all_unreached(&[CHANNEL, SHELL, ROOT])
}

fn all_unreached(steps: &[&'static str]) -> Vec<Step> {
    steps.iter().copied().map(unreached).collect()
}

/// Looks around, and changes nothing. `password` is what sudo gets, once, if it wants one.
pub(super) async fn look(login: &dyn Login, password: Option<Arc<SudoPassword>>, can_ask: bool) -> Inside {
    let mut steps = match shell(login).await {
        Ok(steps) => steps,
        Err(inside) => return inside,
    };
    let (step, trouble) = root(login, password, can_ask).await;
    steps.push(step);
    Inside { steps, trouble }
}

/// A command in a channel, and what its shell says of itself.
async fn shell(login: &dyn Login) -> Result<Vec<Step>, Inside> {
    let failed = |mut steps: Vec<Step>, step, cause: String, hints, rest: &[&'static str]| {
        steps.push(Step::new(step, Outcome::Failed, vec![cause.clone()]));
        steps.extend(all_unreached(rest));
        Inside { steps, trouble: Some(Trouble { step, cause, hints }) }
    };
    let started = Instant::now();
    let (ended, said) = ask_login(login).await;
    let took = started.elapsed();
    let ending = match ended {
        Ok(Ending::Lost(why)) => return Err(failed(Vec::new(), CHANNEL, why, Vec::new(), &[SHELL, ROOT])),
        Ok(ending) => ending,
        Err(error) => {
            let cause = in_one_line(&error);
            return Err(failed(Vec::new(), CHANNEL, cause, error.hints, &[SHELL, ROOT]));
        }
    };
    let steps = vec![channel(took)];
    if let [shell, user, system] = said.answer.as_slice() {
        let told = vec![format!("{shell} of {user}"), system.clone()];
        return Ok([steps, vec![Step::new(SHELL, Outcome::Ok, told)]].concat());
    }
    let words = Some(said.last_words).filter(|words| !words.is_empty());
    let words = words.map_or_else(String::new, |words| format!(", saying: {words}"));
    let cause = format!("the login shell ran no command, but ended ({}){words}", describe(&ending));
    Err(failed(steps, SHELL, cause, vec![NO_SHELL.to_owned()], &[ROOT]))
}

fn channel(took: Duration) -> Step {
    let told = vec![format!("a command was answered in {} ms, two round trips", took.as_millis())];
    Step { seconds: Some(took.as_secs_f64()), ..Step::new(CHANNEL, Outcome::Ok, told) }
}

async fn ask_login(login: &dyn Login) -> (Result<Ending, HostError>, Said) {
    let Ok(line) = quote::join(["sh", "-c", WHO]) else {
        return (Err(HostError::new("the command contains a NUL byte")), Said::default());
    };
    let (sender, output) = mpsc::channel(4);
    tokio::join!(login.start(&line, Input::default(), sender), listen(output))
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
            "sudo wants a password: deploy asks for it here",
            "none was tried; --sudo-password-file FILE tries one, once",
        ];
        return (Step::new(ROOT, Outcome::Note, told.map(str::to_owned).to_vec()), None);
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
    let (sender, output) = mpsc::channel(4);
    let (ending, said) = tokio::join!(root.command(login, &words, sender), listen(output));
    let ending = ending?;
    match said.answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["0", "sudo", _] => Ok(Way::Sudo),
        ["0", _, "doas"] => Ok(Way::Doas),
        ["0", ..] => Ok(Way::Login),
        _ => Err(HostError::new(format!("root ran no command ({}): {}", describe(&ending), said.last_words))),
    }
}

/// Reads a command's output to its end, in bounded memory.
async fn listen(mut output: mpsc::Receiver<Output>) -> Said {
    let mut heard = Vec::new();
    while let Some(Output::Stdout(piece) | Output::Stderr(piece)) = output.recv().await {
        heard.extend(piece);
        let surplus = heard.len().saturating_sub(MOST);
        heard.drain(..surplus);
    }
    let mut said = Said::default();
    for line in String::from_utf8_lossy(&heard).lines() {
        match line.strip_prefix(MARK) {
            Some(answer) => said.answer.push(printable(answer)),
            None if line.trim().is_empty() => {}
            None => said.last_words = printable(line),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::SecretString;
    use stdbctl_engine::host::BoxFuture;
    use stdbctl_engine::root::PasswordSource;
    use tempfile::TempDir;

    use super::*;
    use crate::host::Place;

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
            let line = format!("echo noise; export PATH='{path}':/usr/bin:/bin SHELL=/bin/dash; {line}");
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
        let mut inside = look(&Here::new(programs), given, can_ask).await;
        assert_eq!(inside.steps.len(), 3);
        (inside.steps.pop().unwrap(), inside.trouble)
    }

    #[tokio::test]
    async fn shell_and_system_are_told_through_the_noise() {
        let inside = look(&Here::new(&[ID, SUDO, ("uname", "echo Linux 6.1 x86_64")]), None, false).await;
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
        assert_eq!(asked, (Outcome::Note, "sudo wants a password: deploy asks for it here".to_owned()));
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_a_wanted_password_is_a_failure() {
        let (step, trouble) = root_of(&[ID, ASKING], false).await;
        assert_eq!(step.result, Outcome::Failed);
        let trouble = trouble.unwrap();
        assert_eq!(trouble.cause, "sudo wants a password, and nobody can be asked for it");
        assert!(trouble.hints[0].contains("--sudo-password-file"), "{trouble:?}");
        let refuses = ("sudo", "echo 'ada is not in the sudoers file.' >&2; exit 1");
        let trouble = root_of(&[ID, refuses], true).await.1.unwrap();
        assert_eq!(trouble.cause, "ada is not in the sudoers file.");
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
        let inside = look(&Nologin, None, false).await;
        let results: Vec<_> = inside.steps.iter().map(|step| step.result).collect();
        assert_eq!(results, [Outcome::Ok, Outcome::Failed, Outcome::NotReached]);
        let cause = inside.trouble.unwrap().cause;
        assert!(cause.contains("(exit status 1), saying: \u{fffd}[2JThis account"), "{cause}");
    }
}
