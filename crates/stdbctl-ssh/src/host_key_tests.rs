use super::*;
use crate::algorithms::AlgorithmList;
use russh::kex::{
    EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT, EXTENSION_SUPPORT_AS_CLIENT, MLKEM768X25519_SHA256,
};
use russh::keys::{HashAlg, PublicKey};
use tempfile::TempDir;

fn options_with(known_hosts: &str) -> (TempDir, ConnectOptions) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, known_hosts).unwrap();
    let mut options = ConnectOptions::new("example.com".parse().unwrap());
    (options.known_hosts, options.global_known_hosts) = (vec![file], Vec::new());
    (directory, options)
}

fn check_with(known_hosts: &str) -> HostKeyCheck {
    HostKeyCheck::new(&options_with(known_hosts).1, None).unwrap()
}

fn shown(key: &str) -> PublicKeyOrCertificate {
    PublicKey::from_openssh(key).unwrap().into()
}

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

#[test]
fn strict_key_exchange_stays_on_and_sha1_is_off() {
    let preferred = check_with("").preferred().unwrap();
    assert!(preferred.kex.contains(&EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
    assert!(preferred.kex.contains(&EXTENSION_SUPPORT_AS_CLIENT));
    assert_eq!(preferred.kex.first(), Some(&MLKEM768X25519_SHA256));
    assert_eq!(preferred.key.first(), Some(&Algorithm::Ed25519));
    assert!(!preferred.key.contains(&Algorithm::Rsa { hash: None }));
    assert!(preferred.host_key_certificates.is_empty());
}

#[test]
fn key_types_on_record_come_first() {
    let first =
        |known_hosts: &str| check_with(known_hosts).preferred().unwrap().key.first().unwrap().to_string();
    assert_eq!(first(&format!("example.com {ECDSA}\n")), "ecdsa-sha2-nistp256");
    assert_eq!(first(&format!("other.example {ECDSA}\n")), "ssh-ed25519");
}

#[tokio::test]
async fn a_type_that_was_not_asked_for_is_refused_and_not_put_on_record() {
    for known_hosts in [String::new(), format!("example.com {ECDSA}\n")] {
        let (_directory, mut options) = options_with(&known_hosts);
        options.unknown_key = UnknownKey::AcceptNew;
        let host_key = Some(AlgorithmList::new("ssh-ed25519,ecdsa-sha2-nistp256-cert-v01@openssh.com"));
        options.algorithms = Arc::new(AlgorithmRules { host_key, ..AlgorithmRules::default() });
        let check = HostKeyCheck::new(&options, None).unwrap();
        let error = check.check(&shown(ECDSA), &Shared::default()).await.unwrap_err();
        assert!(matches!(error, HostKeyError::OtherType { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&options.known_hosts[0]).unwrap(), known_hosts);
    }
}

#[test]
fn what_is_shown_is_of_the_type_that_was_agreed_on() {
    let check = check_with("");
    let rsa = |hash| Algorithm::Rsa { hash };
    check.check_agreed(&Algorithm::Ed25519, &type_of(&shown(ED25519))).unwrap();
    check.check_agreed(&rsa(Some(HashAlg::Sha512)), &rsa(None)).unwrap();
    for agreed in [rsa(Some(HashAlg::Sha256)), type_of(&shown(ECDSA))] {
        let error = check.check_agreed(&agreed, &type_of(&shown(ED25519))).unwrap_err();
        assert!(error.to_string().contains("ssh-ed25519"), "{error}");
    }
}

#[tokio::test]
async fn another_key_on_record_for_the_address_is_a_change_where_that_is_checked() {
    for (known_hosts, with_address, is_changed) in [
        (format!("example.com {ED25519}\n192.0.2.7 {ECDSA}\n"), true, true),
        (format!("example.com {ED25519}\n192.0.2.7 {ECDSA}\n"), false, false),
        (format!("example.com {ED25519}\n192.0.2.7 {ED25519}\n"), true, false),
        (format!("example.com {ED25519}\n"), true, false),
        (format!("192.0.2.7 {ECDSA}\n"), true, true),
    ] {
        let (_directory, mut options) = options_with(&known_hosts);
        options.unknown_key = UnknownKey::AcceptNew;
        options.recording.with_address = with_address;
        let check = HostKeyCheck::new(&options, Some("192.0.2.7:22".parse().unwrap())).unwrap();
        let checked = check.check(&shown(ED25519), &Shared::default()).await;
        assert_eq!(checked.is_err(), is_changed, "{known_hosts}: {checked:?}");
        if let Err(error) = checked {
            assert!(error.hints()[1].contains("ssh-keygen -R '192.0.2.7' -f"), "{error:?}");
            assert_eq!(std::fs::read_to_string(&options.known_hosts[0]).unwrap(), known_hosts);
        }
    }
}

#[tokio::test]
async fn others_go_on_while_a_file_is_waited_for() {
    let (_directory, mut options) = options_with("");
    options.unknown_key = UnknownKey::AcceptNew;
    let check = HostKeyCheck::new(&options, None).unwrap();
    let theirs = std::fs::File::open(&options.known_hosts[0]).unwrap();
    theirs.lock().unwrap();
    let (shown, shared) = (shown(ED25519), Shared::default());
    // Both on this thread, and the check first.
    tokio::select! {
        biased;
        checked = check.check(&shown, &shared) => panic!("nobody else was let in: {checked:?}"),
        () = async { theirs.unlock().unwrap() } => {}
    }
}

#[test]
fn certificates_are_asked_for_only_where_an_authority_is_trusted() {
    assert!(
        !check_with(&format!("@cert-authority *.com {ECDSA}\n"))
            .preferred()
            .unwrap()
            .host_key_certificates
            .is_empty()
    );
    assert!(
        check_with(&format!("@cert-authority *.org {ECDSA}\n"))
            .preferred()
            .unwrap()
            .host_key_certificates
            .is_empty()
    );
}
