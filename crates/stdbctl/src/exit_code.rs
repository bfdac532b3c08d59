//! What stdbctl exits with. The numbers are an interface: scripts and CI jobs tell causes apart by them.

use stdbctl_engine::failure::Failure;
use stdbctl_playbook::publish::{Kind, PublishError};

use crate::error::is_host_key_refusal;

/// Why stdbctl exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// All that was asked is done, or there was nothing to do.
    Done = 0,
    /// A task failed on a host, or a requirement of the playbook is not met there.
    Failed = 1,
    /// The command line is wrong. Nothing was connected to.
    Usage = 2,
    /// Settings, inventory or playbook are wrong. Nothing was connected to.
    Settings = 3,
    /// A host could not be reached, logged in to, or made root on.
    Connect = 4,
    /// A host key is unknown, changed or revoked.
    HostKey = 5,
    /// The site does not serve as it should.
    Verify = 6,
    /// Another run holds the host's lock.
    Locked = 7,
    /// The host is no longer as the plan was made for.
    Stale = 8,
    /// What was changed did not stand its proof, and what was there before is back.
    RolledBack = 9,
    /// `--detailed-exitcode`: there is something to change.
    Pending = 10,
    /// Ctrl-C.
    Interrupted = 130,
}

/// Each code and its meaning, as `--help`, the man page and the README print it.
pub(crate) const MEANINGS: [(ExitCode, &str); 12] = [
    (ExitCode::Done, "done, or nothing to do"),
    (ExitCode::Failed, "a task failed, or a host lacks what the playbook requires"),
    (ExitCode::Usage, "wrong usage"),
    (ExitCode::Settings, "settings, inventory or playbook are wrong"),
    (ExitCode::Connect, "cannot connect, log in or become root"),
    (ExitCode::HostKey, "host key unknown, changed or revoked"),
    (ExitCode::Verify, "verification failed: the site does not serve as it should"),
    (ExitCode::Locked, "another run holds the host's lock"),
    (ExitCode::Stale, "the host has changed since the plan was made"),
    (ExitCode::RolledBack, "rolled back: the new module did not work, the old one is live again"),
    (ExitCode::Pending, "--detailed-exitcode: changes are pending"),
    (ExitCode::Interrupted, "interrupted"),
];

impl ExitCode {
    /// The code for one host's failure.
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Connect(error) | Failure::NotReconnected { source: error, .. }
                if is_host_key_refusal(error) =>
            {
                Self::HostKey
            }
            Failure::Connect(_)
            | Failure::Root(_)
            | Failure::Lost(_)
            | Failure::NotReconnected { .. }
            | Failure::Elsewhere
            | Failure::Unknown(_)
            | Failure::Silent(_)
            | Failure::NotRun(_) => Self::Connect,
            Failure::Locked(_) => Self::Locked,
            Failure::Stale | Failure::Unapproved(_) => Self::Stale,
            Failure::AfterLoss(failure) | Failure::Looking(failure) => Self::of(failure),
            // A failure of a kind this binary does not know yet is a failed task to a script.
            _ => Self::Failed,
        }
    }

    /// The code for a module that is not live on one host.
    pub(crate) fn of_publish(error: &PublishError) -> Self {
        match error.kind() {
            Kind::Refused => Self::Failed,
            Kind::RolledBack => Self::RolledBack,
            Kind::Stale => Self::Stale,
            Kind::Failed(failure) => Self::of(failure),
        }
    }

    /// The number.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// The table at the end of `--help`.
pub(crate) fn help_section() -> String {
    let lines = MEANINGS.map(|(code, meaning)| format!("  {:>3}  {meaning}\n", code.number()));
    format!("Exit codes:\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use stdbctl_engine::host::HostError;
    use stdbctl_playbook::publish::Consent;

    use super::*;

    #[test]
    fn every_failure_has_the_code_of_the_table() {
        let text = || "why".to_owned();
        let table = [
            (Failure::Connect(HostError::new("refused")), 4),
            (Failure::Root(HostError::new("sudo refused")), 4),
            (Failure::Lost(text()), 4),
            (Failure::NotReconnected { lost: text(), source: HostError::new("refused") }, 4),
            (Failure::Elsewhere, 4),
            (Failure::Unknown(text()), 4),
            (Failure::Looking(Box::new(Failure::Lost(text()))), 4),
            (Failure::Silent(text()), 4),
            (Failure::NotRun(HostError::new("no room")), 4),
            (Failure::Requirements(vec![text()]), 1),
            (Failure::Task { task: text(), title: text(), why: text() }, 1),
            (Failure::NotConverged(vec![text()]), 1),
            (Failure::Protocol(text()), 1),
            (Failure::Locked(text()), 7),
            (Failure::Stale, 8),
            (Failure::Unapproved(vec![text()]), 8),
            (Failure::Locked(text()).after_loss(), 7),
        ];
        for (failure, number) in table {
            assert_eq!(ExitCode::of(&failure).number(), number, "{failure:?}");
        }
    }

    #[test]
    fn so_has_every_reason_for_a_module_not_to_be_live() {
        let text = || "why".to_owned();
        let table = [
            (PublishError::Unknown(text()), 1),
            (PublishError::Consent(Consent::BreakClients(text())), 1),
            (PublishError::RolledBack { why: text(), how: text(), log: Vec::new() }, 9),
            (PublishError::Stuck { why: text(), how: text(), log: Vec::new() }, 1),
            (Failure::Stale.into(), 8),
            (Failure::Locked(text()).into(), 7),
            (Failure::Connect(HostError::new("refused")).into(), 4),
        ];
        for (error, number) in table {
            assert_eq!(ExitCode::of_publish(&error).number(), number, "{error:?}");
        }
    }

    #[test]
    fn a_refused_host_key_is_told_from_a_connection_that_failed() {
        let refused = |error: stdbctl_ssh::ConnectError| {
            let source: crate::error::Cause = Box::new(error);
            let failure =
                Failure::Connect(HostError { source: Some(source), ..HostError::new("cannot connect") });
            ExitCode::of(&failure).number()
        };
        let changed = stdbctl_ssh::HostKeyError::Changed {
            host: "example.com".to_owned(),
            offered: "SHA256:a".to_owned(),
            recorded: "SHA256:b".to_owned(),
            file: "known_hosts".into(),
            line: 1,
        };
        assert_eq!(refused(changed.into()), 5);
        assert_eq!(refused(stdbctl_ssh::ConnectError::NoUser { host: "example.com".to_owned() }), 4);
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../../../README.md");
        for (code, meaning) in MEANINGS {
            let row = format!("| {} | {meaning} |", code.number());
            assert!(readme.contains(&row), "README.md has no row `{row}`");
        }
    }
}
