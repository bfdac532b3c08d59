//! The legs of the way to a host, as they were walked.

use std::path::Path;

use stdbctl_ssh::{ConnectError, ConnectOptions, Route};

use super::steps::{self, ADDRESS};
use super::view::{Seen, View};
use super::wording::{configuration, known_hosts, proxy_command};
use crate::report::doctor::{Failed, Leg, Outcome};

/// The legs to a host, the nearest first. `config` is the flag for another SSH configuration.
pub(super) fn walked(
    options: &ConnectOptions,
    seen: &[Seen],
    error: Option<&ConnectError>,
    config: Option<&Path>,
) -> Vec<Leg> {
    let mut legs = Vec::new();
    let (mut next, mut error) = (Some(options), error);
    while let Some(options) = next {
        // The error of a host on the way is that host's, and nothing was seen of those behind it.
        let (own, of_hop) = match error {
            Some(ConnectError::Hop { source, .. }) => (None, Some(&**source)),
            own => (own, None),
        };
        let view = View::new(options, seen, legs.len(), own);
        legs.push(leg(&view, config));
        error = of_hop;
        next = match &options.route {
            Route::Through(hop) => Some(hop),
            Route::Direct | Route::Command(_) => None,
        };
    }
    legs.reverse();
    legs
}

/// Where it ended, told once: what the steps say is no hint.
pub(super) fn failure(legs: &[Leg], cause: String, hints: &[String]) -> Failed {
    let failed = legs.iter().find_map(|leg| {
        let step = leg.steps.iter().find(|step| step.result == Outcome::Failed)?;
        Some((leg, step))
    });
    let is_told = |hint: &&String| {
        failed.is_some_and(|(leg, step)| leg.skipped.contains(hint) || step.details.contains(hint))
    };
    Failed {
        step: failed.map_or(ADDRESS, |(_, step)| step.name),
        host: failed.map(|(leg, _)| leg.host.clone()).unwrap_or_default(),
        cause,
        hints: hints.iter().filter(|hint| !is_told(hint)).cloned().collect(),
    }
}

fn leg(view: &View<'_>, config: Option<&Path>) -> Leg {
    let options = view.options;
    let (keys, skipped) = view.identities().unwrap_or_default();
    let address = options.address.map(|address| address.to_string());
    let host_name = address.or_else(|| options.host_name.clone());
    let mut leg = Leg {
        host: options.target.host.clone(),
        user: options.target.user.clone().or_else(|| options.user.clone()),
        host_name: host_name.unwrap_or_else(|| options.target.host.clone()),
        port: options.target.port(),
        through: match &options.route {
            Route::Direct => None,
            Route::Through(hop) => Some(hop.target.host.clone()),
            Route::Command(line) => Some(proxy_command(line)),
        },
        configuration: configuration(options, config),
        known_hosts: known_hosts(options),
        agent: options.agent_socket.as_ref().map(|socket| socket.display().to_string()),
        keys: keys.to_vec(),
        skipped: skipped.to_vec(),
        server: view.server().map(|(words, _)| words),
        algorithms: view.algorithms(),
        host_key: view.host_key(),
        answers: view.answers(),
        steps: Vec::new(),
    };
    leg.steps = steps::of(view, &leg);
    leg
}

#[cfg(test)]
#[path = "legs_tests.rs"]
mod tests;
