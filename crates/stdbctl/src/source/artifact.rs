//! Which file a build has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::workshop::TARGET;

/// What `cargo metadata` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// What `cargo build` says while it builds, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// The module among what `cargo build` says it has made: the last one, after all that it needs.
pub(super) fn of_messages(messages: &str) -> Option<PathBuf> {
    let file = |line: &str| {
        let message: Message = serde_json::from_str(line).ok()?;
        let is_module = message.reason == "compiler-artifact" && is_module(&message.target?);
        message.filenames.into_iter().find(|file| is_module && is_wasm(file))
    };
    messages.lines().filter_map(file).next_back()
}

/// Where `spacetime build` has cargo put the module of a folder. It keeps to itself which file that is.
pub(super) fn of_cargo(metadata: &str, folder: &Path) -> Option<PathBuf> {
    let metadata: Metadata = serde_json::from_str(metadata).ok()?;
    let manifest = folder.join("Cargo.toml").canonicalize().ok()?;
    let is_here =
        |package: &&Package| package.manifest_path.canonicalize().is_ok_and(|path| path == manifest);
    let package = metadata.packages.iter().find(is_here)?;
    let target = package.targets.iter().find(|target| is_module(target))?;
    let plain = metadata
        .target_directory
        .join(TARGET)
        .join("release")
        .join(format!("{}.wasm", target.name.replace('-', "_")));
    // The CLI leaves the module beside the one it has optimised, if there is a wasm-opt. One of an earlier build
    // may lie there too.
    let optimised = plain.with_extension("opt.wasm");
    let made = modified(&plain)?;
    if modified(&optimised).is_some_and(|time| time >= made) { Some(optimised) } else { Some(plain) }
}

/// Where `spacetime build` has dotnet put the module of a folder: the newest of where it may be, by version.
pub(super) fn of_dotnet(folder: &Path) -> Option<PathBuf> {
    let frameworks = ["bin", "bin~"].map(|bin| folder.join(bin).join("Release"));
    let frameworks = frameworks.iter().filter_map(|release| fs::read_dir(release).ok()).flatten().flatten();
    let folders = frameworks.flat_map(|framework| {
        ["AppBundle", "publish"].map(|last| framework.path().join("wasi-wasm").join(last))
    });
    let files =
        folders.flat_map(|folder| ["StdbModule.opt.wasm", "StdbModule.wasm"].map(|name| folder.join(name)));
    // Of two that are as new as each other the first, which is the optimised one.
    let newer = |best: Option<(SystemTime, PathBuf)>, file: PathBuf| match (best, modified(&file)) {
        (Some(best), Some(time)) if best.0 >= time => Some(best),
        (_, Some(time)) => Some((time, file)),
        (best, None) => best,
    };
    files.fold(None, newer).map(|(_, file)| file)
}

fn is_module(target: &Target) -> bool {
    target.crate_types.iter().any(|kind| kind == "cdylib")
}

fn is_wasm(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "wasm")
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok().filter(fs::Metadata::is_file)?.modified().ok()
}
