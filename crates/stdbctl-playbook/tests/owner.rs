//! Tokens made by the script that runs on hosts, under each of the shells that may be there.

#![expect(clippy::unwrap_used, reason = "the functions between the tests fail as the tests do")]

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use stdbctl_engine::dialogue::{Record, quote};
use stdbctl_playbook::owner::{self, Claims, Identity, KeyFile, Running, Seen};
use stdbctl_playbook::server;
use stdbctl_playbook::settings::Settings;

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];
/// Answers as the server would that runs with `$root/running.pub`; it has never heard of any other token than `fits`.
const CURL: &str = r#"
curl() {
  for url; do :; done
  case $url in
    */public-key) cat "$root/running.pub"; echo; echo 200 ;;
    */verify) cat <&3 >"$root/header"; echo; cat "$root/verify" ;;
    */databases) echo '{"identities":["c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f"]}'; echo 200 ;;
    */names) echo '{"names":["names","game"]}'; echo 200 ;;
    *) echo; echo 404 ;;
  esac
}
"#;

/// A root directory with a pair of keys, as a server makes it.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(root.path("config")).unwrap();
        root.make_keys();
        std::fs::write(root.path("verify"), "204").unwrap();
        root
    }

    fn make_keys(&self) {
        let script = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out config/id_ecdsa 2>&1 &&
             openssl pkey -in config/id_ecdsa -pubout -out config/id_ecdsa.pub && cp config/id_ecdsa.pub running.pub";
        let made = Command::new("sh").args(["-c", script]).current_dir(self.0.path()).status().unwrap();
        assert!(made.success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn token(&self, identity: &Identity) -> PathBuf {
        self.path(&format!("config/stdbctl/{identity}.jwt"))
    }

    /// Runs a script with the functions of owner.sh; its records, and what it said besides.
    fn run(&self, shell: &[&str], script: &str) -> (Vec<Record>, String) {
        let mut settings = Settings::default();
        settings.spacetimedb.root_dir = self.0.path().display().to_string();
        // One line a record: no test has one in it.
        let front = "set -u; umask 022; rec() { printf '%s' \"$2\" | sed \"s/^/@$1 /\"; echo; }\n";
        let all = [front, &server::script_front(&settings), &owner::script_part(), CURL, script].concat();
        let (program, arguments) = shell.split_first().unwrap();
        let output = Command::new(program).args(arguments).arg("-c").arg(all).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, "", "{shell:?}: {script}");
        let (mut records, mut said) = (Vec::<Record>::new(), String::new());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            match line.strip_prefix('@').and_then(|line| line.split_once(' ')) {
                Some((kind, text)) => add(&mut records, kind, text),
                None => said.push_str(line),
            }
        }
        (records, said)
    }

    /// Whether this key has signed the token.
    fn has_signed(&self, token: &str) -> bool {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let pem = std::fs::read_to_string(self.path("running.pub")).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        let point = der.last_chunk::<65>().unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
    }
}

fn add(records: &mut Vec<Record>, kind: &str, text: &str) {
    match records.last_mut().filter(|last| last.kind == kind) {
        Some(last) => last.data.extend(format!("\n{text}").into_bytes()),
        None => records.push(Record { kind: kind.to_owned(), data: text.as_bytes().to_vec() }),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn two_hundred_tokens_are_all_the_keys() {
    let root = Root::new();
    for (shell, count) in SHELLS.into_iter().zip([100, 50, 50]) {
        let mut script = String::new();
        let all: Vec<_> = (0..count).map(|number| format!("{number} \"\\ \u{e4}'{}", shell[0])).collect();
        for subject in &all {
            let claims = Claims {
                identity: Identity::of("i", subject),
                issuer: "i".to_owned(),
                subject: subject.clone(),
            };
            writeln!(script, "mint {} || echo \"$why\"", claims.arguments()).unwrap();
        }
        assert_eq!(root.run(shell, &script).1, "");
        for subject in &all {
            let file = root.token(&Identity::of("i", subject));
            let token = std::fs::read_to_string(&file).unwrap();
            assert!(root.has_signed(&token), "{token}");
            assert_eq!(Claims::read(&token).map(|claims| claims.subject).as_ref(), Some(subject));
            assert_eq!(mode(&file), 0o600);
            assert_eq!(file.metadata().unwrap().uid(), std::fs::metadata(root.path("config")).unwrap().uid());
        }
        assert_eq!(mode(&root.path("config/stdbctl")), 0o700);
    }
    let left: Vec<_> = std::fs::read_dir(root.path("config/stdbctl")).unwrap().collect();
    assert_eq!(left.len(), 200, "nothing but the tokens is left");
}

#[test]
fn a_token_belongs_to_whom_the_configuration_belongs() {
    // Only root can give a file away.
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let root = Root::new();
    std::os::unix::fs::chown(root.0.path(), Some(65534), Some(65534)).unwrap();
    std::os::unix::fs::chown(root.path("config"), Some(65534), Some(65534)).unwrap();
    let script = format!("mint {} || echo \"$why\"", Claims::owner().arguments());
    assert_eq!(root.run(SHELLS[0], &script).1, "");
    let file = root.token(&owner::owner()).metadata().unwrap();
    let directory = root.path("config/stdbctl").metadata().unwrap();
    assert_eq!([file.uid(), file.gid(), directory.uid(), directory.gid()], [65534; 4]);

    // A link that the server's user laid leads root nowhere.
    std::fs::remove_dir_all(root.path("config/stdbctl")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.path("config/stdbctl")).unwrap();
    assert!(root.run(SHELLS[0], &script).1.starts_with("cannot write below "));
    assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
}

/// `sign` with a signature of openssl's that we choose.
fn signature_of(shell: &[&str], der: &[u8]) -> Option<Vec<u8>> {
    let bytes: Vec<_> = der.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let script = format!(
        "openssl() {{ cat >/dev/null; printf {}; }}\nprintf x | sign || echo none",
        quote(&bytes.concat())
    );
    let said = Root(tempfile::tempdir().unwrap()).run(shell, &script).1;
    (said != "none").then(|| URL_SAFE_NO_PAD.decode(said).unwrap())
}

fn der(numbers: [&[u8]; 2]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let parts: Vec<u8> =
        numbers.iter().flat_map(|number| [&[2, length(number)][..], number].concat()).collect();
    [&[0x30, length(&parts)][..], &parts].concat()
}

#[test]
fn numbers_of_any_length_have_32_bytes_in_a_token() {
    let full: Vec<u8> = (1..=32).collect();
    let negative: Vec<u8> = [&[0][..], &[0xfe; 32]].concat();
    let short: Vec<u8> = (1..=30).collect();
    let table: [(&[u8], &[u8]); 5] =
        [(&full, &full), (&negative, &short), (&short, &negative), (&[1], &full), (&full, &[0, 0x80])];
    for shell in SHELLS {
        for (r, s) in table {
            let padded = |number: &[u8]| {
                let number = if number.len() == 33 { &number[1..] } else { number };
                [&vec![0; 32 - number.len()][..], number].concat()
            };
            let expected = [padded(r), padded(s)].concat();
            assert_eq!(signature_of(shell, &der([r, s])), Some(expected), "{shell:?} {r:?} {s:?}");
        }
        let long = [1; 48];
        for rubbish in [&b""[..], b"unable to load key", &der([&long, &long]), &der([&full, &full])[..40]] {
            assert_eq!(signature_of(shell, rubbish), None, "{shell:?} {rubbish:?}");
        }
    }
}

#[test]
fn what_is_there_is_seen() {
    for shell in SHELLS {
        let root = Root::new();
        let see = |script: &str| Seen::read(&root.run(shell, script).0);
        let all = see(&format!("mint {}\nsee_owner", Claims::owner().arguments()));
        let keys = all.keys;
        assert_eq!(
            (keys.private, keys.public, keys.running),
            (KeyFile::There, KeyFile::There, Running::Same)
        );
        assert!(keys.is_pair);
        let token = all.token(&owner::owner()).unwrap();
        assert!(token.fits() && token.is_private && token.claims == Some(Claims::owner()), "{token:?}");
        let header = std::fs::read_to_string(root.path("header")).unwrap();
        let jwt = std::fs::read_to_string(root.token(&owner::owner())).unwrap();
        assert_eq!(header.trim(), format!("Authorization: Bearer {jwt}"), "and nothing of the sort is said");

        std::fs::remove_file(root.path("config/id_ecdsa.pub")).unwrap();
        assert_eq!(
            (see("see_owner").keys.public, see("see_owner").keys.running),
            (KeyFile::Missing, Running::Same)
        );
        std::fs::write(root.path("config/id_ecdsa"), "rubbish").unwrap();
        assert_eq!(see("see_owner").keys.private, KeyFile::Unreadable);
        let running = std::fs::read(root.path("running.pub")).unwrap();
        root.make_keys();
        std::fs::write(root.path("config/id_ecdsa.pub"), &running).unwrap();
        assert!(!see("see_owner").keys.is_pair);
        std::fs::write(root.path("running.pub"), &running).unwrap();
        assert_eq!(see("see_owner").keys.running, Running::Other);
    }
}

#[test]
fn a_token_that_fits_stays_and_one_that_does_not_is_made_anew() {
    for shell in SHELLS {
        let root = Root::new();
        let ensure = format!("ensure_owner {} || echo \"$why\"", Claims::owner().arguments());
        let file = root.token(&owner::owner());
        assert_eq!(root.run(shell, &ensure).1, "");
        let first = std::fs::read_to_string(&file).unwrap();
        root.run(shell, &ensure);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first);

        std::fs::write(root.path("verify"), "401").unwrap();
        let said = root.run(shell, &ensure).1;
        assert!(said.starts_with("the server does not run with "), "{said}");
        assert_ne!(std::fs::read_to_string(&file).unwrap(), first);
        std::fs::remove_file(root.path("config/id_ecdsa")).unwrap();
        let said = root.run(shell, &ensure).1;
        assert!(said.starts_with("the server's signing key ") && said.ends_with(" is missing"), "{said}");
    }
}

#[test]
fn what_the_spacetime_command_left_is_found_and_adopted() {
    for shell in SHELLS {
        let root = Root::new();
        let claims = Claims {
            identity: Identity::of("localhost", "x"),
            issuer: "localhost".into(),
            subject: "x".into(),
        };
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"x","iss":"localhost"}"#);
        let token = format!("e30.{payload}.c2ln");
        let cli_toml = root.path("config/cli.toml");
        std::fs::write(&cli_toml, format!("default_server = \"local\"\nspacetimedb_token = \"{token}\"\n"))
            .unwrap();
        let (records, _) = root.run(shell, "see_foreign_tokens");
        let ours = |found: &&owner::Foreign| Path::new(&found.path) == cli_toml;
        assert_eq!(owner::foreign(&records).iter().find(ours).unwrap().claims, claims);
        assert!(records.iter().all(|record| !record.text().contains("c2ln")), "a signature is never told");

        let adopt = format!("adopt {} {}", quote(&cli_toml.display().to_string()), claims.identity);
        assert_eq!(root.run(shell, &adopt).1, "");
        assert_eq!(std::fs::read_to_string(root.token(&claims.identity)).unwrap(), token);
        std::fs::remove_file(&cli_toml).unwrap();
        assert!(root.run(shell, &format!("{adopt} || echo \"$why\"")).1.starts_with("there is no token in "));
    }
}

#[test]
fn databases_are_listed_with_their_names() {
    for shell in SHELLS {
        let (records, _) = Root::new().run(shell, &format!("see_databases {}", owner::owner()));
        let owned = owner::owned(&records);
        assert_eq!((owned[0].status, owned[0].databases[0].names.join(" ").as_str()), (200, "names game"));
    }
}
