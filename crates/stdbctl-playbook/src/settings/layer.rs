//! Settings come in layers, each with its origin; a later one wins, key by key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Settings, rules};
use crate::yaml::{self, Outline, SourceError};

/// What the names of the environment's variables begin with.
const PREFIX: &str = "STDBCTL_";

/// A setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// In a file.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no such setting.
    #[error("{origin}: there is no setting `{key}`{}", suggest(nearest.as_deref()))]
    Unknown {
        /// What was given.
        key: String,
        /// Where.
        origin: String,
        /// The setting most like it.
        nearest: Option<String>,
    },
    /// It is not written `KEY=VALUE`.
    #[error("--set {0}: write it as KEY=VALUE, for instance `--set tls.mode=off`")]
    NotAnAssignment(String),
    /// The value does not fit the setting.
    #[error("setting `{key}` ({origin}): {message}")]
    Invalid {
        /// The setting.
        key: String,
        /// Where its value comes from.
        origin: String,
        /// Why it does not fit.
        message: String,
    },
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq)]
struct Given {
    value: Value,
    origin: String,
}

/// Settings from one place: only those that were written there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    given: BTreeMap<String, Given>,
}

impl Layer {
    /// What a file says: `settings` is the typed value, `outline` tells which of its keys were written, and where.
    pub(crate) fn from_file(file: &str, settings: &Settings, outline: &Outline) -> Self {
        let typed = flatten(settings);
        let mut places = BTreeMap::new();
        collect_places("", outline, &mut places);
        let given = places
            .into_iter()
            .filter_map(|(key, (line, column))| {
                let value = typed.get(&key)?.clone();
                Some((key, Given { value, origin: format!("{file}:{line}:{column}") }))
            })
            .collect();
        Self { given }
    }

    /// One `--set KEY=VALUE`. The value is YAML; a value that is not, such as `[::1]`, is taken as it stands.
    ///
    /// # Errors
    /// If there is no such setting, or the value is not of its type.
    pub fn from_assignment(assignment: &str) -> Result<Self, SettingsError> {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| SettingsError::NotAnAssignment(assignment.to_owned()))?;
        Self::single(key, value, &format!("--set {key}"))
    }

    /// The environment's `STDBCTL_...` variables: `STDBCTL_TLS_MODE` is `tls.mode`. Others of that name are left
    /// to their owners, unless they are plainly meant as settings.
    ///
    /// # Errors
    /// If a variable names a group of settings but no setting of it, or its value is not of the setting's type.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let keys: BTreeMap<String, String> =
            keys().into_iter().map(|key| (variable_name(&key), key)).collect();
        let mut layer = Self::default();
        for (variable, value) in variables {
            if let Some(key) = keys.get(&variable) {
                layer.given.extend(Self::single(key, &value, &variable)?.given);
            } else if names_a_group(&variable) || is_misspelt(&variable, keys.keys().map(String::as_str)) {
                let nearest = yaml::nearest(&variable, keys.keys().map(String::as_str)).map(str::to_owned);
                return Err(SettingsError::Unknown {
                    key: variable,
                    origin: "environment".to_owned(),
                    nearest,
                });
            }
        }
        Ok(layer)
    }

    /// One setting given as text.
    ///
    /// # Errors
    /// If there is no such setting, or the value is not of its type.
    pub fn single(key: &str, text: &str, origin: &str) -> Result<Self, SettingsError> {
        let known = keys();
        if !known.iter().any(|k| k == key) {
            let nearest = yaml::nearest(key, known.iter().map(String::as_str)).map(str::to_owned);
            return Err(SettingsError::Unknown { key: key.to_owned(), origin: origin.to_owned(), nearest });
        }
        let value = read_value(key, text).map_err(|message| SettingsError::Invalid {
            key: key.to_owned(),
            origin: origin.to_owned(),
            message,
        })?;
        let given = Given { value, origin: origin.to_owned() };
        Ok(Self { given: BTreeMap::from([(key.to_owned(), given)]) })
    }
}

/// Whether a variable is so near to a setting's that nothing else can be meant.
fn is_misspelt<'a>(variable: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    let own = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
    let Some(given) = variable.strip_prefix(PREFIX) else { return false };
    names.any(|name| strsim::damerau_levenshtein(given, own(name)) <= 2 && given.len() > 4)
}

/// Lays the layers over the defaults, the last one on top, and checks the whole.
///
/// # Errors
/// For the first setting whose value does not make sense, naming where it came from.
pub fn merge<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Result<Settings, SettingsError> {
    let mut given: BTreeMap<String, Given> = flatten(&Settings::default())
        .into_iter()
        .map(|(key, value)| (key, Given { value, origin: "not set".to_owned() }))
        .collect();
    for layer in layers {
        given.extend(layer.given.clone());
    }
    let tree = unflatten(given.iter().map(|(key, g)| (key.as_str(), g.value.clone())));
    let settings: Settings = serde_json::from_value(tree).map_err(|error| SettingsError::Invalid {
        key: "settings".to_owned(),
        origin: "all".to_owned(),
        message: error.to_string(),
    })?;
    rules::check(&settings).map_err(|broken| SettingsError::Invalid {
        key: broken.key.to_owned(),
        origin: given.get(broken.key).map_or_else(String::new, |g| g.origin.clone()),
        message: broken.message,
    })?;
    Ok(settings)
}

/// Every setting's key: `domain`, `tls.mode`, ...
pub(crate) fn keys() -> Vec<String> {
    flatten(&Settings::default()).into_keys().collect()
}

/// Every setting's key with its value.
pub(crate) fn flatten(settings: &Settings) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in object(serde_json::to_value(settings).unwrap_or_default()) {
        match value {
            Value::Object(group) => {
                flat.extend(group.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            leaf => {
                flat.insert(key, leaf);
            }
        }
    }
    flat
}

/// The other way round. Keys have one dot at most.
pub(crate) fn unflatten<'a>(flat: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let mut tree = Map::new();
    for (key, value) in flat {
        match key.split_once('.') {
            None => {
                tree.insert(key.to_owned(), value);
            }
            Some((group, inner)) => {
                let group = tree.entry(group).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(group) = group {
                    group.insert(inner.to_owned(), value);
                }
            }
        }
    }
    Value::Object(tree)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn collect_places(prefix: &str, outline: &Outline, into: &mut BTreeMap<String, (usize, usize)>) {
    for (name, child) in &outline.children {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        collect_places(&key, &child.value, into);
        into.insert(key, (child.line, child.column));
    }
}

fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

fn names_a_group(variable: &str) -> bool {
    keys()
        .iter()
        .filter_map(|key| key.split_once('.'))
        .any(|(group, _)| variable.starts_with(&format!("{}_", variable_name(group))))
}

/// Reads `text` as the YAML value of `key`, by reading a document in which nothing else is set.
fn read_value(key: &str, text: &str) -> Result<Value, String> {
    let as_yaml = read_document(key, text);
    if as_yaml.is_err()
        && let Ok(value) = read_document(key, &Value::from(text).to_string())
    {
        return Ok(value);
    }
    as_yaml
}

fn read_document(key: &str, text: &str) -> Result<Value, String> {
    if text.contains(['\n', '\r']) {
        return Err("the value has more than one line".to_owned());
    }
    let document = match key.split_once('.') {
        Some((group, inner)) => format!("{group}:\n  {inner}: {text}\n"),
        None => format!("{key}: {text}\n"),
    };
    let settings: Settings = yaml::read(key, &document).map_err(|error| error.message)?;
    flatten(&settings).remove(key).ok_or_else(|| "no such setting".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Source, TlsMode};

    fn set(assignments: &[&str]) -> Result<Settings, SettingsError> {
        let layers = assignments.iter().map(|text| Layer::from_assignment(text));
        merge(&layers.collect::<Result<Vec<_>, _>>()?)
    }

    #[test]
    fn defaults_are_sound() {
        assert_eq!(set(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn a_later_layer_wins_key_by_key() {
        let settings =
            set(&["domain=a.example", "tls.mode=off", "domain=b.example", "public.sql=true"]).unwrap();
        assert_eq!(settings.domain.as_deref(), Some("b.example"));
        assert_eq!(settings.tls.mode, TlsMode::Off);
        assert!(settings.public.sql && settings.public.subscribe);
        assert_eq!(set(&["domain=a.example", "domain="]).unwrap().domain, None);
    }

    #[test]
    fn values_are_yaml_of_the_settings_type() {
        let settings = set(&[
            "spacetimedb.version=1.10.0",
            "spacetimedb.archive=[1]/release.tar.gz",
            "spacetimedb.source=archive",
            &format!("spacetimedb.sha256={}", "1".repeat(64)),
            "spacetimedb.listen=127.0.0.1:3999",
        ])
        .unwrap();
        assert_eq!(settings.spacetimedb.version, "1.10.0");
        assert_eq!(settings.spacetimedb.archive.as_deref(), Some("[1]/release.tar.gz"));
        assert_eq!(settings.spacetimedb.source, Source::Archive);
        assert_eq!(settings.spacetimedb.sha256.unwrap().len(), 64);
        assert_eq!(settings.spacetimedb.listen.port(), 3999);
    }

    #[test]
    fn the_environment_names_settings() {
        let variables =
            [("STDBCTL_TLS_MODE", "off"), ("STDBCTL_SPACETIMEDB_ROOT_DIR", "/data"), ("STDBCTL_LOG", "x")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = merge(&[Layer::from_environment(variables).unwrap()]).unwrap();
        assert_eq!((settings.tls.mode, settings.spacetimedb.root_dir.as_str()), (TlsMode::Off, "/data"));

        let mistyped = [("STDBCTL_DOMIAN".to_owned(), "example.com".to_owned())];
        let error = Layer::from_environment(mistyped).unwrap_err().to_string();
        assert_eq!(
            error,
            "environment: there is no setting `STDBCTL_DOMIAN`; did you mean `STDBCTL_DOMAIN`?"
        );
        let mistyped = [("STDBCTL_TLS_MOD".to_owned(), "off".to_owned())];
        let error = Layer::from_environment(mistyped).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment: there is no setting `STDBCTL_TLS_MOD`; did you mean `STDBCTL_TLS_MODE`?"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad: &[&[&str]] = &[
            &["tls.mod=off"],
            &["domian=example.com"],
            &["tls=off"],
            &["tls.mode"],
            &["tls.mode=on"],
            &["public.sql=yes"],
            &["public.sql=true\n  call: true"],
            &["spacetimedb.listen=localhost:3000"],
            &["spacetimedb.listen=127.0.0.1:80"],
            &["domain=example"],
            &["domain=Example.com"],
            &["domain=example.com; return 200"],
            &["domain=../x.example"],
            &["domain=-a.example"],
            &["domain=10.0.0.1"],
            &["tls.email=ops"],
            &["tls.email=-x@example.com"],
            &["tls.acme_directory=ca.example/dir"],
            &["tls.acme_directory=https://user:pw@ca.example/dir"],
            &["tls.acme_directory=https://ca.example/$(id)"],
            &["domain=example.com", "tls.mode=files"],
            &["domain=example.com", "tls.mode=files", "tls.certificate=a.pem"],
            &["spacetimedb.version=latest"],
            &["spacetimedb.version=v2.8.3"],
            &["spacetimedb.version=2.8"],
            &["spacetimedb.version=2.8.3-../.."],
            &["spacetimedb.source=mirror"],
            &["spacetimedb.source=archive"],
            &["spacetimedb.source=installer"],
            &["spacetimedb.sha256=abc"],
            &["spacetimedb.root_dir=stdb"],
            &["spacetimedb.root_dir=/stdb/"],
            &["spacetimedb.root_dir=/stdb/../etc"],
            &["spacetimedb.root_dir=/st db"],
            &["spacetimedb.root_dir=/"],
            &["spacetimedb.root_dir=/home/stdb"],
            &["spacetimedb.root_dir=/var/lib"],
        ];
        let told: Vec<String> =
            bad.iter().map(|set_| format!("{set_:?}\n    {}", set(set_).unwrap_err())).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn directories_of_its_own_are_accepted() {
        for path in ["/stdb", "/srv/stdb", "/var/lib/spacetimedb", "/mnt/data-1/stdb_2", "/homes"] {
            set(&[&format!("spacetimedb.root_dir={path}")]).unwrap();
        }
    }
}
