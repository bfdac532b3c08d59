//! Logins with what a person types: asked once, tried once, and only where there is a person.

use std::time::Duration;

use russh::MethodKind::{self, KeyboardInteractive, Password, PublicKey};
use stdbctl_ssh::ssh_config::Method;
use stdbctl_ssh::{ConnectError, ConnectOptions, ErrorKind, Keyring, Question, connect};
use tokio::task::yield_now;

use crate::asking::{Asking, PASSWORD, Person, Prompt, Round, Wish};
use crate::proxy::{DISTANCE, Fault, Proxy};
use crate::sshd::{DEADLINE, Sshd, generate_key, put_forward, user};

fn wants(proofs: &[MethodKind]) -> Wish {
    Wish { proofs: proofs.to_vec(), ..Wish::default() }
}

fn asks(prompts: &[Prompt]) -> Wish {
    let rounds = vec![Round { prompts: prompts.to_vec(), ..Round::default() }];
    Wish { rounds, ..wants(&[KeyboardInteractive]) }
}

async fn refusal(options: ConnectOptions) -> ConnectError {
    let connecting = tokio::time::timeout(DEADLINE, connect(options));
    match connecting.await.expect("it hangs") {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}

fn prompt(question: &Question) -> &str {
    match question {
        Question::Server { prompt, .. } => prompt,
        other => panic!("{other:?}"),
    }
}

/// A key of the operator's.
fn with_key(options: &mut ConnectOptions) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    generate_key(&key, "ed25519", "");
    options.identity_files = vec![key];
    directory
}

#[tokio::test]
async fn a_password_is_asked_for_once_a_run() {
    let server = Asking::start(wants(&[Password])).await;
    let person = Person::answering(&[PASSWORD]);
    let options = server.options(&person);
    let both = tokio::join!(connect(options.clone()), connect(options.clone()));
    assert!(both.0.is_ok() && both.1.is_ok());
    connect(options).await.unwrap();
    assert_eq!(person.asked(), [Question::Password { user: user(), host: "127.0.0.1".to_owned() }]);
    let passwords = server.tried().into_iter().filter(|tried| tried.starts_with("password"));
    assert_eq!(passwords.count(), 3);
}

#[tokio::test]
async fn nobody_s_password_is_given_to_another() {
    let (server, other) = (Asking::start(wants(&[Password])).await, Asking::start(wants(&[Password])).await);
    let person = Person::answering(&[PASSWORD, PASSWORD, PASSWORD]);
    connect(server.options(&person)).await.unwrap();
    connect(other.options(&person)).await.unwrap();
    let mut options = server.options(&person);
    options.target.user = Some("somebody".to_owned());
    connect(options).await.unwrap();
    assert_eq!(person.asked().len(), 3);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_a_run() {
    let wish = Wish { pretended: vec![KeyboardInteractive], ..wants(&[Password]) };
    let server = Asking::start(wish).await;
    let person = Person::answering(&["wrong", PASSWORD, PASSWORD]);
    let error = refusal(server.options(&person)).await;
    assert_eq!(error.kind(), ErrorKind::AuthRefused);
    assert_eq!(error.to_string(), format!("{}@127.0.0.1 refused the password", user()));
    let hints = error.hints().join("\n");
    assert!(hints.contains("run again to type the password anew"), "{hints}");
    assert!(hints.contains("keyboard-interactive"), "{hints}");
    let error = refusal(server.options(&person)).await;
    assert!(error.hints()[0].contains("has refused the password"), "{:?}", error.hints());
    assert_eq!(person.asked().len(), 1);
    assert_eq!(
        server.tried(),
        ["none", "keyboard-interactive", "password wrong", "none", "keyboard-interactive"]
    );
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_by_two_at_once() {
    let server = Asking::start(wants(&[Password])).await;
    let options = server.options(&Person::answering(&["wrong", PASSWORD]));
    let both = tokio::join!(refusal(options.clone()), refusal(options));
    assert_eq!((both.0.kind(), both.1.kind()), (ErrorKind::AuthRefused, ErrorKind::AuthRefused));
    assert_eq!(server.tried().iter().filter(|tried| tried.starts_with("password")).count(), 1);
}

#[tokio::test]
async fn a_wrong_password_on_which_the_server_hangs_up_is_tried_once_a_run() {
    let sshd = Sshd::start_with(&["ed25519"], "PasswordAuthentication yes\nMaxAuthTries 1");
    let person = Person::answering(&["wrong", "wrong"]);
    let mut options = sshd.options();
    options.identity_files = Vec::new();
    options.configured_identities = Some(Vec::new());
    options.keyring = person.keyring.clone();
    for _ in 0..2 {
        let error = refusal(options.clone()).await;
        assert_eq!(error.kind(), ErrorKind::AuthRefused, "{error:?}");
    }
    assert_eq!(person.asked().len(), 1);
    assert_eq!(sshd.log().matches("Failed password").count(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn a_wrong_password_that_is_refused_too_late_is_tried_once_a_run() {
    for wish in [wants(&[Password]), asks(&[("Password: ", false, PASSWORD)])] {
        let server = Asking::start(Wish { refuses_after: Duration::from_secs(3600), ..wish }).await;
        let person = Person::answering(&["wrong", "wrong"]);
        let mut options = server.options(&person);
        options.connect_timeout = DEADLINE / 6;
        let time_passes = async {
            while !server.tried().iter().any(|tried| tried.ends_with(" wrong")) {
                yield_now().await;
            }
            // More than once: with the answer the patience has begun anew.
            for _ in 0..4 {
                put_forward(options.connect_timeout).await;
            }
        };
        let (error, ()) = tokio::join!(refusal(options.clone()), time_passes);
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(refusal(options).await.kind(), ErrorKind::AuthRefused);
        assert_eq!(person.asked().len(), 1);
        assert_eq!(server.tried().iter().filter(|tried| tried.ends_with(" wrong")).count(), 1);
    }
}

#[tokio::test]
async fn who_types_none_is_not_logged_in() {
    let server = Asking::start(wants(&[Password])).await;
    let error = refusal(server.options(&Person::answering(&[]))).await;
    assert_eq!(error.kind(), ErrorKind::AuthRefused);
    assert!(error.hints().join("\n").contains("was not answered: none was typed"), "{:?}", error.hints());
    assert_eq!(server.tried(), ["none"]);
}

#[tokio::test]
async fn where_nobody_may_be_asked_nothing_is_tried() {
    let server = Asking::start(wants(&[Password])).await;
    let person = Person::answering(&[PASSWORD]);
    let ways: [fn(&mut ConnectOptions); 4] = [
        |options| options.keyring = Keyring::default(),
        |options| options.authentication.batch = true,
        |options| options.authentication.prompts = 0,
        |options| options.authentication.methods = vec![Method::PublicKey],
    ];
    let named = ["nobody", "BatchMode", "NumberOfPasswordPrompts", "ssh configuration"];
    for (change, name) in ways.into_iter().zip(named) {
        let mut options = server.options(&person);
        change(&mut options);
        assert_eq!(refusal(options.clone()).await.kind(), ErrorKind::NoIdentity, "{name}");
        let _key = with_key(&mut options);
        let error = refusal(options).await;
        assert_eq!(error.kind(), ErrorKind::AuthRefused, "{name}");
        let hints = error.hints().join("\n");
        assert!(hints.contains("would also take a password, but") && hints.contains(name), "{hints}");
    }
    assert_eq!(person.asked(), []);
    assert!(!server.tried().iter().any(|tried| tried.contains("password") || tried == "none"));
}

#[tokio::test]
async fn a_server_asks_in_its_own_words_made_plain() {
    let rounds = vec![
        Round {
            name: "Login\x1b[2J",
            instructions: "Read this.\n\n  And   this.\u{202e}\n",
            prompts: vec![("Menu\n 1. push\nOption:   ", true, "1"), ("PIN\x07: ", false, "42")],
        },
        Round { name: "", instructions: "welcome", prompts: vec![] },
    ];
    let server = Asking::start(Wish { rounds, ..wants(&[KeyboardInteractive]) }).await;
    let person = Person::answering(&["1", "42"]);
    connect(server.options(&person)).await.unwrap();
    let question = |said: &[&str], prompt: &str, hidden| Question::Server {
        user: user(),
        host: "127.0.0.1".to_owned(),
        said: said.iter().map(ToString::to_string).collect(),
        prompt: prompt.to_owned(),
        hidden,
    };
    let said = ["Login\u{fffd}[2J", "Read this.", "And this.\u{fffd}", "Menu", "1. push"];
    assert_eq!(person.asked(), [question(&said, "Option:", false), question(&[], "PIN\u{fffd}:", true)]);
}

#[tokio::test]
async fn of_what_a_server_asks_only_the_password_is_known_the_next_time() {
    let prompts: [Prompt; 2] = [("Password: ", false, PASSWORD), ("Verification code: ", false, "123456")];
    let server = Asking::start(asks(&prompts)).await;
    let person = Person::answering(&[PASSWORD, "123456", "123456"]);
    connect(server.options(&person)).await.unwrap();
    connect(server.options(&person)).await.unwrap();
    let asked = person.asked();
    let asked: Vec<_> = asked.iter().map(prompt).collect();
    assert_eq!(asked, ["Password:", "Verification code:", "Verification code:"]);
}

#[tokio::test]
async fn a_new_password_is_not_taken_for_the_old_one() {
    let prompts: [Prompt; 3] = [
        ("Password: ", false, PASSWORD),
        ("New password: ", false, "new"),
        ("Retype new password: ", false, "new"),
    ];
    let server = Asking::start(asks(&prompts)).await;
    let person = Person::answering(&[PASSWORD, "new", "new", PASSWORD, "new", "new"]);
    connect(server.options(&person)).await.unwrap();
    connect(server.options(&person)).await.unwrap();
    assert_eq!(person.asked().len(), 6);
}

#[tokio::test]
async fn a_password_is_only_known_where_the_account_s_is_asked_for() {
    let of_user = [format!("({}@127.0.0.1) Password: ", user()), format!("{}@web1's password:", user())];
    let of_user = of_user.map(|prompt| &*prompt.leak());
    for (prompt, is_known) in [
        ("PASSWORD :", true),
        (of_user[0], true),
        (of_user[1], true),
        ("One-time password (OATH) for `ada': ", false),
        ("(one-time) Password: ", false),
        ("nobody's password: ", false),
        ("Token's password: ", false),
        ("New password: ", false),
        ("Password code: ", false),
    ] {
        let server = Asking::start(asks(&[(prompt, false, "1")])).await;
        let person = Person::answering(&["1", "1"]);
        connect(server.options(&person)).await.unwrap();
        connect(server.options(&person)).await.unwrap();
        assert_eq!(person.asked().len(), if is_known { 1 } else { 2 }, "{prompt}");
    }
}

#[tokio::test]
async fn the_known_password_is_not_given_for_a_new_one() {
    let wish =
        Wish { proofs: vec![Password, KeyboardInteractive], ..asks(&[("New password: ", false, "new")]) };
    let server = Asking::start(wish).await;
    let person = Person::answering(&[PASSWORD, "new"]);
    connect(server.options(&person)).await.unwrap();
    assert_eq!(prompt(&person.asked()[1]), "New password:");
}

#[tokio::test]
async fn wrong_answers_are_not_tried_as_a_password() {
    let wish = Wish { pretended: vec![Password], ..asks(&[("Code: ", false, "1")]) };
    let server = Asking::start(wish).await;
    let person = Person::answering(&["2", PASSWORD]);
    let error = refusal(server.options(&person)).await;
    assert!(error.to_string().ends_with("refused the answers"), "{error}");
    assert_eq!(server.tried(), ["none", "keyboard-interactive", "answers 2"]);
    let server = Asking::start(asks(&[("Password: ", false, "1")])).await;
    let error = refusal(server.options(&Person::answering(&["2"]))).await;
    assert!(error.to_string().ends_with("refused the password"), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_ever_is_left() {
    for prompts in [&[("Again: ", false, "x")][..], &[], &[("Again: ", true, "x"); 9]] {
        let wish = Wish { for_ever: true, ..asks(prompts) };
        let server = Asking::start(wish).await;
        let person = Person::answering(&["x"; 1000]);
        let error = refusal(server.options(&person)).await;
        assert_eq!(error.kind(), ErrorKind::AuthRefused);
        assert!(error.hints()[0].contains("asks more than it should"), "{:?}", error.hints());
        assert!(person.asked().len() <= 16, "{}", person.asked().len());
    }
}

#[tokio::test]
async fn one_proof_after_the_other_is_given() {
    let code: [Prompt; 1] = [("Code: ", false, "1")];
    for (proofs, answers) in [
        (&[PublicKey, Password][..], &[PASSWORD][..]),
        (&[PublicKey, KeyboardInteractive], &["1"]),
        (&[Password, KeyboardInteractive], &[PASSWORD, "1"]),
        (&[KeyboardInteractive, PublicKey], &["1"]),
    ] {
        let server = Asking::start(Wish { proofs: proofs.to_vec(), ..asks(&code) }).await;
        let person = Person::answering(answers);
        let mut options = server.options(&person);
        let _key = with_key(&mut options);
        connect(options).await.unwrap_or_else(|error| panic!("{proofs:?}: {error:?}"));
        assert_eq!(person.asked().len(), answers.len(), "{proofs:?}");
    }
    let server = Asking::start(wants(&[PublicKey, Password])).await;
    let mut options = server.options(&Person::answering(&["wrong"]));
    let _key = with_key(&mut options);
    let error = refusal(options).await;
    assert!(error.to_string().ends_with("refused the password"), "{error}");
    assert!(error.hints().join("\n").contains("second one: password"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_password_is_asked_for_before_a_real_server_has_had_enough() {
    let extra = "PasswordAuthentication yes\nKbdInteractiveAuthentication yes";
    let sshd = Sshd::start_with(&["ed25519"], extra);
    let person = Person::answering(&["wrong"]);
    let mut options = sshd.options();
    options.identity_files = (0..5).map(|number| sshd.path(&format!("stranger{number}"))).collect();
    for file in &options.identity_files {
        generate_key(file, "ed25519", "");
    }
    options.keyring = person.keyring.clone();
    let error = refusal(options).await;
    assert_eq!(person.asked().len(), 1, "{error:?}");
    assert!(error.to_string().contains("refused the password"), "{error}");
    assert!(error.hints().join("\n").contains("stranger4"), "{:?}", error.hints());
}

#[tokio::test]
async fn the_preferred_method_comes_first() {
    let server = Asking::start(Wish { pretended: vec![PublicKey], ..wants(&[Password]) }).await;
    let mut options = server.options(&Person::answering(&[PASSWORD]));
    let _key = with_key(&mut options);
    options.authentication.methods = vec![Method::Password, Method::PublicKey];
    connect(options).await.unwrap();
    assert_eq!(server.tried(), ["none".to_owned(), format!("password {PASSWORD}")]);
}

#[tokio::test]
async fn while_a_person_thinks_no_deadline_runs() {
    for wish in [wants(&[Password]), asks(&[("Password: ", false, PASSWORD)])] {
        let server = Asking::start(wish).await;
        let person = Person::answering_after(DEADLINE * 2, &[PASSWORD]);
        connect(server.options(&person)).await.unwrap();
        assert_eq!(server.tried().iter().filter(|tried| *tried == "none").count(), 1);
    }
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_a_person_is_met_again() {
    let grace = Some(DEADLINE);
    for wish in [wants(&[Password]), asks(&[("Password: ", false, PASSWORD)])] {
        let server = Asking::start(Wish { grace, ..wish }).await;
        let person = Person::answering_after(DEADLINE * 2, &[PASSWORD]);
        connect(server.options(&person)).await.unwrap();
        assert_eq!(person.asked().len(), 1);
        assert_eq!(server.tried().iter().filter(|tried| *tried == "none").count(), 2);
    }
    // One who was not kept waiting by a person is not.
    let server = Asking::start(Wish { grace: Some(Duration::ZERO), ..wants(&[Password]) }).await;
    assert_ne!(refusal(server.options(&Person::answering(&[PASSWORD]))).await.kind(), ErrorKind::AuthRefused);
}

#[tokio::test]
async fn a_login_that_is_given_up_is_in_nobody_s_way() {
    for wish in [wants(&[Password]), asks(&[("Password: ", false, PASSWORD)])] {
        let server = Asking::start(wish).await;
        let person = Person::asleep_at_first(&[PASSWORD]);
        let is_asked = async {
            while person.asked().is_empty() {
                yield_now().await;
            }
        };
        tokio::select! {
            _ = connect(server.options(&person)) => panic!("nobody has answered"),
            () = is_asked => {}
        }
        let connecting = tokio::time::timeout(DEADLINE, connect(server.options(&person)));
        connecting.await.expect("it hangs").unwrap();
        assert_eq!(person.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_password_costs_no_more_than_a_key() {
    let server = Asking::start(wants(&[Password])).await;
    let proxy = Proxy::start(server.address(), DISTANCE, Fault::None).await;
    let mut options = server.options(&Person::answering(&[PASSWORD]));
    options.target.port = Some(proxy.port);
    let session = connect(options).await.unwrap();
    assert_eq!(session.stats().round_trips, 6, "TCP 1, key exchange 2, service 1, methods 1, password 1");
}
