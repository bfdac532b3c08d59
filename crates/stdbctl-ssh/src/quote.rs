//! Quoting for a POSIX shell.

/// A NUL byte cannot be part of an argument, however it is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an argument contains a NUL byte")]
pub struct NulInArgument;

/// One argument, as a POSIX shell must be given it to read it back unchanged.
///
/// Always in single quotes: there is no list of harmless characters that could be wrong. fish and csh read the
/// result alike, except that csh expands `!` and fish treats `\\` and `\'` inside quotes as escapes.
pub fn quote(argument: &str) -> Result<String, NulInArgument> {
    if argument.contains('\0') {
        return Err(NulInArgument);
    }
    let mut quoted = String::with_capacity(argument.len() + 2);
    quoted.push('\'');
    for character in argument.chars() {
        if character == '\'' {
            quoted.push_str(r"'\''");
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
    fn quotes_what_shells_trip_over() {
        assert_eq!(quote("").unwrap(), "''");
        assert_eq!(quote("it's").unwrap(), r"'it'\''s'");
        assert_eq!(join(["a b", "$(id)"]).unwrap(), "'a b' '$(id)'");
        assert_eq!(quote("a\0b"), Err(NulInArgument));
    }
}
