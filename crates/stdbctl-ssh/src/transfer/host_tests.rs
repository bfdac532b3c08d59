//! The host's script under every shell that a host may have, where others interfere.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const SCRIPT: &str = include_str!("host.sh");
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

/// A directory on a host whose shell is this.
struct Host {
    shell: &'static [&'static str],
    directory: TempDir,
}

impl Host {
    fn each() -> impl Iterator<Item = Self> {
        SHELLS.into_iter().map(|shell| Self { shell, directory: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// How a verb about the file `target` ends, with these blocks of two bytes, and what it answers.
    fn run(&self, verb: &str, id: &str, input: &[u8]) -> (i32, Vec<String>) {
        self.run_with(&[], verb, id, input)
    }

    fn run_with(
        &self,
        environment: &[(&str, PathBuf)],
        verb: &str,
        id: &str,
        input: &[u8],
    ) -> (i32, Vec<String>) {
        let target = self.path("target");
        let order = format!(
            "verb={verb} nonce=N path='{}' key=K block=2 size=4 mode=640 id='{id}' small=1\n{SCRIPT}",
            target.display()
        );
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).args(["-c", &order]).stdin(Stdio::piped());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It may end before it reads.
        child.stdin.take().unwrap().write_all(input).ok();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), said.lines().skip(2).map(str::to_owned).collect())
    }

    /// Begins a push, and says which file is its part.
    fn look(&self) -> String {
        let (code, lines) = self.run("look", "", b"");
        assert_eq!(code, 0, "{:?} {lines:?}", self.shell);
        lines.last().unwrap().split(' ').nth(2).unwrap().to_owned()
    }

    fn part(&self) -> PathBuf {
        self.path(".stdbctl-K.part")
    }
}

#[test]
fn a_push_twice_at_once_puts_nothing_but_the_whole_in_place() {
    for host in Host::each() {
        let id = host.look();
        assert_eq!(host.look(), id);
        assert_eq!(host.run("part", &id, b"w 0 2\nabw 1 2\ncd").0, 0);
        assert_eq!(host.run("finish", &id, b""), (0, vec!["done".to_owned()]), "{:?}", host.shell);
        assert_eq!(fs::read(host.path("target")).unwrap(), b"abcd");
        assert_eq!(host.run("part", &id, b"w 1 2\ncd").0, 76, "{:?}", host.shell);
        assert_eq!(
            host.run("finish", &id, b""),
            (0, vec!["done".to_owned()]),
            "it is there: {:?}",
            host.shell
        );
        assert_eq!(fs::read(host.path("target")).unwrap(), b"abcd", "{:?}", host.shell);

        // A third one begins anew under the same name.
        let third = host.look();
        assert_ne!(third, id);
        assert_eq!(host.run("part", &id, b"w 1 2\ncd").0, 76);
        assert_eq!(host.run("drop", &id, b"").0, 0);
        assert!(host.part().exists(), "it is not this one's to remove");
        fs::remove_file(host.path("target")).unwrap();
        assert_eq!(host.run("finish", &id, b"").0, 76);
        assert!(!host.path("target").exists() && host.part().exists());
        assert_eq!(host.run("drop", &third, b"").0, 0);
        assert_eq!(host.run("finish", &third, b"").0, 76, "there is no part");
        assert!(!host.path("target").exists());
    }
}

#[test]
fn a_block_has_its_sum_where_openssl_is_broken_too() {
    const BROKEN: &str =
        "openssl_conf = a\n[a]\nproviders = b\n[b]\nc = c\n[c]\nactivate = 1\nmodule = /none\n";
    let sum = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603";
    for host in Host::each() {
        let broken = ("OPENSSL_CONF", host.path("openssl.cnf"));
        fs::write(&broken.1, BROKEN).unwrap();
        let id = host.look();
        for environment in [&[][..], &[broken]] {
            let (code, lines) = host.run_with(environment, "part", &id, b"w 0 2\nab");
            assert_eq!(code, 0, "{:?}", host.shell);
            assert!(lines.len() == 1 && lines[0].starts_with(&format!("0 {sum} ")), "{lines:?}");
        }
    }
}

#[test]
fn a_link_in_the_place_of_a_part_leads_nowhere() {
    for host in Host::each() {
        let victim = host.path("victim");
        fs::write(&victim, "good").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o604)).unwrap();
        let id = host.look();
        fs::remove_file(host.part()).unwrap();
        symlink(&victim, host.part()).unwrap();
        for (verb, input) in [("part", &b"w 0 2\nxx"[..]), ("finish", b"")] {
            assert_eq!(host.run(verb, &id, input).0, 76, "{verb} {:?}", host.shell);
        }
        // What `look` finds planted it replaces: a link, or another name of a file.
        host.look();
        assert!(fs::symlink_metadata(host.part()).unwrap().is_file());
        fs::remove_file(host.part()).unwrap();
        fs::hard_link(&victim, host.part()).unwrap();
        host.look();
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);

        fs::remove_file(host.part()).unwrap();
        symlink(&victim, host.part()).unwrap();
        let target = host.path("target").display().to_string();
        let sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_ne!(host.run("put", "", format!("o 1 777 {sum} {target}\nx").as_bytes()).0, 0);
        assert_eq!(fs::read(&victim).unwrap(), b"good", "{:?}", host.shell);
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o604);
        assert!(!host.path("target").exists());
        assert_eq!(host.run("put", "", format!("o 1 640 {sum} {target}\nx").as_bytes()).1, ["new"]);
        assert_eq!(fs::read(host.path("target")).unwrap(), b"x", "{:?}", host.shell);
    }
}

#[test]
fn root_follows_no_link_that_somebody_else_has_planted() {
    let is_root = rustix::process::geteuid().is_root();
    for host in Host::each() {
        let (victim, inner) = (host.path("victim"), host.path("inner"));
        fs::write(&victim, "good").unwrap();
        fs::create_dir(&inner).unwrap();
        symlink(&victim, host.path("target")).unwrap();
        symlink(&inner, host.path("directory")).unwrap();
        let directory = host.path("directory").display().to_string();
        let records = [format!("d 0 0 - {directory}\n"), format!("m 0 700 - {directory}\n")];
        let run = || {
            let tree = records.iter().map(|record| host.run("put", "", record.as_bytes()).0);
            [host.run("look", "", b"").0].into_iter().chain(tree).collect::<Vec<_>>()
        };
        assert_eq!(run(), [0, 0, 0], "one's own: {:?}", host.shell);
        if is_root {
            for link in ["target", "directory"] {
                std::os::unix::fs::lchown(host.path(link), Some(65534), Some(65534)).unwrap();
            }
            assert_eq!(run(), [1, 1, 1], "{:?}", host.shell);
            assert_eq!(fs::read(&victim).unwrap(), b"good");
        }
    }
}
