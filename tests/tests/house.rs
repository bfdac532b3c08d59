//! Rules of the house that no compiler keeps: read from `cargo metadata` and the sources, no host needed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stdbctl_tests::lab::checkout;

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn version(text: &str) -> (u64, u64) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_needs_a_newer_rust_than_we_state() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let stated =
        |name: &str| packages.iter().find(|package| package["name"] == name).unwrap()["rust_version"].clone();
    let ours = stated("stdbctl");
    let ours = version(ours.as_str().expect("stdbctl states a rust-version"));
    let newer: Vec<_> = packages
        .iter()
        .filter(|package| package["rust_version"].as_str().is_some_and(|theirs| version(theirs) > ours))
        .map(|package| {
            format!("{} {} needs {}", package["name"], package["version"], package["rust_version"])
        })
        .collect();
    assert!(newer.is_empty(), "newer than {ours:?}: {newer:#?}");
}

/// Which members of the workspace name a crate among their dependencies, those of their tests aside.
fn members_naming(metadata: &Value, krate: &str) -> Vec<String> {
    let local = |package: &&Value| package["source"].is_null();
    let names = |package: &&Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().any(|dependency| dependency["name"] == krate && dependency["kind"].is_null())
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .filter(local)
        .filter(names)
        .map(|package| package["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_library_is_named_by_its_one_crate() {
    let metadata = metadata();
    for (library, owner) in [
        ("russh", "stdbctl-ssh"),
        ("serde-saphyr", "stdbctl-playbook"),
        ("minijinja", "stdbctl-playbook"),
        ("clap", "stdbctl"),
        ("indicatif", "stdbctl"),
        ("dialoguer", "stdbctl"),
    ] {
        assert_eq!(members_naming(&metadata, library), [owner], "{library}");
    }
    let engine = members_naming(&metadata, "stdbctl-ssh");
    assert!(!engine.contains(&"stdbctl-engine".to_owned()), "the engine names no SSH");
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn one_file_names_the_yaml_library() {
    let mut files = Vec::new();
    rust_files(&checkout().join("crates/stdbctl-playbook/src"), &mut files);
    let naming: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().any(|line| line.contains("serde_saphyr") && !line.trim_start().starts_with("//"))
        })
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(naming, ["yaml.rs"]);
}
