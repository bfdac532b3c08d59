//! `ssh-keygen -F` is the oracle: it finds what OpenSSH would find.

use super::*;
use proptest::prelude::*;
use std::process::Command;

const KEY_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const KEY_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).unwrap()
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.add(Path::new("known_hosts"), text.as_bytes());
    known
}

fn verdict(text: &str, host: &str, port: u16) -> Verdict {
    known(text).check(host, port, key(KEY_A).key_data())
}

/// The lines of a file that ssh-keygen finds for a name.
fn found_by_keygen(text: &str, name: &str) -> Vec<usize> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, text).unwrap();
    let output = Command::new("ssh-keygen").arg("-F").arg(name).arg("-f").arg(&file).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("# Host "))
        .map(|line| {
            let rest = line.split("found: line ").nth(1).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        })
        .collect()
}

fn found_here(text: &str, name: &str) -> Vec<usize> {
    let known = known(text);
    let mut lines: Vec<_> = [Marker::None, Marker::Authority, Marker::Revoked]
        .into_iter()
        .flat_map(|marker| {
            known.matching(&name.to_lowercase(), marker).map(|entry| entry.line).collect::<Vec<_>>()
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn hashed(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, text).unwrap();
    let done = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).output().unwrap();
    assert!(done.status.success());
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn finds_the_lines_that_openssh_finds() {
    let fields = [
        "example.com",
        "EXAMPLE.com",
        "*.example.com",
        "*.example.com,!bad.example.com",
        "!bad.example.com,*",
        "a.example.com,192.0.2.7",
        "[example.com]:2222",
        "[*.example.com]:2222",
        "*",
        "?.example.com",
        "192.0.2.?",
        "ex*le.c?m",
        "!example.com",
    ];
    let names = [
        "example.com",
        "Example.COM",
        "a.example.com",
        "bad.example.com",
        "192.0.2.7",
        "[example.com]:2222",
        "[a.example.com]:2222",
        "other.org",
    ];
    let listed: Vec<_> = fields.iter().map(|field| format!("{field} {KEY_A} comment with words")).collect();
    let text = format!(
        "# a comment\n\n{}\n  spaced.example.com \t {KEY_A}\n@revoked *.example.com {KEY_B}\n\
         @cert-authority *.example.com\t{KEY_B}\nnot a line at all\nbroken.org ssh-ed25519 AAAA\n",
        listed.join("\n")
    );
    for name in names {
        assert_eq!(found_here(&text, name), found_by_keygen(&text, name), "{name}");
    }
    assert!(!found_here(&text, "spaced.example.com").is_empty());
    // Only the catch-all lines: ssh-keygen -F would show the line with the unusable key too.
    assert_eq!(found_here(&text, "broken.org"), found_here(&text, "other.org"));
}

#[test]
fn finds_hashed_names() {
    let plain = format!("example.com {KEY_A}\n[example.com]:2222 {KEY_B}\nother.org {ECDSA}\n");
    let text = hashed(&plain);
    assert!(!text.contains("example"), "{text}");
    for name in ["example.com", "[example.com]:2222", "other.org", "nobody.org"] {
        assert_eq!(found_here(&text, name), found_by_keygen(&text, name), "{name}");
    }
    // ssh lower-cases the name before it hashes it; ssh-keygen -F does not.
    assert_eq!(found_here(&text, "EXAMPLE.COM"), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_pattern_list_is_read_as_openssh_reads_it(
        lists in prop::collection::vec("!?[ab*?.]{1,5}(,!?[ab*?.]{1,4}){0,3}", 1..12),
        name in "[ab.]{1,6}",
    ) {
        let lines: Vec<_> = lists.iter().map(|list| format!("{list} {KEY_A}\n")).collect();
        let text = lines.concat();
        prop_assert_eq!(found_here(&text, &name), found_by_keygen(&text, &name), "{}", text);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), &bytes);
        let verdict = known.check("example.com", 22, key(KEY_A).key_data());
        prop_assert_eq!(verdict, Verdict::Unknown);
    }
}

#[test]
fn a_key_on_record_is_known_wherever_it_stands() {
    assert_eq!(verdict(&format!("h {KEY_A}\n"), "h", 22), Verdict::Known);
    assert_eq!(verdict(&format!("h {KEY_B}\nh {KEY_A}\n"), "h", 22), Verdict::Known);
    assert_eq!(verdict(&format!("h\t{KEY_A}"), "H", 22), Verdict::Known);
    assert_eq!(verdict(&format!("h {KEY_A}\n"), "h", 2222), Verdict::Known, "as OpenSSH does");
}

#[test]
fn another_key_is_a_change_whatever_its_type() {
    let Verdict::Changed(place) = verdict(&format!("# one\n# two\nh {KEY_B}\n"), "h", 22) else { panic!() };
    assert_eq!(place.line, 3);
    assert_eq!(place.fingerprint, fingerprint(key(KEY_B).key_data()));
    let line = |text: String, port| match verdict(&text, "h", port) {
        Verdict::Changed(place) => place.line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line(format!("h {ECDSA}\n"), 22), 1);
    assert_eq!(line(format!("h {ECDSA}\nh {KEY_B}\n"), 22), 2, "the line with the same type tells more");
    assert_eq!(line(format!("h {KEY_A}\n[h]:2222 {ECDSA}\n"), 2222), 2, "the name with the port has the say");
    for other in [format!("h {KEY_B}\n"), format!("h {ECDSA}\n")] {
        assert_eq!(verdict(&other, "h", 2222), Verdict::Unknown, "another port is another host");
    }
    let authority = format!("@cert-authority h {KEY_A}\n");
    assert_eq!(verdict(&authority, "h", 22), Verdict::Unknown, "an authority is no host");
}

#[test]
fn revoked_beats_known() {
    for text in [format!("h {KEY_A}\n@revoked h {KEY_A}\n"), format!("@revoked * {KEY_A}\nh {KEY_A}\n")] {
        assert!(matches!(verdict(&text, "h", 22), Verdict::Revoked(_)), "{text}");
    }
    assert_eq!(verdict(&format!("h {KEY_A}\n@revoked h {KEY_B}\n"), "h", 22), Verdict::Known);
}

#[test]
fn files_are_read_together_and_an_unreadable_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    std::fs::write(&second, format!("h {KEY_A}\n")).unwrap();
    let known = KnownHosts::read(&[first.clone(), second]).unwrap();
    assert_eq!(known.check("h", 22, key(KEY_A).key_data()), Verdict::Known);
    std::fs::create_dir(&first).unwrap();
    assert_eq!(KnownHosts::read(std::slice::from_ref(&first)).unwrap_err().0, first);
}

#[test]
fn the_name_without_the_port_revokes_and_certifies_too() {
    let text = format!("example.com {KEY_A}\n");
    assert_eq!(verdict(&text, "example.com", 2222), Verdict::Known);
    let revoked = format!("{text}@revoked example.com {KEY_A}\n");
    assert!(matches!(verdict(&revoked, "example.com", 2222), Verdict::Revoked(place) if place.line == 2));
    let elsewhere = format!("{text}@revoked [example.com]:2222 {KEY_A}\n");
    assert_eq!(verdict(&elsewhere, "example.com", 22), Verdict::Known);

    let authority = known(&format!("@cert-authority *.example.com {KEY_B}\n"));
    assert_eq!(authority.authorities("a.example.com", 2222), [key(KEY_B).key_data()]);
    assert!(authority.authorities("example.org", 2222).is_empty());
}
