//! Secrets planted on both sides, and looked for wherever somebody else could find them while stdbctl works and after.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::lab::{LabHost, checkout, flags, line};
use stdbctl_tests::operator::{Operator, Run, binary};
use stdbctl_tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);
const MODULE: &str = "planted-in-the-module-7f3a91";
const ARGUMENT: &str = "planted-as-an-argument-c25d08";
const SQL: &str = "planted-in-a-statement-e9146b";
const PASSPHRASE: &str = "planted-on-the-key-5d20fa";
const PASSWORD: &str = "planted-as-a-password-83be17";
/// Proves that the watch sees anything at all.
const CONTROL: &str = "planted-for-all-to-see-40cb7d";

/// Something that must not be found.
#[derive(Clone)]
struct Secret {
    name: &'static str,
    /// The text itself, and as it looks within base64.
    forms: Vec<String>,
    /// The operator typed it: their own process has it in its arguments.
    typed: bool,
}

impl Secret {
    fn new(name: &'static str, text: &str, typed: bool) -> Self {
        let encoded = |offset: usize| {
            let whole = STANDARD_NO_PAD.encode([&vec![0; offset][..], text.as_bytes()].concat());
            // The first and the last characters depend on what stands around.
            whole.get(4..whole.len() - 4).unwrap().to_owned()
        };
        let forms = std::iter::once(text.to_owned()).chain((0..3).map(encoded)).collect();
        Self { name, forms, typed }
    }

    fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form.as_str()))
    }
}

/// Looks at the arguments and environments of all processes, the hosts' among them: they are containers.
struct Watch {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    fn start(secrets: Vec<Secret>) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut found = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    look_at(&process.path(), &secrets, &mut found);
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            found
        });
        Self { stop, rounds, thread }
    }

    /// Has something run that it must find, and says what it found besides.
    fn end(self) -> BTreeSet<String> {
        let mut control = Command::new("sleep").arg("60").env("CONTROL", CONTROL).spawn().unwrap();
        let seen = self.rounds.load(Ordering::Relaxed) + 2;
        wait_for("it has looked twice", SOON, || (self.rounds.load(Ordering::Relaxed) > seen).then_some(()));
        self.stop.store(true, Ordering::Relaxed);
        control.kill().unwrap();
        control.wait().unwrap();
        let mut found = self.thread.join().unwrap();
        assert!(found.contains("the control in the environment of sleep"), "the watch is blind");
        // One that ends at that moment has an environment, and no name any more.
        found.retain(|sight| !sight.starts_with("the control "));
        found
    }
}

/// Processes come and go: what cannot be read is gone.
fn look_at(process: &Path, secrets: &[Secret], found: &mut BTreeSet<String>) {
    let read =
        |name: &str| String::from_utf8_lossy(&fs::read(process.join(name)).unwrap_or_default()).into_owned();
    let arguments = read("cmdline");
    let ours = arguments.starts_with(binary().to_str().unwrap());
    for (place, text) in [("arguments", &arguments), ("environment", &read("environ"))] {
        for secret in secrets.iter().filter(|secret| secret.is_in(text)) {
            if !(ours && secret.typed && place == "arguments") {
                found.insert(format!("{} in the {place} of {}", secret.name, read("comm").trim()));
            }
        }
    }
}

/// The demo module with a section in it that no compiler has put there.
fn marked_module(folder: &Path) -> String {
    let mut module = fs::read(checkout().join("tests/fixtures/modules/demo_v1.wasm")).unwrap();
    let section = [&[4], &b"note"[..], MODULE.as_bytes()].concat();
    module.push(0);
    module.push(u8::try_from(section.len()).unwrap());
    module.extend(section);
    let path = folder.join("marked.wasm");
    fs::write(&path, module).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Which of the secrets are in files below a folder.
fn in_files(folder: &Path, secrets: &[Secret], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            in_files(&path, secrets, found);
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            let held = secrets.iter().filter(|secret| secret.is_in(&text));
            found.extend(held.map(|secret| format!("{} in {}", secret.name, path.display())));
        }
    }
}

/// Where on the host anybody, or a later reader of logs, would find them.
fn on_the_host(host: &LabHost, secrets: &[Secret]) -> String {
    let mut patterns = tempfile::NamedTempFile::new().unwrap();
    for form in secrets.iter().flat_map(|secret| &secret.forms) {
        writeln!(patterns, "{form}").unwrap();
    }
    host.copy_in(patterns.path(), "/root/patterns");
    host.sh(
        // SpacetimeDB itself logs every statement: that is no word of ours.
        "for unit in $(journalctl -F _SYSTEMD_UNIT | grep -vx spacetimedb.service); do
           journalctl --no-pager --all -o export \"_SYSTEMD_UNIT=$unit\"
         done >/root/journal
         test \"$(wc -l </root/journal)\" -gt 100 || echo 'there is no journal'
         grep -rlaFf /root/patterns --exclude-dir=journal \\
           /root/journal /tmp /var/tmp /dev/shm /run/stdbctl /home /var/log 2>/dev/null
         find /var/lib/stdbctl /stdb/config/stdbctl -maxdepth 0 -perm /077
         rm -f /root/patterns /root/journal",
    )
}

#[test]
fn nobody_else_finds_them() {
    let host = LabHost::up("secrets");
    let (operator, elsewhere) = (Operator::new(), tempfile::tempdir().unwrap());
    operator.succeed(&line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes"]));
    operator.succeed(&line(&[&host.reach()], &["identity", "--repair", "--yes"]));
    let token = host.sh("cat /stdb/config/stdbctl/*.jwt");
    let signature = token.trim().rsplit('.').next().unwrap();
    assert!(signature.len() > 40, "no token: {token}");
    let secrets = vec![
        Secret::new("the token", signature, false),
        Secret::new("the module", MODULE, false),
        Secret::new("the argument", ARGUMENT, true),
        Secret::new("the statement", SQL, true),
    ];
    let watched = [&secrets[..], &[Secret::new("the control", CONTROL, false)]].concat();
    let watch = Watch::start(watched);

    let temporary = operator.home().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let module = marked_module(elsewhere.path());
    let statement = format!("insert into person (id, name) values (0, '{SQL}')");
    let wishes: [(&[&str], &[&str]); 6] = [
        (&["publish"], &[&module, "--name", "game", "--yes", "--output", "json"]),
        (&["publish"], &[&module, "--name", "game", "--yes", "--delete-data"]),
        (&["db", "call"], &["--name", "game", "add", ARGUMENT]),
        (&["db", "sql"], &["--name", "game", &statement]),
        (&["db", "describe"], &["--name", "game"]),
        (&["identity"], &[]),
    ];
    for (verb, more) in wishes {
        let words = [verb, more, &["-vvv"]].concat().into_iter().map(str::to_owned);
        let arguments: Vec<_> = words.chain(host.reach()).collect();
        let said = finish(operator.command(&arguments).env("TMPDIR", &temporary), Duration::from_secs(120));
        let run = Run { code: said.status.code(), stdout: said.stdout, stderr: said.stderr, took: said.took };
        run.exited(0);
        assert!(run.stderr.contains("DEBUG"), "it logs\n{run}");
        for secret in &secrets {
            let told = [&run.stdout, &run.stderr].into_iter().any(|text| secret.is_in(text));
            assert!(!told, "{} is told by {verb:?}\n{run}", secret.name);
        }
    }

    assert_eq!(watch.end(), BTreeSet::new(), "seen by whoever lists processes");
    let mut left = BTreeSet::new();
    in_files(operator.home(), &secrets, &mut left);
    assert_eq!(left, BTreeSet::new(), "left in files of the operator's");
    assert_eq!(on_the_host(&host, &secrets), "", "left on the host");
}

/// A login with two proofs, each typed at a terminal: the passphrase of a key, and a password.
#[test]
fn nobody_finds_what_is_typed_to_log_in() {
    let (host, operator) = (LabHost::up("typed"), Operator::new());
    let key = operator.home().join("locked");
    fs::copy(&host.identity, &key).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f"]).arg(&key);
    assert!(finish(&mut keygen, SOON).status.success());
    let line_of_shadow = operator.write("shadow", &format!("ubuntu:{PASSWORD}\n"));
    host.copy_in(&line_of_shadow, "/root/shadow");
    fs::remove_file(line_of_shadow).unwrap();
    host.sh(
        "chpasswd </root/shadow; rm /root/shadow
         printf 'PasswordAuthentication yes\\nAuthenticationMethods publickey,password\\n' >/etc/ssh/sshd_config.d/00-typed.conf
         systemctl reload ssh",
    );
    let secrets =
        vec![Secret::new("the passphrase", PASSPHRASE, false), Secret::new("the password", PASSWORD, false)];
    let watch = Watch::start([&secrets[..], &[Secret::new("the control", CONTROL, false)]].concat());

    let known_hosts = host.known_hosts.to_str().unwrap();
    let reach = flags(&[("--host", &host.ssh), ("--identity", "locked"), ("--known-hosts", known_hosts)]);
    let mut terminal = Terminal::start(&operator, &line(&[&reach], &["exec", "-vvv", "--", "id", "-un"]));
    terminal.shows("Passphrase of the key locked: ");
    terminal.press(&format!("{PASSPHRASE}\r"));
    terminal.shows("Password of ubuntu on ");
    terminal.press(&format!("{PASSWORD}\r"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("DEBUG") && shown.contains("ubuntu"), "{shown}");
    for secret in &secrets {
        assert!(!secret.is_in(&shown), "{} is told\n{shown}", secret.name);
    }

    assert_eq!(watch.end(), BTreeSet::new(), "seen by whoever lists processes");
    let mut left = BTreeSet::new();
    in_files(operator.home(), &secrets, &mut left);
    assert_eq!(left, BTreeSet::new(), "left in files of the operator's");
    assert_eq!(on_the_host(&host, &secrets), "", "left on the host");
}

/// Aborts what runs under a shell that allows cores, and tells whether one was written.
fn dumps_core(
    program: &str,
    arguments: &[String],
    folder: &Path,
    mut begun: impl FnMut(u32) -> bool,
) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\"", program]).args(arguments);
    shell.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    wait_for("it has begun", SOON, || begun(child.id()).then_some(()));
    let mut kill = Command::new("kill");
    assert!(finish(kill.args(["-ABRT", &child.id().to_string()]), SOON).status.success());
    let killed = Instant::now();
    let status = child.wait().unwrap();
    assert!(killed.elapsed() < SOON && status.signal() == Some(6), "{status}");
    status.core_dumped()
}

#[test]
fn a_crash_leaves_no_core() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let operator = Operator::new();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(operator.home().join("key"));
    assert!(finish(&mut keygen, SOON).status.success());
    let host = format!("me@{}", silent.local_addr().unwrap());
    let key = operator.home().join("key").to_str().unwrap().to_owned();
    let words = ["exec", "--host", &host, "--identity", &key, "--", "true"].map(str::to_owned);
    // It has read its key and waits for the server's first word.
    silent.set_nonblocking(true).unwrap();
    let mut calls = Vec::new();
    let called = |_| {
        calls.extend(silent.accept());
        !calls.is_empty()
    };
    assert!(!dumps_core(binary().to_str().unwrap(), &words, folder.path(), called));
    let runs =
        |process: u32| fs::read(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with(b"sleep"));
    assert!(
        dumps_core("sleep", &["60".to_owned()], folder.path(), runs),
        "this machine writes no cores at all"
    );
}
