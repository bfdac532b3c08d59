//! What must hold whatever bytes come, one function for each target of `fuzz/`. Each panics where it does not hold.
//!
//! The tests below replay the corpora, so that what a fuzzer once found stays found.

#![expect(clippy::missing_panics_doc, clippy::expect_used, reason = "to panic is how they tell")]

mod known_hosts_update;

use std::path::Path;

use russh::keys::PublicKey;

use crate::known_hosts::{KnownHosts, Verdict, spelled, wildcard_matches};
use crate::{printable, quote};

pub use self::known_hosts_update::known_hosts_update;

/// A key like any other.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

/// `HOST PORT`, then a `known_hosts` file: it is read, and what is added to it counts.
pub fn known_hosts(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let asked = parts.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let file = parts.next().unwrap_or_default();
    let (host, port) = asked.split_once(' ').unwrap_or((asked, ""));
    let port: u16 = port.parse().unwrap_or(22);
    if host.is_empty() || !host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c)) {
        return;
    }
    let key = PublicKey::from_openssh(KEY).expect("the key above is one");
    let key = key.key_data();
    let with = |line: &str| {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &[file, b"\n", line.as_bytes(), b"\n"].concat());
        known
    };
    let as_it_is = with("");
    let verdict = as_it_is.check(host, port, key);
    assert_eq!(as_it_is.revoked(host, port, key).is_some(), matches!(verdict, Verdict::Revoked(_)));
    drop((as_it_is.authorities(host, port), as_it_is.key_types(host, port)));
    let trusted = with(&format!("{} {KEY}", spelled(host, port))).check(host, port, key);
    match verdict {
        Verdict::Revoked(place) => assert_eq!(trusted, Verdict::Revoked(place), "trust undoes no revocation"),
        _ => assert_eq!(trusted, Verdict::Known),
    }
    assert!(matches!(with(&format!("@revoked * {KEY}")).check(host, port, key), Verdict::Revoked(_)));
    wildcards(file, host);
}

/// The matching of names against the obvious way to do it.
fn wildcards(pattern: &[u8], name: &str) {
    let pattern = String::from_utf8_lossy(pattern.get(..pattern.len().min(48)).unwrap_or_default());
    let name = name.get(..name.len().min(48)).unwrap_or_default();
    let expected = matches_slowly(pattern.as_bytes(), name.as_bytes());
    assert_eq!(wildcard_matches(&pattern, name), expected, "{pattern:?} {name:?}");
}

fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    // Which beginnings of the name the pattern so far covers.
    let mut covered = vec![false; name.len() + 1];
    if let Some(first) = covered.first_mut() {
        *first = true;
    }
    for wanted in pattern {
        let before = covered.clone();
        let mut any = false;
        for (index, now) in covered.iter_mut().enumerate() {
            any |= before.get(index).copied().unwrap_or(false);
            let one_less = index.checked_sub(1);
            let fits =
                one_less.and_then(|at| name.get(at)).is_some_and(|byte| *wanted == b'?' || byte == wanted);
            let step = fits && one_less.and_then(|at| before.get(at)).copied().unwrap_or(false);
            *now = if *wanted == b'*' { any } else { step };
        }
    }
    covered.last().copied().unwrap_or(false)
}

/// What `ssh -G` printed, or an `ssh_config` file: it is read or refused, and what would be dangerous always is refused.
pub fn ssh_config(bytes: &[u8]) {
    crate::ssh_config::fuzzing::check(&String::from_utf8_lossy(bytes));
}

/// Bytes of a server, as a message quotes them: short, and nothing in them drives a terminal.
pub fn server_text(bytes: &[u8]) {
    let shown = printable(bytes);
    assert!(shown.chars().count() <= 401, "{} characters", shown.chars().count());
    assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
    assert!(!shown.contains(HIDING), "{shown:?}");
    // Printing what is printable already changes nothing but the end.
    let again = printable(&shown);
    assert!(again == shown.trim() || shown.ends_with('…'), "{shown:?} became {again:?}");
}

/// Characters that reverse, split or hide what stands around them.
const HIDING: &[char] = &[
    '\u{ad}',
    '\u{61c}',
    '\u{180e}',
    '\u{200b}',
    '\u{200e}',
    '\u{200f}',
    '\u{2028}',
    '\u{2029}',
    '\u{202a}',
    '\u{202b}',
    '\u{202c}',
    '\u{202d}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{206a}',
    '\u{206f}',
    '\u{feff}',
    '\u{e0001}',
    '\u{e0041}',
];

/// Arguments, one a line: a shell reads back from the quoted line what went in.
pub fn quoting(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let arguments: Vec<&str> = text.split('\n').collect();
    let Ok(line) = quote::join(&arguments) else {
        assert!(text.contains('\0'));
        return;
    };
    assert_eq!(words(&line), arguments);
    // A newline in an argument is as good as any other character.
    let whole = quote::quote(&text).expect("there is no NUL in it");
    assert_eq!(words(&whole), [&*text]);
    if let Ok(Some(line)) = quote::with_input(&text, bytes) {
        assert_eq!(words(&line).get(3).map(String::as_str), Some(&*text));
    }
}

/// The words of a line as POSIX splits it, for lines of single quotes, backslashes outside them and plain letters.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            _ if quoted => word.get_or_insert_default().push(character),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            ' ' => words.extend(word.take()),
            _ => {
                assert!(
                    !"\n\t\"$`;&|<>()*?[#~!{".contains(character),
                    "{character:?} stands unquoted: {line}"
                );
                word.get_or_insert_default().push(character);
            }
        }
    }
    assert!(!quoted, "a quote is left open: {line}");
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files =
            std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{} is empty", corpus.display());
        inputs
    }

    fn replay(target: &str, check: fn(&[u8])) {
        for input in corpus(target) {
            check(&input);
        }
    }

    /// The first lines of a target's inputs, and all others.
    fn lines(target: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let inputs = corpus(target);
        let lines = inputs.iter().flat_map(|input| input.split_inclusive(|byte| *byte == b'\n').enumerate());
        let (first, others): (Vec<_>, Vec<_>) = lines.partition(|(number, _)| *number == 0);
        let text = |lines: Vec<(usize, &[u8])>| lines.into_iter().map(|(_, line)| line.to_vec()).collect();
        (text(first), text(others))
    }

    proptest! {
        #[test]
        fn known_hosts_update_of_mixed_and_damaged_lines(
            first in prop::sample::select(lines("known_hosts_update").0),
            others in prop::collection::vec(
                (prop::sample::select(lines("known_hosts_update").1), any::<Option<(prop::sample::Index, u8)>>()),
                0..10,
            ),
        ) {
            let mut input = first;
            for (mut line, damage) in others {
                if let Some((place, byte)) = damage {
                    *place.get_mut(&mut line) = byte;
                }
                input.extend(line);
            }
            known_hosts_update(&input);
        }
    }

    #[test]
    fn known_hosts_of_the_corpus() {
        replay("known_hosts", known_hosts);
    }

    #[test]
    fn known_hosts_update_of_the_corpus() {
        replay("known_hosts_update", known_hosts_update);
    }

    #[test]
    fn ssh_config_of_the_corpus() {
        replay("ssh_config", ssh_config);
    }

    #[test]
    fn server_text_of_the_corpus() {
        replay("server_text", server_text);
    }

    #[test]
    fn quoting_of_the_corpus() {
        replay("quoting", quoting);
    }
}
