//! A login user of a host that is a directory: its shell, its sudo and its doas.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::{ExposeSecret as _, SecretString};
use stdbctl_engine::host::{BoxFuture, Ending, HostError, Output, Stdin};
use stdbctl_engine::root::{Input, Login, PasswordSource, Root, RootError, SudoPassword};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::mpsc;

/// What is `sh` on the host.
pub(crate) const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

pub(crate) struct Account {
    directory: tempfile::TempDir,
    /// What the login shell says of its own accord.
    greeting: String,
    lines: AtomicUsize,
}

impl Account {
    /// A user without sudo, with dash.
    pub(crate) fn new() -> Self {
        Self::under("dash")
    }

    pub(crate) fn under(shell: &str) -> Self {
        let account = Self {
            directory: tempfile::tempdir().unwrap(),
            greeting: String::new(),
            lines: AtomicUsize::new(0),
        };
        let programs = ["sh", "cat", "head", "base64", "wc", "touch", "id", "env", "perl", "sleep"];
        for program in programs {
            let found = find(if program == "sh" { shell } else { program });
            symlink(found, account.path(program)).unwrap();
        }
        account.user(1000)
    }

    /// The one that is root already.
    pub(crate) fn root(shell: &str) -> Self {
        Self::under(shell).user(0)
    }

    fn user(self, id: u32) -> Self {
        std::fs::remove_file(self.path("id")).unwrap();
        self.program("id", &format!("#!/bin/sh\necho {id}\n"))
    }

    pub(crate) fn sudo(self, is: &str) -> Self {
        self.write("sudo-is", is);
        self.program("sudo", include_str!("sudo.sh"))
    }

    pub(crate) fn doas(self, is: &str) -> Self {
        self.write("doas-is", is);
        self.program("doas", include_str!("doas.sh"))
    }

    /// On a host that lacks this program.
    pub(crate) fn without(self, program: &str) -> Self {
        std::fs::remove_file(self.path(program)).unwrap();
        self
    }

    pub(crate) fn password(self, password: &str) -> Self {
        self.write("password", password);
        self
    }

    pub(crate) fn greeting(self, greeting: &str) -> Self {
        Self { greeting: greeting.to_owned(), ..self }
    }

    fn program(self, name: &str, text: &str) -> Self {
        let path = self.write(name, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// How many lines its shell was given.
    pub(crate) fn lines(&self) -> usize {
        self.lines.load(Ordering::SeqCst)
    }

    /// Every line that sudo took for a password.
    pub(crate) fn tried(&self) -> String {
        std::fs::read_to_string(self.path("tried")).unwrap_or_default()
    }

    /// What it writes, standard error behind a `!` a piece, and how it ends.
    pub(crate) async fn run(
        &self,
        password: Option<Arc<SudoPassword>>,
        script: &str,
        payload: &[u8],
    ) -> (String, Result<Ending, HostError>) {
        self.run_as(&Root::new(password), script, payload).await
    }

    pub(crate) async fn run_as(
        &self,
        root: &Root,
        script: &str,
        payload: &[u8],
    ) -> (String, Result<Ending, HostError>) {
        self.run_with(root, script, vec![Stdin::Bytes(payload.to_vec())]).await
    }

    pub(crate) async fn run_with(
        &self,
        root: &Root,
        script: &str,
        payloads: Vec<Stdin>,
    ) -> (String, Result<Ending, HostError>) {
        let stdin = std::iter::once(Stdin::Bytes(framed(script))).chain(payloads).collect();
        hear(|output| root.run(self, stdin, output)).await
    }

    pub(crate) async fn look(
        &self,
        password: Option<Arc<SudoPassword>>,
        script: &str,
    ) -> (String, Result<Ending, HostError>) {
        let root = Root::new(password);
        hear(|output| root.look(self, framed(script), output)).await
    }

    pub(crate) async fn command(&self, root: &Root, words: &str) -> (String, Result<Ending, HostError>) {
        hear(|output| root.command(self, words, output)).await
    }
}

impl Login for Account {
    fn host(&self) -> &'static str {
        "host"
    }

    fn start<'a>(
        &'a self,
        line: &'a str,
        input: Input,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'a, Result<Ending, HostError>> {
        Box::pin(async move {
            let environment = BTreeMap::from([
                ("PATH", self.directory.path().display().to_string()),
                ("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22".to_owned()),
            ]);
            let mut child = Command::new(self.path("sh"))
                .args(["-c", line])
                .current_dir(self.directory.path())
                .env_clear()
                .envs(environment)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            drop(input.begun);
            self.lines.fetch_add(1, Ordering::SeqCst);
            output.send(Output::Stdout(self.greeting.clone().into_bytes())).await.unwrap();
            let mut pipe = child.stdin.take().unwrap();
            let write = async move {
                if let Some(key) = input.key {
                    let Ok(password) = key.await else { return };
                    drop(pipe.write_all(format!("{}\n", password.expose_secret()).as_bytes()).await);
                }
                for piece in input.pieces {
                    let bytes = match piece {
                        Stdin::Bytes(bytes) => bytes,
                        Stdin::File { path, sent, .. } => {
                            let bytes = tokio::fs::read(path).await.unwrap();
                            sent.add(bytes.len() as u64);
                            bytes
                        }
                    };
                    // Whoever refuses does not read it all.
                    drop(pipe.write_all(&bytes).await);
                }
            };
            let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            tokio::join!(write, drain(out, &output, Output::Stdout), drain(err, &output, Output::Stderr));
            let status = child.wait().await.unwrap();
            Ok(match status.signal() {
                Some(signal) => Ending::Signal(signal.to_string()),
                None => Ending::Status(status.code().unwrap().try_into().unwrap()),
            })
        })
    }
}

async fn drain<R: AsyncRead + Unpin>(mut from: R, to: &mpsc::Sender<Output>, piece: fn(Vec<u8>) -> Output) {
    let mut buffer = [0; 7];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        to.send(piece(buffer.get(..count).unwrap().to_vec())).await.unwrap();
    }
}

async fn hear<F>(start: impl FnOnce(mpsc::Sender<Output>) -> F) -> (String, Result<Ending, HostError>)
where
    F: Future<Output = Result<Ending, HostError>>,
{
    let (sender, mut receiver) = mpsc::channel(4);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let listen = async {
        while let Some(output) = receiver.recv().await {
            match output {
                Output::Stdout(piece) => out.extend(piece),
                Output::Stderr(piece) => err.extend(piece),
            }
        }
    };
    let (ending, ()) = tokio::join!(start(sender), listen);
    let mut text = String::from_utf8(out).unwrap();
    if !err.is_empty() {
        text.push('!');
        text.push_str(&String::from_utf8(err).unwrap());
    }
    (text, ending)
}

/// Standard output alone.
pub(crate) fn said(text: &str) -> &str {
    text.split_once('!').map_or(text, |(out, _)| out)
}

/// Why there is no root.
pub(crate) fn refusal(ending: Result<Ending, HostError>) -> RootError {
    let error = ending.unwrap_err();
    assert!(RootError::is_behind(&error) && !error.hints.is_empty(), "{error:?}");
    error.source.unwrap().downcast_ref::<RootError>().unwrap().clone()
}

fn framed(script: &str) -> Vec<u8> {
    format!("{}\n{script}", script.len()).into_bytes()
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {program}"))
}

/// What base64 made of bytes that are no text as a whole.
pub(crate) fn decoded(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value =
        |digit: u8| DIGITS.iter().position(|known| *known == digit).map(|at| u32::try_from(at).unwrap());
    let digits: Vec<u32> = text.bytes().filter_map(value).collect();
    let bytes = digits.chunks(4).flat_map(|group| {
        let bits = group.iter().enumerate().fold(0, |bits, (at, digit)| bits | digit << (18 - 6 * at));
        bits.to_be_bytes().into_iter().skip(1).take(group.len() - 1).collect::<Vec<_>>()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// How often a password was asked for.
#[derive(Clone, Default)]
pub(crate) struct Questions(Arc<AtomicUsize>);

impl Questions {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Source {
    password: String,
    questions: Questions,
}

impl PasswordSource for Source {
    fn password<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>> {
        self.questions.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(SecretString::from(self.password.as_str())) })
    }
}

pub(crate) fn shared(password: &str) -> Arc<SudoPassword> {
    asked(password).0
}

pub(crate) fn asked(password: &str) -> (Arc<SudoPassword>, Questions) {
    let questions = Questions::default();
    let source = Source { password: password.to_owned(), questions: questions.clone() };
    (Arc::new(SudoPassword::new(source)), questions)
}
