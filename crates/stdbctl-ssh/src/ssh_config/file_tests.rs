use std::path::Path;
use std::process::{Command, Stdio};

use super::super::openssh::OpenSsh;
use super::super::{Agent, Proxy};
use super::*;

/// Configurations, and hosts to be asked about in each. `DIR` is a directory with some more files.
const TABLE: [(&str, &[&str]); 30] = [
    ("", &["web1", "WEB1", "10.0.0.1", "::1", "me@web1:2222"]),
    (
        "Host web1\n  HostName 10.0.0.5\n  User deploy\n  Port 2222\n",
        &["web1", "web2", "you@web1", "web1:99"],
    ),
    (
        "Port 44\nHost *.example !db.example web?\nUser a\nHost *\nUser b\nPort 55\n",
        &["x.example", "db.example", "web1", "web12"],
    ),
    ("Host=web1\nhostname = %h.example.com\nHOSTNAME other\nport=\"33\" # comment\n", &["web1"]),
    (
        "Host web1\nHostName %h-%%.x\nIdentityFile ~/.ssh/%h_key\nIdentityFile \"/a b/k\"\nHost *\nIdentityFile /k2\n",
        &["web1", "web2"],
    ),
    ("ProxyJump a@hop1:2200,hop2\nProxyCommand nc %h %p\n", &["web1"]),
    ("Host web1\nProxyCommand ssh -W %h:%p \"a b\" bastion\nHost *\nProxyJump bastion\n", &["web1", "web2"]),
    (
        "Host web1\nProxyJump me@127.0.0.9:9,[::1],[2001:db8::1]:44\nHost *\nProxyJump 192.0.2.1\n",
        &["web1", "web2"],
    ),
    ("Host web1\nProxyJump none\nHost *\nProxyJump bastion\n", &["web1", "web2"]),
    (
        "UserKnownHostsFile ~/kh1 \"/a b/kh2\" /kh3\nGlobalKnownHostsFile /g1 /g2\nHostKeyAlias Web\n",
        &["web1"],
    ),
    ("UserKnownHostsFile none\nIdentityFile none\nIdentityAgent none\nIdentitiesOnly yes\n", &["web1"]),
    (
        "IdentityAgent /run/agent.%n\nCertificateFile /c/%r-cert.pub\nStrictHostKeyChecking accept-new\n",
        &["me@web1"],
    ),
    (
        "StrictHostKeyChecking yes\nConnectTimeout 1m30s\nServerAliveInterval 7\nAddressFamily inet6\nBindAddress 127.0.0.1\n",
        &["web1"],
    ),
    (
        "PasswordAuthentication NO\nChallengeResponseAuthentication no\nPubkeyAuthentication unbound\n",
        &["web1"],
    ),
    ("Host web1\nPubkeyAuthentication no\nHost *\nKbdInteractiveAuthentication yes\n", &["web1", "web2"]),
    (
        "PreferredAuthentications password,gssapi-with-mic,publickey\nBatchMode Yes\nServerAliveInterval 9\n",
        &["web1"],
    ),
    ("SkeyAuthentication no\nKbdInteractiveAuthentication yes\nNumberOfPasswordPrompts 0\n", &["web1"]),
    ("SendEnv LANG LC_*\nHashKnownHosts yes\nGSSAPIAuthentication yes\nForwardX11 no\nUser a\n", &["web1"]),
    ("HashKnownHosts Yes\nUpdateHostKeys no\nCheckHostIP yes\nRequiredRSASize 3072\n", &["web1"]),
    (
        "UserKnownHostsFile /mine/.ssh/known_hosts /mine/.ssh/known_hosts2\nCiphers aes256-ctr\nMACs hmac-sha2-256\n\
         KexAlgorithms curve25519-sha256\nHostKeyAlgorithms rsa-sha2-512,ssh-ed25519\n\
         CASignatureAlgorithms ssh-ed25519\nPubkeyAcceptedAlgorithms ssh-ed25519\n",
        &["web1"],
    ),
    ("RekeyLimit 2M 1m30s\n", &["web1"]),
    ("Host web1\nRekeyLimit default 1h\nHost web2\nRekeyLimit 512k none\n", &["web1", "web2"]),
    ("RekeyLimit 16G\n", &["web1"]),
    ("HostName Real.Example\nHostKeyAlias Web\nIdentityFile /k/%h\nUserKnownHostsFile /kh.%k\n", &["web1"]),
    ("HostName %h\nHostKeyAlias none\nVerifyHostKeyDNS no\n", &["WEB1", "fe80::1%Eth0"]),
    ("Host web1\nProxyJump none\nHost *\nProxyCommand nc %h %p\nProxyJump bastion\n", &["web1", "web2"]),
    ("ConnectTimeout none\nConnectTimeout 3\nServerAliveInterval none\nServerAliveInterval 1m\n", &["web1"]),
    ("Include DIR/*/10-first.conf\nUser last\n", &["web1", "web2"]),
    ("Include DIR/conf.d/*.conf\nInclude DIR/none\nUser last\n", &["web1", "web2"]),
    ("Host web2\nInclude DIR/conf.d/*.conf\nHost *\nUser last\nMatch all\nPort 77\n", &["web1", "web2"]),
];

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("conf.d")).unwrap();
    let write =
        |name: &str, text: &str| std::fs::write(directory.path().join("conf.d").join(name), text).unwrap();
    write("10-first.conf", "Host web1\nUser first\nPort 10\n");
    write("20-second.conf", "User second\nHost web2\nPort 20\n");
    write(".30-hidden.conf", "Compression no\nUser hidden\nPort 30\n");
    write("40-other", "User other\n");
    // Its file comes behind those of `conf.d`.
    std::fs::create_dir(directory.path().join("conf")).unwrap();
    write("../conf/10-first.conf", "Port 11\n");
    directory
}

fn reads(text: &str, host: &str) -> Result<HostConfig, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, text).unwrap();
    read(&host.parse().unwrap(), Some(&file))
}

fn ssh_is_there() -> bool {
    Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_ok()
}

#[tokio::test]
async fn own_reading_says_what_ssh_says() {
    assert!(ssh_is_there(), "this test needs the OpenSSH client");
    let more = directory();
    let file = more.path().join("config");
    for (text, hosts) in TABLE {
        let text = text.replace("DIR", &more.path().display().to_string());
        std::fs::write(&file, &text).unwrap();
        for host in hosts {
            let target: Target = host.parse().unwrap();
            let said = OpenSsh::new("ssh").ask(&target, Some(&file)).await.unwrap().unwrap();
            let mut own = read(&target, Some(&file)).unwrap();
            // ssh always names a user and the machine's files; here they stay open.
            own.global_known_hosts = own.global_known_hosts.or_else(|| said.global_known_hosts.clone());
            own.user = own.user.or_else(|| said.user.clone());
            // What it has usually it alone can tell.
            own.algorithms.usual_host_key = said.algorithms.usual_host_key.clone();
            assert_eq!(own, said, "{host} in\n{text}");
        }
    }
}

/// Of lists that add to the usual ones, take away from them or reorder them, what is offered in the end.
#[tokio::test]
async fn own_reading_of_algorithms_comes_to_what_ssh_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    let target: Target = "web1".parse().unwrap();
    for text in [
        "HostKeyAlgorithms -ecdsa-*\n",
        "HostKeyAlgorithms +ssh-rsa\n",
        "HostKeyAlgorithms ^rsa-sha2-256,ecdsa-*\n",
        "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com\n",
        "HostKeyAlgorithms rsa-sha2-512,ssh-ed25519\n",
        "Ciphers -chacha20*,aes1*\n",
        "Ciphers ^aes192-ctr\n",
        "Ciphers +aes128-cbc\n",
        "MACs -hmac-sha2-512*\n",
        "MACs ^hmac-sha2-256\nCiphers aes128-ctr,aes256-ctr\n",
        "KexAlgorithms curve25519-sha256,diffie-hellman-group14-sha256\n",
        "KexAlgorithms -mlkem*,diffie-hellman-group1?-sha*\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let said = OpenSsh::new("ssh").ask(&target, Some(&file)).await.unwrap().unwrap();
        let own = read(&target, Some(&file)).unwrap();
        // ssh has never had the first two; the others count only where they are named, and ssh names all it has.
        let is_told =
            |name: &&str| !["group15", "group17", "ecdh", "aes128-gcm"].iter().any(|n| name.contains(n));
        let names = |config: &HostConfig| {
            let offered = config.algorithms.offered().unwrap();
            let texts = [
                offered.kex.iter().map(AsRef::as_ref).filter(is_told).collect::<Vec<&str>>().join(","),
                offered.cipher.iter().map(AsRef::as_ref).filter(is_told).collect::<Vec<&str>>().join(","),
                offered.mac.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(","),
            ];
            (texts, format!("{:?}", config.algorithms.host_keys().unwrap()))
        };
        assert_eq!(names(&own), names(&said), "{text}");
    }
}

#[tokio::test]
async fn own_reading_and_ssh_refuse_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    for text in [
        "StrictHostKeyChecking no\n",
        "Port 0\n",
        "RevokedHostKeys /x\n",
        "User \"me\n",
        "HostName\n",
        "HostName %n\n",
        "PasswordAuthentication perhaps\n",
        "NumberOfPasswordPrompts many\n",
        "IdentitiesOnly maybe\n",
        "HashKnownHosts no#comment\n",
        "UpdateHostKeys perhaps\n",
        "AddressFamily inet4\n",
        "ConnectTimeout soon\n",
        "ServerAliveInterval 99999999999\n",
        "RequiredRSASize many\n",
        "RekeyLimit lots\n",
        "RekeyLimit 500MB 10m\n",
        "RekeyLimit 15\n",
        "RekeyLimit 1G soon\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let target = "web1".parse().unwrap();
        assert!(OpenSsh::new("ssh").ask(&target, Some(&file)).await.is_err(), "{text}");
        assert!(read(&target, Some(&file)).is_err(), "{text}");
    }
}

#[test]
fn what_only_ssh_can_tell_names_file_and_line() {
    let table = ["\nMatch host web1\n", "# x\nCanonicalizeHostname yes\n", "\nInclude /a/[b]*\n"];
    for text in table {
        let error = reads(text, "web1").unwrap_err();
        assert!(
            matches!(&error, ConfigError::Line { file, line: 2, .. } if file.ends_with("config")),
            "{error:?}"
        );
        assert!(error.to_string().contains("config:2: only ssh itself"), "{error}");
        assert!(error.hints()[0].contains("install the OpenSSH client"), "{error}");
    }
}

#[test]
fn what_is_said_of_other_hosts_does_not_matter() {
    let config =
        reads("Host other\nCanonicalizeHostname yes\nBindInterface x\nHost *\nUser me\n", "web1").unwrap();
    assert_eq!(config.user.as_deref(), Some("me"));
    assert_eq!((config.agent, config.proxy), (Agent::Environment, Proxy::None));
}

#[test]
fn files_that_include_each_other_come_to_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, format!("Include {}\n", file.display())).unwrap();
    let error = read(&"web1".parse().unwrap(), Some(&file)).unwrap_err();
    assert!(error.to_string().contains("without end"), "{error}");
}

#[test]
fn a_file_that_others_may_write_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, "User me\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    let target = "web1".parse().unwrap();
    let origin = Origin { directory: directory.path().to_owned(), is_private: true, depth: 0 };
    let error = Reading::new(&target).take_if_there(&file, &origin).unwrap_err();
    assert!(matches!(error, ConfigError::Writable { .. }), "{error:?}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = read(&"web1".parse().unwrap(), Some(Path::new("/no/such/file"))).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
}
