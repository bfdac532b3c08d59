//! Where the password of sudo comes from: a file, or whoever sits at the terminal.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use indicatif::MultiProgress;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use stdbctl_engine::host::{BoxFuture, HostError};
use stdbctl_engine::root::{PasswordSource, SudoPassword};

use crate::cli::SshArgs;
use crate::console::Console;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::host::Password;
use crate::prompt;

/// No password is longer. What holds it never grows: what it grew out of would not be zeroised.
const LONGEST: usize = 1024;

/// What the file said.
struct Known(SecretString);

/// Whoever sits at the terminal.
struct Person {
    screen: MultiProgress,
    /// More than one host may want it.
    several: bool,
}

/// The password for all hosts of a run, if it can be had: without the flag and without a terminal it cannot.
///
/// # Errors
/// If the file cannot be read, or others can read it.
pub(crate) fn of_run(ssh: &SshArgs, hosts: usize, console: &Console) -> Result<Password, CliError> {
    if let Some(path) = &ssh.sudo_password_file {
        let password = read(path)?;
        return Ok(Some(Arc::new(SudoPassword::new(Known(password)))));
    }
    let person = || Person { screen: console.screen.clone(), several: hosts > 1 };
    Ok(console.can_ask().then(|| Arc::new(SudoPassword::new(person()))))
}

impl PasswordSource for Known {
    fn password<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

impl PasswordSource for Person {
    fn password<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretString, HostError>> {
        Box::pin(async move {
            let also = if self.several { ", and of other hosts that want one" } else { "" };
            let question = format!("Password of sudo on {host}{also}: ");
            let asked = prompt::secret(self.screen.clone(), question).await;
            asked.map_err(|error| HostError {
                source: Some(Box::new(error)),
                ..HostError::new("none was given")
            })
        })
    }
}

/// The first line, whatever ends it.
fn read(path: &Path) -> Result<SecretString, CliError> {
    let name = path.display();
    let unreadable = |error| CliError::unreadable(ExitCode::Usage, path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // What the shell made of `<(...)` is nobody else's either.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(CliError::usage(format!("{name} holds a password, and others may read it"))
            .hint(format!("`chmod 600 {name}`")));
    }
    let mut held = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    while let Some(free) = held.get_mut(length..).filter(|free| !free.is_empty()) {
        match file.read(free).map_err(unreadable)? {
            0 => break,
            count => length += count,
        }
    }
    let line = held.get(..length).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(CliError::usage(format!("{name} holds no password in its first line"))),
        Ok(_) if line.len() == LONGEST => Err(CliError::usage(format!("{name} holds no password, but more"))),
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err(CliError::usage(format!("{name} holds no text"))),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn of_file(content: &[u8], mode: u32) -> Result<String, CliError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        read(file.path()).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn a_file_holds_the_password_in_its_first_line() {
        assert_eq!(of_file(b" pass'word$1 \n# note\n", 0o600).unwrap(), " pass'word$1 ");
        assert_eq!(of_file("päss\r\n".as_bytes(), 0o400).unwrap(), "päss");
        assert_eq!(of_file(b"bare", 0o600).unwrap(), "bare");
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_none_is_wrong_usage() {
        let wrong: [(&[u8], u32); 6] = [
            (b"secret\n", 0o640),
            (b"secret\n", 0o604),
            (b"", 0o600),
            (b"\nsecret", 0o600),
            (b"\xff", 0o600),
            (&[b'x'; 4096], 0o600),
        ];
        for (content, mode) in wrong {
            let error = of_file(content, mode).unwrap_err();
            assert_eq!(error.kind.number(), 2, "{error:?}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        let error = read(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!((error.kind.number(), error.hints.len()), (2, 1), "{error:?}");
    }
}
