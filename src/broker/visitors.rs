//! The connections that are open, and what is known of each from both sides of the engine: the
//! gate (`gate.rs`) tells what the TLS handshake said, the engine's hooks what became of the
//! CONNECT, `engine/door.rs` reads both.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::dialect::{Connect, ConnectRefusal, Peer, Visitor};
use super::engine::Subscribing;
use super::keep_alive::KeepAlive;

/// One open connection: the engine's listener behind the gate, and the client's address.
pub(super) type Key = (u16, SocketAddr);

/// The Authentication Method and Data of a CONNECT, which the engine would refuse.
#[derive(Debug, Clone)]
pub(super) struct Authentication {
    pub method: String,
    pub data: Option<Bytes>,
}

/// Why the broker ends a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Ending {
    /// The reason code of an MQTT 5 DISCONNECT.
    pub code: u8,
    /// The reason in words. Never a secret.
    pub reason: String,
}

impl Ending {
    pub(super) fn new(code: u8, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

#[derive(Default)]
struct Known {
    authentication: Option<Authentication>,
    connect: Option<Connect>,
    peer: Option<Arc<Peer>>,
    refusal: Option<ConnectRefusal>,
    ending: Option<Ending>,
    connect_size: usize,
    session_expiry: Option<u32>,
    /// How many acknowledgements with this packet id the client must not get.
    withheld: HashMap<u16, u32>,
}

/// What is known of one open connection.
#[derive(Default)]
pub(super) struct Visit {
    /// What the TLS handshake told.
    pub(super) visitor: Visitor,
    known: Mutex<Known>,
    /// Whether anything was ever withheld: most connections need not look.
    withholding: AtomicBool,
    /// How many of the engine's PINGRESPs the client must not get.
    pings: AtomicU32,
    /// Whether the client gets no SUBACK any more.
    withholding_subacks: AtomicBool,
    /// What its SUBSCRIBE packets say beside their filters.
    pub(super) subscribing: Subscribing,
    keep_alive: watch::Sender<KeepAlive>,
}

impl Visit {
    /// How many bytes its CONNECT has.
    pub(super) fn arrived(&self, connect_size: usize) {
        self.known.lock().connect_size = connect_size;
    }

    pub(super) fn connect_size(&self) -> usize {
        self.known.lock().connect_size
    }

    /// How many seconds the session outlives a connection that the engine sees end without a
    /// DISCONNECT.
    pub(super) fn outlived(&self, seconds: u32) {
        self.known.lock().session_expiry = Some(seconds);
    }

    pub(super) fn session_expiry(&self) -> Option<u32> {
        self.known.lock().session_expiry
    }

    /// The keep-alive that its CONNECT was granted, in seconds.
    pub(super) fn keep_alive_granted(&self, seconds: u16) {
        self.keep_alive
            .send_modify(|keep_alive| keep_alive.granted = seconds);
    }

    /// Changes the keep-alive; false if there is none to change.
    pub(super) fn change_keep_alive(&self, seconds: u16) -> bool {
        self.keep_alive.send_if_modified(|keep_alive| {
            let watched = keep_alive.granted > 0;
            if watched {
                keep_alive.changed = Some(seconds);
            }
            watched
        })
    }

    /// The keep-alive as it is and will be.
    pub(super) fn keep_alive(&self) -> watch::Receiver<KeepAlive> {
        self.keep_alive.subscribe()
    }

    pub(super) fn authenticating(&self, authentication: Authentication) {
        self.known.lock().authentication = Some(authentication);
    }

    pub(super) fn authentication(&self) -> Option<Authentication> {
        self.known.lock().authentication.clone()
    }

    /// The client is accepted. Its CONNECT is kept for a later re-authentication.
    pub(super) fn accepted(&self, connect: &Connect, peer: Arc<Peer>) {
        let mut known = self.known.lock();
        known.peer = Some(peer);
        if known.authentication.is_some() {
            known.connect = Some(connect.clone());
        }
    }

    pub(super) fn connect(&self) -> Option<Connect> {
        self.known.lock().connect.clone()
    }

    /// Who was accepted, as it was granted then.
    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        self.known.lock().peer.clone()
    }

    /// The CONNECT is refused.
    pub(super) fn refuse(&self, refusal: ConnectRefusal) {
        self.known.lock().refusal = Some(refusal);
    }

    pub(super) fn refusal(&self) -> Option<ConnectRefusal> {
        self.known.lock().refusal.clone()
    }

    /// Tells why the connection ends; the first to tell is believed.
    pub(super) fn end(&self, ending: Ending) {
        self.known.lock().ending.get_or_insert(ending);
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.known.lock().ending.clone()
    }

    /// The engine's next acknowledgement with this packet id is not for the client. Must be told
    /// before the engine writes it.
    pub(super) fn withhold(&self, packet_id: u16) {
        *self.known.lock().withheld.entry(packet_id).or_default() += 1;
        self.withholding.store(true, Ordering::Release);
    }

    /// The gate sends the engine a PINGREQ of its own. Must be told before it is sent.
    pub(super) fn pings(&self) {
        self.pings.fetch_add(1, Ordering::AcqRel);
        self.withholding.store(true, Ordering::Release);
    }

    /// Whether this PINGRESP answers the gate, not the client.
    pub(super) fn is_pinged(&self) -> bool {
        let less = |count: u32| count.checked_sub(1);
        self.pings
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }

    /// No SUBACK is for the client from now on. Must be told before the engine writes it.
    pub(super) fn withhold_subacks(&self) {
        self.withholding_subacks.store(true, Ordering::Release);
        self.withholding.store(true, Ordering::Release);
    }

    /// Whether SUBACKs are withheld.
    pub(super) fn withholds_subacks(&self) -> bool {
        self.withholding_subacks.load(Ordering::Acquire)
    }

    /// Whether an acknowledgement may have to be withheld.
    pub(super) fn withholds(&self) -> bool {
        self.withholding.load(Ordering::Acquire)
    }

    /// Whether this acknowledgement is not for the client.
    pub(super) fn is_withheld(&self, packet_id: u16) -> bool {
        let mut known = self.known.lock();
        let Some(count) = known.withheld.get_mut(&packet_id) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            known.withheld.remove(&packet_id);
        }
        true
    }
}

/// The connections that are open.
#[derive(Default)]
pub(super) struct Visitors(Mutex<HashMap<Key, Arc<Visit>>>);

impl Visitors {
    pub(super) fn find(&self, key: Key) -> Option<Arc<Visit>> {
        self.0.lock().get(&key).cloned()
    }

    /// Tells why a connection ends.
    pub(super) fn end(&self, key: Key, ending: Ending) {
        if let Some(visit) = self.find(key) {
            visit.end(ending);
        }
    }

    /// Keeps a connection known for as long as what is returned lives.
    pub(super) fn receive(&self, key: Key, visitor: Visitor) -> Reception<'_> {
        let visit = Arc::new(Visit {
            visitor,
            ..Visit::default()
        });
        self.0.lock().insert(key, visit.clone());
        Reception {
            visitors: self,
            key,
            visit,
        }
    }
}

/// Ends with the connection.
pub(super) struct Reception<'a> {
    visitors: &'a Visitors,
    key: Key,
    pub(super) visit: Arc<Visit>,
}

impl Drop for Reception<'_> {
    fn drop(&mut self) {
        let mut all = self.visitors.0.lock();
        // The client's port may already belong to its next connection.
        if all
            .get(&self.key)
            .is_some_and(|visit| Arc::ptr_eq(visit, &self.visit))
        {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_acknowledgements_are_withheld_as_were_told() {
        let visit = Visit::default();
        assert!(!visit.withholds());
        visit.withhold(7);
        visit.withhold(7);
        assert!(visit.withholds());
        assert!(!visit.is_withheld(8));
        assert!(visit.is_withheld(7));
        assert!(visit.is_withheld(7));
        assert!(!visit.is_withheld(7));
    }

    #[test]
    fn as_many_pings_as_the_gate_sent_are_answered_to_the_gate() {
        let visit = Visit::default();
        assert!(!visit.is_pinged());
        visit.pings();
        assert!(visit.withholds());
        assert!(visit.is_pinged());
        assert!(!visit.is_pinged());
    }

    #[test]
    fn a_connection_is_known_until_it_ends_and_the_next_from_the_same_port_stays_known() {
        let visitors = Visitors::default();
        let key = (1, "127.0.0.1:5".parse().unwrap());
        let first = visitors.receive(key, Visitor::default());
        let second = visitors.receive(key, Visitor::default());
        drop(first);
        assert!(visitors.find(key).is_some());
        drop(second);
        assert!(visitors.find(key).is_none());
    }
}
