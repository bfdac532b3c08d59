//! The script that does the host's part, and the one line that carries it there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::TransferError;
use super::name;
use super::talk::{Deaf, Hearing, Saying, Talk};
use super::{SMALL, Side};
use crate::quote::quote;

const SCRIPT: &str = include_str!("host.sh");
/// Every login shell reads it alike, csh included: no newline, and no word that is too long. The script comes in
/// its arguments, because input would cost a round trip, and because input is for content. Nothing in it is secret.
const RUN: &str = r#"sh -c 's=$(for w; do printf %s "$w"; done | base64 -d); eval "$s"' stdbctl"#;
/// More lines are no answer to what has no input.
const MOST_LINES: usize = 16;
/// Old csh knows no longer words.
const LONGEST_WORD: usize = 900;

/// What the script is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) verb: &'static str,
    /// The path in question.
    pub(super) path: &'a str,
    /// Names the file that grows; empty for what is done at once.
    pub(super) key: &'a str,
    pub(super) size: u64,
    /// In octal.
    pub(super) mode: u32,
    /// Which file it is that grows, as the host's `look` has said; empty before.
    pub(super) id: &'a str,
}

impl<'a> Order<'a> {
    pub(super) fn new(verb: &'static str, path: &'a str) -> Self {
        Self { verb, path, key: "", size: 0, mode: 0, id: "" }
    }

    fn line(&self, nonce: &str) -> Result<String, TransferError> {
        let Self { verb, path, key, size, mode, id } = self;
        let key = if key.is_empty() { nonce } else { key };
        let (path, id, block) = (quote(path)?, quote(id)?, super::blocks::SIZE);
        let program = format!(
            "verb={verb} nonce={nonce} path={path} key={key} block={block} size={size} mode={mode:o} id={id} \
             small={SMALL}\n{SCRIPT}"
        );
        let program = STANDARD.encode(program);
        let mut line = RUN.to_owned();
        let mut rest = program.as_str();
        while !rest.is_empty() {
            let (word, after) = rest.split_at(LONGEST_WORD.min(rest.len()));
            line.push(' ');
            line.push_str(word);
            rest = after;
        }
        Ok(line)
    }
}

impl Side<'_> {
    /// Has the host do something, speaks to it and listens.
    pub(super) async fn talk<T, S, H>(
        &self,
        order: Order<'_>,
        say: impl FnOnce(Saying) -> S,
        hear: impl FnOnce(Hearing) -> H,
    ) -> Result<T, TransferError>
    where
        S: Future<Output = Result<Result<(), Deaf>, TransferError>>,
        H: Future<Output = (Hearing, Result<T, TransferError>)>,
    {
        let nonce = name::nonce();
        let command = order.line(&nonce)?;
        let talk = Talk {
            session: self.session,
            pace: &self.pace,
            command: &command,
            nonce: &nonce,
            path: order.path,
            as_root: self.as_root,
        };
        talk.run(say, hear).await
    }

    /// Has the host do something that needs no input, and gives its answer back in lines.
    pub(super) async fn ask(&self, order: Order<'_>) -> Result<Vec<String>, TransferError> {
        let hear = async |mut hearing: Hearing| {
            let mut lines = Vec::new();
            let heard = loop {
                match hearing.line().await {
                    Ok(Some(line)) if lines.len() < MOST_LINES => lines.push(line),
                    Ok(Some(_)) => break Err(TransferError::Protocol("it says too much".to_owned())),
                    Ok(None) => break Ok(lines),
                    Err(error) => break Err(error),
                }
            };
            (hearing, heard)
        };
        self.talk(order, silent, hear).await
    }
}

/// Says nothing.
pub(super) async fn silent(saying: Saying) -> Result<Result<(), Deaf>, TransferError> {
    drop(saying);
    Ok(Ok(()))
}
