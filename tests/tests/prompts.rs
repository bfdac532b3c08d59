//! What a person at a terminal is asked while stdbctl logs in, and what becomes of that terminal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Rogue, Visit};
use stdbctl_tests::terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);
const PASSPHRASE: &str = "a pass'phrase $1";
const PASSWORD: &str = "pass'word $1";

/// A key with a passphrase, and the line that runs `true` on a server.
fn exec(operator: &Operator, rogue: &Rogue, more: &[&str]) -> Vec<String> {
    let key = operator.home().join("key");
    if !key.exists() {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", PASSPHRASE, "-f"]).arg(key);
        assert!(finish(&mut keygen, SOON).status.success());
    }
    operator.write("known_hosts", &rogue.known_host);
    let host = format!("ubuntu@{}", rogue.address);
    let words = ["exec", "--host", &host, "--identity", "key", "--known-hosts", "known_hosts"];
    [&words[..], more, &["--", "true"]].concat().into_iter().map(str::to_owned).collect()
}

/// Wants this password, then runs whatever it is asked to.
fn wants_a_password(visit: &mut Visit) -> io::Result<()> {
    visit.agree()?;
    loop {
        let (method, said) = visit.next_login()?;
        if method == "password" && said.ends_with(PASSWORD.as_bytes()) {
            visit.accept()?;
            return runs(visit);
        }
        visit.refuse("password")?;
    }
}

fn wants_a_key(visit: &mut Visit) -> io::Result<()> {
    visit.admit()?;
    runs(visit)
}

fn runs(visit: &mut Visit) -> io::Result<()> {
    let command = visit.next_command(2 << 20)?;
    visit.exit(&command, 0)
}

/// The process that runs on the terminal.
fn process(terminal: &Terminal) -> String {
    terminal.shows("shell ");
    let shown = terminal.shown();
    let (_, rest) = shown.split_once("shell ").unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_passphrase_is_asked_for_unseen_and_may_be_mistyped() {
    let (operator, rogue) = (Operator::new(), Rogue::start(wants_a_key));
    let mut terminal = Terminal::start(&operator, &exec(&operator, &rogue, &[]));
    terminal.shows("Passphrase of the key key: ");
    terminal.press("mistyped\r");
    terminal.shows("That is not its passphrase. Passphrase of the key key: ");
    terminal.press(&format!("{PASSPHRASE}\r"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("mistyped") && !shown.contains(PASSPHRASE), "{shown}");
}

#[test]
fn a_password_is_asked_for_unseen() {
    let (operator, rogue) = (Operator::new(), Rogue::start(wants_a_password));
    let mut terminal = Terminal::start(&operator, &exec(&operator, &rogue, &[]));
    terminal.shows("Password of ubuntu on 127.0.0.1: ");
    terminal.press(&format!("{PASSWORD}\r"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");

    let mut terminal = Terminal::start(&operator, &exec(&operator, &rogue, &[]));
    terminal.shows("Password of ubuntu on");
    terminal.press("wrong\r");
    let (code, shown) = terminal.end();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.trim_end().ends_with("ubuntu@127.0.0.1 refused the password"), "{shown}");
}

#[test]
fn nobody_is_asked_who_is_not_there_or_wants_no_questions() {
    let (operator, rogue) = (Operator::new(), Rogue::start(wants_a_password));
    let run = operator.run(&exec(&operator, &rogue, &[]));
    run.failed(4, &["there is no key to log in to 127.0.0.1"]);
    assert!(run.stderr.contains("nobody can be asked") && run.stderr.contains("ssh-add 'key'"), "{run}");
    operator.write("config", "BatchMode yes\n");
    let batch = exec(&operator, &rogue, &["--ssh-config", "config"]);
    let (code, shown) = Terminal::start(&operator, &batch).end();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("BatchMode") && !shown.contains("Passphrase of"), "{shown}");
}

#[test]
fn a_terminal_that_was_left_at_a_question_has_its_echo_back() {
    let rogue = Rogue::start(wants_a_key);
    for (signal, expected) in [("TERM", "code 143"), ("INT", "code 130")] {
        let operator = Operator::new();
        let line = exec(&operator, &rogue, &[]);
        let terminal = Terminal::start_and(&operator, &line, "echo code $?; stty -a");
        terminal.shows("Passphrase of the key key: ");
        let mut kill = Command::new("kill");
        kill.args([&format!("-{signal}"), process(&terminal).as_str()]);
        assert!(finish(&mut kill, SOON).status.success());
        let (_, shown) = terminal.end();
        assert!(shown.contains(expected), "{shown}");
        let settings: Vec<_> = shown.split_whitespace().collect();
        for setting in ["echo", "icanon", "isig"] {
            assert!(settings.contains(&setting), "{signal}: {setting} is off\n{shown}");
        }
    }
}
