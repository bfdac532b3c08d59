//! What kind of module a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{CliError, Context};

/// Where the CLI of 2.x keeps the module of a project that has more than one part.
const SUBFOLDER: &str = "spacetimedb";

/// What a module is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    CSharp,
}

impl Language {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::CSharp => "C#",
        }
    }
}

/// The source of a module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) folder: PathBuf,
    pub(super) language: Language,
}

impl Module {
    /// Looks in the folder, and first in its `spacetimedb`, as the CLI does.
    ///
    /// # Errors
    /// If there is none that can be built into WebAssembly.
    pub(super) fn find(folder: &Path) -> Result<Self, CliError> {
        let unreadable = |error| {
            CliError::usage(Context::new(format!("the folder {} cannot be read", folder.display()), error))
        };
        fs::read_dir(folder).map_err(unreadable)?;
        for folder in [folder.join(SUBFOLDER), folder.to_owned()] {
            let manifest = folder.join("Cargo.toml");
            if fs::read_to_string(&manifest).is_ok_and(|manifest| manifest.contains("cdylib")) {
                return Ok(Self { folder, language: Language::Rust });
            }
            if has_project(&folder) {
                return Ok(Self { folder, language: Language::CSharp });
            }
            if manifest.is_file() {
                return Err(no_library(&manifest));
            }
            if folder.join("package.json").is_file() {
                return Err(typescript(&folder));
            }
        }
        Err(no_module(folder))
    }
}

fn has_project(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "csproj"))
}

fn no_library(manifest: &Path) -> CliError {
    CliError::usage(format!("{} is no module: it builds no cdylib", manifest.display()))
        .hint("a module's Cargo.toml has `[lib]` with `crate-type = [\"cdylib\"]`")
        .hint("or give a module that is built already: `stdbctl publish FILE.wasm ...`")
}

fn typescript(folder: &Path) -> CliError {
    CliError::usage(format!(
        "the module in {} is JavaScript or TypeScript: stdbctl publishes WebAssembly modules only",
        folder.display()
    ))
    .hint("a server of 2.x takes it from the `spacetime` CLI, through `stdbctl tunnel`")
}

fn no_module(folder: &Path) -> CliError {
    CliError::usage(format!("{} holds no source of a module", folder.display()))
        .hint("run it in the module's folder, where its Cargo.toml or .csproj is")
        .hint("or give a module that is built already: `stdbctl publish FILE.wasm ...`")
}
