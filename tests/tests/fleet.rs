//! Fifty hosts behind one bastion: all are reached, every time, without rushing its door, in little memory.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use stdbctl_ssh::MOST_AT_THE_DOOR;
use stdbctl_tests::lab::{Fleet, LabHost};
use stdbctl_tests::operator::{Operator, release_binary};
use stdbctl_tests::proxy::Proxy;

const HOSTS: usize = 50;
const RUNS: usize = 20;
const ONE_HOST_RUNS: usize = 5;
const MEGABYTE: u64 = 1024 * 1024;
/// As far away as another continent's near side.
const RTT: Duration = Duration::from_millis(50);

#[test]
fn fifty_hosts_behind_a_bastion() {
    let names: Vec<String> = (1..=HOSTS).map(|number| format!("fleet{number:02}")).collect();
    let purposes: Vec<&str> = std::iter::once("bastion").chain(names.iter().map(String::as_str)).collect();
    let fleet = Fleet::up(&purposes);
    let (bastion, behind) = fleet.split_first().unwrap();
    let limit = bastion.sh("sshd -T").lines().any(|line| line == "maxstartups 10:30:100");
    assert!(limit, "the bastion does not have sshd's default MaxStartups");

    let operator = Operator::new();
    let at = |rtt: Duration, runs: usize| {
        let proxy = Proxy::in_front_of(bastion.ssh_socket(), rtt).unwrap();
        configure(&operator, proxy.address(), bastion, behind);
        let (mut one, mut all) = (Vec::new(), Vec::new());
        // By turns, so that both meet the same machine.
        for run in 0..runs {
            if run % (runs / ONE_HOST_RUNS) == 0 {
                one.push(reach(&operator, &behind[..1]));
            }
            all.push(reach(&operator, behind));
        }
        let runs = one.len() + all.len();
        assert_eq!(proxy.counts().connections, runs as u64, "each run comes to the bastion once");
        let (one, all) = (median(one), median(all));
        println!("{rtt:?} away: one host {one:.2?}, {HOSTS} hosts {all:.2?}");
        (one, all)
    };
    // Without any distance it is this machine's processors that take the time: fifty sshd share them with stdbctl.
    at(Duration::ZERO, 5);
    let (one, all) = at(RTT, RUNS);
    let waves = u32::try_from(HOSTS.div_ceil(MOST_AT_THE_DOOR)).unwrap();
    assert!(
        all <= (one * waves).mul_f64(1.3),
        "one host {one:.2?}, {HOSTS} hosts {all:.2?}, in {waves} waves"
    );
}

/// Names that only the bastion can look up lead through it to the hosts.
fn configure(operator: &Operator, door: SocketAddr, bastion: &LabHost, behind: &[LabHost]) {
    let keys = |host: &LabHost, name: &str| {
        let known = std::fs::read_to_string(&host.known_hosts).unwrap();
        let named = |line: &str| format!("{name} {}\n", line.split_once(' ').unwrap().1);
        known.lines().map(named).collect::<String>()
    };
    let mut known = keys(bastion, &format!("[{}]:{}", door.ip(), door.port()));
    known.extend(behind.iter().map(|host| keys(host, &host.domain)));
    let known = operator.write("known_hosts", &known);
    let (key, known) = (bastion.identity.display(), known.display());
    operator.write(
        "config",
        &format!(
            "Host bastion\nHostName {}\nPort {}\n\nHost *-fleet*\nHostName %h.lab.test\nProxyJump bastion\n\n\
             Host *\nUser ubuntu\nIdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {known}\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n",
            door.ip(),
            door.port()
        ),
    );
}

/// Runs a command on these hosts, which must succeed on each, in little memory; how long that took.
fn reach(operator: &Operator, hosts: &[LabHost]) -> Duration {
    let mut arguments = vec!["exec", "--output", "json", "--ssh-config", "config"];
    arguments.extend(hosts.iter().flat_map(|host| ["--host", host.name.as_str()]));
    arguments.extend(["--", "true"]);
    let (run, memory) = operator.measure(&release_binary(), &arguments);
    run.exited(0);
    let done =
        run.events().into_iter().filter(|event| event["event"] == "exec_finished" && event["status"] == 0);
    assert_eq!(done.count(), hosts.len(), "{run}");
    assert!((MEGABYTE..150 * MEGABYTE).contains(&memory), "{memory} bytes of memory");
    run.took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
