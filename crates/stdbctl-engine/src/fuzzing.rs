//! What must hold whatever bytes come, one function for each target of `fuzz/`. Each panics where it does not hold.
//!
//! The tests below replay the corpora, so that what a fuzzer once found stays found.

#![expect(clippy::missing_panics_doc, reason = "to panic is how they tell")]

use crate::record::{MAX_RECORD, Reader, Record, RecordError};
use crate::sh;

const NONCE: &str = "n0nce";

/// The size of pieces, then a host's answer: records are the same however the stream is cut, and none is invented.
pub fn records(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let (whole, how) = read(stream, stream.len().max(1));
    let (pieces, also) = read(stream, usize::from(*size).max(1));
    assert_eq!(how, also, "cut into {size}");
    if how.is_ok() {
        assert_eq!(whole, pieces, "cut into {size}");
    }
    for record in whole.iter().chain(&pieces) {
        assert!(record.data.len() <= MAX_RECORD);
        let written = written(record);
        let stream = [b"\n", stream].concat();
        assert!(
            stream.windows(written.len()).any(|window| window == written),
            "{record:?} is not in the stream"
        );
        assert_eq!(read(&written, 7), (vec![record.clone()], Ok(())), "it reads back as itself");
    }
}

fn read(stream: &[u8], size: usize) -> (Vec<Record>, Result<(), RecordError>) {
    let mut reader = Reader::new(NONCE);
    let mut records = Vec::new();
    for piece in stream.chunks(size) {
        match reader.feed(piece) {
            Ok(more) => records.extend(more),
            Err(error) => return (records, Err(error)),
        }
    }
    (records, Ok(()))
}

fn written(record: &Record) -> Vec<u8> {
    let header = format!("\n@{NONCE} {} {}\n", record.kind, record.data.len());
    [header.as_bytes(), &record.data].concat()
}

/// A text: a shell reads it back as one word.
pub fn words_of_scripts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let word = sh::quote(&text);
    let read = if let Some(inner) = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        let pieces: Vec<_> = inner.split(r"'\''").collect();
        assert!(pieces.iter().all(|piece| !piece.contains('\'')), "a quote ends too early: {word}");
        pieces.join("'")
    } else {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
        assert!(!word.is_empty() && word.chars().all(plain), "{word:?} stands unquoted");
        word
    };
    assert_eq!(read, text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn replay(target: &str, check: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files =
            std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let replayed = files.map(|file| check(&std::fs::read(file.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "{} is empty", corpus.display());
    }

    #[test]
    fn records_of_the_corpus() {
        replay("records", records);
    }

    #[test]
    fn words_of_the_corpus() {
        replay("quoting", words_of_scripts);
    }
}
