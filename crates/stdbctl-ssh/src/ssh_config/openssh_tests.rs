use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use super::*;

/// A directory with a program `ssh` that is this script. `DIR` in it is the directory.
fn stand_in(script: &str) -> (tempfile::TempDir, OpenSsh) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ssh");
    let script = format!("#!/bin/sh\n{script}\n").replace("DIR", &directory.path().display().to_string());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let openssh = OpenSsh::new(program.to_str().unwrap());
    (directory, openssh)
}

async fn answer(openssh: &OpenSsh) -> Result<Option<HostConfig>, ConfigError> {
    openssh.ask(&"web1".parse().unwrap(), None).await
}

fn is_there(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let state =
        std::fs::read_to_string(PathBuf::from("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    !state.is_empty() && !state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[tokio::test]
async fn dropbear_is_not_asked_for_it_would_log_in() {
    let (directory, dropbear) = stand_in(
        "case $1 in -V) echo 'Dropbear v2025.88' >&2 ;; *) echo \"WARNING: Ignoring unknown option $1\" >&2; touch DIR/logged-in ;; esac",
    );
    assert_eq!(answer(&dropbear).await.unwrap(), None);
    assert!(!directory.path().join("logged-in").exists());
}

#[tokio::test]
async fn an_ssh_that_knows_no_such_option_or_is_not_there_is_not_asked() {
    let (_directory, old) = stand_in(
        "case $1 in -V) echo 'OpenSSH_6.6.1p1' >&2 ;; *) echo 'unknown option -- G' >&2; exit 255 ;; esac",
    );
    assert_eq!(answer(&old).await.unwrap(), None);
    assert_eq!(answer(&OpenSsh::new("/no/such/ssh")).await.unwrap(), None);
}

#[tokio::test]
async fn its_usual_host_keys_are_kept_beside_what_is_configured() {
    let (_directory, openssh) = stand_in(
        "case \"$*\" in -V) echo OpenSSH_8.4p1 >&2 ;; *-F*) echo 'hostkeyalgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-512' ;; *) echo 'hostkeyalgorithms ecdsa-sha2-nistp256,ssh-ed25519' ;; esac",
    );
    let config = answer(&openssh).await.unwrap().unwrap();
    assert!(!config.algorithms.host_keys().unwrap().is_ordered);
}

#[tokio::test]
async fn an_openssh_that_refuses_its_configuration_is_no_reason_to_read_it_ourselves() {
    let (_directory, strict) = stand_in(
        "case \"$*\" in -V) echo OpenSSH_9.9p1 >&2 ;; *-F*) echo 'hostname stdbctl' ;; *) echo 'line 3: bad' >&2; exit 255 ;; esac",
    );
    let error = answer(&strict).await.unwrap_err();
    assert!(matches!(&error, ConfigError::Refused { words, .. } if words == "line 3: bad"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_no_fault_of_its_lines() {
    let (directory, openssh) =
        stand_in("case \"$*\" in -V) echo OpenSSH_9.9p1 >&2 ;; *) echo 'hostname web1' ;; esac");
    let target = "web1".parse().unwrap();
    let error = openssh.ask(&target, Some(&directory.path().join("config"))).await.unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
    assert!(openssh.ask(&target, Some(Path::new(NO_FILE))).await.unwrap().is_some());
}

#[tokio::test]
async fn what_it_has_started_does_not_outlive_who_gives_up() {
    let (directory, slow) = stand_in(
        "case \"$*\" in -V) echo OpenSSH_9.9p1 >&2 ;; *-F*) echo 'hostname stdbctl' ;; *) sh -c 'echo $$ > DIR/pid.new; mv DIR/pid.new DIR/pid; exec sleep 1000' ;; esac",
    );
    let pid_file = directory.path().join("pid");
    {
        let asking = answer(&slow);
        let started = async {
            while !pid_file.exists() {
                tokio::task::yield_now().await;
            }
            assert!(is_there(&pid_file));
        };
        tokio::select! {
            _ = asking => panic!("it does not answer"),
            () = started => {}
        }
    }
    let end = Instant::now() + PATIENCE;
    while is_there(&pid_file) {
        assert!(Instant::now() < end, "it is still there");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_it_has_left_running_stays() {
    let (directory, openssh) = stand_in(
        "case \"$*\" in -V) echo OpenSSH_9.9p1 >&2 ;; *) sleep 1000 >/dev/null 2>&1 & echo $! > DIR/pid; echo 'hostname web1' ;; esac",
    );
    assert!(answer(&openssh).await.unwrap().is_some());
    let pid_file = directory.path().join("pid");
    assert!(is_there(&pid_file));
    let pid = std::fs::read_to_string(pid_file).unwrap();
    assert!(std::process::Command::new("kill").arg(pid.trim()).status().unwrap().success());
}
