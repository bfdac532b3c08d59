//! Several channels for one transfer, or as many of them as the server allows.

use futures_util::future::try_join_all;

use super::error::TransferError;
use crate::error::CommandError;

/// Whether the server opened no channel, so that nothing has travelled.
pub(super) fn is_refused<T>(ended: &Result<T, TransferError>) -> bool {
    matches!(ended, Err(TransferError::Command(CommandError::Channel(_))))
}

/// What comes of a channel; nothing if the server opened none.
pub(super) async fn unless_refused<T>(
    lane: impl Future<Output = Result<T, TransferError>>,
) -> Result<Option<T>, TransferError> {
    match lane.await {
        ended if is_refused(&ended) => Ok(None),
        ended => ended.map(Some),
    }
}

/// Lets so many channels take from one queue. One that is refused has to put back what it took: another comes behind
/// them all for it.
pub(super) async fn share(
    lanes: usize,
    lane: impl AsyncFn() -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let ended = try_join_all((0..lanes).map(|_| unless_refused(lane()))).await?;
    if ended.contains(&None) { lane().await } else { Ok(()) }
}
