use stdbctl_playbook::identity::Check;
use stdbctl_playbook::owner::{self, Claims, Foreign, Identity, Keys};

use super::*;

fn database(name: &str) -> Database {
    let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
    Database { identity: Identity::of("database", name), names }
}

fn check(name: &'static str, ok: bool, detail: &str) -> Check {
    Check { name, ok, detail: detail.to_owned(), next: (!ok).then(|| "mend it".to_owned()) }
}

fn stranger() -> Identity {
    Identity::of("localhost", "x")
}

fn report(ok: bool) -> Report {
    let many = (0..12).map(|number| database(&format!("database-{number}")));
    let owner = |identity, kind, tokens: &[&str], databases| Owner {
        identity,
        kind,
        issuer: None,
        tokens: tokens.iter().map(|&path| path.to_owned()).collect(),
        databases: Some(databases),
    };
    let mut owners = vec![
        owner(owner::owner(), Kind::Own, &["/stdb/config/stdbctl/x.jwt"], many.collect()),
        owner(stranger(), Kind::Foreign, &["/home/ubuntu/.config/spacetime/cli.toml"], vec![database("")]),
    ];
    if ok {
        let unknown = Owner { kind: Kind::Adopted, databases: None, ..owners[1].clone() };
        let tokens = [&["/stdb/config/stdbctl/y.jwt".to_owned()][..], &unknown.tokens].concat();
        owners.push(Owner { tokens, ..unknown });
    }
    let token = if ok {
        check("token", true, "the owner's token fits")
    } else {
        check(
            "token",
            false,
            "the owner's token does not fit: \x1b[2Janother key has signed it, and that is a long story (401)",
        )
    };
    Report {
        host: "ubuntu@web1".to_owned(),
        ok,
        server: Some("1.3.0".to_owned()),
        identity: owner::owner(),
        keys: Keys::default(),
        checks: vec![check("server", true, "SpacetimeDB 1.3.0 answers at http://127.0.0.1:3000"), token],
        owners,
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
}

fn adopt() -> Repair {
    let claims = Claims { identity: stranger(), issuer: "localhost".to_owned(), subject: "x".to_owned() };
    Repair::Adopt(Foreign { path: "/home/ubuntu/.config/spacetime/cli.toml".to_owned(), claims })
}

#[test]
fn people_see_it_in_80_columns() {
    let shown = text(|out| write(out, &[report(true), report(false)], &BTreeMap::new(), &[], Format::Human));
    assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn what_would_be_done_and_what_was_done_is_said() {
    let (adopt, mint) = (adopt(), Repair::Mint(Claims::owner()));
    let plan = [mint.clone(), adopt.clone()];
    let shown = text(|out| write_plan(out, &[], std::iter::once(("ubuntu@web1", &plan[..]))));
    let done = [("ubuntu@web1", &mint), ("ubuntu@web1", &adopt), ("web2", &mint)];
    let done = text(|out| write(out, &[report(true)], &BTreeMap::new(), &done, Format::Human));
    let done: Vec<_> = done.lines().take(5).collect();
    insta::assert_snapshot!(shown + &done.join("\n"));
}

#[test]
fn programs_get_one_document_and_ci_an_annotation() {
    let document = text(|out| {
        write(out, &[report(true), report(false)], &BTreeMap::new(), &[("web1", &adopt())], Format::Json)
    });
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["ok"], false);
    assert_eq!(document["hosts"][0]["owners"][1]["kind"], "foreign");
    assert_eq!(document["hosts"][1]["checks"][1]["next"], "mend it");
    assert_eq!(document["repaired"][0]["host"], "web1");
    let failed = BTreeMap::from([("web3".to_owned(), "cannot connect".to_owned())]);
    let document = text(|out| write(out, &[report(true)], &failed, &[], Format::Json));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["ok"], &document["failed"]["web3"]), (&false.into(), &"cannot connect".into()));
    let github = text(|out| write(out, &[report(false)], &BTreeMap::new(), &[], Format::Github));
    assert!(github.contains("::error title=ubuntu@web1::the owner's token does not fit"), "{github}");
}
