//! How far a transfer is, and what came of it, in words.

use std::time::Duration;

use stdbctl_ssh::{Progress, Transferred};

use crate::report::style::{count, duration, size};

/// `31 %, 41.2 MB/s, 4 s left, 62.0 MB of 200.0 MB`: what a narrow terminal cuts off is what matters least.
pub(super) fn activity(progress: Progress, took: Duration) -> String {
    let Progress { done, total, kept, .. } = progress;
    let percent = done.saturating_mul(100) / total.max(1);
    let mut parts = vec![format!("{percent} %")];
    if let Some(rate) = rate(done.saturating_sub(kept), took) {
        parts.push(format!("{}/s", size(rate)));
        if let Some(left) = total.saturating_sub(done).checked_div(rate).filter(|_| done < total) {
            #[expect(clippy::cast_precision_loss, reason = "nobody waits for so many seconds")]
            let left = duration((left + 1) as f64);
            parts.push(format!("{left} left"));
        }
    }
    parts.push(format!("{} of {}", size(done), size(total)));
    parts.join(", ")
}

/// Bytes a second, once that can be told.
fn rate(moved: u64, took: Duration) -> Option<u64> {
    let milliseconds = u64::try_from(took.as_millis()).ok()?;
    // Of the first moments only buffers can tell.
    if milliseconds < 500 { None } else { Some(moved.saturating_mul(1000) / milliseconds) }
}

/// `3 items (12 there already), 1.2 MB in 1.4 s, 0.4 MB crossed, 2.0 MB were there already`.
pub(super) fn summary(done: &Transferred, seconds: f64) -> String {
    let items = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX), "item");
    if done.changed == 0 {
        let all =
            if done.unchanged == 1 { "it is".to_owned() } else { format!("{} are", items(done.unchanged)) };
        return format!("{all} there already, {}", size(done.bytes));
    }
    let kept =
        if done.unchanged > 0 { format!(" ({} there already)", done.unchanged) } else { String::new() };
    let new = done.bytes.saturating_sub(done.kept);
    let mut parts =
        vec![format!("{}{kept}", items(done.changed)), format!("{} in {}", size(new), duration(seconds))];
    if done.moved < new {
        parts.push(format!("{} crossed", size(done.moved)));
    }
    if done.kept > 0 {
        parts.push(format!("{} were there already", size(done.kept)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transferred(changed: u64, unchanged: u64, bytes: u64, moved: u64) -> Transferred {
        Transferred { changed, unchanged, bytes, kept: bytes - moved, moved, skipped: Vec::new() }
    }

    #[test]
    fn rate_and_time_left_are_told_once_they_can_be() {
        let progress =
            Progress { done: 62_000_000, total: 200_000_000, kept: 20_000_000, crossed: 42_000_000 };
        let told = |milliseconds| activity(progress, Duration::from_millis(milliseconds));
        assert_eq!(told(100), "31 %, 62.0 MB of 200.0 MB");
        assert_eq!(told(2000), "31 %, 21.0 MB/s, 7.0 s left, 62.0 MB of 200.0 MB");
        let done = Progress { done: 5, total: 5, kept: 5, crossed: 0 };
        assert_eq!(activity(done, Duration::from_secs(1)), "100 %, 0 bytes/s, 5 bytes of 5 bytes");
        assert_eq!(activity(Progress::default(), Duration::ZERO), "0 %, 0 bytes of 0 bytes");
    }

    #[test]
    fn the_result_is_one_line() {
        let told = |done: &Transferred| summary(done, 1.44);
        assert_eq!(told(&transferred(1, 0, 1000, 1000)), "1 item, 1.0 kB in 1.4 s");
        assert_eq!(told(&transferred(0, 1, 1000, 0)), "it is there already, 1.0 kB");
        assert_eq!(told(&transferred(0, 3, 1000, 0)), "3 items are there already, 1.0 kB");
        assert_eq!(
            told(&transferred(2, 3, 3000, 1000)),
            "2 items (3 there already), 1.0 kB in 1.4 s, 2.0 kB were there already"
        );
        let packed = Transferred { moved: 400, ..transferred(2, 3, 3000, 1000) };
        assert_eq!(
            told(&packed),
            "2 items (3 there already), 1.0 kB in 1.4 s, 400 bytes crossed, 2.0 kB were there already"
        );
    }
}
