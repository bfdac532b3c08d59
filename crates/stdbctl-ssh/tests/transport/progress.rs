//! What is told of an upload while it is on its way.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stdbctl_ssh::{Progress, TransferOptions, push};
use tokio::time::timeout;

use crate::proxy::{Fault, Proxy};
use crate::sshd::DEADLINE;
use crate::transfer::{BLOCK, Desk, noise};

/// 32 Mbit/s.
const SLOW: Fault = Fault::Throttle(4_000_000);
/// What may be counted before it is there: of the 2 MiB of each channel, no more than what this side hands over while
/// it hears of what has arrived.
const EARLY: u64 = 1 << 20;

/// Pushes something over a slow line: so far it was said to be, when the line had carried so much.
async fn told_of(desk: &Desk, name: &str) -> Vec<(u64, u64)> {
    let (session, proxy): (_, Proxy) = desk.through(Duration::ZERO, SLOW).await;
    let (carried, told) = (proxy.to_server(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&told);
    let watch = Arc::new(move |progress: Progress| {
        let carried = carried.load(Ordering::SeqCst) as u64;
        heard.lock().unwrap().push((progress.done, carried));
    });
    let options = TransferOptions { watch: Some(watch), ..TransferOptions::default() };
    let (from, to) = (desk.here(name), desk.there(name));
    let pushed = timeout(DEADLINE, push(&session, &from, &to, &options)).await.expect("it hangs").unwrap();
    assert_eq!(pushed.moved, pushed.bytes);
    drop((session, options));
    Arc::into_inner(told).unwrap().into_inner().unwrap()
}

#[tokio::test]
async fn what_a_slow_line_has_not_carried_has_not_arrived() {
    let desk = Desk::new().await;
    let size = 2 * BLOCK;
    fs::write(desk.here("file"), noise(size, 1)).unwrap();
    fs::create_dir(desk.here("tree")).unwrap();
    for number in 0..16 {
        fs::write(desk.here("tree").join(number.to_string()), noise(size / 16, number)).unwrap();
    }
    for name in ["file", "tree"] {
        let mut told = told_of(&desk, name).await;
        for (done, carried) in &told {
            assert!(*done <= carried + EARLY, "{name}: {done} when {carried} were carried\n{told:?}");
        }
        assert!(Path::new(&desk.there(name)).exists());
        assert_eq!(told.last().unwrap().0, size as u64, "{name}");
        told.dedup_by_key(|(done, _)| *done);
        assert!(told.len() > 8, "{name}: it does not move\n{told:?}");
    }
}
