//! What was seen on the way, in words.

use std::path::Path;
use std::time::Duration;

use stdbctl_ssh::ConnectOptions;
use stdbctl_ssh::ssh_config::Origin;

use crate::report::doctor::{Algorithms, Answered, HostKey, Leg, Outcome, Verdict, from_home};

/// What a login without any proof is called.
const NOTHING: &str = "none";

/// The keys by number, so that the answers need not repeat them, and what was passed over.
pub(super) fn keys(leg: &Leg) -> Vec<String> {
    let found = leg.keys.iter().enumerate().map(|(index, key)| format!("{}. {key}", index + 1));
    let told: Vec<_> = found.chain(leg.skipped.iter().map(|why| format!("left out: {why}"))).collect();
    if told.is_empty() { vec!["none".to_owned()] } else { told }
}

/// What was answered, and if it was no, what else would be taken.
pub(super) fn login(leg: &Leg) -> Vec<String> {
    // What is refused without a proof was only to hear which one the server wants.
    let is_question =
        |answered: &&Answered| answered.identity == NOTHING && answered.answer == Verdict::Refused;
    let answers = leg.answers.iter().filter(|answered| !is_question(answered));
    let mut told: Vec<_> = answers.map(|answered| answer(leg, answered)).collect();
    let is_in = leg.answers.last().is_some_and(|last| last.answer == Verdict::Taken);
    let methods =
        leg.answers.iter().rev().map(|answered| &answered.methods).find(|methods| !methods.is_empty());
    let methods = methods.filter(|_| !is_in);
    told.extend(methods.map(|methods| format!("the server takes: {}", methods.join(", "))));
    told
}

fn answer(leg: &Leg, answered: &Answered) -> String {
    let Answered { identity, answer, why, .. } = answered;
    let number = leg.keys.iter().position(|key| key == identity);
    let what = number.map_or_else(|| identity.clone(), |index| format!("key {}", index + 1));
    let answer = match answer {
        Verdict::Taken => "taken",
        Verdict::Refused => "refused",
        Verdict::Partial => "taken, but not enough",
        Verdict::NotOffered => "not offered",
        Verdict::Unsigned => "the server would take it, but it did not sign",
        Verdict::HungUp => "the server hung up",
        Verdict::Other => "answered in another way",
    };
    let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("as {}, {what}: {answer}{why}", leg.user.as_deref().unwrap_or_default())
}

/// Whether somebody in between could swallow messages is worth a note.
pub(super) fn judged(algorithms: &Algorithms) -> Outcome {
    if is_open_to_terrapin(algorithms) { Outcome::Note } else { Outcome::Ok }
}

/// Without strict key exchange messages can be swallowed, but for AES-GCM, which counts them by itself.
fn is_open_to_terrapin(algorithms: &Algorithms) -> bool {
    !algorithms.strict && !algorithms.cipher.contains("-gcm@")
}

/// What was agreed on.
pub(super) fn agreed(algorithms: &Algorithms) -> Vec<String> {
    let Algorithms { key_exchange, post_quantum, strict, cipher, .. } = algorithms;
    let strict = match (strict, is_open_to_terrapin(algorithms)) {
        (true, _) => "strict",
        (false, true) => "not strict (Terrapin): update the host's sshd",
        (false, false) => "not strict, which its cipher does not need",
    };
    let Algorithms { mac_sent, mac_received, compression_sent, compression_received, .. } = algorithms;
    let mac = each_way(mac_sent.as_deref(), mac_received.as_deref(), "its own");
    let compression = each_way(compression_sent.as_deref(), compression_received.as_deref(), "uncompressed");
    let ciphers = format!("{cipher}, MAC {mac}, {compression}");
    if *post_quantum {
        return vec![format!("{key_exchange}, post-quantum, {strict}"), ciphers];
    }
    let quantum =
        "not post-quantum: with stdbctl that takes mlkem768x25519-sha256 (OpenSSH 9.9 or later)".to_owned();
    vec![format!("{key_exchange}, {strict}"), quantum, ciphers]
}

/// What is done to what is sent and to what is received, if it is not the same.
fn each_way(sent: Option<&str>, received: Option<&str>, none: &str) -> String {
    let (sent, received) = (sent.unwrap_or(none), received.unwrap_or(none));
    if sent == received { sent.to_owned() } else { format!("{sent} out, {received} in") }
}

/// Which key it is and why it is trusted.
pub(super) fn trusted(key: &HostKey) -> Vec<String> {
    let HostKey { key_type, fingerprint, authority, line, .. } = key;
    let kind = if key.certificate { " certificate" } else { "" };
    let file = key.file.as_deref().map_or_else(|| "nowhere".to_owned(), from_home);
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    let why = match (key.trusted, authority) {
        ("recorded", _) => format!("known by {file}{line}"),
        ("accepted", _) => format!("it was not known; accepted, and recorded in {file}"),
        (_, Some(authority)) => format!("vouched for by {authority}, trusted by {file}{line}"),
        (otherwise, None) => otherwise.to_owned(),
    };
    vec![format!("{key_type}{kind} {fingerprint}"), why]
}

/// Where the configuration of a host is from. `flag` names another file than the usual ones.
pub(super) fn configuration(options: &ConnectOptions, flag: Option<&Path>) -> String {
    let host = &options.target.host;
    let file = flag.map(|file| from_home(&file.display().to_string()));
    match (options.configuration, file) {
        (Origin::OpenSsh, file) => {
            let option = |name: &str, value: Option<String>| {
                value.map_or_else(String::new, |value| format!(" -{name} {value}"))
            };
            let file = option("F", file);
            let user = option("l", options.target.user.clone());
            let port = option("p", options.target.port.map(|port| port.to_string()));
            format!("`ssh -G{file}{user}{port} {host}`")
        }
        (Origin::File, file) => {
            let file = file.unwrap_or_else(|| "~/.ssh/config".to_owned());
            format!("{file}, as there is no OpenSSH here to ask")
        }
        (Origin::Nowhere, _) => "none: the defaults".to_owned(),
    }
}

/// What a command is called: its arguments may hold a password, and so may the assignments before a program.
pub(super) fn proxy_command(line: &str) -> String {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word == "exec");
    let is_plain = |word: &&str| word.chars().all(|c| c.is_alphanumeric() || "/._-+%~".contains(c));
    let Some(program) = words.next().filter(is_plain) else { return "its ProxyCommand".to_owned() };
    let rest = if words.next().is_some() { " ..." } else { "" };
    format!("the ProxyCommand {program}{rest}")
}

/// The files with host keys that there are.
pub(super) fn known_hosts(options: &ConnectOptions) -> Vec<String> {
    let files = options.known_hosts.iter().chain(&options.global_known_hosts);
    files.filter(|file| file.exists()).map(|file| file.display().to_string()).collect()
}

/// How long something took, if that is worth a word.
pub(super) fn milliseconds(took: Duration) -> String {
    match took.as_millis() {
        0 => String::new(),
        some => format!(", in {some} ms"),
    }
}
