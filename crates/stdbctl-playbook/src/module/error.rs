//! Why a file cannot be published.

use std::io;
use std::path::PathBuf;

use crate::local_path;
use crate::schema::SchemaError;

/// Why a file cannot be published; [`ModuleError::hints`] say what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// It is a directory.
    #[error("{} is a directory, not a module", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },

    /// It is a pipe, a socket or a device.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },

    /// There is nothing in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// It is larger than any module.
    #[error("{} has {size} bytes: a module has at most 1 GiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },

    /// It is something else.
    #[error("{} is no WebAssembly module: it is {what}", path.display())]
    SomethingElse {
        /// The file.
        path: PathBuf,
        /// What it looks like, with its article.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },

    /// It is JavaScript or TypeScript.
    #[error("{} is {language}: stdbctl publishes WebAssembly modules", path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// `JavaScript` or `TypeScript`.
        language: &'static str,
    },

    /// It is WebAssembly of the component model.
    #[error("{} is a WebAssembly component: SpacetimeDB takes core modules", path.display())]
    Component {
        /// The file.
        path: PathBuf,
    },

    /// It is WebAssembly of a version that does not exist yet.
    #[error("{} is WebAssembly of version {version}: there is only version 1", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },

    /// Its end is missing.
    #[error("{} is cut short: it ends at byte {at}, {missing}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        at: usize,
        /// What should have followed.
        missing: String,
    },

    /// It is no valid WebAssembly.
    #[error("{} is no valid WebAssembly", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: wasmi::Error,
    },

    /// It needs what SpacetimeDB has not.
    #[error("{} is made for another system: it imports `{name}` from `{from}`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The import.
        name: String,
        /// The namespace it is imported from.
        from: String,
    },

    /// It lacks what SpacetimeDB asks of a module.
    #[error("{} is no SpacetimeDB module: it has no {what} `{name}`", path.display())]
    NotSpacetime {
        /// The file.
        path: PathBuf,
        /// `memory` or `function`, with its signature where only that is wrong.
        what: &'static str,
        /// The export that is missing.
        name: &'static str,
    },

    /// It crashes before it has said what it is: a server would not start it either.
    #[error("{} crashes in `{function}`{}", path.display(), said(message.as_deref()))]
    Crashed {
        /// The file.
        path: PathBuf,
        /// The function that was called.
        function: String,
        /// The module's own last words.
        message: Option<String>,
        /// What happened.
        #[source]
        source: wasmi::Error,
    },

    /// It says itself that it cannot run.
    #[error("{} refuses to be set up{}", path.display(), said(Some(message)))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Its own words.
        message: String,
    },

    /// It does not come to an end.
    #[error("{} does not finish `{function}`: it was given up after {instructions} steps", path.display())]
    Endless {
        /// The file.
        path: PathBuf,
        /// The function that was called.
        function: String,
        /// How much it was allowed.
        instructions: u64,
    },

    /// What it says of itself makes no sense.
    #[error("{} cannot be understood", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SchemaError,
    },
}

impl ModuleError {
    /// What to try, in the order of promise.
    pub fn hints(&self) -> Vec<String> {
        let build = "build the module with `spacetime build`, or with `cargo build --release --target \
                     wasm32-unknown-unknown` and crate-type `cdylib`";
        let hint = match self {
            Self::Unreadable { path, source } => {
                let build = (source.kind() == io::ErrorKind::NotFound).then(|| format!("or {build}"));
                return [local_path::hint(path, source)].into_iter().chain(build).collect();
            }
            Self::Directory { .. } | Self::NotAFile { .. } => {
                "name the .wasm file; cargo puts it into target/wasm32-unknown-unknown/release"
            }
            Self::SomethingElse { hint, .. } => hint,
            Self::Script { .. } => {
                "SpacetimeDB takes JavaScript modules since 1.6, from its own CLI: run `stdbctl tunnel`, then \
                 `spacetime publish --js-path FILE` with the server that it prints"
            }
            Self::Component { .. } => {
                "build for wasm32-unknown-unknown, without wasm-tools' or cargo-component's `component` step"
            }
            Self::Empty { .. } | Self::Truncated { .. } => "copy or build the file again",
            Self::TooLarge { .. } | Self::Version { .. } | Self::Invalid { .. } => build,
            Self::Foreign { from, .. } => return vec![foreign_hint(from), build.to_owned()],
            Self::NotSpacetime { .. } => {
                return vec![
                    "a module is a library with the `spacetimedb` crate (or the C# or C++ bindings)"
                        .to_owned(),
                    build.to_owned(),
                ];
            }
            Self::Crashed { .. } | Self::Refused { .. } => {
                "this is the module's own code, which runs before any reducer; a server would refuse it as well"
            }
            Self::Endless { .. } => "look for a loop in what the module does before its first reducer",
            Self::Description { source, .. } => match source {
                SchemaError::TooOld => "build it against bindings of 1.0 or later",
                SchemaError::Unknown(_) => "its bindings are newer than this stdbctl: look for a newer one",
                _ => "build it again with bindings that fit the server's version",
            },
        };
        vec![hint.to_owned()]
    }
}

fn foreign_hint(from: &str) -> String {
    match from {
        "wasi_snapshot_preview1" | "wasi_unstable" => {
            "it was built for WASI: the target is wasm32-unknown-unknown, not wasm32-wasi or wasm32-wasip1"
                .into()
        }
        "env" => "it expects a host that gives it C functions, as emscripten does".into(),
        "wbg" | "__wbindgen_placeholder__" => {
            "it was built for browsers: a dependency turns on wasm-bindgen (often getrandom's or uuid's `js` \
             feature, or chrono's `wasmbind`)"
                .into()
        }
        _ => "SpacetimeDB gives a module nothing but its own `spacetime_*` functions".into(),
    }
}

fn said(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}
