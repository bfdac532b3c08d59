//! YAML in, typed values out, and errors that show the line. The only file that names the YAML library.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, MessageFormatter, Options, UserMessageFormatter};

/// Something in a file the operator, or we, wrote is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SourceError {
    /// The file, as the operator named it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong, in a lower-case fragment.
    pub message: String,
    /// The line with a mark under the column, ready to print under the message.
    pub snippet: String,
}

impl SourceError {
    /// An error at a place in `text`.
    pub fn new(file: &str, text: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        let (line, column) = (line.max(1), column.max(1));
        let source = text.lines().nth(line - 1).unwrap_or_default();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent: String =
            source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let snippet = format!("{margin} |\n{number} | {source}\n{margin} | {indent}^");
        Self { file: file.to_owned(), line, column, message: message.into(), snippet }
    }
}

/// A value with the place it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its column, counted from 1.
    pub column: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        let place = read.referenced;
        Ok(Self { value: read.value, line: to_usize(place.line()), column: to_usize(place.column()) })
    }
}

/// Which keys a mapping has, and where: what a typed value with defaults no longer tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The keys of a mapping; empty for anything else.
    pub children: BTreeMap<String, Spanned<Outline>>,
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OutlineVisitor)
    }
}

struct OutlineVisitor;

impl<'de> Visitor<'de> for OutlineVisitor {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
        let mut children = BTreeMap::new();
        while let Some((key, child)) = map.next_entry::<String, Spanned<Outline>>()? {
            children.insert(key, child);
        }
        Ok(Outline { children })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Outline, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Outline::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_i128<E>(self, _: i128) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::default())
    }

    fn visit_none<E>(self) -> Result<Outline, E> {
        Ok(Outline::default())
    }
}

/// Reads one document. `true` and `false` are the only booleans, and no key may come twice.
///
/// # Errors
/// If it is not YAML or not a `T`, with the place and what was meant, if that can be guessed.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SourceError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let place = error.location();
        let line = place.map_or(1, |p| to_usize(p.line()));
        let column = place.map_or(1, |p| to_usize(p.column()));
        let message = describe(&error);
        match tab_from(text, line).filter(|_| message.contains("tab")) {
            Some((line, column)) => {
                SourceError::new(file, text, line, column, "a tab indents this line: YAML takes spaces only")
            }
            None => SourceError::new(file, text, line, column, message),
        }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    }
}

fn describe(error: &serde_saphyr::Error) -> String {
    let message = UserMessageFormatter.format_message(error);
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match meant(&message) {
        Some(name) => format!("{message}; did you mean `{name}`?"),
        None => message,
    }
}

/// The first place from `line` on where a tab indents. What the parser says of one depends on where it stands.
fn tab_from(text: &str, line: usize) -> Option<(usize, usize)> {
    text.lines().enumerate().skip(line.saturating_sub(1)).find_map(|(index, source)| {
        let indent = source.chars().take_while(|c| c.is_whitespace());
        indent.enumerate().find(|(_, c)| *c == '\t').map(|(column, _)| (index + 1, column + 1))
    })
}

/// The parser's words are "unknown field `prot`, expected one of host, port".
fn meant(message: &str) -> Option<String> {
    let (given, expected) = message.strip_prefix("unknown ")?.split_once(", expected ")?;
    let given = given.split('`').nth(1)?;
    let names = expected.strip_prefix("one of ").unwrap_or(expected).split(", ");
    nearest(given, names).map(str::to_owned)
}

/// The name most like `given`, if one is like it at all.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Site {
        #[expect(dead_code, reason = "only read")]
        port: u16,
        #[serde(default)]
        #[expect(dead_code, reason = "only read")]
        open: bool,
    }

    fn refused(text: &str) -> String {
        let error = read::<Site>("site.yaml", text).unwrap_err();
        format!("{error}\n{}\n", error.snippet)
    }

    #[test]
    fn errors_show_the_line() {
        let documents = [
            "port: 1\nprot: 2\n",
            "port: 1\nport: 2\n",
            "port: [1]\n",
            "port: 1\nopen: yes\n",
            "port: 70000\n",
            "port:\n\t1\n",
            "a:\n\tport: 1\n",
            "port: 1\n  open: true\n",
            "port: {\n",
            "",
        ];
        let shown: Vec<String> =
            documents.iter().map(|text| format!("{text:?}\n{}", refused(text))).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn nested_documents_end_quickly() {
        let deep = "[".repeat(20_000);
        assert!(read::<Site>("deep.yaml", &deep).is_err());
    }

    #[test]
    fn an_outline_knows_where_each_key_is() {
        let outline: Outline = read("x.yaml", "a:\n  b: 1.10\n  c: [1, {d: 2}]\ne:\n").unwrap();
        let a = &outline.children["a"];
        assert_eq!((a.value.children["b"].line, a.value.children["c"].line), (2, 3));
        assert!(outline.children["e"].value.children.is_empty());
    }

    #[test]
    fn nearest_keeps_silent_when_nothing_is_near() {
        assert_eq!(nearest("tls.mod", ["tls.mode", "domain"]), Some("tls.mode"));
        assert_eq!(nearest("zzz", ["tls.mode", "domain"]), None);
    }
}
