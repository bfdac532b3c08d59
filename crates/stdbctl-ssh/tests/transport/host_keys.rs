//! Recognising a real sshd: by key and by certificate, and refusing it when it must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sshd::{Sshd, generate_key, keygen, output_of};
use stdbctl_ssh::{
    AlgorithmList, AlgorithmRules, CertificateFault, ConnectError, ConnectOptions, ErrorKind, HostKeyError,
    UnknownKey, connect,
};

async fn refusal(options: ConnectOptions) -> ConnectError {
    match connect(options).await {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}

fn fingerprint_by_keygen(sshd: &Sshd, key: &str) -> String {
    let shown = keygen(&["-lf", sshd.path(&format!("{key}.pub")).to_str().unwrap()]);
    shown.split_whitespace().nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn every_type_of_host_key_is_recognised() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::start_with(&[kind], "");
        assert_eq!(output_of(&sshd.connect().await, "echo hello").await, "hello\n", "{kind}");
    }
}

#[tokio::test]
async fn the_key_on_record_is_asked_for_first() {
    let sshd = Sshd::start_with(&["ed25519", "ecdsa", "rsa"], "");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let line = format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key(&format!("host_{kind}")));
        sshd.write("known_hosts", &line);
        sshd.connect().await.close().await;
    }
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_its_fingerprint() {
    let sshd = Sshd::start();
    sshd.write("known_hosts", "");
    let error = refusal(sshd.options()).await;
    assert_eq!(error.kind(), ErrorKind::HostKeyUnknown);
    let fingerprint = fingerprint_by_keygen(&sshd, "host_ed25519");
    assert!(error.to_string().contains(&fingerprint), "{error}");
    let hints = error.hints().join("\n");
    assert!(hints.contains("--accept-new") && hints.contains("ssh_host_ed25519_key.pub"), "{hints}");
    assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), "");
}

#[tokio::test]
async fn a_new_key_is_accepted_and_then_known() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.known_hosts = vec![sshd.path("new/known_hosts"), sshd.path("missing")];
    options.unknown_key = UnknownKey::AcceptNew;
    connect(options.clone()).await.unwrap().close().await;
    options.unknown_key = UnknownKey::Refuse;
    connect(options).await.unwrap().close().await;
    let name = format!("[127.0.0.1]:{}", sshd.port);
    keygen(&["-F", &name, "-f", sshd.path("new/known_hosts").to_str().unwrap()]);
}

#[tokio::test]
async fn a_key_of_another_type_than_the_one_on_record_is_refused_unasked() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("other"), "ecdsa", "");
    let line = format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key("other"));
    sshd.write("known_hosts", &line);
    for unknown_key in [UnknownKey::AcceptNew, UnknownKey::Ask(Arc::new(|_| panic!("nobody is to be asked")))]
    {
        let mut options = sshd.options();
        options.unknown_key = unknown_key;
        assert_eq!(refusal(options).await.kind(), ErrorKind::HostKeyChanged);
        assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), line);
    }
}

#[tokio::test]
async fn whoever_is_asked_decides() {
    let sshd = Sshd::start();
    sshd.write("known_hosts", "");
    for (answer, asked_again) in [(false, 1), (true, 0)] {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        let mut options = sshd.options();
        options.unknown_key = UnknownKey::Ask(Arc::new(move |prompt| {
            assert_eq!((prompt.host.as_str(), prompt.key_type.as_str()), ("127.0.0.1", "ssh-ed25519"));
            counted.fetch_add(1, Ordering::SeqCst);
            answer
        }));
        assert_eq!(connect(options.clone()).await.is_ok(), answer);
        assert_eq!(connect(options).await.is_ok(), answer);
        assert_eq!(times.load(Ordering::SeqCst), 1 + asked_again);
    }
}

#[tokio::test]
async fn a_changed_key_is_refused_even_when_new_ones_are_accepted() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("other"), "ed25519", "");
    let line = format!("# first\n[127.0.0.1]:{} {}", sshd.port, sshd.public_key("other"));
    sshd.write("known_hosts", &line);
    let mut options = sshd.options();
    options.unknown_key = UnknownKey::AcceptNew;
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::HostKeyChanged);
    let (offered, recorded) =
        (fingerprint_by_keygen(&sshd, "host_ed25519"), fingerprint_by_keygen(&sshd, "other"));
    let text = error.to_string();
    assert!(text.contains(&offered) && text.contains(&recorded) && text.contains("line 2"), "{text}");
    let hints = error.hints().join("\n");
    let command =
        format!("ssh-keygen -R '[127.0.0.1]:{}' -f '{}'", sshd.port, sshd.path("known_hosts").display());
    assert!(hints.contains(&command), "{hints}");
    assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), line);
}

#[tokio::test]
async fn a_revoked_key_is_refused_even_when_it_is_known() {
    let sshd = Sshd::start();
    let key = sshd.public_key("host_ed25519");
    sshd.write("known_hosts", &format!("[127.0.0.1]:{} {key}@revoked * {key}", sshd.port));
    let mut options = sshd.options();
    options.unknown_key = UnknownKey::AcceptNew;
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::HostKeyRevoked);
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[tokio::test]
async fn an_unreadable_file_is_not_an_empty_one() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    options.known_hosts.push(sshd.path(""));
    assert_eq!(refusal(options).await.kind(), ErrorKind::KnownHosts);
}

/// An sshd that shows a certificate made with these arguments of ssh-keygen, signed by the key `authority`.
fn certified(arguments: &[&str]) -> Sshd {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["authority", "host_ed25519"] {
        generate_key(path(name).as_ref(), "ed25519", "");
    }
    let (authority, key) = (path("authority"), path("host_ed25519.pub"));
    let mut line = vec!["-q", "-s", authority.as_str(), "-I", "test", "-h"];
    line.extend(arguments);
    line.push(&key);
    keygen(&line);
    let sshd = Sshd::start_in(directory, &["ed25519"], "HostCertificate DIR/host_ed25519-cert.pub");
    sshd.write(
        "known_hosts",
        &format!("@cert-authority 127.0.0.*,[127.0.0.*]:* {}", sshd.public_key("authority")),
    );
    sshd
}

fn fault(error: ConnectError) -> CertificateFault {
    assert_eq!(error.kind(), ErrorKind::HostKeyCertificate);
    match error {
        ConnectError::HostKey(HostKeyError::Certificate { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_enough() {
    for names in ["127.0.0.1", "other,127.*"] {
        let sshd = certified(&["-n", names, "-V", "-1h:+1h"]);
        sshd.connect().await.close().await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_or_time_is_refused() {
    let other = certified(&["-n", "elsewhere.example", "-V", "-1h:+1h"]);
    let names = vec!["elsewhere.example".to_owned()];
    assert_eq!(fault(refusal(other.options()).await), CertificateFault::OtherHost { names });
    let expired = certified(&["-n", "127.0.0.1", "-V", "-2h:-1h"]);
    let is_expired = |fault| matches!(fault, CertificateFault::Expired { seconds } if seconds >= 3600);
    assert!(is_expired(fault(refusal(expired.options()).await)));
    let early = certified(&["-n", "127.0.0.1", "-V", "+1h:+2h"]);
    assert_eq!(fault(refusal(early.options()).await), CertificateFault::NotYetValid);
    let nobody = certified(&["-V", "-1h:+1h"]);
    assert_eq!(fault(refusal(nobody.options()).await), CertificateFault::NoHost);
}

#[tokio::test]
async fn a_revoked_authority_vouches_for_nobody() {
    let sshd = certified(&["-n", "127.0.0.1", "-V", "-1h:+1h"]);
    let authority = sshd.public_key("authority");
    sshd.write("known_hosts", &format!("@cert-authority * {authority}@revoked * {authority}"));
    assert_eq!(refusal(sshd.options()).await.kind(), ErrorKind::HostKeyRevoked);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_counts_for_no_more_than_its_key() {
    let sshd = certified(&["-n", "127.0.0.1", "-V", "-1h:+1h"]);
    generate_key(&sshd.path("stranger"), "ed25519", "");
    let trusted = format!("@cert-authority * {}", sshd.public_key("stranger"));
    sshd.write("known_hosts", &trusted);
    assert!(matches!(fault(refusal(sshd.options()).await), CertificateFault::UnknownAuthority { .. }));
    let key = format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key("host_ed25519"));
    sshd.write("known_hosts", &(trusted + &key));
    sshd.connect().await.close().await;
}

#[tokio::test]
async fn a_key_on_record_stays_good_when_its_certificate_has_expired() {
    let sshd = certified(&["-n", "127.0.0.1", "-V", "-2h:-1h"]);
    let authority = format!("@cert-authority * {}", sshd.public_key("authority"));
    let of_host = |key: &str| format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key(key));
    sshd.write("known_hosts", &(authority.clone() + &of_host("host_ed25519")));
    sshd.connect().await.close().await;
    sshd.write("known_hosts", &(authority.clone() + &of_host("id_ed25519")));
    assert_eq!(refusal(sshd.options()).await.kind(), ErrorKind::HostKeyChanged);
    let revoked = format!("@revoked * {}", sshd.public_key("host_ed25519"));
    sshd.write("known_hosts", &(authority + &of_host("host_ed25519") + &revoked));
    assert_eq!(refusal(sshd.options()).await.kind(), ErrorKind::HostKeyRevoked);
}

#[tokio::test]
async fn rules_about_rsa_keys_and_signatures_of_authorities_are_kept() {
    let rsa = Sshd::start_with(&["rsa"], "");
    let mut options = rsa.options();
    options.required_rsa_size = 8192;
    let error = refusal(options).await;
    assert!(error.to_string().contains("RequiredRSASize wants 8192"), "{error}");

    let sshd = certified(&["-n", "127.0.0.1", "-V", "-1h:+1h"]);
    let with = |list: &str| {
        let ca_signature = Some(AlgorithmList::new(list));
        let mut options = sshd.options();
        options.algorithms = Arc::new(AlgorithmRules { ca_signature, ..AlgorithmRules::default() });
        options
    };
    connect(with("ssh-ed25519")).await.unwrap().close().await;
    let algorithm = "ssh-ed25519".to_owned();
    let fault = fault(refusal(with("ecdsa-sha2-nistp256,rsa-sha2-512")).await);
    assert_eq!(fault, CertificateFault::SignatureAlgorithm { algorithm });
}

#[tokio::test]
async fn a_list_without_anything_of_use_is_named() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    let kex = Some(AlgorithmList::new("diffie-hellman-group1-sha1"));
    options.algorithms = Arc::new(AlgorithmRules { kex, ..AlgorithmRules::default() });
    let error = refusal(options).await;
    assert_eq!(error.kind(), ErrorKind::KeyExchange);
    assert!(error.to_string().contains("`KexAlgorithms`"), "{error}");
    assert!(error.hints()[0].contains("curve25519-sha256"), "{:?}", error.hints());
}
