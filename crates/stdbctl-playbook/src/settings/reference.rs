//! The settings, told to people and programs: taken from the doc comments of the types.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Settings;
use super::layer::flatten;

/// One setting, for `stdbctl settings` and the README.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SettingRow {
    /// Its key, as in YAML and `--set`.
    pub key: String,
    /// Its default as YAML; empty if there is none.
    pub default: String,
    /// What it does.
    pub description: String,
}

/// The JSON schema of the settings.
pub fn schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

/// All settings, in alphabetical order.
pub fn reference() -> Vec<SettingRow> {
    let descriptions = descriptions(&schema());
    flatten(&Settings::default())
        .into_iter()
        .map(|(key, default)| SettingRow {
            description: descriptions.get(&key).cloned().unwrap_or_default(),
            default: match default {
                Value::Null => String::new(),
                Value::String(text) => text,
                other => other.to_string(),
            },
            key,
        })
        .collect()
}

/// The table in the README.
pub fn reference_markdown() -> String {
    let head = ["| Setting | Default | |".to_owned(), "|---|---|---|".to_owned()];
    let rows = reference().into_iter().map(|row| {
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        format!("| `{}` | {default} | {} |", row.key, row.description)
    });
    head.into_iter().chain(rows).map(|line| line + "\n").collect()
}

fn descriptions(schema: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, property) in properties(schema) {
        let group = property.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        let group = group.and_then(|name| schema.get("$defs")?.get(name));
        let inner: Vec<_> = group.into_iter().flat_map(properties).collect();
        if inner.is_empty() {
            found.insert(key.clone(), description(property));
        }
        for (name, property) in inner {
            found.insert(format!("{key}.{name}"), description(property));
        }
    }
    found
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn description(property: &Value) -> String {
    let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_documented() {
        for row in reference() {
            assert!(row.description.ends_with('.'), "{} has no description", row.key);
        }
        insta::assert_snapshot!(reference_markdown());
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let block = readme.split_once("<!-- settings -->").map(|(_, rest)| rest);
        let block = block.and_then(|rest| rest.split_once("<!-- settings -->")).map(|(block, _)| block);
        assert_eq!(block.map(str::trim), Some(reference_markdown().trim()));
    }

    #[test]
    fn the_schema_knows_no_other_keys() {
        assert_eq!(schema()["additionalProperties"], false);
        assert_eq!(schema()["$defs"]["Tls"]["additionalProperties"], false);
    }
}
