//! A real sshd on loopback, as an ordinary child process, with keys and files of its own.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stdbctl_ssh::{Chunk, CommandError, ConnectOptions, Ending, Session, Target, UnknownKey};
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::{advance, pause, resume};

/// Longer than anything takes, on a busy machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How often a file is looked at for what is to come.
const GLANCE: Duration = Duration::from_millis(2);

/// A directory of keys, an sshd that uses them, and a `known_hosts` that trusts it.
pub(crate) struct Sshd {
    directory: TempDir,
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Sshd {
    /// An sshd with an Ed25519 host key that lets the key `id_ed25519` in.
    pub(crate) fn start() -> Self {
        Self::start_with(&["ed25519"], "")
    }

    /// An sshd with host keys of these types and extra lines in its configuration. `DIR` in them is its directory.
    pub(crate) fn start_with(host_keys: &[&str], extra: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for kind in host_keys {
            generate_key(&directory.path().join(format!("host_{kind}")), kind, "");
        }
        Self::start_in(directory, host_keys, extra)
    }

    /// The same in a directory that has its host keys (`host_TYPE`) already.
    pub(crate) fn start_in(directory: TempDir, host_keys: &[&str], extra: &str) -> Self {
        fs::create_dir_all("/run/sshd").unwrap();
        let path = directory.path();
        if !path.join("id_ed25519").exists() {
            generate_key(&path.join("id_ed25519"), "ed25519", "");
        }
        fs::copy(path.join("id_ed25519.pub"), path.join("authorized_keys")).unwrap();
        // sshd cannot tell which port it was given, so one that was free a moment ago is taken; another test may
        // have been quicker, then another port is.
        for _ in 0..20 {
            let port = free_port();
            let config = configuration(path, host_keys, port, extra);
            fs::write(path.join("sshd_config"), config).unwrap();
            let mut child = spawn(path);
            if wait_until_listening(&mut child, path, port) {
                let sshd = Self { directory, child, port };
                sshd.trust(host_keys);
                return sshd;
            }
            child.kill().ok();
            child.wait().ok();
        }
        panic!("sshd does not start: {}", fs::read_to_string(path.join("log")).unwrap_or_default());
    }

    fn trust(&self, host_keys: &[&str]) {
        let lines: Vec<_> = host_keys
            .iter()
            .map(|kind| format!("[127.0.0.1]:{} {}", self.port, self.public_key(&format!("host_{kind}"))))
            .collect();
        self.write("known_hosts", &lines.concat());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Type and blob of a public key in the directory, with a line break.
    pub(crate) fn public_key(&self, name: &str) -> String {
        let line = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        let fields: Vec<_> = line.split_whitespace().take(2).collect();
        fields.join(" ") + "\n"
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        let mut options = options_for(self.port);
        options.identity_files = vec![self.path("id_ed25519")];
        options.known_hosts = vec![self.path("known_hosts")];
        options
    }

    pub(crate) async fn connect(&self) -> Session {
        stdbctl_ssh::connect(self.options()).await.unwrap()
    }

    /// Starts it anew, at the same port, with host keys of these types. Those that it has not had yet are made.
    pub(crate) fn change_host_keys(&mut self, host_keys: &[&str]) {
        for kind in host_keys {
            let file = self.path(&format!("host_{kind}"));
            if !file.exists() {
                generate_key(&file, kind, "");
            }
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.write("sshd_config", &configuration(self.directory.path(), host_keys, self.port, ""));
        self.child = spawn(self.directory.path());
        assert!(
            wait_until_listening(&mut self.child, self.directory.path(), self.port),
            "sshd does not start again: {}",
            self.log()
        );
    }

    /// The processes that serve its connections.
    pub(crate) fn visitors(&self) -> Vec<String> {
        let ours = format!(" {} ", self.child.id());
        let directories = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let of_ours = directories.filter(|directory| {
            let status = fs::read_to_string(directory.join("stat")).unwrap_or_default();
            // Behind the name in parentheses: the state and the parent.
            status.rsplit_once(") ").is_some_and(|(_, rest)| rest[1..].starts_with(&ours))
        });
        of_ours.map(|directory| directory.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Ends all connections, but not the sshd.
    pub(crate) fn hang_up(&self) {
        for visitor in self.visitors() {
            Command::new("kill").arg(visitor).status().unwrap();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// Options for a port on loopback that take nothing from the environment but the user.
pub(crate) fn options_for(port: u16) -> ConnectOptions {
    let target = Target { user: Some(user()), host: "127.0.0.1".to_owned(), port: Some(port) };
    let mut options = ConnectOptions::new(target);
    options.agent_socket = None;
    (options.known_hosts, options.global_known_hosts) = (Vec::new(), Vec::new());
    options.retries = 0;
    options.unknown_key = UnknownKey::Refuse;
    options
}

pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs ssh-keygen to its end, and wants it to succeed.
pub(crate) fn keygen<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> String {
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn generate_key(file: &Path, kind: &str, passphrase: &str) {
    keygen(&["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", file.to_str().unwrap()]);
}

/// Lets so much time pass at once for whoever in this process has a timer. What is on its way between processes needs its
/// own time as before.
pub(crate) async fn put_forward(by: Duration) {
    /// Also where whoever waits is dropped meanwhile.
    struct Paused;
    impl Drop for Paused {
        fn drop(&mut self) {
            resume();
        }
    }
    pause();
    let _paused = Paused;
    advance(by).await;
}

/// A port that nobody listens on, and nobody else can, for as long as the socket is there.
pub(crate) fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn configuration(path: &Path, host_keys: &[&str], port: u16, extra: &str) -> String {
    let directory = path.display().to_string();
    let host_keys: Vec<_> =
        host_keys.iter().map(|kind| format!("HostKey {directory}/host_{kind}\n")).collect();
    let host_keys = host_keys.concat();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    // Of this keyword, the last value counts.
    let startups = if extra.contains("MaxStartups") { "" } else { "MaxStartups 100\n" };
    // The first value of a keyword counts, so the extra lines come first. What the user's shell does as it starts is no
    // matter of a test's: it finds nothing at home.
    format!(
        "{}\n{startups}SetEnv HOME={directory}\nListenAddress 127.0.0.1\nPort {port}\n{host_keys}AuthorizedKeysFile {directory}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nLogLevel VERBOSE\nPrintMotd no\nPrintLastLog no\n",
        extra.replace("DIR", &directory)
    )
}

fn spawn(path: &Path) -> Child {
    let log = fs::File::create(path.join("log")).unwrap();
    Command::new("/usr/sbin/sshd")
        .arg("-D")
        .arg("-e")
        .arg("-f")
        .arg(path.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Whether it has the port, by its own word: whoever answers there may be another's. Nobody connects to find out, so
/// nobody is counted who is no visitor of the test's.
fn wait_until_listening(child: &mut Child, path: &Path, port: u16) -> bool {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        let log = fs::read_to_string(path.join("log")).unwrap();
        if log.contains(&format!("Server listening on 127.0.0.1 port {port}.")) {
            return true;
        }
        // With another address it would go on without this one.
        if log.contains("Bind to port") || child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(GLANCE);
    }
    false
}

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) ending: Result<Ending, CommandError>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a command to its end; panics if that takes longer than any test should.
pub(crate) async fn run<R: AsyncRead + Unpin + Send>(session: &Session, command: &str, stdin: R) -> Done {
    let (sender, mut output) = mpsc::channel(4);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let collect = async {
        while let Some(chunk) = output.recv().await {
            match chunk {
                Chunk::Stdout(bytes) => stdout.extend(bytes),
                Chunk::Stderr(bytes) => stderr.extend(bytes),
            }
        }
    };
    let both = async { tokio::join!(session.exec(command, stdin, sender), collect) };
    let (ending, ()) = tokio::time::timeout(DEADLINE, both).await.expect("the command hangs");
    Done { ending, stdout, stderr }
}

/// Runs a command without input that must exit with 0, and gives its output back.
pub(crate) async fn output_of(session: &Session, command: &str) -> String {
    let done = run(session, command, tokio::io::empty()).await;
    assert_eq!(done.ending.unwrap(), Ending::Status(0), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
