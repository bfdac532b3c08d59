//! `-v`: what the libraries say about their work, on stderr.

use tracing_subscriber::EnvFilter;

/// Starts the log. russh tells of keys and known hosts, so it stays silent until it is asked for by name: `-vvv`.
pub(crate) fn start(verbosity: u8) {
    let filter = match verbosity {
        0 => return,
        1 => "stdbctl=info,stdbctl_engine=info,stdbctl_playbook=info,stdbctl_ssh=info,russh=warn",
        2 => "stdbctl=debug,stdbctl_engine=debug,stdbctl_playbook=debug,stdbctl_ssh=debug,russh=warn",
        _ => "trace,russh=debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
