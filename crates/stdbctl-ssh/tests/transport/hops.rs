//! Hosts behind other hosts, and behind commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stdbctl_ssh::{ConnectError, ErrorKind, HostKeyError, Session, Stats, connect};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::configured::{Operator, host, host_key_line, options_of};
use crate::sshd::{DEADLINE, Sshd, generate_key, output_of};

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
        assert!(started.elapsed() < DEADLINE, "the command outlives its connection");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_command_whose_own_login_is_refused_is_not_repeated() {
    let web = Sshd::start();
    let operator = Operator::knowing(&[&web]);
    let words = "me@bastion: Permission denied (publickey).";
    let command = format!("sh -c 'echo >> DIR/started; echo \"{words}\" >&2; exit 255'");
    operator.configure(&format!("{}ProxyCommand {command}\n", host("web1", &web)));
    let error = operator.refusal("web1").await;
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(std::fs::read_to_string(operator.path("started")).unwrap(), "\n");
}

#[tokio::test]
async fn a_command_that_a_server_hung_up_on_is_repeated() {
    let web = Sshd::start();
    let operator = Operator::knowing(&[&web]);
    let words = "Connection closed by 192.0.2.1 port 22";
    let refuse = format!("mkdir DIR/refused 2>/dev/null && echo {words} >&2 && exit 255");
    let lead = "exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!";
    operator.configure(&format!("{}ProxyCommand bash -c '{refuse}; {lead}'\n", host("web1", &web)));
    let session = operator.connect("web1").await.unwrap();
    assert_eq!(output_of(&session, "echo there").await, "there\n");
    assert!(operator.path("refused").exists());
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
    let others = [somebody_at(&web).await, somebody_at(&web).await];
    let they_leave = async {
        while !web.log().contains("past MaxStartups") {
            sleep(Duration::from_millis(20)).await;
        }
        drop(others);
    };
    let both = async { tokio::join!(connect_all(&operator, 2), they_leave) };
    let (sessions, ()) = timeout(DEADLINE, both).await.expect("none is turned away, or none let in then");
    for session in &sessions {
        assert_eq!(output_of(session, "echo there").await, "there\n");
    }
    assert_eq!(logins(&web), 2);
}

/// Somebody who is let in and never logs in.
async fn somebody_at(web: &Sshd) -> TcpStream {
    let mut other = TcpStream::connect(web.address()).await.unwrap();
    let mut banner = [0; 4];
    other.read_exact(&mut banner).await.unwrap();
    assert_eq!(banner, *b"SSH-");
    other
}

#[tokio::test]
async fn a_server_that_stays_busy_is_named_so() {
    let web = Sshd::start_with(&["ed25519"], "MaxStartups 1:100:1");
    let operator = Operator::knowing(&[&web]);
    operator.configure(&host("web1", &web));
    let _other = somebody_at(&web).await;
    let mut options = operator.options("web1").await.unwrap();
    options.retries = 1;
    let Err(error) = connect(options).await else { panic!("there is no room") };
    assert!(matches!(error, ConnectError::TurnedAway { .. }), "{error:?}");
    assert!(error.to_string().starts_with("web1 (127.0.0.1:"), "{error}");
    assert!(error.hints()[0].contains("MaxStartups"), "{:?}", error.hints());
    assert_eq!(web.log().matches("past MaxStartups").count(), 2, "{}", web.log());
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
        assert!(started.elapsed() < DEADLINE, "the loss goes unnoticed");
        tokio::task::yield_now().await;
    }
    let again = Arc::new(connect(options).await.unwrap());
    assert_eq!(output_of(&again, "echo there").await, "there\n");
}

#[tokio::test]
async fn ssh_is_asked_once_about_each_host() {
    let operator = Operator::knowing(&[]);
    operator.configure("Match exec \"echo %n >> DIR/asked\"\nHost web*\nProxyJump bastion\n");
    let config = operator.config();
    let hosts = ["web1", "web1", "web2", "web3", "bastion"];
    let mut asking = JoinSet::new();
    let config = Arc::new(config);
    for host in hosts {
        let config = Arc::clone(&config);
        asking.spawn(async move { options_of(&config, host).await.unwrap() });
    }
    while let Some(options) = asking.join_next().await {
        options.unwrap();
    }
    let asked = std::fs::read_to_string(operator.path("asked")).unwrap();
    let mut asked: Vec<_> = asked.lines().collect();
    asked.sort_unstable();
    assert_eq!(asked, ["bastion", "web1", "web2", "web3"]);
}

#[tokio::test]
async fn hosts_that_lead_to_each_other_are_a_loop() {
    let operator = Operator::knowing(&[]);
    operator.configure("Host a\nProxyJump b\nHost b\nProxyJump a\n");
    let error = operator.options("a").await.unwrap_err();
    assert!(error.to_string().contains("back to itself"), "{error}");
}
