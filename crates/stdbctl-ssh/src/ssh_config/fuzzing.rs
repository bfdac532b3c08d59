//! What must hold whatever the configuration says.

use super::settings::Settings;
use super::words::Line;
use crate::target::Target;

/// Settings that must never be taken for harmless, whatever stands behind them.
const DANGEROUS: [&str; 4] = [
    "stricthostkeychecking no",
    "stricthostkeychecking off",
    "revokedhostkeys /etc/ssh/revoked",
    "proxyusefdpass yes",
];

/// Takes a text for what `ssh -G` has printed, and each of its lines for one of a file.
pub(crate) fn check(text: &str) {
    let target = Target { user: Some("ada".to_owned()), host: "web1.example.com".to_owned(), port: None };
    let read = |text: &str| Settings::printed(text).host_config(&target);
    if let Err(error) = read(text) {
        assert!(!error.to_string().is_empty());
    }
    for line in DANGEROUS {
        assert!(read(&format!("{line}\n{text}")).is_err(), "{line} is passed over");
    }
    for line in text.lines() {
        if let Ok(Some(Line { arguments, .. })) = Line::read(line) {
            reads_back(&arguments);
        }
    }
}

/// What was read, written with every quotation mark there can be, is read as the same.
fn reads_back(arguments: &[String]) {
    let quoted = |argument: &String| format!("\"{}\"", argument.replace('\\', r"\\").replace('"', "\\\""));
    let line = format!("Host {}", arguments.iter().map(quoted).collect::<Vec<_>>().join(" "));
    let again = Line::read(&line);
    assert!(
        matches!(&again, Ok(Some(line)) if line.keyword == "host" && line.arguments == arguments),
        "{line} is read as {again:?}"
    );
}
