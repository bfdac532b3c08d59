//! A host for tests: scripts run for real, by a shell of one's choice, with the engine's own directories moved into
//! a temporary one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stdbctl_engine::event::{Event, Sender};
use stdbctl_engine::graph::Graph;
use stdbctl_engine::host::{BoxFuture, Ending, Host, HostError, Output, Stdin};
use stdbctl_engine::plan::HostPlan;
use stdbctl_engine::run::{Job, Options, Report, run};
use stdbctl_engine::task::{Task, TaskSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// What a host gives to root's shell in the end.
const STUB: &str = r#"IFS= read -r n; s=$(head -c "$n"); eval "$s""#;

type Condition = Box<dyn Fn() -> bool + Send + Sync>;

pub(crate) struct Sandbox {
    pub(crate) directory: tempfile::TempDir,
    words: Vec<&'static str>,
    /// Standard output is closed after so many bytes: the operator is gone.
    cut_after: Option<usize>,
    /// The operator is gone once this is so, and the host has not heard of it.
    forgotten_when: Option<Condition>,
    /// The same, and the host finds nobody to write to any more.
    cut_when: Option<Condition>,
    /// Whether a connection that is opened to confirm something gets in.
    lets_in: Option<Condition>,
    /// Whether the operator may connect again, and nothing is cut from then on.
    comes_back: AtomicBool,
    /// It is another machine then.
    moves: bool,
    is_back: AtomicBool,
    /// Run before the script that changes, as another operator would.
    meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
    runs: AtomicUsize,
    /// All that scripts have written so far.
    heard: Mutex<Vec<u8>>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::under(&["sh"])
    }

    pub(crate) fn under(shell: &[&'static str]) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            words: shell.to_vec(),
            cut_after: None,
            forgotten_when: None,
            cut_when: None,
            lets_in: None,
            comes_back: AtomicBool::new(false),
            moves: false,
            is_back: AtomicBool::new(false),
            meanwhile: None,
            runs: AtomicUsize::new(0),
            heard: Mutex::default(),
        }
    }

    /// The same host, reached by an operator whose connection ends after so many bytes of the changing script.
    pub(crate) fn cut(self, after: usize) -> Self {
        Self { cut_after: Some(after), runs: AtomicUsize::new(0), ..self }
    }

    /// The same, and the operator can connect again, once.
    pub(crate) fn that_comes_back(self) -> Self {
        Self { comes_back: AtomicBool::new(true), ..self }
    }

    /// The same, and what they are connected to then is another machine.
    pub(crate) fn that_moves(self) -> Self {
        Self { moves: true, ..self.that_comes_back() }
    }

    pub(crate) fn whole(self) -> Self {
        Self { cut_after: None, cut_when: None, lets_in: None, runs: AtomicUsize::new(0), ..self }
    }

    /// The same host, whose operator's connection is lost once this is so, without the host hearing of it.
    pub(crate) fn forgotten_when(self, so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { forgotten_when: Some(Box::new(so)), ..self }
    }

    /// The same host, whose operator's connection is cut once this is so.
    pub(crate) fn cut_when(self, so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { cut_when: Some(Box::new(so)), ..self }
    }

    /// The same host, asked whether a fresh connection gets in.
    pub(crate) fn lets_in(self, so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { lets_in: Some(Box::new(so)), ..self }
    }

    /// Whether there is a file of this name in a directory of this one.
    pub(crate) fn holds_below(&self, directory: &str, name: &str) -> bool {
        let Ok(below) = std::fs::read_dir(self.path(directory)) else { return false };
        below.flatten().any(|entry| entry.path().join(name).exists())
    }

    pub(crate) fn meanwhile(self, act: impl Fn() + Send + Sync + 'static) -> Self {
        Self { meanwhile: Some(Box::new(act)), ..self }
    }

    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.heard.lock().unwrap().windows(words.len()).any(|window| window == words.as_bytes())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The script with the engine's directories moved, its length in front as before.
    fn moved(&self, first: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(first).unwrap();
        let (_, script) = text.split_once('\n').unwrap();
        let at = |name: &str| self.path(name).display().to_string();
        let script = script.replace("/var/lib/stdbctl", &at("state")).replace("/run/stdbctl", &at("run"));
        let script = script.replace("/etc/machine-id", &at("machine-id"));
        let script = script.replace("/etc/default/ufw", &at("ufw/default")).replace("/etc/ufw", &at("ufw"));
        let script = script.replace(" PATH=", &format!(" PATH={}:", at("commands")));
        format!("{}\n{script}", script.len()).into_bytes()
    }

    fn shell(&self) -> Child {
        let (program, arguments) = self.words.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).args(["-c", STUB, "stdbctl", "127.0.0.1 1 127.0.0.1 2222"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Over a connection that was opened for this script alone.
    async fn confirm(&self, stdin: Vec<Stdin>) -> Result<Ending, HostError> {
        if self.lets_in.as_ref().is_some_and(|lets_in| !lets_in()) {
            return Err(HostError::new("cannot connect"));
        }
        let mut child = self.shell();
        let [Stdin::Bytes(script)] = &stdin[..] else { panic!("it has no payloads") };
        child.stdin.take().unwrap().write_all(&self.moved(script)).await.unwrap();
        Ok(Ending::Status(child.wait().await.unwrap().code().unwrap().try_into().unwrap()))
    }

    async fn execute(&self, stdin: Vec<Stdin>, output: mpsc::Sender<Output>) -> Result<Ending, HostError> {
        let number = self.runs.fetch_add(1, Ordering::SeqCst);
        if let (2, Some(act)) = (number, &self.meanwhile) {
            act();
        }
        let mut child = self.shell();
        let (mut pipe, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let write = async {
            for (index, piece) in stdin.into_iter().enumerate() {
                let bytes = match piece {
                    Stdin::Bytes(bytes) if index == 0 => self.moved(&bytes),
                    Stdin::Bytes(bytes) => bytes,
                    Stdin::File { path, .. } => tokio::fs::read(path).await.unwrap(),
                };
                // A script that ended early does not read it all.
                drop(pipe.write_all(&bytes).await);
            }
            drop(pipe);
        };
        let is_cut = number > 0 && !self.is_back.load(Ordering::SeqCst);
        let limit = if is_cut { self.cut_after } else { None };
        let forgotten = self.forgotten_when.as_ref().filter(|_| is_cut);
        let cut = self.cut_when.as_ref().filter(|_| is_cut);
        // Owns the pipe: an operator who is gone has closed it.
        let read = async move {
            let mut total = 0;
            let mut buffer = [0; 256];
            while let Ok(count @ 1..) = out.read(&mut buffer).await {
                total += count;
                if limit.is_some_and(|limit| total > limit) || cut.is_some_and(|cut| cut()) {
                    return true;
                }
                if forgotten.is_some_and(|forgotten| forgotten()) {
                    tokio::spawn(async move { while let Ok(1..) = out.read(&mut buffer).await {} });
                    return true;
                }
                self.heard.lock().unwrap().extend(&buffer[..count]);
                output.send(Output::Stdout(buffer[..count].to_vec())).await.unwrap();
            }
            false
        };
        let (cut, ()) = tokio::join!(read, write);
        if cut && self.comes_back.load(Ordering::SeqCst) {
            // What was cut off goes on by itself.
            return Ok(Ending::Lost("cut".to_owned()));
        }
        let status = child.wait().await.unwrap();
        Ok(if cut {
            Ending::Lost("cut".to_owned())
        } else {
            Ending::Status(status.code().unwrap().try_into().unwrap())
        })
    }
}

impl Host for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn run(
        &self,
        stdin: Vec<Stdin>,
        output: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(self.execute(stdin, output))
    }

    fn run_fresh(
        &self,
        stdin: Vec<Stdin>,
        _: mpsc::Sender<Output>,
    ) -> BoxFuture<'_, Result<Ending, HostError>> {
        Box::pin(self.confirm(stdin))
    }

    fn reconnect(&self) -> Option<BoxFuture<'_, Result<(), HostError>>> {
        let again = self.comes_back.swap(false, Ordering::SeqCst);
        self.is_back.store(again, Ordering::SeqCst);
        if again && self.moves {
            std::fs::write(self.path("machine-id"), "another\n").unwrap();
        }
        again.then(|| -> BoxFuture<'_, _> { Box::pin(async { Ok(()) }) })
    }
}

/// A directory's tasks as a playbook would have them, with `@` for the sandbox's own directory.
pub(crate) fn tasks(at: &Path, list: &serde_json::Value) -> Vec<Task> {
    let owner = name_of("-un");
    let group = name_of("-gn");
    let text = list
        .to_string()
        .replace('@', &at.display().to_string())
        .replace("OWNER", &owner)
        .replace("GROUP", &group);
    let specs: Vec<TaskSpec> = serde_json::from_str(&text).unwrap();
    specs.into_iter().map(|spec| spec.into_task(None).unwrap()).collect()
}

fn name_of(flag: &str) -> String {
    let output = std::process::Command::new("id").arg(flag).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A run of these tasks, with all its events.
pub(crate) async fn deploy(
    host: &Arc<Sandbox>,
    list: &serde_json::Value,
    apply: bool,
) -> (Report, Vec<Event>) {
    let graph = Graph::new(&tasks(host.directory.path(), list)).unwrap();
    let connected: Arc<dyn Host> = Arc::clone(host) as Arc<dyn Host>;
    let job = Job { name: "sandbox".to_owned(), connect: Box::pin(async move { Ok(connected) }), graph };
    let options = Options {
        verb: "deploy".to_owned(),
        apply,
        operator: "ada@laptop".to_owned(),
        resolve: std::collections::BTreeMap::new(),
    };
    let (events, mut receiver) = Sender::channel();
    let report = run(vec![job], options, events, |_: Vec<HostPlan>| async { true }).await;
    let mut all = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        all.push(event);
    }
    (report, all)
}
