//! Hosts behind other hosts, and behind commands.

use std::sync::Arc;
use std::time::Instant;

use stdbctl_ssh::{ConnectError, ErrorKind, HostKeyError, Session, Stats, connect};
use tokio::task::JoinSet;

use crate::configured::{Operator, host, host_key_line, options_of};
use crate::sshd::{Sshd, generate_key, output_of};

/// How often somebody logged in there.
fn logins(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

/// How often it was asked to connect to that port.
fn forwards_to(hop: &Sshd, port: u16) -> usize {
    hop.log().matches(&format!("target 127.0.0.1 port {port}")).count()
}

fn hop() -> Sshd {
    Sshd::start_with(&["ed25519"], "LogLevel DEBUG1")
}

#[tokio::test]
async fn one_hop_leads_to_a_host() {
    let (hop, web) = (hop(), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    let session = operator.connect("web1").await.unwrap();
    assert_eq!(output_of(&session, "echo there").await, "there\n");
    assert_eq!(session.peer_address(), None);
    assert_eq!((forwards_to(&hop, web.port), logins(&hop), logins(&web)), (1, 1, 1));
}

#[tokio::test]
async fn each_hop_has_its_own_way_key_and_check() {
    let (first, second, web) = (hop(), hop(), Sshd::start());
    let operator = Operator::knowing(&[&first, &second, &web]);
    let hosts = host("one", &first) + &host("two", &second) + &host("web1", &web);
    for (web_by, two_by) in [("one,two", ""), ("two", "Host two\nProxyJump one\n")] {
        operator.configure(&format!("{hosts}ProxyJump {web_by}\n{two_by}"));
        let session = operator.connect("web1").await.unwrap();
        assert_eq!(output_of(&session, "echo there").await, "there\n");
    }
    assert_eq!((forwards_to(&first, second.port), forwards_to(&second, web.port)), (2, 2));
    assert_eq!((forwards_to(&first, web.port), logins(&web)), (0, 2));
}

#[tokio::test]
async fn an_impostor_on_the_way_is_refused_and_named() {
    let (hop, web) = (hop(), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    generate_key(&hop.path("other"), "ed25519", "");
    let wrong = format!("[127.0.0.1]:{} {}", hop.port, hop.public_key("other"));
    operator.write("known_hosts", &(wrong + &host_key_line(&web)));
    let error = operator.refusal("web1").await;
    assert_eq!(error.kind(), ErrorKind::HostKeyChanged);
    assert_eq!(error.to_string(), "through bastion");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("has changed"), "{cause}");
    assert!(error.hints().join("\n").contains("ssh-keygen -R"), "{:?}", error.hints());
    assert_eq!((logins(&hop), logins(&web)), (0, 0));
}

#[tokio::test]
async fn an_impostor_behind_a_hop_is_refused() {
    let (hop, web) = (hop(), Sshd::start());
    let operator = Operator::knowing(&[&hop]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    let error = operator.refusal("web1").await;
    let ConnectError::HostKey(HostKeyError::Unknown(prompt)) = &error else { panic!("{error:?}") };
    assert_eq!((prompt.host.as_str(), prompt.port, prompt.address), ("web1", web.port, None));
    assert_eq!(logins(&web), 0);
}

#[tokio::test]
async fn a_hop_that_may_not_forward_there_says_so() {
    let (hop, web) = (Sshd::start_with(&["ed25519"], "PermitOpen 127.0.0.1:1"), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    let hosts = host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n";
    operator.configure(
        &(hosts.clone()
            + "Host nobody\nHostName 127.0.0.1\nPort 1\nProxyJump bastion\nIdentityFile "
            + &web.path("id_ed25519").display().to_string()),
    );
    let error = operator.refusal("web1").await;
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Tcp, "through bastion"));
    assert!(error.hints().join("\n").contains("AllowTcpForwarding"), "{:?}", error.hints());
    let error = operator.refusal("nobody").await;
    assert!(error.hints().join("\n").contains("is the host up"), "{error:?}");
}

#[tokio::test]
async fn a_command_leads_to_a_host() {
    let (hop, web) = (hop(), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    let hosts = host("bastion", &hop) + &host("web1", &web);
    let by_ssh = format!("{hosts}ProxyCommand ssh -F DIR/config -W %h:%p bastion\n");
    // Without any other program: what a shell can do by itself.
    let by_shell =
        format!("{hosts}ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'\n");
    for config in [by_ssh, by_shell] {
        operator.configure(&config);
        let session = operator.connect("web1").await.unwrap();
        assert_eq!(output_of(&session, "echo there").await, "there\n");
        session.close().await;
    }
    assert_eq!(forwards_to(&hop, web.port), 1);
}

#[tokio::test]
async fn a_command_that_fails_is_quoted_and_one_that_stays_is_ended() {
    let web = Sshd::start();
    let operator = Operator::knowing(&[&web]);
    let hosts = host("web1", &web);
    operator
        .configure(&format!("{hosts}ProxyCommand sh -c 'echo one >&2; echo no route to %n >&2; exit 3'\n"));
    let mut options = operator.options("web1").await.unwrap();
    options.retries = 0;
    let Err(error) = connect(options).await else { panic!("it leads nowhere") };
    assert_eq!(error.to_string(), "the ProxyCommand of web1 failed, saying \"no route to web1\"");
    assert_eq!(error.kind(), ErrorKind::Silent);

    let program = "echo $$ > DIR/pid; exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3";
    operator.configure(&format!("{hosts}ProxyCommand bash -c '{program}'\n"));
    let session = operator.connect("web1").await.unwrap();
    let pid = std::fs::read_to_string(operator.path("pid")).unwrap();
    let runs = || std::path::Path::new("/proc").join(pid.trim()).exists();
    assert!(runs());
    session.close().await;
    let started = Instant::now();
    while runs() {
        assert!(started.elapsed() < crate::sshd::DEADLINE, "the command outlives its connection");
        tokio::task::yield_now().await;
    }
}

/// Connects to that many hosts at once, each behind the same way.
async fn connect_all(operator: &Operator, count: usize) -> Vec<Session> {
    let config = operator.config();
    let mut connecting = JoinSet::new();
    for number in 0..count {
        let options = options_of(&config, &format!("web{number}")).await.unwrap();
        connecting.spawn(connect(options));
    }
    let mut sessions = Vec::new();
    while let Some(done) = connecting.join_next().await {
        sessions.push(done.unwrap().unwrap());
    }
    sessions
}

#[tokio::test]
async fn twenty_hosts_share_the_connection_to_a_hop_that_takes_two_at_a_time() {
    let hop = Sshd::start_with(&["ed25519"], "MaxStartups 2:100:2");
    let web = Sshd::start();
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web*", &web) + "ProxyJump bastion\n"));
    let sessions = connect_all(&operator, 20).await;
    for session in &sessions {
        assert_eq!(output_of(session, "echo there").await, "there\n");
    }
    assert_eq!((logins(&hop), logins(&web)), (1, 20));
    // Only who came first has paid for the hop.
    let before: Vec<Stats> = sessions.iter().map(Session::stats).collect();
    let most = before.iter().map(|stats| stats.bytes_sent).max().unwrap();
    let others = before.iter().filter(|stats| stats.bytes_sent + 1000 < most).count();
    assert_eq!(others, 19, "{before:?}");
}

#[tokio::test]
async fn a_busy_server_is_tried_again() {
    let web = Sshd::start_with(&["ed25519"], "MaxStartups 2:100:2");
    let operator = Operator::knowing(&[&web]);
    operator.configure(&host("web*", &web));
    let sessions = connect_all(&operator, 12).await;
    assert_eq!(sessions.len(), 12);
    assert!(web.log().contains("MaxStartups") || logins(&web) == 12, "{}", web.log());
}

#[tokio::test]
async fn a_hop_that_is_lost_is_connected_to_anew() {
    let (hop, web) = (hop(), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    let options = operator.options("web1").await.unwrap();
    let session = connect(options.clone()).await.unwrap();
    hop.hang_up();
    let started = Instant::now();
    while !session.is_closed() {
        assert!(started.elapsed() < crate::sshd::DEADLINE, "the loss goes unnoticed");
        tokio::task::yield_now().await;
    }
    let again = Arc::new(connect(options).await.unwrap());
    assert_eq!(output_of(&again, "echo there").await, "there\n");
}

#[tokio::test]
async fn hosts_that_lead_to_each_other_are_a_loop() {
    let operator = Operator::knowing(&[]);
    operator.configure("Host a\nProxyJump b\nHost b\nProxyJump a\n");
    let error = operator.options("a").await.unwrap_err();
    assert!(error.to_string().contains("back to itself"), "{error}");
}
