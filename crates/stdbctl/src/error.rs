//! Why stdbctl did not do what was asked, and the one place where that is put into words.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
use serde::Serialize;
use stdbctl_engine::host::HostError;
use stdbctl_engine::run::Report;
use stdbctl_playbook::local_path;
use stdbctl_ssh::{ConnectError, ErrorKind};

use crate::exit_code::ExitCode;
use crate::report::style::{BAD, GOOD};
use crate::report::{clean, wrap};

/// A boxed error of any of the libraries.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// What ends a run that did not succeed.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What kind of failure it is: the exit code.
    pub(crate) kind: ExitCode,
    /// What failed, and in its `source()`s why.
    pub(crate) source: Cause,
    /// What the operator can try.
    pub(crate) hints: Vec<String>,
    /// The lines of a file that are at fault.
    excerpt: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: ExitCode, source: impl Into<Cause>) -> Self {
        Self { kind, source: source.into(), hints: Vec::new(), excerpt: None }
    }

    /// The command line is wrong.
    pub(crate) fn usage(source: impl Into<Cause>) -> Self {
        Self::new(ExitCode::Usage, source)
    }

    /// Settings, inventory or playbook are wrong.
    pub(crate) fn settings(source: impl Into<Cause>) -> Self {
        Self::new(ExitCode::Settings, source)
    }

    /// A file on this machine cannot be read.
    pub(crate) fn unreadable(kind: ExitCode, path: &Path, why: io::Error) -> Self {
        let hint = local_path::hint(path, &why);
        Self::new(kind, Context::new(format!("cannot read {}", path.display()), why)).hint(hint)
    }

    /// Adds something to try.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the lines of a file that are at fault.
    pub(crate) fn excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into());
        self
    }
}

/// What failed, because of what.
#[derive(Debug)]
pub(crate) struct Context {
    what: String,
    why: Cause,
}

impl Context {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<Cause>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Context {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.why)
    }
}

/// Puts an error into words: what lies behind it, what to try, and in the end what failed and why. `width` is that of
/// the terminal, if it goes to one.
pub(crate) fn render(error: &CliError, width: Option<usize>) -> String {
    let chain = causes(&*error.source);
    let mut text = String::new();
    let excerpt = error.excerpt.as_deref().map(clean::text);
    let several_lines = chain.iter().filter(|cause| cause.contains('\n')).map(String::as_str);
    for block in several_lines.chain(excerpt.as_deref()) {
        text.push_str(block.trim_end());
        text.push('\n');
    }
    let label = format!("{GOOD}try:{GOOD:#}");
    let hints = error.hints.iter().map(|hint| clean::line(clean::without_number(hint)));
    text.extend(hints.map(|hint| wrap::labelled(&label, &hint, width)));
    let firsts: Vec<_> = chain.iter().map(|cause| cause.lines().next().unwrap_or_default()).collect();
    text + &wrap::labelled(&format!("{BAD}error:{BAD:#}"), &firsts.join(": "), width)
}

/// clap's error, in the order of all others: what is wrong comes last.
pub(crate) fn render_usage(error: &clap::Error, width: Option<usize>) -> String {
    let text = error.render().ansi().to_string();
    match text.trim_end().split_once("\n\n") {
        Some((cause, rest)) if error.kind() != DisplayHelpOnMissingArgumentOrSubcommand => {
            // What is missing stands below, a line each.
            let (what, which) = cause.split_at(cause.find('\n').unwrap_or(cause.len()));
            let what = wrap::hanging("", what, "error: ".len(), width);
            format!("{rest}\n\n{}{which}\n", what.trim_end())
        }
        _ => text,
    }
}

/// An error and its sources in one line.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    clean::line(&causes(error).join(": "))
}

fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        let words = clean::text(clean::without_number(cause.to_string().trim_end())).into_owned();
        // Some libraries repeat their cause in their own words.
        if !chain.iter().any(|earlier| earlier.contains(&words)) {
            chain.push(words);
        }
    }
    chain
}

/// The error of a run, if any of its hosts failed. The first of them, in order, decides the exit code.
pub(crate) fn of_run(report: &Report) -> Option<CliError> {
    of_hosts(report.hosts.len(), failed_hosts(report))
}

/// The hosts of a run that failed, in order.
pub(crate) fn failed_hosts(report: &Report) -> Vec<FailedHost<'_>> {
    let failed = report.hosts.iter().filter_map(|host| {
        let failure = host.failure.as_ref()?;
        let kind = ExitCode::of(failure);
        Some(FailedHost { host: &host.host, kind, cause: in_one_line(failure), hints: failure.hints() })
    });
    failed.collect()
}

/// A host that was not made what it should be.
#[derive(Debug, Serialize)]
pub(crate) struct FailedHost<'a> {
    pub(crate) host: &'a str,
    #[serde(skip)]
    pub(crate) kind: ExitCode,
    /// The failure and its causes in one line.
    pub(crate) cause: String,
    pub(crate) hints: Vec<String>,
}

/// The error of the hosts that failed, of so many. The first of them decides the exit code.
pub(crate) fn of_hosts(all: usize, failed: Vec<FailedHost<'_>>) -> Option<CliError> {
    let kind = failed.first()?.kind;
    let told: Vec<_> =
        failed.iter().map(|FailedHost { host, cause, .. }| format!("{host}: {cause}")).collect();
    let message = match all {
        1 => told.join("; "),
        all => format!("{} of {all} hosts failed: {}", failed.len(), told.join("; ")),
    };
    let mut hints: Vec<String> = Vec::new();
    for hint in failed.into_iter().flat_map(|host| host.hints) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    Some(hints.into_iter().fold(CliError::new(kind, message), CliError::hint))
}

/// Whether a host could not be connected to because its key was refused.
pub(crate) fn is_host_key_refusal(error: &HostError) -> bool {
    connect_error(error).is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::HostKeyUnknown
                | ErrorKind::HostKeyChanged
                | ErrorKind::HostKeyRevoked
                | ErrorKind::HostKeyCertificate
        )
    })
}

/// The transport's own error, if there is one behind it.
pub(crate) fn connect_error(error: &HostError) -> Option<&ConnectError> {
    error.source.as_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;
    use stdbctl_engine::event::{Counts, RunStats};
    use stdbctl_engine::failure::Failure;
    use stdbctl_engine::run::HostReport;

    use super::*;

    fn plain(error: &CliError) -> String {
        anstream::adapter::strip_str(&render(error, None)).to_string()
    }

    fn report(failures: Vec<(&str, Option<Failure>)>) -> Report {
        let hosts = failures.into_iter().map(|(host, failure)| HostReport {
            host: host.to_owned(),
            machine: String::new(),
            plan: None,
            counts: Counts::default(),
            archives: BTreeMap::new(),
            failure,
        });
        Report { hosts: hosts.collect(), stats: RunStats::default(), declined: false }
    }

    #[test]
    fn the_last_line_is_the_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = CliError::new(ExitCode::Connect, Context::new("cannot reach 192.0.2.1:22", refused))
            .hint("check the address");
        insta::assert_snapshot!(plain(&error), @r"
        try: check the address
        error: cannot reach 192.0.2.1:22: connection refused
        ");
    }

    #[test]
    fn so_it_is_of_wrong_usage() {
        let at = |width: Option<usize>, line: &[&str]| {
            let error = crate::cli::Cli::command().try_get_matches_from(line).unwrap_err();
            anstream::adapter::strip_str(&render_usage(&error, width)).to_string()
        };
        let usage = |line: &[&str]| at(None, line);
        insta::assert_snapshot!(usage(&["stdbctl", "plan", "--hots", "a"]), @r"
          tip: a similar argument exists: '--host'

        Usage: stdbctl plan --host <[USER@]HOST[:PORT]>

        For more information, try '--help'.

        error: unexpected argument '--hots' found
        ");
        let refused = usage(&["stdbctl", "plan", "--timeout", "0"]);
        assert!(
            refused.ends_with("\nerror: invalid value '0' for '--timeout <SECONDS>': 0 is not in 1..=3600\n")
        );
        assert!(usage(&["stdbctl"]).starts_with("Self-host SpacetimeDB"));
        let refused = at(Some(80), &["stdbctl", "publish", "--name", "Big_Name"]);
        assert!(
            refused.ends_with(
                "\nerror: invalid value 'Big_Name' for '--name <NAME>': a database's name is made\n       \
             of lower-case letters, digits, and single hyphens between them\n"
            ),
            "{refused}"
        );
        let missing = at(Some(80), &["stdbctl", "push", "a"]);
        assert!(missing.ends_with("were not provided:\n  <REMOTE>\n"), "{missing}");
    }

    #[test]
    fn what_has_several_lines_is_shown_whole_and_summed_up() {
        let snippet = "unknown setting `tls.mod`\n --> stdbctl.yaml:3:3\n  |\n3 |   mod: off\n  |   ^^^";
        let error = CliError::settings(Context::new("stdbctl.yaml is wrong", snippet)).hint("`tls.mode`?");
        insta::assert_snapshot!(plain(&error), @r"
        unknown setting `tls.mod`
         --> stdbctl.yaml:3:3
          |
        3 |   mod: off
          |   ^^^
        try: `tls.mode`?
        error: stdbctl.yaml is wrong: unknown setting `tls.mod`
        ");
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = HostError::new("the server hung up");
        let error = CliError::new(ExitCode::Connect, Failure::Connect(inner));
        assert_eq!(plain(&error), "error: the server hung up\n");
    }

    #[test]
    fn remote_words_cannot_move_the_cursor() {
        let error = CliError::new(ExitCode::Failed, "apt: \x1b[2J\x1b[Hroot# \r\x07ok");
        assert_eq!(plain(&error), "error: apt: root# ok\n");
    }

    #[test]
    fn of_several_hosts_each_failed_one_is_named_and_the_first_decides() {
        let task = Failure::Task {
            task: "site".to_owned(),
            title: "nginx site".to_owned(),
            why: "nginx: [emerg] unknown directive\nnginx: test failed".to_owned(),
        };
        let down = Failure::Connect(HostError::new("cannot reach web3"));
        let error =
            of_run(&report(vec![("web1", None), ("web2", Some(task)), ("web3", Some(down))])).unwrap();
        assert_eq!(error.kind, ExitCode::Failed);
        insta::assert_snapshot!(plain(&error), @r"
        try: what was done stays done; mend the cause and run again: the run goes on from there
        error: 2 of 3 hosts failed: web2: nginx site: nginx: test failed; web3: cannot reach web3
        ");
    }

    #[test]
    fn a_run_without_failures_has_no_error() {
        assert!(of_run(&report(vec![("web1", None)])).is_none());
    }
}
