//! One event subscription's events: waiting, locked by a receiver, delayed, dead-lettered. All
//! times are the emulator's; a lock runs out when somebody looks after its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::ids::Ids;
use serde_json::{Value, json};

use crate::model::topic::EventSubscription;

/// Events kept for one subscription; the oldest make room.
const CAPACITY: usize = 100_000;
/// The same in bytes, about.
const CAPACITY_BYTES: usize = 256 << 20;
/// How long after the first receipt a lock can be renewed (subscriber-operations page).
const RENEWABLE: SignedDuration = SignedDuration::from_hours(1);
/// How long an event is kept where the configured duration cannot be read.
const DEFAULT_TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why an event was taken out without being acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadLetterReason {
    /// It was handed out too often.
    MaxDeliveryCount,
    /// A receiver rejected it.
    Rejected,
    /// It was kept too long.
    Expired,
}

/// An event for the dead-letter topic.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    /// The event with the metadata that the vendor puts beside it.
    pub event: Value,
}

/// An event in the hands of a receiver.
#[derive(Debug)]
pub(crate) struct Received {
    /// What it is settled with.
    pub lock_token: String,
    /// How often it has been handed out, this time included.
    pub delivery_count: u32,
    /// The `CloudEvent`.
    pub event: Arc<Value>,
}

/// Why a lock token was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// It is not one of this service.
    Bad,
    /// The event is no longer locked with it.
    Lost,
    /// It was renewed for the longest time that is allowed.
    NotRenewable,
}

impl TokenError {
    /// Code and message as the vendor's samples give them.
    pub(crate) const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::Bad => ("BadToken", "The lock token is not valid."),
            Self::Lost => (
                "TokenLost",
                "The lock token has expired or the event was already settled.",
            ),
            Self::NotRenewable => (
                "TokenLost",
                "The lock cannot be renewed later than one hour after the event was first received.",
            ),
        }
    }
}

/// What is done with a locked event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Done with.
    Acknowledge,
    /// Given back, to be handed out again after so many seconds.
    Release(u32),
    /// Never to be handed out again.
    Reject,
    /// Kept longer.
    RenewLock,
}

#[derive(Debug)]
struct Lock {
    secret: [u8; 16],
    until: Timestamp,
}

#[derive(Debug)]
struct Slot {
    event: Arc<Value>,
    weight: usize,
    published: Timestamp,
    available: Timestamp,
    count: u32,
    first_received: Option<Timestamp>,
    last_received: Option<Timestamp>,
    lock: Option<Lock>,
}

/// The events of one subscription.
#[derive(Debug)]
pub(crate) struct Queue {
    resource: EventSubscription,
    time_to_live: SignedDuration,
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
    next: u64,
    dead: Vec<DeadLetter>,
    /// Before this time no lock and no life ends.
    due: Timestamp,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(resource: EventSubscription) -> Self {
        Self {
            time_to_live: time_to_live(&resource),
            resource,
            slots: BTreeMap::new(),
            bytes: 0,
            next: 0,
            dead: Vec::new(),
            due: Timestamp::MIN,
        }
    }

    /// The same events under other settings.
    pub(crate) fn configure(&mut self, resource: EventSubscription) {
        self.time_to_live = time_to_live(&resource);
        self.resource = resource;
        self.due = Timestamp::MIN;
    }

    /// The topic that dead-lettered events go to.
    pub(crate) fn dead_letter_topic(&self) -> Option<&str> {
        self.resource.dead_letter_target()
    }

    /// Takes an event if the filters let it through.
    pub(crate) fn offer(&mut self, event: &Arc<Value>, now: Timestamp) {
        if !self.resource.properties.filters_configuration.takes(event) {
            return;
        }
        let weight = weight(event);
        while self.slots.len() >= CAPACITY || self.bytes + weight > CAPACITY_BYTES {
            let Some((_, oldest)) = self.slots.pop_first() else {
                break;
            };
            self.bytes -= oldest.weight;
            tracing::warn!(target: "mqttstack::azure", subscription = self.resource.name, "event dropped: too many wait");
        }
        self.bytes += weight;
        self.due = self.due.min(later(now, self.time_to_live));
        self.slots.insert(
            self.next,
            Slot {
                event: event.clone(),
                weight,
                published: now,
                available: now,
                count: 0,
                first_received: None,
                last_received: None,
                lock: None,
            },
        );
        self.next += 1;
    }

    /// Hands out up to `max` events and locks them.
    pub(crate) fn receive(&mut self, max: usize, now: Timestamp, ids: &Ids) -> Vec<Received> {
        self.sweep(now);
        let until = later(now, self.lock_duration());
        self.due = self.due.min(until);
        let free = self
            .slots
            .iter_mut()
            .filter(|(_, slot)| slot.lock.is_none() && slot.available <= now);
        free.take(max)
            .map(|(number, slot)| {
                let secret = ids.bytes();
                slot.count += 1;
                slot.first_received.get_or_insert(now);
                slot.last_received = Some(now);
                slot.lock = Some(Lock { secret, until });
                Received {
                    lock_token: token(*number, secret),
                    delivery_count: slot.count,
                    event: slot.event.clone(),
                }
            })
            .collect()
    }

    /// Settles one event by its lock token.
    pub(crate) fn settle(
        &mut self,
        text: &str,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let (number, secret) = read_token(text).ok_or(TokenError::Bad)?;
        self.sweep(now);
        let lock_for = self.lock_duration();
        let slot = self.slots.get_mut(&number).ok_or(TokenError::Lost)?;
        let first = slot.first_received.unwrap_or(now);
        let lock = slot.lock.as_mut().ok_or(TokenError::Lost)?;
        if lock.secret != secret {
            return Err(TokenError::Lost);
        }
        match settlement {
            Settlement::Acknowledge => {
                self.remove(number);
            }
            Settlement::Reject => self.kill(number, DeadLetterReason::Rejected),
            Settlement::RenewLock => {
                if now.duration_since(first) > RENEWABLE {
                    return Err(TokenError::NotRenewable);
                }
                lock.until = later(now, lock_for);
            }
            Settlement::Release(delay) => {
                slot.lock = None;
                self.due = self.due.min(later(slot.published, self.time_to_live));
                slot.available = later(now, SignedDuration::from_secs(i64::from(delay)));
                if slot.count >= self.max_count() {
                    self.kill(number, DeadLetterReason::MaxDeliveryCount);
                }
            }
        }
        Ok(())
    }

    /// Takes back an event whose receiver did not get it: as if it had not been handed out.
    pub(crate) fn give_back(&mut self, text: &str, now: Timestamp) {
        let Some((number, secret)) = read_token(text) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        if slot.lock.as_ref().is_some_and(|lock| lock.secret == secret) {
            slot.count -= 1;
            if slot.count == 0 {
                slot.first_received = None;
            }
            // It is locked with this token, so it can be released with it.
            let _ = self.settle(text, Settlement::Release(0), now);
        }
    }

    /// Events that were given up since the last call, where there is a topic for them.
    pub(crate) fn take_dead(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead)
    }

    /// When time alone next makes an event available that is locked or delayed now.
    pub(crate) fn next_available(&self, now: Timestamp) -> Option<Timestamp> {
        self.slots
            .values()
            .map(|slot| {
                let locked = slot.lock.as_ref().map(|lock| lock.until);
                locked.unwrap_or(slot.available)
            })
            .filter(|at| *at > now)
            .min()
    }

    /// Ends locks and lives that have run out. Between two times at which something does, it costs
    /// nothing: one request may settle thousands of events.
    fn sweep(&mut self, now: Timestamp) {
        if now < self.due {
            return;
        }
        let max_count = self.max_count();
        let life = self.time_to_live;
        let mut gone = Vec::new();
        let mut due = Timestamp::MAX;
        for (number, slot) in &mut self.slots {
            if slot.lock.as_ref().is_some_and(|lock| lock.until <= now) {
                slot.lock = None;
                if slot.count >= max_count {
                    gone.push((*number, DeadLetterReason::MaxDeliveryCount));
                    continue;
                }
            }
            let ends = later(slot.published, life);
            match &slot.lock {
                Some(lock) => due = due.min(lock.until),
                None if ends <= now => gone.push((*number, DeadLetterReason::Expired)),
                None => due = due.min(ends),
            }
        }
        self.due = due;
        for (number, reason) in gone {
            self.kill(number, reason);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Slot> {
        let slot = self.slots.remove(&number)?;
        self.bytes -= slot.weight;
        Some(slot)
    }

    fn kill(&mut self, number: u64, reason: DeadLetterReason) {
        let Some(slot) = self.remove(number) else {
            return;
        };
        if self.dead_letter_topic().is_some() {
            self.dead.push(DeadLetter {
                event: dead_letter(&slot, reason),
            });
        }
    }

    fn lock_duration(&self) -> SignedDuration {
        let queue = &self.resource.properties.delivery_configuration.queue;
        SignedDuration::from_secs(i64::from(queue.receive_lock_duration_in_seconds))
    }

    fn max_count(&self) -> u32 {
        self.resource
            .properties
            .delivery_configuration
            .queue
            .max_delivery_count
    }
}

/// The event with what the vendor's dead-letter page puts beside it, as extension attributes.
fn dead_letter(slot: &Slot, reason: DeadLetterReason) -> Value {
    let mut event = (*slot.event).clone();
    let (why, result) = match reason {
        DeadLetterReason::MaxDeliveryCount => (
            "Maximum delivery attempts was exceeded.",
            "Event was not acknowledged nor rejected.",
        ),
        DeadLetterReason::Rejected => ("Event was rejected.", "Event was rejected."),
        DeadLetterReason::Expired => (
            "Event time to live expired.",
            "Event was not acknowledged nor rejected.",
        ),
    };
    event["deadletterreason"] = json!(why);
    event["deliveryattempts"] = json!(slot.count);
    event["deliveryresult"] = json!(result);
    event["publishutc"] = json!(slot.published.to_string());
    if let Some(at) = slot.last_received {
        event["deliveryattemptutc"] = json!(at.to_string());
    }
    event
}

/// How long events are kept.
fn time_to_live(resource: &EventSubscription) -> SignedDuration {
    let queue = &resource.properties.delivery_configuration.queue;
    queue.time_to_live().unwrap_or(DEFAULT_TIME_TO_LIVE)
}

/// About how many bytes a JSON value occupies.
fn weight(value: &Value) -> usize {
    let mut bytes = 0;
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        bytes += 32;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => left.extend(items),
            Value::Object(members) => {
                bytes += members.keys().map(|name| 32 + name.len()).sum::<usize>();
                left.extend(members.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    bytes
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn token(number: u64, secret: [u8; 16]) -> String {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&secret);
    STANDARD.encode(bytes)
}

fn read_token(text: &str) -> Option<(u64, [u8; 16])> {
    let bytes = STANDARD.decode(text).ok()?;
    let (number, secret) = bytes.split_at_checked(8)?;
    Some((
        u64::from_be_bytes(number.try_into().ok()?),
        secret.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests;
