//! As much of HTTP/1.1 as curl speaks to a server on loopback.

use std::io::{self, BufRead, Read, Write};

/// More than any module of the tests.
const LARGEST: u64 = 64 << 20;

/// A request, read whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, as they came.
    pub(super) target: String,
    pub(super) token: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; None when it has ended.
    pub(super) fn read<S: BufRead + Write>(stream: &mut S) -> io::Result<Option<Self>> {
        let first = line(stream)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request =
            Self { method: method.to_owned(), target: target.to_owned(), token: None, body: Vec::new() };
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = line(stream)?;
            let Some((name, value)) = header.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                "transfer-encoding" => chunked = value == "chunked",
                "expect" => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
                _ => {}
            }
        }
        if chunked {
            while let size @ 1.. = u64::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)? {
                stream.take(size.min(LARGEST)).read_to_end(&mut request.body)?;
                line(stream)?;
            }
            line(stream)?;
        } else {
            stream.take(length.min(LARGEST)).read_to_end(&mut request.body)?;
        }
        Ok(Some(request))
    }

    /// The parts of the path after `/v1`, decoded. None if it is another path.
    pub(super) fn segments(&self) -> Option<Vec<String>> {
        let path = self.target.split('?').next().unwrap_or_default();
        Some(path.strip_prefix("/v1/")?.split('/').map(decoded).collect())
    }

    /// A parameter of the query, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Undoes `%20`.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.get(2..).unwrap_or_default().as_bytes());
            }
            None => bytes.extend(format!("%{part}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line<S: BufRead>(stream: &mut S) -> io::Result<String> {
    let mut line = String::new();
    stream.take(1 << 16).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// Which file it is of; empty if it is of none.
    pub(super) file: String,
    /// `HTTP/1.1 200 OK`.
    pub(super) status: String,
    /// Name and value, without the length.
    pub(super) headers: Vec<(String, String)>,
    pub(super) chunked: bool,
    pub(super) body: String,
}

impl Reply {
    /// The number in the status line.
    pub(super) fn code(&self) -> u16 {
        self.status.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub(super) fn write<W: Write>(&self, stream: &mut W) -> io::Result<()> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{}\r\n{}", self.status, headers.concat());
        let body = &self.body;
        let rest = match (self.code(), self.chunked) {
            (204, _) => "\r\n".to_owned(),
            (_, true) => {
                format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
            }
            (_, false) => format!("content-length: {}\r\n\r\n{body}", body.len()),
        };
        stream.write_all((head + &rest).as_bytes())?;
        stream.flush()
    }
}
