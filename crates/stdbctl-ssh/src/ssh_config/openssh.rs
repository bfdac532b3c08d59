//! `ssh -G`: the configuration as OpenSSH itself understands it, a lower-case keyword and its value a line.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::settings::Settings;
use super::{ConfigError, HostConfig};
use crate::printable::printable;
use crate::target::Target;

/// A `Match exec` of the operator's may take its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What `ssh` says; None if there is no `ssh`.
pub(super) async fn ask(target: &Target, file: Option<&Path>) -> Result<Option<HostConfig>, ConfigError> {
    let mut command = Command::new("ssh");
    command.arg("-G").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(file) = file {
        command.arg("-F").arg(file);
    }
    if let Some(user) = &target.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("--").arg(&target.host);
    let output = match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(Err(error)) => return Err(ConfigError::NotAsked(error)),
        Err(_) => return Err(ConfigError::NotAsked(io::ErrorKind::TimedOut.into())),
    };
    said(target, &output).map(Some)
}

fn said(target: &Target, output: &Output) -> Result<HostConfig, ConfigError> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let mut lines = words.lines().filter(|line| !line.starts_with("Pseudo-terminal"));
        let words = printable(lines.next().unwrap_or("it does not say why"));
        return Err(ConfigError::Refused { host: target.host.clone(), words });
    }
    Settings::printed(&String::from_utf8_lossy(&output.stdout)).host_config(target)
}
