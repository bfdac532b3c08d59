//! Who owns a host's databases, whether that can still be proven, and what can be repaired of it.
//!
//! One look sees the server's keys and all tokens, a second one the databases of the owners that the first has found.
//! What is repaired follows from what was seen; each repair is harmless where it is no longer needed.

mod judgement;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use stdbctl_engine::dialogue::{self, Changing, Record, quote};
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Host;

use crate::owner::{self, Claims, Database, Foreign, Identity, KeyFile, Keys, Owned, Running, Seen, owner};
use crate::server::{Answer, Version, base_url, script_front};
use crate::settings::Settings;

/// The `iss` of the tokens that servers themselves give. Others may end some day.
const SERVERS_OWN: &str = "localhost";

/// What was found on a host.
#[derive(Debug, Clone)]
pub struct Found {
    /// The directory of keys and tokens.
    pub(crate) config: String,
    /// Where the server is asked.
    pub(crate) base: String,
    pub(crate) health: Answer,
    pub(crate) seen: Seen,
    pub(crate) foreign: Vec<Foreign>,
    pub(crate) owned: Vec<Owned>,
}

/// What was found on a host, and what that means.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The host, as the operator calls it.
    pub host: String,
    /// Whether each check is well.
    pub ok: bool,
    /// SpacetimeDB's version; none if it does not answer.
    pub server: Option<String>,
    /// Who owns what stdbctl publishes there.
    pub identity: Identity,
    /// The server's keys.
    pub keys: Keys,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Whoever owns databases there, or has a token there for publishing. The host's own identity comes first.
    pub owners: Vec<Owner>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about: `server`, `key` or `token`.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub next: Option<String>,
}

/// Somebody who owns databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Who.
    pub identity: Identity,
    /// Whose token it is to stdbctl.
    pub kind: Kind,
    /// Who gave the tokens; none if only a file's name tells of it.
    pub issuer: Option<String>,
    /// Where tokens lie, the one that stdbctl uses first.
    pub tokens: Vec<String>,
    /// The databases; none if the server does not say.
    pub databases: Option<Vec<Database>>,
}

/// Whose a token is to stdbctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The host's own: what stdbctl publishes with.
    Own,
    /// Adopted: kept beside the own one and used for the databases that it owns.
    Adopted,
    /// Somebody else's, found on the host.
    Foreign,
}

/// One thing to repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Write the public half of the server's key anew.
    PublicKey,
    /// Sign a token anew.
    Mint(Claims),
    /// Take a token over. It stays where it is.
    Adopt(Foreign),
}

impl Repair {
    /// What it does, as something to be asked for.
    pub fn title(&self) -> String {
        match self {
            Self::PublicKey => "write id_ecdsa.pub anew, from id_ecdsa".to_owned(),
            Self::Mint(claims) if claims.identity == owner() => {
                "sign a token for the owner's identity".to_owned()
            }
            Self::Mint(claims) => format!("sign the token of {} anew", claims.identity),
            Self::Adopt(Foreign { path, .. }) => {
                format!("take over the token in {path} (it stays there, too)")
            }
        }
    }

    fn command(&self) -> String {
        match self {
            Self::PublicKey => "restore_public".to_owned(),
            // One that fits may still be there for all to read.
            Self::Mint(claims) => format!("{{ mint {0} && ensure_owner {0}; }}", claims.arguments()),
            // Copied only if it is good for ever, so that not even the server's key is needed.
            Self::Adopt(Foreign { path, claims }) if claims.issuer == SERVERS_OWN => {
                let (path, id) = (quote(path), &claims.identity);
                format!("{{ adopt {path} {id} && ensure_owner {}; }}", claims.arguments())
            }
            Self::Adopt(Foreign { claims, .. }) => format!("ensure_owner {}", claims.arguments()),
        }
    }
}

/// Looks. Changes nothing.
///
/// # Errors
/// If the host cannot be asked.
pub async fn look(host: &dyn Host, settings: &Settings) -> Result<Found, Failure> {
    let mut records = dialogue::look(host, &first_look(settings)).await?;
    let others = others(&records);
    let answers = Answer::find(&records, "health").is_some_and(|health| health.status != 0);
    if answers && !others.is_empty() {
        let second = others.iter().fold(front(settings), |mut script, identity| {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "see_databases {identity}");
            script
        });
        records.extend(dialogue::look(host, &second).await?);
    }
    Ok(Found::read(&records, settings))
}

/// The functions of all scripts here. No answer to them takes a server that works ten seconds.
fn front(settings: &Settings) -> String {
    script_front(settings) + &owner::script_part() + "patience=10\n"
}

/// A server that takes connections and says nothing is not waited for again with every token.
fn first_look(settings: &Settings) -> String {
    let front = front(settings);
    format!(
        "{front}ask health /v1/health\n[ \"$status\" != 0 ] || patience=1\n\
         see_owner\nsee_foreign_tokens\nsee_databases {}\n",
        owner()
    )
}

/// Those besides the host's own identity whose tokens were found.
fn others(records: &[Record]) -> BTreeSet<Identity> {
    let adopted = Seen::read(records).tokens.into_iter().map(|token| token.identity);
    let foreign = owner::foreign(records).into_iter().map(|foreign| foreign.claims.identity);
    adopted.chain(foreign).filter(|identity| *identity != owner()).collect()
}

/// A repair that could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub repair: Repair,
    /// Why not, in the host's words.
    pub why: String,
}

/// Does the repairs under the host's lock. Returns those that could not be done.
///
/// # Errors
/// If another run holds the lock, or the host cannot be asked.
pub async fn repair(
    host: &dyn Host,
    settings: &Settings,
    who: Changing<'_>,
    repairs: &[Repair],
) -> Result<Vec<Refused>, Failure> {
    let mut script = front(settings) + "main() {\n";
    for (number, repair) in repairs.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(script, "{} || tell refused \"{number} $why\"", repair.command());
    }
    script.push_str("}\n");
    let records = dialogue::change(host, who, &script, Vec::new(), |_| ()).await?;
    let refused = records.iter().filter(|record| record.kind == "refused").map(Record::text);
    let told = |text: String| {
        let (number, why) = text.split_once(' ')?;
        let repair = repairs.get(number.parse::<usize>().ok()?)?;
        Some(Refused { repair: repair.clone(), why: why.to_owned() })
    };
    Ok(refused.filter_map(told).collect())
}

impl Found {
    fn read(records: &[Record], settings: &Settings) -> Self {
        let silent = Answer { status: 0, body: String::new() };
        Self {
            config: format!("{}/config", settings.spacetimedb.root_dir.trim_end_matches('/')),
            base: base_url(settings),
            health: Answer::find(records, "health").unwrap_or(silent),
            seen: Seen::read(records),
            foreign: owner::foreign(records),
            owned: owner::owned(records),
        }
    }

    /// The server's version, if it answers.
    pub fn version(&self) -> Option<Version> {
        Version::of_health(&self.health)
    }

    /// What the repairs would be: of keys and tokens, of tokens of others that own databases, or of both.
    pub fn repairs(&self, mend: bool, adopt: bool) -> Vec<Repair> {
        let mut repairs = Vec::new();
        if mend && self.public_half_is_wrong() {
            repairs.push(Repair::PublicKey);
        }
        if mend && self.can_sign() {
            repairs.extend(self.to_mint().into_iter().map(Repair::Mint));
        }
        if adopt && self.version().is_some() {
            repairs.extend(self.to_adopt().into_iter().cloned().map(Repair::Adopt));
        }
        repairs
    }

    /// Whether the private half is there and the public one is not its own.
    pub(crate) fn public_half_is_wrong(&self) -> bool {
        let Keys { private, public, is_pair, running } = self.seen.keys;
        let is_other = !is_pair && running == Running::Same;
        private == KeyFile::There && (public != KeyFile::There || is_other)
    }

    /// Whether a token that is signed on the host fits the server.
    pub(crate) fn can_sign(&self) -> bool {
        self.seen.keys.private == KeyFile::There && self.seen.keys.running == Running::Same
    }

    /// The tokens of ours that are missing, do not fit, or can be read by others.
    fn to_mint(&self) -> Vec<Claims> {
        let own = self.seen.token(&owner());
        let is_well = |token: &owner::Token| token.fits() && token.is_private;
        let own = (!own.is_some_and(is_well)).then(Claims::owner);
        let adopted = self.adopted().filter(|token| !is_well(token)).filter_map(|token| {
            let copy = || self.foreign.iter().find(|foreign| foreign.claims.identity == token.identity);
            token.claims.clone().or_else(|| copy().map(|foreign| foreign.claims.clone()))
        });
        own.into_iter().chain(adopted).collect()
    }

    pub(crate) fn adopted(&self) -> impl Iterator<Item = &owner::Token> {
        self.seen.tokens.iter().filter(|token| token.identity != owner())
    }

    /// One token of each stranger that owns databases here.
    fn to_adopt(&self) -> Vec<&Foreign> {
        let mut known: BTreeSet<&Identity> = self.seen.tokens.iter().map(|token| &token.identity).collect();
        let ours = owner();
        known.insert(&ours);
        let owns = |identity: &Identity| self.owned_by(identity).is_some_and(|all| !all.is_empty());
        let mut strangers = Vec::new();
        for foreign in &self.foreign {
            if owns(&foreign.claims.identity) && !known.contains(&foreign.claims.identity) {
                strangers.push(foreign);
                known.insert(&foreign.claims.identity);
            }
        }
        strangers
    }

    /// What somebody owns, if the server has said so.
    pub(crate) fn owned_by(&self, identity: &Identity) -> Option<&[Database]> {
        let owned = self.owned.iter().find(|owned| owned.owner == *identity && owned.status == 200)?;
        Some(&owned.databases)
    }
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
