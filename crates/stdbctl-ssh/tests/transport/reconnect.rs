//! Connecting again to a host that was lost: what restarts is waited for, and nothing is hammered.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stdbctl_ssh::{ConnectOptions, ErrorKind, connect, reconnect};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::configured::{Operator, host};
use crate::proxy::{Fault, Proxy};
use crate::sshd::{DEADLINE, Sshd, closed_port, generate_key, output_of};

/// A door that hangs up on the first so many, and leads to an sshd then. It counts who comes.
async fn door(to: SocketAddr, closed_for: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            if counted.fetch_add(1, Ordering::SeqCst) >= closed_for {
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await.ok() });
            }
        }
    });
    (port, count)
}

/// The sshd's options, through a port in front of it.
fn options_at(sshd: &Sshd, port: u16) -> ConnectOptions {
    let mut options = sshd.options();
    options.target.port = Some(port);
    options.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    options
}

#[tokio::test]
async fn a_server_that_hangs_up_once_is_left_alone_for_a_moment_and_tried_again() {
    let sshd = Sshd::start();
    let (port, count) = door(sshd.address(), 1).await;
    let begun = Instant::now();
    let session = reconnect(options_at(&sshd, port)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(output_of(&session, "echo back").await, "back\n");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_tried_three_times() {
    let sshd = Sshd::start();
    let (port, count) = door(sshd.address(), usize::MAX).await;
    let error = reconnect(options_at(&sshd, port)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Silent);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_port_that_refuses_is_tried_again_within_the_time_of_a_step() {
    let sshd = Sshd::start();
    let (_held, port) = closed_port();
    let mut options = options_at(&sshd, port);
    options.connect_timeout = Duration::from_secs(3);
    let begun = Instant::now();
    let error = reconnect(options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tcp);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < DEADLINE, "{took:?}");
}

#[tokio::test]
async fn another_host_key_is_the_end() {
    let sshd = Sshd::start();
    generate_key(&sshd.path("host_new"), "ed25519", "");
    sshd.write("known_hosts", &format!("[127.0.0.1]:{} {}", sshd.port, sshd.public_key("host_new")));
    let (port, count) = door(sshd.address(), 0).await;
    let error = reconnect(options_at(&sshd, port)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::HostKeyChanged);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn behind_a_hop_that_was_lost_a_host_is_reached_again() {
    let (hop, web) = (Sshd::start_with(&["ed25519"], "AllowTcpForwarding yes\n"), Sshd::start());
    let operator = Operator::knowing(&[&hop, &web]);
    operator.configure(&(host("bastion", &hop) + &host("web1", &web) + "ProxyJump bastion\n"));
    let options = operator.options("web1").await.unwrap();
    let lost = connect(options.clone()).await.unwrap();
    hop.hang_up();
    // Whether this side has noticed or not.
    let session = reconnect(options).await.unwrap();
    assert_eq!(output_of(&session, "echo back").await, "back\n");
    drop(lost);
}

#[tokio::test]
async fn a_hop_that_was_lost_without_a_word_is_connected_to_anew() {
    let (hop, web) = (Sshd::start_with(&["ed25519"], "AllowTcpForwarding yes\n"), Sshd::start());
    let proxy = Proxy::start(hop.address(), Duration::ZERO, Fault::None).await;
    let operator = Operator::knowing(&[&hop, &web]);
    let bastion = host("bastion", &hop).replace(&hop.port.to_string(), &proxy.port.to_string());
    let bastion = format!("{bastion}HostKeyAlias [127.0.0.1]:{}\nConnectTimeout 5\n", hop.port);
    operator.configure(&(bastion + &host("web1", &web) + "ProxyJump bastion\n"));
    let options = operator.options("web1").await.unwrap();
    let lost = connect(options.clone()).await.unwrap();
    proxy.leave();
    assert!(!lost.is_closed(), "nobody has noticed");
    let session = reconnect(options).await.unwrap();
    assert_eq!(output_of(&session, "echo back").await, "back\n");
    assert_eq!(proxy.connections(), 2);
}

/// A name that is misspelt must not take as long as a network that is away for a moment.
#[tokio::test(start_paused = true)]
async fn at_the_first_connection_an_address_out_of_reach_is_the_end() {
    let sshd = Sshd::start();
    let mut options = sshd.options();
    // No route leads a TCP connection to a broadcast address.
    options.address = Some(Ipv4Addr::BROADCAST.into());
    let begun = tokio::time::Instant::now();
    let error = connect(options.clone()).await.err().unwrap();
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Tcp, Duration::ZERO));
    let patience = options.connect_timeout;
    let error = reconnect(options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Tcp);
    let took = begun.elapsed();
    assert!(took > patience / 2 && took <= patience, "{took:?}");
}
