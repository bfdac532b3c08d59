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

/// A login where every line says this and then ends so, or never ends.
struct Scripted {
    says: Output,
    ends: Mutex<Option<Result<Ending, HostError>>>,
}

impl Login for Scripted {
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
            output.send(self.says.clone()).await.unwrap();
            let ending = self.ends.lock().unwrap().take();
            match ending {
                Some(ending) => ending,
                // What it writes to stays open.
                None => std::future::pending().await,
            }
        })
    }
}

/// What came of each step, and why it ended.
async fn scripted(
    says: Output,
    ends: Option<Result<Ending, HostError>>,
    patience: Duration,
) -> (Vec<Outcome>, Trouble) {
    let inside = look(&Scripted { says, ends: Mutex::new(ends) }, None, false, patience).await;
    (inside.steps.iter().map(|step| step.result).collect(), inside.trouble.unwrap())
}

#[tokio::test]
async fn a_shell_that_runs_nothing_is_named_with_its_words() {
    let words = b"\x1b[2JThis account is currently not available.\n".to_vec();
    let (results, trouble) = scripted(Output::Stdout(words), Some(Ok(Ending::Status(1))), PATIENCE).await;
    assert_eq!(results, [Outcome::Ok, Outcome::Failed, Outcome::NotReached]);
    let cause = trouble.cause;
    assert!(cause.contains("(exit status 1), saying: \u{fffd}[2JThis account"), "{cause}");
}

#[tokio::test]
async fn a_shell_that_never_answers_is_not_waited_for() {
    let words = Output::Stderr(b"mounting /home".to_vec());
    let (results, trouble) = scripted(words, None, Duration::from_secs(1)).await;
    assert_eq!(results, [Outcome::Ok, Outcome::Failed, Outcome::NotReached]);
    assert_eq!(trouble.cause, "no answer within 1 s, saying: mounting /home");
    assert!(trouble.hints[0].contains(".bashrc"), "{trouble:?}");
}

#[tokio::test]
async fn a_channel_that_is_lost_or_refused_says_what_to_do() {
    let refusal = HostError { hints: vec!["raise MaxSessions".to_owned()], ..HostError::new("no channel") };
    let table = [
        (
            Ok(Ending::Lost("the server hung up".to_owned())),
            "the server hung up",
            "`journalctl -u ssh -u sshd`",
        ),
        (Err(refusal), "no channel", "raise MaxSessions"),
    ];
    for (ending, cause, hint) in table {
        let (results, trouble) = scripted(Output::Stdout(Vec::new()), Some(ending), PATIENCE).await;
        assert_eq!(results, [Outcome::Failed, Outcome::NotReached, Outcome::NotReached]);
        assert_eq!((trouble.step, trouble.cause.as_str()), (CHANNEL, cause));
        assert!(trouble.hints.len() == 1 && trouble.hints[0].contains(hint), "{trouble:?}");
    }
}
