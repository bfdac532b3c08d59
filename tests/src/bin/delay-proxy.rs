//! The delay proxy as a program, for shell scripts and for a human with an `ssh` at hand.
//!
//!     delay-proxy --to 127.0.10.1:22 --rtt-ms 200 [--listen 127.0.10.1:0] [--cut-after BYTES]
//!
//! Prints `{"listen": "..."}` when it is ready, serves until its standard input ends, then prints the counts.

use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use stdbctl_tests::proxy::{Cut, Direction, Options, Proxy};

const USAGE: &str = "usage: delay-proxy --to ADDR:PORT [--rtt-ms N] [--listen ADDR:PORT] [--cut-after BYTES]";

fn main() -> Result<(), Box<dyn Error>> {
    let proxy = Proxy::start(&parse(std::env::args().skip(1))?)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", json!({ "listen": proxy.address() }))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    writeln!(stdout, "{}", serde_json::to_string(&proxy.counts())?)?;
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let (mut to, mut listen, mut rtt_ms, mut cut) = (None::<SocketAddr>, None, 0, None);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--to" => to = Some(value.parse()?),
            "--listen" => listen = Some(value.parse()?),
            "--rtt-ms" => rtt_ms = value.parse()?,
            "--cut-after" => {
                cut = Some(Cut { direction: Direction::ToClient, after_bytes: value.parse()? });
            }
            _ => return Err(USAGE.into()),
        }
    }
    let to = to.ok_or(USAGE)?;
    let listen = listen.unwrap_or_else(|| SocketAddr::new(to.ip(), 0));
    Ok(Options { listen, to, rtt: Duration::from_millis(rtt_ms), cut })
}
