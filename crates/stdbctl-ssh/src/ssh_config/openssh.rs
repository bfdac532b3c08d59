//! `ssh -G`: the configuration as OpenSSH itself understands it, a lower-case keyword and its value a line.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::settings::Settings;
use super::{ConfigError, HostConfig, NO_FILE};
use crate::printable::printable;
use crate::target::Target;

/// A `Match exec` of the operator's may take its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// A host that nothing is said of where there is no configuration.
const ANY_HOST: &str = "stdbctl";

/// The `ssh` of the machine.
#[derive(Debug)]
pub(super) struct OpenSsh {
    program: String,
    /// What it says of any host where nothing is configured; None if it cannot be asked.
    usual: OnceCell<Option<Settings>>,
}

impl OpenSsh {
    pub(super) fn new(program: &str) -> Self {
        Self { program: program.to_owned(), usual: OnceCell::new() }
    }

    /// What it says of a destination; None if there is no `ssh`, or one that cannot be asked.
    pub(super) async fn ask(
        &self,
        target: &Target,
        file: Option<&Path>,
    ) -> Result<Option<HostConfig>, ConfigError> {
        let usual = self.usual.get_or_try_init(|| self.usual());
        let Some(usual) = usual.await? else { return Ok(None) };
        let mut command = self.command();
        command.arg("-G");
        if let Some(file) = file {
            // What ssh says of one that is not there would be taken for a fault of its lines.
            if let (false, Err(source)) = (file == Path::new(NO_FILE), std::fs::metadata(file)) {
                return Err(ConfigError::Unreadable { file: file.to_owned(), source });
            }
            command.arg("-F").arg(file);
        }
        if let Some(user) = &target.user {
            command.arg("-l").arg(user);
        }
        if let Some(port) = target.port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("--").arg(&target.host);
        let Some(output) = run(command).await? else { return Ok(None) };
        let mut settings = said(target, &output)?;
        settings.leave_out(usual);
        let mut config = settings.host_config(target)?;
        let algorithms = &mut config.algorithms;
        algorithms.usual_host_key = algorithms.host_key.as_ref().and(usual.host_key_algorithms());
        Ok(Some(config))
    }

    /// Dropbear's `ssh` is not asked: it would pass over what it does not know, and log in.
    async fn usual(&self) -> Result<Option<Settings>, ConfigError> {
        let mut command = self.command();
        command.arg("-V");
        let Some(version) = run(command).await? else { return Ok(None) };
        if ![version.stdout, version.stderr].iter().any(|said| said.starts_with(b"OpenSSH")) {
            return Ok(None);
        }
        let mut command = self.command();
        command.args(["-G", "-F", NO_FILE, "--", ANY_HOST]);
        let Some(output) = run(command).await? else { return Ok(None) };
        // One from before 2015 knows no `-G`.
        Ok(output.status.success().then(|| Settings::printed(&String::from_utf8_lossy(&output.stdout))))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).kill_on_drop(true);
        // A group of its own, so that what it starts can be ended with it.
        #[cfg(unix)]
        command.process_group(0);
        command
    }
}

fn said(target: &Target, output: &Output) -> Result<Settings, ConfigError> {
    if output.status.success() {
        return Ok(Settings::printed(&String::from_utf8_lossy(&output.stdout)));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let mut lines = words.lines().filter(|line| !line.starts_with("Pseudo-terminal"));
    let words = printable(lines.next().unwrap_or("it does not say why"));
    Err(ConfigError::Refused { host: target.host.clone(), words })
}

/// Its end; None if there is no such program.
async fn run(mut command: Command) -> Result<Option<Output>, ConfigError> {
    let child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConfigError::NotAsked(error)),
    };
    let group = Group(child.id());
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.map_err(|_| ConfigError::NotAsked(io::ErrorKind::TimedOut.into()))?;
    group.has_ended();
    output.map(Some).map_err(ConfigError::NotAsked)
}

/// A program and all that it has started. Dropping this ends them: a `Match exec` does not outlive who waits for it.
struct Group(Option<u32>);

impl Group {
    /// What it has left running is meant to stay.
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) =
            self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process_group(id, rustix::process::Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
#[path = "openssh_tests.rs"]
mod tests;
