//! What a module is made of: its tables, functions and types, as it says itself or as the server says of the one
//! that runs.
//!
//! The two sources write different things: a module names its indexes and tables as its source does, a server
//! answers with the names it has derived from them. Both are read into the same [`Definition`], everything in the
//! order of the names, so that equal modules give equal definitions.

mod bsatn;
mod layout;
mod names;
mod raw;
mod reading;
mod references;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::bsatn::BsatnError;
pub(crate) use self::layout::Layout;
pub use self::types::{Member, Members, Plain, Type};

/// The tables, functions and types of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// The tables, by name.
    pub tables: Vec<Table>,
    /// The reducers, by name.
    pub reducers: Vec<Reducer>,
    /// The procedures (2.x), by name.
    pub procedures: Vec<Procedure>,
    /// The views (2.x), by name.
    pub views: Vec<View>,
    /// The HTTP routes (2.x), by path and method.
    pub routes: Vec<Route>,
    /// The types that clients know by a name.
    pub types: Vec<NamedType>,
    /// The SQL of the row-level security rules, sorted.
    pub row_level_security: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name in the database and in SQL.
    pub name: String,
    /// Who may see it.
    pub access: Access,
    /// Whether it belongs to the system, which tables of modules hardly ever do.
    pub system: bool,
    /// Whether its rows live for one transaction only (2.x).
    pub event: bool,
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The column that is the primary key.
    pub primary_key: Option<String>,
    /// The unique constraints, by name.
    pub unique: Vec<Unique>,
    /// The indexes, by name.
    pub indexes: Vec<Index>,
    /// The sequences of `auto_inc` columns, by name.
    pub sequences: Vec<Sequence>,
    /// What is called when a row's time has come.
    pub schedule: Option<Schedule>,
}

/// Who may see a table or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Every client.
    Public,
    /// The module and the database's owner.
    Private,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether rows that lack it can be given a value (2.x).
    pub has_default: bool,
}

/// A unique constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unique {
    /// Its name.
    pub name: String,
    /// The columns that are unique together, in the table's order.
    pub columns: Vec<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its name in the database.
    pub name: String,
    /// Its name in the generated code of clients.
    pub accessor: Option<String>,
    /// `btree`, `hash` or `direct`.
    pub algorithm: &'static str,
    /// The columns, in the index's order.
    pub columns: Vec<String>,
}

/// What numbers an `auto_inc` column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// The column.
    pub column: String,
    /// The first number, unless it is the usual one.
    pub start: Option<i128>,
    /// The smallest number, unless it is the usual one.
    pub min: Option<i128>,
    /// The largest number, unless it is the usual one.
    pub max: Option<i128>,
    /// From one number to the next.
    pub increment: i128,
}

/// What is called when the time in a row has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// The reducer or procedure.
    pub function: String,
    /// The column with the time.
    pub column: String,
}

/// A reducer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reducer {
    /// Its name.
    pub name: String,
    /// What it takes, in order.
    pub params: Vec<Param>,
    /// When the server calls it by itself.
    pub lifecycle: Option<Lifecycle>,
    /// Whether it is there for clients: neither private, nor the server's own, nor called by a schedule.
    pub callable: bool,
}

/// When the server calls a reducer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Once, when the database is made.
    Init,
    /// When a client connects.
    ClientConnected,
    /// When a client is gone.
    ClientDisconnected,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

/// A procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Procedure {
    /// Its name.
    pub name: String,
    /// What it takes, in order.
    pub params: Vec<Param>,
    /// What it gives back.
    pub returns: Type,
    /// Whether clients may call it.
    pub callable: bool,
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Who may see it.
    pub access: Access,
    /// Whether it is the same for everybody who asks.
    pub anonymous: bool,
    /// What it takes, in order.
    pub params: Vec<Param>,
    /// What it gives back.
    pub returns: Type,
}

/// An HTTP route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// Its path below the database's own.
    pub path: String,
    /// The method, `ANY` for all of them.
    pub method: String,
    /// What answers.
    pub handler: String,
}

/// A type with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedType {
    /// Its name, with its scopes before it.
    pub name: String,
    /// What it is, its own parts spelled out.
    pub definition: String,
}

/// Why a description says nothing.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The oldest form there is, of before 1.0.
    #[error("it describes itself in the way of before 1.0")]
    TooOld,

    /// A form that came after this was written.
    #[error("it describes itself in a way that is not known here (number {0})")]
    Unknown(u8),

    /// The bytes are not what that form looks like.
    #[error("its description cannot be read")]
    Bsatn(#[source] BsatnError),

    /// The server's answer is not what a schema looks like.
    #[error("the server's schema cannot be read")]
    Json(#[source] serde_json::Error),

    /// It refers to something that is not there.
    #[error("its description is broken: {0}")]
    Broken(String),

    /// Following its types does not come to an end in reasonable time.
    #[error("its types are too large to be looked at")]
    TooLarge,
}

impl Definition {
    /// Reads what a module says of itself: a `RawModuleDef` in BSATN.
    ///
    /// Names are derived as a server does: those of indexes, constraints and sequences, and in descriptions of
    /// version 10 the case of all of them.
    pub fn from_bsatn(bytes: &[u8]) -> Result<Self, SchemaError> {
        let Some((form, body)) = bytes.split_first() else {
            return Err(SchemaError::Broken("it is empty".to_owned()));
        };
        match form {
            0 => Err(SchemaError::TooOld),
            1 => reading::version_9(bsatn::read(body).map_err(SchemaError::Bsatn)?),
            2 => reading::version_10(bsatn::read(body).map_err(SchemaError::Bsatn)?, reading::From::Module),
            other => Err(SchemaError::Unknown(*other)),
        }
    }

    /// Reads the answer to `GET /v1/database/NAME/schema`, of version 9 or 10: which of the two shows by itself.
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        let mut answer: Value = serde_json::from_str(text).map_err(SchemaError::Json)?;
        if answer.get("sections").is_none() {
            return reading::version_9(understood(answer)?);
        }
        drop_unknown_sections(&mut answer);
        reading::version_10(understood(answer)?, reading::From::Server)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The reducer of this name.
    pub fn reducer(&self, name: &str) -> Option<&Reducer> {
        self.reducers.iter().find(|reducer| reducer.name == name)
    }
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

fn understood<T: DeserializeOwned>(answer: Value) -> Result<T, SchemaError> {
    serde_json::from_value(answer).map_err(SchemaError::Json)
}

/// A newer server may say more than is known here: what it says besides is still true.
fn drop_unknown_sections(module: &mut Value) {
    let Some(sections) = module.get_mut("sections").and_then(Value::as_array_mut) else { return };
    sections.retain(|section| raw::SECTIONS.iter().any(|known| section.get(known).is_some()));
    let submodules = sections
        .iter_mut()
        .filter_map(|section| section.get_mut("Submodules").and_then(Value::as_array_mut))
        .flatten()
        .filter_map(|submodule| submodule.get_mut("module"));
    submodules.for_each(drop_unknown_sections);
}
