//! Files to and from a real host: as who, with which mode, cut off, and how fast beside `scp`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stdbctl_tests::deadline::finish;
use stdbctl_tests::distance::Distance;
use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::{Operator, Run, release_binary};
use stdbctl_tests::proxy::{Direction, Proxy};
use stdbctl_tests::terminal::Terminal;

const MEGABYTE: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(240);

/// A file that cannot be compressed.
fn noise(folder: &Path, name: &str, size: u64) -> PathBuf {
    let path = folder.join(name);
    let mut file = fs::File::create(&path).unwrap();
    let mut random = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), size);
    std::io::copy(&mut random, &mut file).unwrap();
    path
}

fn sha256(path: &Path) -> String {
    let finished = finish(Command::new("sha256sum").arg(path), LIMIT);
    assert!(finished.status.success(), "{}", finished.stderr);
    finished.stdout.split(' ').next().unwrap().to_owned()
}

fn sha256_on(host: &LabHost, path: &str) -> String {
    host.sh(&format!("sha256sum '{path}'")).split(' ').next().unwrap().to_owned()
}

/// What a run said of the one transfer that it did.
fn transferred(run: &Run) -> Value {
    let events = run.events();
    let finished = events.iter().find(|event| event["event"] == "transfer_finished");
    finished.unwrap_or_else(|| panic!("nothing was transferred\n{run}")).clone()
}

#[test]
fn files_and_directories_as_whom_one_likes() {
    let host = LabHost::up("transfer");
    let operator = Operator::new();
    let near = host.reach();
    let run = |arguments: &[&str]| operator.run(&line(&[&near], arguments));

    operator.write("a b", "hello");
    fs::set_permissions(operator.home().join("a b"), fs::Permissions::from_mode(0o750)).unwrap();
    run(&["push", "a b", "it's"]).exited(0);
    assert_eq!(
        host.sh("stat -c '%U %a' \"/home/ubuntu/it's\"; cat \"/home/ubuntu/it's\""),
        "ubuntu 750\nhello"
    );
    run(&["push", "a b", "/etc/lab-file"]).failed(1, &["/etc/lab-file", "denied"]);
    let refused = run(&["push", "a b", "/etc/lab-file"]);
    assert!(refused.stderr.contains("--sudo"), "{refused}");
    assert!(!host.holds("ls -a /etc | grep stdbctl-"), "nothing is left behind");
    // So far away that what sudo itself takes is none of it.
    let far = Distance::of(Duration::from_millis(400), &host, &operator);
    // On a busy machine sudo, or the host, may take as long as a round trip by itself, but not every time.
    let trips = |arguments: &[&str], to: &str| {
        let tries = (0..3).map(|_| {
            host.sh(&format!("rm -f {to}"));
            let arguments = [arguments, &["a b", to]].concat();
            let (run, trips) = far.round_trips(|reach| operator.run(&line(&[reach], &arguments)));
            run.exited(0);
            trips
        });
        tries.min()
    };
    let as_user = trips(&["push"], "/tmp/cost");
    let as_root = trips(&["push", "--sudo"], "/etc/lab-file");
    assert_eq!(as_root, as_user, "sudo costs no round trip of its own");
    assert_eq!(host.sh("stat -c '%U %a' /etc/lab-file").trim(), "root 750");
    host.sh("chmod 600 /etc/lab-file; chown ubuntu:daemon /etc/lab-file; echo more >>/etc/lab-file");
    run(&["push", "--sudo", "a b", "/etc/lab-file"]).exited(0);
    assert_eq!(host.sh("stat -c '%U %G %a' /etc/lab-file; cat /etc/lab-file"), "ubuntu daemon 600\nhello");
    run(&["push", "a b", "/etc"]).failed(1, &["/etc", "directory"]);
    run(&["push", "nothing", "/tmp/x"]).failed(2, &["nothing"]);
    run(&["pull", "/nothing", "x"]).failed(1, &["/nothing", "no such file"]);
    run(&["pull", "/etc/shadow", "x"]).failed(1, &["/etc/shadow", "denied"]);
    run(&["pull", "--sudo", "/etc/lab-file", "x"]).exited(0);
    assert_eq!(fs::read_to_string(operator.home().join("x")).unwrap(), "hello");

    let tree = operator.home().join("tree");
    fs::create_dir_all(tree.join("in/empty")).unwrap();
    noise(&tree, "in/big", 3 * MEGABYTE);
    symlink("in/big", tree.join("link")).unwrap();
    for number in 0..40 {
        noise(&tree, &format!("in/{number}"), number);
    }
    run(&["push", "tree", "/tmp/"]).exited(0);
    run(&["pull", "/tmp/tree", "back"]).exited(0);
    let diff = finish(
        Command::new("diff").args(["-r", "--no-dereference"]).arg(&tree).arg(operator.home().join("back")),
        LIMIT,
    );
    assert!(diff.status.success(), "{}", diff.stdout);
    let again = run(&["push", "tree", "/tmp/", "--output", "json"]);
    let done = transferred(&again);
    assert_eq!((&done["changed"], &done["moved"]), (&0.into(), &0.into()), "{again}");

    host.sh("mkdir /small && mount -t tmpfs -o size=8m,mode=777 tmpfs /small");
    noise(operator.home(), "large", 20 * MEGABYTE);
    run(&["push", "large", "/small/large"]).failed(1, &["room", "/small/large"]);
    assert_eq!(host.sh("ls -A /small"), "");
}

#[test]
fn root_with_a_password_pushes_and_pulls_too() {
    let host = LabHost::up_as("transfer-sudo", &["--image", "sudo-password"]);
    let operator = Operator::new();
    let password = host.sudo_password.clone().unwrap();
    let file = |name: &str, password: &str| {
        let path = operator.write(name, &format!("{password}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        flags(&[("--sudo-password-file", path.to_str().unwrap())])
    };
    let (right, wrong) = (file("right", &password), file("wrong", "not the password"));
    let run = |with: &[String], arguments: &[&str]| operator.run(&line(&[&host.reach(), with], arguments));
    let attempts = |cursor: &str| {
        let entries = host.journal_since(cursor);
        entries.into_iter().filter(|entry| entry.contains("incorrect password attempt")).count()
    };

    operator.write("small", "hello");
    noise(operator.home(), "big", 9 * MEGABYTE);
    let cursor = host.journal_cursor();
    let refused = run(&[], &["push", "--sudo", "small", "/etc/lab-file"]);
    refused.failed(4, &["sudo wants a password"]);
    assert!(refused.stderr.contains("--sudo-password-file"), "{refused}");
    assert_eq!(attempts(&cursor), 0);
    for name in ["small", "big"] {
        let cursor = host.journal_cursor();
        let refused = run(&wrong, &["push", "--sudo", name, "/etc/lab-file"]);
        refused.failed(4, &["sudo did not accept the password"]);
        assert!(refused.stderr.contains("nothing was changed"), "{refused}");
        assert_eq!(attempts(&cursor), 1, "{name}");
    }
    run(&wrong, &["pull", "--sudo", "/etc/shadow", "shadow"]).failed(4, &["did not accept the password"]);
    assert!(!host.holds("ls -a /etc | grep -e lab-file -e stdbctl-"), "nothing is left behind");
    assert!(!operator.home().join("shadow").exists());

    for name in ["small", "big"] {
        let place = format!("/root/{name}");
        run(&right, &["push", "--sudo", name, &place]).exited(0);
        assert_eq!(host.sh(&format!("stat -c %U {place}")).trim(), "root");
        run(&right, &["pull", "--sudo", &place, "back"]).exited(0);
        assert_eq!(sha256(&operator.home().join("back")), sha256(&operator.home().join(name)));
        fs::remove_file(operator.home().join("back")).unwrap();
    }
    let tree = operator.home().join("tree");
    fs::create_dir_all(tree.join("in")).unwrap();
    noise(&tree, "in/big", 3 * MEGABYTE);
    noise(&tree, "small", 1000);
    for arguments in [["push", "--sudo", "tree", "/root/"], ["pull", "--sudo", "/root/tree", "copy"]] {
        let run = run(&right, &[&arguments[..], &["-vvv"]].concat());
        run.exited(0);
        assert!(!run.stderr.contains(&password), "it was said");
    }
    let diff = finish(Command::new("diff").arg("-r").arg(&tree).arg(operator.home().join("copy")), LIMIT);
    assert!(diff.status.success(), "{}", diff.stdout);

    // Asked once, however many channels there are.
    let push = line(&[&host.reach()], &["push", "--sudo", "big", "/root/asked"]);
    let mut terminal = Terminal::start(&operator, &push);
    terminal.shows("Password of sudo on");
    terminal.press(&format!("{password}\r"));
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.matches("Password of sudo on").count() == 1 && !shown.contains(&password), "{shown}");
    assert_eq!(sha256_on(&host, "/root/asked"), sha256(&operator.home().join("big")));
}

#[test]
fn what_was_cut_off_goes_on_where_it_was() {
    // So much that what is on its way at the cut is little beside it.
    const SIZE: u64 = 200 * MEGABYTE;
    let host = LabHost::up("cut");
    let operator = Operator::new();
    let source = noise(operator.home(), "source", SIZE);
    let wanted = sha256(&source);
    for percent in [30, 60, 90] {
        for (direction, arguments) in [
            (Direction::ToServer, ["push", "source", "/tmp/there"]),
            (Direction::ToClient, ["pull", "/tmp/there", "here"]),
        ] {
            let proxy = Proxy::in_front_of(host.ssh_socket(), Duration::from_millis(10)).unwrap();
            proxy.cut_after(direction, SIZE * percent / 100);
            let near = host.reach_through(&proxy, operator.home());
            let arguments = line(&[&near], &[&arguments[..], &["--output", "json"]].concat());
            let (run, _memory) = operator.measure(&release_binary(), &arguments);
            run.exited(0);
            assert_eq!(proxy.counts().connections, 2, "{run}");
            assert!(run.events().iter().any(|event| event["event"] == "warning"), "{run}");
            // Every channel was in the middle of a block.
            let moved = transferred(&run)["moved"].as_u64().unwrap();
            let most = SIZE * (100 - percent) / 100 + 8 * (4 << 20) + 2 * (16 << 20);
            assert!(moved <= most.min(SIZE), "{percent} %: {moved} of {SIZE}\n{run}");
        }
        assert_eq!(sha256_on(&host, "/tmp/there"), wanted, "{percent} %");
        assert_eq!(sha256(&operator.home().join("here")), wanted, "{percent} %");
        assert!(!host.holds("ls -A /tmp | grep stdbctl-"), "nothing is left behind");
        host.sh("rm /tmp/there");
        fs::remove_file(operator.home().join("here")).unwrap();
    }
}

/// Runs the release build, and says how long it took.
fn timed(operator: &Operator, arguments: &[String]) -> Duration {
    let (run, most) = operator.measure(&release_binary(), arguments);
    run.exited(0);
    assert!(most > MEGABYTE && most < 64 * MEGABYTE, "{most} bytes of memory");
    run.took
}

/// The best that scp and stdbctl did on one way.
struct Best {
    theirs: Duration,
    ours: Duration,
}

impl Best {
    const NONE: Self = Self { theirs: Duration::MAX, ours: Duration::MAX };

    fn take(&mut self, theirs: Duration, ours: Duration) {
        (self.theirs, self.ours) = (self.theirs.min(theirs), self.ours.min(ours));
    }

    fn ratio(&self) -> f64 {
        self.theirs.as_secs_f64() / self.ours.as_secs_f64()
    }
}

#[test]
fn it_is_as_fast_as_scp_nearby_and_faster_far_away() {
    const SIZE: u64 = 200 * MEGABYTE;
    const TURNS: std::ops::Range<usize> = 3..9;
    let host = LabHost::up("rate");
    let operator = Operator::new();
    let source = noise(operator.home(), "source", SIZE);
    let here = operator.home().join("here");
    for (distance, least) in [(0, 0.6), (50, 2.0)] {
        let proxy = Proxy::in_front_of(host.ssh_socket(), Duration::from_millis(distance)).unwrap();
        let near = host.reach_through(&proxy, operator.home());
        let port = proxy.address().port();
        let known = operator.home().join(format!("known_hosts-{port}"));
        let far = format!("ubuntu@{}:/tmp/there", proxy.address().ip());
        let scp = |from: &str, to: &str| {
            let mut command = Command::new("scp");
            command.args(["-q", "-F", "none", "-P", &port.to_string(), "-i"]).arg(&host.identity);
            command.args([
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                &format!("UserKnownHostsFile={}", known.display()),
            ]);
            let finished = finish(command.args([from, to]), LIMIT);
            assert!(finished.status.success(), "{}", finished.stderr);
            finished.took
        };
        let (mut up, mut down) = (Best::NONE, Best::NONE);
        // By turns, so that both meet the same machine; the best of each counts. Where that is not enough, the machine
        // may have been busy in all turns of one of them: then there are more.
        let mut turns = 0;
        while turns < TURNS.start || (turns < TURNS.end && up.ratio().min(down.ratio()) < least) {
            turns += 1;
            host.sh("rm -f /tmp/there");
            let theirs = scp(&source.to_string_lossy(), &far);
            host.sh("rm -f /tmp/there");
            let ours = timed(&operator, &line(&[&near], &["push", "-q", "source", "/tmp/there"]));
            up.take(theirs, ours);
            assert_eq!(sha256_on(&host, "/tmp/there"), sha256(&source));
            let theirs = scp(&far, &here.to_string_lossy());
            fs::remove_file(&here).unwrap();
            let ours = timed(&operator, &line(&[&near], &["pull", "-q", "/tmp/there", "here"]));
            down.take(theirs, ours);
            assert_eq!(fs::metadata(&here).unwrap().size(), SIZE);
            fs::remove_file(&here).unwrap();
        }
        for (way, best) in [("up", up), ("down", down)] {
            let (Best { theirs, ours }, ratio) = (&best, best.ratio());
            let said =
                format!("{way} at {distance} ms: scp {theirs:.2?}, stdbctl {ours:.2?}, by {turns} turns");
            println!("{said}: {ratio:.2} times its rate");
            assert!(ratio >= least, "{said}");
        }
    }
}
