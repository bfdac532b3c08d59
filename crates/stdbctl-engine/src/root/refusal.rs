//! Why a host did not become root, and what the operator can do about it.

use super::line::Door;
use crate::host::HostError;

/// What a shell exits with that finds no program of the name.
const NOT_FOUND: u32 = 127;
/// What opens doas.
const NOPASS: &str = "put `permit nopass USER` at the end of the host's /etc/doas.conf (the last rule that fits counts), \
                      or log in as root";

/// Why a host did not become root. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// sudo wants a password, and nobody is there to give it.
    #[error("sudo wants a password, and nobody can be asked for it")]
    PasswordNeeded,
    /// The password could not be had, for this reason.
    #[error("there is no password for sudo: {0}")]
    NoPassword(String),
    /// sudo did not accept the password; its last words, if it said more than that.
    #[error("sudo did not accept the password{}", more(.0))]
    WrongPassword(String),
    /// Another host did not accept the password, so this one was not bothered with it.
    #[error("the password for sudo was not tried here, as {0} did not accept it")]
    NotTried(String),
    /// Another host, or this one before, got the password and did not say whether it is right.
    #[error("the password for sudo is not sent again: {0} got it and did not say whether it is right")]
    Unproven(String),
    /// sudo works only on a terminal, and the host could not make one, for this reason.
    #[error("sudo wants a terminal (requiretty), and the host could not make one{}", more(.0))]
    TerminalNeeded(String),
    /// doas wants a password, which it takes from a terminal only.
    #[error("doas wants a password")]
    DoasPassword,
    /// There is neither sudo nor doas.
    #[error("the login user is not root, and there is neither sudo nor doas")]
    NoSudo,
    /// The host did not say whether it became root, for as long as was listened.
    #[error("the host did not say {0} whether it became root")]
    Undecided(String),
    /// Neither wants this user to be root; the last words of who was asked.
    #[error("{}", refusal(.0))]
    Refused(String),
}

fn more(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl RootError {
    /// What the operator can try, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::PasswordNeeded => {
                "run it on a terminal, which is then asked, name a file that holds the password \
                 with --sudo-password-file, or give the login user passwordless sudo: \
                 `USER ALL=(ALL) NOPASSWD: ALL` in a file of its own below /etc/sudoers.d"
            }
            Self::NoPassword(_) => "nothing was changed; run again and give it, or log in as root",
            Self::WrongPassword(_) => {
                "nothing was changed, and it was tried once; before you run again, make sure that the account \
                 is not locked (`faillock --user USER` on the host)"
            }
            Self::NotTried(_) => {
                "run again with the right password, and hosts with different passwords one by one (--limit, --host)"
            }
            Self::Unproven(_) => {
                "see first what `sudo true` says there, and whether the account is locked (`faillock --user USER`); \
                 then run again, without that host (--limit) until sudo works there"
            }
            Self::TerminalNeeded(_) => {
                "put `Defaults:USER !requiretty` into a file of its own below /etc/sudoers.d, log in as root, \
                 or see that perl works on the host (perl-base)"
            }
            Self::Undecided(_) => {
                "log in with `ssh USER@HOST` and see what `sudo true` does there: a login shell that never stops \
                 talking, or a sudo that waits for something (a directory server, a second factor); nothing was \
                 changed, run again when it answers"
            }
            Self::DoasPassword => NOPASS,
            Self::Refused(words) if words.starts_with("doas") => NOPASS,
            Self::NoSudo => "log in as root, or install sudo on the host",
            Self::Refused(_) => {
                "log in as root, or let the login user become root: \
                 `USER ALL=(ALL) ALL` in a file of its own below /etc/sudoers.d"
            }
        };
        vec![hint.to_owned()]
    }

    /// Whether this is why a script was not run.
    pub fn is_behind(error: &HostError) -> bool {
        error.source.as_ref().is_some_and(|source| source.is::<Self>())
    }

    /// Why nobody has become root through this door. `words` is what was said, in English.
    pub(super) fn behind(door: Door, status: u32, words: &str) -> Self {
        let is_without_terminal =
            words.contains("must have a tty") || door.on_terminal && no_terminal(status, words);
        match door.with_password {
            _ if is_without_terminal => Self::TerminalNeeded(last_line(words).to_owned()),
            true => Self::with_password(words),
            false => Self::without_password(status, words),
        }
    }

    fn without_password(status: u32, words: &str) -> Self {
        let last = last_line(words);
        let lower = last.to_lowercase();
        if status == NOT_FOUND {
            return Self::NoSudo;
        }
        // sudo: "a password is required"; sudo-rs: "interactive authentication is required"; doas in capitals.
        match lower.contains("password") || lower.contains("authentication") {
            true if lower.starts_with("doas") => Self::DoasPassword,
            true => Self::PasswordNeeded,
            false => Self::Refused(last.to_owned()),
        }
    }

    fn with_password(words: &str) -> Self {
        // In the words of sudo and of sudo-rs (0.2.15). What sudo may not do at all it says in others, and last.
        const WRONG: [&str; 6] = [
            "incorrect password",
            "try again",
            "incorrect authentication",
            "authentication failed",
            "pam error",
            "no password was provided",
        ];
        let wrong = |line: &&str| WRONG.iter().any(|words| line.to_lowercase().contains(words));
        if !words.lines().any(|line| wrong(&line)) {
            return Self::Refused(last_line(words).to_owned());
        }
        let own = words.lines().rev().find(|line| ["lock", "PAM"].iter().any(|word| line.contains(word)));
        Self::WrongPassword(own.unwrap_or_default().trim().to_owned())
    }
}

/// Whether perl is not there, or could not do it.
fn no_terminal(status: u32, words: &str) -> bool {
    status == NOT_FOUND || words.contains("stdbctl: no terminal")
}

fn last_line(words: &str) -> &str {
    words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

fn refusal(words: &str) -> &str {
    if words.is_empty() { "sudo refused without a word" } else { words }
}

impl From<RootError> for HostError {
    fn from(error: RootError) -> Self {
        Self { message: "cannot become root".to_owned(), hints: error.hints(), source: Some(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Door = Door { with_password: false, on_terminal: false };
    const WITH_PASSWORD: Door = Door { with_password: true, on_terminal: false };

    #[test]
    fn who_is_refused_by_doas_is_not_sent_to_sudoers() {
        for words in ["doas: Authentication required", "doas: Operation not permitted"] {
            let hints = RootError::behind(PLAIN, 1, words).hints().concat();
            assert!(hints.contains("/etc/doas.conf") && !hints.contains("sudoers"), "{hints}");
        }
    }

    #[test]
    fn each_refusal_is_known_by_what_was_said() {
        let table = [
            (1, "mesg: no tty\nsudo: a password is required\n", RootError::PasswordNeeded),
            (1, "sudo: interactive authentication is required", RootError::PasswordNeeded),
            (
                1,
                "sudo: sorry, you must have a tty to run sudo",
                RootError::TerminalNeeded("sudo: sorry, you must have a tty to run sudo".to_owned()),
            ),
            (127, "sh: 1: exec: sudo: not found", RootError::NoSudo),
            (1, "doas: Authentication required", RootError::DoasPassword),
            (
                1,
                "sudo: I'm sorry ubuntu. I'm afraid I can't do that",
                RootError::Refused("sudo: I'm sorry ubuntu. I'm afraid I can't do that".to_owned()),
            ),
            (1, "", RootError::Refused(String::new())),
        ];
        for (status, words, expected) in table {
            assert_eq!(RootError::behind(PLAIN, status, words), expected, "{words}");
        }
    }

    #[test]
    fn a_terminal_that_could_not_be_made_is_not_taken_for_a_missing_sudo() {
        for with_password in [false, true] {
            let door = Door { with_password, on_terminal: true };
            for (status, words) in
                [(127, "bash: perl: command not found"), (1, "stdbctl: no terminal: No such device")]
            {
                let expected = RootError::TerminalNeeded(words.to_owned());
                assert_eq!(RootError::behind(door, status, words), expected);
            }
        }
    }

    #[test]
    fn a_wrong_password_is_told_from_a_right_one_that_opens_nothing() {
        let wrong = RootError::WrongPassword(String::new());
        let table = [
            (
                "Sorry, try again.\n\nsudo: no password was provided\nsudo: 1 incorrect password attempt",
                wrong.clone(),
            ),
            (
                "sudo: Authentication failed, try again.\nsudo: Authentication required but not attempted",
                wrong,
            ),
            (
                "The account is locked due to 3 failed logins.\nsudo: 1 incorrect password attempt",
                RootError::WrongPassword("The account is locked due to 3 failed logins.".to_owned()),
            ),
            (
                "sudo: PAM error: Permission denied",
                RootError::WrongPassword("sudo: PAM error: Permission denied".to_owned()),
            ),
            (
                "ubuntu is not in the sudoers file.",
                RootError::Refused("ubuntu is not in the sudoers file.".to_owned()),
            ),
            (
                "sudo: I'm sorry ubuntu. I'm afraid I can't do that",
                RootError::Refused("sudo: I'm sorry ubuntu. I'm afraid I can't do that".to_owned()),
            ),
        ];
        for (words, expected) in table {
            assert_eq!(RootError::behind(WITH_PASSWORD, 1, words), expected, "{words}");
        }
    }
}
