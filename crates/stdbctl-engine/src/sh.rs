//! The only place where a string becomes a word of a shell script.

/// `text` as one word for sh, whatever it holds.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `words`, quoted, one space between.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Whole lines of a script, each ended by a newline.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// A script without its comments and indentation: fewer bytes in the first flight.
pub fn condense(script: &str) -> String {
    script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')).fold(
        String::with_capacity(script.len()),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sh_reads_back_what_was_quoted(text in "[^\0]{0,40}") {
            let script = format!("printf %s {}", quote(&text));
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(output.stdout, text.into_bytes());
        }
    }

    #[test]
    fn a_tilde_or_an_empty_word_stays_a_word() {
        assert_eq!(words(["~", "", "a b", "plain"]), "'~' '' 'a b' plain");
    }
}
