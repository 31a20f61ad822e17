//! What waits to be written to each client, and what it has not acknowledged yet. This is where
//! a delivery's outcome is kept up to date, and where a publish waits while a connected
//! subscriber is too slow (`wait_for_room`). No engine types here.

mod offline;
mod waiting;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::waiting::{Row, Waiting};
use super::message::{DeliveryOutcome, Message, Qos};
use crate::clock::Clock;
use crate::exchange::Refusal;

/// Names one message inside the engine, from its routing until its last delivery ends.
pub(super) type Tag = u32;

/// How many times the usual limit a client's queue may hold while its own publish waits.
const PUBLISHING_SLACK: usize = 4;

/// One connection of a client, told apart from its earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionKey(pub Option<std::net::SocketAddr>, pub i64);

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// What was given up here while others still hold its packet: it must not be written.
    given_up: HashSet<Tag>,
    unacknowledged: HashMap<Tag, Row>,
    connection: Option<ConnectionKey>,
    connected_at: Option<Timestamp>,
    /// Set while this client's own publish waits for others: nobody waits for it then, so that
    /// two clients that publish to each other cannot block each other.
    publishing: bool,
}

/// Counters of one client.
#[derive(Default)]
pub(super) struct Tally {
    pub taken: AtomicU64,
    pub written: AtomicU64,
    pub dropped: AtomicU64,
}

/// The deliveries of one client id.
pub(super) struct Outbox {
    pub client_id: ByteString,
    pub tally: Tally,
    clock: Clock,
    state: Mutex<State>,
    room: Notify,
}

impl Outbox {
    fn new(client_id: ByteString, clock: Clock) -> Self {
        Self {
            client_id,
            tally: Tally::default(),
            clock,
            state: Mutex::default(),
            room: Notify::new(),
        }
    }

    /// A connection of this client was accepted.
    pub(super) fn connected(&self, key: ConnectionKey) {
        let mut state = self.state.lock();
        state.connection = Some(key);
        state.connected_at = Some(self.clock.now());
    }

    /// A connection ended; false if a newer one has taken its place.
    pub(super) fn disconnected(&self, key: &ConnectionKey) -> bool {
        let current = {
            let mut state = self.state.lock();
            let current = state.connection.as_ref() == Some(key);
            if current {
                state.connection = None;
            }
            current
        };
        self.room.notify_waiters();
        current
    }

    /// Whether another connection than this one is the client's current one.
    pub(super) fn connected_elsewhere(&self, key: &ConnectionKey) -> bool {
        let state = self.state.lock();
        state
            .connection
            .as_ref()
            .is_some_and(|current| current != key)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().connection.is_some()
    }

    pub(super) fn connected_at(&self) -> Option<Timestamp> {
        self.state.lock().connected_at
    }

    pub(super) fn lengths(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.waiting.len(), state.unacknowledged.len())
    }

    /// Whether it is connected and has taken everything so far.
    pub(super) fn idle(&self) -> bool {
        let state = self.state.lock();
        state.connection.is_some() && state.waiting.is_empty()
    }

    /// Whether a delivery of this quality of service would find room, or need not wait for it.
    fn has_room(&self, limit: usize) -> bool {
        let state = self.state.lock();
        let limit = if state.publishing {
            limit * PUBLISHING_SLACK
        } else {
            limit
        };
        state.connection.is_none() || state.waiting.len() < limit
    }

    /// Whether a delivery must be given up at once because the queue is full.
    pub(super) fn full(&self, qos: Qos, limit: usize) -> Option<&'static str> {
        let state = self.state.lock();
        if state.waiting.len() < limit {
            None
        } else if state.connection.is_none() {
            Some("the queue of the offline client is full")
        } else if qos == Qos::AtMostOnce {
            Some("the queue of the client is full and the delivery is QoS 0")
        } else {
            None
        }
    }

    /// Enters a delivery that is about to be handed to the engine.
    pub(super) fn queue(&self, tag: Tag, message: Arc<Message>, index: usize) {
        let row = Row::new(message, index);
        self.state.lock().waiting.insert(tag, row);
    }

    /// A delivery is being written. False if it was not waiting: a second try of one that was
    /// sent before, or a retained message.
    pub(super) fn sent(&self, tag: Tag, qos: Qos) -> bool {
        self.tally.written.fetch_add(1, Ordering::Relaxed);
        let known = {
            let mut state = self.state.lock();
            let Some(row) = state.waiting.remove(tag) else {
                return state.unacknowledged.contains_key(&tag);
            };
            self.write(&row, DeliveryOutcome::Sent, None);
            if qos != Qos::AtMostOnce {
                state.unacknowledged.insert(tag, row);
            }
            true
        };
        self.room.notify_waiters();
        known
    }

    /// A delivery that counted as sent was not written after all; false if it is not known as
    /// sent and unacknowledged.
    pub(super) fn unsent(&self, tag: Tag) -> bool {
        let mut state = self.state.lock();
        let Some(row) = state.unacknowledged.remove(&tag) else {
            return false;
        };
        self.write(&row, DeliveryOutcome::Queued, None);
        state.waiting.insert(tag, row);
        true
    }

    /// Enters a delivery that is being written without ever having waited here: a retained
    /// message that the engine sends after a subscribe.
    pub(super) fn sent_retained(&self, tag: Tag, qos: Qos, message: Arc<Message>, index: usize) {
        if qos != Qos::AtMostOnce {
            let row = Row::new(message, index);
            self.state.lock().unacknowledged.insert(tag, row);
        }
    }

    /// The client acknowledged a delivery.
    pub(super) fn acknowledged(&self, tag: Tag) {
        let row = self.state.lock().unacknowledged.remove(&tag);
        if let Some(row) = row {
            self.write(&row, DeliveryOutcome::Acknowledged, None);
        }
    }

    /// A delivery was given up; false if it was none of this client's any more.
    pub(super) fn dropped(&self, tag: Tag, outcome: DeliveryOutcome, reason: &str) -> bool {
        let row = {
            let mut state = self.state.lock();
            state
                .waiting
                .remove(tag)
                .or_else(|| state.unacknowledged.remove(&tag))
        };
        let known = row.is_some();
        if let Some(row) = row {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            self.write(&row, outcome, Some(reason));
        }
        self.room.notify_waiters();
        known
    }

    /// Whether a waiting delivery has outlived its message expiry interval.
    pub(super) fn expired(&self, tag: Tag) -> bool {
        let state = self.state.lock();
        let Some(row) = state.waiting.get(tag) else {
            return false;
        };
        let age = self.clock.now().duration_since(row.message.time).as_secs();
        row.message
            .properties
            .message_expiry_interval
            .is_some_and(|expiry| expiry > 0 && age >= i64::from(expiry))
    }

    /// Gives up everything: the session is over.
    pub(super) fn abandon(&self, reason: &str) -> usize {
        let rows: Vec<Row> = {
            let mut state = self.state.lock();
            state.given_up.clear();
            let waiting = std::mem::take(&mut state.waiting);
            let unacknowledged = std::mem::take(&mut state.unacknowledged);
            waiting
                .into_rows()
                .chain(unacknowledged.into_values())
                .collect()
        };
        for row in &rows {
            self.write(row, DeliveryOutcome::Dropped, Some(reason));
        }
        let count = rows.len();
        self.tally
            .dropped
            .fetch_add(count as u64, Ordering::Relaxed);
        self.room.notify_waiters();
        count
    }

    fn write(&self, row: &Row, outcome: DeliveryOutcome, reason: Option<&str>) {
        if let Some(delivery) = row.message.deliveries.lock().get_mut(row.index) {
            delivery.outcome = outcome;
            delivery.reason = reason.map(ToOwned::to_owned);
            delivery.time = self.clock.now();
        }
    }
}

/// The outboxes of all clients.
pub(super) struct Outboxes {
    clock: Clock,
    limit: usize,
    wait: Duration,
    boxes: RwLock<HashMap<ByteString, Arc<Outbox>>>,
}

impl Outboxes {
    pub(super) fn new(clock: Clock, limit: usize, wait: Duration) -> Self {
        Self {
            clock,
            limit: limit.max(1),
            wait,
            boxes: RwLock::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The outbox of a client id, made on first use.
    pub(super) fn of(&self, client_id: &ByteString) -> Arc<Outbox> {
        if let Some(found) = self.find(client_id) {
            return found;
        }
        self.boxes
            .write()
            .entry(client_id.clone())
            .or_insert_with(|| Arc::new(Outbox::new(client_id.clone(), self.clock.clone())))
            .clone()
    }

    pub(super) fn find(&self, client_id: &str) -> Option<Arc<Outbox>> {
        self.boxes.read().get(client_id).cloned()
    }

    /// How many clients have a session, and how many of them are connected.
    pub(super) fn clients(&self) -> (usize, usize) {
        let boxes = self.boxes.read();
        let connected = boxes
            .values()
            .filter(|outbox| outbox.state.lock().connection.is_some());
        (boxes.len(), connected.count())
    }

    /// Forgets a client whose session is over.
    pub(super) fn remove(&self, client_id: &str) -> Option<Arc<Outbox>> {
        self.boxes.write().remove(client_id)
    }

    /// Waits until every target has room, for the configured time at most. `publisher` is the
    /// publishing MQTT client, if it is one: it never waits for itself.
    pub(super) async fn wait_for_room(
        &self,
        targets: &[Arc<Outbox>],
        publisher: Option<&Arc<Outbox>>,
    ) -> Result<(), Refusal> {
        let full = |target: &&Arc<Outbox>| {
            !publisher.is_some_and(|own| Arc::ptr_eq(own, target)) && !target.has_room(self.limit)
        };
        if !targets.iter().any(|target| full(&target)) {
            return Ok(());
        }
        let _publishing = publisher.map(Publishing::begin);
        let deadline = Instant::now() + self.wait;
        for target in targets {
            loop {
                let room = target.room.notified();
                tokio::pin!(room);
                // Registered before the check, so that a wake between the two is not lost.
                room.as_mut().enable();
                if !full(&target) {
                    break;
                }
                if tokio::time::timeout_at(deadline, room).await.is_err() {
                    return Err(Refusal::Overloaded {
                        client_id: target.client_id.to_string(),
                        waited_ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Marks a client as waiting in its own publish for as long as this lives.
struct Publishing(Arc<Outbox>);

impl Publishing {
    fn begin(outbox: &Arc<Outbox>) -> Self {
        outbox.state.lock().publishing = true;
        // Whoever waits for this client need not any more.
        outbox.room.notify_waiters();
        Self(outbox.clone())
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.state.lock().publishing = false;
    }
}

#[cfg(test)]
mod tests;
