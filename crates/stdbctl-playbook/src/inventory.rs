//! Which hosts there are, and the settings of each: `stdbctl.yaml`, `--host`, `--set` and the environment.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::settings::{Layer, Settings, SettingsError, merge};
use crate::yaml::{self, Outline, SourceError, Spanned, nearest};

/// The file that is read if no other is named.
pub const DEFAULT_FILE: &str = "stdbctl.yaml";

/// What the operator asks for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The inventory file: its name, for messages, and its text.
    pub file: Option<(String, String)>,
    /// `--env`.
    pub environment: Option<String>,
    /// Each `--host`: an address, or the name of a host in the file. Without any, all of the file's hosts.
    pub hosts: Vec<String>,
    /// `--limit`: names with `*`, separated by commas.
    pub limit: Option<String>,
    /// The settings of `STDBCTL_...` variables.
    pub variables: Layer,
    /// The settings of `--set`, and of the options that are short for them, in order.
    pub assignments: Vec<Layer>,
}

/// One host with all that is to be known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct InventoryHost {
    /// What the operator calls it.
    pub name: String,
    /// `[USER@]HOST[:PORT]`, or `local`.
    pub address: String,
    /// Its settings.
    pub settings: Settings,
}

/// The hosts cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file is wrong at a place.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting of one host is wrong.
    #[error("host {host}")]
    HostSettings {
        /// The host.
        host: String,
        /// What is wrong.
        #[source]
        source: SettingsError,
    },
    /// There is no such environment.
    #[error("there is no environment `{name}`{}", hint(nearest.as_deref()))]
    UnknownEnvironment {
        /// What was asked for.
        name: String,
        /// The one most like it.
        nearest: Option<String>,
    },
    /// No host was named.
    #[error("no host is named: give --host, or `hosts:` in {DEFAULT_FILE}")]
    NoHosts,
    /// `--limit` leaves no host.
    #[error("--limit {limit} fits none of the hosts {}", hosts.join(", "))]
    LimitFitsNone {
        /// The pattern.
        limit: String,
        /// The hosts there are.
        hosts: Vec<String>,
    },
    /// A host is named twice.
    #[error("host `{0}` is named twice")]
    DuplicateHost(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The inventory file. Read twice: with `S` = [`Settings`] for the values and their types, with `S` = [`Outline`]
/// for which keys were written, and where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<S> {
    #[serde(default = "Vec::new")]
    hosts: Vec<Spanned<HostEntry<S>>>,
    settings: Option<S>,
    #[serde(default = "BTreeMap::new")]
    environments: BTreeMap<String, Environment<S>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Environment<S> {
    hosts: Vec<Spanned<HostEntry<S>>>,
    settings: Option<S>,
}

/// A host in the file: an address, or an address with more.
#[derive(Debug)]
struct HostEntry<S> {
    address: String,
    name: Option<String>,
    settings: Option<S>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable<S> {
    host: String,
    name: Option<String>,
    settings: Option<S>,
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for HostEntry<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor<S>(std::marker::PhantomData<S>);

        impl<'de, S: Deserialize<'de>> Visitor<'de> for EntryVisitor<S> {
            type Value = HostEntry<S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`user@host:port`, or a mapping with `host`")
            }

            fn visit_str<E>(self, address: &str) -> Result<Self::Value, E> {
                Ok(HostEntry { address: address.to_owned(), name: None, settings: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let table = HostTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HostEntry { address: table.host, name: table.name, settings: table.settings })
            }
        }

        deserializer.deserialize_any(EntryVisitor(std::marker::PhantomData))
    }
}

/// A host with the layers of its settings that come from the file.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    address: String,
    layers: Vec<Layer>,
}

/// The hosts that are asked for, in order, each with its settings checked.
///
/// # Errors
/// If the file, a setting or the choice of hosts is wrong, or no host is left.
pub fn select(selection: &Selection) -> Result<Vec<InventoryHost>, InventoryError> {
    let (shared, known) = match &selection.file {
        Some((file, text)) => read(file, text, selection.environment.as_deref())?,
        None => match &selection.environment {
            Some(name) => {
                return Err(InventoryError::UnknownEnvironment { name: name.clone(), nearest: None });
            }
            None => (Vec::new(), Vec::new()),
        },
    };
    let chosen = if selection.hosts.is_empty() { known } else { named(&selection.hosts, &known, &shared) };
    if chosen.is_empty() {
        return Err(InventoryError::NoHosts);
    }
    let chosen = limited(chosen, selection.limit.as_deref())?;
    let mut names = std::collections::BTreeSet::new();
    chosen
        .into_iter()
        .map(|host| {
            if !names.insert(host.name.clone()) {
                return Err(InventoryError::DuplicateHost(host.name));
            }
            let layers = host.layers.iter().chain([&selection.variables]).chain(&selection.assignments);
            let settings = merge(layers)
                .map_err(|source| InventoryError::HostSettings { host: host.name.clone(), source })?;
            Ok(InventoryHost { name: host.name, address: host.address, settings })
        })
        .collect()
}

/// The layers that all hosts of the file share, and its hosts.
fn read(
    file: &str,
    text: &str,
    environment: Option<&str>,
) -> Result<(Vec<Layer>, Vec<Known>), InventoryError> {
    let mut typed: File<Settings> = yaml::read(file, text)?;
    let mut outline: File<Outline> = yaml::read(file, text)?;
    let mut shared: Vec<Layer> = layer(file, typed.settings.as_ref(), outline.settings.as_ref());
    let (entries, outlines) = match environment {
        None => (typed.hosts, outline.hosts),
        Some(name) => {
            let typed_environment = typed.environments.remove(name);
            let outline_environment = outline.environments.remove(name);
            let (Some(of_types), Some(of_keys)) = (typed_environment, outline_environment) else {
                let meant = nearest(name, typed.environments.keys().map(String::as_str)).map(str::to_owned);
                return Err(InventoryError::UnknownEnvironment { name: name.to_owned(), nearest: meant });
            };
            shared.extend(layer(file, of_types.settings.as_ref(), of_keys.settings.as_ref()));
            (of_types.hosts, of_keys.hosts)
        }
    };
    let mut hosts: Vec<Known> = Vec::new();
    for (entry, outline) in entries.into_iter().zip(outlines) {
        let HostEntry { address, name, settings } = entry.value;
        let name = name.unwrap_or_else(|| address.clone());
        if address.is_empty() || hosts.iter().any(|host| host.name == name) {
            let message = if address.is_empty() {
                "a host has no address".to_owned()
            } else {
                format!("host `{name}` is named twice")
            };
            return Err(SourceError::new(file, text, entry.line, entry.column, message).into());
        }
        let mut layers = shared.clone();
        layers.extend(layer(file, settings.as_ref(), outline.value.settings.as_ref()));
        hosts.push(Known { name, address, layers });
    }
    Ok((shared, hosts))
}

fn layer(file: &str, settings: Option<&Settings>, outline: Option<&Outline>) -> Vec<Layer> {
    settings
        .zip(outline)
        .map(|(settings, outline)| Layer::from_file(file, settings, outline))
        .into_iter()
        .collect()
}

/// Each `--host`, as the file knows it if it does.
fn named(hosts: &[String], known: &[Known], shared: &[Layer]) -> Vec<Known> {
    hosts
        .iter()
        .map(|given| {
            known.iter().find(|host| host.name == *given || host.address == *given).cloned().unwrap_or_else(
                || Known { name: given.clone(), address: given.clone(), layers: shared.to_vec() },
            )
        })
        .collect()
}

fn limited(hosts: Vec<Known>, limit: Option<&str>) -> Result<Vec<Known>, InventoryError> {
    let Some(limit) = limit else { return Ok(hosts) };
    let all: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    let fits = |host: &Known| limit.split(',').any(|pattern| matches(pattern.trim(), &host.name));
    let left: Vec<Known> = hosts.into_iter().filter(fits).collect();
    if left.is_empty() {
        return Err(InventoryError::LimitFitsNone { limit: limit.to_owned(), hosts: all });
    }
    Ok(left)
}

/// Whether `pattern`, in which `*` stands for anything, fits `name`. Time grows with the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TlsMode;

    const FILE: &str = "\
settings:
  tls:
    mode: off
  public: {sql: true}
hosts:
  - ubuntu@one.example.com
  - host: ubuntu@10.0.0.2:2222
    name: two
    settings:
      domain: two.example.com
      public: {sql: false}
environments:
  staging:
    hosts: [root@staging.example.com]
    settings: {tls: {mode: acme}, domain: staging.example.com}
";

    fn selection(text: &str) -> Selection {
        Selection { file: Some(("stdbctl.yaml".to_owned(), text.to_owned())), ..Selection::default() }
    }

    fn names(selection: &Selection) -> Vec<String> {
        select(selection).unwrap().into_iter().map(|host| host.name).collect()
    }

    #[test]
    fn each_host_has_the_settings_of_all_its_layers() {
        let hosts = select(&selection(FILE)).unwrap();
        let [one, two] = &hosts[..] else { panic!("{hosts:?}") };
        assert_eq!(
            (one.name.as_str(), one.address.as_str()),
            ("ubuntu@one.example.com", "ubuntu@one.example.com")
        );
        assert_eq!((two.name.as_str(), two.address.as_str()), ("two", "ubuntu@10.0.0.2:2222"));
        assert_eq!((one.settings.tls.mode, two.settings.tls.mode), (TlsMode::Off, TlsMode::Off));
        assert_eq!((one.settings.public.sql, two.settings.public.sql), (true, false));
        assert_eq!(two.settings.domain.as_deref(), Some("two.example.com"));
        assert!(one.settings.public.subscribe && one.settings.domain.is_none());
    }

    #[test]
    fn an_environment_has_its_own_hosts_and_settings() {
        let staging = Selection { environment: Some("staging".to_owned()), ..selection(FILE) };
        let hosts = select(&staging).unwrap();
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0].settings.tls.mode, TlsMode::Acme);
        assert!(hosts[0].settings.public.sql);

        let mistyped = Selection { environment: Some("stagin".to_owned()), ..selection(FILE) };
        let told = select(&mistyped).unwrap_err().to_string();
        assert_eq!(told, "there is no environment `stagin`; did you mean `staging`?");
    }

    #[test]
    fn the_command_line_wins() {
        let asked = Selection {
            hosts: vec!["two".to_owned(), "root@new.example.com".to_owned()],
            variables: Layer::single("domain", "variable.example.com", "STDBCTL_DOMAIN").unwrap(),
            assignments: vec![Layer::from_assignment("public.call=true").unwrap()],
            ..selection(FILE)
        };
        let hosts = select(&asked).unwrap();
        assert_eq!(hosts[0].address, "ubuntu@10.0.0.2:2222");
        assert_eq!(hosts[0].settings.domain.as_deref(), Some("variable.example.com"));
        assert!(hosts[0].settings.public.call && !hosts[0].settings.public.sql);
        assert_eq!(hosts[1].name, "root@new.example.com");
        assert!(hosts[1].settings.public.sql);
    }

    #[test]
    fn a_host_needs_no_file() {
        let asked = Selection { hosts: vec!["local".to_owned()], ..Selection::default() };
        assert_eq!(select(&asked).unwrap()[0].settings, Settings::default());
        assert!(matches!(select(&Selection::default()), Err(InventoryError::NoHosts)));
    }

    #[test]
    fn limit_takes_patterns() {
        let limit = |pattern: &str| Selection { limit: Some(pattern.to_owned()), ..selection(FILE) };
        assert_eq!(names(&limit("tw*")), ["two"]);
        assert_eq!(names(&limit("*one*, two")).len(), 2);
        assert_eq!(
            select(&limit("three")).unwrap_err().to_string(),
            "--limit three fits none of the hosts ubuntu@one.example.com, two"
        );
        for (pattern, name, fits) in [
            ("", "", true),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "acb", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn bad_inventories_are_refused_at_their_line() {
        let bad = [
            "host: a\n",
            "hosts:\n  - hots: a\n",
            "hosts:\n  - name: a\n",
            "hosts:\n  - [a]\n",
            "hosts: [a, b, a]\n",
            "hosts: [\"\"]\n",
            "settings:\n  tls:\n    mod: off\n",
            "settings:\n  tls:\n    mode: on\n",
            "settings:\n  public:\n    sql: yes\n",
            "settings:\n  domain: a.example\n  domain: b.example\n",
            "settings:\n\tdomain: a.example\n",
            "environments:\n  staging:\n    settings: {}\n",
            "hosts: [a]\nsettings:\n  domain: Example.com\n",
            "hosts:\n  - host: a\n    settings:\n      spacetimedb:\n        version: 2.8\n",
        ];
        let told = bad.map(|text| {
            let error = select(&selection(text)).unwrap_err();
            let snippet = match &error {
                InventoryError::Source(source) => source.snippet.clone(),
                InventoryError::HostSettings { source, .. } => source.to_string(),
                _ => String::new(),
            };
            format!("{error}\n{snippet}")
        });
        insta::assert_snapshot!(told.join("\n\n"));
    }
}
