//! A line typed on the terminal, which nobody sees if it is a password.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than any password; what holds it never grows, because what it grew out of would not be zeroised.
const LONGEST: usize = 1024;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const BACKSPACE: [u8; 2] = [8, 127];

/// What a shell says of a program that SIGTERM has ended.
const TERMINATED: i32 = 128 + 15;

/// What the terminal was like before the question that is being asked.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether what is typed can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    On,
    Off,
}

/// The terminal as a question wants it, until this is dropped. Keys that would signal are ours to read: a run that
/// was interrupted by one would leave the terminal without echo.
struct Question;

/// What a key made of the line.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    More,
    Done,
    GivenUp,
    Interrupted,
}

/// Reads a line from the terminal on standard input, once `ask` has shown what for. Blocks. What was typed before does
/// not count.
///
/// # Errors
/// If nothing could be shown, standard input is no terminal or fails, the line is no text or too long, or it was not finished: Ctrl-C, which
/// interrupts the run as ever, or Ctrl-D.
pub(crate) fn read(echo: Echo, ask: impl FnOnce() -> io::Result<()>) -> io::Result<SecretString> {
    let question = Question::new(echo)?;
    ask()?;
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let typed = loop {
        // One byte at a time: nothing of it stays in a buffer of the standard library.
        let mut byte = Zeroizing::new([0_u8]);
        let count = rustix::io::read(io::stdin().as_fd(), byte.as_mut_slice())?;
        let [key] = *byte;
        let typed = if count == 0 { Typed::GivenUp } else { take(&mut line, key) };
        if typed != Typed::More {
            break typed;
        }
    };
    drop(question);
    match typed {
        Typed::Interrupted => {
            kill_process(getpid(), Signal::INT)?;
            Err(io::ErrorKind::Interrupted.into())
        }
        Typed::GivenUp => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "none was typed")),
        Typed::More | Typed::Done if line.len() >= LONGEST => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"))
        }
        Typed::More | Typed::Done => {
            let text = std::str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            Ok(SecretString::from(text))
        }
    }
}

fn take(line: &mut Vec<u8>, byte: u8) -> Typed {
    match byte {
        b'\r' | b'\n' => return Typed::Done,
        CTRL_C => return Typed::Interrupted,
        CTRL_D if line.is_empty() => return Typed::GivenUp,
        CTRL_D => {}
        CTRL_U => line.clear(),
        byte if BACKSPACE.contains(&byte) => {
            // The rest of a character, and then its beginning.
            while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
        }
        byte if line.len() < LONGEST => line.push(byte),
        _ => {}
    }
    Typed::More
}

impl Question {
    fn new(echo: Echo) -> io::Result<Self> {
        restore_when_terminated();
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut asking = before.clone();
        asking.local_modes -= LocalModes::ISIG;
        match echo {
            Echo::Off => {
                asking.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
            }
            // The line is the terminal's until it ends; Ctrl-C ends it too.
            Echo::On => asking.special_codes[SpecialCodeIndex::VEOL] = CTRL_C,
        }
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &asking)?;
        Ok(Self)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was before a question that nobody will answer any more. Whether there was one.
pub(crate) fn restore() -> bool {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A terminal that is gone has no echo.
    before.is_some_and(|before| tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &before).is_ok())
}

/// From the first question on: SIGTERM ends the program as it would have, but not without echo. On a thread of its
/// own, which waits for nothing else. If that cannot be had, the signal ends the program as ever.
fn restore_when_terminated() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| drop(watch_for_termination()));
}

fn watch_for_termination() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut terminated = {
        let _runtime = runtime.enter();
        signal(SignalKind::terminate())?
    };
    thread::spawn(move || {
        runtime.block_on(terminated.recv());
        restore();
        #[expect(clippy::exit, clippy::disallowed_methods, reason = "main may be waiting for the terminal")]
        std::process::exit(TERMINATED)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Vec<u8>, Typed) {
        let mut line = Vec::with_capacity(LONGEST);
        for &key in keys {
            match take(&mut line, key) {
                Typed::More => {}
                typed => return (line, typed),
            }
        }
        (line, Typed::More)
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(typed(b"pass word\r"), (b"pass word".to_vec(), Typed::Done));
        assert_eq!(typed("aä\u{7f}b\u{8}\u{8}\u{8}c\n".as_bytes()), (b"c".to_vec(), Typed::Done));
        assert_eq!(typed(b"wrong\x15right\n"), (b"right".to_vec(), Typed::Done));
        assert_eq!(typed(b"half\x04").1, Typed::More);
        assert_eq!(typed(b"\x04").1, Typed::GivenUp);
        assert_eq!(typed(b"half\x03").1, Typed::Interrupted);
        let (line, _) = typed(&[b'x'; 2 * LONGEST]);
        assert_eq!((line.len(), line.capacity()), (LONGEST, LONGEST));
    }
}
