use super::*;
use crate::ssh_config::Method;
use proptest::prelude::*;

fn reads(text: &str) -> HostConfig {
    Settings::printed(text).host_config(&"web1".parse().unwrap()).unwrap()
}

fn refuses(text: &str) -> ConfigError {
    Settings::printed(text).host_config(&"web1".parse().unwrap()).unwrap_err()
}

#[test]
fn every_keyword_has_its_field() {
    let config = reads(
        "user deploy\nhostname 10.0.0.5\nport 2222\naddressfamily inet6\nidentitiesonly yes\n\
         stricthostkeychecking accept-new\nserveraliveinterval 33\nbindaddress 127.0.0.1\nhostkeyalias web\n\
         identityagent /run/agent sock\nidentityfile /keys/%h_%r\nidentityfile /a b/key\n\
         certificatefile /keys/%n-cert.pub\nglobalknownhostsfile /etc/ssh/known /etc/ssh/known2\n\
         userknownhostsfile /home/ada/kh1 /a b/kh2\nconnecttimeout 7\nproxyjump bob@bastion:2200,second\n\
         preferredauthentications password\nbatchmode yes\nnumberofpasswordprompts 2\n\
         rekeylimit 2097152 90\nhashknownhosts yes\nupdatehostkeys ask\ncheckhostip yes\nrequiredrsasize 3072\n\
         hostkeyalgorithms ssh-ed25519\ncasignaturealgorithms ecdsa-sha2-nistp256\nmacs hmac-sha2-256\n\
         kexalgorithms curve25519-sha256\nciphers aes256-ctr\npubkeyacceptedalgorithms rsa-sha2-512\n",
    );
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let expected = HostConfig {
        origin: Origin::default(),
        host_name: Some("10.0.0.5".to_owned()),
        port: Some(2222),
        user: Some("deploy".to_owned()),
        identity_files: Some(paths(&["/keys/10.0.0.5_deploy", "/a b/key"])),
        certificate_files: paths(&["/keys/web1-cert.pub"]),
        identities_only: true,
        agent: Agent::Socket("/run/agent sock".into()),
        authentication: Authentication { methods: vec![Method::Password], batch: true, prompts: 2 },
        proxy: Proxy::Jump(vec!["bob@bastion:2200".parse().unwrap(), "second".parse().unwrap()]),
        known_hosts: Some(paths(&["/home/ada/kh1", "/a b/kh2"])),
        global_known_hosts: Some(paths(&["/etc/ssh/known", "/etc/ssh/known2"])),
        host_key_alias: Some("web".to_owned()),
        strictness: Strictness::AcceptNew,
        connect_timeout: Some(Duration::from_secs(7)),
        keep_alive: Some(Duration::from_secs(33)),
        rekey_limit: RekeyLimit { bytes: 2 << 20, time: Duration::from_secs(90) },
        family: AddressFamily::Inet6,
        bind_address: Some("127.0.0.1".to_owned()),
        hash_known_hosts: true,
        update_host_keys: UpdateHostKeys::Ask,
        check_host_ip: true,
        algorithms: AlgorithmRules {
            host_key: Some(AlgorithmList::new("ssh-ed25519")),
            usual_host_key: None,
            ca_signature: Some(AlgorithmList::new("ecdsa-sha2-nistp256")),
            kex: Some(AlgorithmList::new("curve25519-sha256")),
            cipher: Some(AlgorithmList::new("aes256-ctr")),
            mac: Some(AlgorithmList::new("hmac-sha2-256")),
            public_key: Some(AlgorithmList::new("rsa-sha2-512")),
        },
        required_rsa_size: Some(3072),
    };
    assert_eq!(config, expected);
}

#[test]
fn keys_are_exchanged_no_later_than_usual() {
    let usual = RekeyLimit::default();
    for (value, bytes, time) in [
        ("0 0", None, None),
        ("default none", None, None),
        ("512K", Some(512 << 10), None),
        ("default 1m30s", None, Some(90)),
        ("64G 2h", None, None),
        ("99999999999999G", None, None),
        ("x 1x", None, None),
    ] {
        let expected = RekeyLimit {
            bytes: bytes.unwrap_or(usual.bytes),
            time: time.map_or(usual.time, Duration::from_secs),
        };
        assert_eq!(reads(&format!("rekeylimit {value}\n")).rekey_limit, expected, "{value}");
    }
    assert_eq!((usual.bytes, usual.time.as_secs(), reads("").rekey_limit), (1 << 30, 3600, usual));
}

#[test]
fn hops_are_read_in_every_form() {
    let config = reads("proxyjump ssh://u@hop:2200,me@[192.0.2.1]:9,[::1]:22,[2001:db8::1]\n");
    let hops = ["u@hop:2200", "me@192.0.2.1:9", "[::1]:22", "2001:db8::1"];
    assert_eq!(config.proxy, Proxy::Jump(hops.map(|hop| hop.parse().unwrap()).to_vec()));
}

#[test]
fn what_is_off_says_nothing() {
    let config = reads(
        "connecttimeout none\nserveraliveinterval 0\nproxyjump none\nidentityagent none\nidentityfile none\n\
         userknownhostsfile none\nproxyusefdpass no\n",
    );
    assert_eq!((config.connect_timeout, config.keep_alive), (None, None));
    assert_eq!((config.proxy, config.agent), (Proxy::None, Agent::None));
    assert_eq!((config.identity_files, config.known_hosts), (Some(vec![]), Some(vec![])));
}

#[test]
fn what_openssh_takes_by_itself_counts_as_not_said() {
    let usual: Vec<_> = USUAL_IDENTITIES.iter().map(|name| format!("identityfile ~/.ssh/{name}\n")).collect();
    let config = reads(&usual.concat());
    assert_eq!((config.identity_files, config.known_hosts), (None, None));
    assert_eq!(reads("").agent, Agent::Environment);
    assert_eq!(reads("identityfile ~/.ssh/id_rsa\n").identity_files.map(|files| files.len()), Some(1));
}

#[test]
fn files_of_somebodys_own_are_not_taken_for_the_usual_ones() {
    let pair = |home: &str| format!("userknownhostsfile {home}/.ssh/known_hosts {home}/.ssh/known_hosts2\n");
    let usual = Settings::printed(&(pair("/home/ada") + "ciphers a,b\nmacs c\n"));
    let known_hosts = |text: &str| {
        let mut settings = Settings::printed(text);
        settings.leave_out(&usual);
        settings.host_config(&"web1".parse().unwrap()).unwrap().known_hosts
    };
    let home = std::env::home_dir().unwrap().display().to_string();
    assert_eq!(known_hosts(&pair("/home/ada")), None, "where the user database has the home");
    assert_eq!(known_hosts(&pair(&home)), None, "where HOME has it");
    let other = ["/srv/.ssh/known_hosts", "/srv/.ssh/known_hosts2"].map(PathBuf::from).to_vec();
    assert_eq!(known_hosts(&pair("/srv")), Some(other));
}

#[test]
fn what_ssh_always_takes_restricts_nothing() {
    let usual = Settings::printed("ciphers a,b\nmacs c\nkexalgorithms d\n");
    let mut settings = Settings::printed("ciphers b\nmacs c\nkexalgorithms d\nuser me\n");
    settings.leave_out(&usual);
    let config = settings.host_config(&"web1".parse().unwrap()).unwrap();
    let cipher = Some(AlgorithmList::new("b"));
    assert_eq!(config.algorithms, AlgorithmRules { cipher, ..AlgorithmRules::default() });
    assert_eq!(config.user.as_deref(), Some("me"));
}

#[test]
fn host_keys_are_updated_in_the_usual_files_unless_somebody_says_otherwise() {
    let table = [
        ("", UpdateHostKeys::Yes),
        ("userknownhostsfile ~/.ssh/known_hosts\n", UpdateHostKeys::Yes),
        ("userknownhostsfile /mine\n", UpdateHostKeys::No),
        ("userknownhostsfile /mine\nupdatehostkeys yes\n", UpdateHostKeys::Yes),
        ("verifyhostkeydns ask\n", UpdateHostKeys::No),
        ("updatehostkeys false\n", UpdateHostKeys::No),
        ("updatehostkeys ask\n", UpdateHostKeys::Ask),
    ];
    for (text, expected) in table {
        assert_eq!(reads(text).update_host_keys, expected, "{text}");
    }
}

#[test]
fn whoever_checks_no_host_keys_is_refused() {
    for value in ["no", "off", "false"] {
        let error = refuses(&format!("stricthostkeychecking {value}\n"));
        assert!(error.to_string().starts_with("`StrictHostKeyChecking no` would log in"), "{error}");
        assert!(error.hints()[0].contains("accept-new"), "{error}");
    }
}

#[test]
fn what_cannot_be_honoured_is_not_passed_over() {
    for text in [
        "revokedhostkeys /x\n",
        "knownhostscommand /x %H\n",
        "bindinterface eth0\n",
        "proxyusefdpass yes\n",
        "identityfile %C\n",
    ] {
        assert!(matches!(refuses(text), ConfigError::Setting { .. }), "{text}");
    }
}

#[test]
fn times_have_units() {
    let table = [("90", 90), ("1m30s", 90), ("2H", 7200), ("1w", 604_800), ("1m30", 90)];
    for (text, expected) in table {
        assert_eq!(seconds(Some(text)), Some(Duration::from_secs(expected)), "{text}");
    }
    for nothing in ["0", "x", "m", "1y", "2147483648", "99999999999999999999", "9999999999999999w"] {
        assert_eq!(seconds(Some(nothing)), None, "{nothing}");
    }
}

proptest! {
    #[test]
    fn whatever_is_printed_is_read_or_refused(text in "([a-z]{1,24} [ -~]{0,40}\n){0,12}") {
        Settings::printed(&text).host_config(&"web1".parse().unwrap()).ok();
    }

    #[test]
    fn names_of_files_are_found_again(names in prop::collection::vec("[/~][a-z./]{0,8}( [a-z]{1,4})?", 1..5)) {
        let expected: Vec<_> = names.iter().map(String::as_str).collect();
        let list = names.join(" ");
        prop_assert_eq!(super::names(&list), expected);
    }

    #[test]
    fn every_value_arrives(host in "[a-z0-9.]{1,12}", port: u16, user in "[a-z]{1,8}", file in "/[a-z /]{0,12}[a-z]") {
        let config = reads(&format!("identityfile {file}\nuser {user}\nport {port}\nhostname {host}\n"));
        prop_assert_eq!(config.identity_files, Some(vec![PathBuf::from(file)]));
        prop_assert_eq!(config.port, Some(port));
        prop_assert_eq!(config.user, Some(user));
        // `none` stands for nothing at all.
        prop_assert!(host == "none" || config.host_name == Some(host));
    }
}
