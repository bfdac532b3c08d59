//! A terminal, whatever it is that a server says.

use std::process::Command as Program;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Rogue, string};

use super::meeting::{Behaviour, ESCAPES, LITTLE_PATIENCE, assert_plain, reach_within, words};
use super::records::claim;

/// Runs the binary on a terminal, and returns all that it wrote there.
fn on_a_terminal(behaviour: Behaviour, verb: &[&str], more: &[&str]) -> String {
    let rogue = Rogue::start(behaviour);
    let operator = Operator::new();
    let arguments = words(verb, &reach_within(LITTLE_PATIENCE, &operator, &rogue), more);
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
