//! The build tools of this machine.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// What modules are compiled for.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Where the tools are.
pub(super) struct Workshop {
    /// Where they are looked for instead of in the PATH of stdbctl.
    path: Option<OsString>,
}

impl Workshop {
    pub(super) fn of_operator() -> Self {
        Self { path: None }
    }

    #[cfg(test)]
    pub(super) fn with_path(path: impl Into<OsString>) -> Self {
        Self { path: Some(path.into()) }
    }

    /// Whether there is such a program.
    pub(super) fn has(&self, program: &str) -> bool {
        let path = self.path.clone().or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let found = |folder: std::path::PathBuf| is_program(&folder.join(program));
        std::env::split_paths(&path).any(found)
    }

    /// Runs a tool in a folder. All that it says goes to standard error.
    pub(super) async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        folder: &Path,
    ) -> io::Result<ExitStatus> {
        self.command(program, arguments, folder).stdout(io::stderr()).status().await
    }

    /// The same for a tool whose standard output is for programs.
    pub(super) async fn read(
        &self,
        program: &str,
        arguments: &[&str],
        folder: &Path,
    ) -> io::Result<(ExitStatus, String)> {
        let mut child = self.command(program, arguments, folder).stdout(Stdio::piped()).spawn()?;
        let mut said = Vec::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.read_to_end(&mut said).await?;
        }
        Ok((child.wait().await?, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Whether the compiler that is used in the folder can compile for WebAssembly. None if it does not say.
    ///
    /// The words in which compilers complain differ; where they keep what they need for a target does not.
    pub(super) async fn has_target(&self, folder: &Path) -> Option<bool> {
        let arguments = ["--print", "target-libdir", "--target", TARGET];
        let (status, said) = self.read("rustc", &arguments, folder).await.ok()?;
        status.success().then(|| Path::new(said.trim()).is_dir())
    }

    fn command(&self, program: &str, arguments: &[&str], folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
