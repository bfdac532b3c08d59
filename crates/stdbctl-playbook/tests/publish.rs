//! The scripts that keep modules and copy data, under each of the shells that may be there.

#![expect(clippy::unwrap_used, reason = "the functions between the tests fail as the tests do")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];
const STORE: &str = include_str!("../src/sh/store.sh");
const SNAPSHOT: &str = include_str!("../src/sh/snapshot.sh");
const PUBLISH: &str = include_str!("../src/sh/publish.sh");
const ROWS: &str = include_str!("../src/sh/rows.sh");
/// `sha256sum` of `module`.
const MODULE: &str = "120970d812836f19888625587a4606a5ad23cef31c8684e601771552548fc6b9";

/// A host's directories.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(host.path("state/run")).unwrap();
        std::fs::create_dir_all(host.path("root/data/replicas")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a script with these functions; what it wrote. `$why` is shown if a step before `|| fail` fails.
    fn run(&self, shell: &[&str], functions: &str, script: &str, input: &[u8]) -> String {
        let front = format!(
            "set -u; umask 077; export LC_ALL=C; state={0}/state root={0}/root run={0}/state/run run_id=r \
             database=d database_le={1} owner_le={2} newline='\n'\n\
             rec() {{ printf '%s: %s\\n' \"$1\" \"$2\"; }}; tell() {{ rec \"$@\"; }}; ticking() {{ \"$@\"; }}\n\
             fail() {{ printf 'failed: %s\\n' \"$why\"; }}\n",
            self.0.path().display(),
            "0a".repeat(32),
            "0b".repeat(32)
        );
        let (program, arguments) = shell.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .args(["-c", &[&front, functions, "\n", script].concat()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A script that needs no more of it may have ended.
        drop(child.stdin.take().unwrap().write_all(input));
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell:?}: {script}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).map(|entries| entries.map(|entry| entry.unwrap().file_name()));
    let mut names: Vec<_> = entries.into_iter().flatten().map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_module_is_kept_whole_or_not_at_all() {
    for shell in SHELLS {
        let host = Host::new();
        let receive = format!(
            "receive \"$modules/.new.r\" 6 {MODULE} && store \"$modules/.new.r\" {MODULE} '{{}}' || fail; cat"
        );
        assert_eq!(
            host.run(shell, STORE, &receive, b"modulerest"),
            "received: 6\nrest",
            "what follows is left"
        );
        assert_eq!(
            names(&host.path("state/modules")),
            [format!("{MODULE}.schema.json"), format!("{MODULE}.wasm")]
        );
        assert_eq!(std::fs::read(host.path(&format!("state/modules/{MODULE}.wasm"))).unwrap(), b"module");
        assert_eq!(host.run(shell, STORE, "list_modules", b""), format!("{MODULE} 6\n"));

        let host = Host::new();
        for (sent, of) in [(b"modul".as_slice(), "6"), (b"nodule", "6")] {
            let said = host.run(shell, STORE, &receive.replace(" 6 ", &format!(" {of} ")), sent);
            assert!(said.contains("failed: the module did not arrive whole"), "{said}");
            assert_eq!(names(&host.path("state/modules")), Vec::<String>::new());
        }
    }
}

#[test]
fn a_large_module_is_seen_to_grow() {
    let host = Host::new();
    let bytes = vec![b'x'; 600_000];
    let script = "receive \"$modules/.new.r\" 600000 none || :";
    for shell in SHELLS {
        let said = host.run(shell, STORE, script, &bytes);
        assert_eq!(said, "received: 262144\nreceived: 524288\nreceived: 600000\n");
    }
}

#[test]
fn five_modules_a_database_stay_and_what_came_just_now() {
    let sha = |number: usize| format!("{number:064}");
    for shell in SHELLS {
        let host = Host::new();
        let mut script = "mkdir -p \"$modules\"\n".to_owned();
        for number in 1..=9 {
            let sha = sha(number);
            writeln!(
                script,
                "echo {number} >\"$modules/{sha}.wasm\"; echo s >\"$modules/{sha}.schema.json\""
            )
            .unwrap();
        }
        // 1 is another database's, 2 and 3 are six and seven modules ago, 9 is nobody's.
        writeln!(script, "remember e {} 0x1 bo || fail", sha(1)).unwrap();
        for number in [2, 3, 4, 5, 4, 6, 7, 8, 7] {
            writeln!(script, "remember d {} 0x{number} 'ada of web 1' || fail", sha(number)).unwrap();
        }
        script.push_str("prune_modules\n");
        assert_eq!(host.run(shell, STORE, &script, b""), "");
        assert_eq!(names(&host.path("state/modules")).len(), 18, "all of them came just now");
        let old = "touch -d '2 hours ago' \"$modules\"/*\nprune_modules\nforget 9\n";
        host.run(shell, STORE, old, b"");
        let left: Vec<_> =
            names(&host.path("state/modules")).into_iter().filter(|n| n.ends_with("wasm")).collect();
        assert_eq!(left, [1, 4, 5, 6, 7, 8].map(|number| format!("{}.wasm", sha(number))));
        let history = std::fs::read_to_string(host.path("state/databases/d/history")).unwrap();
        assert_eq!(history.lines().count(), 9);
        assert!(
            history.lines().last().unwrap().ends_with(&format!(" {} 0x7 ada of web 1", sha(7))),
            "{history}"
        );
    }
}

#[test]
fn a_module_in_use_is_not_forgotten() {
    let host = Host::new();
    for shell in SHELLS {
        let script = format!(
            "mkdir -p \"$modules\"; : >\"$modules/{MODULE}.wasm\"; : >\"$modules/zz.wasm\"\n\
             remember d {MODULE} 0x1 ada; forget {MODULE}; forget zz; ls \"$modules\""
        );
        assert_eq!(host.run(shell, STORE, &script, b""), format!("{MODULE}.wasm\n"));
    }
}

/// Two directories of the same database, and one of another that has rows about it; the server has the second and the
/// third open.
const REPLICAS: &str = r#"
bytes() { number=0; while [ "$number" -lt 32 ]; do printf "$1"; number=$((number + 1)); done; }
made() { printf 'header\n'; bytes "$1"; bytes '\013'; }
systemctl() { case $1 in show) echo $$ ;; *) echo "$1" >>"$run/turns" ;; esac; }
request() { status=200; }
for at in 1 20 30; do
  mkdir -p "$replicas/$at/clog" "$replicas/$at/snapshots/1"
  made '\012' >"$replicas/$at/clog/0.stdb.log"
  echo "rows of $at" >"$replicas/$at/snapshots/1/rows"
done
{ made '\014'; made '\012'; } >"$replicas/30/clog/0.stdb.log"
exec 7<"$replicas/20/clog/0.stdb.log" 8<"$replicas/30/clog/0.stdb.log"
"#;

#[test]
fn the_live_data_is_found_copied_and_put_back() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "find_replica && echo \"${replica##*/}\"\n",
            "take_snapshot 'program 0x1' && echo \"${#snapshot}\" || fail\n",
            "echo changed >\"$replica/snapshots/1/rows\"\n",
            "restore_snapshot \"$snapshot\" || fail\n",
            "cat \"$replica/snapshots/1/rows\" \"$snapshots/$snapshot/replaced/snapshots/1/rows\" \"$run/turns\"\n",
            "ls -A \"$snapshots/$snapshot\"\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        let expected = "20\n16\nrows of 20\nchanged\nstop\nstart\nabout\nreplaced\nreplica\n";
        assert_eq!(said, expected, "{shell:?}");
    }
}

#[test]
fn what_the_server_does_not_start_with_goes_back() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "find_replica && take_snapshot about && echo changed >\"$replica/snapshots/1/rows\"\n",
            "systemctl() { [ \"$1\" != start ] || [ -e \"$run/tried\" ] || { : >\"$run/tried\"; echo no >&2; return 1; }; }\n",
            "kept=$snapshots/$snapshot; exchange \"$kept/replica\" \"$kept/replaced\" || fail\n",
            "cat \"$replica/snapshots/1/rows\" \"$kept/replica/snapshots/1/rows\"\n",
            "exchange \"$kept/gone\" \"$kept/replaced\" || fail\n",
            "cat \"$replica/snapshots/1/rows\"; ls \"$kept\"\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        let (first, second) = said.split_once("rows of 20\n").unwrap();
        assert_eq!(first, "failed: cannot start the server: no\nchanged\n", "{shell:?}");
        assert!(second.starts_with("failed: cannot move the data: "), "{second}");
        assert!(second.ends_with("changed\nabout\nreplica\n"), "{second}");
    }
}

#[test]
fn without_room_or_a_directory_nothing_is_copied() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "df() { echo head; echo 'x 1 1 1000 1% /'; }\n",
            "take_snapshot about || fail\n",
            "exec 7<&- 8<&-; known=\n",
            "take_snapshot about || fail\n",
            "ls -A \"$root\"\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        assert!(said.contains("failed: a copy of the data takes 1 MiB, and below"), "{said}");
        assert!(said.contains("failed: cannot tell which directory below"), "{said}");
        assert!(said.ends_with("\ndata\n"), "{said}");
    }
}

#[test]
fn what_a_run_left_half_copied_takes_no_room() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "mkdir -p \"$snapshots/.new/replica\"\n",
            "df() { echo head; free=1000; [ -e \"$snapshots/.new\" ] || free=100000000; echo \"x 1 1 $free 1% /\"; }\n",
            "take_snapshot about && echo taken || fail\n",
        ];
        assert_eq!(host.run(shell, SNAPSHOT, &script.concat(), b""), "taken\n", "{shell:?}");
    }
}

#[test]
fn data_that_the_server_does_not_open_is_where_it_was() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "find_replica && exec 7<&- && find_replica && echo \"${replica##*/}\" || fail\n",
            "cleared=yes known=; find_replica || fail\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        assert!(said.starts_with("20\nfailed: cannot tell which"), "{shell:?}: {said}");
    }
}

#[test]
fn nobody_leads_root_astray() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "id() { echo 4711; }\n",
            "take_snapshot about || fail; restore_snapshot x || fail\n",
            "id() { command id -u; }\n",
            "mkdir \"$run/astray\"; ln -s \"$run/astray\" \"$root/snapshots\"; chown -h 4711 \"$root/snapshots\"\n",
            "take_snapshot about || fail; ls \"$run/astray\"\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        assert_eq!(said.lines().count(), 3, "{shell:?}: {said}");
        assert!(said.lines().all(|line| line.contains("is not root's own")), "{said}");
    }
}

#[test]
fn data_that_was_being_moved_when_the_host_died_is_found() {
    for shell in SHELLS {
        let host = Host::new();
        let script = [
            REPLICAS,
            "find_replica && take_snapshot about; kept=$snapshots/$snapshot; see_moving; cp -a \"$kept/replica\" \"$kept/back\"\n",
            "moved=; mv() { [ -z \"$moved\" ] && moved=yes && command mv \"$@\" || exit; }\n",
            "(exchange \"$kept/back\" \"$kept/replaced\"); unset -f mv; see_moving\n",
            "command mv -T \"$kept/replaced\" \"$replica\"; see_moving\n",
            "exchange \"$kept/back\" \"$kept/replaced\" || fail; ls \"$snapshots\" | grep -c moving\n",
        ];
        let said = host.run(shell, SNAPSHOT, &script.concat(), b"");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 4 && lines[0].starts_with("moving: ") && lines[0].ends_with("/20"), "{said}");
        assert!(lines[1].ends_with("/back") && lines[2].ends_with("/replaced") && lines[3] == "0", "{said}");
    }
}

#[test]
fn a_snapshot_goes_only_if_the_old_module_is_known_to_be_live() {
    for shell in SHELLS {
        for (answer, outcome, left) in [
            ("status=0 body=gone", "rejected", "S\n"),
            (r#"status=200 body='[{"rows":[["0x1"]]}]'"#, "rejected", ""),
            (r#"status=200 body='[{"rows":[["0x3"]]}]'"#, "stale", "S\n"),
        ] {
            let host = Host::new();
            let script = format!(
                "request_as() {{ {answer}; }}\nput=put_module owner=o payload= began=0 live_before=0x1 program=0x2\n\
                 snapshot=S why='0 gone'; mkdir -p \"$snapshots/S\"\n\
                 rejected >/dev/null; echo \"$outcome\"; ls \"$snapshots\"\n"
            );
            let said = host.run(shell, &[STORE, SNAPSHOT, PUBLISH].concat(), &script, b"");
            assert_eq!(said, format!("{outcome}\n{left}"), "{shell:?}: {answer}");
        }
    }
}

#[test]
fn two_snapshots_stay() {
    for shell in SHELLS {
        let host = Host::new();
        let script = "for day in 1 3 2 4; do mkdir -p \"$snapshots/2026010${day}T000000Z/replica\"; done; : >\"$snapshots/moving\"; prune_snapshots";
        host.run(shell, SNAPSHOT, script, b"");
        assert_eq!(names(&host.path("root/snapshots/d")), ["20260103T000000Z", "20260104T000000Z", "moving"]);
    }
}

#[test]
fn rows_are_compared_without_their_blanks() {
    let host = Host::new();
    let answer = r#"[{"schema":{"elements":[{"name":{"some":"rows"}}]},"rows": [[1, "a \"b\" ] [", null],
 [2,"c",{"x": [3]}]], "total_duration_micros":1}]"#;
    for shell in SHELLS {
        let said = host.run(shell, ROWS, "rows_of", answer.as_bytes());
        assert_eq!(said, "[[1,\"a \\\"b\\\" ] [\",null],[2,\"c\",{\"x\":[3]}]]\n");
        assert_eq!(host.run(shell, ROWS, "rows_of", b"[{\"rows\":[]}]"), "[]\n");
        assert_eq!(host.run(shell, ROWS, "rows_of", b"no such table"), "");
    }
}

#[test]
fn tables_that_are_not_there_are_not_counted() {
    let host = Host::new();
    let script = r#"
owner=o tables='person score gone'
request_as() {
  status=200
  case $4 in
    *person*) body='[{"schema":{},"rows":[[12]],"total_duration_micros":1}]' ;;
    *score*) body='[{"rows":[[0]]}]' ;;
    *) status=400 body='no such table' ;;
  esac
}
count_rows"#;
    for shell in SHELLS {
        assert_eq!(host.run(shell, ROWS, script, b""), "person 12\nscore 0\n");
    }
}
