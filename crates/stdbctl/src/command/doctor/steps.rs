//! The steps of one leg: which were made, at which it ended, and which were not reached.

use std::time::Duration;

use stdbctl_ssh::{ConnectError, Route, Step as Stage};

use super::view::View;
use super::wording::{agreed, judged, keys, login, milliseconds, trusted};
use crate::error::in_one_line;
use crate::report::doctor::{Leg, Outcome, Step};
use crate::report::style::{count, duration};

const KEYS: &str = "keys";
pub(super) const ADDRESS: &str = "address";
const BANNER: &str = "banner";
const KEY_EXCHANGE: &str = "key exchange";
const HOST_KEY: &str = "host key";
const LOGIN: &str = "login";

/// A step that did not fail; none if it was not reached.
type Made = fn(&View<'_>, &Leg, &'static str) -> Option<Step>;

/// All of them, in order.
pub(super) fn of(view: &View<'_>, leg: &Leg) -> Vec<Step> {
    let way = way(view);
    let mut steps: Vec<(&'static str, Made)> = vec![
        (KEYS, looked_for_keys),
        (ADDRESS, looked_up),
        (way, connected),
        (BANNER, greeted),
        (KEY_EXCHANGE, exchanged_keys),
        (HOST_KEY, recognised),
        (LOGIN, logged_in),
    ];
    // Nobody here looks up the name of what something else connects to.
    steps.retain(|(name, _)| *name != ADDRESS || matches!(view.options.route, Route::Direct));
    let failed = view.error.map(|error| (failed_at(view, error, way), error));
    let mut is_over = false;
    let step = |(name, made): (&'static str, Made)| {
        if let Some((_, error)) = failed.filter(|(at, _)| *at == name) {
            is_over = true;
            return failure(name, leg, error);
        }
        let made = if is_over { None } else { made(view, leg, name) };
        made.unwrap_or_else(|| unreached(name))
    };
    steps.into_iter().map(step).collect()
}

/// One that was not made.
pub(super) fn unreached(name: &'static str) -> Step {
    Step::new(name, Outcome::NotReached, vec!["not reached".to_owned()])
}

/// What the step is called that opens the way.
fn way(view: &View<'_>) -> &'static str {
    match view.options.route {
        Route::Direct => "tcp",
        Route::Through(_) => "forward",
        Route::Command(_) => "command",
    }
}

fn failed_at(view: &View<'_>, error: &ConnectError, way: &'static str) -> &'static str {
    // What it says is no banner of the host's.
    if matches!(error, ConnectError::ProxyCommand { .. }) && view.server().is_none() {
        return way;
    }
    match error.step() {
        Stage::Resolve => ADDRESS,
        Stage::Tcp => way,
        Stage::Banner => BANNER,
        Stage::KeyExchange => KEY_EXCHANGE,
        Stage::HostKey => HOST_KEY,
        Stage::Authentication | Stage::Channel if view.connected().is_some() => LOGIN,
        Stage::Authentication | Stage::Channel => KEYS,
    }
}

fn failure(name: &'static str, leg: &Leg, error: &ConnectError) -> Step {
    let mut details = match name {
        LOGIN => login(leg),
        KEYS => keys(leg),
        _ => Vec::new(),
    };
    match error {
        // Who was refused, and what, has just been said.
        ConnectError::AuthRefused { skipped, .. } if !details.is_empty() => {
            details.extend(skipped.iter().filter(|why| !leg.skipped.contains(why)).cloned());
        }
        _ => details.insert(0, in_one_line(error)),
    }
    Step::new(name, Outcome::Failed, details)
}

fn ok(name: &'static str, details: Vec<String>) -> Step {
    Step::new(name, Outcome::Ok, details)
}

fn timed(name: &'static str, details: Vec<String>, took: Duration) -> Step {
    Step { seconds: Some(took.as_secs_f64()), ..ok(name, details) }
}

fn looked_for_keys(view: &View<'_>, leg: &Leg, name: &'static str) -> Option<Step> {
    view.identities().map(|_| ok(name, keys(leg)))
}

fn looked_up(view: &View<'_>, _: &Leg, name: &'static str) -> Option<Step> {
    let (addresses, took) = view.addresses()?;
    Some(timed(name, vec![format!("{}{}", addresses.join(", "), milliseconds(took))], took))
}

fn connected(view: &View<'_>, _: &Leg, name: &'static str) -> Option<Step> {
    let (told, took) = view.connected()?;
    let mut step = timed(name, vec![format!("{told}{}", milliseconds(took))], took);
    if let Some((why, _)) = view.turned_away.last() {
        let pauses: Duration = view.turned_away.iter().map(|(_, pause)| *pause).sum();
        let (times, waited) = (count(view.turned_away.len(), "time"), duration(pauses.as_secs_f64()));
        step.result = Outcome::Note;
        step.details.push(format!("turned away {times}, tried again after {waited}: {why}"));
    }
    Some(step)
}

fn greeted(view: &View<'_>, _: &Leg, name: &'static str) -> Option<Step> {
    let (words, took) = view.server()?;
    Some(timed(name, vec![words], took))
}

fn exchanged_keys(view: &View<'_>, leg: &Leg, name: &'static str) -> Option<Step> {
    if let Some(algorithms) = &leg.algorithms {
        return Some(Step::new(name, judged(algorithms), agreed(algorithms)));
    }
    // The server shows and proves its key before the exchange is complete.
    let is_refused = view.error.is_some_and(|error| error.step() == Stage::HostKey);
    view.server().filter(|_| is_refused)?;
    Some(ok(name, vec!["as far as the host key, which comes before its end".to_owned()]))
}

fn recognised(_: &View<'_>, leg: &Leg, name: &'static str) -> Option<Step> {
    Some(ok(name, trusted(leg.host_key.as_ref()?)))
}

fn logged_in(view: &View<'_>, leg: &Leg, name: &'static str) -> Option<Step> {
    let stats = view.logged_in()?;
    let trips = count(usize::try_from(stats.round_trips).unwrap_or(usize::MAX), "round trip");
    let so_far: Duration = view.seen.iter().map(|seen| seen.took).sum();
    let cost = format!("{trips} and {} ms so far", so_far.as_millis());
    Some(ok(name, [login(leg), vec![cost]].concat()))
}
