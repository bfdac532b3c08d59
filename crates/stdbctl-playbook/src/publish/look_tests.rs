use super::*;

const OWNER: &str = "c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f";
const OTHER: &str = "c200365ca6af16b36934ffddb31fbdbbe8071d4f21f663fa34c7c7683e2737c5";
const DATABASE: &str = "c2000d317b153c48dbeab564b76af0708691cabe83a93f47dfbd58c9f5f8b30e";

fn record(kind: &str, text: &str) -> Record {
    Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }
}

fn health() -> Record {
    record("answer:health", "200\n{\"nodes\":[0],\"version\":\"1.3.0\"}")
}

fn database(owner: &str) -> Record {
    let text = format!(
        "200\n{{\"database_identity\":{{\"__identity__\":\"0x{DATABASE}\"}},\"owner_identity\":{{\"__identity__\":\"0x{owner}\"}}}}"
    );
    record("answer:database", &text)
}

fn owners(key: &str, tokens: &str) -> Record {
    record("owner", &format!("key {key}\npublic yes\npair yes\nserver same\n{tokens}"))
}

#[test]
fn a_database_is_read_with_what_is_live() {
    let program = "0xe4043d68b679988a930b9a82b4b7e8d227b7bad0d3a8f3d2e240e77f39ac1ceb";
    let rows = format!("200\n[{{\"schema\":{{}},\"rows\":[[\"{program}\"]]}}]");
    let records = [
        health(),
        database(OWNER),
        record("answer:program", &rows),
        record("answer:schema", "500\nno"),
        owners("yes", &format!("token {OWNER} 204 private -")),
    ];
    let seen = Seen::read(&records).unwrap();
    let found = seen.database.as_ref().unwrap();
    assert_eq!((found.identity.as_str(), found.live.as_deref()), (DATABASE, Some(program)));
    assert!(found.definition.is_none());
    assert_eq!(seen.schema_version(), 9);
    assert_eq!(seen.token("game").unwrap(), Token::Fits);
}

#[test]
fn a_token_is_there_or_can_be_made_or_is_somebody_elses() {
    let read = |owner: &str, key: &str, tokens: &str| {
        Seen::read(&[health(), database(owner), owners(key, tokens)]).unwrap().token("game")
    };
    assert_eq!(read(OWNER, "yes", "").unwrap(), Token::Makeable(Claims::owner()));
    assert_eq!(
        read(OWNER, "yes", &format!("token {OWNER} 401 private -")).unwrap(),
        Token::Makeable(Claims::owner())
    );
    let missing = read(OWNER, "no", "").unwrap_err();
    assert!(missing.to_string().contains("signing key is missing"), "{missing}");
    let foreign = read(OTHER, "yes", &format!("token {OWNER} 204 private -")).unwrap_err();
    assert!(foreign.to_string().contains(OTHER), "{foreign}");
    assert_eq!(read(OTHER, "yes", &format!("token {OTHER} 204 private -")).unwrap(), Token::Fits);
}

#[test]
fn no_database_is_no_error_and_anything_odd_is_one() {
    let none = Seen::read(&[health(), record("answer:database", "404\n"), owners("yes", "")]).unwrap();
    assert!(none.database.is_none());
    assert_eq!(none.owner().as_str(), OWNER);
    for odd in ["500\noops", "200\n{}", "200\nnot json"] {
        let error = Seen::read(&[health(), record("answer:database", odd)]).unwrap_err();
        assert!(matches!(error, PublishError::Answer(_)), "{odd}: {error}");
    }
    assert!(matches!(Seen::read(&[]), Err(PublishError::Answer(_))));
}

#[test]
fn a_server_that_is_down_is_described_by_its_unit() {
    let down = |unit: &str| {
        let health = record("answer:health", "0\ncurl: (7) Failed to connect");
        Seen::read(&[health, record("unit", unit)]).unwrap_err()
    };
    let error =
        down("LoadState=loaded ActiveState=failed SubState=failed Result=exit-code \nit went wrong\n");
    assert_eq!(
        error.to_string(),
        "SpacetimeDB does not answer: the unit spacetimedb is failed (failed, result exit-code)"
    );
    assert_eq!(error.log(), ["it went wrong"]);
    let error = down("LoadState=not-found ActiveState=inactive SubState=dead Result=success ");
    assert!(error.to_string().ends_with("there is no unit spacetimedb on this host"), "{error}");
    let error = down("LoadState=loaded ActiveState=active SubState=running Result=success ");
    assert!(error.to_string().ends_with("active (running), but: curl: (7) Failed to connect"), "{error}");
}
