//! The same configurations for the system's `ssh` and for this transport: the same verdicts.

use stdbctl_ssh::connect;

use crate::agent::Agent;
use crate::configured::{Operator, certify, host, host_key_line};
use crate::sshd::{Sshd, generate_key, user};

/// What happens to be there: two servers, keys, certificates and an agent.
struct World {
    hop: Sshd,
    web: Sshd,
    agent: Agent,
    operator: Operator,
}

impl World {
    fn new() -> Self {
        let hop = Sshd::start();
        let web = Sshd::start_with(&["ed25519"], "TrustedUserCAKeys DIR/authority.pub\nListenAddress ::1");
        let agent = Agent::start();
        agent.add(web.path("id_ed25519"));
        for name in ["stranger", "changed"] {
            generate_key(&web.path(name), "ed25519", "");
        }
        generate_key(&web.path("ecdsa"), "ecdsa", "");
        let user = user();
        certify(&web, "ed25519", "good", &["-n", &user]);
        certify(&web, "rsa", "good_rsa", &["-n", &user]);
        certify(&web, "ed25519", "expired", &["-n", &user, "-V", "-2h:-1h"]);
        certify(&web, "ed25519", "other", &["-n", "somebody"]);
        let operator = Operator::knowing(&[&hop, &web]);
        let key = web.public_key("host_ed25519");
        let port = web.port;
        operator.write("aliased", &format!("alias {key}"));
        operator.write("six", &format!("[::1]:{port} {key}"));
        operator.write("empty", "");
        operator.write("changed", &format!("[127.0.0.1]:{port} {}", web.public_key("changed")));
        let other_type = format!("[127.0.0.1]:{port} {}", web.public_key("ecdsa"));
        operator.write("port_of_other_type", &format!("{other_type}127.0.0.1 {key}"));
        operator.write("other_type", &other_type);
        operator.write("revoked", &format!("{}@revoked * {key}", host_key_line(&web)));
        operator.write("without_port", &format!("127.0.0.1 {key}"));
        operator.write("only_web", &host_key_line(&web));
        Self { hop, web, agent, operator }
    }

    /// The words in capitals that stand for what is only known now.
    fn fill(&self, text: &str) -> String {
        let keys = self.web.path("");
        let text = text.replace("KEYS", keys.to_str().unwrap().trim_end_matches('/'));
        text.replace("AGENT", self.agent.socket().to_str().unwrap())
            .replace("PORT", &self.web.port.to_string())
            .replace("WEB", &format!("HostName 127.0.0.1\nPort {}", self.web.port))
    }
}

/// A name, lines for `Host web1` (which is behind them), and whether that gets in.
const CELLS: [(&str, &str, bool); 47] = [
    ("a key", "WEB\nIdentityFile KEYS/id_ed25519", true),
    ("a missing key and one", "WEB\nIdentityFile KEYS/missing\nIdentityFile KEYS/id_ed25519", true),
    ("another key", "WEB\nIdentityFile KEYS/stranger", false),
    ("no key", "WEB", false),
    ("another user", "WEB\nUser nobody-at-all\nIdentityFile KEYS/id_ed25519", false),
    ("nobody there", "HostName 127.0.0.1\nPort 1\nIdentityFile KEYS/id_ed25519", false),
    ("no such name", "HostName no-such-host.invalid\nIdentityFile KEYS/id_ed25519", false),
    ("the agent", "WEB\nIdentityAgent AGENT", true),
    ("no agent there", "WEB\nIdentityAgent AGENT.not", false),
    ("another key, then the agent", "WEB\nIdentityFile KEYS/stranger\nIdentityAgent AGENT", true),
    ("only another key", "WEB\nIdentityFile KEYS/stranger\nIdentityAgent AGENT\nIdentitiesOnly yes", false),
    (
        "only this of the agent",
        "WEB\nIdentityFile KEYS/id_ed25519.pub\nIdentityAgent AGENT\nIdentitiesOnly yes",
        true,
    ),
    ("a certificate", "WEB\nIdentityFile KEYS/good", true),
    ("a certificate for RSA", "WEB\nIdentityFile KEYS/good_rsa", true),
    ("a named certificate", "WEB\nIdentityFile KEYS/good\nCertificateFile KEYS/good-cert.pub", true),
    ("an expired certificate", "WEB\nIdentityFile KEYS/expired", false),
    ("a certificate of somebody else's", "WEB\nIdentityFile KEYS/other", false),
    ("a certificate without its key", "WEB\nCertificateFile KEYS/good-cert.pub", false),
    ("an unknown key", "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/empty", false),
    (
        "the second file",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/empty DIR/known_hosts",
        true,
    ),
    (
        "the machine's file",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile none\nGlobalKnownHostsFile DIR/known_hosts",
        true,
    ),
    ("no file", "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile none", false),
    ("a changed key", "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/changed", false),
    (
        "a changed key, accept-new",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/changed\nStrictHostKeyChecking accept-new",
        false,
    ),
    ("a key of another type", "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/other_type", false),
    (
        "a key of another type, accept-new",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/other_type\nStrictHostKeyChecking accept-new",
        false,
    ),
    (
        "a key for the name without its port",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/without_port",
        true,
    ),
    (
        "a key of another type for the name with its port",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/port_of_other_type",
        false,
    ),
    ("a revoked key", "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/revoked", false),
    (
        "an alias",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/aliased\nHostKeyAlias Alias",
        true,
    ),
    ("another alias", "WEB\nIdentityFile KEYS/id_ed25519\nHostKeyAlias other", false),
    (
        "an unknown key, yes",
        "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/empty\nStrictHostKeyChecking yes",
        false,
    ),
    ("a bound address", "WEB\nIdentityFile KEYS/id_ed25519\nBindAddress 127.0.0.3", true),
    ("IPv6", "HostName ::1\nPort PORT\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/six", true),
    (
        "IPv6 behind a hop",
        "HostName ::1\nPort PORT\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/six\nProxyJump hop",
        true,
    ),
    ("the wrong family", "WEB\nIdentityFile KEYS/id_ed25519\nAddressFamily inet6", false),
    ("a hop", "WEB\nIdentityFile KEYS/id_ed25519\nProxyJump hop", true),
    ("an unknown hop", "WEB\nIdentityFile KEYS/id_ed25519\nProxyJump unknown", false),
    ("a command", "WEB\nIdentityFile KEYS/id_ed25519\nProxyCommand ssh -F DIR/config -W %h:%p hop", true),
    ("a cipher", "WEB\nIdentityFile KEYS/id_ed25519\nCiphers aes256-ctr", true),
    ("a cipher that is not used any more", "WEB\nIdentityFile KEYS/id_ed25519\nCiphers aes128-cbc", false),
    ("a key exchange", "WEB\nIdentityFile KEYS/id_ed25519\nKexAlgorithms ecdh-sha2-nistp256", true),
    ("MACs that no cipher needs", "WEB\nIdentityFile KEYS/id_ed25519\nMACs umac-128@openssh.com", true),
    (
        "a type of host key that the server lacks",
        "WEB\nIdentityFile KEYS/id_ed25519\nHostKeyAlgorithms ecdsa-sha2-nistp256",
        false,
    ),
    (
        "a key of a type that is not listed",
        "WEB\nIdentityFile KEYS/id_ed25519\nPubkeyAcceptedAlgorithms ecdsa-sha2-nistp256",
        false,
    ),
    (
        "an RSA certificate with one hash",
        "WEB\nIdentityFile KEYS/good_rsa\nPubkeyAcceptedAlgorithms rsa-sha2-256-cert-v01@openssh.com",
        true,
    ),
    ("a command that fails", "WEB\nIdentityFile KEYS/id_ed25519\nProxyCommand false", false),
];

#[tokio::test]
async fn ssh_and_stdbctl_come_to_the_same_verdict() {
    let world = World::new();
    let hop = host("hop", &world.hop) + &host("unknown", &world.hop) + "UserKnownHostsFile DIR/only_web\n";
    for (name, lines, expected) in CELLS {
        world.operator.configure(&format!("Host web1\n{}\n{hop}", world.fill(lines)));
        let mut options = world.operator.options("web1").await.unwrap();
        options.retries = 0;
        let ours = connect(options).await;
        assert_eq!(world.operator.ssh_gets_in("web1"), expected, "{name}: ssh");
        assert_eq!(ours.is_ok(), expected, "{name}: {:?}", ours.err());
    }
}

#[tokio::test]
async fn both_accept_a_new_key_and_then_know_it() {
    let world = World::new();
    for ssh_first in [true, false] {
        let lines =
            "WEB\nIdentityFile KEYS/id_ed25519\nUserKnownHostsFile DIR/new\nStrictHostKeyChecking accept-new";
        std::fs::remove_file(world.operator.path("new")).ok();
        world.operator.configure(&format!("Host web1\n{}\n", world.fill(lines)));
        if ssh_first {
            assert!(world.operator.ssh_gets_in("web1"));
        } else {
            world.operator.connect("web1").await.unwrap();
        }
        let strict = lines.replace("accept-new", "yes");
        world.operator.configure(&format!("Host web1\n{}\n", world.fill(&strict)));
        assert!(world.operator.ssh_gets_in("web1"));
        world.operator.connect("web1").await.unwrap();
    }
}
