//! Packed content: gzip, because every host has it. What a host has packed is unpacked within bounds.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};

use super::error::TransferError;

/// How much of a block tells whether it is worth packing.
pub(super) const SAMPLE: usize = 64 * 1024;
/// More than so many wire bytes for a block are no packing of it.
const OVERHEAD: u64 = 64 * 1024;

/// Whether so many bytes are few enough to stand for so many.
fn pays(packed: usize, plain: usize) -> bool {
    packed < plain / 8 * 7
}

/// Whether what begins like this is worth packing.
pub(super) fn shrinks(sample: &[u8]) -> bool {
    let mut packer = Packer::new();
    packer.take(sample);
    packer.finish().is_some()
}

/// Packs one block, piece by piece.
pub(super) struct Packer {
    encoder: GzEncoder<Vec<u8>>,
    taken: usize,
}

impl Packer {
    pub(super) fn new() -> Self {
        // The fastest: higher levels save a tenth more, at a third of the speed.
        Self { encoder: GzEncoder::new(Vec::new(), Compression::fast()), taken: 0 }
    }

    /// False once it cannot pay any more.
    pub(super) fn take(&mut self, piece: &[u8]) -> bool {
        self.taken += piece.len();
        // Writing into memory does not fail.
        self.encoder.write_all(piece).is_ok() && pays(self.encoder.get_ref().len(), self.taken)
    }

    /// The block as it is to travel; none if that would not pay.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        let plain = self.taken;
        self.encoder.finish().ok().filter(|packed| pays(packed.len(), plain))
    }
}

/// Unpacks one block that a host has packed, and takes no more than its length out of it.
pub(super) struct Unpacker {
    decoder: GzDecoder<Bounded>,
    wire_left: u64,
}

/// Bytes that have come out and are to be fetched, and how many may still come.
struct Bounded {
    bytes: Vec<u8>,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("it holds more than it was asked for"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpacker {
    pub(super) fn new(length: u64) -> Self {
        let bounded = Bounded { bytes: Vec::new(), left: length };
        Self { decoder: GzDecoder::new(bounded), wire_left: length + OVERHEAD }
    }

    /// Takes some of these bytes in and says how many; none of them belong to the block if that is 0.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, TransferError> {
        let taken = self.decoder.write(bytes).map_err(|error| wrong(&error))?;
        let left = self.wire_left.checked_sub(taken as u64);
        self.wire_left = left.ok_or_else(|| wrong(&io::Error::other("it has no end")))?;
        Ok(taken)
    }

    /// How many bytes have come out and were not fetched.
    pub(super) fn ready(&self) -> usize {
        self.decoder.get_ref().bytes.len()
    }

    /// What has come out so far.
    pub(super) fn fetch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.decoder.get_mut().bytes)
    }

    /// The rest of it, if it was whole.
    pub(super) fn finish(self) -> Result<Vec<u8>, TransferError> {
        self.decoder.finish().map(|bounded| bounded.bytes).map_err(|error| wrong(&error))
    }
}

fn wrong(error: &io::Error) -> TransferError {
    TransferError::Protocol(format!("a packed block cannot be unpacked: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder as Reference;

    use super::*;

    fn text(length: usize) -> Vec<u8> {
        (0..).flat_map(|number: u32| format!("line {number}\n").into_bytes()).take(length).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
    }

    fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut packer = Packer::new();
        bytes.chunks(1000).all(|piece| packer.take(piece)).then(|| packer.finish()).flatten()
    }

    /// As a transfer does it: in pieces of this size, with something behind the end.
    fn unpack(packed: &[u8], length: u64, piece: usize) -> Result<(Vec<u8>, usize), TransferError> {
        let (mut unpacker, mut all, mut at) = (Unpacker::new(length), Vec::new(), 0);
        while at < packed.len() {
            let taken = unpacker.take(&packed[at..packed.len().min(at + piece)])?;
            if taken == 0 {
                break;
            }
            at += taken;
            all.extend(unpacker.fetch());
        }
        all.extend(unpacker.finish()?);
        Ok((all, at))
    }

    #[test]
    fn what_is_packed_here_is_gzip_and_what_does_not_shrink_is_left_as_it_is() {
        let plain = text(300_000);
        let packed = pack(&plain).unwrap();
        let mut read = Vec::new();
        Reference::new(&packed[..]).read_to_end(&mut read).unwrap();
        assert!(read == plain && packed.len() < plain.len() / 2);
        assert_eq!(pack(&noise(300_000)), None);
        assert!(shrinks(&plain[..SAMPLE]) && !shrinks(&noise(SAMPLE)) && !shrinks(b""));
        // It begins well and gets no better.
        let mut mixed = text(SAMPLE);
        mixed.extend(noise(20 * SAMPLE));
        assert_eq!(pack(&mixed), None);
    }

    #[test]
    fn a_block_ends_where_it_ends_however_it_comes() {
        let plain = text(100_000);
        let packed = pack(&plain).unwrap();
        let stream = [&packed[..], b"7 sum"].concat();
        for piece in [1, 7, 1000, stream.len()] {
            let (read, taken) = unpack(&stream, plain.len() as u64, piece).unwrap();
            assert!(read == plain && taken == packed.len(), "{piece}");
        }
    }

    #[test]
    fn what_is_damaged_cut_off_or_explodes_is_refused() {
        let plain = text(100_000);
        let packed = pack(&plain).unwrap();
        let length = plain.len() as u64;
        for at in [0, 2, 20, packed.len() / 2, packed.len() - 5] {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x5a;
            assert!(matches!(unpack(&damaged, length, 4096), Err(TransferError::Protocol(_))), "{at}");
            assert!(matches!(unpack(&packed[..at], length, 4096), Err(TransferError::Protocol(_))), "{at}");
        }
        assert!(unpack(&packed, length - 1, 4096).is_err());
        let zeros = pack(&vec![0; 50_000_000]).unwrap();
        let mut unpacker = Unpacker::new(4096);
        let mut taken = 0;
        let error = loop {
            match unpacker.take(&zeros[taken..]) {
                Ok(some) => taken += some,
                Err(error) => break error,
            }
            assert!(unpacker.ready() <= 4096);
        };
        assert!(matches!(error, TransferError::Protocol(_)), "{error}");
        // Blocks without content, and never a last one.
        let mut endless = packed[..10].to_vec();
        endless.extend([0, 0, 0, 0xff, 0xff].repeat(100_000));
        assert!(unpack(&endless, 4096, 4096).is_err());
    }
}
