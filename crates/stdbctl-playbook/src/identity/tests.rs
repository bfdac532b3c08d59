use stdbctl_engine::dialogue::Record;

use super::*;
use crate::owner::Token;

const CONFIG: &str = "/stdb/config";

fn stranger() -> Foreign {
    let (issuer, subject) = ("localhost".to_owned(), "a-uuid".to_owned());
    let claims = Claims { identity: Identity::of(&issuer, &subject), issuer, subject };
    Foreign { path: "/home/ubuntu/.config/spacetime/cli.toml".to_owned(), claims }
}

fn database(name: &str) -> Database {
    Database { identity: Identity::of("database", name), names: vec![name.to_owned()] }
}

fn token(claims: &Claims, status: u16) -> Token {
    Token { identity: claims.identity.clone(), status, is_private: true, claims: Some(claims.clone()) }
}

fn keys(private: KeyFile, public: KeyFile, running: Running) -> Keys {
    Keys { private, public, is_pair: true, running }
}

/// A host where all is well: our token, one database.
fn host() -> Found {
    Found {
        config: CONFIG.to_owned(),
        base: "http://127.0.0.1:3000".to_owned(),
        health: Answer { status: 200, body: r#"{"version":"1.3.0"}"#.to_owned() },
        seen: Seen {
            keys: keys(KeyFile::There, KeyFile::There, Running::Same),
            tokens: vec![token(&Claims::owner(), 204)],
        },
        foreign: Vec::new(),
        owned: vec![Owned { owner: owner(), status: 200, databases: vec![database("game")] }],
    }
}

/// The same, with a database of somebody whose token lies in a home directory.
fn with_stranger() -> Found {
    let owned = Owned { owner: stranger().claims.identity, status: 200, databases: vec![database("old")] };
    Found { foreign: vec![stranger()], owned: [host().owned, vec![owned]].concat(), ..host() }
}

/// The checks that failed, and what is to be done.
fn told(found: &Found) -> String {
    let report = found.report("web1");
    let failed = report.checks.iter().filter(|check| !check.ok);
    let lines = failed
        .map(|check| format!("{}: {}\n  -> {}\n", check.name, check.detail, check.next.as_deref().unwrap()));
    let text: String = lines.collect();
    assert_eq!(report.ok, text.is_empty());
    text
}

#[test]
fn where_all_is_well_there_is_nothing_to_repair() {
    assert_eq!((told(&host()).as_str(), host().repairs(true, true)), ("", Vec::new()));
    let mut fresh = host();
    fresh.seen.tokens.clear();
    fresh.owned.clear();
    assert_eq!(told(&fresh), "", "the first publish makes the token");
    assert_eq!(fresh.repairs(true, false), [Repair::Mint(Claims::owner())]);
    assert_eq!(fresh.repairs(false, true), []);
}

#[test]
fn a_token_that_is_lost_or_does_not_fit_is_signed_anew() {
    let mut found = host();
    found.seen.tokens.clear();
    insta::assert_snapshot!(told(&found));
    assert_eq!(found.repairs(true, false), [Repair::Mint(Claims::owner())]);
    let stranger = stranger().claims;
    for broken in [401, 500] {
        found.seen.tokens = vec![token(&Claims::owner(), broken), token(&stranger, broken)];
        let expected = [Claims::owner(), stranger.clone()].map(Repair::Mint);
        assert_eq!(found.repairs(true, false), expected);
    }
    insta::assert_snapshot!(told(&found));
    found.seen.tokens = vec![Token { is_private: false, ..token(&Claims::owner(), 204) }];
    insta::assert_snapshot!(told(&found));
    assert_eq!(found.repairs(true, false), [Repair::Mint(Claims::owner())]);
}

#[test]
fn a_key_that_is_lost_has_its_own_words_in_each_case() {
    use KeyFile::{Missing, There, Unreadable};
    let mut all = String::new();
    let table = [
        (Missing, Missing, Running::Other),
        (Missing, There, Running::Same),
        (Unreadable, There, Running::Same),
        (There, Missing, Running::Same),
        (There, Unreadable, Running::Same),
        (There, There, Running::Other),
    ];
    for (private, public, running) in table {
        let mut found = host();
        found.seen.keys = keys(private, public, running);
        let restores = if private == There && public != There { vec![Repair::PublicKey] } else { Vec::new() };
        assert_eq!(found.repairs(true, true), restores, "{private:?} {public:?}");
        all.push_str(&told(&found));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn halves_that_do_not_belong_together_are_mended_if_the_server_knows_one() {
    let mut found = host();
    found.seen.keys.is_pair = false;
    assert_eq!(found.repairs(true, false), [Repair::PublicKey]);
    let mended = told(&found);
    found.seen.keys.running = Running::Other;
    assert_eq!(found.repairs(true, false), []);
    insta::assert_snapshot!(mended + &told(&found));
}

#[test]
fn both_lost_is_said_as_two_things() {
    let mut found = host();
    found.seen.tokens.clear();
    found.seen.keys = keys(KeyFile::Missing, KeyFile::Missing, Running::Other);
    assert_eq!(found.repairs(true, true), []);
    insta::assert_snapshot!(told(&found));
}

#[test]
fn a_server_that_is_down_is_the_first_thing_said() {
    let mut found = with_stranger();
    found.health =
        Answer { status: 0, body: "curl: (7) Failed to connect to 127.0.0.1 port 3000".to_owned() };
    found.seen = Seen {
        keys: keys(KeyFile::There, KeyFile::There, Running::Unknown),
        tokens: vec![token(&Claims::owner(), 0)],
    };
    found.owned = vec![Owned { owner: owner(), status: 0, databases: Vec::new() }];
    assert_eq!(found.repairs(true, true), []);
    assert_eq!(found.report("web1").owners[0].databases, None, "not known is not the same as none");
    insta::assert_snapshot!(told(&found));
}

#[test]
fn a_strangers_token_is_adopted_once() {
    let mut found = with_stranger();
    assert_eq!(told(&found), "", "somebody else's databases are no fault");
    assert_eq!(found.repairs(true, false), []);
    let elsewhere = Foreign { path: "/root/.config/spacetime/cli.toml".to_owned(), ..stranger() };
    found.foreign.push(elsewhere);
    assert_eq!(found.repairs(false, true), [Repair::Adopt(stranger())]);
    let owners = found.report("web1").owners;
    let [own, other] = owners.as_slice() else { panic!("{owners:?}") };
    assert_eq!((own.kind, other.kind, other.tokens.len()), (Kind::Own, Kind::Foreign, 2));

    found.seen.tokens.push(token(&stranger().claims, 204));
    assert_eq!(found.repairs(true, true), []);
    assert_eq!(found.report("web1").owners[1].kind, Kind::Adopted);

    found.owned.pop();
    found.seen.tokens.pop();
    assert_eq!(found.repairs(true, true), [], "who owns nothing here is nobody's business");
}

#[test]
fn a_forged_token_for_our_own_identity_is_not_adopted() {
    let forged = Foreign { claims: Claims::owner(), ..stranger() };
    let mut found = Found { foreign: vec![forged], ..host() };
    assert_eq!(found.repairs(true, true), []);
    found.seen.tokens.clear();
    assert_eq!(found.repairs(true, true), [Repair::Mint(Claims::owner())]);
}

#[test]
fn an_adopted_file_that_holds_no_token_is_made_from_the_original() {
    let mut found = with_stranger();
    let broken = Token { claims: None, ..token(&stranger().claims, 400) };
    found.seen.tokens.push(broken);
    assert_eq!(found.repairs(true, false), [Repair::Mint(stranger().claims)]);
    found.foreign.clear();
    assert_eq!(found.repairs(true, false), []);
    insta::assert_snapshot!(told(&found));
}

#[test]
fn what_a_token_says_is_never_more_than_a_word() {
    let hostile = |issuer: &str| {
        let claims = Claims { issuer: issuer.to_owned(), ..stranger().claims };
        Repair::Adopt(Foreign { path: "/home/$(id)/it's".to_owned(), claims }).command()
    };
    let id = stranger().claims.identity;
    let copied = format!(r"{{ adopt '/home/$(id)/it'\''s' {id} && ensure_owner {id} localhost a-uuid; }}");
    assert_eq!(hostile("localhost"), copied);
    assert_eq!(
        hostile("$(id)"),
        format!("ensure_owner {id} '$(id)' a-uuid"),
        "it may end: it is signed anew"
    );
}

#[test]
fn a_host_that_says_nothing_has_a_report() {
    let records = [Record { kind: "owner".to_owned(), data: vec![0xff; 9] }];
    let found = Found::read(&records, &Settings::default());
    assert!(!found.report("web1").ok);
    assert_eq!(found.repairs(true, true), []);
}

/// What `first_look` leaves the rest of itself to wait for each answer, in seconds, with a server at `address`.
fn patience_with(address: std::net::SocketAddr) -> String {
    let settings = Settings::default();
    let script = first_look(&settings).replace(&base_url(&settings), &format!("http://{address}"));
    let script = format!("rec() {{ :; }}\n{script}\nprintf %s \"$patience\"");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_again_and_again() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The head fits into one piece.
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    assert_eq!(patience_with(address), "10");
    // Nobody listens there, nor can anybody else.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(patience_with(closed.local_addr().unwrap()), "1");
}
