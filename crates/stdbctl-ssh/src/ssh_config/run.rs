//! The configuration as one run uses it: every host is asked about once, and all share their way.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

use super::openssh::OpenSsh;
use super::{ConfigError, HostConfig, NO_FILE, Origin, Proxy, Strictness, file};
use crate::connect::ConnectOptions;
use crate::hops::Hops;
use crate::route::Route;
use crate::target::Target;

/// How many `ssh` are asked at a time.
const MOST_ASKED: usize = 16;
/// More hosts on the way to another are a mistake.
const MOST_HOPS: usize = 8;

/// Has the last word about the options of a host: its flags.
type Finish<'f> = &'f (dyn Fn(&mut ConnectOptions, Strictness) + Send + Sync);
type Boxed<'f, T> = Pin<Box<dyn Future<Output = Result<T, ConfigError>> + Send + 'f>>;

/// The operator's configuration during one run.
#[derive(Debug)]
pub struct SshConfig {
    file: Option<PathBuf>,
    openssh: OpenSsh,
    resolved: Mutex<HashMap<Target, Arc<OnceCell<HostConfig>>>>,
    asked: Semaphore,
    hops: Hops,
}

impl SshConfig {
    /// The configuration of a file in place of the usual ones; `none` is no file. Nothing is read yet.
    pub fn new(file: Option<PathBuf>) -> Self {
        let (resolved, asked) = (Mutex::default(), Semaphore::new(MOST_ASKED));
        Self { file, openssh: OpenSsh::new("ssh"), resolved, asked, hops: Hops::default() }
    }

    /// How to connect to a host: the defaults, then what is configured, then what `finish` makes of it. Each host
    /// on the way is treated alike. Hosts behind the same one share the connection to it.
    ///
    /// # Errors
    /// If the configuration is wrong, or says what cannot be honoured.
    pub async fn options(
        &self,
        target: Target,
        finish: impl Fn(&mut ConnectOptions, Strictness) + Send + Sync,
    ) -> Result<ConnectOptions, ConfigError> {
        self.reached(target, Vec::new(), &finish).await
    }

    /// Options for a host that is reached as its own configuration says. `towards` are those it is on the way to.
    fn reached<'f>(
        &'f self,
        target: Target,
        mut towards: Vec<Target>,
        finish: Finish<'f>,
    ) -> Boxed<'f, ConnectOptions> {
        Box::pin(async move {
            if towards.len() > MOST_HOPS || towards.contains(&target) {
                return Err(ConfigError::Loop { host: target.host });
            }
            towards.push(target.clone());
            let (proxy, mut options) = self.configured(target, finish).await?;
            options.route = match proxy {
                Proxy::None => Route::Direct,
                Proxy::Command(line) => Route::Command(line),
                Proxy::Jump(hops) => self.through(hops, towards, finish).await?,
            };
            Ok(options)
        })
    }

    /// The first hop is reached as its configuration says; the others through the one before, whatever theirs says.
    async fn through(
        &self,
        hops: Vec<Target>,
        towards: Vec<Target>,
        finish: Finish<'_>,
    ) -> Result<Route, ConfigError> {
        let mut hops = hops.into_iter();
        let Some(first) = hops.next() else { return Ok(Route::Direct) };
        let mut last = self.reached(first, towards, finish).await?;
        for hop in hops {
            let (_, mut options) = self.configured(hop, finish).await?;
            options.route = Route::Through(Box::new(last));
            last = options;
        }
        Ok(Route::Through(Box::new(last)))
    }

    async fn configured(
        &self,
        target: Target,
        finish: Finish<'_>,
    ) -> Result<(Proxy, ConnectOptions), ConfigError> {
        let config = self.resolve(&target).await?;
        let (proxy, strictness) = (config.proxy.clone(), config.strictness);
        let mut options = ConnectOptions::new(target);
        options.hops = self.hops.clone();
        config.apply(&mut options);
        finish(&mut options, strictness);
        Ok((proxy, options))
    }

    async fn resolve(&self, target: &Target) -> Result<HostConfig, ConfigError> {
        let cell = {
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(resolved.entry(target.clone()).or_default())
        };
        let ask = async {
            let _turn = self.asked.acquire().await;
            self.ask(target).await
        };
        cell.get_or_try_init(|| ask).await.cloned()
    }

    async fn ask(&self, target: &Target) -> Result<HostConfig, ConfigError> {
        let file = self.file.as_deref();
        if file.is_some_and(|file| file.as_os_str() == NO_FILE) {
            return Ok(HostConfig::default());
        }
        match self.openssh.ask(target, file).await? {
            Some(config) => Ok(HostConfig { origin: Origin::OpenSsh, ..config }),
            None => Ok(HostConfig { origin: Origin::File, ..file::read(target, file)? }),
        }
    }
}
