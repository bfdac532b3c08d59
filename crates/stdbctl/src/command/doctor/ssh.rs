//! `stdbctl doctor ssh`: the way to hosts, walked step by step.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stdbctl_engine::event::RunStats;
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::{HostError, Stats};
use stdbctl_ssh::{ConnectOptions, Hops, Observation, Observer, Route, Session, UnknownKey};

use super::legs;
use super::session::{self, Trouble};
use super::view::Seen;
use crate::cli::{DoctorSshArgs, Format};
use crate::console::{Console, written};
use crate::error::{CliError, FailedHost, connect_error, in_one_line, of_hosts};
use crate::exit_code::ExitCode;
use crate::host::{self, Password, Place, Shell};
use crate::report::doctor::{Failed, Leg, Walk, write_document, write_walk};
use crate::report::{Writer, bars};
use crate::site::{Site, places};

/// How long a login shell may take to start.
const LONGEST_START: Duration = Duration::from_secs(30);

/// What is the same for all hosts.
struct Tour<'a> {
    args: &'a DoctorSshArgs,
    console: &'a Console,
}

/// How the way to one host was.
struct Walked {
    walk: Walk,
    kind: ExitCode,
    cost: Option<Stats>,
}

pub(super) async fn run(args: DoctorSshArgs, console: &Console) -> Result<ExitCode, CliError> {
    let site = Site::load(&args.site, None)?;
    let places = places(&site, &args.ssh, &args.resolve, console).await?;
    let started = Instant::now();
    let mut stats = RunStats::default();
    let mut walked = Vec::new();
    let tour = Tour { args: &args, console };
    let mut out = Writer::stdout();
    let width = out.width();
    for (name, options, password) in remote(places)? {
        let one = tour.walk(name, options, password).await;
        written(write_walk(&mut out, &one.walk, console.format, width))?;
        stats.add(one.cost.unwrap_or_default());
        walked.push(one);
    }
    let kinds: Vec<_> = walked.iter().map(|one| one.kind).collect();
    let walks: Vec<_> = walked.into_iter().map(|one| one.walk).collect();
    if console.format == Format::Json {
        written(write_document(&mut out, &walks))?;
    }
    stats.seconds = started.elapsed().as_secs_f64();
    console.show_cost(&stats);
    error(&walks, &kinds).map_or(Ok(ExitCode::Done), Err)
}

/// Those that there is SSH to; no host is walked to if there is another place among them.
fn remote(places: Vec<(String, Place)>) -> Result<Vec<(String, ConnectOptions, Password)>, CliError> {
    let places = places.into_iter().map(|(name, place)| match place {
        Place::Remote(options, password) => Ok((name, *options, password)),
        Place::Local(_) => Err(CliError::usage("there is no SSH to this machine")
            .hint("name other hosts with --host or --limit")),
    });
    places.collect()
}

/// The hints have been shown where they belong.
fn error(walks: &[Walk], kinds: &[ExitCode]) -> Option<CliError> {
    let failed = walks.iter().zip(kinds).filter_map(|(walk, &kind)| {
        let cause = walk.failed.as_ref()?.cause.clone();
        Some(FailedHost { host: &walk.host, kind, cause, hints: Vec::new() })
    });
    of_hosts(walks.len(), failed.collect())
}

impl Tour<'_> {
    async fn walk(&self, name: String, mut options: ConnectOptions, password: Password) -> Walked {
        let console = self.console;
        let waiting =
            console.is_live().then(|| bars::spinner(&console.screen, format!("{name}: on the way")));
        let seen = observe(&mut options, self.args.ssh.accept_new);
        let started = Instant::now();
        let connected = host::open(options.clone()).await;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Found { legs, failed, kind, cost } = match connected {
            Ok(session) => self.look(&name, &options, &seen, session, password).await,
            Err(error) => self.refused(&options, &seen, error),
        };
        // It clears itself away.
        drop(waiting);
        let (ok, seconds) = (failed.is_none(), started.elapsed().as_secs_f64());
        let round_trips = cost.map(|cost| cost.round_trips);
        Walked { walk: Walk { host: name, ok, failed, legs, round_trips, seconds }, kind, cost }
    }

    /// What there is behind the login.
    async fn look(
        &self,
        name: &str,
        options: &ConnectOptions,
        seen: &[Seen],
        session: Session,
        password: Password,
    ) -> Found {
        let Self { args, console } = self;
        let password = password.filter(|_| args.ssh.sudo_password_file.is_some());
        let session = Arc::new(session);
        let shell = Shell { host: name, session: Arc::clone(&session) };
        // The channel may take the first part of it.
        let patience = options.connect_timeout + LONGEST_START;
        let inside = session::look(&shell, password, console.can_ask(), patience).await;
        drop(shell);
        let cost = host::stats(&session);
        if let Some(session) = Arc::into_inner(session) {
            session.close().await;
        }
        let mut legs = legs::walked(options, seen, None, args.ssh.ssh_config.as_deref());
        if let Some(last) = legs.last_mut() {
            last.steps.extend(inside.steps);
        }
        let kind = if inside.trouble.is_some() { ExitCode::Connect } else { ExitCode::Done };
        let failed = inside.trouble.map(|Trouble { step, cause, hints }| {
            let host = options.target.host.clone();
            Failed { step, host, cause, hints }
        });
        Found { legs, failed, kind, cost: Some(cost) }
    }

    /// A way that leads nowhere.
    fn refused(&self, options: &ConnectOptions, seen: &[Seen], error: HostError) -> Found {
        let config = self.args.ssh.ssh_config.as_deref();
        let mut legs = legs::walked(options, seen, connect_error(&error), config);
        if let Some(last) = legs.last_mut() {
            last.steps.extend(session::not_reached());
        }
        let cause = connect_error(&error).map_or_else(|| in_one_line(&error), |error| in_one_line(error));
        let failed = legs::failure(&legs, cause, &error.hints);
        Found { legs, failed: Some(failed), kind: ExitCode::of(&Failure::Connect(error)), cost: None }
    }
}

/// What there was on one way.
struct Found {
    legs: Vec<Leg>,
    failed: Option<Failed>,
    kind: ExitCode,
    /// Not known where there was no login.
    cost: Option<Stats>,
}

/// When the present step began.
struct Clock(Instant);

impl Clock {
    /// How long the step took that ends with this. A pause after it is no part of the next one.
    fn lap(&mut self, what: &Observation, now: Instant) -> Duration {
        let took = now.saturating_duration_since(self.0);
        self.0 = match what {
            Observation::TurnedAway { pause, .. } => now + *pause,
            _ => now,
        };
        took
    }
}

/// Looks on at every leg. Each host is walked to for itself: none goes through a connection that is there already,
/// and nothing is recorded but a host key that a person or the flag has accepted.
fn observe(options: &mut ConnectOptions, accept_new: bool) -> Arc<Mutex<Vec<Seen>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hops = Hops::default();
    let clock = Arc::new(Mutex::new(Clock(Instant::now())));
    let (mut leg, mut distance) = (Some(options), 0);
    while let Some(options) = leg {
        let (list, clock) = (Arc::clone(&seen), Arc::clone(&clock));
        options.hops = hops.clone();
        (options.recording.follow_changes, options.learns_key) = (false, false);
        if matches!(options.unknown_key, UnknownKey::AcceptNew) && !accept_new {
            options.unknown_key = UnknownKey::Refuse;
        }
        options.observer = Observer::new(move |what| {
            let took = clock.lock().unwrap_or_else(PoisonError::into_inner).lap(&what, Instant::now());
            list.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { distance, took, what });
        });
        distance += 1;
        leg = match &mut options.route {
            Route::Through(hop) => Some(&mut **hop),
            Route::Direct | Route::Command(_) => None,
        };
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recorded_on_any_leg_unless_the_flag_says_so() {
        for accept_new in [false, true] {
            let new = |name: &str| {
                let mut options = ConnectOptions::new(name.parse().unwrap());
                options.recording.follow_changes = true;
                options.unknown_key = UnknownKey::AcceptNew;
                options
            };
            let mut web = new("web1");
            web.route = Route::Through(Box::new(new("bastion")));
            observe(&mut web, accept_new);
            let Route::Through(bastion) = &web.route else { panic!("{web:?}") };
            for leg in [&web, &**bastion] {
                assert!(!leg.learns_key && !leg.recording.follow_changes);
                assert_eq!(matches!(leg.unknown_key, UnknownKey::AcceptNew), accept_new);
            }
        }
    }

    #[test]
    fn a_pause_before_another_try_is_no_part_of_a_step() {
        let start = Instant::now();
        let mut clock = Clock(start);
        let mut lap = |what: Observation, milliseconds| {
            clock.lap(&what, start + Duration::from_millis(milliseconds)).as_millis()
        };
        let connected = || Observation::Connected { address: None };
        let (why, pause) = ("too busy".to_owned(), Duration::from_millis(200));
        let took = [
            lap(connected(), 10),
            lap(Observation::TurnedAway { why, pause }, 15),
            lap(connected(), 215 + 12),
            lap(Observation::Identified { words: "SSH-2.0-x".to_owned() }, 230),
        ];
        assert_eq!(took, [10, 5, 12, 3]);
    }

    #[test]
    fn this_machine_is_refused_before_any_host_is_walked_to() {
        let web = || Place::Remote(Box::new(ConnectOptions::new("web1".parse().unwrap())), None);
        let named = |place: Place| ("web1".to_owned(), place);
        assert_eq!(remote(vec![named(web())]).unwrap().len(), 1);
        assert!(remote(vec![named(web()), named(Place::Local(None))]).is_err());
    }
}
