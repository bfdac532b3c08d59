//! Which hosts a run is about and what is to be there: the flags, the file and the environment taken together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use stdbctl_engine::graph::Graph;
use stdbctl_engine::run::Job;
use stdbctl_playbook::inventory::{DEFAULT_FILE, InventoryError, InventoryHost, Selection, select};
use stdbctl_playbook::local_files::{self, LocalFileError};
use stdbctl_playbook::playbook::{Playbook, PlaybookError};
use stdbctl_playbook::settings::{Layer, Settings, SettingsError};
use stdbctl_ssh::ssh_config::{ConfigError, SshConfig, Strictness};
use stdbctl_ssh::{ConnectOptions, Keyring, Target, TargetError, UnknownKey};

use crate::cli::{ShortForms, SiteArgs, SshArgs};
use crate::console::Console;
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::host::Place;
use crate::lock_file::{LockFile, Release};
use crate::login_questions;
use crate::pair::Resolve;
use crate::prompt;
use crate::sudo_password;

/// What the lock file calls SpacetimeDB.
pub(crate) const PRODUCT: &str = "spacetimedb";
/// How this machine is written as a host.
const LOCAL: &str = "local";
const SETTINGS_HINT: &str = "`stdbctl settings` lists every setting";

/// All hosts of a run.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) hosts: Vec<SiteHost>,
    /// The configuration that was read.
    pub(crate) config: Option<PathBuf>,
}

/// One host of a run.
#[derive(Debug)]
pub(crate) struct SiteHost {
    /// As it is called in everything that is said about it.
    pub(crate) name: String,
    /// None for this machine.
    pub(crate) target: Option<Target>,
    pub(crate) settings: Settings,
    /// Whether the operator has said which sha256 the release must have, so that the lock file does not.
    pub(crate) is_pinned: bool,
}

impl Site {
    /// Takes everything together. Nothing is connected to.
    ///
    /// # Errors
    /// If hosts, settings or the configuration are wrong, or there is no host at all.
    pub(crate) fn load(args: &SiteArgs, short: Option<&ShortForms>) -> Result<Self, CliError> {
        let selection = selection(args, short.map(short_forms).into_iter().flatten())?;
        let config = config_path(args);
        let hosts = select(&selection).map_err(inventory_error)?;
        let hosts = hosts.into_iter().map(SiteHost::new).collect::<Result<_, _>>()?;
        Ok(Self { hosts, config })
    }

    /// Where the lock file is.
    pub(crate) fn lock_path(&self) -> PathBuf {
        LockFile::path_beside(self.config.as_deref())
    }

    /// Holds every host to the release archives that were deployed before, unless its settings name one.
    pub(crate) fn pin(&mut self, lock: &LockFile) {
        for host in self.hosts.iter_mut().filter(|host| !host.is_pinned) {
            let known = lock.sha256s(PRODUCT, &host.settings.spacetimedb.version);
            // Of several, one for each machine type, this side does not know which is the host's.
            host.settings.spacetimedb.sha256 =
                if known.len() == 1 { known.first().map(|&sha256| sha256.to_owned()) } else { None };
        }
    }
}

impl SiteHost {
    fn new(host: InventoryHost) -> Result<Self, CliError> {
        let InventoryHost { name, address, settings } = host;
        let target = if address == LOCAL {
            None
        } else {
            Some(address.parse().map_err(|error| wrong_host(&address, error))?)
        };
        let is_pinned = settings.spacetimedb.sha256.is_some();
        Ok(Self { name, target, settings, is_pinned })
    }

    /// The release that runs on it, given its machine type.
    pub(crate) fn release(&self, machine: &str) -> Release {
        Release {
            product: PRODUCT.to_owned(),
            version: self.settings.spacetimedb.version.clone(),
            machine: machine.to_owned(),
        }
    }
}

fn wrong_host(address: &str, error: TargetError) -> CliError {
    CliError::usage(Context::new(format!("host {address}"), error)).hint("write a host as [USER@]HOST[:PORT]")
}

fn config_path(args: &SiteArgs) -> Option<PathBuf> {
    args.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()))
}

/// What the flags, the file and the environment say. `short` are settings with flags of their own.
fn selection<'a>(args: &SiteArgs, short: impl Iterator<Item = ShortForm<'a>>) -> Result<Selection, CliError> {
    let mut assignments = Vec::new();
    for setting in &args.settings {
        assignments.push(layer(&setting.key, &setting.value, &format!("--set {}", setting.key))?);
    }
    for (key, flag, value) in short {
        if let Some(value) = value {
            assignments.push(layer(key, value, flag)?);
        }
    }
    Ok(Selection {
        file: config_path(args).map(|path| read_config(&path)).transpose()?,
        environment: args.env.clone(),
        hosts: args.hosts.clone(),
        limit: args.limit.clone(),
        variables: Layer::from_environment(variables()).map_err(settings_error)?,
        assignments,
    })
}

/// A setting, the flag that is short for it, and its value if the flag was given.
type ShortForm<'a> = (&'static str, &'static str, Option<&'a str>);

fn short_forms(short: &ShortForms) -> [ShortForm<'_>; 3] {
    [
        ("domain", "--domain", short.domain.as_deref()),
        ("tls.email", "--email", short.email.as_deref()),
        ("spacetimedb.version", "--version", short.release.as_deref()),
    ]
}

fn layer(key: &str, value: &str, origin: &str) -> Result<Layer, CliError> {
    Layer::single(key, value, origin).map_err(settings_error)
}

fn read_config(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(CliError::unreadable(ExitCode::Settings, path, error)),
    }
}

/// Those that are text. No setting is anything else.
fn variables() -> Vec<(String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

fn inventory_error(error: InventoryError) -> CliError {
    match &error {
        InventoryError::NoHosts | InventoryError::LimitFitsNone { .. } | InventoryError::DuplicateHost(_) => {
            CliError::usage(error)
        }
        InventoryError::Source(source) | InventoryError::Settings(SettingsError::Source(source)) => {
            let excerpt = source.snippet.clone();
            CliError::settings(error).excerpt(excerpt)
        }
        InventoryError::Settings(_) | InventoryError::HostSettings { .. } => {
            CliError::settings(error).hint(SETTINGS_HINT)
        }
        InventoryError::UnknownEnvironment { .. } => CliError::settings(error),
    }
}

fn settings_error(error: SettingsError) -> CliError {
    CliError::settings(error).hint(SETTINGS_HINT)
}

fn local_file_error(error: LocalFileError) -> CliError {
    let hint = error.hint();
    hint.into_iter().fold(CliError::settings(error), CliError::hint)
}

fn playbook_error(error: PlaybookError) -> CliError {
    let (PlaybookError::Source(place) | PlaybookError::Template { place, .. }) = &error;
    let excerpt = place.snippet.clone();
    CliError::settings(error).excerpt(excerpt)
}

/// Where each host is, and how it is logged in to: as the operator's OpenSSH configuration says, but for the flags.
///
/// # Errors
/// If that configuration is wrong, or says what cannot be honoured. Nothing is connected to.
pub(crate) async fn places(
    site: &Site,
    ssh: &SshArgs,
    resolve: &[Resolve],
    console: &Console,
) -> Result<Vec<(String, Place)>, CliError> {
    let password = sudo_password::of_run(ssh, site.hosts.len(), console)?;
    let keyring = login_questions::keyring(console);
    let config = SshConfig::new(ssh.ssh_config.clone());
    let places = site.hosts.iter().map(async |host| {
        let place = match &host.target {
            None => Place::Local(password.clone()),
            Some(target) => {
                let flags = |options: &mut ConnectOptions, configured| {
                    let is_on_the_way =
                        (&options.target.user, &options.target.host) != (&target.user, &target.host);
                    // `yes` was said of this very host; the flag is about another.
                    let is_strict = is_on_the_way && configured == Strictness::Yes;
                    apply_flags(options, configured, ssh, resolve, console, &keyring);
                    if is_strict {
                        options.unknown_key = UnknownKey::Refuse;
                    }
                };
                let options = config.options(target.clone(), flags).await;
                let options = options.map_err(|error| ssh_config_error(&host.name, error))?;
                Place::Remote(Box::new(options), password.clone())
            }
        };
        Ok((host.name.clone(), place))
    });
    try_join_all(places).await
}

fn ssh_config_error(host: &str, error: ConfigError) -> CliError {
    let hints = error.hints();
    let error = CliError::settings(Context::new(format!("the SSH configuration of {host}"), error));
    hints.into_iter().fold(error, CliError::hint)
}

/// What was said on the command line wins, for the host and for those on the way to it.
fn apply_flags(
    options: &mut ConnectOptions,
    configured: Strictness,
    ssh: &SshArgs,
    resolve: &[Resolve],
    console: &Console,
    keyring: &Keyring,
) {
    options.keyring = keyring.clone();
    let is_meant = |pair: &&Resolve| pair.name.eq_ignore_ascii_case(&options.target.host);
    options.address = resolve.iter().find(is_meant).map(|pair| pair.address);
    options.identity_files.clone_from(&ssh.identities);
    if let Some(seconds) = ssh.timeout {
        options.connect_timeout = Duration::from_secs(seconds);
    }
    if let Some(file) = &ssh.known_hosts {
        (options.known_hosts, options.global_known_hosts) = (vec![file.clone()], Vec::new());
        // As with OpenSSH: files of somebody's own are left as they are.
        options.recording.follow_changes = false;
    }
    options.unknown_key = match configured {
        _ if ssh.accept_new => UnknownKey::AcceptNew,
        Strictness::AcceptNew => UnknownKey::AcceptNew,
        Strictness::Ask if console.can_ask() && !options.authentication.batch => {
            let screen = console.screen.clone();
            UnknownKey::Ask(Arc::new(move |key| prompt::trust(&screen, key)))
        }
        Strictness::Ask | Strictness::Yes => UnknownKey::Refuse,
    };
}

/// What the engine is to do on each host.
///
/// # Errors
/// If the playbook does not fit the settings, or a file that they name cannot go to the host.
pub(crate) fn jobs(site: &Site, places: Vec<(String, Place)>) -> Result<Vec<Job>, CliError> {
    let playbook = Playbook::deploy();
    let job = |(host, (name, place)): (&SiteHost, (String, Place))| {
        local_files::check(&host.settings).map_err(local_file_error)?;
        let tasks = playbook.tasks(&host.settings).map_err(playbook_error)?;
        let graph = Graph::new(&tasks).map_err(CliError::settings)?;
        Ok(Job { connect: place.connect(name.clone()), name, graph })
    };
    site.hosts.iter().zip(places).map(job).collect()
}

/// How the engine is to do it.
pub(crate) fn options(verb: &str, apply: bool, resolve: &[Resolve]) -> stdbctl_engine::run::Options {
    let resolve: BTreeMap<String, IpAddr> =
        resolve.iter().map(|pair| (pair.name.clone(), pair.address)).collect();
    stdbctl_engine::run::Options { verb: verb.to_owned(), apply, operator: operator(), resolve }
}

/// Who runs this and where, for whoever finds a host locked.
fn operator() -> String {
    let variable = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = ["USER", "LOGNAME"].iter().find_map(variable).unwrap_or_else(|| "somebody".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| variable(&"HOSTNAME"));
    let machine = machine.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    format!("{user}@{}", machine.unwrap_or_else(|| "an unnamed machine".to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use stdbctl_ssh::Route;

    use super::*;
    use crate::cli::{Cli, PlanArgs, Verb};

    fn plan_args(flags: &[&str]) -> PlanArgs {
        let cli = Cli::try_parse_from([&["stdbctl", "plan"], flags].concat()).unwrap();
        let Verb::Plan(args) = cli.verb else { panic!("not a plan: {cli:?}") };
        args
    }

    fn load(flags: &[&str]) -> Result<Site, CliError> {
        let args = plan_args(flags);
        Site::load(&args.site, Some(&args.short))
    }

    #[test]
    fn flags_alone_make_a_site() {
        let site = load(&["--host", "ubuntu@a:2222", "--host", "local", "--domain", "a.example"]).unwrap();
        let [remote, local] = site.hosts.as_slice() else { panic!("{site:?}") };
        assert_eq!(remote.target.as_ref().unwrap().port(), 2222);
        assert!(local.target.is_none());
        assert_eq!(remote.settings.domain.as_deref(), Some("a.example"));
    }

    #[test]
    fn a_short_form_wins_over_set_and_set_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stdbctl.yaml");
        let text = "hosts: [a]\nsettings: { spacetimedb: { version: 1.0.0, root_dir: /srv/stdb }, domain: a.example }\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let set = ["-c", file, "--set", "spacetimedb.version=1.1.0", "--set", "domain=b.example"];
        let site = load(&[&set[..], &["--version", "1.2.0"]].concat()).unwrap();
        let settings = &site.hosts[0].settings;
        assert_eq!(settings.spacetimedb.version, "1.2.0");
        assert_eq!(settings.domain.as_deref(), Some("b.example"));
        assert_eq!(settings.spacetimedb.root_dir, "/srv/stdb");
        assert_eq!(site.lock_path(), directory.path().join("stdbctl.lock"));
    }

    #[test]
    fn what_is_wrong_has_its_exit_code() {
        let table: [(&[&str], u8); 6] = [
            (&[], 2),
            (&["--host", "a:b"], 2),
            (&["--host", "a", "--host", "a"], 2),
            (&["--host", "a", "--set", "domian=a.example"], 3),
            (&["--host", "a", "-c", "no-such-file.yaml"], 3),
            (&["--host", "a", "-e", "no-such-environment"], 3),
        ];
        for (flags, number) in table {
            let error = load(flags).unwrap_err();
            assert_eq!(error.kind.number(), number, "{flags:?}: {error:?}");
        }
        let near = load(&["--host", "a", "-c", "Cargo.yaml"]).unwrap_err();
        assert_eq!(near.hints, ["did you mean `Cargo.toml`?"]);
    }

    #[test]
    fn the_lock_file_pins_what_nobody_else_has_pinned() {
        let sha256 = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";
        let mut site = load(&["--host", "a", "--version", "1.3.0"]).unwrap();
        let mut lock = LockFile::default();
        lock.record(site.hosts[0].release("x86_64"), sha256).unwrap();
        site.pin(&lock);
        assert_eq!(site.hosts[0].settings.spacetimedb.sha256.as_deref(), Some(sha256));

        let own = format!("spacetimedb.sha256={}", "0".repeat(64));
        let mut pinned = load(&["--host", "a", "--version", "1.3.0", "--set", &own]).unwrap();
        pinned.pin(&lock);
        assert_eq!(pinned.hosts[0].settings.spacetimedb.sha256, Some("0".repeat(64)));

        lock.record(site.hosts[0].release("aarch64"), &"1".repeat(64)).unwrap();
        site.pin(&lock);
        assert_eq!(
            site.hosts[0].settings.spacetimedb.sha256, None,
            "it is not known which one is the host's"
        );
    }

    async fn options(flags: &[&str]) -> Result<ConnectOptions, CliError> {
        let args = plan_args(&[&["--host", "ubuntu@Example.com"], flags].concat());
        let site = Site::load(&args.site, None)?;
        let console = Console::new(&Cli::parse_from(["stdbctl", "man"]).output);
        let place = places(&site, &args.ssh, &args.trust.resolve, &console).await?.remove(0).1;
        let Place::Remote(options, _) = place else { panic!("{place:?}") };
        Ok(*options)
    }

    #[tokio::test]
    async fn a_name_that_is_resolved_by_hand_is_connected_to_there() {
        let flags = ["--resolve", "example.com=192.0.2.1", "--accept-new", "--ssh-config", "none"];
        let options = options(&flags).await.unwrap();
        assert_eq!(options.address, Some("192.0.2.1".parse().unwrap()));
        assert!(matches!(options.unknown_key, UnknownKey::AcceptNew));
    }

    #[tokio::test]
    async fn flags_win_over_the_ssh_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let text = "HostName 10.0.0.5\nUser nobody\nPort 2222\nConnectTimeout 7\nUserKnownHostsFile /k\n\
                    StrictHostKeyChecking yes\n";
        std::fs::write(&file, text).unwrap();
        let config = ["--ssh-config", file.to_str().unwrap()];
        let configured = options(&config).await.unwrap();
        assert_eq!(configured.host_name.as_deref(), Some("10.0.0.5"));
        assert_eq!((configured.target.port(), configured.connect_timeout.as_secs()), (2222, 7));
        assert!(matches!(configured.unknown_key, UnknownKey::Refuse));
        let flags = ["--timeout", "3", "--known-hosts", "mine", "--accept-new"];
        let flagged = options(&[&config[..], &flags].concat()).await.unwrap();
        assert_eq!(flagged.target.user.as_deref(), Some("ubuntu"));
        assert_eq!(flagged.connect_timeout.as_secs(), 3);
        assert_eq!(flagged.known_hosts, [PathBuf::from("mine")]);
        assert!(flagged.global_known_hosts.is_empty());
        assert!(!flagged.recording.follow_changes);
        assert!(matches!(flagged.unknown_key, UnknownKey::AcceptNew));
    }

    #[tokio::test]
    async fn the_flag_for_unknown_keys_weakens_no_strict_host_on_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        let text = "Host *.com\nProxyJump loose,strict\nHost strict\nStrictHostKeyChecking yes\n";
        std::fs::write(&file, text).unwrap();
        let options = options(&["--ssh-config", file.to_str().unwrap(), "--accept-new"]).await.unwrap();
        assert!(matches!(options.unknown_key, UnknownKey::AcceptNew));
        let Route::Through(strict) = options.route else { panic!("{options:?}") };
        assert!(matches!(strict.unknown_key, UnknownKey::Refuse));
        let Route::Through(loose) = strict.route else { panic!("{strict:?}") };
        assert!(matches!(loose.unknown_key, UnknownKey::AcceptNew));
    }

    #[tokio::test]
    async fn an_ssh_configuration_that_cannot_be_honoured_is_wrong_settings() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        std::fs::write(&file, "StrictHostKeyChecking no\n").unwrap();
        let error = options(&["--ssh-config", file.to_str().unwrap()]).await.unwrap_err();
        assert_eq!(error.kind.number(), 3);
        assert!(error.hints[0].contains("accept-new"), "{error:?}");
    }
}
