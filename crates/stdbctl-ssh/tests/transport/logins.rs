//! Being recognised by a real sshd: key files, a real ssh-agent, and refusals that say why.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::agent::Agent;
use crate::asking::Person;
use crate::configured::{Operator, host};
use crate::sshd::{Sshd, generate_key, keygen, output_of, user};
use stdbctl_ssh::ssh_config::Method;
use stdbctl_ssh::{ConnectError, ConnectOptions, ErrorKind, Keyring, Observation, Observer, connect};

fn authorize(sshd: &Sshd, key: &str) {
    sshd.write("authorized_keys", &sshd.public_key(key));
}

async fn refusal(options: ConnectOptions) -> ConnectError {
    match connect(options).await {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn every_type_of_key_file_gets_in() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let name = format!("user_{kind}");
        generate_key(&sshd.path(&name), kind, "");
        authorize(&sshd, &name);
        let mut options = sshd.options();
        options.identity_files = vec![sshd.path(&name)];
        assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n", "{kind}");
    }
    assert!(!sshd.log().contains("ssh-rsa SHA1"));
}

#[tokio::test]
async fn every_type_of_key_in_the_agent_gets_in() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let agent = Agent::start();
        let name = format!("user_{kind}");
        generate_key(&sshd.path(&name), kind, "");
        agent.add(sshd.path(&name));
        authorize(&sshd, &name);
        let mut options = sshd.options();
        options.identity_files = vec![sshd.path(&format!("{name}.pub"))];
        options.agent_socket = Some(agent.socket());
        assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n", "{kind}");
    }
}

#[tokio::test]
async fn the_agent_follows_the_files_that_were_named() {
    let sshd = Sshd::start();
    let agent = Agent::start();
    for name in ["named", "held"] {
        generate_key(&sshd.path(name), "ed25519", "");
    }
    agent.add(sshd.path("held"));
    authorize(&sshd, "held");
    let mut options = sshd.options();
    options.identity_files = vec![sshd.path("named")];
    options.agent_socket = Some(agent.socket());
    let session = connect(options).await.unwrap();
    assert_eq!(output_of(&session, "echo in").await, "in\n");
}

#[tokio::test]
async fn a_refusal_names_user_and_keys() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("stranger"), "ed25519", "");
    let mut options = sshd.options();
    options.identity_files = vec![sshd.path("stranger"), sshd.path("missing")];
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::AuthRefused);
    let text = error.to_string();
    assert!(text.contains(&format!("{}@127.0.0.1", user())), "{text}");
    assert!(text.contains("stranger") && text.contains("SHA256:"), "{text}");
    let hints = error.hints().join("\n");
    assert!(hints.contains("missing") && hints.contains("authorized_keys"), "{hints}");
}

#[tokio::test]
async fn no_more_than_five_keys_are_offered() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.identity_files = (0..7).map(|number| sshd.path(&format!("stranger{number}"))).collect();
    for file in &options.identity_files {
        generate_key(file, "ed25519", "");
    }
    match refusal(options).await {
        ConnectError::AuthRefused { tried, skipped, .. } => {
            assert_eq!((tried.len(), skipped.len()), (5, 2));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_after_too_many_keys_has_refused() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxAuthTries 2");
    let mut options = sshd.options();
    options.identity_files = (0..4).map(|number| sshd.path(&format!("stranger{number}"))).collect();
    for file in &options.identity_files {
        generate_key(file, "ed25519", "");
    }
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::AuthRefused, "{error:?}");
    assert!(error.hints().join("\n").contains("Too many authentication failures"), "{:?}", error.hints());
}

#[tokio::test]
async fn a_server_that_takes_no_keys_says_what_it_takes() {
    let sshd = Sshd::start_with(&["ed25519"], "PubkeyAuthentication no\nPasswordAuthentication yes");
    let error = refusal(sshd.options()).await;
    assert_eq!(error.kind(), ErrorKind::AuthRefused, "{error:?}");
    assert!(error.hints().join("\n").contains("only: password"), "{:?}", error.hints());
}

#[tokio::test]
async fn the_key_that_worked_last_is_offered_first() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.identity_files =
        ["one", "two", "three", "id_ed25519"].iter().map(|name| sshd.path(name)).collect();
    for stranger in &options.identity_files[..3] {
        generate_key(stranger, "ed25519", "");
    }
    for (learns_key, expected) in [(false, 4), (true, 4), (false, 1), (true, 1)] {
        options.learns_key = learns_key;
        options.keyring = Keyring::new(None, Some(sshd.path("last-keys")));
        let offered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&offered);
        options.observer = Observer::new(move |seen| {
            let is_answer = matches!(seen, Observation::Answered { .. });
            count.fetch_add(usize::from(is_answer), Ordering::SeqCst);
        });
        connect(options.clone()).await.unwrap();
        assert_eq!(offered.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn two_keys_are_two_proofs() {
    let sshd = Sshd::start_with(&["ed25519"], "AuthenticationMethods publickey,publickey");
    let mut options = sshd.options();
    let error = refusal(options.clone()).await;
    assert!(error.hints().join("\n").contains("wants a second one: publickey"), "{error:?}");
    generate_key(&sshd.path("second"), "ed25519", "");
    sshd.write("authorized_keys", &(sshd.public_key("id_ed25519") + &sshd.public_key("second")));
    options.identity_files.push(sshd.path("second"));
    connect(options).await.unwrap();
}

#[tokio::test]
async fn a_second_proof_that_nobody_can_give_is_said_so() {
    let extra = "PasswordAuthentication yes\nAuthenticationMethods publickey,password";
    let sshd = Sshd::start_with(&["ed25519"], extra);
    let error = refusal(sshd.options()).await;
    let hints = error.hints().join("\n");
    assert!(
        hints.contains("wants a second one: password") && hints.contains("nobody can be asked"),
        "{hints}"
    );
}

#[tokio::test]
async fn an_encrypted_key_leads_to_ssh_add_or_to_the_agent() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("locked"), "ed25519", "a passphrase");
    let mut options = sshd.options();
    options.identity_files = vec![sshd.path("locked")];
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::NoIdentity);
    let hints = error.hints().join("\n");
    assert!(hints.contains(&format!("ssh-add '{}'", sshd.path("locked").display())), "{hints}");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_only_used_by_the_agent() {
    let sshd = Sshd::start();
    let operator = Operator::knowing(&[&sshd]);
    operator.configure(&host("web1", &sshd));
    generate_key(&sshd.path("locked"), "ed25519", "a passphrase");
    let agent = Agent::start();
    agent.add(sshd.path("id_ed25519"));
    for name in ["id_ed25519", "locked"] {
        fs::set_permissions(sshd.path(name), Permissions::from_mode(0o640)).unwrap();
        let person = Person::asleep_at_first(&[]);
        let mut options = sshd.options();
        (options.identity_files, options.keyring) = (vec![sshd.path(name)], person.keyring.clone());
        options.authentication.methods = vec![Method::PublicKey];
        let error = refusal(options).await;
        assert_eq!(error.kind(), ErrorKind::NoIdentity);
        let hints = error.hints().join("\n");
        assert!(hints.contains(&format!("chmod 600 '{}'", sshd.path(name).display())), "{hints}");
    }
    assert!(!operator.ssh_gets_in("web1"), "ssh uses it");
    let mut options = sshd.options();
    options.agent_socket = Some(agent.socket());
    connect(options).await.unwrap();
}

#[tokio::test]
async fn an_rsa_key_of_few_bits_is_passed_over_where_ssh_passes_it_over() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    let short = sshd.path("short");
    keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", short.to_str().unwrap()]);
    authorize(&sshd, "short");
    agent.add(short.clone());
    let operator = Operator::knowing(&[&sshd]);
    let ways = [("IdentityFile", short), ("IdentityAgent", agent.socket())];
    for ((keyword, file), required) in ways.iter().flat_map(|way| [(way, 2048), (way, 3072)]) {
        operator.configure(&format!(
            "Host web1\nHostName 127.0.0.1\nPort {}\n{keyword} {}\nRequiredRSASize {required}\n",
            sshd.port,
            file.display()
        ));
        assert_eq!(operator.ssh_gets_in("web1"), required == 2048, "{keyword} {required}: ssh");
        if required == 2048 {
            operator.connect("web1").await.unwrap();
            continue;
        }
        let error = operator.refusal("web1").await;
        assert_eq!(error.kind(), ErrorKind::NoIdentity, "{keyword}");
        let hints = error.hints().join("\n");
        assert!(hints.contains("has 2048 bits, RequiredRSASize wants 3072"), "{keyword}: {hints}");
    }
}

#[tokio::test]
async fn without_keys_nobody_is_disturbed() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.identity_files = vec![sshd.path("known_hosts")];
    let error = refusal(options.clone()).await;
    assert_eq!(error.kind(), ErrorKind::NoIdentity);
    options.agent_socket = Some(sshd.path("no-such-socket"));
    let hints = refusal(options).await.hints().join("\n");
    assert!(hints.contains("no-such-socket"), "{hints}");
}

#[tokio::test]
async fn without_a_user_there_is_no_login() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.target.user = None;
    options.user = None;
    assert_eq!(refusal(options).await.kind(), ErrorKind::NoIdentity);
}
