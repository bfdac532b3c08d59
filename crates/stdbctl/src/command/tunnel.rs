//! `stdbctl tunnel`: a host's whole SpacetimeDB on a port of this machine.

mod carry;
mod greeting;

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use indicatif::HumanBytes;
use serde::Serialize;
use stdbctl_engine::event::RunStats;
use stdbctl_engine::failure::Failure;
use stdbctl_ssh::{ForwardError, Session};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::carry::Tunnel;
use crate::cli::{Format, TunnelArgs};
use crate::console::{Console, written};
use crate::error::{CliError, Context};
use crate::exit_code::ExitCode;
use crate::host::{self, Place};
use crate::report::style::{CHANGE, GOOD, LOUD, QUIET, count, duration};
use crate::site::{Site, SiteHost, places};

/// `tunnel --output json`: one document, once connections are taken.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// What to connect to.
    address: SocketAddr,
    host: &'a str,
    /// SpacetimeDB's, by its own words.
    version: &'a str,
}

pub(super) async fn run(args: TunnelArgs, console: &Console) -> Result<ExitCode, CliError> {
    let site = Site::load(&args.site, None)?;
    let host = only(&site)?;
    let far = far(host.settings.spacetimedb.listen);
    let place = places(&site, &args.ssh, &[], console).await?.pop().map(|(_, place)| place);
    let Some(Place::Remote(options, _)) = place else { return Err(is_here(far)) };
    // A port that is taken is found out before anything is connected to.
    let (listener, moved) = listen(args.port, far.port()).await?;
    let address = listener.local_addr().map_err(|error| no_port(far.port(), error))?;

    let failure = |error| CliError::new(ExitCode::of(&error), Context::new(host.name.clone(), error));
    let session = host::open(*options).await.map_err(|error| {
        let error = Failure::Connect(error);
        error.hints().into_iter().fold(failure(error), CliError::hint)
    })?;
    let version = greeting::version(&session, far).await.map_err(|why| no_answer(&host.name, far, why))?;

    // From here on these two end the tunnel and not the program: a person sends the first, a CI job the second.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(no_signals)?;
    let document = Document { address, host: &host.name, version: &version };
    written(show(&mut anstream::stdout(), &document, moved, console))?;
    let session = Arc::new(session);
    let tunnel = Tunnel::new(Arc::clone(&session), far, console);
    let started = Instant::now();
    tokio::select! {
        biased;
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        lost = tunnel.carry(&listener) => return Err(gone(&host.name, &lost)),
    }
    sum_up(&session, tunnel.connections(), started, console);
    Ok(ExitCode::Done)
}

/// The one host there is.
fn only(site: &Site) -> Result<&SiteHost, CliError> {
    match site.hosts.as_slice() {
        [host] => Ok(host),
        hosts => {
            let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
            Err(CliError::usage(format!(
                "a tunnel leads to one host, and these are {}: {}",
                hosts.len(),
                names.join(", ")
            ))
            .hint("choose one with --limit NAME, or name it with --host"))
        }
    }
}

/// Where SpacetimeDB is to be found from the host itself.
fn far(listen: SocketAddrV4) -> SocketAddrV4 {
    let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST } else { *listen.ip() };
    SocketAddrV4::new(ip, listen.port())
}

fn is_here(far: SocketAddrV4) -> CliError {
    CliError::usage("there is no tunnel to this machine: its SpacetimeDB is here already")
        .hint(format!("use http://{far}"))
}

/// Listens on loopback, and says whether the port is another than the usual one.
async fn listen(asked: Option<u16>, usual: u16) -> Result<(TcpListener, bool), CliError> {
    let wanted = asked.unwrap_or(usual);
    match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await {
        Ok(listener) => Ok((listener, false)),
        Err(error) if asked.is_some() => Err(no_port(wanted, error)),
        Err(_) => match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await {
            Ok(listener) => Ok((listener, true)),
            Err(error) => Err(no_port(wanted, error)),
        },
    }
}

fn no_port(port: u16, error: io::Error) -> CliError {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "only root may use ports below 1024: choose a higher one with --port",
        _ => "choose another with --port, or leave it out: then a free one is found",
    };
    CliError::usage(Context::new(format!("cannot listen on 127.0.0.1:{port}"), error)).hint(hint)
}

fn no_signals(error: io::Error) -> CliError {
    CliError::new(ExitCode::Failed, Context::new("cannot be told when to stop", error))
}

fn no_answer(host: &str, far: SocketAddrV4, why: greeting::NoAnswer) -> CliError {
    let kind = match &why {
        greeting::NoAnswer::Forward(ForwardError::Gone(_)) => ExitCode::Connect,
        _ => ExitCode::Failed,
    };
    let hints = match &why {
        greeting::NoAnswer::Forward(error @ ForwardError::Forbidden { .. }) => error.hints(),
        _ => vec![
            format!(
                "is SpacetimeDB running there? `stdbctl plan` shows what is not as it should be on {host}"
            ),
            format!(
                "it was looked for at {far}: what --set spacetimedb.listen or stdbctl.yaml says, or the default"
            ),
        ],
    };
    let error = CliError::new(kind, Context::new(format!("{host}: SpacetimeDB does not answer"), why));
    hints.into_iter().fold(error, CliError::hint)
}

fn gone(host: &str, reason: &str) -> CliError {
    CliError::new(ExitCode::Connect, format!("{host}: the tunnel is gone: {reason}"))
        .hint("run the same command again; if that fails, its error says at which step")
}

/// Says that the tunnel is open, and what can be done with it.
fn show(out: &mut dyn Write, tunnel: &Document<'_>, moved: bool, console: &Console) -> io::Result<()> {
    match console.format {
        // One line, so that whoever started it can go on when it has read one.
        Format::Json => writeln!(out, "{}", serde_json::to_string(tunnel)?)?,
        Format::Human | Format::Github if console.quiet => writeln!(out, "{}", tunnel.address)?,
        Format::Human | Format::Github => write_open(out, tunnel, moved)?,
    }
    out.flush()
}

fn write_open(out: &mut dyn Write, tunnel: &Document<'_>, moved: bool) -> io::Result<()> {
    let Document { address, host, version } = tunnel;
    let url = format!("http://{address}");
    writeln!(out, "{LOUD}{host}{LOUD:#}: SpacetimeDB {version} is at {GOOD}{url}{GOOD:#} until Ctrl-C")?;
    if moved {
        writeln!(out, "{CHANGE}Its own port is taken on this machine, so this is a free one.{CHANGE:#}")?;
    }
    writeln!(out, "\nWith the `spacetime` CLI, 1.x or 2.x:")?;
    for command in ["logs -f", "sql", "publish -p ."] {
        let (verb, flags) = command.split_once(' ').unwrap_or((command, ""));
        let flags = if flags.is_empty() { String::new() } else { format!("{flags} ") };
        let query = if verb == "sql" { " 'select * from TABLE'" } else { "" };
        writeln!(out, "  spacetime {verb} {flags}-s {url} DATABASE{query}")?;
    }
    // The CLI comes with this address under a name, and refuses a second one for it.
    if address.port() == 3000 {
        writeln!(out, "It calls this address `local`: `-s local` will do.")?;
    } else {
        writeln!(out, "For a short name, `-s tunnel`, once:")?;
        writeln!(out, "  spacetime server add --url {url} --no-fingerprint tunnel")?;
    }
    writeln!(out, "{QUIET}It logs in as itself, which is not the owner of the host's databases.")?;
    writeln!(out, "As their owner: `stdbctl publish` and `stdbctl db`, without a tunnel.{QUIET:#}")
}

fn sum_up(session: &Session, connections: usize, started: Instant, console: &Console) {
    let (stats, seconds) = (session.stats(), started.elapsed().as_secs_f64());
    if console.format != Format::Json && !console.quiet {
        let told = format!(
            "closed after {}: {}, {} sent, {} received",
            duration(seconds),
            count(connections, "connection"),
            HumanBytes(stats.bytes_sent),
            HumanBytes(stats.bytes_received)
        );
        // The terminal has echoed ^C.
        drop(writeln!(anstream::stderr(), "\n{told}"));
    }
    let mut cost = RunStats { seconds, ..RunStats::default() };
    cost.add(host::stats(session));
    console.show_cost(&cost);
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::error::render;

    fn tunnel(flags: &[&str]) -> CliError {
        let cli = Cli::try_parse_from([&["stdbctl", "tunnel"], flags].concat()).unwrap();
        let console = Console::new(&cli.output);
        let Verb::Tunnel(args) = cli.verb else { panic!("not a tunnel: {cli:?}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(args, &console)).unwrap_err()
    }

    fn plain(error: &CliError) -> String {
        anstream::adapter::strip_str(&render(error, None)).to_string()
    }

    fn shown(address: &str, moved: bool) -> String {
        let address = address.parse().unwrap();
        let mut out = Vec::new();
        let document = Document { address, host: "ubuntu@example.com", version: "1.3.0" };
        write_open(&mut out, &document, moved).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn what_works_with_it_is_shown() {
        insta::assert_snapshot!(shown("127.0.0.1:40123", true), @r"
        ubuntu@example.com: SpacetimeDB 1.3.0 is at http://127.0.0.1:40123 until Ctrl-C
        Its own port is taken on this machine, so this is a free one.

        With the `spacetime` CLI, 1.x or 2.x:
          spacetime logs -f -s http://127.0.0.1:40123 DATABASE
          spacetime sql -s http://127.0.0.1:40123 DATABASE 'select * from TABLE'
          spacetime publish -p . -s http://127.0.0.1:40123 DATABASE
        For a short name, `-s tunnel`, once:
          spacetime server add --url http://127.0.0.1:40123 --no-fingerprint tunnel
        It logs in as itself, which is not the owner of the host's databases.
        As their owner: `stdbctl publish` and `stdbctl db`, without a tunnel.
        ");
        let usual = shown("127.0.0.1:3000", false);
        assert!(usual.contains("-s local") && !usual.contains("server add"), "{usual}");
        assert!(usual.lines().all(|line| line.chars().count() <= 80), "{usual}");
    }

    #[test]
    fn it_leads_to_one_host_and_not_to_this_machine() {
        let several = tunnel(&["--host", "a", "--host", "b"]);
        assert_eq!(several.kind, ExitCode::Usage);
        insta::assert_snapshot!(plain(&several), @r"
        try: choose one with --limit NAME, or name it with --host
        error: a tunnel leads to one host, and these are 2: a, b
        ");
        let local = tunnel(&["--host", "local", "--set", "spacetimedb.listen=127.0.0.1:4000"]);
        assert_eq!(local.kind, ExitCode::Usage);
        insta::assert_snapshot!(plain(&local), @r"
        try: use http://127.0.0.1:4000
        error: there is no tunnel to this machine: its SpacetimeDB is here already
        ");
    }

    #[test]
    fn a_port_that_was_asked_for_and_is_taken_is_an_error() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let error = tunnel(&["--host", "ubuntu@192.0.2.1", "--port", &port]);
        assert_eq!(error.kind, ExitCode::Usage);
        assert!(plain(&error).contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{}", plain(&error));
    }

    #[tokio::test]
    async fn a_usual_port_that_is_taken_is_replaced_by_a_free_one() {
        let (first, moved) = listen(None, 0).await.unwrap();
        assert!(!moved);
        let taken = first.local_addr().unwrap().port();
        let (second, moved) = listen(None, taken).await.unwrap();
        assert!(moved);
        assert_ne!(second.local_addr().unwrap().port(), taken);
        assert!(second.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn a_server_that_listens_everywhere_is_on_loopback_too() {
        let far = |listen: &str| super::far(listen.parse().unwrap()).to_string();
        assert_eq!(far("0.0.0.0:3000"), "127.0.0.1:3000");
        assert_eq!(far("127.0.0.1:3001"), "127.0.0.1:3001");
        assert_eq!(far("10.0.0.5:3000"), "10.0.0.5:3000");
    }
}
