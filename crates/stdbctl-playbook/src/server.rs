//! SpacetimeDB's HTTP answers, as scripts on the host hand them on.

use stdbctl_engine::dialogue::{Record, assign, condense};

use crate::settings::Settings;

/// The functions of `sh/server.sh`, and the variables they want, as the front of a script.
pub fn script_front(settings: &Settings) -> String {
    let Settings { spacetimedb, .. } = settings;
    let mut front = assign("root", spacetimedb.root_dir.trim_end_matches('/'));
    front.push_str(&assign("base", &base_url(settings)));
    front.push_str(&condense(include_str!("sh/server.sh")));
    front
}

/// Where the host itself reaches the server.
pub fn base_url(settings: &Settings) -> String {
    let listen = settings.spacetimedb.listen;
    let address = if listen.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST } else { *listen.ip() };
    format!("http://{address}:{}", listen.port())
}

/// One answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 0 if there was no answer.
    pub status: u16,
    /// The body, or why there was no answer.
    pub body: String,
}

impl Answer {
    /// The answer in a record of `hand_on`.
    pub fn read(record: &Record) -> Self {
        let text = record.text();
        let (status, body) = text.split_once('\n').unwrap_or((&text, ""));
        Self { status: status.parse().unwrap_or(0), body: body.to_owned() }
    }

    /// The answer called `name`, if the script has asked for it.
    pub fn find(records: &[Record], name: &str) -> Option<Self> {
        let kind = format!("answer:{name}");
        records.iter().find(|record| record.kind == kind).map(Self::read)
    }

    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON, of a success.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok().filter(|_| self.is_success())
    }

    /// The rows of an answer to SQL: the first statement's.
    pub fn rows(&self) -> Option<Vec<serde_json::Value>> {
        self.json()?.get(0)?.get("rows")?.as_array().cloned()
    }
}

/// A server's version: what it can do follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

impl Version {
    /// A version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The version in the answer to `/v1/health`.
    pub fn of_health(answer: &Answer) -> Option<Self> {
        answer.json()?.get("version")?.as_str()?.parse().ok()
    }

    /// Whether it says beforehand what a module would migrate (`pre_publish`).
    pub fn plans_migrations(self) -> bool {
        self >= Self::new(1, 6, 0)
    }

    /// Whether databases can be locked against deletion.
    pub fn locks_databases(self) -> bool {
        self >= Self::new(2, 2, 0)
    }
}

impl std::str::FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Reads `2.8.3`; what follows a `-` or `+` is left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = plain.splitn(3, '.').map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(0));
        Ok(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer::read(&Record { kind: "answer:x".to_owned(), data: text.as_bytes().to_vec() })
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        assert_eq!(answer("200\n"), Answer { status: 200, body: String::new() });
        assert_eq!(answer("400\none\ntwo").body, "one\ntwo");
        assert_eq!(answer("curl: (7) refused").status, 0);
        assert_eq!(
            answer(
                r#"500
{"version":"1.3.0"}"#
            )
            .json(),
            None,
            "only a success counts"
        );
    }

    /// A server on loopback that answers each request with its path.
    fn echo() -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            use std::io::{BufRead as _, Write as _};
            for stream in listener.incoming().flatten() {
                let mut lines = std::io::BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                // All of the head, or closing the connection resets it.
                lines.find(String::is_empty);
                let path = first.split(' ').nth(1).unwrap_or_default();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", path.len());
                (&stream).write_all((head + path).as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_proxy_of_the_host_never_sees_what_goes_to_the_server() {
        let server = echo();
        // Answers as well, so a request that goes there is told by its path: that of a proxy is a whole URL.
        let proxy = format!("http://{}", echo());
        let settings = Settings::default();
        let front = script_front(&settings).replace(&base_url(&settings), &format!("http://{server}"));
        let script = format!("set -u\n{front}request /v1/ping\nprintf '%s %s' \"$status\" \"$body\"");
        let mut sh = std::process::Command::new("sh");
        for name in ["http_proxy", "all_proxy", "ALL_PROXY"] {
            sh.env(name, &proxy);
        }
        let output = sh.env("NO_PROXY", "example.com").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200 /v1/ping", "{output:?}");
    }

    #[test]
    fn a_version_says_what_the_server_can_do() {
        let health = answer("200\n{\"nodes\":[0],\"version\":\"2.8.3\",\"schedulable\":true}");
        let version = Version::of_health(&health).unwrap();
        assert_eq!(version, Version::new(2, 8, 3));
        assert!(version.plans_migrations() && version.locks_databases());
        let old: Version = "1.3.0".parse().unwrap();
        assert!(!old.plans_migrations() && !old.locks_databases());
        assert_eq!("2.10.1-rc1".parse(), Ok(Version::new(2, 10, 1)));
        assert!("two".parse::<Version>().is_err());
    }

    #[test]
    fn rows_are_those_of_the_first_statement() {
        let rows = answer("200\n[{\"schema\":{},\"rows\":[[1,\"first\"]]}]").rows().unwrap();
        assert_eq!(rows, [serde_json::json!([1, "first"])]);
    }
}
