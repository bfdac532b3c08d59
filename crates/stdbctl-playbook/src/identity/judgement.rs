//! What was found, put into sentences, each with what to do next.

use super::{Check, Found, Kind, Owner, Report};
use crate::owner::{Foreign, KeyFile, Keys, Running, Token, owner};

/// What brings back a key that is lost for good.
const NEW_PAIR: &str = "makes a new pair: all tokens that clients hold end, and \
    `stdbctl identity --repair` signs the owner's anew, for the same identity";

impl Found {
    /// The report on what was found. `host` is what the operator calls it.
    pub fn report(&self, host: &str) -> Report {
        let mut checks = vec![self.server(), self.key(), self.own_token()];
        checks.extend(self.adopted().filter_map(|token| self.adopted_token(token)));
        Report {
            host: host.to_owned(),
            ok: checks.iter().all(|check| check.ok),
            server: self.version().map(|version| version.to_string()),
            identity: owner(),
            keys: self.seen.keys,
            checks,
            owners: self.owners(),
        }
    }

    fn server(&self) -> Check {
        let Some(version) = self.version() else {
            let words = match self.health.status {
                0 => self.health.body.trim().to_owned(),
                status => format!("it answers {status}"),
            };
            return failed("server", format!("SpacetimeDB does not answer at {}: {words}", self.base))
                .next("`systemctl status spacetimedb` on the host tells why; `stdbctl deploy` makes it run");
        };
        well("server", format!("SpacetimeDB {version} answers at {}", self.base))
    }

    fn key(&self) -> Check {
        let Self { config, .. } = self;
        let Keys { private, public, is_pair, running } = self.seen.keys;
        let problem = |detail: String| failed("key", detail);
        match (private, public) {
            _ if self.public_half_is_wrong() => {
                let what = if public == KeyFile::Missing { "is missing" } else { "is not that of id_ecdsa" };
                let detail = format!("{config}/id_ecdsa.pub {what}: the server does not start with that");
                problem(detail).next("`stdbctl identity --repair` writes it anew from id_ecdsa")
            }
            (KeyFile::There, KeyFile::There) if !is_pair => problem(format!(
                "id_ecdsa and id_ecdsa.pub in {config} do not belong together"
            ))
            .next(format!(
                "restore both from one backup of {config}, then `systemctl restart spacetimedb` on the host"
            )),
            (KeyFile::There, KeyFile::There) => match running {
                Running::Same => well("key", format!("{config}/id_ecdsa is what the server runs with")),
                Running::Unknown => well("key", format!("{config}/id_ecdsa and id_ecdsa.pub are a pair")),
                Running::Other => problem(format!("the server runs with another key than {config}/id_ecdsa"))
                    .next(
                        "`systemctl restart spacetimedb` on the host makes it take the key of the file; \
                         then `stdbctl identity --repair` signs anew what no longer fits",
                    ),
            },
            (KeyFile::Missing, KeyFile::Missing) => {
                let so_far = match self.version() {
                    Some(_) => {
                        ": the server still runs with the lost key and makes a new pair when it restarts"
                    }
                    None => ": the server makes a new pair when it starts",
                };
                problem(format!("id_ecdsa and id_ecdsa.pub are missing in {config}{so_far}")).next(format!(
                    "restore both from a backup of {config}; without one, `systemctl restart spacetimedb` on the \
                     host {NEW_PAIR}"
                ))
            }
            _ => {
                let what = if private == KeyFile::Missing { "is missing" } else { "holds no key" };
                problem(format!(
                    "{config}/id_ecdsa {what}: no token can be signed, and the server cannot restart"
                ))
                .next(format!(
                    "restore id_ecdsa from a backup of {config}; without one, remove id_ecdsa and id_ecdsa.pub: \
                     `systemctl restart spacetimedb` on the host then {NEW_PAIR}"
                ))
            }
        }
    }

    fn own_token(&self) -> Check {
        let count = self.owned_by(&owner()).map_or(0, <[_]>::len);
        match self.seen.token(&owner()) {
            Some(token) => self.token("the owner's token", token),
            None if self.version().is_none() => failed(
                "token",
                "the owner's token is not there, and the server cannot be asked about it".to_owned(),
            )
            .next("once the server answers, `stdbctl identity --repair` signs one"),
            None if count == 0 => well("token", "there is none yet: the first publish makes it".to_owned()),
            None => {
                let databases =
                    if count == 1 { "1 database".to_owned() } else { format!("{count} databases") };
                self.mendable(format!("the owner's token is lost: {databases} cannot be changed without it"))
            }
        }
    }

    /// Only what is wrong: all that is adopted is listed below.
    fn adopted_token(&self, token: &Token) -> Option<Check> {
        let check = self.token(&format!("the adopted token of {}", token.identity.short()), token);
        let is_lost = !check.ok && !token.fits() && token.claims.is_none();
        let has_copy = self.foreign.iter().any(|foreign| foreign.claims.identity == token.identity);
        if is_lost && !has_copy {
            let whose = token.identity.short();
            return Some(
                failed("token", format!("the file of {whose} in {}/stdbctl holds no token", self.config))
                    .next(format!("restore it from a backup of {}", self.config)),
            );
        }
        (!check.ok).then_some(check)
    }

    fn token(&self, whose: &str, token: &Token) -> Check {
        match token.status {
            204 if token.is_private => well("token", format!("{whose} fits")),
            204 => self.mendable(format!("{whose} fits, but can be read by others than the server's user")),
            0 => failed("token", format!("{whose} is there, but the server cannot be asked about it"))
                .next("run this again once the server answers"),
            401 => self.mendable(format!("{whose} does not fit: another key has signed it (401)")),
            status => self.mendable(format!("{whose} does not fit: the server answers {status}")),
        }
    }

    /// A token that the server's key could sign anew, if it is there.
    fn mendable(&self, detail: String) -> Check {
        let next = if self.can_sign() {
            "`stdbctl identity --repair` signs it anew"
        } else {
            "mend the key first; then `stdbctl identity --repair` signs it anew"
        };
        failed("token", detail).next(next)
    }

    fn owners(&self) -> Vec<Owner> {
        let config = &self.config;
        let file = |token: &Token| format!("{config}/stdbctl/{}.jwt", token.identity);
        let copies = |identity| {
            let found = self.foreign.iter().filter(move |foreign| foreign.claims.identity == identity);
            found.map(|foreign| foreign.path.clone())
        };
        let kept = |kind, token: &Token| Owner {
            identity: token.identity.clone(),
            kind,
            issuer: token.claims.as_ref().map(|claims| claims.issuer.clone()),
            tokens: std::iter::once(file(token)).chain(copies(token.identity.clone())).collect(),
            databases: self.owned_by(&token.identity).map(<[_]>::to_vec),
        };
        let own = || Owner {
            identity: owner(),
            kind: Kind::Own,
            issuer: Some(crate::owner::ISSUER.to_owned()),
            tokens: Vec::new(),
            databases: self.owned_by(&owner()).map(<[_]>::to_vec),
        };
        let own = self.seen.token(&owner()).map_or_else(own, |token| kept(Kind::Own, token));
        let adopted = self.adopted().map(|token| kept(Kind::Adopted, token));
        let strangers = self.to_adopt().into_iter().map(|Foreign { claims, .. }| Owner {
            identity: claims.identity.clone(),
            kind: Kind::Foreign,
            issuer: Some(claims.issuer.clone()),
            tokens: copies(claims.identity.clone()).collect(),
            databases: self.owned_by(&claims.identity).map(<[_]>::to_vec),
        });
        std::iter::once(own).chain(adopted).chain(strangers).collect()
    }
}

fn well(name: &'static str, detail: String) -> Check {
    Check { name, ok: true, detail, next: None }
}

fn failed(name: &'static str, detail: String) -> Check {
    Check { name, ok: false, detail, next: None }
}

impl Check {
    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}
