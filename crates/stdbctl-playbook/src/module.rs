//! A module as it lies on the operator's disk, looked at before any host is.
//!
//! What is no SpacetimeDB module is refused here, with the word for what it is instead. What is one is asked for
//! its description, as the server will ask it: its own code runs for that, in an interpreter that lets it do
//! nothing but describe itself.

mod error;
mod file_kind;
mod interpreter;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sha3::Keccak256;

pub use self::error::ModuleError;
use self::interpreter::Limits;
use crate::schema::Definition;

/// The largest module that is looked at, in bytes: far more than any server takes.
const LARGEST: u64 = 1 << 30;

/// A SpacetimeDB module that has been looked at: valid, and able to describe itself.
#[derive(Debug, Clone)]
pub struct Module {
    /// The file's bytes.
    pub bytes: Arc<[u8]>,
    /// Their SHA-256 in lower-case hex: the name of the module in stdbctl's store.
    pub sha256: String,
    /// The name the server has for it, as `st_module` shows it: `0x` and 64 hex digits.
    pub program_hash: String,
    /// The newest interface it asks of the server, as (major, minor): `spacetime_10.0` is (10, 0).
    pub abi: (u16, u16),
    /// What it is made of.
    pub definition: Definition,
}

impl Module {
    /// Reads and examines the module at `path`.
    ///
    /// It takes milliseconds for a module of some 100 kB and blocks meanwhile; a module that never finishes
    /// describing itself is given up after some ten seconds.
    pub fn read(path: &Path) -> Result<Self, ModuleError> {
        let bytes = contents(path)?;
        Self::examine(path, bytes.into(), Limits::default())
    }

    fn examine(path: &Path, bytes: Arc<[u8]>, limits: Limits) -> Result<Self, ModuleError> {
        file_kind::ensure_module(path, &bytes)?;
        let interface = interpreter::load(path, &bytes, limits)?;
        let abi = interface.abi();
        let described = interface.describe(path)?;
        let definition = Definition::from_bsatn(&described)
            .map_err(|source| ModuleError::Description { path: path.to_owned(), source })?;
        Ok(Self {
            sha256: hex(Sha256::digest(&bytes)),
            program_hash: program_hash(&bytes),
            bytes,
            abi,
            definition,
        })
    }
}

/// The name a server has for the program of these bytes: their Keccak-256, last byte first.
pub fn program_hash(bytes: &[u8]) -> String {
    format!("0x{}", hex(Keccak256::digest(bytes).into_iter().rev()))
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    let digits = bytes.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn contents(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let unreadable = |source| ModuleError::Unreadable { path: path.to_owned(), source };
    // Before it is opened: opening a pipe that nobody writes to never ends.
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        return Err(ModuleError::Directory { path: path.to_owned() });
    }
    if !about.is_file() {
        return Err(ModuleError::NotAFile { path: path.to_owned() });
    }
    let too_large = || ModuleError::TooLarge { path: path.to_owned(), size: about.len() };
    if about.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may be growing meanwhile: one byte over the limit is enough to know.
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    match u64::try_from(bytes.len()) {
        Ok(0) => Err(ModuleError::Empty { path: path.to_owned() }),
        Ok(size) if size <= LARGEST => Ok(bytes),
        _ => Err(too_large()),
    }
}
