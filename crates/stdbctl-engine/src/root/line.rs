//! The lines that the login user's shell is given, to make a script or a command run as root.
//!
//! Each is understood alike by sh, bash, fish and csh and holds nothing that is secret. `$1` of what becomes root is
//! `$SSH_CONNECTION`, which sudo would have dropped, and `$2` the nonce.

use super::terminal::{SHEPHERD, TERMINAL};

/// As root already, through `sudo -n`, or through `doas -n` where sudo is missing or wants a password.
///
/// Nothing waits for what becomes root, not the login shell either, so that a signal which ends it is seen as such. If all refuse, the last one
/// says so on standard error and has not read a byte.
const OPEN: &str = concat!(
    r#"sh -c 'test "$(id -u)" = 0 && exec sh -c "$0" stdbctl "$SSH_CONNECTION" "$@"; "#,
    r"export LC_ALL=C; w=sudo; ",
    r"if command -v doas >/dev/null; then if sudo -n sh -c : </dev/null 2>/dev/null; then :; ",
    r#"elif doas -n sh -c : </dev/null 2>/dev/null || test -z "$(command -v sudo)"; then w=doas; fi; fi; "#,
    r#"exec "$w" -n sh -c "$0" stdbctl "$SSH_CONNECTION" "$@"'"#
);

/// Through sudo with a password, for which it asks under the nonce: the first line of its input.
///
/// sh reads that line whether sudo wants it or not. sudo gets it through a pipe with nothing behind it: a wrong
/// password is tried once, and one that sudo does not want is read by nobody. What becomes root opens the input
/// itself where sh left off, because sudo closes every descriptor that could carry it.
const WITH_PASSWORD: &str = concat!(
    r#"sh -c 'export LC_ALL=C; echo "@$1 ask"; IFS= read -r p || exit 1; printf "%s\n" "$p" | "#,
    r#"sudo -S -p "" sh -c "exec </proc/$$/fd/0; $0" stdbctl "$SSH_CONNECTION" "$@"'"#
);

/// Nothing is run by a root that could not say that it is one: nobody listens any more.
///
/// Reads a script: its length in bytes, a newline, the script. Payloads are left for the script to read.
const SCRIPT: &str = r#"'echo "@$2 root" || exit; IFS= read -r n; s=$(head -c "$n"); eval "$s"'"#;
/// Becomes the command in the words behind the nonce, in the language that the login user had before sudo's words
/// were to be in English.
const COMMAND: &str = r#"'echo "@$2 root" || exit; unset LC_ALL; shift 2; exec "$@"'"#;

/// Gives what becomes root a session of its own, so that the terminal is nothing to it: `$3` is [`SHEPHERD`], `$4` the
/// errand.
const APART: &str = r#"'c=$1 n=$2 p=$3 e=$4; shift 4; exec perl -e "$p" sh -c "$e" stdbctl "$c" "$n" "$@"'"#;

/// A way to become root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Door {
    /// Through sudo with a password.
    pub(super) with_password: bool,
    /// On a terminal.
    pub(super) on_terminal: bool,
}

/// What is done as root.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand<'a> {
    Script,
    /// The words of a command, quoted for the login shell.
    Command(&'a str),
}

/// The line for the login shell.
pub(super) fn line(door: Door, errand: Errand<'_>, nonce: &str) -> String {
    let way = if door.with_password { WITH_PASSWORD } else { OPEN };
    let (errand, words) = match errand {
        Errand::Script => (SCRIPT, String::new()),
        Errand::Command(words) => (COMMAND, format!(" {words}")),
    };
    if door.on_terminal {
        format!("exec {TERMINAL} {way} {APART} {nonce} {SHEPHERD} {errand}{words}")
    } else {
        format!("exec {way} {errand} {nonce}{words}")
    }
}
