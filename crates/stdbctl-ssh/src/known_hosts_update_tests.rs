use proptest::prelude::*;
use russh::keys::PublicKey;

use super::*;

const KEYS: [&str; 4] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
];

fn key(index: usize) -> KeyData {
    PublicKey::from_openssh(KEYS[index]).unwrap().into()
}

fn keys(indices: &[usize]) -> Vec<KeyData> {
    indices.iter().map(|index| key(*index)).collect()
}

fn web1() -> Names {
    Names { host: "web1".to_owned(), address: None }
}

fn with_address() -> Names {
    Names { host: "web1".to_owned(), address: Some("192.0.2.1".to_owned()) }
}

/// `A` to `D` stand for the keys.
fn file(text: &str) -> String {
    let names = ["A", "B", "C", "D"].into_iter().zip(KEYS);
    names.fold(text.to_owned(), |text, (name, key)| text.replace(&format!(" {name}"), &format!(" {key}")))
}

fn compared(names: &Names, files: &[&str], announced: &[usize]) -> Result<Changes, HandsOff> {
    let files: Vec<_> = files.iter().map(|text| file(text)).collect();
    let files: Vec<_> = files.iter().map(String::as_bytes).collect();
    compare(&files, names, &keys(announced))
}

fn changes(new: &[usize], gone: &[usize]) -> Changes {
    Changes { new: keys(new), gone: keys(gone) }
}

#[track_caller]
fn becomes(names: &Names, before: &str, announced: &[usize], after: &str) {
    let written = with_keys(file(before).as_bytes(), names, &keys(announced), false).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), file(after));
}

#[test]
fn new_keys_and_those_that_are_gone_are_found() {
    assert_eq!(compared(&web1(), &["web1 A\n"], &[0]), Ok(changes(&[], &[])));
    assert_eq!(compared(&web1(), &["web1 A\n"], &[0, 1, 2]), Ok(changes(&[1, 2], &[])));
    assert_eq!(compared(&web1(), &["web1 A\nweb1 B\n"], &[1]), Ok(changes(&[], &[0])));
    assert_eq!(compared(&web1(), &["web1 A\nother D\n"], &[1]), Ok(changes(&[1], &[0])));
    assert_eq!(compared(&web1(), &["", "web1 A\n"], &[0, 1]), Ok(changes(&[1], &[])));
}

#[test]
fn what_somebody_has_written_by_hand_is_left_alone() {
    for line in ["web* A\n", "web? A\n", "web1,web2,web3 A\n", "@cert-authority * B\n", "@revoked web1 D\n"] {
        let text = format!("web1 A\n{line}");
        assert_eq!(compared(&web1(), &[&text], &[0, 1]), Err(HandsOff::Complex), "{line}");
        // Nothing to be done is no reason to complain.
        assert!(compared(&web1(), &["web1 A\n"], &[0]).is_ok());
    }
    assert_eq!(compared(&web1(), &["web1 A\n@cert-authority *.org C\n"], &[0, 1]), Ok(changes(&[1], &[])));
}

#[test]
fn keys_that_are_known_by_another_name_are_left_alone() {
    for other in ["web2 A\n", "web2 B\n", "192.0.2.1 A\n", "@revoked web2 B\n"] {
        let text = format!("web1 A\n{other}");
        assert_eq!(compared(&web1(), &[&text], &[0, 1]), Err(HandsOff::OtherName), "{other}");
    }
    // One that is to go, too.
    assert_eq!(compared(&web1(), &["web1 A\nweb1 B\nweb2 A\n"], &[1]), Err(HandsOff::OtherName));
}

#[test]
fn an_address_of_its_own_follows_too() {
    assert_eq!(compared(&with_address(), &["web1 A\n192.0.2.1 A\n"], &[0, 1]), Ok(changes(&[1], &[])));
    assert_eq!(compared(&with_address(), &["web1,192.0.2.1 A\n"], &[1]), Ok(changes(&[1], &[0])));
    for line in ["web2,192.0.2.1 A\n", "web1,192.0.2.9 A\n"] {
        assert_eq!(compared(&with_address(), &[line], &[0, 1]), Err(HandsOff::OtherName), "{line}");
    }
    becomes(&with_address(), "web1 A\n192.0.2.1 A\n", &[1], "web1,192.0.2.1 B\n");
    becomes(&with_address(), "web1 A\n192.0.2.1 B\n", &[0, 1], "web1 A\n192.0.2.1 B\n192.0.2.1 A\nweb1 B\n");
}

#[test]
fn lines_are_added_and_removed_and_the_others_stay_as_they_are() {
    becomes(&web1(), "web1 A\n", &[0, 1], "web1 A\nweb1 B\n");
    becomes(
        &web1(),
        "# mine\r\n\n\tweb1  A\tcomment\nweb1 C\nx y z\nother D",
        &[0, 1],
        "# mine\r\n\n\tweb1  A\tcomment\nx y z\nother D\nweb1 B\n",
    );
    becomes(&web1(), "web1 A\n#web1 A", &[1], "#web1 A\nweb1 B\n");
    let other = without_host(file("web1 A\n# x\nother B\nweb1 C\n@revoked web1 D").as_bytes(), &web1());
    assert_eq!(String::from_utf8(other).unwrap(), file("# x\nother B\n@revoked web1 D"));
}

#[test]
fn names_are_hashed_where_that_is_wanted() {
    let hashed = with_keys(b"", &with_address(), &keys(&[0, 2]), true).unwrap();
    let text = String::from_utf8(hashed).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("|1|")).count(), 4, "{text}");
    assert!(!text.contains("web1") && !text.contains("192"), "{text}");
    assert_eq!(compare(&[text.as_bytes()], &with_address(), &keys(&[0, 2])), Ok(Changes::default()));
    let names: std::collections::HashSet<_> = text.lines().map(|line| line.split(' ').next()).collect();
    assert_eq!(names.len(), 4, "each has a salt of its own");
}

fn any_line() -> impl Strategy<Value = String> {
    let hosts =
        prop::sample::select(vec!["web1", "web2", "web1,192.0.2.1", "192.0.2.1", "web*", "!web1,*", "#", ""]);
    let marker = prop::sample::select(vec!["", "", "", "@revoked ", "@cert-authority ", "@x "]);
    let key = prop::sample::select(vec!["A", "B", "C", "D", "E", ""]);
    let end = prop::sample::select(vec!["\n", "\n", "\r\n", " comment\n", "\t\n", "\n\n"]);
    (marker, hosts, key, end)
        .prop_map(|(marker, hosts, key, end)| file(&format!("{marker}{hosts} {key}{end}")))
}

proptest! {
    #[test]
    fn a_file_that_was_written_says_what_the_host_says(
        lines in prop::collection::vec(any_line(), 0..12),
        announced in prop::sample::subsequence(vec![0, 1, 2, 3], 1..4),
        has_address: bool,
        ends: bool,
        is_hashed: bool,
    ) {
        let names = if has_address { with_address() } else { web1() };
        let mut before = lines.concat().into_bytes();
        if !ends {
            before.pop();
        }
        let announced = keys(&announced);
        let after = with_keys(&before, &names, &announced, is_hashed).unwrap();
        // Every key of the host's is there and no other, and that is so for good.
        let again = with_keys(&after, &names, &announced, is_hashed).unwrap();
        prop_assert_eq!(&again, &after);
        if let Ok(changes) = compare(&[&after], &names, &announced) {
            prop_assert_eq!(changes, Changes::default());
        }
        // What is not of the host stays, byte for byte and in order.
        let kept = without_host(&after, &names);
        let others = without_host(&before, &names);
        prop_assert!(kept == others || kept == [&others[..], b"\n"].concat());
    }

    #[test]
    fn any_bytes_that_are_not_of_the_host_stay(before in prop::collection::vec(any::<u8>(), 0..200)) {
        let after = with_keys(&before, &web1(), &keys(&[0]), false).unwrap();
        prop_assert!(after.starts_with(&before));
        prop_assert_eq!(without_host(&before, &web1()), before);
    }
}
