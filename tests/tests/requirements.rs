//! Hosts that lack what the playbook requires: refused before anything is changed.

use stdbctl_tests::deadline::wait_for;
use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::{Operator, Run};

/// What stands in the way, how it is taken away again, and the words of the refusal.
struct Obstacle {
    put: &'static str,
    remove: &'static str,
    named: &'static [&'static str],
}

const OBSTACLES: [Obstacle; 5] = [
    Obstacle {
        put: "cp -a /etc/os-release /root/os-release; rm /etc/os-release; printf 'ID=alpine\\nVERSION_ID=3.20\\n' >/etc/os-release",
        remove: "rm /etc/os-release; cp -a /root/os-release /etc/os-release; rm /root/os-release",
        named: &["alpine"],
    },
    Obstacle {
        put: "cp -a /etc/os-release /root/os-release; rm /etc/os-release; printf 'ID=debian\\nVERSION_ID=10\\n' >/etc/os-release",
        remove: "rm /etc/os-release; cp -a /root/os-release /etc/os-release; rm /root/os-release",
        named: &["10"],
    },
    Obstacle {
        put: "mkdir /stdb && mount -t tmpfs -o size=16m tmpfs /stdb",
        remove: "umount /stdb && rmdir /stdb",
        named: &["/stdb"],
    },
    Obstacle { put: SQUAT_80, remove: "systemctl stop squatter", named: &["80", "perl"] },
    Obstacle { put: SQUAT_3000, remove: "systemctl stop squatter", named: &["3000", "perl"] },
];

const SQUAT_80: &str = "systemd-run --quiet --collect --unit=squatter perl -MIO::Socket::INET -e \
    '@kept = IO::Socket::INET->new(LocalPort => 80, Listen => 5); sleep 3600'";
const SQUAT_3000: &str = "systemd-run --quiet --collect --unit=squatter perl -MIO::Socket::INET -e \
    '@kept = IO::Socket::INET->new(LocalPort => 3000, Listen => 5); sleep 3600'";

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_touched() {
    let host = LabHost::up("requirements");
    let operator = Operator::new();
    let before = host.state();

    for obstacle in &OBSTACLES {
        host.sh(obstacle.put);
        if obstacle.put.contains("squatter") {
            let port = obstacle.named[0];
            wait_for("the port is taken", std::time::Duration::from_secs(60), || {
                host.holds(&format!("ss -Hltn 'sport = :{port}' | grep -q .")).then_some(())
            });
        }
        deploy(&operator, &host, &host.wish()).failed(1, obstacle.named);
        host.sh(obstacle.remove);
        before.differences(&host.state()).assert_none(obstacle.named[0]);
    }

    let mut elsewhere = host.wish();
    let resolve = elsewhere.iter().position(|argument| argument == "--resolve").unwrap();
    elsewhere[resolve + 1] = format!("{}=192.0.2.7", host.domain);
    deploy(&operator, &host, &elsewhere).failed(1, &[&host.domain, "192.0.2.7"]);
    before.differences(&host.state()).assert_none("a domain that leads elsewhere");
}

fn deploy(operator: &Operator, host: &LabHost, wish: &[String]) -> Run {
    operator.run(&line(&[&host.reach(), wish], &["deploy", "--yes"]))
}
