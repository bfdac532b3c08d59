use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use clap::Parser as _;
use tempfile::TempDir;

use super::*;
use crate::error::render;

/// A folder with a module's source, and beside it a PATH of its own with the tools given: name and script.
struct Bench {
    root: TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)], tools: &[(&str, &str)]) -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.root.path().join("bin")).unwrap();
        fs::create_dir(bench.folder()).unwrap();
        for (name, content) in files {
            let file = bench.folder().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        for (name, script) in tools {
            let tool = bench.root.path().join("bin").join(name);
            fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        }
        bench
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("game")
    }

    async fn build(&self) -> Result<PathBuf, CliError> {
        self.build_with(&Workshop::with_path(self.root.path().join("bin"))).await
    }

    async fn build_with(&self, workshop: &Workshop) -> Result<PathBuf, CliError> {
        let console = Console::new(&crate::cli::Cli::parse_from(["stdbctl", "man"]).output);
        build_in(workshop, &self.folder(), &console).await
    }

    /// Why it is not built, in the words that are shown.
    async fn refusal(&self) -> String {
        self.plain(&self.build().await.unwrap_err())
    }

    fn plain(&self, error: &CliError) -> String {
        let text = anstream::adapter::strip_str(&render(error, None)).to_string();
        text.replace(&self.root.path().display().to_string(), "~")
    }
}

const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    "[package]\nname = \"my-game\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n",
);
/// Says what cargo says of a folder whose module is called my-game.
const METADATA: &str = r#"[ "$1" = metadata ] || exit 9
printf '{"target_directory":"%s/target","packages":[{"manifest_path":"%s/Cargo.toml","targets":[{"name":"my-game","crate_types":["cdylib"]}]}]}' "$PWD" "$PWD""#;
/// Makes the file that cargo would make.
const MAKE: &str = r#"[ "$*" = build ] || exit 9
/bin/mkdir -p target/wasm32-unknown-unknown/release; echo built; : >target/wasm32-unknown-unknown/release/my_game.wasm"#;

#[tokio::test]
async fn the_spacetime_cli_builds_where_there_is_one() {
    let bench = Bench::new(&[MANIFEST], &[("spacetime", MAKE), ("cargo", METADATA)]);
    let made = bench.build().await.unwrap();
    assert_eq!(made, bench.folder().join("target/wasm32-unknown-unknown/release/my_game.wasm"));
}

#[tokio::test]
async fn what_it_has_optimised_is_taken_unless_it_is_of_an_earlier_build() {
    let release = "target/wasm32-unknown-unknown/release";
    let both = format!("{MAKE}; : >{release}/my_game.opt.wasm");
    let bench = Bench::new(&[MANIFEST], &[("spacetime", &both), ("cargo", METADATA)]);
    assert_eq!(bench.build().await.unwrap(), bench.folder().join(release).join("my_game.opt.wasm"));

    let earlier = format!("{release}/my_game.opt.wasm");
    let bench = Bench::new(&[MANIFEST, (&earlier, "")], &[("spacetime", MAKE), ("cargo", METADATA)]);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(bench.folder().join(&earlier)).unwrap().set_modified(old).unwrap();
    assert_eq!(bench.build().await.unwrap(), bench.folder().join(release).join("my_game.wasm"));
}

#[tokio::test]
async fn without_it_cargo_builds_and_says_which_file_it_made() {
    let cargo = r#"[ "$*" = 'build --release --target wasm32-unknown-unknown --message-format json-render-diagnostics' ] || exit 9
echo '   Compiling my-game' >&2
echo '{"reason":"compiler-artifact","target":{"name":"dep","crate_types":["lib"]},"filenames":["/t/libdep.rlib"]}'
echo '{"reason":"compiler-artifact","target":{"name":"my-game","crate_types":["cdylib"]},"filenames":["/t/my_game.wasm"]}'
echo 'no message'
echo '{"reason":"build-finished","success":true}'"#;
    let bench = Bench::new(&[MANIFEST], &[("cargo", cargo)]);
    assert_eq!(bench.build().await.unwrap(), Path::new("/t/my_game.wasm"));
}

#[tokio::test]
async fn a_build_that_fails_is_told_with_its_exit() {
    let bench =
        Bench::new(&[MANIFEST], &[("spacetime", "echo 'Error: no' >&2; exit 3"), ("cargo", "exit 9")]);
    insta::assert_snapshot!(bench.refusal().await, @r"error: `spacetime build` failed in ~/game: exit status: 3");
    let bench = Bench::new(&[MANIFEST], &[("cargo", "exit 101"), ("rustc", "echo /")]);
    insta::assert_snapshot!(bench.refusal().await, @r"error: `cargo build` failed in ~/game: exit status: 101");
}

#[tokio::test]
async fn a_compiler_without_the_target_is_recognised() {
    let bench = Bench::new(&[MANIFEST], &[("cargo", "exit 101"), ("rustc", "echo /no/such/folder")]);
    insta::assert_snapshot!(bench.refusal().await, @r"
        try: the compiler lacks that target: `rustup target add wasm32-unknown-unknown`
        error: `cargo build` failed in ~/game: exit status: 101
        ");
}

/// The same with the compiler that builds this test, whichever of both it is.
#[tokio::test]
async fn the_real_cargo_builds_or_lacks_the_target() {
    let bench = Bench::new(&[MANIFEST, ("src/lib.rs", "#[no_mangle]\npub extern \"C\" fn f() {}\n")], &[]);
    // The compiler's own folder, and what a linker may need: nobody's `spacetime`.
    let cargo = PathBuf::from(env!("CARGO"));
    let path = std::env::join_paths([cargo.parent().unwrap(), &bench.root.path().join("bin")]).unwrap();
    let workshop = Workshop::with_path(path);
    let built = bench.build_with(&workshop).await;
    if workshop.has_target(&bench.folder()).await.unwrap() {
        assert!(fs::read(built.unwrap()).unwrap().starts_with(b"\0asm"));
    } else {
        let text = bench.plain(&built.unwrap_err());
        assert!(text.contains("rustup target add wasm32-unknown-unknown"), "{text}");
        assert!(text.contains("error: `cargo build` failed in ~/game: exit status: 101"), "{text}");
    }
}

#[tokio::test]
async fn a_build_whose_file_is_not_found_says_so() {
    let bench = Bench::new(&[MANIFEST], &[("spacetime", ""), ("cargo", METADATA)]);
    insta::assert_snapshot!(bench.refusal().await, @r"
        try: give the file itself: `stdbctl publish FILE.wasm ...`
        error: `spacetime build` succeeded, but its .wasm file is not found in ~/game
        ");
}

#[tokio::test]
async fn without_any_tool_it_says_where_to_get_one() {
    insta::assert_snapshot!(Bench::new(&[MANIFEST], &[]).refusal().await, @r"
        try: get cargo from https://rustup.rs, or the CLI from https://spacetimedb.com/install
        try: or build it elsewhere, and give the .wasm file: `stdbctl publish FILE.wasm ...`
        error: there is neither the `spacetime` CLI nor cargo in the PATH to build the module with
        ");
    insta::assert_snapshot!(Bench::new(&[("Game.csproj", "")], &[]).refusal().await, @r"
        try: get it from https://spacetimedb.com/install, then run this again
        try: or build it elsewhere, and give the .wasm file: `stdbctl publish FILE.wasm ...`
        error: a module in C# is built by the `spacetime` CLI, which is not in the PATH
        ");
}

#[tokio::test]
async fn a_module_in_csharp_is_where_dotnet_puts_it() {
    let script = "d=bin/Release/net8.0/wasi-wasm/AppBundle; /bin/mkdir -p $d; : >$d/StdbModule.wasm";
    let bench = Bench::new(&[("Game.csproj", "")], &[("spacetime", script)]);
    let made = bench.build().await.unwrap();
    assert_eq!(made, bench.folder().join("bin/Release/net8.0/wasi-wasm/AppBundle/StdbModule.wasm"));
}

#[tokio::test]
async fn a_folder_without_a_module_is_refused_with_both_ways() {
    insta::assert_snapshot!(Bench::new(&[("README.md", "")], &[]).refusal().await, @r"
        try: run it in the module's folder, where its Cargo.toml or .csproj is
        try: or give a module that is built already: `stdbctl publish FILE.wasm ...`
        error: ~/game holds no source of a module
        ");
    let library = ("Cargo.toml", "[package]\nname = \"a\"\n");
    insta::assert_snapshot!(Bench::new(&[library], &[]).refusal().await, @r#"
        try: a module's Cargo.toml has `[lib]` with `crate-type = ["cdylib"]`
        try: or give a module that is built already: `stdbctl publish FILE.wasm ...`
        error: ~/game/Cargo.toml is no module: it builds no cdylib
        "#);
    insta::assert_snapshot!(Bench::new(&[("package.json", "{}")], &[]).refusal().await, @r"
        try: a server of 2.x takes it from the `spacetime` CLI, through `stdbctl tunnel`
        error: the module in ~/game is JavaScript or TypeScript: stdbctl publishes WebAssembly modules only
        ");
    let none = Bench::new(&[], &[]);
    fs::remove_dir(none.folder()).unwrap();
    assert!(none.refusal().await.starts_with("error: the folder ~/game cannot be read: "));
}

#[test]
fn the_module_of_a_larger_project_is_in_its_own_folder() {
    let manifest = ("spacetimedb/Cargo.toml", MANIFEST.1);
    let bench = Bench::new(&[("package.json", "{}"), manifest], &[]);
    let module = Module::find(&bench.folder()).unwrap();
    assert_eq!(module, Module { folder: bench.folder().join("spacetimedb"), language: Language::Rust });
}
