//! Real hosts: containers with systemd and sshd, brought up and taken down by `docker/lab`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::deadline::{Finished, finish, first_line, wait_for};
use crate::operator::{Operator, Run};
use crate::proxy::Proxy;
use crate::snapshot::{Snapshot, State};

/// Bringing hosts up includes building the lab the first time; `tests/run` has done that before.
const UP: Duration = Duration::from_secs(900);
/// Longer than any single look at a host takes.
const LOOK: Duration = Duration::from_secs(120);
/// Who writes to a host's journal to see how far it is.
const WITNESS: &str = "end-of-the-journal";

/// The rule that keeps what asks SpacetimeDB on its own host from it.
const NO_ANSWERS: &str = "INPUT -i lo -p tcp --dport 3000 -j REJECT --reject-with tcp-reset";

/// What finds children of the sshd that listens: connections.
const A_CONNECTION: &str = r#"pgrep -P "$(systemctl show -p MainPID --value ssh)""#;
/// What finds the shells of a run, by the connection that it came over, and not itself.
const A_RUN: &str = "pgrep -f 'stdbctl [0-9a-f:]'";

/// How often hosts were brought up by this process.
static BROUGHT_UP: AtomicU32 = AtomicU32::new(0);

/// The folder of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A host of the lab. Dropping it takes it down, unless `STDBCTL_LAB_KEEP` is set.
#[derive(Debug, Deserialize)]
pub struct LabHost {
    /// Its name in the lab.
    pub name: String,
    /// How an operator reaches it: `ubuntu@127.0.10.N`.
    pub ssh: String,
    /// The private key that is let in.
    pub identity: PathBuf,
    /// A file with its host keys.
    pub known_hosts: PathBuf,
    /// Its address inside the lab.
    pub address: IpAddr,
    /// A name that the lab's CA resolves to it.
    pub domain: String,
    /// A name that the lab's CA resolves to it and gives no certificate for.
    pub refused_domain: String,
    /// The CA.
    pub acme_directory: String,
    /// A file with the root of the CA's own HTTPS certificate.
    pub acme_ca: PathBuf,
    /// A file with the root of the certificates it gives.
    pub acme_root: PathBuf,
    /// The release mirror.
    pub mirror: String,
    /// The container.
    pub container: String,
    /// The password of sudo, in the image that wants one.
    pub sudo_password: Option<String>,
}

impl LabHost {
    /// A fresh host. `purpose` becomes part of its name.
    ///
    /// # Panics
    /// When the lab cannot give one.
    pub fn up(purpose: &str) -> Self {
        Self::up_as(purpose, &[])
    }

    /// A fresh host with further arguments of `docker/lab up`.
    ///
    /// # Panics
    /// When the lab cannot give one.
    pub fn up_as(purpose: &str, arguments: &[&str]) -> Self {
        let mut hosts = Self::bring_up(&[purpose], arguments);
        hosts.pop().unwrap_or_else(|| panic!("docker/lab up said nothing"))
    }

    /// Several fresh hosts, started side by side.
    ///
    /// # Panics
    /// When the lab cannot give them.
    pub fn up_all(purposes: &[&str]) -> Vec<Self> {
        Self::bring_up(purposes, &[])
    }

    fn bring_up(purposes: &[&str], arguments: &[&str]) -> Vec<Self> {
        // `tests/run` takes down whatever carries its prefix, whichever way a test ended.
        let prefix = std::env::var("STDBCTL_LAB_PREFIX").unwrap_or_else(|_| "t".to_owned());
        // A name is never used twice: the CA and the resolvers may remember the first host of that name.
        let number = BROUGHT_UP.fetch_add(1, Ordering::Relaxed);
        let name = |purpose: &&str| format!("{prefix}-{purpose}-{}-{number}", std::process::id());
        let names: Vec<String> = purposes.iter().map(name).collect();
        let mut command = Command::new(checkout().join("docker/lab"));
        command.arg("up").args(&names).args(arguments);
        let finished = finish(&mut command, UP);
        if !finished.status.success() {
            take_down(&names);
            panic!("docker/lab up failed\n{}\n{}", finished.stdout, finished.stderr);
        }
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        finished.stdout.lines().map(parse).collect()
    }

    /// Restarts it, and waits until it is up again.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn reboot(&self) {
        let finished = finish(Command::new(checkout().join("docker/lab")).args(["reboot", &self.name]), LOOK);
        assert!(finished.status.success(), "docker/lab reboot failed\n{}", finished.stderr);
    }

    /// Runs a `docker` command on its container: `pause`, `stop`, `unpause`.
    ///
    /// # Panics
    /// When it fails.
    pub fn docker(&self, verb: &str) {
        let finished = finish(Command::new("docker").args([verb, &self.container]), LOOK);
        assert!(finished.status.success(), "docker {verb} failed\n{}", finished.stderr);
    }

    /// Runs a command of sh on it as root, beside the tool under test, and returns what it wrote.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, command: &str) -> String {
        let finished = self.try_sh(command);
        let Finished { status, stdout, stderr, .. } = finished;
        assert!(status.success(), "on {}: {status}: {command}\n{stdout}\n{stderr}", self.name);
        stdout
    }

    /// Like [`LabHost::sh`], for a command that may fail.
    ///
    /// # Panics
    /// When docker does not answer.
    pub fn try_sh(&self, command: &str) -> Finished {
        finish(Command::new("docker").args(["exec", &self.container, "sh", "-c", command]), LOOK)
    }

    /// Whether a command of sh succeeds on it as root.
    ///
    /// # Panics
    /// When docker does not answer.
    pub fn holds(&self, command: &str) -> bool {
        self.try_sh(command).status.success()
    }

    /// Waits until nothing of a run goes on any more on it: no connection could still bring one, and what has begun has
    /// come to its end.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn wait_for_runs_to_end(&self) {
        wait_for("runs end on the host", Duration::from_secs(420), || {
            self.holds(&format!("! {A_CONNECTION} && ! {A_RUN}")).then_some(())
        });
    }

    /// From now on a deployment that starts SpacetimeDB on it cannot end: it waits a minute for answers of that, and
    /// they do not come.
    ///
    /// # Panics
    /// When it cannot be brought about.
    pub fn hold_deployments(&self) {
        self.sh(&format!("iptables -I {NO_ANSWERS}"));
    }

    /// Lets the answers come again.
    ///
    /// # Panics
    /// When they were not held.
    pub fn let_deployments_end(&self) {
        self.sh(&format!("iptables -D {NO_ANSWERS}"));
    }

    /// Copies a local file onto it.
    ///
    /// # Panics
    /// When that fails.
    pub fn copy_in(&self, local: &Path, remote: &str) {
        let to = format!("{}:{remote}", self.container);
        let finished = finish(Command::new("docker").arg("cp").arg(local).arg(to), LOOK);
        assert!(finished.status.success(), "docker cp failed\n{}", finished.stderr);
    }

    /// Everything on it that a run could touch.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::parse(&self.sh(include_str!("snapshot.sh")))
    }

    /// What a deployment made of it, without what differs from host to host.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn state(&self) -> State {
        let script = include_str!("state.sh");
        let settings = format!("domain='{}' name='{}' address='{}'\n", self.domain, self.name, self.address);
        State::parse(&self.sh(&(settings + script)))
    }

    /// Where the journal ends now.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn journal_cursor(&self) -> String {
        let shown = self.sh("journalctl -q -n 0 --show-cursor");
        shown.trim().trim_start_matches("-- cursor: ").to_owned()
    }

    /// What the journal has got since then: `identifier: message`, a line an entry. All that programs have told syslog
    /// until now is in it: it is read once it has a line that was told after that.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn journal_since(&self, cursor: &str) -> Vec<String> {
        let end = self.sh(&format!("end=$(date +%s%N); logger -t {WITNESS} $end; echo {WITNESS}: $end"));
        let mut entries = wait_for("the end of the journal", LOOK, || {
            let entries = self.journal_so_far(cursor);
            entries.iter().any(|entry| entry == end.trim()).then_some(entries)
        });
        entries.retain(|entry| !entry.starts_with(WITNESS));
        entries
    }

    fn journal_so_far(&self, cursor: &str) -> Vec<String> {
        let command = format!(
            "journalctl -q -o cat --output-fields=SYSLOG_IDENTIFIER,MESSAGE -o json --after-cursor='{cursor}'"
        );
        let entry = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let field = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", field("SYSLOG_IDENTIFIER"), field("MESSAGE"))
        };
        self.sh(&command).lines().map(entry).collect()
    }

    /// The address an operator connects to.
    ///
    /// # Panics
    /// When the lab gave none.
    pub fn ip(&self) -> IpAddr {
        let address = self.ssh.rsplit('@').next().unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("{}: {error}", self.ssh))
    }

    /// Its SSH port.
    pub fn ssh_socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip(), 22)
    }

    /// The flags that reach it: host, key, known hosts.
    pub fn reach(&self) -> Vec<String> {
        flags(&[
            ("--host", &self.ssh),
            ("--identity", &self.identity.to_string_lossy()),
            ("--known-hosts", &self.known_hosts.to_string_lossy()),
        ])
    }

    /// The flags that reach it through a proxy; the file with its keys under the proxy's address goes to `folder`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn reach_through(&self, proxy: &Proxy, folder: &Path) -> Vec<String> {
        let address = proxy.address();
        let known = std::fs::read_to_string(&self.known_hosts).unwrap_or_else(|error| panic!("{error}"));
        let rename = |line: &str| {
            let keys = line.split_once(' ').map(|(_, keys)| keys).unwrap_or_default();
            format!("[{}]:{} {keys}\n", address.ip(), address.port())
        };
        let file = folder.join(format!("known_hosts-{}", address.port()));
        let renamed: String = known.lines().map(rename).collect();
        std::fs::write(&file, renamed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let user = self.ssh.split('@').next().unwrap_or_default();
        flags(&[
            ("--host", &format!("{user}@{address}")),
            ("--identity", &self.identity.to_string_lossy()),
            ("--known-hosts", &file.to_string_lossy()),
        ])
    }

    /// The flags that say what it is to serve: SpacetimeDB from the lab's mirror, TLS from the lab's CA.
    pub fn wish(&self) -> Vec<String> {
        let mut wish = flags(&[
            ("--domain", &self.domain),
            ("--email", "ops@example.com"),
            ("--resolve", &format!("{}={}", self.domain, self.ip())),
            ("--ca", &self.acme_root.to_string_lossy()),
            ("--set", &format!("tls.acme_directory={}", self.acme_directory)),
            ("--set", &format!("tls.acme_ca={}", self.acme_ca.display())),
        ]);
        wish.extend(self.wish_release());
        wish
    }

    /// The same without a domain, and so without TLS: a server for a private network.
    pub fn wish_private(&self) -> Vec<String> {
        let mut wish = flags(&[("--set", "tls.mode=off")]);
        wish.extend(self.wish_release());
        wish
    }

    fn wish_release(&self) -> Vec<String> {
        flags(&[
            ("--set", "spacetimedb.version=1.3.0"),
            ("--set", "spacetimedb.source=mirror"),
            ("--set", &format!("spacetimedb.mirror={}", self.mirror)),
        ])
    }

    /// Deploys what [`LabHost::wish`] says, and must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn deploy(&self, operator: &Operator) -> Run {
        operator.succeed(&line(&[&self.reach(), &self.wish()], &["deploy", "--yes", "--output", "json"]))
    }

    /// Asks its web server from outside, with curl and further arguments of curl; the answer with its head.
    ///
    /// # Panics
    /// When curl cannot be run.
    pub fn ask(&self, url_path: &str, arguments: &[&str]) -> Finished {
        finish(&mut self.curl(url_path, arguments), LOOK)
    }

    fn curl(&self, url_path: &str, arguments: &[&str]) -> Command {
        let resolve = format!("{}:443:{}", self.domain, self.ip());
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--include",
            "--http1.1",
            "--max-time",
            "20",
            "--resolve",
            &resolve,
        ]);
        curl.arg("--cacert").arg(&self.acme_root).args(arguments);
        curl.arg(format!("https://{}{url_path}", self.domain));
        curl
    }

    /// The status its web server answers from outside, over HTTPS with a valid chain; 0 for no answer.
    ///
    /// # Panics
    /// As [`LabHost::ask`].
    pub fn status(&self, method: &str, url_path: &str) -> u16 {
        status(&self.ask(url_path, &["--request", method, "--output", "/dev/stdout"]).stdout)
    }

    /// The status of a WebSocket upgrade through its web server; 101 is a success, 0 no answer.
    ///
    /// # Panics
    /// As [`LabHost::ask`].
    pub fn upgrade(&self, url_path: &str, protocol: &str) -> u16 {
        // curl knows nothing of what follows the upgrade, and would wait for it.
        let protocol = format!("Sec-WebSocket-Protocol: {protocol}");
        let headers = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            &protocol,
        ];
        let headers = headers.iter().flat_map(|header| ["--header", header]);
        let arguments: Vec<_> = std::iter::once("--no-buffer").chain(headers).collect();
        status(&first_line(&mut self.curl(url_path, &arguments)))
    }
}

impl Drop for LabHost {
    fn drop(&mut self) {
        take_down(std::slice::from_ref(&self.name));
    }
}

/// Many hosts that come and go side by side: one after another, fifty take half a minute to go.
#[derive(Debug)]
pub struct Fleet(Vec<LabHost>);

impl Fleet {
    /// As many fresh hosts as there are purposes.
    ///
    /// # Panics
    /// When the lab cannot give them.
    pub fn up(purposes: &[&str]) -> Self {
        Self(LabHost::up_all(purposes))
    }
}

impl Deref for Fleet {
    type Target = [LabHost];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        take_down(&self.0.iter().map(|host| host.name.clone()).collect::<Vec<_>>());
        // Each would go again by itself.
        self.0.drain(..).for_each(std::mem::forget);
    }
}

fn take_down(names: &[String]) {
    if std::env::var_os("STDBCTL_LAB_KEEP").is_none() {
        finish(Command::new(checkout().join("docker/lab")).arg("down").args(names), LOOK);
    }
}

/// The status in the first line of an answer.
fn status(answer: &str) -> u16 {
    let first = answer.lines().next().unwrap_or_default();
    first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Flags with a value each, as arguments.
pub fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

/// A command line of several parts.
pub fn line(parts: &[&[String]], more: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = Vec::new();
    if let Some((verb, rest)) = more.split_first() {
        line.push((*verb).to_owned());
        line.extend(parts.iter().flat_map(|part| part.iter().cloned()));
        line.extend(rest.iter().map(|&argument| argument.to_owned()));
    }
    line
}
