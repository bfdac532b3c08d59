use std::io;
use std::sync::Mutex;

use super::*;

const PATIENCE: Duration = Duration::from_secs(15);

/// A host that cannot be reached for these reasons, one a try, and then can. When it was tried, and what came of it.
async fn tries(patience: Duration, why: Vec<ConnectError>) -> (Vec<f64>, Result<(), ConnectError>) {
    let (begun, times, mut why) = (Instant::now(), Mutex::default(), why);
    why.reverse();
    let why = Mutex::new(why);
    let result = until_back(patience, || async {
        Vec::push(&mut times.lock().unwrap(), begun.elapsed().as_secs_f64());
        why.lock().unwrap().pop().map_or(Ok(()), Err)
    });
    let result = result.await;
    (times.into_inner().unwrap().into_iter().map(|time: f64| (time * 10.0).round() / 10.0).collect(), result)
}

fn tcp(kind: ErrorKind) -> ConnectError {
    ConnectError::Tcp { address: "web1".to_owned(), source: io::Error::from(kind) }
}

fn unresolved() -> ConnectError {
    let source = io::Error::other("Temporary failure in name resolution");
    ConnectError::Resolve { host: "web1".to_owned(), source }
}

fn slow(step: Step) -> ConnectError {
    ConnectError::Timeout { step, address: "web1".to_owned(), seconds: 15 }
}

fn forward(source: ForwardError) -> ConnectError {
    ConnectError::Forward { hop: "bastion".to_owned(), source }
}

fn behind(source: ConnectError) -> ConnectError {
    ConnectError::Hop { hop: "bastion".to_owned(), source: source.into() }
}

fn command(words: &str) -> ConnectError {
    let source = Box::new(ConnectError::Silent { address: "web1".to_owned(), waited: None });
    ConnectError::ProxyCommand { host: "web1".to_owned(), words: Some(words.to_owned()), source }
}

fn place() -> String {
    "10.0.0.2:22".to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_laptop_that_wakes_up_is_given_time_to_find_its_network() {
    let gone = || {
        vec![
            tcp(ErrorKind::NetworkDown),
            tcp(ErrorKind::AddrNotAvailable),
            tcp(ErrorKind::NetworkUnreachable),
            unresolved(),
            slow(Step::Resolve),
            tcp(ErrorKind::HostUnreachable),
            behind(unresolved()),
        ]
    };
    let (times, result) = tries(PATIENCE, gone()).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(times, [0.0, 1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5]);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_does_not_come_back_is_waited_for_as_long_as_a_step_may_take() {
    let (times, result) = tries(PATIENCE, (0..100).map(|_| unresolved()).collect()).await;
    assert!(matches!(result, Err(ConnectError::Resolve { .. })), "what it was is told: {result:?}");
    assert_eq!(times.last(), Some(&13.5));
}

/// Those reach somebody, who may count them.
#[tokio::test(start_paused = true)]
async fn a_host_that_takes_no_connection_is_tried_three_times() {
    for error in [
        || tcp(ErrorKind::ConnectionRefused),
        || tcp(ErrorKind::TimedOut),
        || slow(Step::Tcp),
        || behind(slow(Step::Tcp)),
        || forward(ForwardError::Unreachable { place: place() }),
        || forward(ForwardError::Timeout { place: place(), seconds: 15 }),
        || behind(forward(ForwardError::Timeout { place: place(), seconds: 15 })),
        || command("ssh: Could not resolve hostname bastion: Temporary failure in name resolution"),
        || command("ssh: connect to host bastion port 22: Network is unreachable"),
        || command("nc: connect to 10.0.0.2 port 22 (tcp) failed: Connection refused"),
        || ConnectError::Silent { address: "web1".to_owned(), waited: None },
    ] {
        let (times, result) = tries(PATIENCE, (0..100).map(|_| error()).collect()).await;
        assert_eq!(result.unwrap_err().to_string(), error().to_string());
        assert_eq!(times, [0.0, 1.5, 6.5], "{:?}", error());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_waited_for_before_it_failed_leaves_time_to_try_again() {
    let (times, begun) = (Mutex::new(Vec::new()), Instant::now());
    let result = until_back::<(), _>(PATIENCE, || async {
        times.lock().unwrap().push(begun.elapsed().as_secs());
        sleep(PATIENCE).await;
        Err(slow(Step::Tcp))
    })
    .await;
    assert!(result.is_err());
    assert_eq!(
        times.into_inner().unwrap(),
        [0, 16],
        "and none begins later than that after the first failed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_try_would_only_find_again_is_final() {
    for error in [
        slow(Step::KeyExchange),
        slow(Step::Authentication),
        forward(ForwardError::Forbidden { place: place() }),
        behind(slow(Step::Authentication)),
        behind(ConnectError::Silent { address: "bastion".to_owned(), waited: None }),
        command("ada@bastion: Permission denied (publickey)."),
        ConnectError::NoUser { host: "web1".to_owned() },
    ] {
        let (times, result) = tries(PATIENCE, vec![error]).await;
        assert_eq!(times, [0.0], "{result:?}");
    }
}
