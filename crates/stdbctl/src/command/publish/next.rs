//! What can be done after a publish, as command lines that can be copied.

use stdbctl_playbook::inventory::DEFAULT_FILE;
use stdbctl_playbook::publish::{Operation, Preview};

use crate::cli::{PublishArgs, SiteArgs, SshArgs};
use crate::command::deploy::for_shell;
use crate::report::preview::short;
use crate::report::publication::Step;

/// The commands that come next on one host.
pub(super) fn steps(args: &PublishArgs, host: &str, domain: Option<&str>, preview: &Preview) -> Vec<Step> {
    let name = ["--name".to_owned(), preview.database.clone()];
    let reach = reach(args, host);
    let with = |verb: &[&str], words: &[String]| command(verb, &[words, &reach].concat());
    let mut steps = Vec::new();
    if let Some(domain) = domain {
        steps.push(("check it", command(&["verify"], &["--domain".to_owned(), domain.to_owned()])));
    }
    steps.push(("logs", with(&["db", "logs"], &name)));
    // The old module alone would find an empty database.
    let with_data = preview.loses_data.is_some() && preview.snapshot.is_some();
    let back: &[_] =
        if with_data { &["publish", "--rollback", "--restore-data"] } else { &["publish", "--rollback"] };
    match (preview.operation, &preview.replaces) {
        (Operation::Update, _) => steps.push(("way back", with(back, &name))),
        (Operation::Rollback | Operation::Restore, Some(replaced)) => {
            let to = ["--to".to_owned(), short(replaced)];
            steps.push(("undo it", with(&["publish", "--rollback"], &[name, to].concat())));
        }
        _ => {}
    }
    steps
}

fn command(verb: &[&str], words: &[String]) -> String {
    let verb = std::iter::once("stdbctl").chain(verb.iter().copied());
    let words: Vec<_> = verb.chain(words.iter().map(String::as_str)).map(for_shell).collect();
    words.join(" ")
}

/// All that was said on this command line to reach this host.
fn reach(args: &PublishArgs, host: &str) -> Vec<String> {
    let SiteArgs { config, env, settings, .. } = &args.site;
    let SshArgs { ssh_config, identities, known_hosts, .. } = &args.ssh;
    let mut words = Vec::new();
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    if let Some(config) = config.as_ref().filter(|config| config.as_os_str() != DEFAULT_FILE) {
        flag("--config", config.display().to_string());
    }
    if let Some(env) = env {
        flag("--env", env.clone());
    }
    // Also hosts of a file can be picked by their names.
    flag("--host", host.to_owned());
    for setting in settings {
        flag("--set", format!("{}={}", setting.key, setting.value));
    }
    if let Some(file) = ssh_config {
        flag("--ssh-config", file.display().to_string());
    }
    for identity in identities {
        flag("-i", identity.display().to_string());
    }
    if let Some(file) = known_hosts {
        flag("--known-hosts", file.display().to_string());
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use stdbctl_playbook::publish::{CopyKind, ModuleFacts, SnapshotFacts, Source};

    use super::*;
    use crate::cli::{Cli, Verb};

    fn commands(flags: &[&str], operation: Operation) -> Vec<String> {
        commands_after(flags, operation, false)
    }

    fn commands_after(flags: &[&str], operation: Operation, is_data_lost: bool) -> Vec<String> {
        let line = [&["stdbctl", "publish", "--name", "game", "--host", "ubuntu@a"], flags].concat();
        let cli = Cli::try_parse_from(line).unwrap();
        let Verb::Publish(args) = cli.verb else { panic!("not a publish: {cli:?}") };
        let preview = Preview {
            host: "ubuntu@a".to_owned(),
            database: "game".to_owned(),
            identity: None,
            owner: None,
            server: "1.3.0".to_owned(),
            operation,
            module: ModuleFacts { sha256: "a".repeat(64), bytes: 1 },
            replaces: Some("b".repeat(64)),
            source: Source::Schemas,
            differences: Vec::new(),
            plan_lines: Vec::new(),
            breaks_clients: false,
            manual: None,
            loses_data: is_data_lost.then(|| "all rows".to_owned()),
            rows: std::collections::BTreeMap::new(),
            snapshot: is_data_lost.then_some(SnapshotFacts { bytes: 1, free: 2, kind: CopyKind::Copy }),
            restores: None,
            notes: Vec::new(),
        };
        let steps = steps(&args, "ubuntu@a", Some("a.example"), &preview);
        steps.into_iter().map(|(_, command)| command).collect()
    }

    #[test]
    fn what_comes_next_can_be_copied() {
        let flags =
            ["-i", "my key", "--known-hosts", "k", "--set", "spacetimedb.root_dir=/srv", "-c", "site.yaml"];
        insta::assert_snapshot!(commands(&flags, Operation::Update).join("\n"), @r"
        stdbctl verify --domain a.example
        stdbctl db logs --name game --config site.yaml --host ubuntu@a --set spacetimedb.root_dir=/srv -i 'my key' --known-hosts k
        stdbctl publish --rollback --name game --config site.yaml --host ubuntu@a --set spacetimedb.root_dir=/srv -i 'my key' --known-hosts k
        ");
        insta::assert_snapshot!(commands(&[], Operation::Restore).join("\n"), @r"
        stdbctl verify --domain a.example
        stdbctl db logs --name game --host ubuntu@a
        stdbctl publish --rollback --name game --to bbbbbbbbbbbb --host ubuntu@a
        ");
        for command in commands(&[], Operation::Update).iter().chain(&commands(&[], Operation::Rollback)) {
            Cli::try_parse_from(command.split(' ')).unwrap();
        }
    }

    #[test]
    fn the_way_back_from_lost_data_brings_it_back() {
        let commands = commands_after(&[], Operation::Update, true);
        assert_eq!(
            commands.last().unwrap(),
            "stdbctl publish --rollback --restore-data --name game --host ubuntu@a"
        );
    }
}
