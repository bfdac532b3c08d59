use std::path::PathBuf;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/modules").join(name)
}

/// Enough for a Rust module, and soon over.
const FEW: Limits = Limits { fuel: 20_000_000, memory: 64 << 20 };

fn examine(name: &str, bytes: &[u8]) -> Result<Module, ModuleError> {
    Module::examine(Path::new(name), bytes.into(), FEW)
}

/// A module in the text form with what every SpacetimeDB module has, and `more`.
fn module(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "spacetime_10.0" "bytes_sink_write" (func $write (param i32 i32 i32) (result i32)))
            (import "spacetime_10.0" "console_log" (func $log (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "spacetime_10.3" "table_id_from_name" (func $table (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "__call_reducer__"))
            (data (i32.const 0) "index out of\1b[31m bounds\n")
            (data (i32.const 64) "\01\00\00\00\00")
            {more})"#
    );
    wat::parse_str(text).unwrap()
}

/// Writes an empty description of version 9: no types, tables, reducers, names, exports and rules.
const EMPTY: &str = r#"(func (export "__describe_module__") (param $sink i32)
    (i32.store (i32.const 60) (i32.const 25))
    (drop (call $write (local.get $sink) (i32.const 64) (i32.const 60))))"#;

const TRAP: &str = r"
    (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0))
    (call $log (i32.const 101) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 25))
    unreachable";

#[test]
fn every_demo_module_describes_itself() {
    for (name, tables, reducers) in [
        ("demo_v1.wasm", vec!["person", "secret"], vec!["add", "init"]),
        ("demo_v2_addtable.wasm", vec!["person", "score", "secret"], vec!["add", "init"]),
        ("demo_v3_addcolumn.wasm", vec!["person", "secret"], vec!["add", "init"]),
        ("demo_v4_noreducer.wasm", vec!["person", "secret"], vec!["init"]),
        ("demo_v5_initpanic.wasm", vec!["person", "secret"], vec!["add", "init"]),
    ] {
        let module = Module::read(&fixture(name)).unwrap();
        let names: Vec<&str> = module.definition.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, tables, "{name}");
        let names: Vec<&str> =
            module.definition.reducers.iter().map(|reducer| reducer.name.as_str()).collect();
        assert_eq!(names, reducers, "{name}");
        assert_eq!(module.abi, (10, 0), "{name}");
    }
}

#[test]
fn a_module_has_the_name_that_the_server_has_for_it() {
    let module = Module::read(&fixture("demo_v1.wasm")).unwrap();
    assert_eq!(module.program_hash, "0xe4043d68b679988a930b9a82b4b7e8d227b7bad0d3a8f3d2e240e77f39ac1ceb");
    assert_eq!(module.program_hash, program_hash(&module.bytes));
    assert_eq!(module.sha256.len(), 64);
}

#[test]
fn a_definition_is_shown_as_it_is_read() {
    let module = Module::read(&fixture("demo_v2_addtable.wasm")).unwrap();
    insta::assert_json_snapshot!(module.definition);
}

#[test]
fn a_module_that_is_cut_short_is_refused_wherever_the_cut_is() {
    let whole = fs::read(fixture("demo_v1.wasm")).unwrap();
    for at in (0..whole.len()).step_by(997) {
        let error = examine("cut.wasm", &whole[..at]).unwrap_err();
        assert!(matches!(error, ModuleError::Truncated { .. }), "cut at {at}: {error:?}");
    }
    for at in 0..64 {
        assert!(examine("cut.wasm", &whole[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_broken_is_refused_and_never_a_panic() {
    let whole = fs::read(fixture("demo_v1.wasm")).unwrap();
    for at in (8..whole.len()).step_by(1009) {
        let mut broken = whole.clone();
        broken[at] ^= 0xff;
        // Some of it is in texts and constants: what counts is that there is an answer.
        let _answer = examine("broken.wasm", &broken);
    }
}

#[test]
fn what_is_no_module_is_called_by_its_name() {
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: [(&str, &[u8]); 19] = [
        ("m.wasm", b"\0as"),
        ("m.wasm", b"\0asm\x01\0"),
        ("m.wasm", b"\0asm\x01\0\0\0\x01"),
        ("m.wasm", b"\0asm\x0d\0\x01\0"),
        ("m.wasm", b"\0asm\x02\0\0\0"),
        ("m.wasm", b"\0asm\x01\0\0\0\x01\x01\xff"),
        ("m.wasm", b"\0asm\x01\0\0\0"),
        ("m.wasm.gz", b"\x1f\x8b\x08"),
        ("m.zip", b"PK\x03\x04"),
        ("m.wasm.zst", b"\x28\xb5\x2f\xfd"),
        ("m.tar", &tar),
        ("libm.rlib", b"!<arch>\n"),
        ("m", b"\x7fELF\x02"),
        ("m.wat", b"\n(module)"),
        ("bundle.js", b"x"),
        ("index.ts", b"x"),
        ("bundle", b"export default 1"),
        ("lib.rs", b"fn main() {}"),
        ("m", b"\xff\xfe\0\x01"),
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|(name, bytes)| {
            let error = examine(name, bytes).unwrap_err();
            let cause = std::error::Error::source(&error).map(|cause| format!("\n  {cause}"));
            format!("{error}{}\n  {}", cause.unwrap_or_default(), error.hints().join("\n  "))
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Module::read(directory.path()), Err(ModuleError::Directory { .. })));
    let empty = directory.path().join("empty.wasm");
    fs::write(directory.path().join("empti.wasm"), "").unwrap();
    let error = Module::read(&empty).unwrap_err();
    assert!(matches!(error, ModuleError::Unreadable { .. }));
    let hints = error.hints();
    assert!(hints[0].ends_with("/empti.wasm`?") && hints[1].starts_with("or build the module"), "{hints:?}");
    fs::write(&empty, "").unwrap();
    assert!(matches!(Module::read(&empty), Err(ModuleError::Empty { .. })));
    let large = directory.path().join("large.wasm");
    File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(matches!(Module::read(&large), Err(ModuleError::TooLarge { .. })));
    if cfg!(unix) {
        assert!(matches!(Module::read(Path::new("/dev/null")), Err(ModuleError::NotAFile { .. })));
    }
}

#[test]
fn the_smallest_module_is_one() {
    let module = examine("small.wasm", &module(EMPTY)).unwrap();
    assert_eq!(module.definition, Definition::default());
    assert_eq!(module.abi, (10, 3));
}

#[test]
fn modules_for_other_systems_are_refused() {
    for from in ["wasi_snapshot_preview1", "env", "wbg", "spacetime"] {
        let text = format!(
            r#"(module (import "{from}" "fd_write" (func)) (memory (export "memory") 1)
                (func (export "__describe_module__") (param i32)) (func (export "__call_reducer__")))"#
        );
        let error = examine("m.wasm", &wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("m.wasm is made for another system: it imports `fd_write` from `{from}`")
        );
        assert_eq!(error.hints().len(), 2);
    }
}

#[test]
fn a_module_without_the_exports_of_one_is_refused() {
    for (text, expected) in [
        ("(module)", "it has no function `__describe_module__`"),
        (
            r#"(module (func (export "__describe_module__")))"#,
            "it has no function of one i32 `__describe_module__`",
        ),
        (
            r#"(module (func (export "__describe_module__") (param i32)))"#,
            "it has no function `__call_reducer__`",
        ),
        (
            r#"(module (func (export "__describe_module__") (param i32)) (func (export "__call_reducer__")))"#,
            "it has no memory `memory`",
        ),
    ] {
        let error = examine("m.wasm", &wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("m.wasm is no SpacetimeDB module: {expected}"));
    }
}

#[test]
fn a_panic_is_told_in_the_modules_own_words() {
    let preinit = format!(r#"(func (export "__preinit__10") {TRAP}) {EMPTY}"#);
    let error = examine("m.wasm", &module(&preinit)).unwrap_err();
    assert_eq!(error.to_string(), "m.wasm crashes in `__preinit__10`: index out of [31m bounds");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn functions_run_in_the_order_of_the_server() {
    let order = format!(
        r#"(global $step (mut i32) (i32.const 0))
        (func $is (param $expected i32)
            (if (i32.ne (global.get $step) (local.get $expected)) (then unreachable))
            (global.set $step (i32.add (global.get $step) (i32.const 1))))
        (func (export "__setup__") (param i32) (result i32) (call $is (i32.const 3)) (i32.const 0))
        (func (export "__preinit__20_b") (call $is (i32.const 2)))
        (func (export "__preinit__10_a") (call $is (i32.const 1)))
        (func (export "_initialize") (call $is (i32.const 0)))
        {EMPTY}"#
    );
    examine("m.wasm", &module(&order)).unwrap();
}

#[test]
fn a_setup_that_fails_says_why() {
    let refused = format!(
        r#"(func (export "__setup__") (param $sink i32) (result i32)
            (i32.store (i32.const 60) (i32.const 12))
            (drop (call $write (local.get $sink) (i32.const 0) (i32.const 60)))
            (i32.const 1))
        {EMPTY}"#
    );
    let error = examine("m.wasm", &module(&refused)).unwrap_err();
    assert_eq!(error.to_string(), "m.wasm refuses to be set up: index out of");
}

#[test]
fn a_module_that_never_ends_is_given_up() {
    let endless = r#"(func (export "__describe_module__") (param i32) (loop $again (br $again)))"#;
    let error = examine("m.wasm", &module(endless)).unwrap_err();
    assert!(matches!(error, ModuleError::Endless { .. }), "{error:?}");
}

/// A loop that logs is soon over in instructions, and took minutes.
#[test]
fn a_module_that_logs_without_end_is_given_up() {
    let loud = r#"(global $lines (mut i32) (i32.const 0))
        (func (export "__describe_module__") (param i32)
            (loop $again
                (global.set $lines (i32.add (global.get $lines) (i32.const 1)))
                (if (i32.gt_u (global.get $lines) (i32.const 20000)) (then unreachable))
                (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0) (i32.const 4096))
                (br $again)))"#;
    let error = examine("loud.wasm", &module(loud)).unwrap_err();
    assert!(matches!(error, ModuleError::Endless { .. }), "{error:?}");
}

#[test]
fn recursion_without_end_and_hostile_pointers_are_crashes() {
    let recursive =
        r#"(func $deeper (export "__describe_module__") (param $sink i32) (call $deeper (local.get $sink)))"#;
    let outside = r#"(func (export "__describe_module__") (param $sink i32)
        (i32.store (i32.const 60) (i32.const -1))
        (drop (call $write (local.get $sink) (i32.const 64) (i32.const 60))))"#;
    let reducers = r#"(func (export "__describe_module__") (param i32)
        (drop (call $table (i32.const 0) (i32.const 0) (i32.const 0))))"#;
    for (case, expected) in [
        (recursive, "call stack exhausted"),
        (outside, "the module pointed outside its memory"),
        (reducers, "`table_id_from_name` was called, which only works while a reducer runs"),
    ] {
        let error = examine("m.wasm", &module(case)).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, expected, "{error:?}");
    }
}

#[test]
fn memory_has_an_end() {
    let greedy = r#"(func (export "__describe_module__") (param i32)
        (if (i32.ne (memory.grow (i32.const 4096)) (i32.const -1)) (then unreachable)))"#;
    let error = examine("m.wasm", &module(greedy)).unwrap_err();
    assert!(matches!(error, ModuleError::Description { .. }), "{error:?}");
}
