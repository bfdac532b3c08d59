//! What a 2.8.3 server does: which recorded answer a request gets, and what it changes. What no recording tells is
//! answered with None.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use crate::replay::answers::{
    Caller, EVIL, GAME, Named, OWNER, about, addressed_to, facts, forbidden, is_name, logs, not_wasm,
    of_game, only_wasm, preview, query, recorded, schema,
};
use crate::replay::http::{Reply, Request};
use crate::replay::identity::{Identity, Keys, Refusal};
use crate::replay::module::{Module, Step};
use crate::replay::root::ReplayRoot;

/// A server's state.
pub struct World {
    root: Arc<ReplayRoot>,
    keys: Keys,
    names: BTreeMap<String, Identity>,
    databases: BTreeMap<Identity, Database>,
    replicas: u32,
    /// What this process has open, so that its descriptors tell which replicas are in use.
    open: Vec<File>,
    strangers: u32,
}

/// A database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Who may change it.
    pub owner: Identity,
    /// What runs in it.
    pub module: Module,
    /// What it was created with.
    pub first: Module,
    /// Whether it may not be deleted.
    pub locked: bool,
    /// The names in its table `person`.
    pub people: Vec<String>,
}

impl World {
    pub(super) fn new(root: Arc<ReplayRoot>) -> Self {
        let keys = Keys::generate(&root.path().join("config"));
        let (names, databases) = (BTreeMap::new(), BTreeMap::new());
        let open = vec![root.open_for_server()];
        Self { root, keys, names, databases, replicas: 0, open, strangers: 0 }
    }

    /// A token of these claims, signed by the server's key.
    pub fn mint(&self, issuer: &str, subject: &str) -> String {
        self.keys.mint(issuer, subject)
    }

    /// Restarts the server with a new key pair: no token of before is good any more.
    pub fn change_keys(&mut self) {
        self.keys = Keys::generate(&self.root.path().join("config"));
    }

    /// The database with this name.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(self.names.get(name)?)
    }

    /// The identity that belongs to a name.
    pub fn identity(&self, name: &str) -> Option<Identity> {
        self.names.get(name).copied()
    }

    /// Makes a database, or puts another module into it, without anyone asking.
    pub fn publish(&mut self, name: &str, owner: Identity, module: Module) {
        let identity = self.register(name);
        match self.databases.get_mut(&identity) {
            Some(database) => database.module = module,
            None => self.create(identity, owner, module),
        }
    }

    /// Locks or unlocks a database without anyone asking.
    pub fn set_lock(&mut self, name: &str, locked: bool) {
        let database = self.names.get(name).and_then(|identity| self.databases.get_mut(identity));
        if let Some(database) = database {
            database.locked = locked;
        }
    }

    /// Makes a database somebody else's, without anyone asking.
    pub fn give(&mut self, name: &str, owner: Identity) {
        let database = self.names.get(name).and_then(|identity| self.databases.get_mut(identity));
        if let Some(database) = database {
            database.owner = owner;
        }
    }

    /// Deletes a database without anyone asking. Its name stays taken.
    pub fn remove(&mut self, name: &str) {
        if let Some(identity) = self.names.get(name) {
            self.databases.remove(identity);
        }
    }

    fn register(&mut self, name: &str) -> Identity {
        let recorded = match name {
            "game" => Identity::parse(GAME),
            "evil" => Identity::parse(EVIL),
            _ => None,
        };
        let identity = recorded.unwrap_or_else(|| Identity::of("localhost", name));
        *self.names.entry(name.to_owned()).or_insert(identity)
    }

    fn create(&mut self, identity: Identity, owner: Identity, module: Module) {
        self.open.push(self.root.add_replica(1 + 2 * self.replicas, identity));
        self.replicas += 1;
        let people = vec!["first".to_owned()];
        let database = Database { owner, module, first: module, locked: false, people };
        self.databases.insert(identity, database);
    }

    /// Who asks; or what is said to a token that does not fit.
    pub(super) fn authenticate(&mut self, request: &Request) -> Option<Result<Caller, Reply>> {
        let Some(token) = &request.token else {
            self.strangers += 1;
            let subject = format!("stranger-{}", self.strangers);
            let token = self.keys.mint("localhost", &subject);
            return Some(Ok(Caller { identity: Identity::of("localhost", &subject), token }));
        };
        let refused = match self.keys.verify(token) {
            Ok(identity) => return Some(Ok(Caller { identity, token: token.clone() })),
            Err(Refusal::NoSubject) => recorded("18"),
            Err(Refusal::AnotherKey(issuer)) if issuer == "localhost" => {
                recorded("derived-token-of-another-key-localhost")
            }
            Err(Refusal::AnotherKey(issuer)) => {
                let mut reply = recorded("derived-token-of-another-key");
                reply.body = reply.body.replace("stdbctl", &issuer);
                reply
            }
            Err(Refusal::Unheard) => return None,
        };
        Some(Err(refused))
    }

    /// What the server says; None if no server has been recorded with such a request.
    pub(super) fn answer(&mut self, request: &Request, caller: &Caller) -> Option<Reply> {
        let segments = request.segments()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let reply = match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["ping"]) => recorded("01"),
            ("GET", ["health"]) => recorded("02"),
            ("GET", ["metrics"]) => recorded("54"),
            ("POST", ["identity"]) => {
                let mut reply = recorded("03");
                reply.body = format!(r#"{{"identity":"{}","token":"{}"}}"#, caller.identity, caller.token);
                reply
            }
            ("GET", ["identity", "public-key"]) => {
                let mut reply = recorded("04");
                self.keys.public().clone_into(&mut reply.body);
                reply
            }
            ("GET", ["identity", identity, what]) => self.identity_says(identity, what, request, caller)?,
            (method, ["database", name, rest @ ..]) => {
                self.database_says(method, name, rest, request, caller)?
            }
            _ => return None,
        };
        Some(addressed_to(caller, reply))
    }

    fn identity_says(&self, text: &str, what: &str, request: &Request, caller: &Caller) -> Option<Reply> {
        let identity = Identity::parse(text);
        match (what, identity) {
            ("databases", None) if text.starts_with("0x") => {
                let mut reply = recorded("55");
                reply.body = reply.body.replace(&format!("0x{OWNER}"), text);
                Some(reply)
            }
            ("databases", Some(identity)) => {
                let owned = self.databases.iter().filter(|(_, database)| database.owner == identity);
                let list: Vec<_> = owned.map(|(identity, _)| format!("\"{identity}\"")).collect();
                let mut reply = recorded("derived-databases-of-identity");
                reply.body = format!(r#"{{"identities":[{}]}}"#, list.join(","));
                Some(reply)
            }
            ("verify", Some(_)) if request.token.is_none() => Some(recorded("derived-verify-without-token")),
            ("verify", Some(identity)) if identity == caller.identity => Some(recorded("derived-verify")),
            ("verify", Some(_)) => Some(recorded("derived-verify-other-identity")),
            _ => None,
        }
    }

    fn database_says(
        &mut self,
        method: &str,
        name: &str,
        rest: &[&str],
        request: &Request,
        caller: &Caller,
    ) -> Option<Reply> {
        let named = match (self.names.get(name), Identity::parse(name)) {
            (Some(&identity), _) | (None, Some(identity)) => Named { text: name.to_owned(), identity },
            (None, None) if !is_name(name) => return (method == "PUT").then(|| recorded("48")),
            (None, None) if method == "PUT" && rest.is_empty() => {
                return self.publish_new(name, request, caller);
            }
            (None, None) => {
                let mut reply = recorded("10");
                reply.body = reply.body.replace("game", name);
                return Some(reply);
            }
        };
        let Some(database) = self.databases.get(&named.identity).cloned() else {
            return match (method, rest) {
                ("PUT", []) => self.publish_new(name, request, caller),
                ("GET", ["identity"]) => Some(about(&named, None, recorded("32"))),
                // Where it says less than another route.
                ("GET", ["names"]) | ("DELETE", _) => None,
                _ => Some(recorded("derived-no-such-database")),
            };
        };
        let reply = match (method, rest) {
            ("PUT", []) => self.publish_over(&named, &database, request, caller)?,
            ("PUT", ["reset"]) => self.reset(&named, &database, request, caller)?,
            ("POST", ["pre_publish"]) => preview(&named, &database, request, caller)?,
            ("GET", []) => facts(&database),
            ("GET", ["identity"]) => recorded("32"),
            ("GET", ["names"]) => self.names_of(named.identity),
            ("GET", ["schema"]) => schema(database.module, &request.parameter("version")?)?,
            ("GET", ["logs"]) => logs(&database, request, caller)?,
            ("POST", ["sql"]) => query(&database, &request.text(), caller)?,
            ("POST", ["call", reducer]) => self.call(&named, &database, reducer, request)?,
            ("POST", ["lock"]) => self.lock(&named, &database, true, caller),
            ("POST", ["unlock"]) => self.lock(&named, &database, false, caller),
            ("PUT", ["names"]) => self.rename(&named, &database, request, caller)?,
            ("DELETE", []) => self.delete(&named, &database, caller),
            _ => return None,
        };
        Some(about(&named, Some(&database), reply))
    }

    fn publish_new(&mut self, name: &str, request: &Request, caller: &Caller) -> Option<Reply> {
        only_wasm(request)?;
        let Some(module) = Module::of(&request.body) else { return not_wasm(&request.body) };
        let identity = self.register(name);
        if module == Module::V5 {
            return Some(recorded("46"));
        }
        self.create(identity, caller.identity, module);
        let named = Named { text: name.to_owned(), identity };
        let reply = if request.token.is_some() { recorded("11") } else { of_game(recorded("61")) };
        Some(about(&named, None, reply))
    }

    fn publish_over(
        &mut self,
        named: &Named,
        database: &Database,
        request: &Request,
        caller: &Caller,
    ) -> Option<Reply> {
        only_wasm(request)?;
        if request.parameter("clear").is_some_and(|clear| clear == "true") {
            return self.reset(named, database, request, caller);
        }
        if caller.identity != database.owner {
            return Some(recorded("45"));
        }
        let next = Module::of(&request.body)?;
        let step = database.module.step_to(next)?;
        let breaks = match request.parameter("policy").as_deref() {
            Some("BreakClients") => true,
            None | Some("Compatible") => false,
            Some(_) => return None,
        };
        let token = request.parameter("token");
        if breaks && token.is_none() {
            return Some(recorded("derived-publish-policy-without-token"));
        }
        // Only under this policy does a server look at the token.
        let stale = breaks && token != Some(database.module.token_to(next, named.identity));
        Some(match step {
            Step::Unchanged => recorded("40"),
            Step::Manual => recorded("44"),
            _ if stale => recorded("41"),
            Step::Breaking if !breaks => recorded("43"),
            Step::Unseen | Step::Compatible | Step::Breaking => {
                self.databases.get_mut(&named.identity)?.module = next;
                recorded("40")
            }
        })
    }

    fn reset(
        &mut self,
        named: &Named,
        database: &Database,
        request: &Request,
        caller: &Caller,
    ) -> Option<Reply> {
        if caller.identity != database.owner {
            return Some(forbidden("reset database"));
        }
        if database.locked {
            return Some(recorded("52"));
        }
        let module = Module::of(&request.body).filter(|module| *module != Module::V5)?;
        self.create(named.identity, database.owner, module);
        Some(recorded("40"))
    }

    fn names_of(&self, identity: Identity) -> Reply {
        let all = self.names.iter().filter(|(_, named)| **named == identity);
        let list: Vec<_> = all.map(|(name, _)| format!("\"{name}\"")).collect();
        let mut reply = recorded("31");
        reply.body = format!(r#"{{"names":[{}]}}"#, list.join(","));
        reply
    }

    fn call(
        &mut self,
        named: &Named,
        database: &Database,
        reducer: &str,
        request: &Request,
    ) -> Option<Reply> {
        if reducer == "init" {
            return None;
        }
        if reducer != "add" || database.module == Module::V4 {
            return Some(recorded("27"));
        }
        let [name]: [String; 1] = serde_json::from_slice(&request.body).ok()?;
        if name.is_empty() {
            return Some(recorded("26"));
        }
        self.databases.get_mut(&named.identity)?.people.push(name);
        Some(recorded("25"))
    }

    fn lock(&mut self, named: &Named, database: &Database, locked: bool, caller: &Caller) -> Reply {
        if caller.identity != database.owner {
            return forbidden("delete database");
        }
        if let Some(database) = self.databases.get_mut(&named.identity) {
            database.locked = locked;
        }
        recorded(if locked { "50" } else { "53" })
    }

    fn rename(
        &mut self,
        named: &Named,
        database: &Database,
        request: &Request,
        caller: &Caller,
    ) -> Option<Reply> {
        let list: Vec<String> = serde_json::from_slice(&request.body).ok()?;
        let taken = list.iter().any(|name| self.names.contains_key(name) || !is_name(name));
        if taken || caller.identity != database.owner {
            return None;
        }
        self.names.retain(|_, identity| *identity != named.identity);
        self.names.extend(list.into_iter().map(|name| (name, named.identity)));
        Some(recorded("derived-rename"))
    }

    fn delete(&mut self, named: &Named, database: &Database, caller: &Caller) -> Reply {
        if caller.identity != database.owner {
            return forbidden("delete database");
        }
        if database.locked {
            return recorded("51");
        }
        self.databases.remove(&named.identity);
        recorded("60")
    }
}
