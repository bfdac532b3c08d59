//! Users' certificates: from a file and from the agent, good ones and others.

use stdbctl_ssh::{ConnectError, ErrorKind, connect};

use crate::agent::Agent;
use crate::configured::certify;
use crate::sshd::{Sshd, output_of, user};

/// An sshd that takes certificates of its authority, and no keys.
fn sshd() -> Sshd {
    let sshd = Sshd::start_with(&["ed25519"], "TrustedUserCAKeys DIR/authority.pub");
    sshd.write("authorized_keys", "");
    sshd
}

#[tokio::test]
async fn every_type_of_certificate_beside_a_key_gets_in() {
    let sshd = sshd();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let name = format!("certified_{kind}");
        certify(&sshd, kind, &name, &["-n", &user(), "-V", "-1h:+1h"]);
        let mut options = sshd.options();
        options.identity_files = vec![sshd.path(&name)];
        assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n", "{kind}");
    }
    assert!(!sshd.log().contains("ssh-rsa-cert-v01"), "{}", sshd.log());
}

#[tokio::test]
async fn a_certificate_elsewhere_is_offered_with_its_key() {
    let sshd = sshd();
    certify(&sshd, "ed25519", "certified", &["-n", &user()]);
    std::fs::rename(sshd.path("certified-cert.pub"), sshd.path("elsewhere.pub")).unwrap();
    let mut options = sshd.options();
    options.configured_identities = Some(vec![sshd.path("missing"), sshd.path("certified")]);
    options.identity_files = Vec::new();
    options.certificate_files = vec![sshd.path("no-such-file"), sshd.path("elsewhere.pub")];
    assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n");
}

#[tokio::test]
async fn every_type_of_certificate_in_the_agent_gets_in() {
    let sshd = sshd();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let agent = Agent::start();
        let name = format!("certified_{kind}");
        certify(&sshd, kind, &name, &["-n", &user()]);
        agent.add(sshd.path(&name));
        let mut options = sshd.options();
        options.identity_files = Vec::new();
        options.configured_identities = Some(Vec::new());
        options.agent_socket = Some(agent.socket());
        assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n", "{kind}");
    }
}

#[tokio::test]
async fn the_agent_signs_for_a_certificate_it_does_not_hold() {
    let sshd = sshd();
    certify(&sshd, "rsa", "certified", &["-n", &user()]);
    std::fs::rename(sshd.path("certified-cert.pub"), sshd.path("elsewhere.pub")).unwrap();
    let agent = Agent::start();
    agent.add(sshd.path("certified"));
    std::fs::remove_file(sshd.path("certified")).unwrap();
    let mut options = sshd.options();
    options.identity_files = Vec::new();
    options.configured_identities = Some(vec![sshd.path("certified")]);
    options.certificate_files = vec![sshd.path("elsewhere.pub")];
    options.agent_socket = Some(agent.socket());
    options.identities_only = true;
    assert_eq!(output_of(&connect(options).await.unwrap(), "echo in").await, "in\n");
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_says_why() {
    let sshd = sshd();
    let table: [(&str, &[&str], &str); 4] = [
        ("expired", &["-n", "USER", "-V", "-2h:-1h"], "expired 36"),
        ("early", &["-n", "USER", "-V", "+1h:+2h"], "is not valid yet"),
        ("stranger", &["-n", "somebody,else", "-V", "-1h:+1h"], "is for somebody, else, not for"),
        ("host", &["-h", "-n", "USER"], "is for hosts"),
    ];
    for (name, arguments, expected) in table {
        let name_of_user = user();
        let named =
            |&word: &&'static str| if word == "USER" { name_of_user.clone() } else { word.to_owned() };
        let arguments: Vec<_> = arguments.iter().map(named).collect();
        certify(&sshd, "ed25519", name, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut options = sshd.options();
        options.identity_files = vec![sshd.path(name)];
        let Err(error) = connect(options).await else { panic!("{name} was taken") };
        assert_eq!(error.kind(), ErrorKind::AuthRefused, "{name}: {error:?}");
        let ConnectError::AuthRefused { tried, .. } = &error else { panic!("{error:?}") };
        assert_eq!(tried.len(), 2, "the certificate and its key: {tried:?}");
        let hints = error.hints().join("\n");
        assert!(hints.contains("-cert.pub") && hints.contains(expected), "{name}: {hints}");
    }
}
