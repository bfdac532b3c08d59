//! Who says whether it is published, and what they must do to say so.

use stdbctl_playbook::publish::{Consent, Operation, Preview};

use super::hosts::HostReport;
use crate::cli::{Format, PublishArgs};
use crate::console::Console;
use crate::error::CliError;
use crate::report::preview;
use crate::report::style::count;
use crate::run::{Asked, Asker};

/// Who says whether it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approval {
    /// It has been said: `--yes`, or nothing is published.
    Given,
    /// The operator, once they have seen what it would do.
    Asked,
}

impl Approval {
    /// Nothing is connected to if in the end nobody could say yes.
    ///
    /// # Errors
    /// If so.
    pub(super) fn of(args: &PublishArgs, console: &Console) -> Result<Self, CliError> {
        if args.yes || args.plan {
            return Ok(Self::Given);
        }
        if console.can_ask() {
            return Ok(Self::Asked);
        }
        Err(CliError::usage("there is nobody to ask whether to publish")
            .hint("--yes publishes without asking; --plan shows what it would change"))
    }

    /// Shows what would be done, and asks where somebody is to be asked.
    pub(super) async fn seek(self, hosts: &[HostReport], console: &Console, asker: &Asker) -> bool {
        let text = shown(hosts, console, self);
        let pending: Vec<_> = hosts.iter().filter(|host| host.is_pending()).collect();
        if self == Self::Asked && !pending.is_empty() {
            return asker.ask(text, asked(&pending)).await;
        }
        if !text.is_empty() {
            asker.show(text).await;
        }
        true
    }
}

/// The previews of the hosts on which anything would change. Of the others the result tells.
fn shown(hosts: &[HostReport], console: &Console, approval: Approval) -> String {
    let previews = hosts.iter().filter_map(HostReport::preview);
    let changing = previews.filter(|preview| !preview::is_unchanged(preview));
    match console.format {
        Format::Json => String::new(),
        Format::Github => changing.map(preview::folded).collect(),
        Format::Human if console.quiet && approval == Approval::Given => String::new(),
        Format::Human => changing.map(preview::text).collect::<Vec<_>>().join("\n"),
    }
}

/// The question that fits what would be done. What cannot be undone takes more than a key.
fn asked(pending: &[&HostReport]) -> Asked {
    let previews: Vec<&Preview> = pending.iter().filter_map(|host| host.preview()).collect();
    let hosts = match pending {
        [one] => one.name.clone(),
        several => count(several.len(), "host"),
    };
    let name = previews.first().map(|preview| preview.database.clone()).unwrap_or_default();
    let consents: Vec<Consent> = previews.iter().flat_map(|preview| preview.consents()).collect();
    question(&name, &hosts, &consents, previews.iter().any(|preview| is_rollback(preview)))
}

fn is_rollback(preview: &Preview) -> bool {
    matches!(preview.operation, Operation::Rollback | Operation::Restore)
}

fn question(name: &str, hosts: &str, consents: &[Consent], back: bool) -> Asked {
    let is = |wanted: fn(&Consent) -> bool| consents.iter().any(wanted);
    let breaks = is(|consent| matches!(consent, Consent::BreakClients(_))).then_some("break clients");
    let deletes = is(|consent| matches!(consent, Consent::DeleteData(_))).then_some("delete its data");
    let restores = is(|consent| matches!(consent, Consent::RestoreData(_))).then_some("lose newer data");
    let harm: Vec<_> = [breaks, deletes, restores].into_iter().flatten().collect();
    if harm.is_empty() {
        let verb = if back { "Roll back" } else { "Publish" };
        return Asked::Confirm(format!("{verb} {name} on {hosts}?"));
    }
    let question = format!("Type `{name}` to {} on {hosts}", harm.join(" and "));
    Asked::Name { question, name: name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why() -> String {
        "why".to_owned()
    }

    #[test]
    fn what_can_be_undone_takes_a_yes() {
        let asked = |back| question("game", "web1", &[], back);
        assert_eq!(asked(false), Asked::Confirm("Publish game on web1?".to_owned()));
        assert_eq!(asked(true), Asked::Confirm("Roll back game on web1?".to_owned()));
    }

    #[test]
    fn what_cannot_takes_the_name_typed_once() {
        let consents =
            [Consent::DeleteData(why()), Consent::BreakClients(why()), Consent::BreakClients(why())];
        let asked = question("game", "2 hosts", &consents, false);
        let text = "Type `game` to break clients and delete its data on 2 hosts".to_owned();
        assert_eq!(asked, Asked::Name { question: text, name: "game".to_owned() });
        let asked = question("game", "web1", &[Consent::RestoreData(why())], true);
        let text = "Type `game` to lose newer data on web1".to_owned();
        assert_eq!(asked, Asked::Name { question: text, name: "game".to_owned() });
    }
}
