//! The outboxes of all clients, and how a publish waits for room in those that it is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::{ConnectionKey, Outbox};
use crate::clock::Clock;
use crate::exchange::Refusal;

/// The outboxes of all clients.
pub(in crate::broker) struct Outboxes {
    clock: Clock,
    limit: usize,
    wait: Duration,
    boxes: RwLock<HashMap<ByteString, Arc<Outbox>>>,
}

impl Outboxes {
    pub(in crate::broker) fn new(clock: Clock, limit: usize, wait: Duration) -> Self {
        Self {
            clock,
            limit: limit.max(1),
            wait,
            boxes: RwLock::default(),
        }
    }

    pub(in crate::broker) fn limit(&self) -> usize {
        self.limit
    }

    /// The outbox of a client id, made on first use.
    pub(in crate::broker) fn of(&self, client_id: &ByteString) -> Arc<Outbox> {
        if let Some(found) = self.find(client_id) {
            return found;
        }
        self.boxes
            .write()
            .entry(client_id.clone())
            .or_insert_with(|| Arc::new(Outbox::new(client_id.clone(), self.clock.clone())))
            .clone()
    }

    pub(in crate::broker) fn find(&self, client_id: &str) -> Option<Arc<Outbox>> {
        self.boxes.read().get(client_id).cloned()
    }

    /// How many clients have a session, and how many of them are connected.
    pub(in crate::broker) fn clients(&self) -> (usize, usize) {
        let boxes = self.boxes.read();
        let connected = boxes
            .values()
            .filter(|outbox| outbox.state.lock().connection.is_some());
        (boxes.len(), connected.count())
    }

    /// Whether every connected client has acknowledged everything, those that take nothing aside.
    pub(in crate::broker) fn are_drained(&self) -> bool {
        let boxes = self.boxes.read();
        boxes.values().all(|outbox| {
            let state = outbox.state.lock();
            state.connection.is_none()
                || state.stalled
                || state.waiting.is_empty() && state.unacknowledged.is_empty()
        })
    }

    /// A connection of a client was accepted.
    pub(in crate::broker) fn connected(&self, client_id: &ByteString, key: ConnectionKey) {
        let mut boxes = self.boxes.write();
        let outbox = boxes
            .entry(client_id.clone())
            .or_insert_with(|| Arc::new(Outbox::new(client_id.clone(), self.clock.clone())));
        outbox.connected(key);
    }

    /// Forgets a client whose session is over, unless a newer connection of it has come.
    pub(in crate::broker) fn remove(
        &self,
        client_id: &str,
        key: &ConnectionKey,
    ) -> Option<Arc<Outbox>> {
        let mut boxes = self.boxes.write();
        if boxes.get(client_id)?.connected_elsewhere(key) {
            return None;
        }
        boxes.remove(client_id)
    }

    /// Waits until every target has room, for the configured time at most, and not at all for a
    /// target that somebody has waited for in vain already. `publisher` is the publishing MQTT
    /// client, if it is one: it never waits for itself.
    pub(in crate::broker) async fn wait_for_room(
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
        let taken = |target: &Arc<Outbox>| target.tally.written.load(Ordering::Relaxed);
        let before: Vec<_> = targets.iter().map(taken).collect();
        for target in targets {
            loop {
                let room = target.room.notified();
                tokio::pin!(room);
                // Registered before the check, so that a wake between the two is not lost.
                room.as_mut().enable();
                if !full(&target) {
                    break;
                }
                let given_up = target.state.lock().stalled;
                if given_up || tokio::time::timeout_at(deadline, room).await.is_err() {
                    for (target, before) in targets.iter().zip(before) {
                        if full(&target) && taken(target) == before {
                            target.state.lock().stalled = true;
                        }
                    }
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
