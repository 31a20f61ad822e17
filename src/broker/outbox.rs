//! What waits to be written to each client, and what it has not acknowledged yet. This is where
//! a delivery's outcome is kept up to date, and where a publish waits while a connected
//! subscriber is too slow (`wait_for_room`). No engine types here.

mod offline;
mod outboxes;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(super) use self::outboxes::Outboxes;
use self::waiting::{Row, Waiting};
use super::message::{DeliveryOutcome, Message, Qos};
use crate::clock::Clock;

/// Names one message inside the engine, from its routing until its last delivery ends.
pub(super) type Tag = u32;

/// Set in the tag of a retained message as the engine sends it after a subscribe.
pub(super) const RETAINED: Tag = 1 << 31;

/// Why a delivery is given up that comes too late.
pub(super) const SESSION_OVER: &str = "the client's session has ended";

/// How many times the usual limit a client's queue may hold while its own publish waits.
const PUBLISHING_SLACK: usize = 4;

/// One connection of a client, told apart from its earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionKey(pub Option<std::net::SocketAddr>, pub i64);

#[derive(Default)]
struct State {
    waiting: Waiting,
    unacknowledged: HashMap<Tag, Row>,
    connection: Option<ConnectionKey>,
    connected_at: Option<Timestamp>,
    /// Set while this client's own publish waits for others: nobody waits for it then, so that
    /// two clients that publish to each other cannot block each other.
    publishing: bool,
    /// Set once a publish has waited for this client in vain, until it takes something again:
    /// nobody waits for it meanwhile.
    stalled: bool,
    /// Set once the session is over.
    closed: bool,
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
    fn connected(&self, key: ConnectionKey) {
        let mut state = self.state.lock();
        state.connection = Some(key);
        state.stalled = false;
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
    fn connected_elsewhere(&self, key: &ConnectionKey) -> bool {
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
        } else if state.stalled {
            Some("the queue of the client is full and it takes nothing")
        } else {
            None
        }
    }

    /// Enters a delivery that is about to be handed to the engine; false if the session has ended
    /// meanwhile.
    pub(super) fn queue(&self, tag: Tag, message: Arc<Message>, index: usize) -> bool {
        let row = Row::new(message, index);
        let mut state = self.state.lock();
        if state.closed {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
            self.write(&row, DeliveryOutcome::Dropped, Some(SESSION_OVER));
            return false;
        }
        state.waiting.insert(tag, row);
        true
    }

    /// A delivery is being written. False if it was not waiting: a second try of one that was
    /// sent before, or a retained message.
    pub(super) fn sent(&self, tag: Tag, qos: Qos) -> bool {
        self.tally.written.fetch_add(1, Ordering::Relaxed);
        let known = {
            let mut state = self.state.lock();
            state.stalled = false;
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

    /// Gives up everything, and whatever comes from now on: the session is over.
    pub(super) fn close(&self, reason: &str) -> usize {
        self.state.lock().closed = true;
        self.abandon(reason)
    }

    /// Gives up everything so far.
    pub(super) fn abandon(&self, reason: &str) -> usize {
        let rows: Vec<Row> = {
            let mut state = self.state.lock();
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

#[cfg(test)]
mod tests;
