//! All sessions by client id, and how a connection gets one: a new one, the one that waits, or
//! one that another connection has, which it takes over (MQTT 5.0 section 3.1.4). Until the other
//! connection has let go nothing is touched; then everything changes hands in one step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqttstack_base::message::Will;
use parking_lot::Mutex;

use super::core::Core;
use super::dialect::{Dialect, Peer, SessionEnd};
use super::ending::Ending;
use super::session::{About, Key, Owner, Session};
use super::tenant::Tenant;

/// Every session. Few client ids have more than one: only those of several tenants.
#[derive(Default)]
pub(crate) struct Sessions {
    by_client_id: Mutex<HashMap<Arc<str>, Vec<Arc<Session>>>>,
    next_id: AtomicU64,
}

/// What a CONNECT asks for that has been accepted.
pub(crate) struct Claim {
    pub(crate) key: Key,
    pub(crate) owner: Arc<Owner>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) dialect: Option<Arc<dyn Dialect>>,
    pub(crate) about: About,
    pub(crate) clean_start: bool,
    /// Seconds that the session outlives the connection.
    pub(crate) expiry: u32,
    pub(crate) window: u16,
    pub(crate) will: Option<Box<Will>>,
}

/// What a look at the sessions says.
enum Found {
    /// Another connection has the session.
    Taken(Arc<Owner>),
    /// It waits for its client, which wants a new one.
    Old(Arc<Session>),
    /// It is the claimant's now, and is it an earlier one.
    Own(Arc<Session>, bool),
}

impl Sessions {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The session of a client id in a tenant.
    pub(crate) fn get(&self, tenant: &Tenant, client_id: &str) -> Option<Arc<Session>> {
        let all = self.by_client_id.lock();
        let own = all.get(client_id)?;
        own.iter()
            .find(|session| session.key.tenant == *tenant)
            .cloned()
    }

    /// A session of a client id, whichever its tenant.
    pub(crate) fn any(&self, client_id: &str) -> Option<Arc<Session>> {
        self.by_client_id.lock().get(client_id)?.first().cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let all = self.by_client_id.lock();
        all.values().flatten().cloned().collect()
    }

    /// How many there are, and how many of them are connected.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let all = self.all();
        let connected = all.iter().filter(|session| session.is_connected());
        (all.len(), connected.count())
    }

    /// Takes a session out; false if it was not there any more.
    pub(crate) fn remove(&self, session: &Session) -> bool {
        let mut all = self.by_client_id.lock();
        let Some(own) = all.get_mut(&session.key.client_id) else {
            return false;
        };
        let before = own.len();
        own.retain(|other| other.id != session.id);
        let removed = own.len() < before;
        if own.is_empty() {
            all.remove(&session.key.client_id);
        }
        removed
    }

    fn find(&self, claim: &Claim) -> Found {
        let mut all = self.by_client_id.lock();
        let own = all.entry(claim.key.client_id.clone()).or_default();
        let known = own
            .iter()
            .find(|session| session.key.tenant == claim.key.tenant);
        if let Some(session) = known {
            let mut state = session.lock();
            if let Some(owner) = &state.owner {
                return Found::Taken(owner.clone());
            }
            if !state.closed && !claim.clean_start {
                state.owner = Some(claim.owner.clone());
                state.peer = claim.peer.clone();
                state.about = claim.about.clone();
                drop(state);
                return Found::Own(session.clone(), true);
            }
            if !state.closed {
                drop(state);
                return Found::Old(session.clone());
            }
            drop(state);
            own.retain(|session| session.key.tenant != claim.key.tenant);
        }
        let session = Arc::new(Session::new(
            self.next_id(),
            claim.key.clone(),
            claim.owner.clone(),
            claim.peer.clone(),
            claim.about.clone(),
        ));
        own.push(session.clone());
        Found::Own(session, false)
    }
}

/// Gives a connection its session, and whether it is an earlier one (Session Present).
pub(crate) async fn claim(core: &Arc<Core>, mut claim: Claim) -> (Arc<Session>, bool) {
    loop {
        match core.sessions.find(&claim) {
            Found::Taken(owner) => {
                let released = owner.released().notified();
                tokio::pin!(released);
                // Registered before the other is asked to go, so that its answer is not missed.
                released.as_mut().enable();
                owner.end(Ending::TakenOver);
                // It may have gone between the look and the registration.
                if matches!(core.sessions.owner_of(&claim.key), Some(id) if id == owner.id) {
                    released.await;
                }
            }
            Found::Old(session) => {
                core.end_session(&session, SessionEnd::CleanStart);
            }
            Found::Own(session, present) => {
                settle(core, &session, &mut claim);
                return (session, present);
            }
        }
    }
}

impl Sessions {
    /// The connection that has a session now.
    fn owner_of(&self, key: &Key) -> Option<u64> {
        let session = self.get(&key.tenant, &key.client_id)?;

        session.lock().owner.as_ref().map(|owner| owner.id)
    }
}

/// What the CONNECT says of the session holds from now on.
fn settle(core: &Core, session: &Session, claim: &mut Claim) {
    let now = core.clock.now();
    let mut state = session.lock();
    // What has waited for too long is gone before its client is there again.
    let dropped = state.trim(now);
    state.dialect = claim.dialect.take();
    state.will = claim.will.take();
    state.expiry = claim.expiry;
    core.timers.cancel(state.expires.take());
    core.timers.cancel(state.will_due.take());
    state.resume(claim.window);
    drop(state);
    session
        .tally
        .dropped
        .fetch_add(dropped as u64, Ordering::Relaxed);
    core.dropped(dropped);
}
