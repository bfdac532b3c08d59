//! The SSH transport of stdbctl: one TCP connection per host, host keys checked as OpenSSH checks them, commands
//! with their input and output streamed, and every round trip counted.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use stdbctl_ssh::{ConnectOptions, connect, quote};
//!
//! let session = connect(ConnectOptions::new("ubuntu@example.com".parse()?)).await?;
//! let (sender, mut output) = tokio::sync::mpsc::channel(16);
//! let command = quote::join(["uname", "-r"])?;
//! let (ending, ()) = tokio::join!(session.exec(&command, tokio::io::empty(), sender), async {
//!     while output.recv().await.is_some() {}
//! });
//! println!("{:?} after {} round trips", ending?, session.stats().round_trips);
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! No other crate of the workspace names russh, and none of its types are in this crate's interface.

mod agent;
mod algorithms;
mod auth;
mod certificate;
mod cipher;
mod client;
mod command;
mod connect;
mod count;
mod error;
mod forward;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hops;
mod host_key;
mod host_key_update;
mod identity;
mod key_file;
mod keyring;
mod known_hosts;
mod known_hosts_file;
mod known_hosts_update;
mod last_keys;
mod observer;
mod printable;
mod proxy_command;
pub mod quote;
mod reconnect;
mod rekey;
mod route;
mod session;
pub mod ssh_config;
mod target;
mod tcp;
mod transfer;

pub use algorithms::{AlgorithmList, AlgorithmRules, NoneLeft};
pub use certificate::CertificateFault;
pub use command::{Chunk, Ending};
pub use connect::{ConnectOptions, Recording, connect};
pub use count::Stats;
pub use error::{Cause, CommandError, ConnectError, ErrorKind, Step, Typed};
pub use forward::{ForwardError, Forwarded};
pub use hops::{Hops, MOST_AT_THE_DOOR};
pub use host_key::{AskAboutKey, HostKeyError, HostKeyPrompt, UnknownKey};
pub use keyring::{Answering, AskPerson, Keyring, Question};
pub use observer::{Algorithms, Answer, Direction, Observation, Observer, Recognised, Trusted};
pub use printable::{is_invisible, printable};
pub use reconnect::reconnect;
pub use rekey::RekeyLimit;
pub use route::Route;
pub use session::Session;
pub use target::{DEFAULT_PORT, Target, TargetError};
pub use transfer::{
    AsRoot, Progress, TransferError, TransferInput, TransferOptions, Transferred, Watch, pull, push,
};
