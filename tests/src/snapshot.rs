//! What is on a host, read without the tool under test, as lines that can be compared.

use std::collections::BTreeMap;
use std::fmt;

/// Everything on a host that a run could touch: two of them are equal if nothing was touched between them.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(Lines);

/// What a deployment made of a host: equal for two hosts with the same deployment.
#[derive(Debug, PartialEq, Eq)]
pub struct State(Lines);

/// Values by their names.
type Lines = BTreeMap<String, String>;

impl Snapshot {
    /// Reads what `snapshot.sh` wrote.
    pub fn parse(text: &str) -> Self {
        Self(parse(text))
    }

    /// How `later` differs, a line a difference.
    pub fn differences(&self, later: &Self) -> Differences {
        differences(&self.0, &later.0)
    }
}

impl State {
    /// Reads what `state.sh` wrote.
    pub fn parse(text: &str) -> Self {
        Self(parse(text))
    }

    /// How `other` differs, a line a difference.
    pub fn differences(&self, other: &Self) -> Differences {
        differences(&self.0, &other.0)
    }
}

/// How two of them differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Differences(Vec<String>);

impl Differences {
    /// Asserts that there are none.
    ///
    /// # Panics
    /// When there are; with all of them.
    pub fn assert_none(&self, why: &str) {
        assert!(self.0.is_empty(), "{why}\n{self}");
    }

    /// The differences.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// `NAME TAB VALUE` lines. A name that comes twice keeps both.
fn parse(text: &str) -> Lines {
    let mut lines = Lines::new();
    for line in text.lines() {
        let (name, value) = line.split_once('\t').unwrap_or((line, ""));
        let known = lines.entry(name.to_owned()).or_default();
        if !known.is_empty() {
            known.push_str(" | ");
        }
        known.push_str(value);
    }
    lines
}

fn differences(before: &Lines, after: &Lines) -> Differences {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("- {name}"));
    let changed = after.iter().filter_map(|(name, new)| match before.get(name) {
        None => Some(format!("+ {name}  {new}")),
        Some(old) if old != new => Some(format!("~ {name}\n    {old}\n    {new}")),
        Some(_) => None,
    });
    Differences(gone.chain(changed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_named() {
        let before = Snapshot::parse("same\t1\ngone\t2\nedited\t3\n");
        let after = Snapshot::parse("same\t1\nedited\t4\nnew\t5\n");
        let differences = before.differences(&after);
        assert_eq!(differences.lines(), ["- gone", "~ edited\n    3\n    4", "+ new  5"]);
        before.differences(&before).assert_none("itself");
    }

    #[test]
    fn a_value_may_be_empty_and_a_name_may_come_twice() {
        let once = Snapshot::parse("a\t1\n");
        assert_ne!(once, Snapshot::parse("a\t1\na\t1\n"));
        assert_eq!(Snapshot::parse("b"), Snapshot::parse("b\t"));
    }
}
