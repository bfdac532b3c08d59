//! The script that finds databases and frees what deleted ones have left behind, run for real under several shells.

#![expect(clippy::unwrap_used, reason = "the functions between the tests fail as the tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use stdbctl_playbook::owner::Identity;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

/// What stands around the functions in earnest, and a server that has `$open` open and answers `$answers`.
const SURROUNDINGS: &str = r#"
set -u
rec() { printf '%s %s\n' "$1" "$2"; }
tell() { rec "$@"; }
ticking() { "$@"; }
find_server() { why='it does not run'; [ "$running" = yes ] && { pid=$$ opened=$open; }; }
request() { status=$answers body=; }
"#;

/// What the functions write when this line is run after them.
fn run(shell: &[&str], root: &Path, variables: &str, line: &str, stdin: &Path) -> String {
    let functions = include_str!("../src/sh/survey.sh");
    let newline = "newline='\n'";
    let script = format!(
        "root='{}'\n{newline}\nbase=http://127.0.0.1:1\n{functions}\n{SURROUNDINGS}\n{variables}\n{line}",
        root.display()
    );
    let mut command = Command::new(shell.first().unwrap());
    command.args(shell.get(1..).unwrap()).arg("-c").arg(script);
    let output = command.stdin(fs::File::open(stdin).unwrap()).stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn bytes(identity: &Identity) -> Vec<u8> {
    let digits = identity.as_str();
    (0..32)
        .map(|index| u8::from_str_radix(digits.get(2 * index..2 * index + 2).unwrap(), 16).unwrap())
        .collect()
}

fn backwards(identity: &Identity) -> Vec<u8> {
    bytes(identity).into_iter().rev().collect()
}

#[test]
fn an_identity_is_found_wherever_it_stands() {
    let names: Vec<_> = (0..40).map(|number| Identity::of("test", &number.to_string())).collect();
    let mut file = Vec::new();
    for (index, name) in names.iter().enumerate() {
        // Some right behind each other, some across the lines of od, some behind what looks like one.
        file.extend(vec![0xc2; index * 23]);
        file.extend([0xc2, 0x00]);
        file.extend(if index % 2 == 0 { bytes(name) } else { backwards(name) });
        file.extend([0x00, 0xc2]);
    }
    file.extend(bytes(names.first().unwrap()));
    assert!(file.len() > 3 * 4096, "{}", file.len());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, &file).unwrap();
    for shell in SHELLS {
        let said = run(shell, directory.path(), "", "identities", &path);
        let found: BTreeSet<Identity> = said.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(found, names.iter().cloned().collect(), "{shell:?}");
    }
}

#[test]
fn a_database_and_its_owner_stand_side_by_side() {
    let [database, owner] = ["database", "owner"].map(|name| Identity::of("test", name));
    let file = [vec![7; 932], backwards(&database), backwards(&owner), vec![0, 0xc2, 9]].concat();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, file).unwrap();
    for shell in SHELLS {
        let said = run(shell, directory.path(), "", "owners", &path);
        let pair = format!("{}{}", database.to_le_hex(), owner.to_le_hex());
        assert!(said.lines().any(|line| line == pair), "{shell:?}: {said}");
    }
}

/// What is left of the directories 3 and 5, and what was said, after freeing 3.
fn freed(shell: &[&str], variables: &str, order: &str) -> (Vec<String>, String) {
    let root = tempfile::tempdir().unwrap();
    let replicas = root.path().join("data/replicas");
    for name in ["3/clog", "5", "elsewhere"] {
        fs::create_dir_all(replicas.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("elsewhere", replicas.join("9")).unwrap();
    let orders = root.path().join("orders");
    fs::write(&orders, order).unwrap();
    let said = run(shell, root.path(), variables, "free_orphans", &orders);
    let mut left: Vec<_> = fs::read_dir(&replicas)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    left.retain(|name| name != "elsewhere" && name != "9");
    assert!(replicas.join("elsewhere").is_dir());
    assert!(fs::read_dir(root.path().join("data")).unwrap().count() == 1, "nothing stays aside");
    (left, said)
}

#[test]
fn an_orphan_is_removed_if_it_still_is_one_and_nothing_else_is() {
    for shell in SHELLS {
        let kept = |variables: &str, order: &str, why: &str| {
            let (left, said) = freed(shell, variables, order);
            assert_eq!(left, ["3", "5"], "{shell:?} {variables} {order}: {said}");
            assert!(said.starts_with("kept ") && said.contains(why), "{shell:?} {variables} {order}: {said}");
        };
        for (variables, order) in [
            ("running=yes open=5 answers=404", "3 c200ab -\n"),
            ("running=yes open=5 answers=200", "3 c200ab 5\n"),
        ] {
            let (left, said) = freed(shell, variables, order);
            assert_eq!(left, ["5"], "{shell:?} {variables}: {said}");
            assert!(said.starts_with("freed 3 "), "{shell:?}: {said}");
        }
        kept("running=no open=5 answers=404", "3 c200ab -\n", "it does not run");
        kept("running=yes open=3 answers=404", "3 c200ab -\n", "has it open");
        kept("running=yes open=5 answers=200", "3 c200ab -\n", "answers 200");
        kept("running=yes open=5 answers=0", "3 c200ab -\n", "answers 0");
        kept("running=yes open=5 answers=404", "3 c200ab 5\n", "answers 404");
        kept("running=yes open=7 answers=200", "3 c200ab 5\n", "no other replica open");
        kept("running=yes open=5 answers=404", "4 c200ab -\n", "no directory");
        kept("running=yes open=5 answers=404", "9 c200ab -\n", "no directory");
    }
}
