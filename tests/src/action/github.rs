//! As much of GitHub, and of GitLab, as a job meets: releases to download, and the comments of pull requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::inputs;
use crate::deadline::finish;

/// The job's token.
pub const TOKEN: &str = "ghs_0123456789abcdef";

/// A comment of a pull request.
#[derive(Debug, Clone)]
pub struct Comment {
    /// The pull request.
    pub number: u32,
    /// Whether a bot wrote it.
    pub bot: bool,
    /// Its Markdown.
    pub body: String,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    comments: Vec<Comment>,
    writes: Vec<String>,
    read_only: bool,
}

/// A server that lives as long as the test.
pub struct Github {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Github {
    /// A new one, on this address of this machine.
    ///
    /// # Panics
    /// When the address is none of this machine's.
    pub fn start(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, state }
    }

    /// Where this path of it is.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Offers a binary as a release of this version for this machine, and returns the inputs that install it.
    ///
    /// # Panics
    /// When it cannot be packed.
    pub fn release(&self, version: &str, binary: &Path) -> BTreeMap<String, String> {
        let folder = TempDir::new().unwrap_or_else(|error| panic!("{error}"));
        let name = format!("stdbctl-{version}-{}-unknown-linux-gnu.tar.gz", std::env::consts::ARCH);
        let pack = "install -m 755 \"$1\" stdbctl && tar -c stdbctl | gzip -1 >\"$2\" && sha256sum \"$2\" >SHA256SUMS";
        let mut command = Command::new("sh");
        command.args(["-c", pack, "sh"]).arg(binary).arg(&name).current_dir(folder.path());
        let packed = finish(&mut command, Duration::from_secs(60));
        assert!(packed.status.success(), "{}", packed.stderr);
        let read =
            |file: &str| std::fs::read(folder.path().join(file)).unwrap_or_else(|error| panic!("{error}"));
        let sums = read("SHA256SUMS");
        let sha256 = String::from_utf8_lossy(&sums).split(' ').next().unwrap_or_default().to_owned();
        self.offer(&format!("/download/v{version}/{name}"), read(&name));
        self.offer(&format!("/download/v{version}/SHA256SUMS"), sums);
        inputs(&[("sha256", &sha256), ("download-url", &self.url("/download"))])
    }

    fn offer(&self, path: &str, content: Vec<u8>) {
        lock(&self.state).files.insert(path.to_owned(), content);
    }

    /// A comment that is there already.
    pub fn comment(&self, comment: Comment) {
        lock(&self.state).comments.push(comment);
    }

    /// From now on tokens may write nothing, as those of pull requests from forks.
    pub fn forbid_writing(&self) {
        lock(&self.state).read_only = true;
    }

    /// All comments, in the order they were made.
    pub fn comments(&self) -> Vec<Comment> {
        lock(&self.state).comments.clone()
    }

    /// How comments were written, in order: `POST`, `PATCH`, `PUT`.
    pub fn writes(&self) -> Vec<String> {
        lock(&self.state).writes.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Request {
    method: String,
    path: String,
    token: Option<String>,
    body: Vec<u8>,
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = read(stream) else { return };
    let (status, body) = answer(&request, &mut lock(state));
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that has gone away will say so itself.
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut token) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
            "private-token" => token = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, token, body })
}

fn answer(request: &Request, state: &mut State) -> (u16, Vec<u8>) {
    if let Some(file) = state.files.get(&request.path) {
        return (200, file.clone());
    }
    let path = request.path.strip_prefix("/api/repos/games/my-game/issues/");
    let Some(path) = path.or_else(|| request.path.strip_prefix("/api/projects/5/merge_requests/")) else {
        return (404, Vec::new());
    };
    if request.token.as_deref() != Some(TOKEN) {
        return (401, Vec::new());
    }
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let body = body["body"].as_str().map(str::to_owned);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path: Vec<_> = path.split('/').collect();
    match (request.method.as_str(), path.as_slice(), body) {
        ("GET", [number, "comments"], _) => (200, list(state, number, query).into_bytes()),
        // GitLab writes what could be HTML in this way.
        ("GET", [number, "notes"], _) => {
            (200, list(state, number, query).replace('<', "\\u003c").replace('>', "\\u003e").into_bytes())
        }
        ("POST" | "PATCH", ..) if state.read_only => {
            (403, br#"{"message":"Resource not accessible by integration"}"#.to_vec())
        }
        ("POST", [number, "comments" | "notes"], Some(body)) => {
            let number = number.parse().unwrap_or_default();
            state.comments.push(Comment { number, bot: true, body });
            state.writes.push(request.method.clone());
            (201, b"{}".to_vec())
        }
        ("PATCH", ["comments", id], Some(body)) | ("PUT", [_, "notes", id], Some(body)) => {
            let at = id.parse::<usize>().ok().and_then(|id| id.checked_sub(FIRST_ID));
            let Some(comment) = at.and_then(|at| state.comments.get_mut(at)) else {
                return (404, Vec::new());
            };
            comment.body = body;
            state.writes.push(request.method.clone());
            (200, b"{}".to_vec())
        }
        _ => (422, Vec::new()),
    }
}

/// Ids that are no numbers of anything else.
const FIRST_ID: usize = 9000;

/// A page of comments, in the form GitHub gives them.
fn list(state: &State, number: &str, query: &str) -> String {
    let parameter = |name: &str, default: usize| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    let (size, page) = (parameter("per_page", 30), parameter("page", 1));
    let of_number = |(_, comment): &(usize, &Comment)| comment.number.to_string() == number;
    let shown = |(at, comment): (usize, &Comment)| {
        let kind = if comment.bot { "Bot" } else { "User" };
        let user = json!({ "login": "somebody", "id": 7, "type": kind, "site_admin": false });
        json!({ "id": FIRST_ID + at, "user": user, "body": comment.body, "reactions": { "total_count": 0 }, "performed_via_github_app": null })
    };
    let all = state.comments.iter().enumerate().filter(of_number);
    let page: Vec<Value> = all.skip(size * (page.max(1) - 1)).take(size).map(shown).collect();
    serde_json::to_string_pretty(&page).unwrap_or_default()
}
