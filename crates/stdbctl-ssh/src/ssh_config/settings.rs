//! Keywords and values of the configuration, turned into what holds for a host.

use std::path::PathBuf;
use std::time::Duration;

use super::tokens::{Tokens, local_host, local_user};
use super::{
    AddressFamily, Agent, Authentication, ConfigError, HostConfig, Origin, Proxy, Strictness, UpdateHostKeys,
};
use crate::algorithms::{AlgorithmList, AlgorithmRules};
use crate::rekey::RekeyLimit;
use crate::target::Target;

/// What OpenSSH tries where no `IdentityFile` is named, of any of its versions.
const USUAL_IDENTITIES: [&str; 7] =
    ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"];
const LISTS: [&str; 2] = ["userknownhostsfile", "globalknownhostsfile"];
/// What `ssh -G` prints of every host, and what means nothing where it is what `ssh` itself takes.
const ALWAYS_PRINTED: [&str; 8] = [
    "userknownhostsfile",
    "hostkeyalgorithms",
    "casignaturealgorithms",
    "kexalgorithms",
    "ciphers",
    "macs",
    "pubkeyacceptedalgorithms",
    "requiredrsasize",
];
/// As in OpenSSH, in seconds. What is added to a time that is no longer cannot overflow.
const LONGEST_TIME: u64 = 2_147_483_647;
/// What would be dangerous or useless to pass over, the value that is harmless, and what is wrong with others.
const UNSUPPORTED: [(&str, &str, &str, &str); 4] = [
    (
        "knownhostscommand",
        "KnownHostsCommand",
        "none",
        "is not asked by stdbctl, which would miss those keys",
    ),
    ("revokedhostkeys", "RevokedHostKeys", "none", "is not read by stdbctl, which would trust those keys"),
    ("bindinterface", "BindInterface", "none", "cannot be honoured by stdbctl"),
    ("proxyusefdpass", "ProxyUseFdpass", "no", "cannot be honoured by stdbctl"),
];

/// Keywords in lower case with their values, in order. Of lists of files, each file has an entry of its own.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads what `ssh -G` has printed.
    pub(super) fn printed(text: &str) -> Self {
        let mut settings = Self::default();
        for (keyword, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            if LISTS.contains(&keyword) {
                for name in names(value) {
                    settings.add(keyword, name);
                }
            } else {
                settings.add(keyword, value.trim());
            }
        }
        settings
    }

    pub(super) fn add(&mut self, keyword: &str, value: &str) {
        self.0.push((keyword.to_owned(), value.to_owned()));
    }

    /// Forgets what `ssh` always takes: an older one does not know all algorithms that are used here.
    pub(super) fn leave_out(&mut self, usual: &Self) {
        for keyword in ALWAYS_PRINTED {
            if self.all(keyword).eq(usual.all(keyword)) {
                self.0.retain(|(name, _)| name != keyword);
            }
        }
    }

    /// Whatever else there is, this counts.
    pub(super) fn put_first(&mut self, keyword: &str, value: &str) {
        self.0.insert(0, (keyword.to_owned(), value.to_owned()));
    }

    pub(super) fn first<'s>(&'s self, keyword: &'s str) -> Option<&'s str> {
        self.all(keyword).next()
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.first(keyword).is_some()
    }

    fn all<'s>(&'s self, keyword: &'s str) -> impl Iterator<Item = &'s str> + 's {
        self.0.iter().filter(move |(name, _)| *name == keyword).map(|(_, value)| value.as_str())
    }

    /// Its value, if it has one that says something.
    fn one<'s>(&'s self, keyword: &'s str) -> Option<&'s str> {
        self.first(keyword).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"))
    }

    /// What they mean for a destination.
    pub(super) fn host_config(&self, target: &Target) -> Result<HostConfig, ConfigError> {
        self.check()?;
        let tokens = self.tokens(target);
        let identity_files = if self.are_usual_identities() {
            None
        } else {
            Some(self.paths("identityfile", "IdentityFile", &tokens)?)
        };
        let known_hosts = self.paths("userknownhostsfile", "UserKnownHostsFile", &tokens)?;
        let known_hosts =
            Some(known_hosts).filter(|files| self.has("userknownhostsfile") && !are_usual_known_hosts(files));
        let global = self.paths("globalknownhostsfile", "GlobalKnownHostsFile", &tokens)?;
        Ok(HostConfig {
            origin: Origin::default(),
            identity_files,
            known_hosts,
            global_known_hosts: Some(global).filter(|_| self.has("globalknownhostsfile")),
            certificate_files: self.paths("certificatefile", "CertificateFile", &tokens)?,
            identities_only: self.is_yes("identitiesonly"),
            agent: self.agent(&tokens)?,
            authentication: Authentication::read(self),
            proxy: self.proxy()?,
            host_key_alias: self.host_key_alias(),
            strictness: self.strictness()?,
            connect_timeout: seconds(self.one("connecttimeout")),
            keep_alive: seconds(self.one("serveraliveinterval")),
            rekey_limit: self.rekey_limit(),
            family: match self.one("addressfamily") {
                Some("inet") => AddressFamily::Inet,
                Some("inet6") => AddressFamily::Inet6,
                _ => AddressFamily::Any,
            },
            bind_address: self.one("bindaddress").map(str::to_owned),
            hash_known_hosts: self.is_yes("hashknownhosts"),
            update_host_keys: self.update_host_keys(),
            check_host_ip: self.is_yes("checkhostip"),
            algorithms: self.algorithms(),
            required_rsa_size: self.one("requiredrsasize").and_then(|bits| bits.parse().ok()),
            port: Some(tokens.port),
            user: Some(tokens.remote_user).filter(|user| !user.is_empty()),
            host_name: Some(tokens.host_name),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (keyword, shown, harmless, why) in UNSUPPORTED {
            if let Some(value) = self.one(keyword).filter(|value| *value != harmless) {
                return Err(ConfigError::Setting { keyword: shown, value: value.to_owned(), why });
            }
        }
        Ok(())
    }

    fn tokens(&self, target: &Target) -> Tokens {
        let text = |keyword: &str| self.one(keyword).map(str::to_owned);
        Tokens {
            home: std::env::home_dir().unwrap_or_default(),
            host_name: text("hostname").unwrap_or_else(|| target.host.clone()),
            typed: target.host.clone(),
            port: text("port").and_then(|port| port.parse().ok()).unwrap_or_else(|| target.port()),
            remote_user: text("user").or_else(|| target.user.clone()).unwrap_or_else(local_user),
            local_user: local_user(),
            local_host: local_host(),
            alias: self.host_key_alias().unwrap_or_else(|| target.host.clone()),
        }
    }

    /// `none` is a name like any other.
    fn host_key_alias(&self) -> Option<String> {
        self.first("hostkeyalias").filter(|name| !name.is_empty()).map(str::to_lowercase)
    }

    fn paths(
        &self,
        keyword: &str,
        shown: &'static str,
        tokens: &Tokens,
    ) -> Result<Vec<PathBuf>, ConfigError> {
        let named = self.all(keyword).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("none"));
        named.map(|name| path(tokens, shown, name)).collect()
    }

    fn are_usual_identities(&self) -> bool {
        let mut named = self.all("identityfile").peekable();
        let usual =
            |path: &str| path.rsplit_once("/.ssh/").is_some_and(|(_, name)| USUAL_IDENTITIES.contains(&name));
        // One or two of them somebody has chosen; OpenSSH's own list has always been longer.
        named.peek().is_none() || (self.all("identityfile").count() > 3 && named.all(usual))
    }

    fn is_yes(&self, keyword: &str) -> bool {
        matches!(self.one(keyword), Some("yes" | "true"))
    }

    pub(super) fn host_key_algorithms(&self) -> Option<AlgorithmList> {
        self.one("hostkeyalgorithms").map(AlgorithmList::new)
    }

    fn algorithms(&self) -> AlgorithmRules {
        let list = |keyword| self.one(keyword).map(AlgorithmList::new);
        AlgorithmRules {
            host_key: self.host_key_algorithms(),
            usual_host_key: None,
            ca_signature: list("casignaturealgorithms"),
            kex: list("kexalgorithms"),
            cipher: list("ciphers"),
            mac: list("macs"),
            // Its name until 2021.
            public_key: list("pubkeyacceptedalgorithms").or_else(|| list("pubkeyacceptedkeytypes")),
        }
    }

    /// As in OpenSSH: unless somebody says so, files of somebody's own are left as they are.
    fn update_host_keys(&self) -> UpdateHostKeys {
        match self.one("updatehostkeys") {
            Some("yes" | "true") => UpdateHostKeys::Yes,
            Some("ask") => UpdateHostKeys::Ask,
            Some(_) => UpdateHostKeys::No,
            None => {
                let are_usual = self.all("userknownhostsfile").all(|name| name == "~/.ssh/known_hosts");
                let asks_dns = !matches!(self.one("verifyhostkeydns"), None | Some("no" | "false"));
                if are_usual && !asks_dns { UpdateHostKeys::Yes } else { UpdateHostKeys::No }
            }
        }
    }

    /// Bytes and a time, of which either may be left out, `default`, `none` or, as `ssh -G` prints that, 0.
    fn rekey_limit(&self) -> RekeyLimit {
        let mut words = self.one("rekeylimit").unwrap_or_default().split_whitespace();
        RekeyLimit::new(words.next().and_then(bytes), seconds(words.next()))
    }

    fn agent(&self, tokens: &Tokens) -> Result<Agent, ConfigError> {
        Ok(match self.first("identityagent") {
            None | Some("SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "") => Agent::Environment,
            Some(none) if none.eq_ignore_ascii_case("none") => Agent::None,
            Some(variable) if variable.starts_with('$') && !variable.contains('/') => {
                let name = variable.trim_start_matches('$').trim_matches(['{', '}']);
                std::env::var_os(name)
                    .filter(|value| !value.is_empty())
                    .map_or(Agent::None, |path| Agent::Socket(PathBuf::from(path)))
            }
            Some(name) => Agent::Socket(path(tokens, "IdentityAgent", name)?),
        })
    }

    fn proxy(&self) -> Result<Proxy, ConfigError> {
        if let Some(list) = self.one("proxyjump") {
            let hops: Result<Vec<Target>, _> =
                list.split(',').map(|hop| without_brackets(hop).parse()).collect();
            return hops.map(Proxy::Jump).map_err(|_| ConfigError::Setting {
                keyword: "ProxyJump",
                value: list.to_owned(),
                why: "names a host that cannot be read",
            });
        }
        Ok(self.one("proxycommand").map_or(Proxy::None, |line| Proxy::Command(line.to_owned())))
    }

    fn strictness(&self) -> Result<Strictness, ConfigError> {
        match self.one("stricthostkeychecking") {
            None | Some("ask") => Ok(Strictness::Ask),
            Some("yes" | "true") => Ok(Strictness::Yes),
            Some("accept-new") => Ok(Strictness::AcceptNew),
            Some(other) => Err(ConfigError::Setting {
                keyword: "StrictHostKeyChecking",
                // `ssh -G` prints `no` as `false`.
                value: if matches!(other, "false" | "off") { "no".to_owned() } else { other.to_owned() },
                why: "would log in to an impostor, and hand it everything",
            }),
        }
    }
}

fn path(tokens: &Tokens, keyword: &'static str, name: &str) -> Result<PathBuf, ConfigError> {
    tokens.path(name).map_err(|why| ConfigError::Setting { keyword, value: name.to_owned(), why: why.why() })
}

/// Those of [`ConnectOptions::new`](crate::ConnectOptions::new). What `ssh` takes by itself is not among the
/// settings: it looks in the home directory of the user database, whatever `HOME` says.
fn are_usual_known_hosts(files: &[PathBuf]) -> bool {
    let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
    files == [directory.join("known_hosts"), directory.join("known_hosts2")]
}

/// `ssh -G` prints `[192.0.2.1]:22`; only what has colons of its own needs the brackets.
fn without_brackets(hop: &str) -> String {
    let hop = hop.trim();
    match hop.split_once('[').and_then(|(before, rest)| Some((before, rest.split_once(']')?))) {
        Some((before, (host, after))) if !host.contains(':') => format!("{before}{host}{after}"),
        _ => hop.to_owned(),
    }
}

/// Several names of files on one line. `ssh -G` has taken the quotation marks off, so a name may hold blanks: each
/// begins with `/`, `~` or `$`.
fn names(list: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    while let Some(next) = [" /", " ~", " ${", " %d"].iter().filter_map(|start| rest.find(start)).min() {
        let (name, after) = rest.split_at(next);
        names.push(name);
        rest = after.trim_start();
    }
    names.push(rest);
    names
}

/// A number of bytes as `ssh_config(5)` writes it: `512K`, `1G`.
pub(super) fn bytes(value: &str) -> Option<usize> {
    let (number, unit) = value.split_at(value.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

fn seconds(value: Option<&str>) -> Option<Duration> {
    time(value?).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// The seconds of a time as `ssh_config(5)` writes it: `90`, `1m30s`, `2h`.
pub(super) fn time(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0_u64, String::new());
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(std::mem::take(&mut number).parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    if !number.is_empty() {
        total = total.checked_add(number.parse().ok()?)?;
    }
    (total <= LONGEST_TIME).then_some(total)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
