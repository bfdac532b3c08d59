use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Barrier;

use russh::keys::PublicKey;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// For a crowd on a busy machine, each of whom has the disk write.
const LONG: Duration = Duration::from_secs(300);

fn key() -> KeyData {
    PublicKey::from_openssh(KEY).unwrap().into()
}

/// Whether OpenSSH finds a host in a file.
fn is_found_by_keygen(file: &Path, name: &str) -> bool {
    let mut command = Command::new("ssh-keygen");
    command.arg("-F").arg(name).arg("-f").arg(file).output().unwrap().status.success()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_remembered_key_is_known_to_openssh_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new/known_hosts");
    remember(&file, "example.com", &key(), false, PATIENCE).unwrap();
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    // A last line without its end must not swallow the new one.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.trim_end()).unwrap();
    remember(&file, "[example.com]:2222", &key(), false, PATIENCE).unwrap();
    remember(&file, "[hidden.example]:2222", &key(), true, PATIENCE).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("hidden"), "{text}");
    for name in ["example.com", "[example.com]:2222", "[hidden.example]:2222"] {
        assert!(is_found_by_keygen(&file, name), "{name}: {text}");
    }
    assert!(!is_found_by_keygen(&file, "hidden.example"));
}

#[test]
fn a_replaced_file_keeps_its_mode_its_owner_and_the_links_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("real"), directory.path().join("link"));
    fs::write(&file, "old\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1234), Some(1235)).unwrap();
    }
    let owner = |file: &Path| fs::metadata(file).map(|metadata| (metadata.uid(), metadata.gid())).unwrap();
    let before = owner(&file);
    symlink("real", &link).unwrap();
    let locked = LockedFile::open(&link, PATIENCE).unwrap().unwrap();
    assert_eq!(locked.content, b"old\n");
    assert!(locked.replace(b"new\n").unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"new\n");
    assert_eq!((mode(&file), owner(&file)), (0o640, before));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn what_somebody_else_has_added_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    fs::write(&file, "old\n").unwrap();
    let locked = LockedFile::open(&file, PATIENCE).unwrap().unwrap();
    // As OpenSSH does it, which knows no lock.
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"theirs\n").unwrap();
    assert!(!locked.replace(b"new\n").unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"old\ntheirs\n");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_is_not_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(LockedFile::open(&directory.path().join("missing"), PATIENCE).unwrap().is_none());
}

#[test]
fn a_device_is_no_file_to_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    symlink("/dev/null", &link).unwrap();
    for device in [Path::new("/dev/null"), &link, directory.path()] {
        let error = LockedFile::open(device, PATIENCE).unwrap_err();
        assert!(error.to_string().contains("regular file"), "{error}");
    }
}

#[test]
fn fifty_at_once_lose_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    fs::write(&file, "first\n").unwrap();
    let start = Barrier::new(50);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let (file, start) = (&file, &start);
            scope.spawn(move || {
                start.wait();
                // Half of them add a line, half write the file anew.
                if number % 2 == 0 {
                    remember(file, &format!("host{number}"), &key(), false, LONG).unwrap();
                    return;
                }
                loop {
                    let locked = LockedFile::open(file, LONG).unwrap().unwrap();
                    let line = format!("host{number}\n");
                    if locked.replace(&[&locked.content, line.as_bytes()].concat()).unwrap() {
                        return;
                    }
                }
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 51, "{text}");
    for number in 0..50 {
        let name = format!("host{number}");
        assert!(text.lines().any(|line| line.split(' ').next() == Some(&name)), "{name} is lost");
    }
}
