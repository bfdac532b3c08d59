//! Quoting for a POSIX shell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A NUL byte cannot be part of an argument, however it is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an argument contains a NUL byte")]
pub struct NulInArgument;

/// One argument, as a POSIX shell must be given it to read it back unchanged.
///
/// Always in single quotes: there is no list of harmless characters that could be wrong. Outside them, behind a
/// backslash, stands what fish (`\`) and csh (`!`) do not leave alone even there, so that both read the result
/// alike. Only a newline csh takes in no quotes.
pub fn quote(argument: &str) -> Result<String, NulInArgument> {
    if argument.contains('\0') {
        return Err(NulInArgument);
    }
    let mut quoted = String::with_capacity(argument.len() + 2);
    quoted.push('\'');
    for character in argument.chars() {
        if matches!(character, '\'' | '\\' | '!') {
            quoted.push_str(r"'\");
            quoted.push(character);
            quoted.push('\'');
        } else {
            quoted.push(character);
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// An argument vector as one line for a POSIX shell.
pub fn join<I, S>(arguments: I) -> Result<String, NulInArgument>
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    let quoted: Result<Vec<_>, _> = arguments.into_iter().map(|argument| quote(argument.as_ref())).collect();
    Ok(quoted?.join(" "))
}

/// The longest line that any system passes on as one argument: Linux stops at 128 KiB.
const LONGEST_LINE: usize = 120_000;
/// Old csh knows no longer words.
const LONGEST_WORD: usize = 900;

/// A line that runs a command with this standard input, which it carries itself; none if it would get too long.
///
/// OpenSSH takes no input before the command runs, so input sent in the ordinary way is one round trip late.
/// The price: everybody on the host can see it in the list of processes, so it must hold no secret. The host
/// needs `base64`, of the coreutils.
pub fn with_input(command: &str, input: &[u8]) -> Result<Option<String>, NulInArgument> {
    let input = STANDARD.encode(input);
    let command = quote(command)?;
    let mut line = format!(r#"sh -c 'for w; do printf %s "$w"; done | base64 -d | eval "$0"' {command}"#);
    let mut rest = input.as_str();
    while !rest.is_empty() {
        let (word, after) = rest.split_at(LONGEST_WORD.min(rest.len()));
        line.push(' ');
        line.push_str(word);
        rest = after;
    }
    Ok((line.len() <= LONGEST_LINE).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn echoed_by_sh(line: &str) -> Vec<u8> {
        let script = format!(r#"set -- {line}; for a do printf '%s\0' "$a"; done"#);
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sh_reads_back_what_was_quoted(arguments in prop::collection::vec("[^\0]{0,40}", 1..6)) {
            let expected: Vec<u8> =
                arguments.iter().flat_map(|a| a.bytes().chain(std::iter::once(0))).collect();
            prop_assert_eq!(echoed_by_sh(&join(&arguments).unwrap()), expected);
        }
    }

    #[test]
    fn a_line_carries_its_input() {
        for length in [0, 1, 899, 5000, 80_000] {
            let input: Vec<u8> = (0..length).map(|number: u32| number.to_le_bytes()[0]).collect();
            let line = with_input(r#"cat; echo "it's over""#, &input).unwrap().unwrap();
            let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
            assert!(output.stdout == [&input, &b"it's over\n"[..]].concat(), "{length}");
        }
        assert_eq!(with_input("cat", &vec![7; 100_000]), Ok(None));
    }

    #[test]
    fn quotes_what_shells_trip_over() {
        assert_eq!(quote("").unwrap(), "''");
        assert_eq!(quote("it's").unwrap(), r"'it'\''s'");
        assert_eq!(quote(r"a!b\\c").unwrap(), r"'a'\!'b'\\''\\'c'");
        assert_eq!(join(["a b", "$(id)"]).unwrap(), "'a b' '$(id)'");
        assert_eq!(quote("a\0b"), Err(NulInArgument));
    }
}
