//! The closed set of resource kinds, one file each.

pub mod archive;
mod attributes;
pub mod certificate;
pub mod command;
pub mod directory;
pub mod file;
pub mod firewall;
pub mod http;
mod kind;
pub mod package;
pub mod require;
pub mod service;
pub mod symlink;
pub mod user;

pub(crate) use kind::{Kind, Planning, Thing};

/// One resource of one of the kinds.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named as its kind")]
pub enum Resource {
    Require(require::Require),
    Package(package::Package),
    User(user::User),
    Group(user::Group),
    Directory(directory::Directory),
    File(file::File),
    Absent(file::Absent),
    Symlink(symlink::Symlink),
    Archive(archive::Archive),
    Service(service::Service),
    Firewall(firewall::Firewall),
    Certificate(certificate::Certificate),
    Command(command::Command),
    Http(http::Http),
}

fn root() -> String {
    "root".to_owned()
}

impl Resource {
    /// The kind's own code.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Require(kind) => kind,
            Self::Package(kind) => kind,
            Self::User(kind) => kind,
            Self::Group(kind) => kind,
            Self::Directory(kind) => kind,
            Self::File(kind) => kind,
            Self::Absent(kind) => kind,
            Self::Symlink(kind) => kind,
            Self::Archive(kind) => kind,
            Self::Service(kind) => kind,
            Self::Firewall(kind) => kind,
            Self::Certificate(kind) => kind,
            Self::Command(kind) => kind,
            Self::Http(kind) => kind,
        }
    }
}
