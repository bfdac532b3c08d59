//! Conditions a host must meet before anything on it is changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Observation, Probes};
use crate::resource::{Kind, Planning};
use crate::sh::quote;

/// Conditions, each optional. Looked at only when there is something to change, and before the first change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// One of these distributions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<Distribution>,
    /// One of these machine types, as `uname -m` says them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Free space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Memory of the machine, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Largest difference between the host's clock and the operator's, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<u64>,
    /// Whether the kernel must know IPv6.
    #[serde(default)]
    pub ipv6: bool,
    /// A name that must resolve to this host: to the address it was reached at, or to one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolves_here: Option<String>,
    /// TCP ports that only these programs may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports_free: Vec<PortFree>,
    /// The release that must be able to open the data that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

/// A distribution and its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// `ID` of os-release(5).
    pub id: String,
    /// The lowest `VERSION_ID`.
    pub at_least: String,
}

/// Free space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// A path; the nearest directory above it that is there counts.
    pub path: String,
    /// MiB that must be free.
    pub free_mb: u64,
}

/// A TCP port and the program that may listen on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortFree {
    /// The port.
    pub port: u16,
    /// The program's name, as the kernel has it (15 characters).
    pub to: String,
}

/// Data, and the release that is to open it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The TOML file in which the data's own release is noted as `version`. No file: no data yet.
    pub path: String,
    /// The release. It opens what an older one wrote, or one that differs in the third number only.
    pub at_most: String,
}

/// What is known on the operator's side when requirements are looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outside {
    /// The operator's clock, seconds since 1970.
    pub(crate) clock: i64,
    /// The address the host was reached at.
    pub(crate) peer: Option<IpAddr>,
    /// What the name in `resolves_here` resolves to, or why it does not.
    pub(crate) resolved: Option<Result<Vec<IpAddr>, String>>,
}

impl Kind for Require {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        let mut script = String::new();
        if let Some(disk) = &self.disk {
            let _ = writeln!(
                script,
                "path={}\nuntil [ -d \"$path\" ]; do path=${{path%/*}}; path=${{path:-/}}; done\n\
                 df -Pk -- \"$path\" | awk 'NR==2 {{ print \"free_kb \" $4 }}'",
                quote(&disk.path)
            );
        }
        if self.ipv6 {
            script.push_str("[ -d /proc/sys/net/ipv6 ] || echo no-ipv6\n");
        }
        if self.resolves_here.is_some() {
            script.push_str("echo \"addresses $(hostname -I)\"\n");
        }
        if !self.ports_free.is_empty() {
            script.push_str("ss -Hltnp | sed 's/^/socket /'\n");
        }
        if let Some(data) = &self.data {
            let _ = writeln!(
                script,
                "sed -n 's/^version *= *\"\\([0-9][0-9A-Za-z.+-]*\\)\".*/data \\1/p' -- {} 2>/dev/null",
                quote(&data.path)
            );
        }
        if !script.is_empty() {
            probes.fragment(task, script, false);
        }
    }

    /// A requirement changes nothing; [`Require::problems`] are looked at before anything does.
    fn plan(&self, _planning: &Planning<'_>) -> Option<Change> {
        None
    }
}

impl Require {
    /// Why this host cannot be worked on, one line each with what to do. None for a host that is fit.
    pub(crate) fn problems(&self, task: &str, seen: &Observation, outside: &Outside) -> Vec<String> {
        let text = seen.extra(task).map_or("", |extra| extra.text.as_str());
        [
            self.distribution_problem(seen),
            self.architecture_problem(seen),
            self.disk_problem(text),
            self.memory_problem(seen),
            self.clock_problem(seen, outside),
            self.ipv6_problem(text),
            self.name_problem(text, outside),
            self.data.as_ref().and_then(|data| data.problem(text)),
        ]
        .into_iter()
        .flatten()
        .chain(self.ports_free.iter().filter_map(|port| port.problem(text)))
        .collect()
    }

    fn distribution_problem(&self, seen: &Observation) -> Option<String> {
        let host = &seen.host;
        let fits = |wanted: &Distribution| {
            wanted.id == host.id && version(&host.version) >= version(&wanted.at_least)
        };
        if self.distributions.is_empty() || self.distributions.iter().any(fits) {
            return None;
        }
        let wanted: Vec<String> =
            self.distributions.iter().map(|d| format!("{} {}", d.id, d.at_least)).collect();
        Some(format!("this is {} {}; it must be {} or newer", host.id, host.version, wanted.join(" or ")))
    }

    fn architecture_problem(&self, seen: &Observation) -> Option<String> {
        let fits = self.architectures.is_empty() || self.architectures.contains(&seen.host.machine);
        (!fits).then(|| {
            format!(
                "this machine is {}; releases are built for {}",
                seen.host.machine,
                self.architectures.join(", ")
            )
        })
    }

    fn disk_problem(&self, text: &str) -> Option<String> {
        let disk = self.disk.as_ref()?;
        let free_kb: u64 =
            text.lines().find_map(|line| line.strip_prefix("free_kb "))?.trim().parse().ok()?;
        let free = free_kb / 1024;
        (free < disk.free_mb).then(|| {
            format!("{free} MiB are free for {}; {} MiB are needed: make room", disk.path, disk.free_mb)
        })
    }

    fn memory_problem(&self, seen: &Observation) -> Option<String> {
        let wanted = self.memory_mb?;
        let has = seen.host.memory_kb / 1024;
        (has < wanted).then(|| format!("the machine has {has} MiB of memory; it needs {wanted} MiB"))
    }

    fn clock_problem(&self, seen: &Observation, outside: &Outside) -> Option<String> {
        let allowed = self.clock_skew_seconds?;
        let skew = seen.host.clock.abs_diff(outside.clock);
        (skew > allowed).then(|| {
            format!(
                "the host's clock is {skew} s away from this machine's; certificates and tokens would be refused: \
                 set it (timedatectl set-ntp true)"
            )
        })
    }

    fn ipv6_problem(&self, text: &str) -> Option<String> {
        let lacks = self.ipv6 && text.lines().any(|line| line == "no-ipv6");
        lacks.then(|| {
            "the host's kernel has no IPv6, so nginx could not start: --set public.ipv6=false".to_owned()
        })
    }

    fn name_problem(&self, text: &str, outside: &Outside) -> Option<String> {
        let name = self.resolves_here.as_ref()?;
        let addresses = match outside.resolved.as_ref()? {
            Ok(addresses) => addresses,
            Err(error) => {
                return Some(format!("{name} does not resolve ({error}): make an A or AAAA record for it"));
            }
        };
        let own = text.lines().find_map(|line| line.strip_prefix("addresses ")).unwrap_or_default();
        let own: Vec<IpAddr> = own.split_whitespace().filter_map(|address| address.parse().ok()).collect();
        let here = |address: &IpAddr| own.contains(address) || outside.peer == Some(*address);
        // A CA asks any of them, and IPv6 first.
        let elsewhere: Vec<IpAddr> = addresses.iter().filter(|address| !here(address)).copied().collect();
        if elsewhere.is_empty() {
            return None;
        }
        let list =
            |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut known = own.clone();
        known.extend(outside.peer.filter(|peer| !own.contains(peer)));
        Some(format!(
            "{name} leads to {}, which is not this host ({}): point its A or AAAA record here, or use \
             --resolve {name}=ADDRESS",
            list(&elsewhere),
            list(&known)
        ))
    }
}

impl PortFree {
    fn problem(&self, text: &str) -> Option<String> {
        let suffix = format!(":{}", self.port);
        let holder = text
            .lines()
            .filter_map(|line| line.strip_prefix("socket "))
            .filter(|line| line.split_whitespace().nth(3).is_some_and(|local| local.ends_with(&suffix)))
            .map(|line| line.split('"').nth(1).unwrap_or("another program"))
            .find(|program| *program != self.to)?;
        Some(format!(
            "port {} is taken by {holder}; {} needs it: stop {holder} (`ss -ltnp` shows it) and run again",
            self.port, self.to
        ))
    }
}

impl Data {
    fn problem(&self, text: &str) -> Option<String> {
        let found = text.lines().find_map(|line| line.strip_prefix("data "))?.trim();
        let line_of = |release| version(release).into_iter().take(2).collect::<Vec<_>>();
        (line_of(found) > line_of(&self.at_most)).then(|| {
            format!(
                "the data on this host was last opened by {found}, and {} cannot open it any more: stay with \
                 {found} or go to a newer one",
                self.at_most
            )
        })
    }
}

/// A version's numbers, for comparison.
fn version(text: &str) -> Vec<u32> {
    text.split('.').map_while(|part| part.parse().ok()).collect()
}
