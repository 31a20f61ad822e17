//! What came in and what became of it: two rings, requests and messages, each entry with a
//! cursor. An entry exists before anything is decided about it, so nothing is ever unrecorded.
//! The rings are in `ring.rs`, what a request entry holds in `entry.rs`. Reading: `follower.rs`
//! goes along a ring, `tally.rs` counts, `field.rs` names what an entry shows (secrets masked by `masking.rs`),
//! `pattern.rs` and `expression.rs` compare that with what somebody looks for, `waiting.rs` waits
//! until it is there, `looking.rs` is where all that happens beside the serving threads.

mod entry;
mod expression;
pub mod field;
mod follower;
mod looking;
pub mod masking;
pub mod pattern;
mod ring;
mod tally;
pub mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mqttstack_base::exchange::{Answer, Head, Receipt, Request, Surface};
use mqttstack_base::message::Message;
use serde::{Deserialize, Serialize};

pub use entry::{Draft, Entry, Outcome};
pub use expression::Expression;
pub use follower::{Follower, Record};
pub use looking::{Halt, Looking, Reading};
pub use ring::{Cursor, Ring, Snapshot};
pub use tally::{Tally, vendor};

/// How much the journal keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Entries in each of the two rings (default 10,000).
    pub max_entries: usize,
    /// Bytes in both rings together (default 64 MiB).
    pub max_bytes: usize,
    /// How long one search may take, in milliseconds (default 10,000).
    pub search_timeout_ms: u64,
    /// The longest text that a search compares, in bytes (default 4 MiB).
    pub search_entry_bytes: usize,
    /// How much text one search compares in all, in bytes (default 256 MiB).
    pub search_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            max_bytes: 64 << 20,
            search_timeout_ms: 10_000,
            search_entry_bytes: 4 << 20,
            search_bytes: 256 << 20,
        }
    }
}

/// A shared handle on both rings.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_bytes: usize,
    bytes: Arc<AtomicUsize>,
    requests: Arc<Ring<Entry>>,
    messages: Arc<Ring<Message>>,
    reading: Reading,
    tally: Tally,
}

impl Journal {
    /// Empty rings.
    pub fn new(settings: &Settings) -> Self {
        let bytes = Arc::new(AtomicUsize::new(0));
        Self(Arc::new(Inner {
            max_bytes: settings.max_bytes,
            requests: Arc::new(Ring::new(settings.max_entries, bytes.clone())),
            messages: Arc::new(Ring::new(settings.max_entries, bytes.clone())),
            bytes,
            reading: Reading::new(settings.into()),
            tally: Tally::default(),
        }))
    }

    /// The requests.
    pub fn requests(&self) -> &Arc<Ring<Entry>> {
        &self.0.requests
    }

    /// The messages.
    pub fn messages(&self) -> &Arc<Ring<Message>> {
        &self.0.messages
    }

    /// How many came, those that have left the rings included.
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Where the journal is looked through.
    pub fn reading(&self) -> &Reading {
        &self.0.reading
    }

    /// Opens the entry of a request. Unless it is [`Opened::close`]d, its drop closes it as
    /// aborted.
    pub fn open(&self, surface: Option<Surface>, receipt: &Receipt, request: &Request) -> Opened {
        let entry = Arc::new(Entry::new(
            surface,
            receipt,
            request.head.clone(),
            request.body.clone(),
        ));
        let weight = entry.weight();
        self.0.requests.push(entry.clone(), weight);
        self.trim();
        Opened {
            journal: self.clone(),
            entry,
            draft: Draft::default(),
            started: std::time::Instant::now(),
            closed: false,
        }
    }

    /// Keeps something that was refused and is no HTTP request: an MQTT packet. `head.method`
    /// is the packet's name, `head.target` its topic, `status` its reason code.
    pub fn refused(
        &self,
        surface: Option<Surface>,
        receipt: &Receipt,
        head: Head,
        draft: Draft,
        status: u16,
    ) {
        self.0.tally.refused(surface, &draft, status);
        self.keep(surface, receipt, head, draft, status);
    }

    fn keep(
        &self,
        surface: Option<Surface>,
        receipt: &Receipt,
        head: Head,
        draft: Draft,
        status: u16,
    ) {
        let entry = Arc::new(Entry::new(surface, receipt, head, Bytes::new()));
        let outcome = Outcome::packet(draft, status);
        let requests = self.requests();
        requests.push(entry.clone(), entry.weight());
        requests.change(outcome.weight(), |cursor| entry.finish(outcome, cursor));
        self.trim();
    }

    /// Keeps an MQTT packet that was taken with hints, in the shape of a refused one.
    pub fn noted(&self, surface: Option<Surface>, receipt: &Receipt, head: Head, draft: Draft) {
        self.keep(surface, receipt, head, draft, 0);
    }

    /// Keeps a message.
    pub fn record(&self, message: Arc<Message>) {
        let weight = message.weight();
        self.0.messages.push(message, weight);
        self.trim();
    }

    /// Forgets every request, beside the serving threads: an entry is many pieces of memory.
    pub async fn forget_requests(&self) {
        let ring = self.requests().clone();
        // Fails only when the runtime ends.
        let _ = tokio::task::spawn_blocking(move || ring.clear()).await;
    }

    /// The same for the messages.
    pub async fn forget_messages(&self) {
        let ring = self.messages().clone();
        let _ = tokio::task::spawn_blocking(move || ring.clear()).await;
    }

    /// Evicts the oldest entries of the larger ring until both fit into the limit together.
    fn trim(&self) {
        while self.0.bytes.load(Ordering::Relaxed) > self.0.max_bytes {
            let evicted = if self.0.requests.bytes() >= self.0.messages.bytes() {
                self.0.requests.evict_oldest()
            } else {
                self.0.messages.evict_oldest()
            };
            if !evicted {
                return;
            }
        }
    }
}

/// The entry of a request that is being walked.
#[derive(Debug)]
pub struct Opened {
    journal: Journal,
    entry: Arc<Entry>,
    /// What the walk has found out so far.
    pub draft: Draft,
    started: std::time::Instant,
    closed: bool,
}

impl Opened {
    /// The entry itself.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Writes down the answer. Called before the answer leaves.
    pub fn close(mut self, answer: &Answer) {
        self.finish(Some(answer));
    }

    /// The same for whoever cannot give the entry away; only the first time counts.
    pub(crate) fn finish(&mut self, answer: Option<&Answer>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let mut draft = std::mem::take(&mut self.draft);
        if answer.is_none() {
            draft
                .reasons
                .push("aborted: the client left before there was an answer".to_owned());
        }
        let took = self.started.elapsed();
        let status = answer.map(|answer| answer.status);
        let tally = self.journal.tally();
        tally.ended(self.entry.surface, &draft, status, took);
        let outcome = Outcome::new(draft, answer, took);
        let weight = outcome.weight();
        let requests = self.journal.requests();
        requests.change(weight, |cursor| self.entry.finish(outcome, cursor));
        self.journal.trim();
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.finish(None);
    }
}
