//! The closed set of resource kinds, one file each.

pub mod archive;
pub mod certificate;
pub mod command;
pub mod directory;
pub mod file;
pub mod firewall;
pub mod http;
pub mod package;
pub mod require;
pub mod service;
pub mod symlink;
pub mod user;

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
