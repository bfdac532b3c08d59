//! A run of the binary at a server that means harm, and what must hold of every one.

use std::io;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::finish;
use stdbctl_tests::operator::{Operator, Run};
use stdbctl_tests::rogue::{Rogue, Visit};

/// The patience that the operator states: longer than whatever keeps a busy machine from the next step.
const PATIENCE: &str = "60";
/// The same where it is what ends the run.
pub(super) const LITTLE_PATIENCE: &str = "2";
/// How long a run may take: each step has its own patience, and the machine may be busy.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// How often its memory is looked at: seldom enough to leave the machine to it.
const GLANCE: Duration = Duration::from_millis(1);
pub(super) const MEGABYTE: u64 = 1 << 20;
/// The most memory a run needs that keeps nothing of what it is sent.
pub(super) const LITTLE: u64 = 64 * MEGABYTE;

/// What a terminal would act upon, each with a word that must not come to life.
pub(super) const ESCAPES: &str = "\x1b[2J\x1b[45mred \x1b]52;c;UFdO\x07 \x1b]0;title\x07 \u{202e}txt\u{200b}\u{2066} \u{9b}5mold \
                       back\x08\x08\x08\x08gone over\rwritten \x1bPdcs\x1b\\ \x7f end-of-words";

/// As much as fits into a packet, and no length, text or record.
pub(super) static MUCH: [u8; 30_000] = [0xff; 30_000];

pub(super) type Behaviour = fn(&mut Visit) -> io::Result<()>;

pub(super) struct Met {
    pub(super) run: Run,
    pub(super) peak: u64,
}

/// Someone with a key, and the line that leads to a server.
pub(super) fn reach(operator: &Operator, rogue: &Rogue) -> Vec<String> {
    reach_within(PATIENCE, operator, rogue)
}

pub(super) fn reach_within(patience: &str, operator: &Operator, rogue: &Rogue) -> Vec<String> {
    let key = operator.home().join("key");
    let mut keygen = Program::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key);
    assert!(finish(&mut keygen, Duration::from_secs(30)).status.success());
    operator.write("known_hosts", &rogue.known_host);
    let host = format!("ubuntu@{}", rogue.address);
    let words = ["--host", &host, "--identity", "key", "--known-hosts", "known_hosts", "--timeout", patience];
    words.map(str::to_owned).to_vec()
}

pub(super) fn words(verb: &[&str], reach: &[String], more: &[&str]) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    [own(verb), reach.to_vec(), own(more)].concat()
}

/// `exec -- true` at a server.
pub(super) fn exec(behaviour: Behaviour) -> Met {
    meet(behaviour, &["exec"], &["--", "true"])
}

/// The plan of a deployment at a server.
pub(super) fn plan(behaviour: Behaviour) -> Met {
    meet(behaviour, &["plan"], &["--set", "tls.mode=off"])
}

/// `exec -- true` at a server that says too little, or never enough: patience ends it.
pub(super) fn exec_impatiently(behaviour: Behaviour) -> Met {
    meet_within(LITTLE_PATIENCE, behaviour, &["exec"], &["--", "true"])
}

pub(super) fn meet(behaviour: Behaviour, verb: &[&str], more: &[&str]) -> Met {
    meet_within(PATIENCE, behaviour, verb, more)
}

fn meet_within(patience: &str, behaviour: Behaviour, verb: &[&str], more: &[&str]) -> Met {
    let rogue = Rogue::start(behaviour);
    let operator = Operator::new();
    let arguments = words(verb, &reach_within(patience, &operator, &rogue), more);
    let mut command = operator.command(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let (mut peak, mut status) = (0, None);
    while status.is_none() && began.elapsed() < Duration::from_secs(100) {
        peak = peak.max(peak_of(child.id()).unwrap_or(0));
        std::thread::sleep(GLANCE);
        status = child.try_wait().unwrap();
    }
    let took = began.elapsed();
    drop(child.kill().and_then(|()| child.wait()));
    let run = Run {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
        took,
    };
    assert!(status.is_some(), "it hangs\n{run}");
    Met { run, peak }
}

fn collect(stream: Option<impl io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The most memory a process has had so far; None once it is gone.
pub(super) fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl Met {
    /// It ended so, in time and in little memory, naming the cause in plain text.
    pub(super) fn failed(&self, code: i32, cause: &[&str]) {
        self.failed_within(code, cause, LONGEST, LITTLE);
    }

    pub(super) fn failed_within(&self, code: i32, cause: &[&str], longest: Duration, most: u64) {
        let Self { run, peak } = self;
        run.failed(code, cause);
        assert!(run.took < longest, "too slow\n{run}");
        assert!(*peak < most, "{} MB of memory\n{run}", peak / MEGABYTE);
        assert_plain(&run.stderr);
        assert!(run.stderr.len() < 20_000, "{} bytes of words", run.stderr.len());
    }
}

/// Nothing but text, line breaks, and what the binary itself does with a terminal.
pub(super) fn assert_plain(text: &str) {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = own_sequence(rest) {
            rest = after;
            continue;
        }
        let hides = "\u{ad}\u{61c}\u{feff}".contains(character)
            || ('\u{200b}'..='\u{200f}').contains(&character)
            || ('\u{2028}'..='\u{202e}').contains(&character)
            || ('\u{2060}'..='\u{206f}').contains(&character);
        let line =
            matches!(character, '\n' | '\t') || rest.starts_with("\r\n") || rest.starts_with("\r\x1b[");
        assert!(line || (!character.is_control() && !hides), "{character:?} at {rest:?}\nin {text:?}");
        rest = &rest[character.len_utf8()..];
    }
}

/// What follows a colour of ours, or one of the moves of a progress bar.
fn own_sequence(text: &str) -> Option<&str> {
    let sequences = [
        "[0m", "[1m", "[2m", "[31m", "[32m", "[33m", "[36m", "[m", "[K", "[2K", "[1A", "[?25l", "[?25h",
        "[0K", "[J", "[22m", "[39m", "[1B",
    ];
    let text = text.strip_prefix('\x1b')?;
    sequences.iter().find_map(|sequence| text.strip_prefix(sequence))
}

/// Sends a piece for as long as the client listens.
pub(super) fn for_ever(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        send()?;
    }
}
