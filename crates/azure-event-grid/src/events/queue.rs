//! One event subscription's events: waiting, locked by a receiver, delayed, dead-lettered. All
//! times are the emulator's; a lock runs out when somebody looks after its end. Whatever is done
//! with one event costs by the logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::ids::Ids;
use serde_json::{Value, json};

use super::budget::{Event, Place};
use crate::model::filter::Filter;
use crate::model::topic::EventSubscription;

/// How long after the first receipt a lock can be renewed (subscriber-operations page).
const RENEWABLE: SignedDuration = SignedDuration::from_hours(1);
/// How long an event is kept where the configured duration cannot be read.
const DEFAULT_TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What an event subscription's resource means to its queue.
#[derive(Debug)]
pub(crate) struct Terms {
    filter: Filter,
    lock_duration: SignedDuration,
    max_count: u32,
    time_to_live: SignedDuration,
    /// The topic that dead-lettered events go to.
    dead_letters: Option<Box<str>>,
}

impl Terms {
    /// Reads them from the resource.
    pub(crate) fn of(resource: &EventSubscription) -> Self {
        let queue = &resource.properties.delivery_configuration.queue;
        let seconds = i64::from(queue.receive_lock_duration_in_seconds);
        Self {
            filter: Filter::of(&resource.properties.filters_configuration),
            lock_duration: SignedDuration::from_secs(seconds),
            max_count: queue.max_delivery_count,
            time_to_live: queue.time_to_live().unwrap_or(DEFAULT_TIME_TO_LIVE),
            dead_letters: resource.dead_letter_target().map(Into::into),
        }
    }

    /// Whether the filters let an event through.
    pub(crate) fn take(&self, event: &Value) -> bool {
        self.filter.takes(event)
    }

    /// Whether an event that was published then is still kept.
    pub(crate) fn keep(&self, published: Timestamp, now: Timestamp) -> bool {
        later(published, self.time_to_live) > now
    }

    /// The topic that dead-lettered events go to.
    pub(crate) fn dead_letter_topic(&self) -> Option<&str> {
        self.dead_letters.as_deref()
    }
}

/// Why an event was taken out without being acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeadLetterReason {
    /// It was handed out too often.
    MaxDeliveryCount,
    /// A receiver rejected it.
    Rejected,
    /// It was kept too long.
    Expired,
}

/// An event in the hands of a receiver.
#[derive(Debug)]
pub(crate) struct Received {
    /// What it is settled with.
    pub lock_token: String,
    /// How often it has been handed out, this time included.
    pub delivery_count: u32,
    /// The `CloudEvent`.
    pub event: Arc<Event>,
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

/// What may be done with an event now.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It can be handed out.
    Free,
    /// It can be handed out from this time on.
    Delayed(Timestamp),
    /// A receiver has it.
    Locked { secret: [u8; 16], until: Timestamp },
}

#[derive(Debug)]
struct Slot {
    place: Place,
    published: Timestamp,
    state: State,
    /// When it next changes by time alone.
    due: Timestamp,
    count: u32,
    first_received: Option<Timestamp>,
    last_received: Option<Timestamp>,
}

impl Slot {
    /// When its lock or its delay ends, or its life: a locked event does not expire.
    fn next_change(&self, time_to_live: SignedDuration) -> Timestamp {
        let ends = later(self.published, time_to_live);
        match self.state {
            State::Free => ends,
            State::Delayed(until) => until.min(ends),
            State::Locked { until, .. } => until,
        }
    }
}

/// The events of one subscription.
#[derive(Debug)]
pub(crate) struct Queue {
    terms: Arc<Terms>,
    /// In the order in which they came. Boxed, since most queues are short: a node of the tree has
    /// room for eleven.
    slots: BTreeMap<u64, Box<Slot>>,
    /// Those that can be handed out.
    free: BTreeSet<u64>,
    /// All of them, by the time of their next change.
    due: BTreeSet<(Timestamp, u64)>,
    next: u64,
    dead: Vec<Value>,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new(terms: Arc<Terms>) -> Self {
        Self {
            terms,
            slots: BTreeMap::new(),
            free: BTreeSet::new(),
            due: BTreeSet::new(),
            next: 0,
            dead: Vec::new(),
        }
    }

    /// The same events under other terms.
    pub(crate) fn configure(&mut self, terms: Arc<Terms>) {
        self.terms = terms;
        let life = self.terms.time_to_live;
        self.due.clear();
        for (number, slot) in &mut self.slots {
            slot.due = slot.next_change(life);
            self.due.insert((slot.due, *number));
        }
    }

    /// What its subscription's resource says.
    pub(crate) fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    /// Takes an event that the filters have let through.
    pub(crate) fn push(&mut self, event: &Arc<Event>, now: Timestamp) {
        let number = self.next;
        self.next += 1;
        let slot = Slot {
            place: event.place(),
            published: now,
            state: State::Free,
            due: Timestamp::MAX,
            count: 0,
            first_received: None,
            last_received: None,
        };
        self.slots.insert(number, Box::new(slot));
        self.plan(number);
    }

    /// Hands out up to `max` events and locks them.
    pub(crate) fn receive(&mut self, max: usize, now: Timestamp, ids: &Ids) -> Vec<Received> {
        self.sweep(now);
        let until = later(now, self.terms.lock_duration);
        let numbers: Vec<_> = self.free.iter().take(max).copied().collect();
        let mut received = Vec::with_capacity(numbers.len());
        for number in numbers {
            let Some(slot) = self.slots.get_mut(&number) else {
                continue;
            };
            let secret = ids.bytes();
            slot.count += 1;
            slot.first_received.get_or_insert(now);
            slot.last_received = Some(now);
            slot.state = State::Locked { secret, until };
            received.push(Received {
                lock_token: token(number, secret),
                delivery_count: slot.count,
                event: slot.place.event.clone(),
            });
            self.plan(number);
        }
        received
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
        let lock_for = self.terms.lock_duration;
        let slot = self.locked(number, secret).ok_or(TokenError::Lost)?;
        match settlement {
            Settlement::Acknowledge => {
                self.remove(number);
            }
            Settlement::Reject => self.kill(number, DeadLetterReason::Rejected),
            Settlement::RenewLock => {
                let first = slot.first_received.unwrap_or(now);
                if now.duration_since(first) > RENEWABLE {
                    return Err(TokenError::NotRenewable);
                }
                let until = later(now, lock_for);
                slot.state = State::Locked { secret, until };
                self.plan(number);
            }
            Settlement::Release(delay) => {
                slot.state = match delay {
                    0 => State::Free,
                    delay => State::Delayed(later(now, SignedDuration::from_secs(delay.into()))),
                };
                if slot.count >= self.terms.max_count {
                    self.kill(number, DeadLetterReason::MaxDeliveryCount);
                } else {
                    self.plan(number);
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
        let Some(slot) = self.locked(number, secret) else {
            return;
        };
        slot.count -= 1;
        if slot.count == 0 {
            slot.first_received = None;
        }
        // It is locked with this token, so it can be released with it.
        let _ = self.settle(text, Settlement::Release(0), now);
    }

    /// Events that were given up since the last call, where there is a topic for them: each with
    /// what the vendor puts beside it.
    pub(crate) fn take_dead(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.dead)
    }

    /// When time alone next changes something.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Ends locks, delays and lives that have run out.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        while let Some((at, number)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, number));
            let life = self.terms.time_to_live;
            let Some(slot) = self.slots.get_mut(&number) else {
                continue;
            };
            if matches!(slot.state, State::Locked { .. }) && slot.count >= self.terms.max_count {
                self.kill(number, DeadLetterReason::MaxDeliveryCount);
                continue;
            }
            slot.state = State::Free;
            if later(slot.published, life) <= now {
                self.kill(number, DeadLetterReason::Expired);
            } else {
                self.plan(number);
            }
        }
    }

    /// The slot that is locked with a token.
    fn locked(&mut self, number: u64, secret: [u8; 16]) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&number)?;
        match slot.state {
            State::Locked { secret: own, .. } if own == secret => Some(slot),
            _ => None,
        }
    }

    /// Enters a slot whose state has changed in the lists.
    fn plan(&mut self, number: u64) {
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        self.due.remove(&(slot.due, number));
        slot.due = slot.next_change(self.terms.time_to_live);
        self.due.insert((slot.due, number));
        if matches!(slot.state, State::Free) {
            self.free.insert(number);
        } else {
            self.free.remove(&number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Box<Slot>> {
        let slot = self.slots.remove(&number)?;
        self.due.remove(&(slot.due, number));
        self.free.remove(&number);
        Some(slot)
    }

    fn kill(&mut self, number: u64, reason: DeadLetterReason) {
        let Some(slot) = self.remove(number) else {
            return;
        };
        if self.terms.dead_letters.is_some() {
            self.dead.extend(dead_letter(&slot, reason));
        }
    }
}

/// The event with what the vendor's dead-letter page puts beside it, as extension attributes.
fn dead_letter(slot: &Slot, reason: DeadLetterReason) -> Option<Value> {
    // It was written from a JSON object.
    let mut event: Value = serde_json::from_str(slot.place.event.text()).ok()?;
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
    Some(event)
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
