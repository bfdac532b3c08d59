//! The firewall, through ufw. The SSH port in use is always allowed first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::Probes;
use crate::plan::Action;
use crate::resource::{Kind, Planning};
use crate::sh::{lines, quote};

/// ufw must be active, let these in, and drop what else comes in. Rules of others are left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Ports, as ufw writes them: `80/tcp`.
    pub allow: Vec<String>,
}

/// What ufw's own files say, and whether the kernel has its chains. A rule for one interface lets nobody else in; one
/// that limits lets everybody in, slowly.
const LOOK: &str = "\
[ -r /etc/ufw/ufw.conf ] && . /etc/ufw/ufw.conf && echo \"enabled $ENABLED\"
[ -r /etc/default/ufw ] && . /etc/default/ufw && echo \"input $DEFAULT_INPUT_POLICY\" && echo \"ipv6 $IPV6\"
rules() {
sed -n \"s~^### tuple ### \\(allow\\\\|limit\\) \\([a-z]*\\) \\([0-9:,]*\\) $2 any $2 in\\( comment=.*\\)\\{0,1\\}\\$~$3 \\3/\\2~p\" \"$1\" 2>/dev/null
}
rules /etc/ufw/user.rules 0.0.0.0/0 allow
rules /etc/ufw/user6.rules ::/0 allow6
iptables -n -L ufw-user-input >/dev/null 2>&1 && echo live
[ -n \"$ssh_connection\" ] || sshd -T 2>/dev/null | sed -n 's/^port /ssh /p'
:";

/// Where nothing tells the port of SSH.
const DEFAULT_SSH_PORT: u16 = 22;

impl Firewall {
    /// The ports of SSH, then the others. Without an SSH connection (`--host local`) sshd's own word counts.
    fn wanted(&self, planning: &Planning<'_>, look: &str) -> Vec<String> {
        let mut wanted: Vec<String> = match planning.seen.host.ssh_port {
            Some(port) => vec![format!("{port}/tcp")],
            None => look
                .lines()
                .filter_map(|line| Some(format!("{}/tcp", line.strip_prefix("ssh ")?.trim())))
                .collect(),
        };
        if wanted.is_empty() {
            wanted.push(format!("{DEFAULT_SSH_PORT}/tcp"));
        }
        let others: Vec<String> = self.allow.iter().filter(|port| !wanted.contains(port)).cloned().collect();
        wanted.extend(others);
        wanted
    }
}

/// Whether what [`LOOK`] found lets a port in, over both families if ufw minds both.
fn is_open(look: &str, port: &str) -> bool {
    let has = |line: String| look.lines().any(|found| found.trim() == line);
    let lets = |word: &str| has(format!("{word} {port}")) || has(format!("{word} {}", any_protocol(port)));
    lets("allow") && (!has("ipv6 yes".to_owned()) || lets("allow6"))
}

impl Kind for Firewall {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.fragment(task, LOOK.to_owned(), true);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let text = planning.seen.extra(&planning.task.id).map_or("", |extra| extra.text.as_str());
        let has = |line: &str| text.lines().any(|l| l.trim() == line);
        let missing: Vec<String> =
            self.wanted(planning, text).into_iter().filter(|port| !is_open(text, port)).collect();
        let mut details: Vec<String> = missing.iter().map(|port| format!("allow {port}")).collect();
        let mut script = lines(missing.iter().map(|port| format!("ufw allow {}", quote(port))));
        if !has("input DROP") && !has("input REJECT") {
            details.push("drop what else comes in".to_owned());
            script.push_str("ufw default deny incoming\n");
        }
        if !(has("enabled yes") && has("live")) {
            details.push("switch it on; it goes off again unless a new SSH connection gets in".to_owned());
            script.push_str("enable_firewall\n");
        }
        (!details.is_empty()).then(|| Change::new(Action::Update, details, script))
    }
}

/// A rule for a port without a protocol lets both in.
fn any_protocol(port: &str) -> String {
    format!("{}/any", port.split('/').next().unwrap_or(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`LOOK`] finds in these files of ufw's.
    fn look(rules: &str, rules6: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("user.rules"), rules).unwrap();
        std::fs::write(directory.path().join("user6.rules"), rules6).unwrap();
        let script = LOOK.replace("/etc/ufw", &directory.path().display().to_string());
        let output =
            std::process::Command::new("sh").arg("-c").arg(format!("ssh_connection=x\n{script}")).output();
        format!("ipv6 yes\n{}", String::from_utf8(output.unwrap().stdout).unwrap())
    }

    #[test]
    fn only_a_rule_for_everybody_opens_a_port_and_a_limit_is_one() {
        let rules = |any: &str| {
            format!(
                "*filter\n### tuple ### limit tcp 22 {any} any {any} in\n-A x\n\
                 ### tuple ### allow tcp 443 {any} any {any} in_lo\n\
                 ### tuple ### allow any 80 {any} any {any} in comment=776562\n\
                 ### tuple ### allow tcp 81 {any} any 10.0.0.0/8 in\n\
                 ### tuple ### deny tcp 82 {any} any {any} in\n"
            )
        };
        let found = look(&rules("0.0.0.0/0"), &rules("::/0"));
        let open = |port: &str| is_open(&found, port);
        assert!(open("22/tcp") && open("80/tcp"), "{found}");
        assert!(!open("443/tcp") && !open("81/tcp") && !open("82/tcp"), "{found}");
        let found = look(&rules("0.0.0.0/0"), "");
        assert!(!is_open(&found, "22/tcp"), "shut over IPv6: {found}");
    }
}
