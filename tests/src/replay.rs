//! A server that answers with what a SpacetimeDB 2.8.3 was recorded to answer: what the lab's 1.x servers cannot.
//!
//! It keeps the state that the answers speak of: databases, owners, modules, locks. Whatever was never recorded is
//! answered with 501 and remembered, so that a test fails loudly: [`ReplayServer::unexpected`].

mod answers;
mod http;
mod identity;
mod module;
mod recording;
mod root;
mod world;

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use self::identity::Identity;
pub use self::module::Module;
pub use self::recording::Recording;
pub use self::root::ReplayRoot;
pub use self::world::{Database, World};

use self::http::{Reply, Request};

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `PUT`.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Whose token it showed; None if it showed none, or one that does not fit.
    pub identity: Option<Identity>,
    /// The module it carried.
    pub module: Option<Module>,
    /// The file it was answered from; empty if from none.
    pub answer: String,
}

/// What happens once, when a request comes.
struct Turn {
    moment: Moment,
    method: &'static str,
    path: &'static str,
    act: Box<dyn FnOnce(&mut World) + Send>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

struct Shared {
    world: Mutex<World>,
    asked: Mutex<Vec<Asked>>,
    turns: Mutex<Vec<Turn>>,
    stopped: AtomicBool,
}

/// A running server. Dropping it ends it.
pub struct ReplayServer {
    address: SocketAddr,
    root: Arc<ReplayRoot>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Default for ReplayServer {
    fn default() -> Self {
        Self::start()
    }
}

impl ReplayServer {
    /// Starts a server without databases on a free port of 127.0.0.1, with files of its own.
    ///
    /// # Panics
    /// When there is no port, no thread or no room for the files.
    pub fn start() -> Self {
        let root = Arc::new(ReplayRoot::new());
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(Arc::clone(&root))),
            asked: Mutex::default(),
            turns: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let started = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
            let address = listener.local_addr()?;
            let thread = std::thread::Builder::new().name("replay".to_owned());
            Ok((address, thread.spawn(move || accept(&listener, &serving))?))
        });
        let (address, thread) = started.unwrap_or_else(|error| panic!("no server: {error}"));
        Self { address, root, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its files.
    pub fn root(&self) -> &ReplayRoot {
        &self.root
    }

    /// Looks at its state, or changes it behind everybody's back.
    pub fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut lock(&self.shared.world))
    }

    /// Lets something happen once, right before the next request with this method and a path that holds `path`.
    pub fn before(
        &self,
        method: &'static str,
        path: &'static str,
        act: impl FnOnce(&mut World) + Send + 'static,
    ) {
        lock(&self.shared.turns).push(Turn { moment: Moment::Before, method, path, act: Box::new(act) });
    }

    /// The same right after such a request has been answered.
    pub fn after(
        &self,
        method: &'static str,
        path: &'static str,
        act: impl FnOnce(&mut World) + Send + 'static,
    ) {
        lock(&self.shared.turns).push(Turn { moment: Moment::After, method, path, act: Box::new(act) });
    }

    /// What it was asked, in order.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// What it was asked and no server was recorded to answer. Must be empty when a test ends.
    pub fn unexpected(&self) -> Vec<Asked> {
        self.requests().into_iter().filter(|asked| asked.answer.is_empty()).collect()
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // A last connection, so that it sees the order.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        // A connection that ends a moment later still holds the files, and the process may be gone by then.
        drop(std::fs::remove_dir_all(self.root.path()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection a thread: a client that keeps one open holds nobody up.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = connection else { continue };
        let shared = Arc::clone(shared);
        // Who hangs up early has its reason, and says so itself.
        std::thread::spawn(move || drop(serve(connection, &shared)));
    }
}

fn serve(connection: TcpStream, shared: &Shared) -> io::Result<()> {
    let reading = io::BufReader::new(connection.try_clone()?);
    let mut stream = Stream { reading, writing: connection };
    while let Some(request) = Request::read(&mut stream)? {
        answer(&request, shared).write(&mut stream)?;
    }
    Ok(())
}

fn answer(request: &Request, shared: &Shared) -> Reply {
    let mut world = lock(&shared.world);
    take_turn(Moment::Before, request, &mut world, shared);
    let (identity, reply) = match world.authenticate(request) {
        Some(Ok(caller)) => {
            let known = request.token.is_some().then_some(caller.identity);
            (known, world.answer(request, &caller))
        }
        Some(Err(refused)) => (None, Some(refused)),
        None => (None, None),
    };
    let reply = reply.unwrap_or_else(|| unheard(request));
    let asked = Asked {
        method: request.method.clone(),
        target: request.target.clone(),
        identity,
        module: Module::of(&request.body),
        answer: reply.file.clone(),
    };
    lock(&shared.asked).push(asked);
    take_turn(Moment::After, request, &mut world, shared);
    reply
}

fn take_turn(moment: Moment, request: &Request, world: &mut World, shared: &Shared) {
    let mut turns = lock(&shared.turns);
    let is_due = |turn: &Turn| {
        turn.moment == moment && turn.method == request.method && request.target.contains(turn.path)
    };
    if let Some(at) = turns.iter().position(is_due) {
        (turns.remove(at).act)(world);
    }
}

fn unheard(request: &Request) -> Reply {
    let body: String = request.text().chars().take(200).collect();
    Reply {
        file: String::new(),
        status: "HTTP/1.1 501 Not Implemented".to_owned(),
        headers: vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())],
        chunked: false,
        body: format!("never recorded: {} {}\n{body}", request.method, request.target),
    }
}

/// A connection that is read through a buffer and written to without.
struct Stream {
    reading: io::BufReader<TcpStream>,
    writing: TcpStream,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reading.read(buffer)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reading.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reading.consume(amount);
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writing.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writing.flush()
    }
}
