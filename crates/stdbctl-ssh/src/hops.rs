//! The hosts on the way to others: one connection to each, whoever goes through it, and doors that are not rushed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::connect::{ConnectOptions, connect};
use crate::count::Stats;
use crate::error::ConnectError;
use crate::route::Route;
use crate::session::Session;

/// How many may be logging in at one address, or behind one host on the way, at the same time. Below sshd's default
/// `MaxStartups` of 10, from which on it drops some of those that are not logged in.
pub const MOST_AT_THE_DOOR: usize = 8;

/// What the connections of one run share: those to hosts on the way, and whose turn it is to connect. Clones are
/// the same.
#[derive(Clone, Default)]
pub struct Hops(Arc<Known>);

#[derive(Default)]
struct Known {
    connections: Mutex<HashMap<String, Arc<Connection>>>,
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Made once; who waits for it meanwhile shares its failure too.
pub(crate) type Connection = OnceCell<Result<Arc<Session>, Arc<ConnectError>>>;

/// A host on the way that was reached.
pub(crate) struct Reached {
    pub(crate) session: Arc<Session>,
    /// What that has cost, for who has had it done.
    pub(crate) cost: Stats,
}

impl fmt::Debug for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hops").finish_non_exhaustive()
    }
}

impl Hops {
    /// The connection to a host on the way, made if it is not there.
    pub(crate) async fn reach(&self, hop: &ConnectOptions) -> Result<Reached, ConnectError> {
        let connection = self.connection(identity(hop));
        let mut cost = Stats::default();
        let made = connection
            .get_or_init(|| async {
                let session = connect_boxed(hop.clone()).await.map_err(Arc::new)?;
                cost = session.stats();
                Ok(Arc::new(session))
            })
            .await;
        match made {
            Ok(session) => Ok(Reached { session: Arc::clone(session), cost }),
            Err(source) => {
                Err(ConnectError::Hop { hop: hop.target.host.clone(), source: Arc::clone(source) })
            }
        }
    }

    /// The connections to the hosts on this route, whatever has become of them.
    pub(crate) fn known(&self, route: &Route) -> Vec<Arc<Connection>> {
        let connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut known, mut route) = (Vec::new(), route);
        while let Route::Through(hop) = route {
            known.extend(connections.get(&identity(hop)).cloned());
            route = &hop.route;
        }
        known
    }

    /// Nobody else goes through these: who comes next makes them anew. Who is behind them stays there.
    pub(crate) fn forget(&self, known: &[Arc<Connection>]) {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|_, connection| !known.iter().any(|known| Arc::ptr_eq(known, connection)));
    }

    /// Waits until there are few enough at the same door. Who comes that way is at it until the result is dropped.
    pub(crate) async fn turn(&self, options: &ConnectOptions) -> Option<OwnedSemaphorePermit> {
        let door = {
            let mut doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
            let door = doors.entry(door(options));
            Arc::clone(door.or_insert_with(|| Arc::new(Semaphore::new(MOST_AT_THE_DOOR))))
        };
        // Nobody closes it.
        door.acquire_owned().await.ok()
    }

    /// One that failed or is lost is no more: it is made anew for who comes then.
    fn connection(&self, identity: String) -> Arc<Connection> {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = connections.entry(identity).or_default();
        if connection.get().is_some_and(|made| made.as_ref().map_or(true, |session| session.is_closed())) {
            *connection = Arc::default();
        }
        Arc::clone(connection)
    }
}

fn connect_boxed(
    options: ConnectOptions,
) -> Pin<Box<dyn Future<Output = Result<Session, ConnectError>> + Send>> {
    Box::pin(connect(options))
}

/// Everything that makes one connection to a host another than the next.
pub(crate) fn identity(options: &ConnectOptions) -> String {
    let ConnectOptions { target, host_name, user, address, .. } = options;
    let ConnectOptions { identity_files, configured_identities, certificate_files, .. } = options;
    let ConnectOptions { identities_only, agent_socket, known_hosts, host_key_alias, .. } = options;
    let ConnectOptions { address_family, bind_address, global_known_hosts, authentication, .. } = options;
    let where_to = (target, host_name, user, address, address_family, bind_address, way(&options.route));
    let keys = (identity_files, configured_identities, certificate_files, identities_only, agent_socket);
    let login = (keys, authentication);
    let trust = (known_hosts, global_known_hosts, host_key_alias, &options.algorithms);
    format!("{where_to:?} {login:?} {trust:?}")
}

fn way(route: &Route) -> String {
    match route {
        Route::Direct => String::new(),
        Route::Through(hop) => identity(hop),
        Route::Command(line) => line.clone(),
    }
}

/// What connections are counted by that a server could find too many.
fn door(options: &ConnectOptions) -> String {
    match &options.route {
        Route::Direct => {
            options.address.map_or_else(|| options.host_name().to_lowercase(), |address| address.to_string())
        }
        route => way(route),
    }
}
