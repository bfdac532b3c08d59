use super::*;

/// What a 1.3.0 server calls whoever has a token with `iss` stdbctl and `sub` owner.
const OWNER: &str = "c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f";

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

fn payload(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

#[test]
fn identities_are_those_of_the_server() {
    assert_eq!(owner().as_str(), OWNER);
    assert_eq!(format!("0x{OWNER}").parse(), Ok(owner()));
    assert_eq!(unhex(&owner().to_le_hex()).map(|bytes| hex(bytes.iter().rev())), Some(OWNER.to_owned()));
}

#[test]
fn what_is_mistyped_is_no_identity() {
    let mistyped = OWNER.replace("aa19", "aa18");
    for text in ["", "c200", &mistyped, &OWNER.replace('c', "x"), &format!("{OWNER}00"), "\u{e4}\u{e4}"] {
        assert_eq!(text.parse::<Identity>(), Err(IdentityError), "{text}");
    }
}

#[test]
fn claims_are_read_from_a_token_and_from_its_payload() {
    let own = payload(&format!(r#"{{"hex_identity":"{OWNER}","sub":"owner","iss":"stdbctl","exp":null}}"#));
    let expected = Claims::owner();
    assert_eq!(Claims::read(&own), Some(expected.clone()));
    assert_eq!(Claims::read(&format!("e30.{own}.c2ln\n")), Some(expected.clone()));
    assert_eq!(Claims::read(&payload(r#"{"sub":"owner","iss":"stdbctl"}"#)), Some(expected));
}

#[test]
fn what_no_server_takes_has_no_claims() {
    let of_another = payload(&format!(r#"{{"hex_identity":"{OWNER}","sub":"x","iss":"stdbctl"}}"#));
    let control = payload(r#"{"sub":"a\nb","iss":"stdbctl"}"#);
    for token in ["", "...", "e30", "-", &of_another, &control, &payload(r#"{"sub":1,"iss":"x"}"#)] {
        assert_eq!(Claims::read(token), None, "{token}");
    }
}

#[test]
fn claims_go_into_a_script_as_words() {
    let claims = Claims { subject: "it's".to_owned(), ..Claims::owner() };
    assert_eq!(claims.arguments(), format!(r"{OWNER} stdbctl 'it'\''s'"));
}

#[test]
fn what_a_host_says_is_read_and_what_it_should_not_say_is_left_out() {
    let own = payload(r#"{"sub":"owner","iss":"stdbctl"}"#);
    let said = format!(
        "key yes\npublic no\npair yes\nserver same\ntoken {OWNER} 204 private {own}\n\
         token {OWNER} 401 open -\ntoken x 204 private -\nnoise\n"
    );
    let seen = Seen::read(&[record("owner", &said)]);
    let keys =
        Keys { private: KeyFile::There, public: KeyFile::Missing, is_pair: true, running: Running::Same };
    assert_eq!((seen.keys, seen.tokens.len()), (keys, 2));
    let token = seen.token(&owner()).unwrap();
    assert!(token.fits() && token.is_private);
    assert_eq!(token.claims, Some(Claims::owner()));
    assert_eq!(Seen::read(&[]), Seen::default());
}

#[test]
fn foreign_tokens_have_a_path_with_blanks_or_without() {
    let payload = payload(r#"{"sub":"s","iss":"localhost"}"#);
    let said = format!("/home/a b/cli.toml {payload}\n/root/cli.toml rubbish\n");
    let found = foreign(&[record("foreign", &said)]);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.path.as_str(), one.claims.subject.as_str()), ("/home/a b/cli.toml", "s"));
}

#[test]
fn databases_have_names_or_none() {
    let other = Identity::of("a", "b");
    let said = format!("{OWNER} 200\n{other} game game-2 \n{OWNER} \nrubbish");
    let owned = owned(&[record("databases", &said), record("databases", "rubbish"), record("other", "")]);
    let [Owned { owner: whose, status: 200, databases }] = owned.as_slice() else { panic!("{owned:?}") };
    assert_eq!(*whose, owner());
    let [named, nameless] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((&named.identity, named.names.join(",")), (&other, "game,game-2".to_owned()));
    assert!(nameless.names.is_empty());
}

/// The service's user, who may be anybody once the server is broken into, can put there what it likes.
#[test]
fn what_lies_among_the_tokens_and_never_ends_is_no_token() {
    let root = tempfile::tempdir().unwrap();
    let tokens = root.path().join("config/stdbctl");
    std::fs::create_dir_all(&tokens).unwrap();
    let fifo = tokens.join(format!("{OWNER}.jwt"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());

    let mut settings = crate::settings::Settings::default();
    settings.spacetimedb.root_dir = root.path().to_str().unwrap().to_owned();
    let script = format!("{}{}see_tokens", crate::server::script_front(&settings), script_part());
    let output = std::process::Command::new("timeout").args(["20", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("token {OWNER} 0 open -\n"), "{}", output.status);
}
