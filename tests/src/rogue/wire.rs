//! SSH's packets, as far as a server needs them that keeps no other rule: one key exchange, one cipher, no checks.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use ring::aead::chacha20_poly1305_openssh::{OpeningKey, SealingKey, TAG_LEN};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;

use super::HostKey;

const VERSION: &str = "SSH-2.0-rogue";

/// One connection of a client.
pub struct Wire {
    stream: TcpStream,
    sealing: Option<SealingKey>,
    opening: Option<OpeningKey>,
    sent: u32,
    received: u32,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, sealing: None, opening: None, sent: 0, received: 0 }
    }

    /// Writes bytes that are no packet.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let unpadded = payload.len() + if self.sealing.is_some() { 1 } else { 5 };
        let padding = 8 - unpadded % 8 + if unpadded % 8 > 4 { 8 } else { 0 };
        let mut packet = uint(1 + payload.len() + padding);
        packet.extend([u8::try_from(padding).map_err(io::Error::other)?]);
        packet.extend(payload);
        packet.resize(packet.len() + padding, 0);
        if let Some(key) = &self.sealing {
            let mut tag = [0; TAG_LEN];
            key.seal_in_place(self.sent, &mut packet, &mut tag);
            packet.extend(tag);
        }
        self.sent = self.sent.wrapping_add(1);
        self.stream.write_all(&packet)
    }

    /// The next packet of the client.
    ///
    /// # Errors
    /// If the client has gone, or does not keep to the protocol.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let clear =
            self.opening.as_ref().map_or(length, |key| key.decrypt_packet_length(self.received, length));
        let tag_length = if self.opening.is_some() { TAG_LEN } else { 0 };
        let size = usize::try_from(u32::from_be_bytes(clear)).map_err(io::Error::other)?;
        let mut packet = length.to_vec();
        packet.resize(4 + size + tag_length, 0);
        self.stream.read_exact(packet.get_mut(4..).unwrap_or_default())?;
        if let Some(key) = &self.opening {
            let (packet, tag) = packet.split_at_mut(4 + size);
            let tag = (&*tag).try_into().map_err(io::Error::other)?;
            key.open_in_place(self.received, packet, &tag).map_err(|_| io::Error::other("a bad tag"))?;
        }
        self.received = self.received.wrapping_add(1);
        let padding = packet.get(4).copied().unwrap_or_default();
        let end = (4 + size).saturating_sub(usize::from(padding));
        Ok(packet.get(5..end).unwrap_or_default().to_vec())
    }

    /// Reads nothing of what comes, until the client has gone.
    pub fn hold(&mut self) {
        let mut scrap = [0; 4096];
        while self.stream.read(&mut scrap).is_ok_and(|length| length > 0) {}
    }

    /// The version lines.
    ///
    /// # Errors
    /// As [`Wire::receive`].
    pub fn greet(&mut self) -> io::Result<String> {
        self.raw(format!("{VERSION}\r\n").as_bytes())?;
        self.client_version()
    }

    fn client_version(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\n") {
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The key exchange, after which all is encrypted.
    ///
    /// # Errors
    /// As [`Wire::receive`].
    pub(super) fn agree(&mut self, host_key: &HostKey, client_version: &str) -> io::Result<()> {
        let offer = offer(&host_key.agreed);
        self.send(&offer)?;
        let theirs = self.receive()?;
        let init = self.receive()?;
        let their_key = Fields(init.get(1..).unwrap_or_default()).string();
        let random = SystemRandom::new();
        let failed = |_| io::Error::other("no key exchange");
        let secret = EphemeralPrivateKey::generate(&X25519, &random).map_err(failed)?;
        let our_key = secret.compute_public_key().map_err(failed)?.as_ref().to_vec();
        let blob = &host_key.public;
        let shared = agree_ephemeral(secret, &UnparsedPublicKey::new(&X25519, &their_key), mpint)
            .map_err(|_| io::Error::other("no key exchange"))?;
        let words =
            [client_version.as_bytes(), VERSION.as_bytes(), &theirs, &offer, blob, &their_key, &our_key];
        let text: Vec<u8> = words.into_iter().flat_map(string).chain(shared.iter().copied()).collect();
        let hash = digest(&SHA256, &text);
        let signature = host_key.sign(hash.as_ref());
        self.send(&[vec![31], string(blob), string(&our_key), string(&signature)].concat())?;
        self.send(&[21])?;
        self.receive()?;
        let key = |letter: u8| {
            let seed = [&shared, hash.as_ref()].concat();
            let first = digest(&SHA256, &[&seed, &[letter][..], hash.as_ref()].concat());
            let second = digest(&SHA256, &[&seed, first.as_ref()].concat());
            let mut key = [0; 64];
            for (byte, from) in key.iter_mut().zip(first.as_ref().iter().chain(second.as_ref())) {
                *byte = *from;
            }
            key
        };
        self.opening = Some(OpeningKey::new(&key(b'C')));
        self.sealing = Some(SealingKey::new(&key(b'D')));
        Ok(())
    }
}

fn offer(host_key: &str) -> Vec<u8> {
    let cipher = b"chacha20-poly1305@openssh.com";
    let lists: [&[u8]; 10] = [
        b"curve25519-sha256",
        host_key.as_bytes(),
        cipher,
        cipher,
        b"hmac-sha2-256",
        b"hmac-sha2-256",
        b"none",
        b"none",
        b"",
        b"",
    ];
    let mut offer = vec![20];
    offer.extend([7; 16]);
    offer.extend(lists.into_iter().flat_map(string));
    offer.extend([0; 5]);
    offer
}

/// A number of 32 bits.
pub fn uint(number: usize) -> Vec<u8> {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes().to_vec()
}

/// A string with its length.
pub fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&uint(bytes.as_ref().len())[..], bytes.as_ref()].concat()
}

/// A shared secret as a number with its length.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let sign = digits.first().is_some_and(|byte| *byte >= 0x80);
    string(if sign { [&[0], &digits[..]].concat() } else { digits })
}

/// The fields of a packet, one after the other. What is missing is empty.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    fn take(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number of 32 bits.
    pub fn uint(&mut self) -> u32 {
        self.take(4).iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// A string.
    pub fn string(&mut self) -> Vec<u8> {
        let length = self.uint();
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}
