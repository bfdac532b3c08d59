//! Records: how a script's answers are told from whatever else a login shell prints.
//!
//! A record is a newline, `@NONCE KIND LENGTH`, a newline and LENGTH bytes. The nonce is random for each script,
//! so neither a message of the day nor a hostile file can forge one; the length says where data ends, so data
//! may hold anything.

/// Longest record that is read; a host that claims more is not believed.
pub(crate) const MAX_RECORD: usize = 8 << 20;
/// All that one script says, noise included; no host of ours says a tenth of it.
const MAX_TOTAL: usize = 64 << 20;
/// Longest header line after the nonce: a kind may name a path, and a path may have 4096 bytes.
const MAX_HEADER: usize = 8192;
/// What a record costs beside its bytes, so that millions of empty ones are not free.
const OVERHEAD: usize = 96;

/// One answer of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is: `paths`, `started:unit`.
    pub kind: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Record {
    /// The data as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// A stream is not what the script of ours would have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// A header that cannot be read.
    #[error("a record's header cannot be read")]
    Header,
    /// A record that claims to be larger than any of ours.
    #[error("a record claims to hold {0} bytes")]
    TooLarge(u64),
    /// Records or noise without end.
    #[error("it says more than {} MiB", MAX_TOTAL >> 20)]
    TooMany,
}

/// Reads records out of a stream that comes in pieces.
#[derive(Debug)]
pub(crate) struct Reader {
    marker: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes heard so far, and what the records among them take beside.
    total: usize,
    most: usize,
}

impl Reader {
    /// A reader of the records under `nonce`.
    pub(crate) fn new(nonce: &str) -> Self {
        // The stream may begin with a record, whose newline is then missing if a shell ate it.
        Self { marker: format!("\n@{nonce} ").into_bytes(), buffer: vec![b'\n'], total: 0, most: MAX_TOTAL }
    }

    /// The same for a stream that goes on for as long as somebody reads it.
    pub(crate) fn endless(nonce: &str) -> Self {
        Self { most: usize::MAX, ..Self::new(nonce) }
    }

    /// Takes the next piece of the stream and hands back the records that are whole with it.
    ///
    /// # Errors
    /// For a header or a length that no script of ours writes; nothing more can be read then.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Record>, RecordError> {
        self.overhear(piece.len())?;
        self.buffer.extend_from_slice(piece);
        let mut records = Vec::new();
        while let Some(record) = self.next_record()? {
            self.overhear(OVERHEAD)?;
            records.push(record);
        }
        Ok(records)
    }

    /// Counts bytes that no record is in, such as those of standard error.
    ///
    /// # Errors
    /// If this is more than any script of ours says.
    pub(crate) fn overhear(&mut self, bytes: usize) -> Result<(), RecordError> {
        self.total = self.total.saturating_add(bytes);
        if self.total > self.most { Err(RecordError::TooMany) } else { Ok(()) }
    }

    fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        let Some(start) = find(&self.buffer, &self.marker) else {
            // All but the beginning of a marker is noise.
            let noise = self.buffer.len().saturating_sub(self.marker.len() - 1);
            self.buffer.drain(..noise);
            return Ok(None);
        };
        self.buffer.drain(..start);
        let header_start = self.marker.len();
        let Some(rest) = self.buffer.get(header_start..) else { return Ok(None) };
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_HEADER { Err(RecordError::Header) } else { Ok(None) };
        };
        if end > MAX_HEADER {
            return Err(RecordError::Header);
        }
        let header =
            rest.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(RecordError::Header)?;
        // The kind may name a path, and a path may hold a blank.
        let (kind, length) = header.rsplit_once(' ').ok_or(RecordError::Header)?;
        // Neither `+4` nor `04`: no script of ours writes those.
        let spelled = |number: &u64| number.to_string() == length;
        let length = length.parse().ok().filter(spelled).ok_or(RecordError::Header)?;
        let length =
            usize::try_from(length).ok().filter(|n| *n <= MAX_RECORD).ok_or(RecordError::TooLarge(length))?;
        let kind = kind.to_owned();
        let body = header_start + end + 1;
        let Some(data) = self.buffer.get(body..body + length) else { return Ok(None) };
        let data = data.to_vec();
        self.buffer.drain(..body + length);
        // A record that follows at once begins with its own newline.
        Ok(Some(Record { kind, data }))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(nonce: &str, kind: &str, data: &[u8]) -> Vec<u8> {
        [format!("\n@{nonce} {kind} {}\n", data.len()).as_bytes(), data].concat()
    }

    proptest! {
        #[test]
        fn whatever_stands_around_and_however_it_is_cut(
            noise in "[ -~\n]{0,60}",
            records in prop::collection::vec(("[a-z:]{1,8}", prop::collection::vec(any::<u8>(), 0..80)), 0..5),
            cut in 1usize..40,
        ) {
            let mut stream = noise.into_bytes();
            for (kind, data) in &records {
                stream.extend(written("n0nce", kind, data));
            }
            let mut reader = Reader::new("n0nce");
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                read.extend(reader.feed(piece).unwrap());
            }
            let expected: Vec<Record> =
                records.into_iter().map(|(kind, data)| Record { kind, data }).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_kind_may_name_a_path_with_blanks() {
        let records = Reader::new("n").feed(&written("n", "content:/etc/my file 7", b"data")).unwrap();
        assert_eq!(records, [Record { kind: "content:/etc/my file 7".to_owned(), data: b"data".to_vec() }]);
    }

    #[test]
    fn another_nonce_is_noise() {
        let mut reader = Reader::new("mine");
        assert_eq!(reader.feed(&written("theirs", "x", b"data")).unwrap(), []);
    }

    #[test]
    fn a_record_that_claims_gigabytes_is_refused() {
        let mut reader = Reader::new("n");
        assert_eq!(reader.feed(b"\n@n x 99999999999\n"), Err(RecordError::TooLarge(99_999_999_999)));
        for length in ["-1", "+1", "01", "", "1 ", "1e9", "18446744073709551616"] {
            let header = format!("\n@n x {length}\nx");
            assert_eq!(Reader::new("n").feed(header.as_bytes()), Err(RecordError::Header), "{length}");
        }
    }

    #[test]
    fn a_header_has_an_end_however_it_comes() {
        let long = format!("\n@n {} 1\nx", "k".repeat(MAX_HEADER));
        assert_eq!(Reader::new("n").feed(long.as_bytes()), Err(RecordError::Header));
        let mut reader = Reader::new("n");
        let refused = long.as_bytes().chunks(100).find_map(|piece| reader.feed(piece).err());
        assert_eq!(refused, Some(RecordError::Header));
    }

    #[test]
    fn empty_records_are_not_free() {
        let record = written("n", "x", b"").repeat(10_000);
        let mut reader = Reader::new("n");
        let mut read = 0;
        let refused = (0..1000).find_map(|_| reader.feed(&record).map(|records| read += records.len()).err());
        assert_eq!(refused, Some(RecordError::TooMany));
        assert!(read * size_of::<Record>() < MAX_TOTAL, "{read} records");
    }

    #[test]
    fn records_without_end_are_refused() {
        let record = written("n", "x", &vec![b'x'; 1 << 20]);
        let mut reader = Reader::new("n");
        let refused = (0..100).find_map(|_| reader.feed(&record).err());
        assert_eq!(refused, Some(RecordError::TooMany));
    }

    #[test]
    fn noise_without_end_is_not_kept() {
        let mut reader = Reader::new("n0nce");
        for _ in 0..1000 {
            reader.feed(&[b'x'; 1000]).unwrap();
        }
        assert!(reader.buffer.len() < 100);
        reader.total = MAX_TOTAL - 10;
        assert_eq!(reader.feed(b"eleven more"), Err(RecordError::TooMany));
        let mut endless = Reader::endless("n0nce");
        endless.total = MAX_TOTAL;
        assert_eq!(endless.feed(b"eleven more"), Ok(Vec::new()));
    }
}
