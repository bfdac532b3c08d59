//! Key files with a passphrase: asked for when the server takes the key, once a run, and typed again if mistyped.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use stdbctl_ssh::{ConnectError, ConnectOptions, ErrorKind, Question, connect};
use tokio::time::sleep;

use crate::agent::Agent;
use crate::asking::Person;
use crate::configured::{Operator, certify, host, options_of};
use crate::proxy::{DISTANCE, Fault, Proxy};
use crate::sshd::{DEADLINE, Sshd, generate_key, keygen, output_of};

const PASSPHRASE: &str = "a pass'phrase $1";

fn locked(sshd: &Sshd, name: &str) {
    generate_key(&sshd.path(name), "ed25519", PASSPHRASE);
}

fn authorize(sshd: &Sshd, key: &str) {
    sshd.write("authorized_keys", &sshd.public_key(key));
}

fn options(sshd: &Sshd, keys: &[&str], person: &Person) -> ConnectOptions {
    let mut options = sshd.options();
    options.identity_files = keys.iter().map(|key| sshd.path(key)).collect();
    options.keyring = person.keyring.clone();
    options
}

async fn refusal(options: ConnectOptions) -> ConnectError {
    let connecting = tokio::time::timeout(DEADLINE, connect(options));
    match connecting.await.expect("it hangs") {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}

fn question(file: &Path, again: bool) -> Question {
    Question::Passphrase { file: file.to_owned(), again }
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once_a_run() {
    let sshd = Sshd::start();
    locked(&sshd, "locked");
    authorize(&sshd, "locked");
    let person = Person::answering(&[PASSPHRASE]);
    let options = options(&sshd, &["locked"], &person);
    let both = tokio::join!(connect(options.clone()), connect(options.clone()));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n");
    assert_eq!(person.asked(), [question(&sshd.path("locked"), false)]);
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_the_server_does_not_take() {
    let sshd = Sshd::start();
    locked(&sshd, "locked");
    let person = Person::answering(&[PASSPHRASE]);
    connect(options(&sshd, &["locked", "id_ed25519"], &person)).await.unwrap();
    let error = refusal(options(&sshd, &["locked"], &person)).await;
    assert!(matches!(&error, ConnectError::AuthRefused { tried, .. } if tried.len() == 1), "{error:?}");
    assert_eq!(person.asked(), []);
}

#[tokio::test]
async fn a_mistyped_passphrase_is_typed_again() {
    let sshd = Sshd::start();
    locked(&sshd, "locked");
    authorize(&sshd, "locked");
    let file = sshd.path("locked");
    let person = Person::answering(&["one", "two", PASSPHRASE]);
    connect(options(&sshd, &["locked"], &person)).await.unwrap();
    assert_eq!(person.asked(), [question(&file, false), question(&file, true), question(&file, true)]);

    let person = Person::answering(&["one", "two", "three", PASSPHRASE]);
    for _ in 0..2 {
        let error = refusal(options(&sshd, &["locked"], &person)).await;
        assert_eq!(error.kind(), ErrorKind::AuthRefused);
        let hints = error.hints().join("\n");
        assert!(hints.contains("none of the passphrases is its own"), "{hints}");
    }
    assert_eq!(person.asked().len(), 3);
}

#[tokio::test]
async fn who_types_no_passphrase_has_the_next_key_offered() {
    let sshd = Sshd::start();
    locked(&sshd, "locked");
    sshd.write("authorized_keys", &(sshd.public_key("locked") + &sshd.public_key("id_ed25519")));
    for answers in [&[][..], &[""]] {
        let person = Person::answering(answers);
        for _ in 0..2 {
            connect(options(&sshd, &["locked", "id_ed25519"], &person)).await.unwrap();
        }
        assert_eq!(person.asked().len(), 1);
    }
}

#[tokio::test]
async fn keys_in_older_formats_are_unlocked_too() {
    let sshd = Sshd::start();
    for (kind, format) in [("rsa", "PEM"), ("rsa", "PKCS8"), ("ecdsa", "PKCS8")] {
        let name = format!("{kind}_{format}");
        let file = sshd.path(&name);
        keygen(&["-q", "-t", kind, "-m", format, "-N", PASSPHRASE, "-f", file.to_str().unwrap()]);
        authorize(&sshd, &name);
        let person = Person::answering(&["wrong", PASSPHRASE]);
        connect(options(&sshd, &[&name], &person)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        // Without its public half nobody can tell what it is, so it is only unlocked when it is its turn.
        std::fs::remove_file(sshd.path(&format!("{name}.pub"))).unwrap();
        let person = Person::answering(&[PASSPHRASE]);
        let both = options(&sshd, &["id_ed25519", &name], &person);
        for _ in 0..2 {
            connect(both.clone()).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        assert_eq!(person.asked(), [question(&file, false)], "{name}");
        authorize(&sshd, "id_ed25519");
        let person = Person::answering(&[]);
        connect(options(&sshd, &["id_ed25519", &name], &person)).await.unwrap();
        assert_eq!(person.asked(), [], "{name}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_a_passphrase_is_met_again() {
    let sshd = Arc::new(Sshd::start_with(&["ed25519"], "LoginGraceTime 3"));
    locked(&sshd, "locked");
    authorize(&sshd, "locked");
    let server = Arc::clone(&sshd);
    let has_hung_up = move |_| {
        let server = Arc::clone(&server);
        async move {
            while !server.visitors().is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
            // In one more turn of the runtime this side hears of it too.
            sleep(Duration::from_millis(20)).await;
        }
    };
    let person = Person::answering_once(has_hung_up, &[PASSPHRASE]);
    connect(options(&sshd, &["locked"], &person)).await.unwrap();
    assert_eq!(person.asked().len(), 1);
    assert_eq!(sshd.log().matches("Postponed publickey").count(), 2, "{}", sshd.log());
}

/// Encrypts a key file so that nobody can tell which key is in it.
fn seal(file: &Path) {
    keygen(&["-q", "-p", "-m", "PKCS8", "-P", "", "-N", PASSPHRASE, "-f", file.to_str().unwrap()]);
    std::fs::remove_file(file.with_extension("pub")).unwrap();
}

#[tokio::test]
async fn no_key_is_offered_twice() {
    let sshd = Sshd::start();
    let agent = Agent::start();
    generate_key(&sshd.path("sealed"), "ecdsa", "");
    agent.add(sshd.path("sealed"));
    seal(&sshd.path("sealed"));
    let person = Person::answering(&[PASSPHRASE]);
    let mut options = options(&sshd, &["sealed"], &person);
    options.configured_identities = Some(options.identity_files.clone());
    options.agent_socket = Some(agent.socket());
    let error = refusal(options).await;
    assert_eq!(sshd.log().matches("Failed publickey").count(), 1, "{}", sshd.log());
    let ConnectError::AuthRefused { skipped, .. } = &error else { panic!("{error:?}") };
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].contains("was offered before"), "{skipped:?}");
}

#[tokio::test]
async fn a_sealed_key_of_few_bits_is_not_offered() {
    let sshd = Sshd::start();
    let file = sshd.path("short");
    keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", file.to_str().unwrap()]);
    authorize(&sshd, "short");
    seal(&file);
    let person = Person::answering(&[PASSPHRASE]);
    let mut options = options(&sshd, &["short"], &person);
    options.required_rsa_size = 3072;
    let error = refusal(options).await;
    let ConnectError::AuthRefused { skipped, .. } = &error else { panic!("{error:?}") };
    assert!(skipped[0].contains("has 2048 bits, RequiredRSASize wants 3072"), "{skipped:?}");
    assert!(!sshd.log().contains("ed publickey"), "{}", sshd.log());
}

#[tokio::test]
async fn what_cannot_be_unlocked_is_passed_over_with_a_word() {
    let sshd = Sshd::start();
    let file = sshd.path("old");
    keygen(&["-q", "-t", "ecdsa", "-m", "PEM", "-N", PASSPHRASE, "-f", file.to_str().unwrap()]);
    let person = Person::answering(&[PASSPHRASE]);
    let error = refusal(options(&sshd, &["old", "known_hosts"], &person)).await;
    let ConnectError::AuthRefused { skipped, .. } = &error else { panic!("{error:?}") };
    assert!(skipped[0].contains("ssh-keygen -p -f") && skipped[0].contains("ssh-add"), "{skipped:?}");
    assert_eq!(person.asked(), []);
}

#[tokio::test]
async fn a_key_that_is_not_the_one_beside_it_is_passed_over() {
    let sshd = Sshd::start();
    for name in ["one", "other"] {
        let file = sshd.path(name);
        keygen(&["-q", "-t", "ecdsa", "-m", "PKCS8", "-N", PASSPHRASE, "-f", file.to_str().unwrap()]);
    }
    std::fs::copy(sshd.path("one.pub"), sshd.path("other.pub")).unwrap();
    authorize(&sshd, "one");
    let person = Person::answering(&[PASSPHRASE]);
    let error = refusal(options(&sshd, &["other"], &person)).await;
    let hints = error.hints().join("\n");
    assert!(hints.contains("is not the key that is beside it as"), "{hints}");
    assert_eq!(person.asked().len(), 1);
}

#[tokio::test]
async fn a_certificate_is_signed_for_with_a_locked_key() {
    let sshd = Sshd::start_with(&["ed25519"], "TrustedUserCAKeys DIR/authority.pub");
    sshd.write("authorized_keys", "");
    certify(&sshd, "rsa", "certified", &["-n", &crate::sshd::user()]);
    let file = sshd.path("certified");
    let line = ["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", file.to_str().unwrap()];
    keygen(&line);
    let person = Person::answering(&[PASSPHRASE]);
    connect(options(&sshd, &["certified"], &person)).await.unwrap();
    assert_eq!(person.asked().len(), 1);
}

#[tokio::test]
async fn a_host_and_the_one_on_the_way_to_it_share_an_unlocked_key() {
    let (hop, web) = (Sshd::start(), Sshd::start());
    let key = hop.path("id_ed25519");
    keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", key.to_str().unwrap()]);
    web.write("authorized_keys", &hop.public_key("id_ed25519"));
    let operator = Operator::knowing(&[&hop, &web]);
    let named = |text: String| text.replace(web.path("id_ed25519").to_str().unwrap(), key.to_str().unwrap());
    let text = host("bastion", &hop) + &named(host("web1", &web)) + "ProxyJump bastion\n";
    operator.configure(&format!("{text}Host *\nBatchMode no\n"));
    let person = Person::answering(&[PASSPHRASE]);
    let mut options = options_of(&operator.config(), "web1").await.unwrap();
    options.keyring = person.keyring.clone();
    let stdbctl_ssh::Route::Through(bastion) = &mut options.route else { panic!("{options:?}") };
    bastion.keyring = person.keyring.clone();
    connect(options).await.unwrap();
    assert_eq!(person.asked().len(), 1);
}

#[tokio::test]
async fn unlocking_costs_no_round_trip_and_no_patience() {
    let sshd = Sshd::start();
    locked(&sshd, "locked");
    authorize(&sshd, "locked");
    let proxy = Proxy::start(sshd.address(), DISTANCE, Fault::None).await;
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    sshd.write("known_hosts", &known.replace(&sshd.port.to_string(), &proxy.port.to_string()));
    let person = Person::answering_after(DEADLINE * 2, &[PASSPHRASE]);
    let mut options = options(&sshd, &["locked"], &person);
    options.target.port = Some(proxy.port);
    options.keep_alive = DEADLINE * 100;
    let session = connect(options).await.unwrap();
    assert_eq!(session.stats().round_trips, 6, "TCP 1, key exchange 2, login 3");
}

#[tokio::test]
async fn a_key_for_a_device_is_left_to_the_agent() {
    let sshd = Sshd::start();
    // What ssh-keygen writes with a device at hand: the public half, and a handle for the device.
    let public = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAYMZdnyBVHGhLYxqeXs\
                  XrFdNCNCWRDUM5hbFAPwGbdUAAAABHNzaDo= test\n";
    sshd.write("id_ed25519_sk.pub", public);
    let person = Person::answering(&[]);
    let error = refusal(options(&sshd, &["id_ed25519_sk"], &person)).await;
    let hints = error.hints().join("\n");
    assert!(hints.contains("is not in the agent; load it with `ssh-add"), "{hints}");
    let shown = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("id_ed25519_sk.pub")).output().unwrap();
    assert!(shown.status.success(), "a made-up key that no ssh reads shows nothing");
}
