//! A recorded exchange, as a file of `tests/fixtures/recordings/2.8.3`.

use crate::lab::checkout;
use crate::replay::http::Reply;

/// What a server was asked, and what it said.
#[derive(Debug)]
pub struct Recording {
    /// The file's name without `.http`.
    pub name: String,
    /// The arguments curl was run with, tokens replaced by `<token>`.
    pub request: String,
    /// The status line.
    pub status: String,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Recording {
    /// All that was recorded, in the order of the numbers. What was derived is not among them.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn all() -> Vec<Self> {
        let names = names();
        let recorded = names.iter().filter(|name| !name.starts_with("derived-"));
        recorded.map(|name| Self::load(name)).collect()
    }

    /// The recording whose name begins so: its number will do.
    ///
    /// # Panics
    /// When there is none, or not exactly one.
    pub fn find(start: &str) -> Self {
        let names = names();
        let exact = names.iter().find(|name| *name == start);
        let mut starting = names.iter().filter(|name| name.starts_with(start));
        match (exact, starting.next(), starting.next()) {
            (Some(name), _, _) | (None, Some(name), None) => Self::load(name),
            _ => panic!("no recording, or more than one, begins with {start}"),
        }
    }

    fn load(name: &str) -> Self {
        let path = folder().join(format!("{name}.http"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, "\n"));
        let mut lines = head.lines();
        let request = lines.next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let status = lines.next().unwrap_or_default().to_owned();
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned()));
        Self {
            name: name.to_owned(),
            request,
            status,
            headers: headers.collect(),
            // One newline was put behind every body.
            body: body.strip_suffix('\n').unwrap_or(body).to_owned(),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The recorded answer, as it was.
    pub(super) fn reply(self) -> Reply {
        let chunked = self.header("transfer-encoding").is_some();
        let counted = |name: &str| name == "content-length" || name == "transfer-encoding";
        Reply {
            file: self.name,
            status: self.status,
            headers: self.headers.into_iter().filter(|(name, _)| !counted(name)).collect(),
            chunked,
            body: self.body,
        }
    }
}

fn folder() -> std::path::PathBuf {
    checkout().join("tests/fixtures/recordings/2.8.3")
}

fn names() -> Vec<String> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".http")?.to_owned());
    let mut names: Vec<_> = entries.flatten().filter_map(name).collect();
    names.sort();
    names
}
