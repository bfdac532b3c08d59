//! From a wish to a plan: one look at the host, a second one only where it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stdbctl_engine::dialogue;
use stdbctl_engine::host::Host;

use super::error::PublishError;
use super::inquiry::{Answered, Inquiry, ServerPlan};
use super::look::{self, Seen, Token};
use super::order::Order;
use super::plan::{self, Needs};
use super::preview::{ModuleFacts, Operation, Preview, Source};
use super::rules::{self, Verdict};
use super::wish::{What, Wish, check_name};
use super::{Prepared, history};
use crate::migration::{self, Migration, Rules};
use crate::owner::Claims;
use crate::schema::Definition;
use crate::settings::Settings;

/// So many tables are counted before and after without a thought; each takes the host some milliseconds.
const MOST_COUNTED: usize = 40;

/// Looks at the host and says what `wish` would do there. `name` is what the operator calls the host. Changes nothing:
/// with `apply` the module may already be sent, because the server is shown it.
///
/// # Errors
/// For a name or a server that cannot take a module, a database of somebody else, a way back that leads nowhere, and
/// whatever stops a script.
pub async fn prepare(
    host: Arc<dyn Host>,
    name: &str,
    settings: &Settings,
    wish: &Wish,
    apply: bool,
) -> Result<Prepared, PublishError> {
    check_name(&wish.name)?;
    let script = look::script(settings, &wish.name);
    // Polled after the look is on its way. If there is nothing to do it was in vain, and cost nothing.
    let ahead = async {
        if apply {
            host.prepare();
        }
    };
    let records = tokio::join!(biased; dialogue::look(&*host, &script), ahead).0?;
    let seen = Seen::read(&records)?;
    let mut site = Site { name, settings, wish, seen, apply };
    let token = site.seen.token(&wish.name)?;
    let target = site.target(&token)?;
    let operation = site.operation(&target);
    if operation == Operation::Unchanged {
        return Ok(site.unchanged(host, &target));
    }
    let answered = match site.inquiry(&target, operation, &token) {
        Some(inquiry) => inquiry.ask(&*host).await?,
        None => Answered::default(),
    };
    // Known only now, if the token had to be made first.
    site.learn_live(answered.live.clone());
    if site.operation(&target) == Operation::Unchanged {
        return Ok(site.unchanged(host, &target));
    }
    Ok(site.prepared(host, target, operation, token, answered))
}

/// A host that was looked at for a wish.
struct Site<'a> {
    name: &'a str,
    settings: &'a Settings,
    wish: &'a Wish,
    seen: Seen,
    apply: bool,
}

/// The module that is to be live.
struct Target {
    sha256: String,
    program: String,
    bytes: u64,
    definition: Option<Definition>,
    /// The bytes, if the host does not have them.
    payload: Option<Arc<[u8]>>,
}

impl Site<'_> {
    fn live(&self) -> Option<&str> {
        self.seen.database.as_ref()?.live.as_deref()
    }

    fn live_definition(&self) -> Option<&Definition> {
        self.seen.database.as_ref()?.definition.as_ref()
    }

    fn learn_live(&mut self, live: Option<String>) {
        if let (Some(database), Some(live)) = (&mut self.seen.database, live) {
            database.live = Some(live);
        }
    }

    fn target(&self, token: &Token) -> Result<Target, PublishError> {
        let store = &self.seen.store;
        match &self.wish.what {
            What::Module(module) => Ok(Target {
                sha256: module.sha256.clone(),
                program: module.program_hash.clone(),
                bytes: module.bytes.len() as u64,
                definition: Some(module.definition.clone()),
                payload: (!store.modules.contains_key(&module.sha256)).then(|| Arc::clone(&module.bytes)),
            }),
            What::Rollback { to } => {
                let database = self.wish.name.clone();
                if self.seen.database.is_none() {
                    return Err(PublishError::Unknown(database));
                }
                if *token != Token::Fits {
                    let why = "without one nobody can tell which module is live".to_owned();
                    return Err(PublishError::Token { database, why });
                }
                let entry = store.target(&database, self.live(), to.as_deref())?;
                let sha256 = entry.sha256.clone();
                let Some(bytes) = store.modules.get(&sha256).copied() else {
                    return Err(PublishError::Gone { sha256, history: store.listed() });
                };
                let program = entry.program.clone();
                Ok(Target { sha256, program, bytes, definition: None, payload: None })
            }
        }
    }

    fn operation(&self, target: &Target) -> Operation {
        match (&self.seen.database, &self.wish.what) {
            (None, _) => Operation::Create,
            (Some(_), _) if self.live() == Some(target.program.as_str()) => Operation::Unchanged,
            (Some(_), What::Module(_)) => Operation::Update,
            (Some(_), What::Rollback { .. }) => Operation::Rollback,
        }
    }

    fn rules(&self) -> Rules {
        Rules::of_server(self.seen.version.major.into(), self.seen.version.minor.into())
    }

    fn compare(&self, new: Option<&Definition>) -> Option<Migration> {
        Some(migration::compare(self.live_definition()?, new?, self.rules()))
    }

    /// What is left to ask, if anything is.
    fn inquiry<'i>(&'i self, target: &'i Target, operation: Operation, token: &Token) -> Option<Inquiry<'i>> {
        let database = self.seen.database.as_ref().filter(|_| operation != Operation::Create)?;
        let claims = match token {
            Token::Makeable(claims) if self.apply && self.wish.approved => Some(claims.clone()),
            _ => None,
        };
        // Without a token only the room can be seen.
        let fits = *token == Token::Fits || claims.is_some();
        let plans = fits && self.seen.version.plans_migrations();
        let compared = self.compare(target.definition.as_ref());
        let only_code = compared.as_ref().is_some_and(|compared| compared.tables_touched().is_empty());
        if !plans && claims.is_none() && only_code {
            return None;
        }
        Some(Inquiry {
            settings: self.settings,
            database_name: &self.wish.name,
            database: &database.identity,
            owner: &database.owner,
            claims,
            sha256: &target.sha256,
            payload: target.payload.clone().filter(|_| plans),
            keep: self.apply,
            plans,
            tables: if fits { self.tables(compared.as_ref(), operation) } else { Vec::new() },
        })
    }

    /// The tables whose rows are at stake: of the whole database, unless it is clear that only some are touched.
    fn tables(&self, compared: Option<&Migration>, operation: Operation) -> Vec<String> {
        let Some(live) = self.live_definition() else { return Vec::new() };
        match compared {
            Some(compared) if operation == Operation::Update && !self.wish.delete_data => {
                let verdict = rules::weigh(None, Some(compared));
                if verdict.manual.is_some() { rules::countable(live) } else { rules::touched(compared, live) }
            }
            _ => rules::countable(live),
        }
    }

    fn unchanged(&self, host: Arc<dyn Host>, target: &Target) -> Prepared {
        let preview = self.preview(target, Operation::Unchanged);
        let needs = Needs::default();
        let order = Order::new(self.settings, self.wish, &self.seen);
        Prepared { plan: plan::plan(&preview, self.wish, needs), preview, host, order }
    }

    fn prepared(
        &self,
        host: Arc<dyn Host>,
        mut target: Target,
        operation: Operation,
        token: Token,
        answered: Answered,
    ) -> Prepared {
        if target.definition.is_none() {
            target.definition.clone_from(&answered.definition);
        }
        let compared = self.compare(target.definition.as_ref());
        let verdict = rules::weigh(answered.migration.as_ref(), compared.as_ref());
        let mut preview = self.preview(&target, operation);
        self.describe(&mut preview, &target, &answered, compared, verdict, &token);

        let upload = target.payload.is_some();
        let sent = answered.migration.is_some() && self.apply;
        let needs = Needs {
            owner: token != Token::Fits,
            upload,
            keep_live: self.keeps_live(preview.operation),
            lock: operation == Operation::Create && self.seen.version.locks_databases(),
        };
        let plan = plan::plan(&preview, self.wish, needs);
        let mut order = Order::new(self.settings, self.wish, &self.seen);
        order.claims = match token {
            Token::Makeable(claims) => claims,
            Token::Fits => Claims { identity: self.seen.owner(), ..Claims::owner() },
        };
        order.live_sha256 = self.live().and_then(|live| self.seen.store.sha256_of(live)).map(str::to_owned);
        order.sha256 = target.sha256;
        order.program = target.program;
        order.payload = target.payload.filter(|_| !sent);
        order.steps = plan.changes.iter().map(|change| change.task.clone()).collect();
        order.operation = preview.operation;
        order.clears = preview.manual.is_some() && preview.operation != Operation::Restore;
        order.migration_token = match answered.migration {
            Some(ServerPlan::Auto { token, .. }) if !order.clears => Some(token),
            _ => None,
        };
        order.tables = self.counted(target.definition.as_ref(), &preview);
        order.restore_from = preview.restores.as_ref().map(|snapshot| snapshot.taken.clone());
        Prepared { plan, preview, host, order }
    }

    /// The tables that are counted before and after: all there are, unless that takes long.
    fn counted(&self, new: Option<&Definition>, preview: &Preview) -> Vec<String> {
        let definitions = [self.live_definition(), new];
        let all: BTreeSet<String> = definitions.into_iter().flatten().flat_map(rules::countable).collect();
        if all.len() <= MOST_COUNTED {
            all.into_iter().collect()
        } else {
            preview.rows.keys().cloned().collect()
        }
    }

    /// Whether the module that is live is not kept yet.
    fn keeps_live(&self, operation: Operation) -> bool {
        let store = &self.seen.store;
        let kept = self.live().and_then(|live| store.sha256_of(live));
        operation != Operation::Create && !kept.is_some_and(|sha256| store.modules.contains_key(sha256))
    }

    fn preview(&self, target: &Target, operation: Operation) -> Preview {
        let live = self.live();
        let replaces = live.map(|live| self.seen.store.sha256_of(live).unwrap_or(live).to_owned());
        Preview {
            host: self.name.to_owned(),
            database: self.wish.name.clone(),
            identity: self.seen.database.as_ref().map(|database| database.identity.to_string()),
            owner: Some(self.seen.owner().to_string()),
            server: self.seen.version.to_string(),
            operation,
            module: ModuleFacts { sha256: target.sha256.clone(), bytes: target.bytes },
            replaces: replaces.filter(|_| operation != Operation::Unchanged),
            source: Source::Schemas,
            differences: Vec::new(),
            plan_lines: Vec::new(),
            breaks_clients: false,
            manual: None,
            loses_data: None,
            rows: BTreeMap::new(),
            snapshot: None,
            restores: None,
            notes: Vec::new(),
        }
    }

    /// Fills in what the migration means.
    fn describe(
        &self,
        preview: &mut Preview,
        target: &Target,
        answered: &Answered,
        compared: Option<Migration>,
        verdict: Verdict,
        token: &Token,
    ) {
        preview.rows.clone_from(&answered.rows);
        preview.manual = verdict.manual;
        preview.breaks_clients = verdict.breaks_clients;
        preview.plan_lines = plan_lines(answered.migration.as_ref(), compared.as_ref());
        if answered.migration.is_some() {
            preview.source = Source::Server;
        }
        if let (Some(compared), Some(live), Some(new)) =
            (&compared, self.live_definition(), &target.definition)
        {
            preview.loses_data = rules::removed_rows(compared, live, new, &answered.rows, self.seen.version);
        }
        if preview.manual.is_none() && answered.migration.is_some() {
            let lost = preview.loses_data.as_deref();
            preview.manual = lost.and_then(|lost| rules::kept_rows(self.seen.version, lost));
        }
        if preview.operation == Operation::Rollback {
            let snapshot = self.seen.store.snapshot_of(&target.program);
            // Where the data was deleted, the old module alone would find none.
            let restores = snapshot.filter(|snapshot| preview.manual.is_some() || snapshot.deleted);
            preview.restores = restores.map(history::Snapshot::facts);
        }
        match &preview.restores {
            Some(snapshot) if self.wish.restore_data => {
                preview.loses_data = Some(rules::rows_since(&snapshot.taken, &snapshot.rows, &answered.rows));
                preview.operation = Operation::Restore;
                preview.plan_lines = vec![format!(
                    "the data goes back to the snapshot of {}",
                    history::taken(&snapshot.taken)
                )];
            }
            _ if preview.manual.is_some() => {
                let all = || rules::all_rows(&answered.rows);
                preview.loses_data = self.wish.delete_data.then(all);
            }
            _ => {}
        }
        let only_code = compared.as_ref().is_some_and(|compared| compared.tables_touched().is_empty());
        let migrates = preview.operation != Operation::Create && (!only_code || preview.manual.is_some());
        if migrates && preview.operation != Operation::Restore && self.wish.snapshot {
            preview.snapshot.clone_from(&answered.room);
        }
        preview.notes = self.notes(preview, compared.is_some(), migrates, token);
        if preview.source == Source::Server && preview.manual.is_none() {
            preview.notes.extend(compared.as_ref().and_then(rules::doubt));
        }
        preview.differences = compared.map(|compared| compared.differences).unwrap_or_default();
    }

    fn notes(&self, preview: &Preview, compared: bool, migrates: bool, token: &Token) -> Vec<String> {
        let mut notes = Vec::new();
        if preview.operation == Operation::Create {
            return notes;
        }
        let server = &preview.server;
        if preview.source == Source::Schemas && *token != Token::Fits {
            notes.push(
                "the server could not be asked, because the owner's token has to be made anew: the tables and \
                 functions of both modules were compared instead"
                    .to_owned(),
            );
        } else if preview.source == Source::Schemas && preview.operation != Operation::Restore {
            notes.push(format!(
                "SpacetimeDB {server} shows no plan: this compares both modules, and the server has the last word"
            ));
        }
        if !compared {
            notes.push(
                "one of the two modules does not tell what it is made of, so removed reducers cannot be seen"
                    .to_owned(),
            );
        }
        if preview.restores.is_some() && preview.manual.is_none() && preview.operation != Operation::Restore {
            notes.push(
                "the data was deleted after that module: it stays deleted without --restore-data".to_owned(),
            );
        } else if self.wish.restore_data && preview.restores.is_none() {
            notes.push(
                "the data is left as it is: there is none that --restore-data would bring back".to_owned(),
            );
        }
        if preview.operation == Operation::Restore {
            notes.push("all databases of this host stand still for about a second meanwhile".to_owned());
        } else if migrates && preview.snapshot.is_none() {
            let why = if self.wish.snapshot { "the data could not be found on the disk" } else { "as asked" };
            notes.push(format!("no snapshot is taken, {why}: the way back may then lose data or not exist"));
        }
        notes
    }
}

/// The migration in the server's words where it has any; what it never mentions is added.
fn plan_lines(server: Option<&ServerPlan>, compared: Option<&Migration>) -> Vec<String> {
    let beyond = || compared.map(|compared| plan::lines(compared.beyond_the_server())).unwrap_or_default();
    match server {
        Some(ServerPlan::Auto { plan, .. }) => [migration::plan_lines(plan), beyond()].concat(),
        Some(ServerPlan::Manual { .. }) => beyond(),
        None => compared.map(|compared| plan::lines(compared.differences.iter())).unwrap_or_default(),
    }
}
