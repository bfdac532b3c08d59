//! What `publish` refuses before it connects to anything: no host is needed, and the one that is named must not be tried.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;

use stdbctl_tests::lab::checkout;
use stdbctl_tests::operator::{Operator, Run};

/// Nobody listens there; a connection would end with exit code 4.
const NOBODY: &str = "ubuntu@127.0.0.1:1";

fn demo(name: &str) -> PathBuf {
    checkout().join("tests/fixtures/modules").join(name)
}

fn publish(operator: &Operator, arguments: &[&str]) -> Run {
    operator.run(&[&["publish", "--host", NOBODY, "--yes"], arguments].concat())
}

/// Publishes a file of this content.
fn publish_file(name: &str, content: &[u8]) -> Run {
    let operator = Operator::new();
    let path = operator.home().join(name);
    std::fs::write(&path, content).unwrap();
    publish(&operator, &["--name", "game", path.to_str().unwrap()])
}

fn untried(run: &Run, code: i32, cause: &[&str]) {
    run.failed(code, cause);
    assert!(!run.stderr.contains("127.0.0.1"), "the host was not tried\n{run}");
}

#[test]
fn a_missing_file() {
    untried(&publish(&Operator::new(), &["--name", "game", "no-such.wasm"]), 2, &["no-such.wasm"]);
}

#[test]
fn what_is_no_webassembly() {
    untried(&publish_file("notes.wasm", b"Dear diary,\n"), 2, &["notes.wasm", "no WebAssembly"]);
    untried(&publish_file("empty.wasm", b""), 2, &["empty.wasm", "empty"]);
    untried(&publish_file("program.wasm", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"), 2, &["program.wasm"]);
}

#[test]
fn a_truncated_module() {
    let whole = std::fs::read(demo("demo_v1.wasm")).unwrap();
    for len in [4, 8, whole.len() / 2, whole.len() - 1] {
        untried(&publish_file("half.wasm", &whole[..len]), 2, &["half.wasm"]);
    }
}

#[test]
fn webassembly_of_another_system() {
    // A module with nothing in it.
    let run = publish_file("other.wasm", b"\0asm\x01\0\0\0");
    untried(&run, 2, &["other.wasm", "SpacetimeDB"]);
}

#[test]
fn javascript_has_a_word_on_who_takes_it() {
    let run = publish_file("module.js", b"import { schema } from 'spacetimedb/server';\nexport default 1;\n");
    untried(&run, 2, &["module.js", "JavaScript"]);
    assert!(run.stderr.contains("spacetime publish --js-path"), "{run}");
}

#[test]
fn a_directory() {
    let operator = Operator::new();
    untried(&publish(&operator, &["--name", "game", operator.home().to_str().unwrap()]), 2, &["directory"]);
}

#[test]
fn a_name_that_no_server_takes() {
    let module = demo("demo_v1.wasm");
    for name in ["My-Game", "my_game", "my--game", "", "../game", "game;id"] {
        let run = publish(&Operator::new(), &["--name", name, module.to_str().unwrap()]);
        untried(&run, 2, &["--name", "hyphens"]);
    }
}

#[test]
fn flags_that_do_not_go_together() {
    let module = demo("demo_v1.wasm");
    let module = module.to_str().unwrap();
    let table: [&[&str]; 5] = [
        &[module, "--rollback"],
        &[module, "--restore-data"],
        &[module, "--expect", "1"],
        &["--rollback", "--to", "latest"],
        &["--rollback", "--restore-data", "--delete-data"],
    ];
    for flags in table {
        let run = publish(&Operator::new(), &[&["--name", "game"], flags].concat());
        run.exited(2);
        assert!(run.stderr.contains("error: ") && run.stdout.is_empty(), "{run}");
    }
}

#[test]
fn nobody_to_ask() {
    let module = demo("demo_v1.wasm");
    let run = Operator::new().run(&["publish", "--host", NOBODY, "--name", "game", module.to_str().unwrap()]);
    untried(&run, 2, &["nobody to ask"]);
    assert!(run.stderr.contains("--yes") && run.stderr.contains("--plan"), "{run}");
}

#[test]
fn no_module_in_this_folder() {
    let run = publish(&Operator::new(), &["--name", "game"]);
    untried(&run, 2, &["no source of a module"]);
    assert!(run.stderr.contains("stdbctl publish FILE.wasm"), "{run}");
}

/// All is well as far as this machine can tell: now a host is tried.
#[test]
fn a_good_module_is_only_stopped_by_the_host() {
    let module = demo("demo_v1.wasm");
    let run = publish(&Operator::new(), &["--name", "game", "--output", "json", module.to_str().unwrap()]);
    run.failed(4, &["127.0.0.1:1"]);
    let finished = run.finished();
    assert_eq!(finished["ok"], false, "{run}");
    let kinds: Vec<_> = run.events().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(kinds, ["run_started", "host_failed", "planned", "run_finished"], "{run}");
}

#[test]
fn each_host_that_fails_is_named() {
    let module = demo("demo_v1.wasm");
    let other = ["--host", "ubuntu@127.0.0.1:2", "--name", "game", "--plan"];
    let run = publish(&Operator::new(), &[&other[..], &[module.to_str().unwrap()]].concat());
    run.failed(4, &["2 of 2 hosts failed", "127.0.0.1:1", "127.0.0.1:2"]);
}
