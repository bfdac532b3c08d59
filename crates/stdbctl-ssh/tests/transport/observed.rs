//! What an observer is told, and that it costs nothing.

use std::sync::{Arc, Mutex};

use stdbctl_ssh::ssh_config::Origin;
use stdbctl_ssh::{
    Answer, ConnectOptions, Observation, Observer, Route, Stats, Trusted, UnknownKey, connect,
};

use crate::asking::Person;
use crate::configured::{Operator, host};
use crate::proxy::{DISTANCE, Fault, Proxy};
use crate::sshd::{Sshd, generate_key, keygen, options_for};

/// What was seen so far.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Observation>>>);

impl Seen {
    fn on(options: &mut ConnectOptions) -> Self {
        let seen = Self::default();
        let list = Arc::clone(&seen.0);
        options.observer = Observer::new(move |observation| list.lock().unwrap().push(observation));
        seen
    }

    fn all(&self) -> Vec<Observation> {
        self.0.lock().unwrap().clone()
    }

    /// One word for each.
    fn names(&self) -> Vec<String> {
        let name = |observation: &Observation| {
            let text = format!("{observation:?}");
            text.split([' ', '(']).next().unwrap().to_owned()
        };
        self.all().iter().map(name).collect()
    }

    fn trusted(&self) -> Trusted {
        let trusted = self.all().into_iter().find_map(|observation| match observation {
            Observation::Recognised(recognised) => Some(recognised.trusted),
            _ => None,
        });
        trusted.unwrap()
    }
}

const BEGINNING: [&str; 6] = ["Identities", "Resolved", "Connected", "Identified", "Recognised", "Agreed"];

#[tokio::test]
async fn a_login_is_seen_from_the_name_to_the_end() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("stranger"), "ed25519", "");
    let mut options = sshd.options();
    options.identity_files = ["missing", "stranger", "id_ed25519"].map(|name| sshd.path(name)).to_vec();
    let seen = Seen::on(&mut options);
    let session = connect(options).await.unwrap();
    assert_eq!(seen.names(), [&BEGINNING[..], &["Answered", "Answered", "LoggedIn"]].concat());
    let all = seen.all();
    let [identities, resolved, connected, identified, recognised, agreed, refused, taken, logged_in] =
        all.as_slice()
    else {
        panic!("{all:?}")
    };
    let Observation::Identities { offered, skipped } = identities else { panic!("{identities:?}") };
    assert!(offered.len() == 2 && offered[1].contains("id_ed25519 ssh-ed25519 SHA256:"), "{offered:?}");
    assert!(skipped.len() == 1 && skipped[0].contains("missing"), "{skipped:?}");
    assert_eq!(resolved, &Observation::Resolved { addresses: vec![sshd.address()] });
    assert_eq!(connected, &Observation::Connected { address: Some(sshd.address()) });
    let Observation::Identified { words } = identified else { panic!("{identified:?}") };
    assert!(words.starts_with("SSH-2.0-OpenSSH_"), "{words}");
    let Observation::Recognised(host_key) = recognised else { panic!("{recognised:?}") };
    assert_eq!((host_key.key_type.as_str(), host_key.by_certificate), ("ssh-ed25519", false));
    let shown = keygen(&["-lf", sshd.path("host_ed25519.pub").to_str().unwrap()]);
    assert!(shown.contains(&host_key.fingerprint), "{shown} {host_key:?}");
    assert_eq!(host_key.trusted, Trusted::Recorded { file: sshd.path("known_hosts"), line: 1 });
    let Observation::Agreed(algorithms) = agreed else { panic!("{agreed:?}") };
    assert!(algorithms.strict && algorithms.host_key == "ssh-ed25519", "{algorithms:?}");
    let Observation::Answered { identity, answer: Answer::Refused { methods, partial: false } } = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((identity, methods.as_slice()), (&offered[0], &["publickey".to_owned()][..]));
    assert_eq!(taken, &Observation::Answered { identity: offered[1].clone(), answer: Answer::Taken });
    let Observation::LoggedIn { stats } = logged_in else { panic!("{logged_in:?}") };
    assert_eq!(*stats, session.stats());
}

#[tokio::test]
async fn a_key_that_the_server_takes_and_that_does_not_sign_is_seen_as_such() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("locked"), "ed25519", "a passphrase");
    sshd.write("authorized_keys", &sshd.public_key("locked"));
    let mut options = sshd.options();
    options.identity_files = vec![sshd.path("locked")];
    options.keyring = Person::answering(&["one", "two", "three"]).keyring;
    let seen = Seen::on(&mut options);
    assert!(connect(options).await.is_err());
    let answers: Vec<_> = seen
        .all()
        .into_iter()
        .filter_map(|observation| match observation {
            Observation::Answered { answer, .. } => Some(answer),
            _ => None,
        })
        .collect();
    assert!(
        matches!(answers.as_slice(), [Answer::Unsigned(why), ..] if why.contains("stays locked")),
        "{answers:?}"
    );
}

#[tokio::test]
async fn what_was_agreed_on_is_what_the_server_was_told_to_take() {
    let extra =
        "KexAlgorithms diffie-hellman-group14-sha256\nCiphers aes192-ctr\nMACs hmac-sha2-512-etm@openssh.com";
    for (extra, expected) in [
        (extra, ("diffie-hellman-group14-sha256", "aes192-ctr", Some("hmac-sha2-512-etm@openssh.com"))),
        (
            "Ciphers aes256-gcm@openssh.com\nKexAlgorithms curve25519-sha256",
            ("curve25519-sha256", "aes256-gcm@openssh.com", None),
        ),
    ] {
        let sshd = Sshd::start_with(&["ed25519"], extra);
        let mut options = sshd.options();
        let seen = Seen::on(&mut options);
        connect(options).await.unwrap();
        let agreed = seen.all().into_iter().find_map(|observation| match observation {
            Observation::Agreed(algorithms) => Some(algorithms),
            _ => None,
        });
        let agreed = agreed.unwrap();
        let mac = expected.2.map(str::to_owned);
        assert_eq!((agreed.key_exchange.as_str(), agreed.cipher.as_str()), (expected.0, expected.1));
        assert_eq!((&agreed.sent.mac, &agreed.received.mac), (&mac, &mac));
        assert_eq!((&agreed.sent.compression, &agreed.received.compression), (&None, &None));
        assert!(!agreed.is_post_quantum(), "{agreed:?}");
    }
}

#[tokio::test]
async fn why_a_key_is_trusted_is_seen() {
    let sshd = Sshd::start();
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    sshd.write("second", &format!("# a comment\n\n{known}"));
    let mut options = sshd.options();
    options.known_hosts = vec![sshd.path("none"), sshd.path("second")];
    let seen = Seen::on(&mut options);
    connect(options).await.unwrap();
    assert_eq!(seen.trusted(), Trusted::Recorded { file: sshd.path("second"), line: 3 });

    let mut options = sshd.options();
    options.known_hosts = vec![sshd.path("new")];
    options.unknown_key = UnknownKey::AcceptNew;
    let seen = Seen::on(&mut options);
    connect(options).await.unwrap();
    assert_eq!(seen.trusted(), Trusted::Accepted { file: Some(sshd.path("new")) });
}

#[tokio::test]
async fn a_failure_is_seen_up_to_where_it_happens() {
    let sshd = Sshd::start();
    let mut nobody = options_for(1);
    nobody.identity_files = vec![sshd.path("id_ed25519")];
    let seen = Seen::on(&mut nobody);
    assert!(connect(nobody).await.is_err());
    assert_eq!(seen.names(), BEGINNING[..2]);

    let mut impostor = sshd.options();
    impostor.known_hosts = Vec::new();
    let seen = Seen::on(&mut impostor);
    assert!(connect(impostor).await.is_err());
    assert_eq!(seen.names(), BEGINNING[..4]);

    let mut stranger = sshd.options();
    generate_key(&sshd.path("stranger"), "ed25519", "");
    stranger.identity_files = vec![sshd.path("stranger")];
    let seen = Seen::on(&mut stranger);
    assert!(connect(stranger).await.is_err());
    assert_eq!(seen.names(), [&BEGINNING[..], &["Answered"]].concat());
}

#[tokio::test]
async fn a_hop_has_an_observer_of_its_own() {
    let (hop, web) = (Sshd::start(), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    let mut options = operator.options("web1").await.unwrap();
    assert_eq!(options.configuration, Origin::OpenSsh);
    let at_the_end = Seen::on(&mut options);
    let Route::Through(bastion) = &mut options.route else { panic!("{:?}", options.route) };
    let on_the_way = Seen::on(bastion);
    connect(options).await.unwrap();
    assert_eq!(on_the_way.names(), [&BEGINNING[..], &["Answered", "LoggedIn"]].concat());
    let without_a_name: Vec<_> = BEGINNING.into_iter().filter(|name| *name != "Resolved").collect();
    assert_eq!(at_the_end.names(), [&without_a_name[..], &["Answered", "LoggedIn"]].concat());
    assert!(at_the_end.all().contains(&Observation::Connected { address: None }));
}

#[tokio::test]
async fn looking_on_costs_nothing_on_the_wire() {
    let sshd = Sshd::start();
    let proxy = Proxy::start(sshd.address(), DISTANCE, Fault::None).await;
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    sshd.write("known_hosts", &known.replace(&sshd.port.to_string(), &proxy.port.to_string()));
    let cost = async |observed: bool| {
        let mut options = sshd.options();
        options.target.port = Some(proxy.port);
        let seen = observed.then(|| Seen::on(&mut options));
        let Stats { round_trips, bytes_sent, .. } = connect(options).await.unwrap().stats();
        (round_trips, bytes_sent, seen.map(|seen| seen.all().len()))
    };
    let (with, without) = (cost(true).await, cost(false).await);
    assert_eq!((with.0, with.1, with.2), (6, without.1, Some(8)));
    assert_eq!(without.0, 6);
}
