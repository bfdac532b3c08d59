//! Settings that are wrong: exit code 3, the place, and what was meant. Nothing is connected to.

use stdbctl_tests::operator::{Operator, Run};

/// Plans with this settings file; the host in it cannot be reached, and must not be tried.
fn with_file(content: &str) -> Run {
    let operator = Operator::new();
    operator.write("stdbctl.yaml", content);
    operator.run(&["plan", "--host", "ubuntu@127.0.0.1:1"])
}

/// Whether a run names this place of the file and each of these words, wherever in its complaint.
fn complains(run: &Run, place: &str, words: &[&str]) {
    run.exited(3);
    assert!(run.stderr.contains(&format!("stdbctl.yaml:{place}")), "no place {place}\n{run}");
    for word in words {
        assert!(run.stderr.contains(word), "no `{word}`\n{run}");
    }
    assert!(!run.stderr.contains("127.0.0.1:1"), "the host was not tried\n{run}");
}

#[test]
fn an_unknown_key() {
    complains(&with_file("settings:\n  domian: example.com\n"), "2", &["domian", "domain"]);
}

#[test]
fn a_duplicate_key() {
    complains(&with_file("settings:\n  domain: a.example\n  domain: b.example\n"), "3", &["domain"]);
}

#[test]
fn a_wrong_type() {
    complains(&with_file("settings:\n  public:\n    sql: perhaps\n"), "3", &["perhaps"]);
}

#[test]
fn a_tab() {
    complains(&with_file("settings:\n\tdomain: example.com\n"), "2", &["tab"]);
}

#[test]
fn a_document_that_never_ends() {
    let bottomless = "[".repeat(20_000);
    with_file(&format!("settings: {bottomless}\n")).exited(3);
}

#[test]
fn an_unknown_setting_on_the_command_line() {
    let run =
        Operator::new().run(&["plan", "--host", "ubuntu@127.0.0.1:1", "--set", "spacetimedb.verion=1.3.0"]);
    run.failed(3, &["spacetimedb.verion", "spacetimedb.version"]);
}

#[test]
fn a_value_of_the_wrong_type_on_the_command_line() {
    let run =
        Operator::new().run(&["plan", "--host", "ubuntu@127.0.0.1:1", "--set", "firewall.enable=maybe"]);
    run.failed(3, &["firewall.enable"]);
}

#[test]
fn no_host() {
    let run = Operator::new().run(&["plan"]);
    assert!(matches!(run.code, Some(2 | 3)), "{run}");
    assert!(run.stderr.contains("--host"), "{run}");
}

#[test]
fn a_flag_that_is_none() {
    Operator::new().run(&["deploy", "--hots", "example.com"]).exited(2);
}

#[test]
fn every_setting_is_listed_without_a_host() {
    let run = Operator::new().succeed(&["settings"]);
    for key in ["domain", "tls.mode", "spacetimedb.version", "public.subscribe", "firewall.enable"] {
        assert!(run.stdout.contains(key), "no {key}\n{run}");
    }
    let schema = Operator::new().succeed(&["settings", "--schema"]).document();
    assert!(schema["properties"]["spacetimedb"].is_object(), "{schema}");
}
