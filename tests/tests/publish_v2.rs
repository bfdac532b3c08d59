//! Publishing to a 2.x server, as far as one has been recorded: its own plan, tokens that bind it, owners and locks.
//! The same program and the same scripts as on the lab's hosts, with this machine as the host.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::enclave::Enclave;
use stdbctl_tests::operator::Run;
use stdbctl_tests::replay::{Asked, Identity, Module, ReplayServer, World};

/// A server, and a host whose server it is.
struct Site {
    server: ReplayServer,
    enclave: Enclave,
}

impl Site {
    fn new() -> Self {
        Self { server: ReplayServer::start(), enclave: Enclave::new() }
    }

    /// One on which `game` runs this module, published by stdbctl.
    fn with_game(module: Module) -> Self {
        let site = Self::new();
        site.publish(module, &[]).exited(0);
        site
    }

    /// Runs a verb on the host.
    fn run(&self, verb: &[&str], more: &[&str]) -> Run {
        let root = format!("spacetimedb.root_dir={}", self.server.root().path().display());
        let listen = format!("spacetimedb.listen={}", self.server.address());
        let site = ["--host", "local", "--name", "game", "--set", &root, "--set", &listen];
        self.enclave.run(&[verb, &site, more].concat())
    }

    fn publish(&self, module: Module, more: &[&str]) -> Run {
        self.run(&["publish", &module.path().display().to_string(), "--yes"], more)
    }

    /// What the server was asked with this method and a path that holds `path`.
    fn asked(&self, method: &str, path: &str) -> Vec<Asked> {
        let mut asked = self.server.requests();
        asked.retain(|asked| asked.method == method && asked.target.contains(path));
        asked
    }

    /// The modules that were sent to be published, and how.
    fn puts(&self) -> Vec<Asked> {
        self.asked("PUT", "/v1/database/")
    }

    /// What runs in `game`.
    fn live(&self) -> Option<Module> {
        self.server.world(|world| world.database("game").map(|game| game.module))
    }

    fn is_locked(&self) -> bool {
        self.server.world(|world| world.database("game").is_some_and(|game| game.locked))
    }

    /// How a preview of `next` over `module` is called.
    fn token(&self, module: Module, next: Module) -> String {
        module.token_to(next, self.server.world(|world| world.identity("game").unwrap()))
    }

    /// That the server was asked nothing that no server was recorded with.
    fn close(self) {
        let unexpected = self.server.unexpected();
        assert!(unexpected.is_empty(), "never recorded: {unexpected:#?}");
    }
}

fn owner() -> Identity {
    Identity::of("stdbctl", "owner")
}

#[test]
fn a_new_database_is_made_once_and_locked() {
    let site = Site::new();
    let created = site.publish(Module::V1, &[]);
    created.exited(0);
    assert!(created.stdout.starts_with("game on local: created"), "{created}");
    assert_eq!((site.live(), site.is_locked()), (Some(Module::V1), true));
    let [put] = site.puts().try_into().unwrap();
    assert_eq!(
        (put.identity, put.module, put.answer.as_str()),
        (Some(owner()), Some(Module::V1), "11-publish-create")
    );
    assert_eq!(site.asked("POST", "/lock").len(), 1);
    let token = site.server.root().token_file(owner());
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(token.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    let text = std::fs::read_to_string(&token).unwrap();
    let mut grep = Command::new("grep");
    grep.args(["-rlF", text.trim()]).args([site.enclave.path(), site.enclave.operator().home()]);
    let found = finish(&mut grep, Duration::from_secs(20));
    assert_eq!((found.status.code(), found.stdout.as_str()), (Some(1), ""), "the token is nowhere else");

    let again = site.publish(Module::V1, &[]);
    again.exited(0);
    assert!(again.stdout.contains("already live"), "{again}");
    let events = site.publish(Module::V1, &["--output", "json"]);
    assert_eq!((events.code, events.ok(), events.tasks("changed")), (Some(0), true, Vec::new()), "{events}");
    assert_eq!((site.puts().len(), site.asked("POST", "/lock").len()), (1, 1), "nothing is sent twice");
    site.close();
}

#[test]
fn what_is_compatible_needs_no_more_than_yes() {
    let site = Site::with_game(Module::V1);
    let plan = site
        .run(&["publish", &Module::V2.path().display().to_string(), "--plan", "--detailed-exitcode"], &[]);
    plan.exited(10);
    assert!(plan.stdout.contains("score"), "{plan}");
    assert_eq!(site.puts().len(), 1, "a preview publishes nothing");
    let published = site.publish(Module::V2, &[]);
    published.exited(0);
    assert!(published.stdout.starts_with("game on local: published"), "{published}");
    assert_eq!(site.live(), Some(Module::V2));
    bound(&site, Module::V1, Module::V2);
    site.close();
}

/// That the last module was sent with the token of the preview of `next` over `before`, by the owner, and taken.
fn bound(site: &Site, before: Module, next: Module) {
    let put = site.puts().pop().unwrap();
    let expected = ["host_type=Wasm", &format!("token={}", site.token(before, next))];
    assert!(expected.iter().all(|part| put.target.contains(part)), "{put:?} without {expected:?}");
    assert_eq!((put.identity, put.module), (Some(owner()), Some(next)));
    assert_eq!(put.answer, "40-publish-update-with-token");
}

#[test]
fn a_removed_reducer_breaks_clients_though_the_server_says_nothing() {
    let site = Site::with_game(Module::V1);
    site.publish(Module::V4, &[]).failed(1, &["clients", "--break-clients"]);
    assert_eq!((site.live(), site.puts().len()), (Some(Module::V1), 1));
    site.publish(Module::V4, &["--break-clients"]).exited(0);
    assert_eq!(site.live(), Some(Module::V4));
    bound(&site, Module::V1, Module::V4);
    site.close();
}

#[test]
fn a_removed_table_is_sent_with_the_policy_and_the_token_of_its_preview() {
    let site = Site::with_game(Module::V2);
    site.publish(Module::V1, &[]).failed(1, &["--break-clients"]);
    assert_eq!((site.live(), site.puts().len()), (Some(Module::V2), 1));
    site.publish(Module::V1, &["--break-clients"]).exited(0);
    assert_eq!(site.live(), Some(Module::V1));
    bound(&site, Module::V2, Module::V1);
    assert!(site.puts().pop().unwrap().target.contains("policy=BreakClients"));
    site.close();
}

#[test]
fn a_manual_migration_is_refused_with_the_servers_reason() {
    let site = Site::with_game(Module::V1);
    site.publish(Module::V3, &["--break-clients"])
        .failed(1, &["manual migration", "column age", "default value"]);
    assert_eq!((site.live(), site.puts().len()), (Some(Module::V1), 1));
    site.close();
}

#[test]
fn what_changed_since_the_preview_is_not_published_over() {
    for (before, next, meanwhile, consent) in [
        (Module::V1, Module::V2, Module::V4, [].as_slice()),
        (Module::V2, Module::V1, Module::V4, &["--break-clients"]),
    ] {
        let site = Site::with_game(before);
        site.server.after("POST", "/pre_publish", move |world| world.publish("game", owner(), meanwhile));
        site.publish(next, consent).failed(8, &["has changed since the plan"]);
        assert_eq!(site.live(), Some(meanwhile), "what came in between stays");
        site.close();
    }
}

#[test]
fn what_changes_at_the_last_moment_is_noticed_by_the_server() {
    let site = Site::with_game(Module::V2);
    site.server.before("PUT", "/v1/database/", |world| world.publish("game", owner(), Module::V4));
    site.publish(Module::V1, &["--break-clients"]).failed(8, &["has changed since the plan"]);
    assert_eq!(site.puts().pop().unwrap().answer, "41-publish-update-stale-token");
    assert_eq!(site.live(), Some(Module::V4));
    site.close();

    // Also where nothing breaks.
    let site = Site::with_game(Module::V1);
    site.server.before("PUT", "/v1/database/", |world| world.publish("game", owner(), Module::V4));
    site.publish(Module::V2, &[]).failed(8, &["has changed since the plan"]);
    assert_eq!(site.live(), Some(Module::V4));
    site.close();
}

/// What becomes of a server between the look and the preview.
type Happening = fn(&mut World);

#[test]
fn what_the_server_refuses_to_preview_is_not_published() {
    let cases: [(Happening, &str, &str); 3] = [
        (World::change_keys, "derived-token-of-another-key", "Error fetching public key"),
        (|world| world.give("game", Identity::of("localhost", "other")), "17", "is not authorized"),
        (|world| world.remove("game"), "derived-no-such-database", "No such database"),
    ];
    for (happening, answer, words) in cases {
        let site = Site::with_game(Module::V1);
        site.server.before("POST", "/pre_publish", happening);
        site.publish(Module::V2, &[]).failed(1, &[words]);
        assert!(site.asked("POST", "/pre_publish").pop().unwrap().answer.starts_with(answer), "{answer}");
        assert_eq!(site.puts().len(), 1, "{answer}: nothing but the first module was sent");
        site.close();
    }
}

#[test]
fn a_token_of_another_key_is_made_anew() {
    for (before, next, consent) in
        [(Module::V1, Module::V2, [].as_slice()), (Module::V2, Module::V1, &["--break-clients"])]
    {
        let site = Site::with_game(before);
        site.server.world(World::change_keys);
        site.publish(next, consent).exited(0);
        assert_eq!(site.live(), Some(next));
        assert_eq!(site.puts().pop().unwrap().identity, Some(owner()));
        let refused =
            site.server.requests().iter().any(|asked| asked.answer == "derived-token-of-another-key");
        assert!(refused, "the old token was tried");
        site.close();
    }
}

#[test]
fn a_database_of_somebody_else_is_left_alone_until_their_token_is_adopted() {
    let site = Site::new();
    let other = Identity::of("localhost", "other");
    site.server.world(|world| world.publish("game", other, Module::V1));
    let refused = site.publish(Module::V2, &[]);
    refused.failed(1, &["belongs to", &other.to_string()]);
    assert!(refused.stderr.contains("stdbctl identity"), "{refused}");
    assert_eq!((site.live(), site.puts().len()), (Some(Module::V1), 0));

    let token = site.server.world(|world| world.mint("localhost", "other"));
    site.server.root().keep_token(other, &token);
    site.publish(Module::V2, &[]).exited(0);
    assert_eq!(site.live(), Some(Module::V2));
    assert_eq!(site.puts().pop().unwrap().identity, Some(other));
    site.close();
}

#[test]
fn a_rollback_of_nothing_names_what_there_is_not() {
    let site = Site::new();
    site.run(&["publish", "--rollback", "--yes"], &[]).failed(1, &["no database", "game"]);
    assert_eq!(site.puts(), []);
    site.close();
}

#[test]
fn an_init_that_panics_leaves_nothing_behind() {
    let site = Site::new();
    site.publish(Module::V5, &[]).failed(1, &["The instance encountered a fatal error"]);
    assert_eq!((site.live(), site.puts().len()), (None, 1));
    assert_eq!(site.asked("POST", "/lock"), []);
    let kept = std::fs::read_dir(site.enclave.state().join("databases"));
    assert_eq!(kept.map_or(0, Iterator::count), 0, "no history of what never was");
    site.publish(Module::V1, &[]).exited(0);
    assert_eq!((site.live(), site.is_locked()), (Some(Module::V1), true));
    site.close();
}

#[test]
fn data_is_deleted_where_the_database_is_not_locked() {
    let site = Site::with_game(Module::V1);
    let refused = site.publish(Module::V3, &["--delete-data"]);
    refused.failed(1, &["locked"]);
    assert!(refused.stderr.contains("stdbctl db unlock"), "{refused}");
    let put = site.puts().pop().unwrap();
    assert!(put.target.contains("clear=true") && put.answer == "52-reset-locked", "{put:?}");
    assert_eq!((site.live(), site.is_locked()), (Some(Module::V1), true));
    let rows = site.server.world(|world| world.database("game").map(|game| game.people.len()));
    assert_eq!(rows, Some(1));

    site.server.world(|world| world.set_lock("game", false));
    site.publish(Module::V3, &["--delete-data"]).exited(0);
    assert_eq!(site.live(), Some(Module::V3));
    site.close();
}

#[test]
fn a_rollback_over_an_added_table_goes_the_servers_way() {
    let site = Site::with_game(Module::V1);
    site.publish(Module::V2, &[]).exited(0);
    site.run(&["publish", "--rollback", "--yes"], &[]).failed(1, &["--break-clients"]);
    site.run(&["publish", "--rollback", "--yes", "--break-clients"], &[]).exited(0);
    assert_eq!(site.live(), Some(Module::V1));
    bound(&site, Module::V2, Module::V1);
    site.close();
}

#[test]
fn a_module_that_does_not_stand_its_proof_is_taken_back() {
    let site = Site::with_game(Module::V1);
    let check = ["--check-sql", "select count(*) as n from score", "--expect", "7"];
    site.publish(Module::V2, &check).failed(9, &["answered [[0]] and not 7", "old module is live again"]);
    assert_eq!(site.live(), Some(Module::V1));
    bound(&site, Module::V2, Module::V1);
    site.close();
}
