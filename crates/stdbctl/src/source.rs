//! From a module's source folder to its WebAssembly, with the tools the operator has.

mod artifact;
mod language;
mod workshop;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use self::language::{Language, Module};
use self::workshop::{TARGET, Workshop};
use crate::console::Console;
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;

/// Builds the module in a folder: with `spacetime build` where there is such a CLI, else, if it is written in
/// Rust, with cargo. What the tools say goes to standard error as it comes.
///
/// # Errors
/// If the folder holds no module, or one that cannot be built with what there is, or that fails.
pub(crate) async fn build(folder: &Path, console: &Console) -> Result<PathBuf, CliError> {
    build_in(&Workshop::of_operator(), folder, console).await
}

async fn build_in(workshop: &Workshop, folder: &Path, console: &Console) -> Result<PathBuf, CliError> {
    let module = Module::find(folder)?;
    if workshop.has("spacetime") {
        announce(&module, "spacetime build", console);
        with_spacetime(workshop, &module).await
    } else if module.language == Language::Rust {
        announce(&module, "cargo build", console);
        with_cargo(workshop, &module).await
    } else {
        let name = module.language.name();
        Err(CliError::new(
            ExitCode::Failed,
            format!("a module in {name} is built by the `spacetime` CLI, which is not in the PATH"),
        )
        .hint("get it from https://spacetimedb.com/install, then run this again")
        .hint("or build it elsewhere, and give the .wasm file: `stdbctl publish FILE.wasm ...`"))
    }
}

fn announce(module: &Module, tool: &str, console: &Console) {
    if !console.quiet {
        drop(writeln!(anstream::stderr(), "building {} with `{tool}`", module.folder.display()));
    }
}

/// Stands in the folder instead of naming it: the flag for it has another name in 2.x than in 1.x.
async fn with_spacetime(workshop: &Workshop, module: &Module) -> Result<PathBuf, CliError> {
    let status = workshop
        .run("spacetime", &["build"], &module.folder)
        .await
        .map_err(|error| unusable("spacetime", error))?;
    if !status.success() {
        return Err(failed("spacetime build", &module.folder, status));
    }
    match module.language {
        Language::Rust => {
            let metadata =
                workshop.read("cargo", &["metadata", "--no-deps", "--format-version", "1"], &module.folder);
            let (status, metadata) = metadata.await.map_err(|error| unusable("cargo", error))?;
            if !status.success() {
                return Err(failed("cargo metadata", &module.folder, status));
            }
            artifact::of_cargo(&metadata, &module.folder)
        }
        Language::CSharp => artifact::of_dotnet(&module.folder),
    }
    .ok_or_else(|| nothing_built("spacetime build", &module.folder))
}

async fn with_cargo(workshop: &Workshop, module: &Module) -> Result<PathBuf, CliError> {
    let arguments = ["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"];
    let (status, messages) = match workshop.read("cargo", &arguments, &module.folder).await {
        Ok(built) => built,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_tool()),
        Err(error) => return Err(unusable("cargo", error)),
    };
    if !status.success() {
        let error = failed("cargo build", &module.folder, status);
        return Err(match workshop.has_target(&module.folder).await {
            Some(false) => {
                error.hint(format!("the compiler lacks that target: `rustup target add {TARGET}`"))
            }
            Some(true) | None => error,
        });
    }
    artifact::of_messages(&messages).ok_or_else(|| nothing_built("cargo build", &module.folder))
}

fn no_tool() -> CliError {
    CliError::new(
        ExitCode::Failed,
        "there is neither the `spacetime` CLI nor cargo in the PATH to build the module with",
    )
    .hint("get cargo from https://rustup.rs, or the CLI from https://spacetimedb.com/install")
    .hint("or build it elsewhere, and give the .wasm file: `stdbctl publish FILE.wasm ...`")
}

fn unusable(tool: &str, error: std::io::Error) -> CliError {
    CliError::new(ExitCode::Failed, Context::new(format!("cannot run `{tool}`"), error))
}

fn failed(tool: &str, folder: &Path, status: std::process::ExitStatus) -> CliError {
    CliError::new(ExitCode::Failed, format!("`{tool}` failed in {}: {status}", folder.display()))
}

fn nothing_built(tool: &str, folder: &Path) -> CliError {
    CliError::new(
        ExitCode::Failed,
        format!("`{tool}` succeeded, but its .wasm file is not found in {}", folder.display()),
    )
    .hint("give the file itself: `stdbctl publish FILE.wasm ...`")
}

#[cfg(test)]
mod tests;
