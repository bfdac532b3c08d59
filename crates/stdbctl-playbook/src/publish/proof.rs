//! What a check expects, in the form in which the host compares it.

/// The rows that an expectation means, one form a line, without blanks outside of texts: JSON rows as they are, and a
/// single value as the only one of the only row, once as it is and once as a text.
pub(super) fn expected_rows(expect: &str) -> String {
    let value = expect.trim();
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok();
    let mut forms = Vec::new();
    if is_json && value.starts_with('[') {
        forms.push(without_blanks(value));
    }
    if is_json {
        forms.push(format!("[[{}]]", without_blanks(value)));
    }
    forms.push(format!("[[{}]]", serde_json::Value::from(value)));
    forms.join("\n")
}

/// JSON without the blanks between its parts. Numbers stay as they are written: they may be larger than any of ours.
fn without_blanks(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |c: &char| {
        if quoted {
            quoted = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        quoted = *c == '"';
        !c.is_ascii_whitespace()
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_or_rows_are_expected() {
        assert_eq!(expected_rows("3"), "[[3]]\n[[\"3\"]]");
        assert_eq!(expected_rows("ada"), "[[\"ada\"]]");
        assert_eq!(expected_rows("\"ada l\""), "[[\"ada l\"]]\n[[\"\\\"ada l\\\"\"]]");
        let rows = expected_rows("[[1, \"a b\\\" c\"],\n [340282366920938463463374607431768211455, null]]");
        assert_eq!(
            rows.lines().next(),
            Some("[[1,\"a b\\\" c\"],[340282366920938463463374607431768211455,null]]")
        );
        assert_eq!(expected_rows("[]").lines().next(), Some("[]"), "no rows");
    }
}
