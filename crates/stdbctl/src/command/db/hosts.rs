//! All hosts of the site, looked over for databases.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use stdbctl_engine::event::RunStats;
use stdbctl_engine::failure::Failure;
use stdbctl_engine::host::Host;
use stdbctl_playbook::database::DatabaseError;
use stdbctl_playbook::database::survey::{Survey, survey};
use stdbctl_playbook::settings::Settings;

use super::target::kind;
use crate::cli::{SiteArgs, SshArgs};
use crate::console::Console;
use crate::error::{CliError, FailedHost, in_one_line};
use crate::host::Place;
use crate::site::{self, Site};

/// A host that can still be talked to, and what was found there.
pub(super) struct Surveyed {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) host: Arc<dyn Host>,
    pub(super) survey: Survey,
}

/// A host that could not be looked over.
pub(super) struct Failed {
    pub(super) name: String,
    pub(super) error: DatabaseError,
}

/// All hosts.
pub(super) struct Hosts {
    pub(super) surveyed: Vec<Surveyed>,
    pub(super) failed: Vec<Failed>,
    started: Instant,
}

impl Hosts {
    /// Looks all of them over at once.
    ///
    /// # Errors
    /// If it is not known which they are.
    pub(super) async fn survey(site: &SiteArgs, ssh: &SshArgs, console: &Console) -> Result<Self, CliError> {
        let site = Site::load(site, None)?;
        let places = site::places(&site, ssh, &[], console).await?;
        let started = Instant::now();
        let looks = site.hosts.iter().zip(places).map(|(host, (name, place))| {
            let settings = host.settings.clone();
            async move { look(name.clone(), place, settings).await.map_err(|error| Failed { name, error }) }
        });
        let mut hosts = Self { surveyed: Vec::new(), failed: Vec::new(), started };
        for looked in join_all(looks).await {
            match looked {
                Ok(surveyed) => hosts.surveyed.push(surveyed),
                Err(failed) => hosts.failed.push(failed),
            }
        }
        Ok(hosts)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.surveyed.len() + self.failed.len()
    }

    /// Those that failed.
    pub(super) fn failures(&self) -> Vec<FailedHost<'_>> {
        let told = self.failed.iter().map(|Failed { name, error }| FailedHost {
            host: name,
            kind: kind(error),
            cause: in_one_line(error),
            hints: error.hints(),
        });
        told.collect()
    }

    /// Says what all this has cost, if that was asked for.
    pub(super) fn show_cost(&self, console: &Console) {
        let mut stats = RunStats { seconds: self.started.elapsed().as_secs_f64(), ..RunStats::default() };
        for host in &self.surveyed {
            stats.add(host.host.stats());
        }
        console.show_cost(&stats);
    }
}

async fn look(name: String, place: Place, settings: Settings) -> Result<Surveyed, DatabaseError> {
    let host = place.connect(name.clone()).await.map_err(Failure::Connect)?;
    let survey = survey(&*host, &settings).await?;
    Ok(Surveyed { name, settings, host, survey })
}
