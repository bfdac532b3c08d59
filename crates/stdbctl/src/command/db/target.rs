//! Which database of which host a command is about, and how its result is shown.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use dialoguer::console::Term;
use serde::Serialize;
use stdbctl_engine::dialogue::Changing;
use stdbctl_engine::event::RunStats;
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Host;
use stdbctl_playbook::database::{DatabaseError, Named};
use stdbctl_playbook::settings::Settings;

use crate::cli::{Format, OneArgs};
use crate::console::{Console, written};
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::report::{github, json, screen};
use crate::site::{self, Site, SiteHost};

/// One database on one host that is connected to.
pub(super) struct Target {
    host: Arc<dyn Host>,
    host_name: String,
    settings: Settings,
    pub(super) name: String,
    operator: String,
    started: Instant,
}

impl Target {
    /// Connects.
    ///
    /// # Errors
    /// If there is not exactly one host, or it cannot be reached.
    pub(super) async fn connect(args: &OneArgs, console: &Console) -> Result<Self, CliError> {
        let site = Site::load(&args.site, None)?;
        let SiteHost { name: host_name, settings, .. } = only(&site)?;
        let place = site::places(&site, &args.ssh, &[], console).await?.pop().map(|(_, place)| place);
        let place = place.ok_or_else(|| CliError::usage("there is no host"))?;
        let started = Instant::now();
        let host = place.connect(host_name.clone()).await;
        let host = host.map_err(|error| failed(host_name, Failure::Connect(error).into()))?;
        Ok(Self {
            host,
            host_name: host_name.clone(),
            settings: settings.clone(),
            name: args.name.as_str().to_owned(),
            operator: operator(),
            started,
        })
    }

    /// The database.
    pub(super) fn database(&self) -> Named<'_> {
        Named { host: &*self.host, settings: &self.settings, name: &self.name }
    }

    /// The host's name, as the operator gave it.
    pub(super) fn host_name(&self) -> &str {
        &self.host_name
    }

    /// Who changes something, for whoever finds the host locked.
    pub(super) fn changing(&self, verb: &'static str) -> Changing<'_> {
        Changing { operator: &self.operator, verb }
    }

    /// What ends the command, of what ended the database's part of it.
    pub(super) fn failed(&self, error: DatabaseError) -> CliError {
        failed(&self.host_name, error)
    }

    /// Says what all this has cost, if that was asked for.
    pub(super) fn show_cost(&self, console: &Console) {
        let mut stats = RunStats { seconds: self.started.elapsed().as_secs_f64(), ..RunStats::default() };
        stats.add(self.host.stats());
        console.show_cost(&stats);
    }

    /// Shows the result, and what it has cost.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn show(
        &self,
        console: &Console,
        document: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<ExitCode, CliError> {
        show(console, document, text)?;
        self.show_cost(console);
        Ok(ExitCode::Done)
    }
}

/// Shows a result: the document to programs, the text to people.
///
/// # Errors
/// If it cannot be written.
pub(super) fn show(
    console: &Console,
    document: &impl Serialize,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CliError> {
    let mut out = anstream::stdout();
    written(match console.format {
        Format::Json => json::document(&mut out, document),
        Format::Human => text(&mut out),
        Format::Github => text(&mut github::Inert::new(&mut out)),
    })
}

/// How wide a table may be: nobody cuts what goes into a pipe.
pub(super) fn width() -> Option<usize> {
    let stdout = Term::stdout();
    stdout.is_term().then(|| screen::width(&stdout).unwrap_or(80))
}

/// Who runs this and where.
pub(super) fn operator() -> String {
    site::options("db", true, &[]).operator
}

/// What ends the command on a host.
pub(super) fn failed(host: &str, error: DatabaseError) -> CliError {
    let (kind, hints) = (kind(&error), error.hints());
    hints.into_iter().fold(CliError::new(kind, Context::new(host, error)), CliError::hint)
}

/// The exit code of a failure.
pub(super) fn kind(error: &DatabaseError) -> ExitCode {
    match error {
        DatabaseError::Host(failure) => ExitCode::of(failure),
        _ => ExitCode::Failed,
    }
}

/// The one host there is.
fn only(site: &Site) -> Result<&SiteHost, CliError> {
    match site.hosts.as_slice() {
        [host] => Ok(host),
        hosts => {
            let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
            let told = format!(
                "this is about a database on one host, and these are {}: {}",
                hosts.len(),
                names.join(", ")
            );
            Err(CliError::usage(told).hint("choose one with --limit NAME, or name it with --host"))
        }
    }
}
