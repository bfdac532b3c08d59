//! The server of recorded answers, asked by curl: first all that was recorded, in order; then what follows from it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::replay::{Identity, Module, Recording, ReplayServer};

/// Who was recorded.
const OWNER: &str = "c200365ca6af16b36934ffddb31fbdbbe8071d4f21f663fa34c7c7683e2737c5";
const OTHER: &str = "c200e616be03f664b67ac4f327731bf4fa0b221ec5a34d235e4e4b455c151bc7";
/// A token whose claims are `{}`.
const MALFORMED: &str = "e30.e30.e30";
const NO_COLOR: &str = "/v1/database/game/pre_publish?style=NoColor&host_type=Wasm";

/// An answer, as curl shows it.
struct Answer {
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn code(&self) -> u16 {
        self.status.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn curl(server: &ReplayServer, token: Option<&str>, arguments: &[String], path: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-q", "-s", "-S", "-i", "--noproxy", "*"]).args(arguments);
    if let Some(token) = token {
        curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    curl.arg(format!("http://{}{path}", server.address()));
    let finished = finish(&mut curl, Duration::from_secs(20));
    assert!(finished.status.success(), "{path}: {}", finished.stderr);
    let said = finished.stdout.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&finished.stdout);
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Answer {
        status: status.to_owned(),
        headers: headers.split("\r\n").filter_map(pair).collect(),
        body: body.to_owned(),
    }
}

fn owner() -> Identity {
    Identity::of("stdbctl", "owner")
}

fn other() -> Identity {
    Identity::of("localhost", "other")
}

/// The arguments that curl was run with, without the token and the path; and the path.
fn arguments(recording: &Recording) -> (Vec<String>, String) {
    let (rest, path) = recording.request.rsplit_once(' ').unwrap_or(("", &recording.request));
    let mut arguments: Vec<String> = Vec::new();
    let mut value = Vec::new();
    let mut words = rest.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if ["-X", "-H", "-d", "--data-binary"].contains(&word) {
            arguments.push(word.to_owned());
            continue;
        }
        value.push(word);
        if words.peek().is_none_or(|next| next.starts_with('-')) {
            arguments.push(std::mem::take(&mut value).join(" "));
        }
    }
    let pairs = arguments.chunks(2).filter(|pair| !pair[1].contains("<token>"));
    let modules = Module::ALL.map(Module::path);
    let file = |value: &String| {
        let named =
            value.strip_prefix('@').map(|name| modules.iter().find(|path| path.ends_with(name)).unwrap());
        named.map_or_else(|| value.clone(), |path| format!("@{}", path.display()))
    };
    (pairs.flat_map(|pair| [pair[0].clone(), file(&pair[1])]).collect(), path.to_owned())
}

/// Asks what was asked when this was recorded, as who asked it, and compares.
fn replay(server: &ReplayServer, recording: &Recording) {
    let caller = recording.header("spacetime-identity");
    let token = recording.request.contains("<token>").then(|| match caller {
        Some(OWNER) => server.world(|world| world.mint("stdbctl", "owner")),
        Some(OTHER) => server.world(|world| world.mint("localhost", "other")),
        _ => MALFORMED.to_owned(),
    });
    let (arguments, path) = arguments(recording);
    let answer = curl(server, token.as_deref(), &arguments, &path);

    let name = &recording.name;
    assert_eq!(answer.status.trim_end(), recording.status, "{name}");
    let varying = ["content-length", "spacetime-identity", "spacetime-identity-token"];
    let fixed = |headers: &[(String, String)]| {
        let mut fixed = headers.to_vec();
        fixed.retain(|(name, _)| !varying.contains(&name.as_str()));
        fixed.sort();
        fixed
    };
    assert_eq!(fixed(&answer.headers), fixed(&recording.headers), "{name}");
    let actual = |text: &str| {
        let mut text = text.replace(OWNER, &owner().to_string()).replace(OTHER, &other().to_string());
        if let (Some(before), Some(now)) = (caller, answer.header("spacetime-identity")) {
            text = text.replace(before, now);
        }
        text
    };
    assert_eq!(answer.header("spacetime-identity").is_some(), caller.is_some(), "{name}");
    if token.is_some() && token.as_deref() != Some(MALFORMED) {
        assert_eq!(answer.header("spacetime-identity").map(str::to_owned), caller.map(actual), "{name}");
        assert_eq!(answer.header("spacetime-identity-token"), token.as_deref(), "{name}");
    }
    match name.as_str() {
        "03-identity" => {
            let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(said["token"].as_str().unwrap().split('.').count(), 3, "{said}");
            assert!(Identity::parse(said["identity"].as_str().unwrap()).is_some(), "{said}");
        }
        "04-public-key" => {
            let key = std::fs::read_to_string(server.root().path().join("config/id_ecdsa.pub")).unwrap();
            assert_eq!(answer.body, key);
        }
        "55-databases-of-identity" => assert_eq!(answer.body, recording.body),
        _ => {
            assert_eq!(answer.body, actual(&recording.body), "{name}");
            let length = recording.header("content-length").map(str::to_owned);
            assert_eq!(answer.header("content-length").map(str::to_owned), length, "{name}");
        }
    }
    assert_eq!(server.requests().last().unwrap().answer, *name);
}

#[test]
fn every_recording_is_the_answer_to_its_request() {
    let server = ReplayServer::start();
    let recordings = Recording::all();
    assert_eq!(recordings.len(), 44);
    for recording in &recordings {
        replay(&server, recording);
    }
    assert_eq!(server.unexpected(), []);
    assert_eq!(server.world(|world| world.database("evil").map(|evil| evil.module)), Some(Module::V1));
}

/// A server with `game` on it, and its owner's token.
fn with_game(module: Module) -> (ReplayServer, String) {
    let server = ReplayServer::start();
    server.world(|world| world.publish("game", owner(), module));
    let token = server.world(|world| world.mint("stdbctl", "owner"));
    (server, token)
}

fn send(server: &ReplayServer, token: &str, method: &str, module: Module, path: &str) -> Answer {
    let body = format!("@{}", module.path().display());
    let arguments = ["-X", method, "--data-binary", &body].map(str::to_owned);
    curl(server, Some(token), &arguments, path)
}

#[test]
fn a_token_binds_what_breaks_clients_and_nothing_else() {
    let (server, token) = with_game(Module::V2);
    let preview = send(&server, &token, "POST", Module::V1, NO_COLOR);
    let preview: serde_json::Value = serde_json::from_str(&preview.body).unwrap();
    let migration = preview["AutoMigrate"]["token"].as_str().unwrap();
    let path = format!("/v1/database/game?host_type=Wasm&policy=BreakClients&token={migration}");
    assert_eq!(send(&server, &token, "PUT", Module::V1, &path).code(), 200);
    assert_eq!(server.world(|world| world.database("game").unwrap().module), Module::V1);
    let stale = send(&server, &token, "PUT", Module::V2, &path);
    assert_eq!(stale.code(), 400, "{}", stale.body);
    let without_policy = format!("/v1/database/game?host_type=Wasm&token={migration}");
    assert_eq!(send(&server, &token, "PUT", Module::V2, &without_policy).code(), 200);
    let without_token = "/v1/database/game?policy=BreakClients";
    assert_eq!(send(&server, &token, "PUT", Module::V1, without_token).code(), 400);
    assert_eq!(server.unexpected(), []);
}

#[test]
fn what_a_database_says_is_of_the_module_in_it() {
    let (server, token) = with_game(Module::V1);
    for (module, table, reducer) in
        [(Module::V1, false, true), (Module::V2, true, true), (Module::V4, false, false)]
    {
        server.world(|world| world.publish("game", owner(), module));
        for version in ["9", "10"] {
            let schema = curl(&server, None, &[], &format!("/v1/database/game/schema?version={version}"));
            assert!(serde_json::from_str::<serde_json::Value>(&schema.body).unwrap().is_object());
            assert_eq!(schema.body.contains("\"score\""), table, "{module:?} {version}");
            assert_eq!(schema.body.contains("\"add\""), reducer, "{module:?} {version}");
        }
        let sql = |statement: &str| {
            let arguments = ["-d".to_owned(), statement.to_owned()];
            curl(&server, Some(&token), &arguments, "/v1/database/game/sql").body
        };
        assert!(sql("select program_hash from st_module").contains(&module.program_hash()));
        assert!(sql("select program_bytes from st_module").contains("[[\"0061736d01000000"));
        assert_eq!(sql("select count(*) as n from score").contains("[[0]]"), table);
    }
    assert_eq!(server.unexpected(), []);
}

#[test]
fn another_key_makes_every_token_stale() {
    let (server, token) = with_game(Module::V1);
    let verify = format!("/v1/identity/{}/verify", owner());
    assert_eq!(curl(&server, Some(&token), &[], &verify).code(), 204);
    assert_eq!(curl(&server, None, &[], &verify).code(), 401);
    server.world(stdbctl_tests::replay::World::change_keys);
    let refused = curl(&server, Some(&token), &[], &verify);
    assert_eq!(
        (refused.code(), refused.body.as_str()),
        (401, "Error fetching public key for issuer stdbctl")
    );
    let again = server.world(|world| world.mint("stdbctl", "owner"));
    assert_eq!(curl(&server, Some(&again), &[], &verify).code(), 204);
    assert_eq!(send(&server, &token, "POST", Module::V2, NO_COLOR).code(), 401);
}

#[test]
fn a_change_behind_the_back_comes_right_after_the_request_it_waits_for() {
    let (server, token) = with_game(Module::V1);
    server.after("POST", "/pre_publish", |world| world.publish("game", owner(), Module::V2));
    assert!(send(&server, &token, "POST", Module::V2, NO_COLOR).body.contains("score"));
    assert!(!send(&server, &token, "POST", Module::V2, NO_COLOR).body.contains("score"));
}

#[test]
fn what_was_never_recorded_is_said_aloud_and_remembered() {
    let (server, token) = with_game(Module::V1);
    let refused =
        curl(&server, Some(&token), &["-d".to_owned(), "x".to_owned()], "/v1/database/game/unheard-of");
    assert_eq!((refused.code(), server.unexpected().len()), (501, 1));
    assert!(refused.body.contains("POST /v1/database/game/unheard-of\nx"), "{}", refused.body);
}

#[test]
fn a_replica_names_its_database() {
    let (server, _) = with_game(Module::V1);
    let log = server.root().path().join("data/replicas/1/clog/00000000000000000000.stdb.log");
    let game = server.world(|world| world.identity("game").unwrap());
    let log = std::fs::read(log).unwrap();
    assert!(log.windows(32).any(|window| window == game.little_endian()));
}
