//! Certificates from an ACME CA, through certbot's webroot plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::graph::Graph;
use crate::observe::{Extra, Observation, Probes};
use crate::plan::Action;
use crate::resource::{Kind, Planning, Resource, Thing};
use crate::sh::{lines, quote};
use crate::task::Task;

/// A certificate that must be there, for these names, from this CA, valid for another week at least.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The names; the first is also the name of the lineage below `/etc/letsencrypt/live`.
    pub domains: Vec<String>,
    /// Where the CA writes about trouble. Without one the account is registered without an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The ACME directory's URL; Let's Encrypt if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The directory from which the web server answers `/.well-known/acme-challenge/`.
    pub webroot: String,
    /// A path on the host to the CA that signs the ACME server's own HTTPS, if it is not a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// A certificate that ends within a week is a renewal that does not work.
const MARGIN_SECONDS: u32 = 7 * 24 * 3600;
/// Stands in an observation for a certificate that will be there.
const NEW: &str = "new";
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

impl Certificate {
    fn lineage(&self) -> &str {
        self.domains.first().map_or("", String::as_str)
    }

    fn live(&self) -> String {
        format!("/etc/letsencrypt/live/{}", self.lineage())
    }

    fn directory(&self) -> &str {
        self.directory.as_deref().unwrap_or(LETS_ENCRYPT)
    }

    /// Why the certificate that is there will not do.
    fn fault(&self, text: &str) -> Option<String> {
        let line = |prefix: &str| text.lines().find_map(|line| line.trim().strip_prefix(prefix));
        if line("pem").is_none() {
            return Some("there is none".to_owned());
        }
        let names = line("names ").unwrap_or_default();
        let missing = self.domains.iter().find(|name| !names.split(", ").any(|n| n == format!("DNS:{name}")));
        if let Some(name) = missing {
            return Some(format!("the one that is there is not for {name}"));
        }
        if line("lasts").is_none() {
            return Some(format!(
                "the one that is there ends on {}",
                line("notAfter=").unwrap_or("an unknown day")
            ));
        }
        match line("server = ") {
            Some(server) if server == self.directory() => None,
            Some(server) => Some(format!("the one that is there is from {server}")),
            None => Some("the one that is there cannot renew itself".to_owned()),
        }
    }

    /// `servers` are the tasks whose units run with the certificate: from now on nothing says that they have taken up
    /// the one that is there.
    fn script(&self, servers: &[&str]) -> String {
        let stamps =
            servers.iter().map(|task| format!("rm -f -- {}", quote(&format!("/run/stdbctl/with/{task}"))));
        let lineage = quote(self.lineage());
        let domains = self.domains.join(",");
        let account = match &self.email {
            Some(email) => format!("--email {} --no-eff-email", quote(email)),
            None => "--register-unsafely-without-email".to_owned(),
        };
        let ca = match &self.ca_file {
            Some(path) => format!("export REQUESTS_CA_BUNDLE={}\n", quote(path)),
            None => String::new(),
        };
        format!(
            "{stamps}mkdir -p {webroot}\n{ca}\
             get_certificate {lineage} --webroot -w {webroot} --server {directory} {account} -d {domains}",
            stamps = lines(stamps),
            webroot = quote(&self.webroot),
            directory = quote(self.directory()),
            domains = quote(&domains),
        )
    }
}

impl Kind for Certificate {
    fn probe(&self, task: &str, _graph: &Graph, probes: &mut Probes) {
        let live = quote(&self.live());
        let renewal = quote(&format!("/etc/letsencrypt/renewal/{}.conf", self.lineage()));
        probes.fragment(
            task,
            format!(
                "cd {live} 2>/dev/null && [ -s privkey.pem ] && [ -s fullchain.pem ] || exit 0\necho pem\n\
                 openssl x509 -in fullchain.pem -noout -enddate -ext subjectAltName -checkend {MARGIN_SECONDS} |\n\
                 sed 's/^ *DNS:/names DNS:/; s/^Certificate will not expire$/lasts/'\n\
                 grep '^server = ' {renewal}\n:"
            ),
            true,
        );
    }

    fn plan(&self, planning: &Planning<'_>) -> Option<Change> {
        let text = planning.seen.extra(&planning.task.id).map_or("", |extra| extra.text.as_str());
        let fault = self.fault(text)?;
        let details = vec![
            fault,
            format!("certbot gets one for {} from {}", self.domains.join(", "), self.directory()),
        ];
        Some(Change::new(Action::Create, details, self.script(&servers(planning))).inexact())
    }

    fn requires(&self) -> Vec<Thing> {
        let mut things = vec![Thing::Path(self.webroot.clone())];
        things.extend(self.ca_file.clone().map(Thing::Path));
        things
    }

    fn provides(&self) -> Vec<Thing> {
        vec![Thing::Path(self.live())]
    }

    fn predict(&self, task: &str, seen: &mut Observation) {
        let text = seen.extra(task).map_or("", |extra| extra.text.as_str());
        let goes_on = text.lines().any(|line| line == "pem") && text.contains("server = ");
        if !goes_on {
            // What is left of the lineage is moved out of certbot's way, with what others have put beside it.
            let inside = format!("{}/", self.live());
            seen.paths.retain(|path, _| !path.starts_with(&inside));
        }
        seen.extras.insert(task.to_owned(), Extra { text: NEW.to_owned(), status: 0 });
    }

    /// Not the certificate's bytes: certbot renews it, and reloads the server then, without us.
    fn fingerprint(&self, task: &str, seen: &Observation) -> Option<String> {
        let new = seen.extra(task).is_some_and(|extra| extra.text == NEW);
        Some(if new { NEW.to_owned() } else { self.domains.join(",") })
    }

    fn fingerprint_word(&self) -> String {
        quote(&self.domains.join(","))
    }
}

/// The tasks whose units run with the certificate.
fn servers<'a>(planning: &Planning<'a>) -> Vec<&'a str> {
    let with = |task: &Task| match &task.resource {
        Resource::Service(service) => service.with.contains(&planning.task.id),
        _ => false,
    };
    planning.graph.tasks().iter().filter(|task| with(task)).map(|task| task.id.as_str()).collect()
}
