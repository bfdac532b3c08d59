//! Modules on a real server: published, refused, taken back, and never with a row lost that was not given up.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::distance::Distance;
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::{Operator, Run};
use stdbctl_tests::proxy::{Direction, Proxy};

const V1: &str = "demo_v1";
/// V1 and a table.
const V2: &str = "demo_v2_addtable";
/// V1 and a column, which no server of 1.x adds by itself.
const V3: &str = "demo_v3_addcolumn";
/// V1 without a reducer.
const V4: &str = "demo_v4_noreducer";
/// Its `init` panics.
const V5: &str = "demo_v5_initpanic";

const OWNER: &str = "c20048614e10aa1963d4769a602df2812dc054fd5ea6dc3f48028ab20c30835f";
/// Far longer than a publish takes.
const SOON: Duration = Duration::from_secs(60);
/// And than some of them.
const LIMIT: Duration = Duration::from_secs(300);

/// A host on which SpacetimeDB runs, and somebody who publishes there.
struct Site {
    host: LabHost,
    operator: Operator,
}

impl Site {
    fn new(purpose: &str) -> Self {
        Self::of_version(purpose, "1.3.0")
    }

    fn of_version(purpose: &str, version: &str) -> Self {
        let (host, operator) = (LabHost::up(purpose), Operator::new());
        let version = format!("spacetimedb.version={version}");
        let deploy = ["deploy", "--yes", "--set", &version];
        operator.succeed(&line(&[&host.reach(), &host.wish_private()], &deploy));
        Self { host, operator }
    }

    /// Publishes from afar, and counts the round trips of it.
    fn cost(&self, name: &str, module: &str) -> (Run, u64) {
        Distance::to(&self.host, &self.operator).round_trips(|reach| {
            self.operator.succeed(&Self::arguments(reach, &[file(module).as_str(), "--name", name]))
        })
    }

    fn arguments(reach: &[String], more: &[&str]) -> Vec<String> {
        line(&[reach], &[&["publish", "--yes", "--output", "json"], more].concat())
    }

    fn run(&self, more: &[&str]) -> Run {
        self.operator.run(&Self::arguments(&self.host.reach(), more))
    }

    fn publish(&self, name: &str, module: &str, more: &[&str]) -> Run {
        self.run(&[&[file(module).as_str(), "--name", name], more].concat())
    }

    fn roll_back(&self, name: &str, more: &[&str]) -> Run {
        self.run(&[&["--rollback", "--name", name], more].concat())
    }

    /// Calls the reducer that adds a person, as anybody can.
    fn add(&self, name: &str, person: &str) {
        let url = format!("http://127.0.0.1:3000/v1/database/{name}/call/add");
        self.host.sh(&format!("curl -sfS -H 'Content-Type: application/json' --data '[\"{person}\"]' {url}"));
    }

    /// The names of all persons, in the order in which they came, by SQL.
    fn persons(&self, name: &str) -> Vec<String> {
        let url = format!("http://127.0.0.1:3000/v1/database/{name}/sql");
        let answer = self.host.sh(&format!("curl -sfS --data 'select * from person' {url}"));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let rows = answer[0]["rows"].as_array().unwrap();
        let mut rows: Vec<_> = rows.iter().map(|row| (row[0].as_u64(), row[1].as_str().unwrap())).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, name)| name.to_owned()).collect()
    }

    /// Whether the live module has this reducer or table.
    fn has(&self, name: &str, item: &str) -> bool {
        let url = format!("'http://127.0.0.1:3000/v1/database/{name}/schema?version=9'");
        self.host.sh(&format!("curl -sfS {url}")).contains(&format!("\"{item}\""))
    }

    fn exists(&self, name: &str) -> bool {
        self.host.holds(&format!("curl -sfS http://127.0.0.1:3000/v1/database/{name}"))
    }

    /// The modules in the store.
    fn stored(&self) -> usize {
        self.host.sh("ls /var/lib/stdbctl/modules | grep -c 'wasm$' || :").trim().parse().unwrap()
    }
}

fn file(module: &str) -> String {
    let path: PathBuf = checkout().join(format!("tests/fixtures/modules/{module}.wasm"));
    path.display().to_string()
}

#[test]
fn modules_come_and_go_and_the_rows_stay() {
    modules_come_and_go(&Site::new("modules"));
}

#[test]
fn they_do_on_an_older_server_too() {
    modules_come_and_go(&Site::of_version("older", "1.2.0"));
}

fn modules_come_and_go(site: &Site) {
    site.publish("game", V1, &[]).exited(0);
    site.add("game", "ada");
    assert_eq!(site.persons("game"), ["first", "ada"]);
    only_the_server_can_read_the_token(site);

    let (again, round_trips) = site.cost("game", V1);
    assert!(again.tasks("changed").is_empty(), "{again}");
    assert!(round_trips <= 8, "{round_trips} round trips\n{again}");

    site.publish("game", V3, &["--break-clients"]).failed(1, &["manual migration", "age"]);
    site.publish("game", V4, &[]).failed(1, &["reducer add", "--break-clients"]);
    assert!(site.has("game", "add"));
    site.publish("game", V4, &["--break-clients"]).exited(0);
    assert!(!site.has("game", "add"));
    site.roll_back("game", &[]).exited(0);
    assert!(site.has("game", "add"));

    site.publish("fresh", V5, &[]).failed(1, &["fatal error"]);
    assert!(!site.exists("fresh"));
    assert_eq!(site.stored(), 2, "of V5 nothing is left");

    site.add("game", "bob");
    let (update, round_trips) = site.cost("game", V2);
    // To connect and look 8, to preview 2 and to change 1.
    assert!(round_trips <= 11, "{round_trips} round trips\n{update}");
    assert!(site.has("game", "score"));
    assert_eq!(site.persons("game"), ["first", "ada", "bob"]);
    the_way_back_over_a_table(site);
    the_way_back_over_deleted_data(site);
}

fn only_the_server_can_read_the_token(site: &Site) {
    let found = site.host.sh("stat -c '%n %a %U' /stdb/config/stdbctl /stdb/config/stdbctl/*");
    assert_eq!(
        found,
        format!("/stdb/config/stdbctl 700 spacetimedb\n/stdb/config/stdbctl/{OWNER}.jwt 600 spacetimedb\n")
    );
}

/// A server of 1.x takes no table away, so the data goes back too, if that is asked for.
fn the_way_back_over_a_table(site: &Site) {
    site.add("game", "cyd");
    let refused = site.roll_back("game", &[]);
    refused.failed(1, &["manual migration", "score"]);
    assert!(refused.stderr.contains("--restore-data"), "{refused}");
    assert!(refused.stderr.contains("person has 4 rows now and 3 then"), "{refused}");
    assert_eq!(site.persons("game").len(), 4);

    site.roll_back("game", &["--restore-data"]).exited(0);
    assert!(!site.has("game", "score"));
    assert_eq!(site.persons("game"), ["first", "ada", "bob"]);
    site.add("game", "dan");
    assert_eq!(site.persons("game").last().unwrap(), "dan");
}

fn the_way_back_over_deleted_data(site: &Site) {
    let before = site.persons("game");
    site.publish("game", V3, &["--delete-data"]).exited(0);
    assert_eq!(site.persons("game"), ["first"], "it begins anew");
    site.roll_back("game", &["--restore-data"]).exited(0);
    assert_eq!(site.persons("game"), before);

    // The server could go back by itself, to an empty database.
    site.publish("game", V2, &[]).exited(0);
    site.publish("game", V1, &["--break-clients", "--delete-data"]).exited(0);
    assert_eq!(site.persons("game"), ["first"], "it begins anew");
    let planned = site.roll_back("game", &["--plan"]);
    assert!(planned.stdout.contains("stays deleted without --restore-data"), "{planned}");
    site.roll_back("game", &["--restore-data"]).exited(0);
    assert_eq!(site.persons("game"), before);
    let listed = site.roll_back("game", &["--to", "ffff"]);
    listed.failed(1, &["no module", "ffff"]);
    assert!(listed.stderr.contains(" by "), "what there is is listed\n{listed}");
    site.roll_back("nothing", &[]).failed(1, &["no database", "nothing"]);
}

#[test]
fn what_fails_leaves_everything_as_it_was() {
    let site = Site::new("unwell");
    site.publish("other", V1, &["--check-reducer", "nope"]).failed(9, &["nope", "deleted again"]);
    assert!(!site.exists("other"));
    site.publish("game", V1, &["--check-sql", "select name from person", "--expect", "first"]).exited(0);
    site.add("game", "ada");
    let before = site.persons("game");

    let checks: [&[&str]; 2] =
        [&["--check-reducer", "nope"], &["--check-sql", "select count(*) as n from person", "--expect", "7"]];
    for (module, check) in [(V4, checks[0]), (V2, checks[1]), (V3, checks[0])] {
        let run = site.publish("game", module, &[check, &["--break-clients", "--delete-data"]].concat());
        run.failed(9, &["the old module is live again"]);
        assert!(run.stderr.contains("info: "), "the module's own log is shown\n{run}");
        assert_eq!(site.persons("game"), before, "{run}");
        assert!(site.has("game", "add") && !site.has("game", "score") && !site.has("game", "age"), "{run}");
    }
    site.publish("game", V1, &[]).exited(0);

    a_full_disk_stops_it_first(&site, &before);
    what_is_lost_is_made_again_if_it_can_be(&site);
    a_server_that_is_down_is_named(&site);
}

fn a_full_disk_stops_it_first(site: &Site, before: &[String]) {
    site.host.sh("mount -t tmpfs -o size=64k,mode=0700 none /var/lib/stdbctl/modules");
    site.publish("game", V4, &["--break-clients"]).failed(1, &["upload", "free"]);
    site.host.sh("umount /var/lib/stdbctl/modules");
    site.host.sh("mkdir -p /stdb/snapshots && mount -t tmpfs -o size=256k,mode=0700 none /stdb/snapshots");
    let refused = site.publish("game", V2, &[]);
    refused.failed(1, &["snapshot", "free"]);
    assert!(refused.stderr.contains("--no-snapshot"), "{refused}");
    assert!(!site.has("game", "score"));
    site.host.sh("umount /stdb/snapshots");
    assert_eq!(site.persons("game"), before);
    site.publish("game", V2, &[]).exited(0);
    assert_eq!(site.persons("game"), before);
}

fn what_is_lost_is_made_again_if_it_can_be(site: &Site) {
    let token = format!("/stdb/config/stdbctl/{OWNER}.jwt");
    site.host.sh(&format!("rm {token}; mv /stdb/config/id_ecdsa /root/"));
    site.publish("game", V2, &[]).failed(1, &["signing key"]);
    site.host.sh("mv /root/id_ecdsa /stdb/config/");
    let unchanged = site.publish("game", V2, &[]);
    unchanged.exited(0);
    assert!(unchanged.tasks("changed").is_empty(), "{unchanged}");
    assert!(site.host.holds(&format!("test -s {token}")), "the token is made again to look with");

    site.host
        .sh("curl -sfS -X PUT --data-binary @- 'http://127.0.0.1:3000/v1/database/alien?host_type=Wasm' \
         </var/lib/stdbctl/modules/$(ls /var/lib/stdbctl/modules | grep -m 1 'wasm$')");
    site.publish("alien", V1, &[]).failed(1, &["belongs to", "token"]);
}

fn a_server_that_is_down_is_named(site: &Site) {
    site.host.sh("systemctl stop spacetimedb");
    let refused = site.publish("game", V1, &[]);
    refused.failed(1, &["does not answer", "inactive"]);
    assert!(refused.stderr.contains("systemctl status spacetimedb"), "{refused}");
    site.host.sh("systemctl start spacetimedb");
}

#[test]
fn publishes_that_meet_or_are_cut_off_end_whole() {
    let site = Site::new("cut");
    site.publish("game", V1, &[]).exited(0);
    site.add("game", "ada");
    let before = site.persons("game");

    of_two_at_once_one_is_refused(&site);
    assert_eq!(site.persons("game"), before);
    a_cut_upload_changes_nothing(&site, &before);
    a_cut_publish_goes_on_to_its_end(&site, &before);
}

fn of_two_at_once_one_is_refused(site: &Site) {
    let holder = "mkdir -p /run/stdbctl; echo 'ada@laptop, publish since noon' >/run/stdbctl/holder; \
        exec flock /run/stdbctl/lock sleep 600";
    site.host.sh(&format!("systemd-run --quiet --unit holder sh -c {}", quoted(holder)));
    wait_for("the lock is held", SOON, || site.host.holds("! flock -n /run/stdbctl/lock true").then_some(()));
    site.publish("game", V2, &[]).failed(7, &["another run", "ada@laptop"]);
    assert!(!site.has("game", "score"));
    site.host.sh("systemctl stop holder");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Far enough away to be cut between two things, and its arguments.
fn through(site: &Site, more: &[&str]) -> (Proxy, Vec<String>) {
    let proxy = Proxy::in_front_of(site.host.ssh_socket(), Duration::from_millis(20)).unwrap();
    let reach = site.host.reach_through(&proxy, site.operator.home());
    let arguments = Site::arguments(&reach, more);
    (proxy, arguments)
}

fn a_cut_upload_changes_nothing(site: &Site, before: &[String]) {
    let v4 = file(V4);
    let publish = [v4.as_str(), "--name", "game", "--break-clients"];
    let stored = site.stored();
    let (proxy, arguments) = through(site, &[&publish[..], &["--plan"]].concat());
    site.operator.run(&arguments).exited(0);
    let look = proxy.counts().bytes_to_server;

    let (proxy, arguments) = through(site, &publish);
    // Behind the look and the script, within the 78 kB of the module.
    proxy.cut_after(Direction::ToServer, look + 60_000);
    site.operator.run(&arguments).failed(4, &["connection"]);
    site.host.wait_for_runs_to_end();
    assert!(site.has("game", "add"), "V1 is live");
    assert_eq!((site.persons("game").as_slice(), site.stored()), (before, stored));
    assert_eq!(site.host.sh("ls -A /var/lib/stdbctl/modules | grep -c '^[.]' || :").trim(), "0");
}

/// Publishes V2 with a cut. One that was done before the cut came is taken back and made anew.
fn cut_behind_the_snapshot(site: &Site) -> Run {
    let v2 = file(V2);
    let (proxy, arguments) = through(site, &[&v2, "--name", "game"]);
    wait_for("a publish is cut", LIMIT, || {
        let running = site.operator.start(&arguments);
        running.wait_for_line(r#""task":"snapshot","outcome""#, SOON);
        proxy.cut();
        let run = running.wait();
        if run.code == Some(0) {
            site.roll_back("game", &["--restore-data"]).exited(0);
            return None;
        }
        Some(run)
    })
}

fn a_cut_publish_goes_on_to_its_end(site: &Site, before: &[String]) {
    let run = cut_behind_the_snapshot(site);
    run.failed(4, &["connection"]);
    site.host.wait_for_runs_to_end();
    assert!(site.has("game", "score"), "what had begun was finished\n{run}");
    assert_eq!(site.persons("game"), before);
    let again = site.publish("game", V2, &[]);
    again.exited(0);
    assert!(again.tasks("changed").is_empty(), "{again}");
    site.roll_back("game", &["--restore-data"]).exited(0);
    assert_eq!(site.persons("game"), before, "it was recorded, and its snapshot kept");
}
