//! What a publish costs beside what people do without stdbctl, on one host in one run.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use stdbctl_tests::deadline::finish;
use stdbctl_tests::lab::{LabHost, checkout, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::proxy::Proxy;

/// An ocean away.
const RTT: Duration = Duration::from_millis(200);
const RUNS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

fn module() -> PathBuf {
    checkout().join("tests/fixtures/modules/demo_v1.wasm")
}

/// `ssh` and `scp` as a person would type them, to the same address as stdbctl.
struct OpenSsh {
    options: Vec<String>,
    port: String,
    destination: String,
}

impl OpenSsh {
    /// From stdbctl's own flags: `--host USER@ADDRESS:PORT --identity FILE --known-hosts FILE`.
    fn like(reach: &[String]) -> Self {
        let (destination, port) = reach[1].rsplit_once(':').unwrap();
        let options = [
            "-F none".to_owned(),
            format!("-i {}", reach[3]),
            "-o IdentitiesOnly=yes".to_owned(),
            "-o BatchMode=yes".to_owned(),
            format!("-o UserKnownHostsFile={}", reach[5]),
            "-o GlobalKnownHostsFile=none".to_owned(),
            "-o ControlPath=none".to_owned(),
        ];
        let options = options.iter().flat_map(|option| option.split(' ').map(str::to_owned)).collect();
        Self { options, port: port.to_owned(), destination: destination.to_owned() }
    }

    fn ssh(&self, command: &str) -> Duration {
        timed(Command::new("ssh").args(&self.options).args(["-p", &self.port, &self.destination, command]))
    }

    fn scp(&self, to: &str) -> Duration {
        let target = format!("{}:{to}", self.destination);
        timed(
            Command::new("scp").args(&self.options).args(["-q", "-P", &self.port]).arg(module()).arg(target),
        )
    }
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let finished = finish(command, LIMIT);
    assert!(finished.status.success(), "{command:?}\n{}\n{}", finished.stdout, finished.stderr);
    began.elapsed()
}

/// What the guide's way is once its traps are known: copied, made readable, published by the service user.
fn by_hand(ssh: &OpenSsh, name: &str) -> Duration {
    let command = format!(
        "chmod 644 /tmp/{name}.wasm && sudo -u spacetimedb env -i HOME=/stdb PATH=/usr/bin:/bin \
         /stdb/bin/current/spacetimedb-cli --root-dir=/stdb publish -s http://127.0.0.1:3000 \
         --bin-path /tmp/{name}.wasm --anonymous -y {name} && rm /tmp/{name}.wasm"
    );
    ssh.scp(&format!("/tmp/{name}.wasm")) + ssh.ssh(&command)
}

/// How long the server itself takes for a module, asked on its own host.
fn on_the_host(host: &LabHost, name: &str) -> Duration {
    let url = format!("http://127.0.0.1:3000/v1/database/{name}?host_type=Wasm");
    let said = host.sh(&format!(
        "curl -fsS -o /dev/null -w '%{{time_total}}' -X PUT --data-binary @/var/tmp/demo.wasm '{url}'"
    ));
    Duration::from_secs_f64(said.trim().parse().unwrap())
}

#[test]
fn a_module_is_live_as_fast_as_the_way_there_allows() {
    let host = LabHost::up("cost");
    let operator = Operator::new();
    host.deploy(&operator);
    host.copy_in(&module(), "/var/tmp/demo.wasm");
    let proxy = Proxy::in_front_of(host.ssh_socket(), RTT).unwrap();
    let reach = host.reach_through(&proxy, operator.home());
    let ssh = OpenSsh::like(&reach);
    let module = module();
    let publish = |name: &str| {
        let flags = [module.to_str().unwrap(), "--name", name, "--yes", "--output", "json"];
        operator.succeed(&line(&[&reach], &[&["publish"], &flags[..]].concat()))
    };

    // The first of all makes the owner's identity, and the server translates the module.
    publish("first");
    let mut best = [Duration::MAX; 4];
    // By turns, so that all meet the same machine; the best of each counts.
    for run in 0..RUNS {
        let took = [
            ssh.ssh("sudo true"),
            on_the_host(&host, &format!("server-{run}")),
            by_hand(&ssh, &format!("hand-{run}")),
            publish(&format!("ours-{run}")).took,
        ];
        best = std::array::from_fn(|which| best[which].min(took[which]));
    }
    let [sudo, server, hand, ours] = best;
    let figures = format!("ssh {sudo:.2?}, server {server:.3?}, scp and ssh {hand:.2?}, stdbctl {ours:.2?}");
    println!("{figures}");
    assert!(ours <= sudo.mul_f64(1.2) + server, "{figures}");
    assert!(hand >= ours * 2, "{figures}");

    let before = proxy.counts();
    let again = publish("first");
    let after = proxy.counts();
    assert!(again.tasks("changed").is_empty(), "{again}");
    assert_eq!(after.connections - before.connections, 1);
    let round_trips = after.round_trips - before.round_trips;
    assert!(round_trips <= 10, "{round_trips} round trips\n{again}");
    let sent = after.bytes_to_server - before.bytes_to_server;
    assert!(sent < 30_000, "{sent} bytes sent for a module of 87 kB that is there already");
}
