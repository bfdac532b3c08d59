use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stdbctl_ssh::ssh_config::Origin;
use stdbctl_ssh::{
    Algorithms as Agreed, Answer, Direction, HostKeyError, Observation, Recognised, Stats, Step as Stage,
    Target, Trusted,
};

use super::*;
use crate::cli::Format;
use crate::command::doctor::session::not_reached;
use crate::error::in_one_line;
use crate::report::doctor::{Step, Walk, write_walk};

const HOST: &str = "SHA256:Y2GFlDsvyMmL1eOoRLNCQKYjNFgRyAHCjPHLLQGxpJY";
const KEY: &str = "/home/ada/.ssh/id_ed25519 ssh-ed25519 SHA256:k9Xf5BZCLsDPWP6y7CTxVTKsjhmxxBW4QMbtYTdnFFc";
const HELD: &str = "ada@laptop (agent) ssh-rsa SHA256:cpPGIXMMQj0b0UgGGnC9pPMYsYFCHGVQXTfcoN3mLl8";

fn options(target: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(target.parse::<Target>().unwrap());
    options.user = Some("deploy".to_owned());
    options.agent_socket = Some("/run/user/1000/ssh-agent".into());
    (options.known_hosts, options.global_known_hosts) = (vec!["/nowhere/known_hosts".into()], Vec::new());
    options
}

fn agreed(key_exchange: &str, strict: bool) -> Observation {
    let direction = Direction { mac: None, compression: None };
    Observation::Agreed(Agreed {
        key_exchange: key_exchange.to_owned(),
        strict,
        host_key: "ssh-ed25519".to_owned(),
        cipher: "aes256-gcm@openssh.com".to_owned(),
        sent: direction.clone(),
        received: direction,
    })
}

/// Everything that is seen of a login with the second of two keys.
fn login(address: Option<&str>) -> Vec<Observation> {
    let address: Option<SocketAddr> = address.map(|address| address.parse().unwrap());
    let mut seen = vec![Observation::Identities {
        offered: vec![KEY.to_owned(), HELD.to_owned()],
        skipped: vec![
            "/home/ada/.ssh/old is not in the agent; load it with `ssh-add '/home/ada/.ssh/old'`".to_owned(),
        ],
    }];
    seen.extend(address.map(|address| Observation::Resolved {
        addresses: vec!["[2001:db8::1]:22".parse().unwrap(), address],
    }));
    let words = "SSH-2.0-OpenSSH_9.9p1 Debian-3".to_owned();
    let trusted = Trusted::Recorded { file: "/home/ada/.ssh/known_hosts".into(), line: 12 };
    let answer = |identity: &str, answer| Observation::Answered { identity: identity.to_owned(), answer };
    let refused =
        Answer::Refused { methods: vec!["publickey".to_owned(), "password".to_owned()], partial: false };
    seen.extend([
        Observation::Connected { address },
        Observation::Identified { words },
        Observation::Recognised(Recognised {
            key_type: "ssh-ed25519".to_owned(),
            fingerprint: HOST.to_owned(),
            by_certificate: false,
            trusted,
        }),
        agreed("mlkem768x25519-sha256", true),
        answer(KEY, refused),
        answer(HELD, Answer::Taken),
        Observation::LoggedIn { stats: Stats { round_trips: 7, ..Stats::default() } },
    ]);
    seen
}

fn seen(distance: usize, whats: Vec<Observation>) -> Vec<Seen> {
    whats.into_iter().map(|what| Seen { distance, took: Duration::from_millis(12), what }).collect()
}

/// The report, as a terminal without colours would have it.
fn shown(options: &ConnectOptions, seen: &[Seen], error: Option<ConnectError>) -> String {
    let mut legs = walked(options, seen, error.as_ref(), Some(Path::new("none")));
    let failed = error.map(|error| {
        legs.last_mut().unwrap().steps.extend(not_reached());
        failure(&legs, in_one_line(&error), &error.hints())
    });
    let walk = Walk {
        host: "web1".to_owned(),
        ok: failed.is_none(),
        failed,
        legs,
        round_trips: None,
        seconds: 0.42,
    };
    let mut out = Vec::new();
    write_walk(&mut out, &walk, Format::Human, Some(80)).unwrap();
    let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
    let too_wide: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(too_wide.iter().all(|line| line.split_whitespace().any(|word| word.len() > 50)), "{too_wide:?}");
    text
}

#[test]
fn a_way_through_another_host_is_shown_leg_by_leg() {
    let mut web = options("deploy@web1:2222");
    let mut bastion = options("ops@bastion");
    bastion.host_name = Some("192.0.2.1".to_owned());
    web.route = Route::Through(Box::new(bastion));
    let on_the_way = login(Some("192.0.2.1:22"));
    let at_the_end = login(None);
    let all = [seen(0, at_the_end[..1].to_vec()), seen(1, on_the_way), seen(0, at_the_end[1..].to_vec())];
    insta::assert_snapshot!("through_a_hop", shown(&web, &all.concat(), None));
}

#[test]
fn a_hop_that_fails_is_named_and_nothing_is_said_of_what_lies_behind() {
    let mut web = options("web1");
    web.route = Route::Through(Box::new(options("bastion")));
    let all = [seen(0, login(None)[..1].to_vec()), seen(1, login(Some("192.0.2.1:22"))[..2].to_vec())];
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let source =
        Arc::new(ConnectError::Tcp { address: "bastion (192.0.2.1:22)".to_owned(), source: refused });
    let error = ConnectError::Hop { hop: "bastion".to_owned(), source };
    insta::assert_snapshot!("hop_refuses", shown(&web, &all.concat(), Some(error)));
}

#[test]
fn a_proxy_command_that_fails_is_told_from_a_server_that_does() {
    let mut web = options("web1");
    web.route = Route::Command("nc %h %p".to_owned());
    let at = |known: &[Observation]| {
        let source = Box::new(ConnectError::Silent { address: "web1".to_owned(), waited: None });
        let words = Some("no route to host".to_owned());
        let error = ConnectError::ProxyCommand { host: "web1".to_owned(), words, source };
        let legs = walked(&web, &seen(0, known.to_vec()), Some(&error), None);
        let steps = &legs[0].steps;
        let at = steps.iter().position(|step| step.result == Outcome::Failed).unwrap();
        assert!(steps[..at].iter().all(|step| step.result == Outcome::Ok), "{steps:#?}");
        steps[at].name
    };
    let all = login(None);
    assert_eq!(at(&all[..2]), "command");
    assert_eq!(at(&all[..3]), "banner");
}

#[test]
fn every_kind_of_failure_ends_at_its_step() {
    let all = login(Some("192.0.2.1:22"));
    let address = || "web1 (192.0.2.1:22)".to_owned();
    let (host, words) = (|| "web1".to_owned(), |text: &str| text.to_owned());
    let failed = |cause: &str| io::Error::other(cause.to_owned());
    let changed = HostKeyError::Changed {
        host: host(),
        offered: HOST.to_owned(),
        recorded: "SHA256:old".to_owned(),
        file: "/home/ada/.ssh/known_hosts".into(),
        line: 12,
    };
    let refused = |tried: &[&str]| ConnectError::AuthRefused {
        user: words("deploy"),
        host: host(),
        tried: tried.iter().map(|name| words(name)).collect(),
        typed: None,
        skipped: Vec::new(),
        methods: vec![words("publickey")],
        partial: false,
    };
    let kex = ConnectError::KeyExchange { address: address(), source: Box::new(failed("no common cipher")) };
    let table = [
        (0, "keys", ConnectError::NoUser { host: host() }),
        (1, "keys", ConnectError::NoIdentity { user: words("deploy"), host: host(), skipped: Vec::new() }),
        (1, "address", ConnectError::Resolve { host: host(), source: failed("no such name") }),
        (2, "tcp", ConnectError::Tcp { address: address(), source: failed("connection refused") }),
        (2, "tcp", ConnectError::Timeout { step: Stage::Tcp, address: address(), seconds: 15 }),
        (3, "banner", ConnectError::Silent { address: address(), waited: Some(15) }),
        (3, "banner", ConnectError::NotSsh { address: address(), said: words("HTTP/1.1 400") }),
        (4, "key exchange", kex),
        (
            4,
            "key exchange",
            ConnectError::Lost { step: Stage::KeyExchange, address: address(), reason: host() },
        ),
        (4, "host key", changed.into()),
        (7, "login", refused(&[KEY])),
        (6, "login", ConnectError::Timeout { step: Stage::Authentication, address: address(), seconds: 15 }),
    ];
    for (known, step, error) in table {
        let told = format!("{error:?}");
        let legs = walked(&options("web1"), &seen(0, all[..known].to_vec()), Some(&error), None);
        let steps = &legs[0].steps;
        let at = steps.iter().position(|step| step.result == Outcome::Failed).unwrap();
        assert_eq!(steps[at].name, step, "{told}");
        assert!(!steps[at].details.is_empty(), "{told}");
        let (before, after) = (&steps[..at], &steps[at + 1..]);
        assert!(before.iter().all(|step| step.result == Outcome::Ok), "{told}: {before:#?}");
        assert!(after.iter().all(|step| step.result == Outcome::NotReached), "{told}: {after:#?}");
    }
}

#[test]
fn a_changed_key_and_a_refused_login_say_what_to_do() {
    let all = login(Some("192.0.2.1:22"));
    let changed = HostKeyError::Changed {
        host: "web1".to_owned(),
        offered: HOST.to_owned(),
        recorded: "SHA256:3ZfkM6Nq2lTtDwdHHmhdAr4d9RMlq9z1zHrXJHBYMUA".to_owned(),
        file: "/home/ada/.ssh/known_hosts".into(),
        line: 12,
    };
    let web = options("web1");
    insta::assert_snapshot!("changed_key", shown(&web, &seen(0, all[..4].to_vec()), Some(changed.into())));

    let mut refused = all[..7].to_vec();
    refused.push(Observation::Answered { identity: HELD.to_owned(), answer: Answer::HungUp });
    let Observation::Identities { skipped, .. } = &all[0] else { panic!("{all:?}") };
    let error = ConnectError::AuthRefused {
        user: "deploy".to_owned(),
        host: "web1".to_owned(),
        tried: vec![KEY.to_owned(), HELD.to_owned()],
        typed: None,
        skipped: [&skipped[..], &["the server hung up: Too many authentication failures".to_owned()]]
            .concat(),
        methods: vec!["publickey".to_owned(), "password".to_owned()],
        partial: false,
    };
    insta::assert_snapshot!("refused_login", shown(&web, &seen(0, refused), Some(error)));
}

#[test]
fn what_a_person_typed_is_told_by_its_method_and_the_question_before_it_not_at_all() {
    let mut all = login(Some("192.0.2.1:22"));
    all[0] = Observation::Identities { offered: Vec::new(), skipped: Vec::new() };
    let refused = Answer::Refused { methods: vec!["password".to_owned()], partial: false };
    all[6] = Observation::Answered { identity: "none".to_owned(), answer: refused };
    all[7] = Observation::Answered { identity: "password".to_owned(), answer: Answer::Taken };
    let legs = walked(&options("web1"), &seen(0, all), None, None);
    let details = |name: &str| &legs[0].steps.iter().find(|step| step.name == name).unwrap().details;
    assert_eq!(details("keys"), &["none"]);
    assert_eq!(details("login")[..1], ["as deploy, password: taken"]);
}

#[test]
fn a_busy_server_a_proxy_command_and_old_algorithms_are_worth_a_note() {
    let mut web = options("web1");
    web.route = Route::Command("nc %h %p".to_owned());
    let mut all = login(None);
    let why = "web1 takes no login now".to_owned();
    let away = Observation::TurnedAway { why, pause: Duration::from_millis(200) };
    let first = [&all[..3], &[away]].concat();
    all[4] = agreed("curve25519-sha256", false);
    let with_gcm = shown(&web, &seen(0, all.clone()), None);
    assert!(with_gcm.contains("ok      key exchange  curve25519-sha256, not strict"), "{with_gcm}");
    assert!(!with_gcm.contains("Terrapin"), "{with_gcm}");
    let Observation::Agreed(algorithms) = &mut all[4] else { panic!("{all:?}") };
    algorithms.cipher = "chacha20-poly1305@openssh.com".to_owned();
    let text = shown(&web, &[seen(0, first), seen(0, all[1..].to_vec())].concat(), None);
    insta::assert_snapshot!("notes", text);
}

#[test]
fn a_way_whose_root_was_not_tried_is_not_said_to_work() {
    let mut leg = Leg { host: "web1".to_owned(), ..Leg::default() };
    leg.steps.push(Step::new("root", Outcome::Unproven, vec!["none was tried".to_owned()]));
    let walk = Walk {
        host: "web1".to_owned(),
        ok: true,
        failed: None,
        legs: vec![leg],
        round_trips: None,
        seconds: 0.42,
    };
    let mut out = Vec::new();
    write_walk(&mut out, &walk, Format::Human, Some(80)).unwrap();
    let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
    assert!(text.starts_with("web1  root not proven: sudo's password not tried\n"), "{text}");
    assert!(text.contains("  note    root          none was tried\n"), "{text}");
}

#[test]
fn the_configuration_is_asked_as_it_is_shown() {
    let shown = |target: &str, config: Option<&str>| {
        let mut options = options(target);
        options.configuration = Origin::OpenSsh;
        walked(&options, &[], None, config.map(Path::new))[0].configuration.clone()
    };
    assert_eq!(shown("web1", None), "`ssh -G web1`");
    assert_eq!(shown("ada@web1:2222", Some("/c")), "`ssh -G -F /c -l ada -p 2222 web1`");
}

#[test]
fn a_key_that_did_not_sign_is_not_said_to_be_left_out() {
    let mut all = login(Some("192.0.2.1:22"));
    let answer = Answer::Unsigned("nobody touched it".to_owned());
    all[6] = Observation::Answered { identity: KEY.to_owned(), answer };
    let legs = walked(&options("web1"), &seen(0, all), None, None);
    let login = legs[0].steps.iter().find(|step| step.name == "login").unwrap();
    let expected = "as deploy, key 1: the server would take it, but it did not sign (nobody touched it)";
    assert_eq!(login.details[0], expected);
}

#[test]
fn of_a_proxy_command_only_the_program_is_shown() {
    let shown = |line: &str| {
        let mut web = options("web1");
        web.route = Route::Command(line.to_owned());
        walked(&web, &[], None, None)[0].through.clone().unwrap()
    };
    assert_eq!(shown("nc -P user:secret %h %p"), "the ProxyCommand nc ...");
    assert_eq!(shown("exec /usr/bin/nc --token=secret"), "the ProxyCommand /usr/bin/nc ...");
    assert_eq!(shown("nc"), "the ProxyCommand nc");
    for hidden in ["TOKEN=secret nc %h", "\"secret nc\" %h", "(secret; nc)", ""] {
        assert_eq!(shown(hidden), "its ProxyCommand", "{hidden}");
    }
}
