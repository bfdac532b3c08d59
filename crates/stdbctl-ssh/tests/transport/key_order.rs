//! In which order keys are offered, with the system's own `ssh` as oracle.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use stdbctl_ssh::{Observation, Observer, connect};

use crate::agent::Agent;
use crate::asking::Person;
use crate::configured::Operator;
use crate::sshd::{Sshd, generate_key};

/// A configuration for the host `web1` that names these keys of a server's directory, and an agent.
fn configure(operator: &Operator, sshd: &Sshd, files: &[&str], agent: &Agent) {
    let files: Vec<_> =
        files.iter().map(|name| format!("IdentityFile {}\n", sshd.path(name).display())).collect();
    let files = files.concat();
    let (port, socket) = (sshd.port, agent.socket());
    let socket = socket.display();
    operator
        .configure(&format!("Host web1\nHostName 127.0.0.1\nPort {port}\nIdentityAgent {socket}\n{files}"));
}

fn fingerprints<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let fingerprint =
        |line: &str| line.split(' ').find(|word| word.starts_with("SHA256:")).map(str::to_owned);
    lines.filter_map(fingerprint).collect()
}

/// In which order `ssh` would offer its keys.
fn order_of_ssh(operator: &Operator) -> Vec<String> {
    let mut command = Command::new("ssh");
    command.args(["-v", "-F"]).arg(operator.path("config")).args(["web1", "true"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    fingerprints(said.lines().filter(|line| line.contains("Will attempt key: ")))
}

#[tokio::test]
async fn keys_are_offered_in_the_order_of_ssh() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    for name in ["file1", "held1", "file2", "held2", "held3"] {
        generate_key(&sshd.path(name), "ed25519", "");
    }
    for name in ["held3", "held2", "held1"] {
        agent.add(sshd.path(name));
    }
    let operator = Operator::knowing(&[&sshd]);
    configure(&operator, &sshd, &["file1", "held1", "file2", "held2"], &agent);
    let mut options = operator.options("web1").await.unwrap();
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    options.observer = Observer::new(move |observation| {
        if let Observation::Identities { offered, .. } = observation {
            *seen.lock().unwrap() = offered.clone();
        }
    });
    assert!(connect(options).await.is_err(), "none of them is let in");
    let ours = fingerprints(names.lock().unwrap().iter().map(String::as_str));
    assert_eq!(ours, order_of_ssh(&operator));
    assert_eq!(ours.len(), 5);
}

#[tokio::test]
async fn a_key_of_the_agent_is_found_behind_five_files() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    let files = ["file1", "file2", "file3", "file4", "file5"];
    for name in files {
        generate_key(&sshd.path(name), "ed25519", "");
    }
    agent.add(sshd.path("id_ed25519"));
    let operator = Operator::knowing(&[&sshd]);
    configure(&operator, &sshd, &files, &agent);
    assert!(operator.ssh_gets_in("web1"));
    operator.connect("web1").await.unwrap();
}

#[tokio::test]
async fn nobody_is_asked_for_a_passphrase_where_the_agent_has_a_key() {
    let (sshd, agent) = (Sshd::start(), Agent::start());
    generate_key(&sshd.path("locked"), "ed25519", "a passphrase");
    agent.add(sshd.path("id_ed25519"));
    sshd.write("authorized_keys", &(sshd.public_key("locked") + &sshd.public_key("id_ed25519")));
    let operator = Operator::knowing(&[&sshd]);
    configure(&operator, &sshd, &["locked"], &agent);
    let person = Person::answering(&["a passphrase"]);
    let mut options = operator.options("web1").await.unwrap();
    options.authentication.batch = false;
    options.keyring = person.keyring.clone();
    connect(options).await.unwrap();
    assert_eq!(person.asked(), []);
}
