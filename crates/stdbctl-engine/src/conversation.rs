//! One script's run on a host, as the records it answers with.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::host::{BoxFuture, Ending, HostError, Output};
use crate::record::{Reader, Record, RecordError};

/// A script that runs says something every second; one that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(120);
/// How much of standard error is kept.
const STDERR_KEPT: usize = 4096;

/// A script's run that has ended.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// What it answered.
    pub(crate) records: Vec<Record>,
    /// The end of what it wrote to standard error.
    pub(crate) stderr: String,
    /// How it ended.
    pub(crate) ending: Ending,
}

/// A script's run that did not come to an end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConversationError {
    #[error(transparent)]
    Host(HostError),
    #[error(transparent)]
    Record(RecordError),
    #[error("the host was silent for {} s", SILENCE.as_secs())]
    Silent,
}

impl Conversation {
    /// Whether the script ran to its last line.
    pub(crate) fn is_whole(&self) -> bool {
        self.records.iter().any(|record| record.kind == "end")
    }

    /// Starts a script and hands each record to `on_record` as it comes.
    pub(crate) async fn hold<'h>(
        nonce: &str,
        start: impl FnOnce(mpsc::Sender<Output>) -> BoxFuture<'h, Result<Ending, HostError>>,
        mut on_record: impl FnMut(&Record),
    ) -> Result<Self, ConversationError> {
        let mut records = Vec::new();
        let keep = |record: Record| {
            on_record(&record);
            records.push(record);
        };
        let said = Self::listen(Reader::new(nonce), Some(SILENCE), start, keep).await?;
        Ok(Self { records, ..said })
    }

    /// The same for a script that may be silent and go on for as long as it likes. Only its `end` is kept.
    pub(crate) async fn follow<'h>(
        nonce: &str,
        start: impl FnOnce(mpsc::Sender<Output>) -> BoxFuture<'h, Result<Ending, HostError>>,
        mut on_record: impl FnMut(&Record),
    ) -> Result<Self, ConversationError> {
        let mut records = Vec::new();
        let show = |record: Record| {
            on_record(&record);
            if record.kind == "end" {
                records.push(record);
            }
        };
        let said = Self::listen(Reader::endless(nonce), None, start, show).await?;
        Ok(Self { records, ..said })
    }

    /// Its end, without the records, which `take` gets as they come.
    async fn listen<'h>(
        mut reader: Reader,
        patience: Option<Duration>,
        start: impl FnOnce(mpsc::Sender<Output>) -> BoxFuture<'h, Result<Ending, HostError>>,
        mut take: impl FnMut(Record),
    ) -> Result<Self, ConversationError> {
        let (sender, mut receiver) = mpsc::channel(64);
        let mut running = start(sender);
        let mut ending = None;
        let mut stderr = Vec::new();
        loop {
            let step = async {
                tokio::select! {
                    biased;
                    output = receiver.recv() => Step::Output(output),
                    result = &mut running, if ending.is_none() => Step::Ended(result),
                }
            };
            match within(patience, step).await? {
                Step::Output(Some(Output::Stdout(piece))) => {
                    reader.feed(&piece).map_err(ConversationError::Record)?.into_iter().for_each(&mut take);
                }
                Step::Output(Some(Output::Stderr(piece))) => {
                    reader.overhear(piece.len()).map_err(ConversationError::Record)?;
                    keep_end(&mut stderr, &piece);
                }
                Step::Output(None) => break,
                Step::Ended(result) => ending = Some(result.map_err(ConversationError::Host)?),
            }
        }
        let ending = match ending {
            Some(ending) => ending,
            // It has closed its output: what is left to come is how it ended.
            None => within(Some(SILENCE), running).await?.map_err(ConversationError::Host)?,
        };
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        Ok(Self { records: Vec::new(), stderr, ending })
    }
}

async fn within<T>(
    patience: Option<Duration>,
    step: impl Future<Output = T>,
) -> Result<T, ConversationError> {
    match patience {
        Some(patience) => timeout(patience, step).await.map_err(|_| ConversationError::Silent),
        None => Ok(step.await),
    }
}

enum Step {
    Output(Option<Output>),
    Ended(Result<Ending, HostError>),
}

fn keep_end(kept: &mut Vec<u8>, piece: &[u8]) {
    kept.extend_from_slice(piece);
    let excess = kept.len().saturating_sub(STDERR_KEPT);
    kept.drain(..excess);
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
