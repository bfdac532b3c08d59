//! What a connection and its commands cost, at a distance where it shows.

use stdbctl_ssh::{Session, connect, quote};

use crate::configured::{Operator, host, host_key_line, options_of};
use crate::proxy::{DISTANCE, Fault, Proxy};
use crate::sshd::{Sshd, output_of, run};

async fn distant(sshd: &Sshd) -> (Proxy, Session) {
    let proxy = Proxy::start(sshd.address(), DISTANCE, Fault::None).await;
    let mut options = sshd.options();
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    sshd.write("known_hosts", &known.replace(&sshd.port.to_string(), &proxy.port.to_string()));
    options.target.port = Some(proxy.port);
    // The server lists its keys, and all are on record.
    options.recording.follow_changes = true;
    let session = connect(options).await.unwrap();
    (proxy, session)
}

#[tokio::test]
async fn connecting_and_the_first_answer_take_eight() {
    let sshd = Sshd::start();
    let (proxy, session) = distant(&sshd).await;
    assert_eq!(session.stats().round_trips, 6, "TCP 1, key exchange 2, login 3");
    assert_eq!(output_of(&session, "echo hello").await, "hello\n");
    assert_eq!(session.stats().round_trips, 8, "channel 1, command 1");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_hop_adds_no_more_than_its_own_six() {
    let (hop, web) = (Sshd::start(), Sshd::start());
    let proxy = Proxy::start(hop.address(), DISTANCE, Fault::None).await;
    let operator = Operator::knowing(&[&hop, &web]);
    let key = hop.path("id_ed25519");
    let bastion = format!(
        "Host bastion\nHostName 127.0.0.1\nPort {}\nHostKeyAlias hop\nIdentityFile {}\n",
        proxy.port,
        key.display()
    );
    operator.configure(&(bastion + &host("web1", &web) + "ProxyJump bastion\n"));
    let lines = format!("hop {}", hop.public_key("host_ed25519")) + &host_key_line(&web);
    operator.write("known_hosts", &lines);
    let config = operator.config();
    let first = connect(options_of(&config, "web1").await.unwrap()).await.unwrap();
    assert_eq!(first.stats().round_trips, 12, "the hop 6; channel 1, key exchange 2, login 3");
    assert_eq!(output_of(&first, "echo hello").await, "hello\n");
    assert_eq!(first.stats().round_trips, 14);
    let second = connect(options_of(&config, "web1").await.unwrap()).await.unwrap();
    assert_eq!(second.stats().round_trips, 6, "the hop is there already");
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn input_costs_one_more_unless_the_line_carries_it() {
    let sshd = Sshd::start();
    let (_proxy, session) = distant(&sshd).await;
    assert_eq!(run(&session, "head -c 5", &b"hello"[..]).await.stdout, b"hello");
    assert_eq!(session.stats().round_trips, 9, "OpenSSH takes no input before the command runs");

    let carried = quote::with_input("head -c 5", b"hello").unwrap().unwrap();
    let (_proxy, session) = distant(&Sshd::start()).await;
    assert_eq!(output_of(&session, &carried).await, "hello");
    assert_eq!(session.stats().round_trips, 8, "unless the line carries it");
}

#[tokio::test]
async fn a_command_started_ahead_answers_after_one() {
    let sshd = Sshd::start();
    let (_proxy, session) = distant(&sshd).await;
    // Started while the first one runs, so that its own beginning costs nothing.
    let (first, ()) =
        tokio::join!(run(&session, "head -c 2", &b"one"[..]), async { session.start_ahead("cat") });
    assert_eq!(first.stdout, b"on");
    session.start_ahead("cat");
    assert_eq!(
        output_of(&session, "echo another").await,
        "another\n",
        "other commands have their own channels"
    );
    let before = session.stats().round_trips;
    assert_eq!(run(&session, "cat", &b"two"[..]).await.stdout, b"two");
    assert_eq!(session.stats().round_trips - before, 1);
}
