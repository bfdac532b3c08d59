//! Servers that mean harm: whatever they send, the binary ends in time, with the right exit code and a clear word, in
//! little memory, and nothing of theirs drives the operator's terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::process::{Command as Program, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::{finish, wait_for};
use stdbctl_tests::operator::{Operator, Run};
use stdbctl_tests::rogue::{Command, Fields, Rogue, Visit, string, uint};
use stdbctl_tests::terminal::Terminal;

/// The patience that the operator states.
const PATIENCE: &str = "2";
/// How long a run may take then: each step has its own patience, and the machine may be busy.
const LONGEST: Duration = Duration::from_secs(12);
const MEGABYTE: u64 = 1 << 20;
/// The most memory a run needs that keeps nothing of what it is sent.
const LITTLE: u64 = 64 * MEGABYTE;

/// What a terminal would act upon, each with a word that must not come to life.
const ESCAPES: &str = "\x1b[2J\x1b[45mred \x1b]52;c;UFdO\x07 \x1b]0;title\x07 \u{202e}txt\u{200b}\u{2066} \u{9b}5mold \
                       back\x08\x08\x08\x08gone over\rwritten \x1bPdcs\x1b\\ \x7f end-of-words";

/// As much as fits into a packet, and no length, text or record.
static MUCH: [u8; 30_000] = [0xff; 30_000];

type Behaviour = fn(&mut Visit) -> io::Result<()>;

struct Met {
    run: Run,
    peak: u64,
}

/// Someone with a key, and the line that leads to a server.
fn reach(operator: &Operator, rogue: &Rogue) -> Vec<String> {
    let key = operator.home().join("key");
    let mut keygen = Program::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key);
    assert!(finish(&mut keygen, Duration::from_secs(30)).status.success());
    operator.write("known_hosts", &rogue.known_host);
    let host = format!("ubuntu@{}", rogue.address);
    let words = ["--host", &host, "--identity", "key", "--known-hosts", "known_hosts", "--timeout", PATIENCE];
    words.map(str::to_owned).to_vec()
}

fn words(verb: &[&str], reach: &[String], more: &[&str]) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    [own(verb), reach.to_vec(), own(more)].concat()
}

/// `exec -- true` at a server.
fn exec(behaviour: Behaviour) -> Met {
    meet(behaviour, &["exec"], &["--", "true"])
}

/// The plan of a deployment at a server.
fn plan(behaviour: Behaviour) -> Met {
    meet(behaviour, &["plan"], &["--set", "tls.mode=off"])
}

fn meet(behaviour: Behaviour, verb: &[&str], more: &[&str]) -> Met {
    let rogue = Rogue::start(behaviour);
    let operator = Operator::new();
    let arguments = words(verb, &reach(&operator, &rogue), more);
    let mut command = operator.command(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let (mut peak, mut status) = (0, None);
    while status.is_none() && began.elapsed() < Duration::from_secs(100) {
        peak = peak.max(peak_of(child.id()).unwrap_or(0));
        std::thread::yield_now();
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
fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl Met {
    /// It ended so, in time and in little memory, naming the cause in plain text.
    fn failed(&self, code: i32, cause: &[&str]) {
        self.failed_within(code, cause, LONGEST, LITTLE);
    }

    fn failed_within(&self, code: i32, cause: &[&str], longest: Duration, most: u64) {
        let Self { run, peak } = self;
        run.failed(code, cause);
        assert!(run.took < longest, "too slow\n{run}");
        assert!(*peak < most, "{} MB of memory\n{run}", peak / MEGABYTE);
        assert_plain(&run.stderr);
        assert!(run.stderr.len() < 20_000, "{} bytes of words", run.stderr.len());
    }
}

/// Nothing but text, line breaks, and what the binary itself does with a terminal.
fn assert_plain(text: &str) {
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
fn for_ever(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        send()?;
    }
}

/// One byte at a time, so slowly that no pause is longer than the patience.
fn drip(visit: &mut Visit, bytes: impl Iterator<Item = u8>) -> io::Result<()> {
    for byte in bytes {
        visit.wire.raw(&[byte])?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

#[test]
fn a_version_without_end() {
    let versions: [Behaviour; 5] = [
        |visit| for_ever(|| visit.wire.raw(&[b'a'; 4096])),
        |visit| for_ever(|| visit.wire.raw(b"hello\r\n")),
        |visit| for_ever(|| visit.wire.raw(b"SSH-2.0-\x1b[45m")),
        |visit| for_ever(|| visit.wire.raw(b"\n")),
        |visit| for_ever(|| visit.wire.raw(b"\0")),
    ];
    for version in versions {
        exec(version).failed(4, &["127.0.0.1"]);
    }
}

#[test]
fn a_version_that_drips() {
    exec(|visit| drip(visit, std::iter::repeat(b's'))).failed(4, &["127.0.0.1"]);
    exec(|visit| drip(visit, "SSH-2.0-".bytes().chain(std::iter::repeat(b'x')))).failed(4, &["127.0.0.1"]);
    exec(|visit| drip(visit, "hello\n".bytes().cycle())).failed(4, &["127.0.0.1"]);
}

#[test]
fn a_packet_that_claims_gigabytes() {
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.raw(&[0xff; 4])?;
        for_ever(|| visit.wire.raw(&MUCH))
    })
    .failed(4, &["127.0.0.1"]);
    // As large as is allowed, and never whole.
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.raw(&[0, 4, 0, 0])
    })
    .failed(4, &["127.0.0.1"]);
    // The same under the cipher: what comes decrypts to any length.
    exec(|visit| {
        visit.agree()?;
        for_ever(|| visit.wire.raw(&MUCH))
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn packets_that_drip() {
    exec(|visit| {
        visit.wire.greet()?;
        drip(visit, [0, 0, 8, 0].into_iter().chain(std::iter::repeat(20)))
    })
    .failed(4, &["key exchange"]);
    exec(|visit| {
        visit.agree()?;
        drip(visit, std::iter::repeat(20))
    })
    .failed(4, &["authentication"]);
}

#[test]
fn an_offer_that_lies_about_itself() {
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], uint(usize::MAX), vec![b'a'; 100]].concat())
    })
    .failed(4, &["127.0.0.1"]);
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], string(ESCAPES).repeat(10), vec![0; 5]].concat())
    })
    .failed(4, &["127.0.0.1"]);
    exec(|visit| {
        visit.wire.greet()?;
        visit.wire.send(&[vec![20], vec![7; 16], string(vec![b','; 200_000]), vec![0; 41]].concat())
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn packets_that_mean_nothing_without_end() {
    exec(|visit| {
        visit.wire.greet()?;
        for_ever(|| visit.wire.send(&[vec![2], string(MUCH)].concat()))
    })
    .failed(4, &["127.0.0.1"]);
    exec(|visit| {
        visit.agree()?;
        for_ever(|| visit.wire.send(&[vec![2], string(MUCH)].concat()))
    })
    .failed(4, &["127.0.0.1"]);
}

#[test]
fn silence_at_each_step() {
    let steps: [Behaviour; 4] = [
        |visit| visit.wire.greet().map(drop),
        |visit| visit.agree(),
        |visit| {
            visit.agree()?;
            visit.wire.receive()?;
            visit.wire.send(&[vec![6], string("ssh-userauth")].concat())
        },
        |visit| visit.admit(),
    ];
    let named = ["key exchange", "authentication", "authentication", "opening a channel"];
    for (step, name) in steps.into_iter().zip(named) {
        exec(step).failed(4, &[name]);
    }
}

#[test]
fn banners_without_end() {
    exec(|visit| {
        visit.agree()?;
        visit.wire.receive()?;
        visit.wire.send(&[vec![6], string("ssh-userauth")].concat())?;
        for_ever(|| visit.wire.send(&[vec![53], string(ESCAPES.repeat(200)), string("")].concat()))
    })
    .failed(4, &["authentication"]);
}

/// Asks at a terminal, in these words, and refuses the answer. What the terminal has shown.
fn questioned(prompt: &'static str) -> String {
    let rogue = Rogue::start(move |visit| {
        visit.agree()?;
        loop {
            let (method, _) = visit.next_login()?;
            visit.wire.send(&[vec![53], string(ESCAPES), string("")].concat())?;
            if method == "keyboard-interactive" {
                let answers = visit.ask(ESCAPES, &format!("{ESCAPES}\n{ESCAPES}"), &[prompt, prompt])?;
                assert_eq!(answers, ["answer-1", "answer-2"]);
            }
            visit.refuse("keyboard-interactive")?;
        }
    });
    let operator = Operator::new();
    let mut terminal =
        Terminal::start(&operator, &words(&["exec"], &reach(&operator, &rogue), &["--", "true"]));
    for (number, answer) in ["answer-1\r", "answer-2\r"].into_iter().enumerate() {
        terminal.shows_times("127.0.0.1 asks ubuntu: ", number + 1);
        terminal.press(answer);
    }
    let (code, shown) = terminal.end();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("127.0.0.1 says: ") && !shown.contains("answer-1"), "{shown}");
    shown
}

#[test]
fn questions_that_drive_the_terminal() {
    assert_plain(&questioned(ESCAPES));
}

#[test]
fn a_question_that_looks_like_one_of_ours() {
    let shown = questioned(
        "Menu:\n\n\r\n  Password of sudo on web2:                    \n\nPassword of sudo on web2:",
    );
    let bare = |line: &str| line.trim_start().starts_with("Password of");
    assert!(shown.contains("asks ubuntu: Password of sudo on web2:"), "{shown}");
    assert!(!shown.split(['\n', '\r']).any(bare), "{shown}");
}

#[test]
fn refusals_that_drive_the_terminal() {
    let met = exec(|visit| {
        visit.agree()?;
        visit.wire.receive()?;
        visit.wire.send(&[vec![6], string("ssh-userauth")].concat())?;
        for_ever(|| visit.wire.send(&[vec![51], string(format!("publickey,{ESCAPES}")), vec![1]].concat()))
    });
    met.failed(4, &[]);
    let goodbyes: [Behaviour; 4] = [
        |visit| {
            visit.wire.greet()?;
            visit.disconnect(ESCAPES.as_bytes())
        },
        |visit| {
            visit.agree()?;
            visit.disconnect(&ESCAPES.repeat(2000).into_bytes())
        },
        |visit| {
            visit.admit()?;
            visit.disconnect(b"\xff\xfe not text")
        },
        |visit| {
            visit.take_command()?;
            visit.disconnect(ESCAPES.as_bytes())
        },
    ];
    for goodbye in goodbyes {
        exec(goodbye).failed(4, &[]);
    }
}

#[test]
fn a_channel_that_is_refused_in_colours() {
    exec(|visit| {
        visit.admit()?;
        let packet = visit.wire.receive()?;
        let mut fields = Fields(&packet);
        let (_open, _kind, channel) = (fields.byte(), fields.string(), fields.uint());
        visit
            .wire
            .send(&[vec![92], channel.to_be_bytes().to_vec(), uint(2), string(ESCAPES), string("")].concat())
    })
    .failed(4, &["MaxSessions"]);
}

/// What is not about the one channel there is must not end, or stand for, what happens on it.
fn strangers(visit: &mut Visit, channel: usize) -> io::Result<()> {
    visit.wire.send(&[vec![98], uint(channel), string("exit-status"), vec![0], uint(0)].concat())?;
    visit.wire.send(&[vec![94], uint(channel), string("forged\n")].concat())?;
    visit.wire.send(&[vec![93], uint(channel), uint(usize::MAX)].concat())?;
    visit.wire.send(&[vec![96], uint(channel)].concat())?;
    visit.wire.send(&[vec![97], uint(channel)].concat())
}

#[test]
fn word_of_channels_that_were_never_opened() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        strangers(visit, command.channel + 1)?;
        strangers(visit, 0xffff_fff0)?;
        visit.write(&command, b"own\n")?;
        visit.exit(&command, 3)
    });
    met.failed(1, &["exit status 3"]);
    assert_eq!(met.run.stdout, "own\n", "{}", met.run);
}

#[test]
fn windows_that_overflow() {
    let met = exec(|visit| {
        visit.admit()?;
        let command = visit.next_command(0)?;
        for window in [usize::MAX, usize::MAX, 1, 0, 0x7fff_ffff] {
            visit.wire.send(&[vec![93], uint(command.channel), uint(window)].concat())?;
        }
        visit.exit(&command, 0)
    });
    met.run.exited(0);
    assert!(met.run.took < LONGEST && met.peak < LITTLE, "{}", met.run);
}

#[test]
fn a_channel_confirmed_twice() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        for _ in 0..100 {
            visit.wire.send(&[vec![91], uint(command.channel), uint(5), uint(0), uint(0)].concat())?;
        }
        visit.exit(&command, 4)
    });
    assert!(met.run.code != Some(0) && met.run.took < LONGEST, "{}", met.run);
    assert_plain(&met.run.stderr);
}

#[test]
fn data_that_lies_about_its_length() {
    exec(|visit| {
        let command = visit.take_command()?;
        visit.wire.send(&[vec![94], uint(command.channel), uint(usize::MAX), b"short".to_vec()].concat())
    })
    .failed(4, &[]);
}

#[test]
fn a_status_without_an_end_is_none() {
    exec(|visit| {
        let command = visit.take_command()?;
        visit
            .wire
            .send(&[vec![98], uint(command.channel), string("exit-status"), vec![0], uint(0)].concat())?;
        visit.disconnect(b"bye")
    })
    .failed(4, &["bye"]);
}

#[test]
fn the_name_of_a_signal_is_only_a_name() {
    let met = exec(|visit| {
        let command = visit.take_command()?;
        let channel = uint(command.channel);
        let words = [vec![0], string(ESCAPES), vec![0], string(ESCAPES), string("")].concat();
        visit.wire.send(&[vec![98], channel.clone(), string("exit-signal"), words].concat())?;
        visit.wire.send(&[vec![97], channel].concat())
    });
    met.failed(1, &["killed by"]);
}

/// A server that pours something over whoever runs a command there: peak memory once it has poured so much.
fn poured(pour: fn(&mut Visit, &Command) -> io::Result<()>) -> u64 {
    let all = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&all);
    let rogue = Rogue::start(move |visit| {
        let command = visit.take_command()?;
        for_ever(|| {
            pour(visit, &command)?;
            counted.fetch_add(30_000, Ordering::Relaxed);
            Ok(())
        })
    });
    let operator = Operator::new();
    let arguments = words(&["exec"], &reach(&operator, &rogue), &["--", "true"]);
    let mut command = operator.command(&arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let peak = wait_for("it is poured over, or hangs up", Duration::from_secs(60), || {
        let peak = peak_of(child.id()).unwrap_or(0);
        let enough = all.load(Ordering::Relaxed) > 150_000_000 || began.elapsed() > Duration::from_secs(8);
        (enough || child.try_wait().unwrap().is_some()).then_some(peak)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    peak
}

#[test]
fn floods_take_little_memory() {
    type Pour = fn(&mut Visit, &Command) -> io::Result<()>;
    let floods: [(&str, Pour); 6] = [
        ("stdout", |visit, command| visit.write(command, &MUCH)),
        ("lines of stdout", |visit, command| visit.write(command, &b"x\n".repeat(15_000))),
        ("stderr", |visit, command| visit.complain(command, &MUCH)),
        ("questions", |visit, _| {
            visit.wire.send(&[vec![80], string("keepalive@rogue"), vec![1; 1]].concat())
        }),
        ("channels", |visit, _| {
            visit.wire.send(&[vec![90], string("session"), uint(9), uint(1 << 20), uint(1 << 15)].concat())
        }),
        ("debug", |visit, _| visit.wire.send(&[vec![4, 1], string(ESCAPES), string("")].concat())),
    ];
    for (what, pour) in floods {
        let peak = poured(pour);
        assert!(peak > MEGABYTE && peak < LITTLE, "{what}: {} MB", peak / MEGABYTE);
    }
}

#[test]
fn records_that_claim_gigabytes() {
    plan(|visit| {
        let command = visit.take_script()?;
        let header = format!("\n@{} paths 99999999999\n", command.nonce());
        visit.write(&command, header.as_bytes())?;
        for_ever(|| visit.write(&command, &MUCH))
    })
    .failed(1, &["claims to hold 99999999999 bytes"]);
}

#[test]
fn records_without_end() {
    let met = plan(|visit| {
        let command = visit.take_script()?;
        let record = format!("\n@{} x 1000000\n{}", command.nonce(), "x".repeat(1_000_000));
        for_ever(|| visit.write(&command, record.as_bytes()))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), 160 * MEGABYTE);
    let met = plan(|visit| {
        let command = visit.take_script()?;
        let records = format!("\n@{} x 0\n", command.nonce()).repeat(500);
        for_ever(|| visit.write(&command, records.as_bytes()))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), 160 * MEGABYTE);
}

#[test]
fn noise_without_end() {
    let met = plan(|visit| {
        let command = visit.take_script()?;
        for_ever(|| visit.write(&command, &b"Welcome!\n".repeat(3000)))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), LITTLE);
    let met = plan(|visit| {
        let command = visit.take_script()?;
        for_ever(|| visit.complain(&command, &ESCAPES.as_bytes().repeat(300)))
    });
    met.failed_within(1, &["more than 64 MiB"], Duration::from_secs(90), LITTLE);
}

#[test]
fn records_under_a_forged_nonce() {
    plan(|visit| {
        let command = visit.take_script()?;
        let nonce = command.nonce();
        let (short, swapped) = (&nonce[1..], nonce.chars().rev().collect::<String>());
        for nonce in [short, &swapped, "", "0", &format!("{nonce}0")] {
            visit.write(&command, format!("\n@{nonce} end 0\n").as_bytes())?;
        }
        visit.exit(&command, 0)
    })
    .failed(1, &["ended early"]);
}

#[test]
fn records_that_contradict_themselves() {
    for record in ["x -1\n", "x +4\nabcd", "x 18446744073709551616\n", "\n", "x\n"] {
        let rogue = Rogue::start(move |visit| {
            let command = visit.take_script()?;
            let text = format!("\n@NONCE {record}").replace("NONCE", &command.nonce());
            visit.write(&command, text.as_bytes())?;
            visit.exit(&command, 0)
        });
        let operator = Operator::new();
        let arguments = words(&["plan"], &reach(&operator, &rogue), &["--set", "tls.mode=off"]);
        let run = operator.run(&arguments);
        run.exited(1);
        assert_plain(&run.stderr);
        assert!(!run.stderr.contains("panicked"), "{run}");
    }
}

/// Answers every script with what a host is, and with nothing else.
fn claim(visit: &mut Visit, id: &str, clock: &str) -> io::Result<()> {
    visit.admit()?;
    for_ever(|| answer(visit, id, clock))
}

fn answer(visit: &mut Visit, id: &str, clock: &str) -> io::Result<()> {
    let command = visit.next_script()?;
    let host = format!("id={id}\nversion=24.04\nmachine=x86_64\nclock={clock}\nmemory_kb=4018192\nssh=\n");
    let nonce = command.nonce();
    visit.write(&command, format!("\n@{nonce} host {}\n{host}\n@{nonce} end 0\n", host.len()).as_bytes())?;
    visit.exit(&command, 0)
}

#[test]
fn a_clock_of_another_age() {
    let clocks: [Behaviour; 5] = [
        |visit| claim(visit, "ubuntu", "0"),
        |visit| claim(visit, "ubuntu", "-9223372036854775808"),
        |visit| claim(visit, "ubuntu", "2147483648"),
        |visit| claim(visit, "ubuntu", "9223372036854775807"),
        |visit| claim(visit, "ubuntu", "yesterday"),
    ];
    for clock in clocks {
        let met = plan(clock);
        met.run.exited(1);
        assert!(met.run.stderr.contains("timedatectl set-ntp true"), "{}", met.run);
        assert!(met.run.took < LONGEST && met.peak < LITTLE, "{}", met.run);
    }
}

/// Runs the binary on a terminal, and returns all that it wrote there.
fn on_a_terminal(behaviour: Behaviour, verb: &[&str], more: &[&str]) -> String {
    let rogue = Rogue::start(behaviour);
    let operator = Operator::new();
    let arguments = words(verb, &reach(&operator, &rogue), more);
    let binary = stdbctl_tests::operator::binary();
    let line: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let mut script = Program::new("script");
    script
        .args(["-qefc", &format!("'{}' {}", binary.display(), line.join(" ")), "/dev/null"])
        .env_clear()
        .env("HOME", operator.home())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TERM", "xterm-256color")
        .env("SHELL", "/bin/sh")
        .current_dir(operator.home());
    finish(&mut script, Duration::from_secs(60)).stdout
}

#[test]
fn a_terminal_stays_clean() {
    let exec = (&["exec"][..], &["--", "true"][..]);
    let plan = (&["plan"][..], &["--set", "tls.mode=off"][..]);
    let cases: [(Behaviour, _); 9] = [
        (|visit| claim(visit, ESCAPES, "0"), plan),
        (|visit| visit.wire.raw(ESCAPES.as_bytes()), exec),
        (
            |visit| {
                visit.agree()?;
                visit.wire.receive()?;
                visit.wire.send(&[vec![6], string("ssh-userauth")].concat())?;
                visit.wire.send(&[vec![53], string(ESCAPES), string("")].concat())?;
                visit.disconnect(ESCAPES.as_bytes())
            },
            exec,
        ),
        (
            |visit| {
                let command = visit.take_command()?;
                visit.write(&command, format!("{ESCAPES}\n").as_bytes())?;
                visit.complain(&command, format!("{ESCAPES}\n").as_bytes())?;
                visit.exit(&command, 0)
            },
            exec,
        ),
        (
            |visit| {
                // Cut inside sequences and characters, and never finished.
                let command = visit.take_command()?;
                for byte in ESCAPES.bytes() {
                    visit.write(&command, &[byte])?;
                }
                visit.write(&command, b"\x1b]52;c;never finished")?;
                visit.exit(&command, 0)
            },
            exec,
        ),
        (
            |visit| {
                let command = visit.take_script()?;
                visit.complain(&command, ESCAPES.as_bytes())?;
                visit.exit(&command, 1)
            },
            plan,
        ),
        (
            |visit| {
                let command = visit.take_command()?;
                visit.complain(&command, format!("sudo: {ESCAPES}").as_bytes())?;
                visit.exit(&command, 1)
            },
            plan,
        ),
        (
            |visit| {
                let command = visit.take_script()?;
                let text = format!("\n@{} {ESCAPES} {}\n{ESCAPES}", command.nonce(), ESCAPES.len());
                visit.write(&command, text.as_bytes())?;
                visit.write(&command, format!("\n@{} end 0\n", command.nonce()).as_bytes())?;
                visit.exit(&command, 0)
            },
            plan,
        ),
        (
            |visit| {
                visit.take_command()?;
                visit.disconnect(ESCAPES.as_bytes())
            },
            plan,
        ),
    ];
    for (index, (behaviour, (verb, more))) in cases.into_iter().enumerate() {
        let written = on_a_terminal(behaviour, verb, more);
        assert!(!written.trim().is_empty(), "case {index} says nothing");
        assert_plain(&written);
    }
}

/// Lets the script of a transfer begin, and goes on with this, for ever or once.
fn begin_transfer(visit: &mut Visit) -> io::Result<Command> {
    let command = visit.take_script()?;
    let nonce = command.nonce();
    visit.complain(&command, format!("\n{nonce}\n").as_bytes())?;
    visit.write(&command, format!("\n{nonce} gzip\n").as_bytes())?;
    Ok(command)
}

#[test]
fn a_pull_of_more_than_there_can_be() {
    let pull = |behaviour: Behaviour| meet(behaviour, &["pull"], &["/a", "back"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"file 644 18446744073709551615 x\n")?;
        visit.exit(&command, 0)
    });
    met.failed(1, &["answer could not be read"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"file 644 9223372036854775807 x\n")?;
        visit.exit(&command, 0)
    });
    met.failed(1, &["bytes are free there"]);
    let met = pull(|visit| {
        let command = begin_transfer(visit)?;
        visit.write(&command, b"tree 755\n")?;
        for_ever(|| visit.write(&command, &b"f 644 1 a\0\0".repeat(2000)))
    });
    met.failed_within(1, &["lists more than"], Duration::from_secs(60), 192 * MEGABYTE);
}

#[test]
fn transfers_answered_without_end() {
    let binary = stdbctl_tests::operator::binary();
    let big = binary.to_str().unwrap();
    let answers: Behaviour = |visit| {
        let command = begin_transfer(visit)?;
        for_ever(|| visit.write(&command, &b"new\n".repeat(7000)))
    };
    meet(answers, &["push"], &["key", "/a"]).failed(1, &["does not stop talking"]);
    meet(answers, &["push"], &[".", "/a"]).failed(1, &["says too much"]);
    meet(answers, &["push"], &[big, "/a"]).failed(1, &["says too much"]);
    let noise: [Behaviour; 2] = [
        |visit| {
            let command = visit.take_script()?;
            for_ever(|| visit.write(&command, &b"Welcome!\n".repeat(3000)))
        },
        |visit| {
            let command = visit.take_script()?;
            for_ever(|| visit.complain(&command, &ESCAPES.as_bytes().repeat(300)))
        },
    ];
    for noise in noise {
        meet(noise, &["pull"], &["/a", "back"]).failed(1, &["answer could not be read"]);
    }
}
