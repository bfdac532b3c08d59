//! Databases of a 2.x server, as far as one has been recorded: locks, and its own words for everything else. The same
//! program and the same scripts as on the lab's hosts, with this machine as the host.

use serde_json::json;
use stdbctl_tests::enclave::Enclave;
use stdbctl_tests::operator::Run;
use stdbctl_tests::replay::{Module, ReplayServer};

/// A server on which `game` runs the demo module, and a host whose server it is.
struct Site {
    server: ReplayServer,
    enclave: Enclave,
}

impl Site {
    fn new() -> Self {
        let site = Self { server: ReplayServer::start(), enclave: Enclave::new() };
        site.run(&["publish", &Module::V1.path().display().to_string(), "--yes"]).exited(0);
        site
    }

    fn run(&self, words: &[&str]) -> Run {
        let root = format!("spacetimedb.root_dir={}", self.server.root().path().display());
        let listen = format!("spacetimedb.listen={}", self.server.address());
        self.enclave
            .run(&[words, &["--host", "local", "--name", "game", "--set", &root, "--set", &listen]].concat())
    }

    fn db(&self, words: &[&str]) -> Run {
        self.run(&[&["db"], words].concat())
    }

    fn is_locked(&self) -> bool {
        self.server.world(|world| world.database("game").is_some_and(|game| game.locked))
    }

    /// That the server was asked nothing that no server was recorded with.
    fn close(self) {
        let unexpected = self.server.unexpected();
        assert!(unexpected.is_empty(), "never recorded: {unexpected:#?}");
    }
}

#[test]
fn a_locked_database_is_deleted_only_once_it_is_unlocked() {
    let site = Site::new();
    site.db(&["unlock"]).exited(0);
    assert!(!site.is_locked());
    site.db(&["lock"]).exited(0);
    assert!(site.is_locked());
    let refused = site.db(&["delete", "--yes"]);
    refused.failed(1, &["Database is locked and cannot be deleted"]);
    assert!(refused.stderr.contains("stdbctl db unlock"), "{refused}");
    site.db(&["unlock"]).exited(0);
    site.db(&["delete", "--yes"]).exited(0);
    site.db(&["describe"]).failed(1, &["no database game"]);
    site.close();
}

#[test]
fn a_database_of_2_x_is_asked_like_any_other() {
    let site = Site::new();
    let rows = site.db(&["sql", "select * from person", "--output", "json"]);
    rows.exited(0);
    assert_eq!(rows.document()[0]["id"], 1, "{rows}");
    let described = site.db(&["describe", "--output", "json"]);
    described.exited(0);
    let tables = described.document()["tables"].clone();
    assert_eq!(tables[0]["name"], json!("person"), "{described}");
    site.db(&["call", "add", ""]).failed(1, &["add failed", "name must not be empty"]);
    site.close();
}
