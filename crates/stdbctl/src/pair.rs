//! Flags of the form `NAME=VALUE`.

use std::net::IpAddr;
use std::str::FromStr;

/// `--set KEY=VALUE`: one setting and its value as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// `--resolve NAME=ADDRESS`: what a name resolves to, whatever DNS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolve {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

/// A pair is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("there is no `=` in it")]
    NoEquals,
    #[error("there is nothing before the `=`")]
    NoName,
    #[error("`{0}` is not an IP address")]
    Address(String),
}

impl FromStr for Setting {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let (key, value) = split(text)?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for Resolve {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let (name, address) = split(text)?;
        let address = address.parse().map_err(|_| PairError::Address(address.to_owned()))?;
        Ok(Self { name: name.to_owned(), address })
    }
}

fn split(text: &str) -> Result<(&str, &str), PairError> {
    let (name, value) = text.split_once('=').ok_or(PairError::NoEquals)?;
    let name = name.trim();
    if name.is_empty() { Err(PairError::NoName) } else { Ok((name, value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs_and_nothing_at_all() {
        let setting: Setting = "tls.email=a=b".parse().unwrap();
        assert_eq!(setting, Setting { key: "tls.email".to_owned(), value: "a=b".to_owned() });
        assert_eq!("domain=".parse::<Setting>().unwrap().value, "");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["", "domain", "=x", " =x"] {
            assert!(text.parse::<Setting>().is_err(), "{text:?}");
        }
        assert!("a=b".parse::<Resolve>().is_err());
        assert_eq!("a=::1".parse::<Resolve>().unwrap().address, "::1".parse::<IpAddr>().unwrap());
    }
}
