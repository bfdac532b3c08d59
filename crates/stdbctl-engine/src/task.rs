//! A task: one resource with an id, a title and its place in the graph.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::Resource;
use crate::resource::archive::Archive;
use crate::resource::certificate::Certificate;
use crate::resource::command::Command;
use crate::resource::directory::Directory;
use crate::resource::file::{Absent, File};
use crate::resource::firewall::Firewall;
use crate::resource::http::Http;
use crate::resource::package::Package;
use crate::resource::require::Require;
use crate::resource::service::Service;
use crate::resource::symlink::Symlink;
use crate::resource::user::{Group, User};

/// A task as a playbook writes it. Exactly one of the resource fields is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// A name that is unique in the playbook: letters, digits, `-`.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Why it is done this way, where it differs from the guide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The name of a setting, or `not` and one: left out unless it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Ids of tasks that must be done before, beyond those the engine sees itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Conditions the host must meet before anything is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Require>,
    /// Packages of the distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// A user account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// A group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// A directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// A file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<File>,
    /// A path that must not be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
    /// A symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink: Option<Symlink>,
    /// An unpacked release archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// A systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The firewall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Firewall>,
    /// A certificate from an ACME CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// A command, with the condition under which it has nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// An address that must answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

/// A task is not one task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskSpecError {
    /// It has no resource.
    #[error("task `{0}` has no resource: give it exactly one of {KINDS}")]
    None(String),
    /// It has several.
    #[error("task `{id}` has {} resources ({}): give each a task of its own", kinds.len(), kinds.join(", "))]
    Several {
        /// The task.
        id: String,
        /// Which resources it names.
        kinds: Vec<&'static str>,
    },
}

pub(crate) const KINDS: &str = "require, package, user, group, directory, file, absent, symlink, archive, service, firewall, \
                     certificate, command, http";

/// One task of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Unique among the tasks of a host.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Ids of tasks that must be done before.
    pub needs: Vec<String>,
    /// Why it is left out on this host; None if it is not.
    pub skipped: Option<String>,
    /// What must be there.
    pub resource: Resource,
}

impl TaskSpec {
    /// The task this describes; `skipped` says why it is left out, if it is.
    ///
    /// # Errors
    /// If it has no resource or more than one.
    pub fn into_task(self, skipped: Option<String>) -> Result<Task, TaskSpecError> {
        let mut found: Vec<(&'static str, Resource)> = [
            self.require.map(|r| ("require", Resource::Require(r))),
            self.package.map(|r| ("package", Resource::Package(r))),
            self.user.map(|r| ("user", Resource::User(r))),
            self.group.map(|r| ("group", Resource::Group(r))),
            self.directory.map(|r| ("directory", Resource::Directory(r))),
            self.file.map(|r| ("file", Resource::File(r))),
            self.absent.map(|r| ("absent", Resource::Absent(r))),
            self.symlink.map(|r| ("symlink", Resource::Symlink(r))),
            self.archive.map(|r| ("archive", Resource::Archive(r))),
            self.service.map(|r| ("service", Resource::Service(r))),
            self.firewall.map(|r| ("firewall", Resource::Firewall(r))),
            self.certificate.map(|r| ("certificate", Resource::Certificate(r))),
            self.command.map(|r| ("command", Resource::Command(r))),
            self.http.map(|r| ("http", Resource::Http(r))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let resource = match found.len() {
            1 => found.pop().map(|(_, resource)| resource),
            0 => None,
            _ => {
                let kinds = found.into_iter().map(|(kind, _)| kind).collect();
                return Err(TaskSpecError::Several { id: self.id, kinds });
            }
        };
        let resource = resource.ok_or_else(|| TaskSpecError::None(self.id.clone()))?;
        Ok(Task { id: self.id, title: self.title, needs: self.needs, skipped, resource })
    }
}
