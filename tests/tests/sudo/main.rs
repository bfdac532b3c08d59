//! Becoming root on real hosts: sudo with a password, doas, root's own login, and what refuses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod requiretty;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::distance::Distance;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::{Operator, Run};
use stdbctl_tests::terminal::Terminal;

/// What the journal says of a password that was not the right one.
const WRONG: &str = "incorrect password attempt";

fn password_file(operator: &Operator, name: &str, password: &str) -> PathBuf {
    let path = operator.write(name, &format!("{password}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn who_am_i(host: &LabHost, operator: &Operator, more: &[&str]) -> Run {
    let more = [&["exec", "--sudo"], more, &["--", "id", "-un"]].concat();
    operator.run(&line(&[&host.reach()], &more))
}

#[test]
fn a_password_is_asked_for_on_a_terminal_and_nowhere_else() {
    let host = LabHost::up_as("sudo-asked", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let password = host.sudo_password.clone().unwrap();
    let exec = line(&[&host.reach()], &["exec", "--sudo", "--", "id", "-un"]);

    let cursor = host.journal_cursor();
    let run = operator.run(&exec);
    run.failed(4, &["sudo wants a password"]);
    assert!(run.stderr.contains("--sudo-password-file"), "{run}");
    assert!(!host.journal_since(&cursor).iter().any(|entry| entry.contains(WRONG)));

    let mut terminal = Terminal::start(&operator, &exec);
    terminal.shows("Password of sudo on");
    terminal.press(&format!("{password}\r"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("root") && !shown.contains(&password), "{shown}");

    let cursor = host.journal_cursor();
    let mut terminal = Terminal::start(&operator, &exec);
    terminal.shows("Password of sudo on");
    terminal.press("half a pass\u{3}");
    let (code, shown) = terminal.end();
    assert_eq!(code, 130, "{shown}");
    assert!(!host.journal_since(&cursor).iter().any(|entry| entry.contains(WRONG)));
}

#[test]
fn a_wrong_password_is_tried_once() {
    let host = LabHost::up_as("sudo-wrong", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let file = password_file(&operator, "wrong", "not; the $(reboot) password");
    let cursor = host.journal_cursor();
    let file = file.to_str().unwrap();
    let run = operator.run(&line(
        &[&host.reach(), &host.wish_private(), &flags(&[("--sudo-password-file", file)])],
        &["deploy", "--yes"],
    ));
    run.failed(4, &["sudo did not accept the password"]);
    assert!(run.stderr.contains("nothing was changed"), "{run}");
    let attempts: Vec<_> =
        host.journal_since(&cursor).into_iter().filter(|entry| entry.contains(WRONG)).collect();
    assert!(matches!(attempts.as_slice(), [one] if one.contains(": 1 incorrect")), "{attempts:?}");
    assert!(
        host.holds("! ls -d /stdb /var/lib/stdbctl /run/stdbctl"),
        "a deployment without root left traces"
    );
}

#[test]
fn a_deployment_with_a_password_is_one_like_any_other_and_shows_it_to_nobody() {
    let host = LabHost::up_as("sudo-deploy", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let password = host.sudo_password.clone().unwrap();
    let file = password_file(&operator, "password", &password);
    let with = flags(&[("--sudo-password-file", file.to_str().unwrap())]);
    let watch = "while [ ! -e /root/watched ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; sleep 0.02; done \
                 2>/dev/null | tr '\\0' '\\n' | awk '!seen[$0]++' >/root/seen; touch /root/written";
    host.copy_in(&file, "/root/password");
    host.sh(&format!("nohup sh -c \"{}\" >/dev/null 2>&1 &", watch.replace('$', "\\$")));

    let deploy = |reach: &[String]| {
        let words = ["deploy", "--yes", "--output", "json", "-vvv"];
        operator.succeed(&line(&[reach, &host.wish_private(), &with], &words))
    };
    let first = deploy(&host.reach());
    assert!(first.tasks("changed").len() > 10, "{first}");
    let (second, round_trips) = Distance::to(&host, &operator).round_trips(deploy);
    assert!(second.tasks("changed").is_empty(), "{second}");
    // Three more than without: a channel, and sudo's question and answer.
    assert!(round_trips <= 12, "{round_trips} round trips\n{second}");

    for run in [&first, &second] {
        assert!(!run.stdout.contains(&password) && !run.stderr.contains(&password), "it was said");
    }
    host.sh("touch /root/watched");
    wait_for("the watch ends", Duration::from_secs(60), || host.holds("test -e /root/written").then_some(()));
    assert!(host.holds("grep -q '^stdbctl$' /root/seen"), "the watch is blind");
    assert!(host.holds("! grep -qF -f /root/password /root/seen"), "who lists processes sees it");
    host.sh("rm /root/password");
    let found = host.try_sh(&format!(
        "{{ journalctl -q -o cat; grep -rhsF \"lab pass'word\" /tmp /run /var /home /root /etc; }} | grep -F \"{}\"",
        password.replace('$', "\\$")
    ));
    assert_eq!(found.stdout, "", "it was left on the host");
}

#[test]
fn doas_root_and_a_sudo_that_wants_a_terminal() {
    let host = LabHost::up("sudo-ways");
    let operator = Operator::new();
    who_am_i(&host, &operator, &[]).exited(0);

    // A sudo that wants a terminal, where none can be made.
    host.sh("echo 'Defaults requiretty' >/etc/sudoers.d/tty; mv /usr/bin/perl /usr/bin/no-perl");
    let run = who_am_i(&host, &operator, &[]);
    run.failed(4, &["wants a terminal", "requiretty", "perl"]);
    assert!(run.stderr.contains("Defaults:USER !requiretty"), "{run}");

    // Refused by sudo, let in by doas.
    host.sh("mv /usr/bin/no-perl /usr/bin/perl");
    host.sh(
        "apt-get -q update && apt-get -q -y install opendoas && echo 'permit nopass ubuntu' >/etc/doas.conf",
    );
    let run = who_am_i(&host, &operator, &[]);
    assert_eq!(run.exited(0).stdout.lines().last(), Some("root"), "{run}");
    host.sh("rm /etc/sudoers.d/tty; mv /usr/bin/sudo /usr/bin/no-sudo");
    let run = who_am_i(&host, &operator, &[]);
    assert_eq!(run.exited(0).stdout.lines().last(), Some("root"), "{run}");
    let deploy = line(&[&host.reach(), &host.wish_private()], &["deploy", "--yes", "--output", "json"]);
    operator.succeed(&deploy);
    assert!(operator.succeed(&deploy).tasks("changed").is_empty());

    host.sh("echo 'permit ubuntu' >/etc/doas.conf");
    who_am_i(&host, &operator, &[]).failed(4, &["doas wants a password"]);
    host.sh("rm /usr/bin/doas");
    who_am_i(&host, &operator, &[]).failed(4, &["neither sudo nor doas"]);

    host.sh("mkdir -m 700 -p /root/.ssh && install -m 600 /home/ubuntu/.ssh/authorized_keys /root/.ssh");
    let root: Vec<_> = host.reach().iter().map(|word| word.replace("ubuntu@", "root@")).collect();
    let run = operator.run(&line(&[&root], &["exec", "--sudo", "--", "id", "-un"]));
    assert_eq!(run.exited(0).stdout.lines().last(), Some("root"), "{run}");
    let deploy = line(&[&root, &host.wish_private()], &["deploy", "--yes", "--output", "json"]);
    assert!(operator.succeed(&deploy).tasks("changed").is_empty());
}
