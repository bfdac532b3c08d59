use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;
use crate::deadline::wait_for;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that answers every byte with the same byte, on as many connections as come.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut reader = stream.try_clone().unwrap();
                let _ended_with_the_connection = std::io::copy(&mut reader, &mut stream);
                let _already_gone = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect_timeout(&proxy.address(), LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, question: &[u8]) {
    stream.write_all(question).unwrap();
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, question);
}

fn proxy(rtt_ms: u64) -> Proxy {
    Proxy::in_front_of(echo(), Duration::from_millis(rtt_ms)).unwrap()
}

#[test]
fn counts_round_trips_bytes_and_connections() {
    let proxy = proxy(0);
    let mut first = connect(&proxy);
    ask(&mut first, b"one");
    ask(&mut first, b"three");
    ask(&mut connect(&proxy), b"four");
    let counts = proxy.counts();
    assert_eq!(counts, Counts { connections: 2, round_trips: 5, bytes_to_server: 12, bytes_to_client: 12 });
}

#[test]
fn holds_every_flight_for_one_round_trip() {
    let proxy = proxy(80);
    let began = Instant::now();
    let mut stream = connect(&proxy);
    ask(&mut stream, b"a");
    assert!(began.elapsed() >= Duration::from_millis(160), "connect and one answer are two round trips");
    let began = Instant::now();
    ask(&mut stream, b"b");
    assert!(began.elapsed() >= Duration::from_millis(80));
    assert_eq!(proxy.counts().round_trips, 3);
}

#[test]
fn delays_and_does_not_throttle() {
    let rtt = Duration::from_millis(200);
    let proxy = Proxy::in_front_of(echo(), rtt).unwrap();
    let mut stream = connect(&proxy);
    ask(&mut stream, b"connected");
    let question = vec![7; 8 * 1024 * 1024];
    let mut writer = stream.try_clone().unwrap();
    let sent = question.clone();
    let began = Instant::now();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer == question, "order and content are kept");
    let one_at_a_time = rtt * u32::try_from(question.len() / CHUNK).unwrap();
    assert!(began.elapsed() < one_at_a_time, "{:?}", began.elapsed());
}

#[test]
fn delivers_exactly_the_bytes_before_the_cut_and_cuts_once() {
    let proxy = proxy(0);
    proxy.cut_after(Direction::ToClient, 5);
    let mut stream = connect(&proxy);
    stream.write_all(b"0123456789").unwrap();
    let mut answer = Vec::new();
    assert!(stream.read_to_end(&mut answer).is_err(), "a cut is a reset, not an orderly end");
    assert_eq!(answer, b"01234");
    ask(&mut connect(&proxy), b"the next one goes through");
}

#[test]
fn cuts_at_a_boundary_without_waiting_for_more() {
    let proxy = proxy(0);
    proxy.cut_after(Direction::ToServer, 4);
    let mut stream = connect(&proxy);
    stream.write_all(b"four").unwrap();
    assert!(stream.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn cuts_on_command() {
    let proxy = proxy(0);
    let mut stream = connect(&proxy);
    ask(&mut stream, b"alive");
    proxy.cut();
    assert!(stream.read(&mut [0]).is_err());
    ask(&mut connect(&proxy), b"only what was there then");
}

#[test]
fn who_is_not_admitted_waits_and_can_be_cut() {
    let proxy = proxy(0);
    proxy.admit(1);
    ask(&mut connect(&proxy), b"the first");
    let mut second = connect(&proxy);
    wait_for("the second one is there", LIMIT, || (proxy.counts().connections == 2).then_some(()));
    assert_eq!(proxy.counts().round_trips, 2, "it leads nowhere");
    proxy.cut();
    assert!(second.read(&mut [0]).is_err());
    let mut third = connect(&proxy);
    third.write_all(b"now?").unwrap();
    wait_for("the third one is there", LIMIT, || (proxy.counts().connections == 3).then_some(()));
    proxy.admit(3);
    let mut answer = [0; 4];
    third.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"now?");
}

#[test]
fn a_pulled_cable_tells_nobody() {
    let proxy = proxy(0);
    let mut stream = connect(&proxy);
    ask(&mut stream, b"alive");
    proxy.stall(true);
    stream.write_all(b"anyone?").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let kind = stream.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{kind}");
    proxy.stall(false);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"anyone?");
}

#[test]
fn passes_an_orderly_end_on() {
    let proxy = proxy(20);
    let mut stream = connect(&proxy);
    stream.write_all(b"last words").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"last words");
}

#[test]
fn nobody_behind_it_is_a_reset() {
    // Nobody listens there, nor can anybody else.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let proxy = Proxy::in_front_of(closed.local_addr().unwrap(), Duration::ZERO).unwrap();
    assert!(connect(&proxy).read(&mut [0]).is_err());
    assert_eq!(proxy.counts().round_trips, 0);
}
