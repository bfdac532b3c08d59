//! A sudo that works on a terminal only.

use stdbctl_engine::host::Ending;
use stdbctl_engine::root::{Root, RootError};

use super::account::{Account, SHELLS, refusal, said, shared};

/// Both kinds of it, with what they ask for.
fn accounts(shell: &str) -> [(Account, Root); 2] {
    [
        (Account::under(shell).sudo("tty-open"), Root::new(None)),
        (Account::under(shell).sudo("tty-locked").password("right"), Root::new(Some(shared("right")))),
    ]
}

#[tokio::test]
async fn sudo_gets_a_terminal_and_what_it_runs_gets_clean_pipes() {
    // Every byte there is, and more than a terminal or a pipe would hold back.
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let sum: u64 = payload.iter().map(|byte| u64::from(*byte)).sum();
    for shell in SHELLS {
        for (account, root) in accounts(shell) {
            let script = "perl -0777 -ne 'print unpack(\"%64C*\", $_)'; echo said >&2; exit 3";
            let (out, ending) = account.run_as(&root, script, &payload).await;
            assert_eq!(ending.unwrap(), Ending::Status(3), "{shell}: {out}");
            assert_eq!(said(&out), sum.to_string(), "{shell}");
            assert!(out.ends_with("said\n"), "{out}");
        }
    }
}

#[tokio::test]
async fn what_runs_as_root_has_no_terminal_and_none_stays_behind() {
    for shell in SHELLS {
        for (account, root) in accounts(shell) {
            let (out, ending) = account.run_as(&root, "(: </dev/tty) 2>/dev/null || echo none", b"").await;
            assert_eq!((said(&out), ending.unwrap()), ("none\n", Ending::Status(0)), "{shell}");
        }
    }
}

#[tokio::test]
async fn the_host_is_asked_once_more_and_the_rest_of_the_run_knows() {
    for (account, root) in accounts("dash") {
        let first = if account.holds("password") { 3 } else { 2 };
        for lines in [first, first + 1] {
            let (out, ending) = account.command(&root, "sh -c 'echo \"$LC_ALL|$1\"' sh 'a b'").await;
            assert_eq!((said(&out), ending.unwrap()), ("|a b\n", Ending::Status(0)));
            assert_eq!(account.lines(), lines);
        }
        assert!(root.script_line().unwrap().contains("/dev/ptmx"));
    }
    let (account, root) = (Account::new().sudo("open"), Root::new(None));
    account.run_as(&root, "", b"").await.1.unwrap();
    assert_eq!(account.lines(), 1);
    assert!(!root.script_line().unwrap().contains("perl"));
}

#[tokio::test]
async fn several_lines_at_once_find_the_same_way() {
    for (account, root) in accounts("dash") {
        let commands = [(); 6].map(|()| account.command(&root, "sh -c 'echo ran'"));
        for (out, ending) in futures_util::future::join_all(commands).await {
            assert_eq!((said(&out), ending.unwrap()), ("ran\n", Ending::Status(0)));
        }
    }
}

#[tokio::test]
async fn a_signal_is_told_from_a_status_that_looks_like_one() {
    for shell in SHELLS {
        for kind in ["open", "tty-open"] {
            let (account, root) = (Account::under(shell).sudo(kind), Root::new(None));
            for (command, expected) in [
                ("kill -TERM $$", Ending::Signal("15".to_owned())),
                ("kill -KILL $$", Ending::Signal("9".to_owned())),
                ("kill -HUP $$", Ending::Signal("1".to_owned())),
                ("exit 143", Ending::Status(143)),
                ("exit 255", Ending::Status(255)),
            ] {
                let (_, ending) = account.command(&root, &format!("sh -c '{command}'")).await;
                assert_eq!(ending.unwrap(), expected, "{shell} {kind}: {command}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_left_running_is_not_hung_up() {
    for (account, root) in accounts("dash") {
        let script = "(trap 'echo HUP >hung-up; exit' HUP; until test -e over; do sleep 0.05; done; echo >lived) >/dev/null 2>&1 &";
        let (out, ending) = account.run_as(&root, script, b"").await;
        assert_eq!(ending.unwrap(), Ending::Status(0), "{out}");
        account.write("over", "");
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !account.holds("lived") {
            assert!(!account.holds("hung-up") && std::time::Instant::now() < limit);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_host_that_cannot_make_a_terminal_is_refused_with_what_helps() {
    for shell in SHELLS {
        let account = Account::under(shell).sudo("tty-open").without("perl");
        let (out, ending) = account.run(None, "echo ran", b"").await;
        assert_eq!(out, "", "{shell}");
        let refusal = refusal(ending);
        assert!(matches!(&refusal, RootError::TerminalNeeded(why) if why.contains("perl")), "{refusal:?}");
        assert!(refusal.hints().concat().contains("Defaults:USER !requiretty"));
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_there_too() {
    let account = Account::new().sudo("tty-locked").password("right");
    let root = Root::new(Some(shared("wrong")));
    for _ in 0..2 {
        let (_, ending) = account.run_as(&root, "echo ran", b"").await;
        assert_eq!(refusal(ending), RootError::WrongPassword(String::new()));
    }
    assert_eq!(account.tried(), "wrong\n");
}

#[tokio::test]
async fn a_sudo_that_never_stops_talking_is_given_up() {
    let (out, ending) = Account::new().sudo("flood").run(None, "echo ran", b"").await;
    assert!(matches!(refusal(ending), RootError::Undecided(_)), "{out}");
}
