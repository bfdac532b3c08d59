//! The identity that owns a host's databases.
//!
//! SpacetimeDB knows an owner by a hash of the `iss` and `sub` of a token, and believes every token that was signed
//! with its own key. So the owner of all that stdbctl publishes has fixed claims: it is the same for every operator,
//! and whatever is lost, its token is made anew on the host as long as there is a key. Tokens of others that were
//! adopted lie beside it, each in a file named after its identity.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use stdbctl_engine::dialogue::{Record, condense, quote};

/// The `iss` of the owner's token.
pub const ISSUER: &str = "stdbctl";
/// The `sub` of the owner's token.
pub const SUBJECT: &str = "owner";

/// What every identity begins with.
const PREFIX: [u8; 2] = [0xc2, 0x00];
/// How many bytes of an identity are the hash of its claims.
const HASH: usize = 26;

/// A text that is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identity has 64 hexadecimal digits, begins with c200 and holds its own checksum")]
pub struct IdentityError;

/// An identity: 64 lower-case hexadecimal digits that hold their own checksum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Identity(String);

impl Identity {
    /// The identity of whoever has tokens with these claims.
    pub fn of(issuer: &str, subject: &str) -> Self {
        let hash = blake3::hash(format!("{issuer}|{subject}").as_bytes());
        Self::of_hash(hash.as_bytes().get(..HASH).unwrap_or_default())
    }

    fn of_hash(hash: &[u8]) -> Self {
        let sum = blake3::hash(&[&PREFIX[..], hash].concat());
        let bytes = [&PREFIX[..], sum.as_bytes().get(..4).unwrap_or_default(), hash].concat();
        Self(hex(bytes.iter()))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning: enough to tell it from others in a sentence.
    pub fn short(&self) -> String {
        format!("{}...", self.0.get(..16).unwrap_or(&self.0))
    }

    /// Its bytes in the order in which the server's files hold them, as digits.
    pub fn to_le_hex(&self) -> String {
        hex(unhex(&self.0).unwrap_or_default().iter().rev())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Reads the digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        let bytes = unhex(&digits).filter(|bytes| bytes.len() == 32).ok_or(IdentityError)?;
        let identity = Self::of_hash(bytes.get(32 - HASH..).ok_or(IdentityError)?);
        if identity.0 == digits { Ok(identity) } else { Err(IdentityError) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity that owns what stdbctl publishes.
pub fn owner() -> Identity {
    Identity::of(ISSUER, SUBJECT)
}

/// What a token says of whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// Follows from the other two.
    pub identity: Identity,
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
}

impl Claims {
    /// The claims of the owner.
    pub fn owner() -> Self {
        Self { identity: owner(), issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() }
    }

    /// The claims of a token, or of its payload alone. None if it is none, or none that a server takes.
    pub fn read(token: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Payload {
            iss: String,
            sub: String,
            hex_identity: Option<String>,
        }
        let payload = token.trim().split('.').take(2).last()?;
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let Payload { iss, sub, hex_identity } = serde_json::from_slice(&json).ok()?;
        let identity = Identity::of(&iss, &sub);
        let is_own = hex_identity.is_none_or(|hex| hex.parse() == Ok(identity.clone()));
        // A control character would need more than sh to be written down again.
        let is_plain = !iss.contains(char::is_control) && !sub.contains(char::is_control);
        (is_own && is_plain).then_some(Self { identity, issuer: iss, subject: sub })
    }

    /// The arguments of `mint` and `ensure_owner`, quoted.
    pub fn arguments(&self) -> String {
        format!("{} {} {}", self.identity, quote(&self.issuer), quote(&self.subject))
    }
}

/// The functions of `sh/owner.sh`, to come after [`crate::server::script_front`].
pub fn script_part() -> String {
    condense(include_str!("sh/owner.sh"))
}

/// A half of the server's pair of keys, as a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFile {
    /// It is there.
    There,
    /// It is not.
    #[default]
    Missing,
    /// There is a file that holds no key.
    Unreadable,
}

/// The key that the running server has, compared with the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Running {
    /// The one of the files.
    Same,
    /// Another one, or there are no files.
    Other,
    /// The server does not answer.
    #[default]
    Unknown,
}

/// The server's keys, as `see_owner` has found them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// `id_ecdsa`.
    pub private: KeyFile,
    /// `id_ecdsa.pub`.
    pub public: KeyFile,
    /// Whether the halves that are there belong together.
    pub is_pair: bool,
    /// What the server runs with.
    pub running: Running,
}

/// A token below the root directory, as `see_owner` has found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is, by its file's name.
    pub identity: Identity,
    /// What the server says to it: 204 if it fits, 401 if another key has signed it, 0 without an answer.
    pub status: u16,
    /// Whether nobody but the server's own user can read it.
    pub is_private: bool,
    /// What it says of itself, if that is what its name says.
    pub claims: Option<Claims>,
}

impl Token {
    /// Whether the server takes it.
    pub fn fits(&self) -> bool {
        self.status == 204
    }
}

/// What `see_owner` has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The server's keys.
    pub keys: Keys,
    /// The tokens below the root directory.
    pub tokens: Vec<Token>,
}

impl Seen {
    /// Reads the record `owner`. What it does not say is missing.
    pub fn read(records: &[Record]) -> Self {
        let mut seen = Self::default();
        for line in lines(records, "owner") {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["key", state] => seen.keys.private = key_file(state),
                ["public", state] => seen.keys.public = key_file(state),
                ["pair", state] => seen.keys.is_pair = *state == "yes",
                ["server", "same"] => seen.keys.running = Running::Same,
                ["server", "other"] => seen.keys.running = Running::Other,
                ["token", rest @ ..] => seen.tokens.extend(token(rest)),
                _ => {}
            }
        }
        seen
    }

    /// The token of an identity.
    pub fn token(&self, identity: &Identity) -> Option<&Token> {
        self.tokens.iter().find(|token| token.identity == *identity)
    }
}

fn key_file(state: &str) -> KeyFile {
    match state {
        "yes" => KeyFile::There,
        "no" => KeyFile::Missing,
        _ => KeyFile::Unreadable,
    }
}

/// None for a file whose name is no identity: nothing looks for such a one.
fn token(words: &[&str]) -> Option<Token> {
    let [identity, status, access, payload] = words else { return None };
    let identity: Identity = identity.parse().ok()?;
    let claims = Claims::read(payload).filter(|claims| claims.identity == identity);
    Some(Token { identity, status: status.parse().unwrap_or(0), is_private: *access == "private", claims })
}

/// A token that the `spacetime` command has left on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// The `cli.toml` that holds it.
    pub path: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub claims: Claims,
}

/// Reads the record `foreign`. What is no token of SpacetimeDB is left out.
pub fn foreign(records: &[Record]) -> Vec<Foreign> {
    let read = |line: String| {
        let (path, payload) = line.rsplit_once(' ')?;
        Some(Foreign { path: path.to_owned(), claims: Claims::read(payload)? })
    };
    lines(records, "foreign").filter_map(read).collect()
}

/// A database and its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// Its own identity.
    pub identity: Identity,
    /// What it is called; there may be no name, or several.
    pub names: Vec<String>,
}

/// The databases of one owner, as `see_databases` has found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Whose they are.
    pub owner: Identity,
    /// The status of the server's answer: 0 if there was none.
    pub status: u16,
    /// The databases.
    pub databases: Vec<Database>,
}

/// Reads all records `databases`.
pub fn owned(records: &[Record]) -> Vec<Owned> {
    let read = |record: &Record| {
        let text = record.text();
        let mut lines = text.lines();
        let (owner, status) = lines.next()?.split_once(' ')?;
        let database = |line: &str| {
            let mut words = line.split_whitespace();
            let identity = words.next()?.parse().ok()?;
            Some(Database { identity, names: words.map(str::to_owned).collect() })
        };
        Some(Owned {
            owner: owner.parse().ok()?,
            status: status.parse().unwrap_or(0),
            databases: lines.filter_map(database).collect(),
        })
    };
    records.iter().filter(|record| record.kind == "databases").filter_map(read).collect()
}

/// The lines of all records of a kind.
fn lines<'r>(records: &'r [Record], kind: &str) -> impl Iterator<Item = String> + use<'r> {
    let texts = records.iter().filter({
        let kind = kind.to_owned();
        move |record| record.kind == kind
    });
    texts.flat_map(|record| record.text().lines().map(str::to_owned).collect::<Vec<_>>())
}

fn hex<'b>(bytes: impl Iterator<Item = &'b u8>) -> String {
    use fmt::Write as _;
    bytes.fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        pairs.map(byte).collect()
    } else {
        None
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
