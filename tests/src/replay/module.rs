//! The modules that were published while the answers were recorded, and what a server makes of one after another.

use std::path::PathBuf;

use sha3::{Digest as _, Keccak256};

use crate::lab::checkout;
use crate::replay::identity::Identity;

/// A demo module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Tables `person` and `secret`, reducers `init` and `add`.
    V1,
    /// The same with a table `score`.
    V2,
    /// V1 with another column in `person`.
    V3,
    /// V1 without the reducer `add`.
    V4,
    /// V1 whose `init` panics.
    V5,
}

/// What a server says to one module over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the same.
    Unchanged,
    /// Nothing that the server would report.
    Unseen,
    /// A table is added.
    Compatible,
    /// A table is removed.
    Breaking,
    /// A column is added.
    Manual,
}

impl Module {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::V1, Self::V2, Self::V3, Self::V4, Self::V5];

    /// Its file.
    pub fn path(self) -> PathBuf {
        let name = match self {
            Self::V1 => "demo_v1",
            Self::V2 => "demo_v2_addtable",
            Self::V3 => "demo_v3_addcolumn",
            Self::V4 => "demo_v4_noreducer",
            Self::V5 => "demo_v5_initpanic",
        };
        checkout().join("tests/fixtures/modules").join(format!("{name}.wasm"))
    }

    /// What its file holds.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn bytes(self) -> Vec<u8> {
        let path = self.path();
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The module with this content.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.bytes() == bytes)
    }

    /// How the server calls it in `st_module`: the Keccak hash as one number, in hex with `0x`.
    pub fn program_hash(self) -> String {
        as_number(&Keccak256::digest(self.bytes()))
    }

    /// The names of its tables.
    pub(super) fn tables(self) -> impl Iterator<Item = &'static str> {
        let score = (self == Self::V2).then_some("score");
        ["person", "secret"].into_iter().chain(score)
    }

    /// What the server says to `next` over this. None if no server has been recorded with the two.
    pub(super) fn step_to(self, next: Self) -> Option<Step> {
        match (self, next) {
            (Self::V5, _) | (_, Self::V5) => None,
            _ if self == next => Some(Step::Unchanged),
            (Self::V1, Self::V4) | (Self::V4, Self::V1) => Some(Step::Unseen),
            (Self::V1 | Self::V4, Self::V2) => Some(Step::Compatible),
            (Self::V2, Self::V1 | Self::V4) => Some(Step::Breaking),
            (Self::V1 | Self::V2 | Self::V4, Self::V3) => Some(Step::Manual),
            _ => None,
        }
    }

    /// The token of the server's preview of `next` over this, for one database.
    pub fn token_to(self, next: Self, database: Identity) -> String {
        let hash = |module: Self| hex(&Keccak256::digest(module.bytes()));
        as_number(&Keccak256::digest(format!("{database}{}{}", hash(self), hash(next))))
    }
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Little-endian bytes as a number.
fn as_number(bytes: &[u8]) -> String {
    format!("0x{}", hex(&bytes.iter().rev().copied().collect::<Vec<_>>()))
}
