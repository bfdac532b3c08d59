//! What is read is what the host's own functions say, and nothing a host says makes reading it fail.

use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::record::Reader;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

/// What a shell answers to a script made of our functions and these lines.
fn answers(shell: &[&str], probes: &Probes, script: &str) -> Vec<u8> {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = format!(
        "nonce=n0nce ssh_connection='198.51.100.7 50514 203.0.113.9 2222'\n{}{script}",
        probes.functions()
    );
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn observed(shell: &[&str], probes: &Probes, script: &str) -> Observation {
    let records = Reader::new("n0nce").feed(&answers(shell, probes, script)).unwrap();
    Observation::read(&records)
}

/// A directory with all that a path can be, and what asks for all of it.
fn house(at: &Path) -> Probes {
    let path = |name: &str| at.join(name).display().to_string();
    std::fs::write(path("same"), "as wanted\n").unwrap();
    std::fs::write(path("other"), "one\n\n\n").unwrap();
    std::fs::write(path("bytes"), (0..=255).chain([0, 10, 10]).collect::<Vec<u8>>()).unwrap();
    std::fs::write(path("with blank"), "x").unwrap();
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("large"), vec![b'x'; 300_000]).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    std::os::unix::fs::symlink("directory", path("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere", path("dangling")).unwrap();
    let mut probes = Probes::default();
    probes.file(&path("same"), &sha256(b"as wanted\n"));
    for name in ["other", "bytes", "with blank", "empty", "large", "missing"] {
        probes.file(&path(name), "another sum");
    }
    for name in ["directory", "directory/.", "link", "link/.", "dangling", "dangling/.", "same/."] {
        probes.path(&path(name));
    }
    probes.user("root");
    probes.user("nobody-has-this-name");
    probes.group("root");
    probes.stamp("no-such-task");
    probes.fragment("says", "echo one; echo two >&2; false".to_owned(), true);
    probes.fragment("silent", "true".to_owned(), true);
    probes.fragment("clock", "date +%N".to_owned(), false);
    probes
}

#[test]
fn every_shell_says_the_same_of_all_that_a_path_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let probes = house(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let by_shell = SHELLS.map(|shell| observed(shell, &probes, "observe_stable\nobserve_volatile\n"));
    for (seen, shell) in by_shell.iter().zip(SHELLS) {
        let kind = |name: &str| seen.paths.get(&path(name)).map(|state| state.kind.clone());
        let content = |name: &str| seen.paths[&path(name)].content.as_deref();
        assert_eq!(kind("same"), Some(PathKind::File), "{shell:?}");
        assert_eq!(kind("empty"), Some(PathKind::File));
        assert_eq!(kind("missing"), None);
        assert_eq!(kind("directory"), Some(PathKind::Directory));
        assert_eq!(kind("link"), Some(PathKind::Symlink { target: "directory".to_owned() }));
        assert_eq!(kind("link/."), Some(PathKind::Directory), "what a link leads to");
        assert_eq!(kind("dangling"), Some(PathKind::Symlink { target: "/nowhere".to_owned() }));
        assert_eq!((kind("dangling/."), kind("same/.")), (None, None));
        assert_eq!(content("same"), None, "what is as wanted is not sent");
        assert_eq!(content("other"), Some(&b"one\n\n\n"[..]), "{shell:?} keeps the last newlines");
        assert_eq!(content("with blank"), Some(&b"x"[..]));
        assert_eq!(content("empty"), Some(&b""[..]));
        assert_eq!(content("large"), None, "what is large is not sent");
        let without_nul: Vec<u8> = (1..=255).chain([10, 10]).collect();
        assert_eq!(content("bytes"), Some(&without_nul[..]), "{shell:?} can hold all but NUL");
        assert_eq!(seen.paths[&path("same")].sha256.as_deref(), Some(&*sha256(b"as wanted\n")));
        assert_eq!(seen.users.keys().collect::<Vec<_>>(), ["root"]);
        assert_eq!(seen.groups, BTreeMap::from([("root".to_owned(), 0)]));
        assert_eq!(seen.stamps, BTreeMap::from([("no-such-task".to_owned(), String::new())]));
        assert_eq!(seen.extras["says"], Extra { text: "one\ntwo".to_owned(), status: 1 });
        assert_eq!(seen.extras["silent"], Extra { text: String::new(), status: 0 });
        assert_eq!(seen.host.ssh_port, Some(2222));
        assert!(seen.host.clock > 1_700_000_000 && seen.host.memory_kb > 0 && !seen.host.machine.is_empty());
    }
    assert_eq!(by_shell[0].digest, by_shell[1].digest);
    assert_eq!(by_shell[1].digest, by_shell[2].digest);
}

#[test]
fn the_digest_is_what_the_host_computes_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let probes = house(directory.path());
    for shell in SHELLS {
        let seen = observed(shell, &probes, "observe_stable\nobserve_volatile\n");
        // As still_as_observed does.
        let own = answers(shell, &probes, "( nonce=; observe_stable ) | sha256sum\n");
        assert_eq!(String::from_utf8(own).unwrap(), format!("{}  -\n", seen.digest), "{shell:?}");
    }
}

#[test]
fn the_digest_tells_a_touched_host_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let probes = house(directory.path());
    let look = || observed(&["sh"], &probes, "observe_stable\nobserve_volatile\n").digest;
    let before = look();
    assert_eq!(look(), before, "the clock and volatile answers do not count");
    std::fs::write(directory.path().join("other"), "ONE\n\n\n").unwrap();
    assert_ne!(look(), before);
}

#[test]
fn apt_is_asked_only_where_a_package_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let fake = |name: &str, script: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    fake("apt-get", "echo 'Inst ufw (0.36.2)'; echo 'Conf ufw (0.36.2)'");
    let path = format!("PATH={}:$PATH\nobserve_stable\nobserve_volatile\n", directory.path().display());
    for (status, installed, asked) in [
        ("ii ", true, false),
        ("hi ", true, false),
        ("iiR", false, true),
        ("iU ", false, true),
        ("rc ", false, true),
        ("un ", false, true),
    ] {
        fake("dpkg-query", &format!("printf 'nginx|ii |1\\nufw|{status}|0.36\\n'"));
        for shell in SHELLS {
            let mut probes = Probes::default();
            probes.package("nginx");
            probes.package("ufw");
            probes.fragment("packages", "simulate nginx ufw".to_owned(), false);
            let seen = observed(shell, &probes, &path);
            assert!(seen.is_installed("nginx"));
            assert_eq!(seen.is_installed("ufw"), installed, "{status:?}");
            let said = if asked { "ufw (0.36.2)" } else { "" };
            assert_eq!(seen.extras["packages"].text, said, "{status:?} under {shell:?}");
        }
    }
}

#[test]
fn a_unit_is_read_from_what_systemctl_prints() {
    let text = "Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=yes\n\
                InvocationID=abc\nActiveEnterTimestamp=@1799990000\n\nId=b.service\nLoadState=not-found\n\
                ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nInvocationID=\nActiveEnterTimestamp=\n";
    let seen = Observation::read(&[Record { kind: "units".to_owned(), data: text.as_bytes().to_vec() }]);
    let a = seen.unit("a.service");
    assert_eq!(
        (a.active_since, a.need_daemon_reload, a.invocation_id.as_str()),
        (1_799_990_000, true, "abc")
    );
    let b = UnitState {
        load_state: "not-found".to_owned(),
        active_state: "inactive".to_owned(),
        ..UnitState::default()
    };
    assert_eq!(seen.unit("b.service"), b);
    assert_eq!(seen.unit("nobody.service"), UnitState::default());
}

fn any_kind() -> impl Strategy<Value = String> {
    let known = ["host", "paths", "sums", "packages", "users", "groups", "units"].map(str::to_owned).to_vec();
    prop_oneof![
        prop::sample::select(known),
        "(content|stamp|extra|volatile|started|x):[/a-z \u{0}|]{0,6}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_a_host_says_is_read(
        records in prop::collection::vec((any_kind(), prop::collection::vec(any::<u8>(), 0..120)), 0..8)
    ) {
        let records: Vec<Record> = records.into_iter().map(|(kind, data)| Record { kind, data }).collect();
        let seen = Observation::read(&records);
        prop_assert_eq!(seen.digest.len(), 64);
    }

    #[test]
    fn lines_of_the_right_shape_and_any_content_are_read(fields in prop::collection::vec("[|:=@0-9a-f' >\\-\u{7}\u{e9}]{0,30}", 1..12)) {
        for separator in ["|", ":", "\n", "="] {
            let data = fields.join(separator).into_bytes();
            for kind in ["host", "paths", "sums", "packages", "users", "groups", "units", "extra:a", "content:a"] {
                Observation::read(&[Record { kind: kind.to_owned(), data: data.clone() }]);
            }
        }
    }
}
