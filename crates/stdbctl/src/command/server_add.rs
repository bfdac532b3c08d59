//! `stdbctl server-add`: makes the site known to the `spacetime` CLI of this machine.

mod spacetime;

use std::io::{self, Write};

use serde::Serialize;

use self::spacetime::{Entry, Spacetime};
use super::verify;
use crate::cli::{Format, ServerAddArgs};
use crate::console::{Console, written};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::report::json;
use crate::report::style::{GOOD, LOUD};
use crate::site::{Site, SiteHost};

/// What is to be there afterwards.
#[derive(Debug)]
struct Wish {
    name: String,
    /// The operator chose the name.
    is_named: bool,
    url: String,
    default: bool,
    fingerprint: bool,
}

/// What had to be done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Add,
    SetDefault,
    Nothing,
}

/// `server-add --output json`: one document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    name: &'a str,
    url: &'a str,
    /// Whether it was not there before.
    added: bool,
    /// Whether it is the CLI's default.
    default: bool,
}

pub(super) fn run(args: ServerAddArgs, console: &Console) -> Result<ExitCode, CliError> {
    let ServerAddArgs { name, default, no_fingerprint, domain, site } = args;
    let site = Site::load(&verify::as_asked(site, domain), None)?;
    let host = only(&site)?;
    let wish = Wish {
        is_named: name.is_some(),
        name: name.unwrap_or_else(|| default_name(host)),
        url: verify::url(host),
        default,
        fingerprint: !no_fingerprint,
    };
    add(&Spacetime::in_path(), &wish, console)
}

fn add(cli: &Spacetime, wish: &Wish, console: &Console) -> Result<ExitCode, CliError> {
    let add = add_arguments(wish);
    let entries = cli.servers(&add)?;
    let (name, is_default, work) = compare(&entries, wish)?;
    match work {
        Work::Add => cli.change(&add).map_err(|error| not_added(error, wish))?,
        Work::SetDefault => cli.change(&["server", "set-default", &name])?,
        Work::Nothing => {}
    }
    let document = Document {
        name: &name,
        url: &wish.url,
        added: work == Work::Add,
        default: is_default || wish.default,
    };
    written(write(&mut anstream::stdout(), &document, work, console))?;
    Ok(ExitCode::Done)
}

/// The CLI of 1.x wants the name, that of 2.x can do without; both take flags before it.
fn add_arguments(wish: &Wish) -> Vec<&str> {
    let mut arguments = vec!["server", "add", "--url", &wish.url];
    arguments.extend(wish.default.then_some("--default"));
    arguments.extend((!wish.fingerprint).then_some("--no-fingerprint"));
    arguments.push(&wish.name);
    arguments
}

/// What the site is called, whether it is the default already, and what is to be done.
fn compare(entries: &[Entry], wish: &Wish) -> Result<(String, bool, Work), CliError> {
    if let Some(entry) = entries.iter().find(|entry| entry.url() == wish.url) {
        let known_as = entry.nickname.as_deref().unwrap_or(&entry.host);
        if wish.is_named && known_as != wish.name {
            return Err(CliError::new(
                ExitCode::Failed,
                format!("the CLI knows {} already, as `{known_as}`", wish.url),
            )
            .hint(format!("use `-s {known_as}`"))
            .hint(format!("or rename it: `spacetime server edit {known_as} --new-name {}`", wish.name)));
        }
        let work = if wish.default && !entry.is_default { Work::SetDefault } else { Work::Nothing };
        return Ok((known_as.to_owned(), entry.is_default, work));
    }
    match entries.iter().find(|entry| entry.nickname.as_ref() == Some(&wish.name) || entry.host == wish.name)
    {
        Some(entry) => Err(CliError::new(
            ExitCode::Failed,
            format!("the CLI knows `{}` already, as another server: {}", wish.name, entry.url()),
        )
        .hint("choose another name: `stdbctl server-add NAME ...`")
        .hint(format!("or, if that server is no more: `spacetime server remove {}`", wish.name))),
        None => Ok((wish.name.clone(), false, Work::Add)),
    }
}

/// The one host there is.
fn only(site: &Site) -> Result<&SiteHost, CliError> {
    match site.hosts.as_slice() {
        [host] => Ok(host),
        hosts => Err(CliError::usage(format!("one site is added at a time, and these are {}", hosts.len()))
            .hint("choose one with --limit NAME, or name it with --domain")),
    }
}

fn default_name(host: &SiteHost) -> String {
    let address =
        || host.target.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |target| target.host.clone());
    host.settings.domain.clone().unwrap_or_else(address)
}

fn not_added(error: CliError, wish: &Wish) -> CliError {
    if !wish.fingerprint {
        return error;
    }
    error
        .hint("`stdbctl verify` says whether the site answers, and what is wrong if it does not")
        .hint("if its CA is not public, give --no-fingerprint, or name the CA's file in SSL_CERT_FILE")
}

fn write(out: &mut dyn Write, done: &Document<'_>, work: Work, console: &Console) -> io::Result<()> {
    let Document { name, url, .. } = done;
    match console.format {
        Format::Json => json::document(out, done),
        Format::Human | Format::Github => {
            let told = match work {
                Work::Add if done.default => "added, and the CLI's default now",
                Work::Add => "added",
                Work::SetDefault => "was there already, and is the CLI's default now",
                Work::Nothing => "was there already",
            };
            writeln!(out, "{LOUD}{name}{LOUD:#}: {url} {GOOD}{told}{GOOD:#}")?;
            let flag = if done.default { String::new() } else { format!(" -s {name}") };
            if console.quiet {
                Ok(())
            } else {
                writeln!(out, "Use it as in `spacetime sql{flag} DATABASE QUERY`.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};
    use crate::error::render;

    const LIST: &str = " DEFAULT  HOSTNAME                   PROTOCOL  NICKNAME  \n     \
        ***  127.0.0.1:3000             http      local     \n          \
        maincloud.spacetimedb.com  https     maincloud \n          game.example               https     \
        game.example \n          bare.example               https               \n";

    fn wish(name: Option<&str>, url: &str) -> Wish {
        let site = url.split_once("://").unwrap().1;
        Wish {
            is_named: name.is_some(),
            name: name.unwrap_or(site).to_owned(),
            url: url.to_owned(),
            default: false,
            fingerprint: true,
        }
    }

    fn compared(wish: &Wish) -> Result<(String, Work), String> {
        let compared = compare(&spacetime::parse(LIST), wish);
        let plain = |error: CliError| anstream::adapter::strip_str(&render(&error, None)).to_string();
        compared.map(|(name, _, work)| (name, work)).map_err(plain)
    }

    #[test]
    fn what_is_there_already_is_not_added_again() {
        let game = "https://game.example";
        assert_eq!(compared(&wish(None, game)), Ok(("game.example".to_owned(), Work::Nothing)));
        assert_eq!(
            compared(&wish(Some("game.example"), game)),
            Ok(("game.example".to_owned(), Work::Nothing))
        );
        let default = Wish { default: true, ..wish(None, game) };
        assert_eq!(compared(&default), Ok(("game.example".to_owned(), Work::SetDefault)));
        let bare = wish(None, "https://bare.example");
        assert_eq!(compared(&bare), Ok(("bare.example".to_owned(), Work::Nothing)));
        assert_eq!(compared(&wish(None, "https://new.example")), Ok(("new.example".to_owned(), Work::Add)));
    }

    #[test]
    fn neither_a_name_nor_a_server_is_taken_from_another() {
        insta::assert_snapshot!(compared(&wish(Some("local"), "https://new.example")).unwrap_err(), @r"
        try: choose another name: `stdbctl server-add NAME ...`
        try: or, if that server is no more: `spacetime server remove local`
        error: the CLI knows `local` already, as another server: http://127.0.0.1:3000
        ");
        insta::assert_snapshot!(compared(&wish(Some("prod"), "https://game.example")).unwrap_err(), @r"
        try: use `-s game.example`
        try: or rename it: `spacetime server edit game.example --new-name prod`
        error: the CLI knows https://game.example already, as `game.example`
        ");
        // The same name over plain HTTP is another server.
        assert!(compared(&wish(None, "http://game.example")).is_err());
    }

    #[test]
    fn the_name_comes_last() {
        let wish = Wish { default: true, fingerprint: false, ..wish(Some("prod"), "https://a.example") };
        let line = "server add --url https://a.example --default --no-fingerprint prod";
        assert_eq!(add_arguments(&wish).join(" "), line);
    }

    #[test]
    fn one_site_is_added_at_a_time() {
        let cli = Cli::try_parse_from(["stdbctl", "server-add", "--host", "a", "--host", "b"]).unwrap();
        let console = Console::new(&cli.output);
        let Verb::ServerAdd(args) = cli.verb else { panic!("not a server-add: {cli:?}") };
        assert_eq!(run(args, &console).unwrap_err().kind, ExitCode::Usage);
    }
}
