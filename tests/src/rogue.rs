//! A server that speaks SSH just as far as a test wants it to, and then does what it likes.

mod host_key;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use host_key::HostKey;
pub use wire::{Fields, Wire, string, uint};

/// A running rogue. Its threads end with the test.
pub struct Rogue {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its line of a `known_hosts` file.
    pub known_host: String,
}

/// A connection, and the host key to show on it.
pub struct Visit {
    /// The line to the client.
    pub wire: Wire,
    host_key: Arc<HostKey>,
}

/// The command a client wants to be run.
#[derive(Debug)]
pub struct Command {
    /// The number by which the client knows its channel.
    pub channel: usize,
    /// What it wants the server to run.
    pub line: String,
}

impl Rogue {
    /// Does the same to whoever connects.
    ///
    /// # Panics
    /// When there is no port for it.
    pub fn start(behaviour: impl Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start_as(HostKey::ed25519(), behaviour)
    }

    /// The same with a key that has its own ways.
    ///
    /// # Panics
    /// As [`Rogue::start`].
    pub fn start_as(
        host_key: HostKey,
        behaviour: impl Fn(&mut Visit) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let failed = |error| -> ! { panic!("no rogue: {error}") };
        let host_key = Arc::new(host_key);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| failed(error));
        let address = listener.local_addr().unwrap_or_else(|error| failed(error));
        let known_host = format!("[127.0.0.1]:{} {}\n", address.port(), host_key.known());
        let behaviour = Arc::new(behaviour);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let behaviour = Arc::clone(&behaviour);
                let mut visit = Visit { wire: Wire::new(stream), host_key: Arc::clone(&host_key) };
                thread::spawn(move || {
                    // That the client goes away is how most visits end.
                    if behaviour(&mut visit).is_ok() {
                        visit.wire.hold();
                    }
                });
            }
        });
        Self { address, known_host }
    }
}

impl Visit {
    /// All up to where the client says who it is.
    ///
    /// # Errors
    /// If the client has gone, or does not keep to the protocol.
    pub fn agree(&mut self) -> io::Result<()> {
        let version = self.wire.greet()?;
        self.wire.agree(&self.host_key, &version)
    }

    /// The host key as SSH writes it.
    pub fn host_key(&self) -> Vec<u8> {
        self.host_key.public.clone()
    }

    /// All up to the client's being let in, whoever it is.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn admit(&mut self) -> io::Result<()> {
        self.agree()?;
        loop {
            let (method, rest) = self.next_login()?;
            let mut fields = Fields(&rest);
            let signed = fields.byte() == 1;
            match (method.as_str(), signed) {
                ("publickey", true) => return self.accept(),
                ("publickey", false) => {
                    let (algorithm, key) = (fields.string(), fields.string());
                    self.wire.send(&[vec![60], string(algorithm), string(key)].concat())?;
                }
                _ => self.refuse("publickey")?,
            }
        }
    }

    /// The next way in which the client tries to log in, and what it says to that.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn next_login(&mut self) -> io::Result<(String, Vec<u8>)> {
        loop {
            let packet = self.wire.receive()?;
            let mut fields = Fields(&packet);
            match fields.byte() {
                5 => self.wire.send(&[vec![6], string(fields.string())].concat())?,
                50 => {
                    let (_user, _service, method) = (fields.string(), fields.string(), fields.string());
                    return Ok((String::from_utf8_lossy(&method).into_owned(), fields.0.to_vec()));
                }
                _ => {}
            }
        }
    }

    /// Lets the client in.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn accept(&mut self) -> io::Result<()> {
        self.wire.send(&[52])
    }

    /// Wants this instead of what the client has tried.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn refuse(&mut self, methods: &str) -> io::Result<()> {
        self.wire.send(&[vec![51], string(methods), vec![0]].concat())
    }

    /// Asks whoever sits there, under a name and with instructions; says what was answered.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn ask(&mut self, name: &str, instructions: &str, prompts: &[&str]) -> io::Result<Vec<String>> {
        let head = [vec![60], string(name), string(instructions), string(""), uint(prompts.len())].concat();
        let prompts: Vec<u8> = prompts.iter().flat_map(|prompt| [string(prompt), vec![0]].concat()).collect();
        self.wire.send(&[head, prompts].concat())?;
        let packet = self.wire.receive()?;
        let mut fields = Fields(&packet);
        let (_response, count) = (fields.byte(), fields.uint());
        Ok((0..count).map(|_| String::from_utf8_lossy(&fields.string()).into_owned()).collect())
    }

    /// All between two commands, or the login and the first. Its channel has the number 0 here, with this window.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn next_command(&mut self, window: usize) -> io::Result<Command> {
        let mut channel = 0;
        loop {
            let packet = self.wire.receive()?;
            let mut fields = Fields(&packet);
            match fields.byte() {
                90 => {
                    let _kind = fields.string();
                    channel = usize::try_from(fields.uint()).map_err(io::Error::other)?;
                    self.wire
                        .send(&[vec![91], uint(channel), uint(0), uint(window), uint(32768)].concat())?;
                }
                98 => {
                    let (_channel, kind, _wants_reply) = (fields.uint(), fields.string(), fields.byte());
                    let line = String::from_utf8_lossy(&fields.string()).into_owned();
                    self.wire.send(&[vec![99], uint(channel)].concat())?;
                    if kind == b"exec" {
                        return Ok(Command { channel, line });
                    }
                }
                _ => {}
            }
        }
    }

    /// All up to the first command, on a channel with a window of two megabytes.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn take_command(&mut self) -> io::Result<Command> {
        self.admit()?;
        self.next_command(2 << 20)
    }

    /// The same, and says that it has become root for it.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn take_script(&mut self) -> io::Result<Command> {
        self.admit()?;
        self.next_script()
    }

    /// The same for a script that is not the first.
    ///
    /// # Errors
    /// As [`Visit::agree`].
    pub fn next_script(&mut self) -> io::Result<Command> {
        let command = self.next_command(2 << 20)?;
        let nonce = command.line.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| is_nonce(word));
        let mark = format!("@{} root\n", nonce.unwrap_or_default());
        self.write(&command, mark.as_bytes())?;
        Ok(command)
    }

    /// Writes to a command's standard output.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn write(&mut self, command: &Command, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(30_000) {
            self.wire.send(&[vec![94], uint(command.channel), string(piece)].concat())?;
        }
        Ok(())
    }

    /// Writes to a command's standard error.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn complain(&mut self, command: &Command, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(30_000) {
            self.wire.send(&[vec![95], uint(command.channel), uint(1), string(piece)].concat())?;
        }
        Ok(())
    }

    /// Ends a command with this status.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn exit(&mut self, command: &Command, status: usize) -> io::Result<()> {
        let channel = uint(command.channel);
        self.wire
            .send(&[vec![98], channel.clone(), string("exit-status"), vec![0], uint(status)].concat())?;
        self.wire.send(&[vec![96], channel.clone()].concat())?;
        self.wire.send(&[vec![97], channel].concat())
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// If the client has gone.
    pub fn disconnect(&mut self, words: &[u8]) -> io::Result<()> {
        self.wire.send(&[vec![1], uint(2), string(words), string("")].concat())
    }
}

fn is_nonce(word: &str) -> bool {
    word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Command {
    /// The nonce of the script that came in the command's line.
    ///
    /// # Panics
    /// When there is none.
    pub fn nonce(&self) -> String {
        let encoded = |word: &&str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        let mut words: Vec<_> = self.line.rsplit(' ').take_while(encoded).collect();
        words.reverse();
        // A transfer's script has a name in front of it.
        words.retain(|&word| word != "stdbctl");
        let script = STANDARD.decode(words.concat()).unwrap_or_default();
        let script = String::from_utf8_lossy(&script).into_owned();
        let nonce = script.split_once("nonce=").map(|(_, rest)| rest);
        let nonce = nonce.and_then(|rest| rest.split_whitespace().next());
        nonce.unwrap_or_else(|| panic!("no nonce in {}", self.line)).to_owned()
    }
}
