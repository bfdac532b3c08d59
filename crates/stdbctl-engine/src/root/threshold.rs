//! Tells from what a host writes whether it has become root, and keeps what it says about it until then.

use super::RootError;
use super::password::Attempt;
use crate::host::Output;

/// How much may be said before there is a root: no message of the day is so long.
const MOST: usize = 1 << 20;
/// How much is kept of what is said before there is a root.
const KEPT: usize = 4096;
/// Longest word behind the nonce: `root`, `ask`.
const LONGEST_WORD: usize = 16;

/// What a host writes on the way to root and behind it.
pub(super) struct Threshold<'a> {
    /// What the host's words to us begin with.
    mark: Vec<u8>,
    /// Standard output that may be the beginning of a mark.
    pending: Vec<u8>,
    /// Standard error so far, to be shown once there is a root.
    complaint: Vec<u8>,
    /// How many bytes have been said.
    heard: usize,
    /// What the host gets if it asks for the password.
    attempt: Option<Attempt<'a>>,
    is_passed: bool,
}

impl<'a> Threshold<'a> {
    pub(super) fn new(nonce: &str, attempt: Option<Attempt<'a>>) -> Self {
        Self {
            mark: format!("@{nonce} ").into_bytes(),
            pending: Vec::new(),
            complaint: Vec::new(),
            heard: 0,
            attempt,
            is_passed: false,
        }
    }

    /// Whether the host has become root.
    pub(super) fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// What the host said instead of becoming root.
    pub(super) fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.complaint).trim().to_owned()
    }

    /// The host did not accept the password.
    pub(super) fn fail(self) {
        if let Some(attempt) = self.attempt {
            attempt.fail();
        }
    }

    /// Takes what the host wrote and gives back what is meant for others.
    ///
    /// # Errors
    /// If it is too much, and there is still no root.
    pub(super) fn take(&mut self, output: Output) -> Result<Vec<Output>, RootError> {
        if self.is_passed {
            return Ok(vec![output]);
        }
        let (Output::Stdout(piece) | Output::Stderr(piece)) = &output;
        self.heard = self.heard.saturating_add(piece.len());
        let passed_on = self.listen(output);
        if self.is_passed || self.heard <= MOST {
            Ok(passed_on)
        } else {
            Err(RootError::Undecided("in the first MiB that it wrote".to_owned()))
        }
    }

    fn listen(&mut self, output: Output) -> Vec<Output> {
        match output {
            Output::Stderr(piece) => {
                self.complaint.extend_from_slice(&piece);
                let excess = self.complaint.len().saturating_sub(KEPT);
                self.complaint.drain(..excess);
                Vec::new()
            }
            Output::Stdout(piece) => {
                self.pending.extend_from_slice(&piece);
                self.read()
            }
        }
    }

    /// What is left when no more comes.
    pub(super) fn rest(&mut self) -> Vec<Output> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() { Vec::new() } else { vec![Output::Stdout(pending)] }
    }

    fn read(&mut self) -> Vec<Output> {
        let mut passed_on = Vec::new();
        while !self.is_passed {
            let length = self.mark.len();
            let Some(start) = self.pending.windows(length).position(|window| window == self.mark) else {
                // What a login shell says of its own accord: all but what may be the beginning of a mark.
                let noise = self.pending.len().saturating_sub(length - 1);
                passed_on.extend(self.pending.drain(..noise));
                break;
            };
            passed_on.extend(self.pending.drain(..start));
            let word = self.pending.get(length..).unwrap_or_default();
            let Some(end) = word.iter().take(LONGEST_WORD).position(|byte| *byte == b'\n') else {
                if word.len() < LONGEST_WORD {
                    break;
                }
                passed_on.extend(self.pending.drain(..length));
                continue;
            };
            let word = word.get(..end).unwrap_or_default().to_vec();
            self.pending.drain(..=length + end);
            self.hear(&word);
        }
        if self.is_passed {
            passed_on.append(&mut self.pending);
        }
        let mut output = Vec::new();
        if !passed_on.is_empty() {
            output.push(Output::Stdout(passed_on));
        }
        if self.is_passed && !self.complaint.is_empty() {
            output.push(Output::Stderr(std::mem::take(&mut self.complaint)));
        }
        output
    }

    fn hear(&mut self, word: &[u8]) {
        match word {
            b"root" => {
                self.is_passed = true;
                if let Some(attempt) = self.attempt.take() {
                    attempt.succeed();
                }
            }
            b"ask" => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.hand_over();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(output: Vec<Output>) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for piece in output {
            match piece {
                Output::Stdout(piece) => out.extend(piece),
                Output::Stderr(piece) => err.extend(piece),
            }
        }
        (out, err)
    }

    proptest! {
        #[test]
        fn marks_are_found_however_the_stream_is_cut(
            noise in "[@a-z \n]{0,40}", cuts in prop::collection::vec(0_usize..120, 0..6),
        ) {
            let (attempt, mut key) = Attempt::alone("secret");
            let mut threshold = Threshold::new("n0nce", Some(attempt));
            let stream = format!("{noise}@n0nce ask\n@n0nce root\nout@n0nce root\n@n0nce ").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut heard = Vec::new();
            for pair in cuts.windows(2) {
                heard.extend(threshold.take(Output::Stdout(stream[pair[0]..pair[1]].to_vec())).unwrap());
            }
            heard.extend(threshold.rest());
            prop_assert!(threshold.is_passed());
            prop_assert!(key.try_recv().is_ok());
            let expected = format!("{noise}out@n0nce root\n@n0nce ");
            prop_assert_eq!(String::from_utf8(bytes(heard).0).unwrap(), expected);
        }
    }

    #[test]
    fn the_password_stays_here_until_it_is_asked_for_under_the_nonce() {
        let (attempt, mut key) = Attempt::alone("secret");
        let mut threshold = Threshold::new("n0nce", Some(attempt));
        let said = threshold.take(Output::Stdout(b"@other ask\n@n0nce asking\n@n0nce ask".to_vec())).unwrap();
        assert_eq!(bytes(said).0, b"@other ask\n");
        assert!(key.try_recv().is_err());
        threshold.take(Output::Stdout(b"\n".to_vec())).unwrap();
        assert!(key.try_recv().is_ok());
        assert!(!threshold.is_passed());
    }

    #[test]
    fn what_sudo_says_is_kept_until_there_is_a_root_and_never_grows() {
        let mut threshold = Threshold::new("n0nce", None);
        assert!(threshold.take(Output::Stderr(b"lecture\n".to_vec())).unwrap().is_empty());
        let (out, err) = bytes(threshold.take(Output::Stdout(b"@n0nce root\nout".to_vec())).unwrap());
        assert_eq!((out.as_slice(), err.as_slice()), (&b"out"[..], &b"lecture\n"[..]));

        let mut threshold = Threshold::new("n0nce", None);
        for _ in 0..100 {
            threshold.take(Output::Stderr(vec![b'x'; 1000])).unwrap();
            threshold.take(Output::Stdout(vec![b'@'; 1000])).unwrap();
        }
        assert_eq!(threshold.complaint().len(), KEPT);
        assert!(threshold.pending.len() < 16);
    }

    #[test]
    fn who_talks_on_and_on_is_given_up_before_there_is_a_root_and_never_behind_it() {
        for piece in [Output::Stdout(vec![b'@'; 1 << 16]), Output::Stderr(vec![b'x'; 1 << 16])] {
            let mut threshold = Threshold::new("n0nce", None);
            for _ in 0..16 {
                threshold.take(piece.clone()).unwrap();
            }
            let given_up = threshold.take(piece.clone()).unwrap_err();
            assert!(matches!(given_up, RootError::Undecided(_)), "{given_up}");

            let mut threshold = Threshold::new("n0nce", None);
            threshold.take(Output::Stdout(b"@n0nce root\n".to_vec())).unwrap();
            for _ in 0..100 {
                threshold.take(piece.clone()).unwrap();
            }
        }
    }
}
