//! Becoming root under real shells, with a sudo and a doas that behave as the real ones.

#![expect(clippy::unwrap_used, reason = "the functions between the tests fail as the tests do")]

mod account;
mod limit;
mod scripted;
mod terminal;
mod unproven;

use std::sync::Arc;

use proptest::prelude::*;
use stdbctl_engine::host::{Ending, Sent, Stdin};
use stdbctl_engine::root::{Root, RootError};

use self::account::{Account, SHELLS, asked, refusal, said, shared};

/// What shells trip over, and what would leave a trace if it were ever run.
const NASTY: [&str; 14] = [
    "$(touch PWNED)",
    "`touch PWNED`",
    "touch PWNED",
    "'; touch PWNED; '",
    "\"; touch PWNED; \"",
    "-n",
    "-",
    "%s\\n%d",
    "back\\slash\\",
    "  blanks  ",
    "*",
    "!!",
    "Ȁ\u{81}ä€𝄞",
    "17",
];

#[tokio::test]
async fn root_and_sudo_without_a_password_are_there_at_once() {
    for shell in SHELLS {
        for account in [Account::root(shell), Account::under(shell).sudo("open")] {
            let (out, ending) =
                account.run(None, "cat; echo \"$0 $1\"; echo said >&2; exit 3", b"payload ").await;
            assert_eq!(out, "payload stdbctl 192.0.2.1 1 192.0.2.2 22\n!said\n", "{shell:?}");
            assert_eq!(ending.unwrap(), Ending::Status(3));
            let (out, ending) = account.look(None, "echo looked").await;
            assert_eq!((out.as_str(), ending.unwrap()), ("looked\n", Ending::Status(0)));
        }
    }
}

#[tokio::test]
async fn sudo_gets_its_password_where_it_asks_and_nobody_gets_it_where_not() {
    for shell in SHELLS {
        for kind in ["locked", "tty-locked", "rust", "cached"] {
            // The way to sudo is the same for the last two.
            let some = if kind.contains("locked") { NASTY.len() } else { 3 };
            for password in NASTY.into_iter().take(some) {
                let account = Account::under(shell).sudo(kind).password(password);
                let (out, ending) = account.run(Some(shared(password)), "cat", b"payload").await;
                assert_eq!(ending.unwrap(), Ending::Status(0), "{shell} {kind} {password}: {out}");
                assert_eq!(said(&out), "payload", "{shell} {kind} {password}");
                let tried = if kind == "cached" { String::new() } else { format!("{password}\n") };
                assert_eq!(account.tried(), tried, "{shell} {kind}");
                assert!(!account.holds("PWNED"), "{shell} {kind} {password}");
            }
        }
    }
}

#[tokio::test]
async fn no_process_shows_the_password() {
    for shell in SHELLS {
        for kind in ["locked", "tty-locked", "cached"] {
            let account = Account::under(shell).sudo(kind).password("planted-4711");
            let script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | base64 -w0";
            let (out, ending) = account.run(Some(shared("planted-4711")), script, b"").await;
            assert_eq!(ending.unwrap(), Ending::Status(0), "{shell} {kind}: {out}");
            let seen = account::decoded(said(&out));
            assert!(seen.contains("192.0.2.1 1 192.0.2.2 22"), "its own processes are among them");
            assert!(!seen.contains("planted-4711"), "{shell} {kind}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_password_arrives_as_it_is(password in "[^\0\n\r]{1,40}", which in 0_usize..SHELLS.len()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let account = Account::under(SHELLS[which]).sudo("locked").password(&password);
            let (out, ending) = account.run(Some(shared(&password)), "cat", b"payload").await;
            assert_eq!(ending.unwrap(), Ending::Status(0), "{out}");
            assert_eq!(account.tried(), format!("{password}\n"));
            assert!(out.contains("payload") && !out.contains(&format!("{password}\n")) , "{out}");
        });
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_never_again() {
    for shell in SHELLS {
        for kind in ["locked", "rust"] {
            let account = Account::under(shell).sudo(kind).password("right");
            let root = Root::new(Some(shared("wrong")));
            for _ in 0..2 {
                let (out, ending) = account.run_as(&root, "echo ran", b"and payload\nin lines\n").await;
                assert_eq!(refusal(ending), RootError::WrongPassword(String::new()), "{shell} {kind}");
                assert_eq!(out, "", "{shell} {kind}");
            }
            assert_eq!(account.tried(), "wrong\n", "{shell} {kind}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_on_the_next_host() {
    let (one, two) =
        (Account::new().sudo("locked").password("x"), Account::new().sudo("locked").password("x"));
    let password = shared("wrong");
    let (first, second) =
        tokio::join!(one.run(Some(Arc::clone(&password)), "echo", b""), two.run(Some(password), "echo", b""));
    let mut refusals = [refusal(first.1), refusal(second.1)];
    refusals.sort_by_key(|error| matches!(error, RootError::NotTried(_)));
    assert_eq!(refusals, [RootError::WrongPassword(String::new()), RootError::NotTried("host".to_owned())]);
    assert_eq!(one.tried() + &two.tried(), "wrong\n");
}

#[tokio::test]
async fn one_question_serves_all_hosts_and_all_scripts() {
    let accounts = [(); 3].map(|()| Account::new().sudo("locked").password("right"));
    let (password, questions) = asked("right");
    let runs = accounts.iter().map(async |account| {
        let root = Root::new(Some(Arc::clone(&password)));
        for _ in 0..2 {
            let (out, ending) = account.run_as(&root, "echo ran", b"").await;
            assert_eq!(ending.unwrap(), Ending::Status(0));
            assert!(out.contains("ran\n"), "{out}");
        }
        let (out, ending) = account.command(&root, r#"sh -c 'echo "$LC_ALL|$1"' sh 'a b'"#).await;
        assert_eq!(ending.unwrap(), Ending::Status(0));
        assert_eq!(said(&out), "|a b\n");
        assert_eq!(account.tried(), "right\n".repeat(3));
    });
    futures_util::future::join_all(runs).await;
    assert_eq!(questions.count(), 1);
}

#[tokio::test]
async fn nobody_is_asked_where_no_password_is_wanted() {
    let (password, questions) = asked("unused");
    for account in [
        Account::root(SHELLS[0]),
        Account::new().sudo("open"),
        Account::new().doas("open"),
        Account::new().sudo("locked").doas("open"),
    ] {
        let (out, ending) = account.run(Some(Arc::clone(&password)), "echo ran", b"").await;
        assert_eq!((out.as_str(), ending.unwrap()), ("ran\n", Ending::Status(0)));
        assert_eq!(account.tried(), "");
    }
    assert_eq!(questions.count(), 0);
}

#[tokio::test]
async fn what_refuses_is_told_by_its_name() {
    let password = || Some(shared("right"));
    let not_allowed = RootError::Refused("ada is not in the sudoers file.".to_owned());
    for shell in SHELLS {
        let table = [
            (Account::under(shell).sudo("locked"), None, RootError::PasswordNeeded),
            (Account::under(shell).sudo("strict").password("right"), password(), not_allowed.clone()),
            (Account::under(shell), password(), RootError::NoSudo),
            (Account::under(shell).doas("locked"), password(), RootError::DoasPassword),
            (
                Account::under(shell).doas("closed"),
                password(),
                RootError::Refused("doas: Operation not permitted".to_owned()),
            ),
            (
                Account::under(shell).sudo("locked"),
                Some(shared("two\nlines")),
                no_password("it holds a line break or a NUL byte"),
            ),
            (Account::under(shell).sudo("locked"), Some(shared("")), no_password("it is empty")),
        ];
        for (account, password, expected) in table {
            let (out, ending) = account.run(password, "echo ran", b"").await;
            assert_eq!(refusal(ending), expected, "{shell:?}");
            assert_eq!(out, "", "{shell:?}");
        }
    }
}

#[tokio::test]
async fn a_doas_that_wants_a_password_does_not_hide_a_sudo_that_takes_it() {
    let account = Account::new().sudo("locked").doas("locked").password("right");
    let (out, ending) = account.run(Some(shared("right")), "echo ran", b"").await;
    assert_eq!(ending.unwrap(), Ending::Status(0));
    assert!(out.contains("ran\n"), "{out}");
}

#[tokio::test]
async fn a_login_shell_that_talks_is_not_taken_for_an_answer() {
    let account = Account::new().sudo("locked").password("right").greeting("@0 root\n@0 ask\nPassword: ");
    let (out, ending) = account.run(Some(shared("right")), "echo ran", b"").await;
    assert_eq!(ending.unwrap(), Ending::Status(0));
    assert!(said(&out).ends_with("ran\n") && out.contains("Password: "), "{out}");
    assert_eq!(account.tried(), "right\n");
}

#[tokio::test]
async fn a_file_that_was_sent_in_vain_is_counted_once() {
    let account = Account::new().sudo("locked").password("right");
    let path = account.write("payload", &"x".repeat(100_000));
    let sent = Sent::default();
    let payload = Stdin::File { path, len: 100_000, sent: sent.clone() };
    let root = Root::new(Some(shared("right")));
    let (out, ending) = account.run_with(&root, "wc -c", vec![payload]).await;
    assert_eq!(ending.unwrap(), Ending::Status(0));
    assert!(said(&out).trim().ends_with("100000"), "{out}");
    assert_eq!(sent.bytes(), 100_000);
}

/// Who listened has gone, and does not know that there is a root after all.
#[tokio::test]
async fn a_root_that_cannot_say_so_does_nothing() {
    for shell in SHELLS {
        let account = Account::under(shell).sudo("unheard");
        let root = Root::default();
        let (_, ending) = account.run_as(&root, "echo >ran", b"").await;
        assert!(matches!(refusal(ending), RootError::Refused(_)), "{shell}");
        account.command(&Root::default(), "touch ran").await.1.unwrap_err();
        assert!(!account.holds("ran"), "{shell}");
    }
}

fn no_password(why: &str) -> RootError {
    RootError::NoPassword(why.to_owned())
}
