//! Which values a keyword of the file may have, where OpenSSH takes only some.

use super::authentication;
use super::settings::{bytes, time};

/// Fewer bytes OpenSSH takes for a slip of the pen.
const LEAST_REKEY: usize = 16;

/// Keywords whose value is a time. `none` is none, and leaves room for a later one.
pub(super) const TIMES: [&str; 2] = ["connecttimeout", "serveraliveinterval"];
/// Keywords whose values are words.
const WORDS: [&str; 12] = [
    "addressfamily",
    "batchmode",
    "checkhostip",
    "hashknownhosts",
    "identitiesonly",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "proxyusefdpass",
    "pubkeyauthentication",
    "stricthostkeychecking",
    "updatehostkeys",
    "verifyhostkeydns",
];

/// Values that are words are understood in any case.
pub(super) fn typed_value(keyword: &str, value: &str) -> String {
    if WORDS.contains(&keyword) { value.to_ascii_lowercase() } else { value.to_owned() }
}

/// What is wrong with a value.
pub(super) fn fault(keyword: &str, value: &str) -> Option<String> {
    let is_flag = matches!(value, "yes" | "no" | "true" | "false");
    let is_right = match keyword {
        "port" if !value.parse::<u16>().is_ok_and(|port| port > 0) => {
            return Some(format!("{value:?} is not a port"));
        }
        "addressfamily" => matches!(value, "any" | "inet" | "inet6"),
        "checkhostip" | "hashknownhosts" | "identitiesonly" | "proxyusefdpass" => is_flag,
        keyword if TIMES.contains(&keyword) => value == "none" || time(value).is_some(),
        "rekeylimit" => is_rekey_limit(value),
        "requiredrsasize" => value.parse::<u32>().is_ok(),
        "updatehostkeys" | "verifyhostkeydns" => is_flag || value == "ask",
        keyword => return authentication::fault(keyword, value),
    };
    (!is_right).then(|| format!("`{keyword}` cannot be {value:?}"))
}

/// Bytes, and after them perhaps a time; either may be as usual.
fn is_rekey_limit(value: &str) -> bool {
    let (amount, after) = value.split_once(' ').unwrap_or((value, "none"));
    let is_amount =
        matches!(amount, "default" | "none" | "0") || bytes(amount).is_some_and(|bytes| bytes >= LEAST_REKEY);
    is_amount && (after == "none" || time(after).is_some())
}
