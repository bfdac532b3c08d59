//! What a server says to who logs in, and asks of them.

use stdbctl_tests::operator::Operator;
use stdbctl_tests::rogue::{Rogue, string};
use stdbctl_tests::terminal::Terminal;

use super::meeting::{Behaviour, ESCAPES, assert_plain, exec, exec_impatiently, for_ever, reach, words};

#[test]
fn banners_without_end() {
    exec_impatiently(|visit| {
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
    let met = exec_impatiently(|visit| {
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
