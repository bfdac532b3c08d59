//! Who and where to connect to.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of SSH where none is given.
pub const DEFAULT_PORT: u16 = 22;

/// A destination as the operator writes it: `[USER@]HOST[:PORT]` or `ssh://[USER@]HOST[:PORT]`.
///
/// An IPv6 address with a port needs brackets: `[2001:db8::1]:2222`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The user to log in as, if one was given.
    pub user: Option<String>,
    /// A host name or an address, without brackets.
    pub host: String,
    /// The TCP port, if one was given.
    pub port: Option<u16>,
}

impl Target {
    /// The TCP port to connect to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

/// Why a destination could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing where the host should be.
    #[error("the host is missing")]
    NoHost,
    /// `@host`.
    #[error("the user before the @ is missing")]
    NoUser,
    /// The host begins with a dash, which other programs would take for an option.
    #[error("the host begins with a dash")]
    Dash,
    /// A character that neither a name nor an address has.
    #[error("{0:?} cannot be part of a host or user")]
    Character(char),
    /// Not a number between 1 and 65535.
    #[error("the port {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// A bracket that is not closed, or text between it and the port.
    #[error("an address in brackets must look like [ADDRESS] or [ADDRESS]:PORT")]
    Brackets,
    /// Something in brackets that is not an IPv6 address.
    #[error("{0:?} is not an IPv6 address")]
    Address(String),
    /// A path after the `ssh://` form.
    #[error("an ssh:// destination cannot have a path")]
    Path,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = match text.strip_prefix("ssh://") {
            Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
            None => text,
        };
        if text.contains('/') {
            return Err(TargetError::Path);
        }
        let (user, place) = match text.rsplit_once('@') {
            Some(("", _)) => return Err(TargetError::NoUser),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, text),
        };
        let (host, port) = split_place(place)?;
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        if host.starts_with('-') || user.as_deref().is_some_and(|user| user.starts_with('-')) {
            return Err(TargetError::Dash);
        }
        let odd = |c: &char| c.is_control() || c.is_whitespace() || "[]{}()<>|;&$`'\"\\*?!#,".contains(*c);
        if let Some(character) = host.chars().chain(user.iter().flat_map(|user| user.chars())).find(odd) {
            return Err(TargetError::Character(character));
        }
        Ok(Self { user, host, port })
    }
}

fn split_place(place: &str) -> Result<(String, Option<u16>), TargetError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(TargetError::Brackets)?;
        if without_zone(address).parse::<Ipv6Addr>().is_err() {
            return Err(TargetError::Address(address.to_owned()));
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((address.to_owned(), Some(read_port(port)?))),
            None if after.is_empty() => Ok((address.to_owned(), None)),
            None => Err(TargetError::Brackets),
        };
    }
    if without_zone(place).parse::<Ipv6Addr>().is_ok() {
        return Ok((place.to_owned(), None));
    }
    match place.split_once(':') {
        Some((host, port)) => Ok((host.to_owned(), Some(read_port(port)?))),
        None => Ok((place.to_owned(), None)),
    }
}

fn without_zone(address: &str) -> &str {
    address.split_once('%').map_or(address, |(address, _)| address)
}

fn read_port(text: &str) -> Result<u16, TargetError> {
    match text.parse() {
        Ok(port) if port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(TargetError::Port(text.to_owned())),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, user: Option<&str>, host: &str, port: impl Into<Option<u16>>) {
        let expected = Target { user: user.map(str::to_owned), host: host.to_owned(), port: port.into() };
        assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
        assert_eq!(expected.to_string().parse(), Ok(expected), "{text} shown and read again");
    }

    #[test]
    fn reads_every_form() {
        reads("example.com", None, "example.com", None);
        reads("ubuntu@example.com", Some("ubuntu"), "example.com", None);
        reads("ubuntu@example.com:2222", Some("ubuntu"), "example.com", 2222);
        reads("ssh://ubuntu@example.com:2222/", Some("ubuntu"), "example.com", 2222);
        reads("ssh://example.com", None, "example.com", None);
        reads("192.0.2.7:22", None, "192.0.2.7", 22);
        reads("::1", None, "::1", None);
        reads("[::1]:2200", None, "::1", 2200);
        reads("root@[2001:db8::1]", Some("root"), "2001:db8::1", None);
        reads("fe80::1%eth0", None, "fe80::1%eth0", None);
        reads("me@corp.example@bastion", Some("me@corp.example"), "bastion", None);
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Target>().unwrap_err();
        assert_eq!(wrong(""), TargetError::NoHost);
        assert_eq!(wrong("ubuntu@"), TargetError::NoHost);
        assert_eq!(wrong("@host"), TargetError::NoUser);
        assert_eq!(wrong("-oProxyCommand=x"), TargetError::Dash);
        assert_eq!(wrong("ho st"), TargetError::Character(' '));
        assert_eq!(wrong("host:"), TargetError::Port(String::new()));
        assert_eq!(wrong("host:0"), TargetError::Port("0".to_owned()));
        assert_eq!(wrong("host:+22"), TargetError::Port("+22".to_owned()));
        assert_eq!(wrong("host:65536"), TargetError::Port("65536".to_owned()));
        assert_eq!(wrong("[::1"), TargetError::Brackets);
        assert_eq!(wrong("[::1]22"), TargetError::Brackets);
        assert_eq!(wrong("[example.com]:22"), TargetError::Address("example.com".to_owned()));
        assert_eq!(wrong("ssh://host/path"), TargetError::Path);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_shown_so_that_it_is_read_again(text in "(ssh://)?[a-z@:\\[\\].%0-9-]{0,24}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
