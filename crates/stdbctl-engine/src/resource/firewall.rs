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

/// What ufw's own files say, and whether the kernel has its chains.
const LOOK: &str = "\
. /etc/ufw/ufw.conf 2>/dev/null && echo \"enabled $ENABLED\"
. /etc/default/ufw 2>/dev/null && echo \"input $DEFAULT_INPUT_POLICY\"
sed -n 's/^### tuple ### allow \\([a-z]*\\) \\([0-9:,]*\\) 0.0.0.0\\/0 any 0.0.0.0\\/0 in.*/allow \\2\\/\\1/p' /etc/ufw/user.rules 2>/dev/null
iptables -n -L ufw-user-input >/dev/null 2>&1 && echo live
:";

/// The port to keep open where there is no SSH connection to tell: `--host local`.
const DEFAULT_SSH_PORT: u16 = 22;

impl Firewall {
    /// The SSH port in use, then the others.
    fn wanted(&self, planning: &Planning<'_>) -> Vec<String> {
        let ssh = planning.seen.host.ssh_port.unwrap_or(DEFAULT_SSH_PORT);
        let mut wanted = vec![format!("{ssh}/tcp")];
        wanted.extend(self.allow.iter().filter(|port| **port != format!("{ssh}/tcp")).cloned());
        wanted
    }
}

impl Kind for Firewall {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        probes.fragment(task, LOOK.to_owned(), true);
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let text = planning.seen.extra(&planning.task.id).map_or("", |extra| extra.text.as_str());
        let has = |line: &str| text.lines().any(|l| l.trim() == line);
        let missing: Vec<String> = self
            .wanted(planning)
            .into_iter()
            .filter(|port| !has(&format!("allow {port}")) && !has(&format!("allow {}", any_protocol(port))))
            .collect();
        let mut details: Vec<String> = missing.iter().map(|port| format!("allow {port}")).collect();
        let mut script = lines(missing.iter().map(|port| format!("ufw allow {}", quote(port))));
        if !has("input DROP") && !has("input REJECT") {
            details.push("drop what else comes in".to_owned());
            script.push_str("ufw default deny incoming\n");
        }
        if !(has("enabled yes") && has("live")) {
            details.push(
                "switch it on; it goes off again by itself unless a new SSH connection gets in".to_owned(),
            );
            script.push_str("enable_firewall\n");
        }
        (!details.is_empty()).then(|| Change::new(Action::Update, details, script))
    }
}

/// A rule for a port without a protocol lets both in.
fn any_protocol(port: &str) -> String {
    format!("{}/any", port.split('/').next().unwrap_or(port))
}
