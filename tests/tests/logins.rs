//! Logins with what a person types, on a host whose sshd asks PAM.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::terminal::Terminal;

/// What the journal says of a password that was not the right one.
const WRONG: &str = "Failed password";

/// Has sshd take this and nothing else. A reload would be over before sshd has read it.
fn takes(host: &LabHost, settings: &str) {
    host.sh(&format!(
        "printf '{settings}' >/etc/ssh/sshd_config.d/00-typed.conf && sshd -t && systemctl restart ssh"
    ));
}

fn reach(host: &LabHost) -> Vec<String> {
    flags(&[("--host", &host.ssh), ("--known-hosts", host.known_hosts.to_str().unwrap())])
}

#[test]
fn a_password_and_pam_s_questions_let_in_who_is_there_to_answer() {
    let host = LabHost::up_as("logins", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let password = host.sudo_password.clone().unwrap();
    let exec = line(&[&reach(&host)], &["exec", "--", "id", "-un"]);
    let ways = [
        ("PasswordAuthentication yes\\nKbdInteractiveAuthentication no\\n", "Password of ubuntu on "),
        ("PasswordAuthentication no\\nKbdInteractiveAuthentication yes\\n", "asks ubuntu: "),
    ];
    for (settings, question) in ways {
        takes(&host, settings);
        let mut terminal = Terminal::start(&operator, &exec);
        terminal.shows(question);
        terminal.press(&format!("{password}\r"));
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("ubuntu") && !shown.contains(&password), "{shown}");
        operator.run(&exec).failed(4, &["there is no key to log in to"]);
    }

    takes(&host, "PasswordAuthentication yes\\nKbdInteractiveAuthentication yes\\n");
    let cursor = host.journal_cursor();
    let mut terminal = Terminal::start(&operator, &exec);
    terminal.shows("asks ubuntu: ");
    terminal.press("wrong\r");
    let (code, shown) = terminal.end();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("refused the password") && shown.contains("run again to type"), "{shown}");
    let tried: Vec<_> = host
        .journal_since(&cursor)
        .into_iter()
        .filter(|entry| entry.contains("authentication failure") || entry.contains(WRONG))
        .collect();
    assert!(matches!(tried.as_slice(), [one] if one.contains("pam_unix")), "tried more than once: {tried:?}");
}
