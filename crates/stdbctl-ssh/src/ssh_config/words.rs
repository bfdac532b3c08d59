//! One line of an `ssh_config(5)` file, taken apart as OpenSSH does.

/// Keywords whose value is the rest of the line as it stands.
const WHOLE_LINES: [&str; 4] = ["proxycommand", "localcommand", "remotecommand", "knownhostscommand"];

/// A keyword, in lower case, and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) keyword: String,
    pub(super) arguments: Vec<String>,
}

impl Line {
    /// None for an empty line and for a comment.
    ///
    /// # Errors
    /// If it has a quotation mark without its counterpart.
    pub(super) fn read(text: &str) -> Result<Option<Self>, &'static str> {
        let text = text.trim_matches([' ', '\t', '\r', '\x0c']);
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }
        let end = text.find([' ', '\t', '=']).unwrap_or(text.len());
        let (keyword, rest) = text.split_at(end);
        let keyword = keyword.trim_matches('"').to_ascii_lowercase();
        let rest = rest.trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t']);
        let arguments = if WHOLE_LINES.contains(&keyword.as_str()) {
            vec![rest.to_owned()]
        } else {
            arguments(rest).ok_or("has a quotation mark without its counterpart")?
        };
        Ok(Some(Self { keyword, arguments }))
    }
}

/// Words with quotation marks and backslashes taken off, up to a `#` that begins one.
fn arguments(text: &str) -> Option<Vec<String>> {
    let mut arguments = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| [' ', '\t'].contains(c)).is_some() {}
        match characters.peek() {
            None | Some('#') => return Some(arguments),
            Some(_) => {}
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(character) = characters.next_if(|c| quote.is_some() || ![' ', '\t'].contains(c)) {
            let next = characters.peek().copied();
            match character {
                '\\' if matches!(next, Some('\'' | '"' | '\\')) || (quote.is_none() && next == Some(' ')) => {
                    word.extend(characters.next());
                }
                '\'' | '"' if quote.is_none() => quote = Some(character),
                _ if quote == Some(character) => quote = None,
                _ => word.push(character),
            }
        }
        if quote.is_some() {
            return None;
        }
        arguments.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, keyword: &str, arguments: &[&str]) {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        assert_eq!(Line::read(text), Ok(Some(Line { keyword: keyword.to_owned(), arguments })), "{text}");
    }

    #[test]
    fn takes_lines_apart() {
        reads("Host a  b\t!c # and so on", "host", &["a", "b", "!c"]);
        reads("  Port=22\r", "port", &["22"]);
        reads("User = me", "user", &["me"]);
        reads(
            r#"IdentityFile "/a b/k" '/c d' e\ f g"h i""#,
            "identityfile",
            &["/a b/k", "/c d", "e f", "gh i"],
        );
        reads(
            r#"ProxyCommand = ssh -W %h:%p "a b" # not a comment"#,
            "proxycommand",
            &[r#"ssh -W %h:%p "a b" # not a comment"#],
        );
        reads("Compression", "compression", &[]);
        assert_eq!(Line::read(" # Host a"), Ok(None));
        assert!(Line::read(r#"User "me"#).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_arrives(words in prop::collection::vec("[^\"'\\\\\n\r]{0,12}", 0..5)) {
            let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let line = Line::read(&format!("Host {}", quoted.join(" "))).unwrap().unwrap();
            prop_assert_eq!(line.arguments, words);
        }

        #[test]
        fn nothing_makes_it_fall_over(text in "\\PC{0,60}") {
            Line::read(&text).ok();
        }
    }
}
