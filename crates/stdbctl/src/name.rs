//! What databases and modules are called on the command line.

use std::str::FromStr;

use stdbctl_playbook::publish::check_name;

/// How much of a sha256 at least names a module.
const SHORTEST: usize = 4;
/// The whole of it, in hex digits.
const WHOLE: usize = 64;

/// The name of a database, as servers take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseName(String);

/// The sha256 of a module, or the beginning of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShaPrefix(String);

/// A name is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("a database's name is made of lower-case letters, digits, and single hyphens between them")]
    Name,
    #[error("a sha256, or at least {SHORTEST} digits of its beginning, is written in hex")]
    Sha,
}

impl DatabaseName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_name(text).map_err(|_| NameError::Name)?;
        Ok(Self(text.to_owned()))
    }
}

impl ShaPrefix {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShaPrefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.to_ascii_lowercase();
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && (SHORTEST..=WHOLE).contains(&text.len()) { Ok(Self(text)) } else { Err(NameError::Sha) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_servers_take() {
        assert_eq!("my-game".parse::<DatabaseName>().unwrap().as_str(), "my-game");
        for name in ["", "My-Game", "../game", "game\n"] {
            assert!(name.parse::<DatabaseName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_sha_may_be_its_beginning() {
        assert_eq!("DD18e2".parse::<ShaPrefix>().unwrap().as_str(), "dd18e2");
        let (whole, long) = ("a".repeat(64), "a".repeat(65));
        assert!(whole.parse::<ShaPrefix>().is_ok());
        for text in ["", "abc", "wxyz", "dd 18", "0xdd18", &long] {
            assert!(text.parse::<ShaPrefix>().is_err(), "{text:?}");
        }
    }
}
