//! One request in the journal: what came, and, once the walk has ended, what was found out and
//! answered. What of it may be shown, and by which name, is in `field.rs`.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_base::exchange::{Answer, Head, Receipt, Surface};
use mqttstack_base::message::Message;

use super::ring::Cursor;

/// What the walk finds out while it goes.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The name of the operation, as the vendor or the caller gives it.
    pub operation: Option<String>,
    /// The same where it is one that the vendor has.
    pub known: Option<&'static str>,
    /// Who calls: an access key id, a device, a user; never a secret.
    pub caller: Option<String>,
    /// The vendor's error code.
    pub error_code: Option<String>,
    /// Why it was refused, and notes, in words. The notes of an answer that is no refusal are
    /// hints.
    pub reasons: Vec<String>,
    /// What was lenient: what the vendor's cloud might have refused, in words.
    pub hints: Vec<String>,
    /// Ids of the messages that it published.
    pub messages: Vec<String>,
    /// The topic of the first of them, for the log.
    pub topic: Option<String>,
}

impl Draft {
    /// Notes the operation, one of the vendor's own.
    pub fn asks(&mut self, operation: &'static str) {
        self.operation = Some(operation.to_owned());
        self.known = Some(operation);
    }

    /// Adds a reason, or a note on an answer that is no refusal.
    pub fn note(&mut self, text: impl Into<String>) {
        self.reasons.push(text.into());
    }

    /// Says that something was lenient, whatever the answer will be.
    pub fn hint(&mut self, text: impl Into<String>) {
        self.hints.push(text.into());
    }

    /// Notes a message that the request published.
    pub fn published(&mut self, message: &Message) {
        self.topic.get_or_insert_with(|| message.topic.clone());
        self.messages.push(message.id.clone());
    }
}

/// How a request ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When it was written down, in the order of the ring's events.
    pub cursor: Cursor,
    /// What the walk found out.
    pub draft: Draft,
    /// The status answered; `None` if the walk was aborted.
    pub status: Option<u16>,
    /// The answer's header fields.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The answer's body.
    pub body: Bytes,
    /// How long the walk took.
    pub duration: Duration,
}

impl Outcome {
    pub(super) fn new(mut draft: Draft, answer: Option<&Answer>, duration: Duration) -> Self {
        let refused = draft.error_code.is_some() || answer.is_none_or(|one| one.status >= 400);
        if !refused {
            draft.hints.extend(draft.reasons.iter().cloned());
        }
        Self {
            cursor: 0,
            draft,
            status: answer.map(|answer| answer.status),
            headers: answer
                .map(|answer| answer.headers.clone())
                .unwrap_or_default(),
            body: answer.map(|answer| answer.body.bytes()).unwrap_or_default(),
            duration,
        }
    }

    pub(super) fn packet(draft: Draft, status: u16) -> Self {
        Self {
            cursor: 0,
            draft,
            status: Some(status),
            headers: Vec::new(),
            body: Bytes::new(),
            duration: Duration::ZERO,
        }
    }

    pub(super) fn weight(&self) -> usize {
        let words = self.draft.reasons.iter().chain(&self.draft.hints);
        256 + self.body.len()
            + words.map(|text| text.len() + 32).sum::<usize>()
            + self
                .headers
                .iter()
                .map(|(n, v)| n.len() + v.len() + 48)
                .sum::<usize>()
    }
}

/// One request.
#[derive(Debug)]
pub struct Entry {
    /// The request id.
    pub id: String,
    /// The emulator's time at which it came.
    pub time: Timestamp,
    /// Whose surface it was for; `None` if it was for none.
    pub surface: Option<Surface>,
    /// Request line and header fields.
    pub head: Head,
    /// The body.
    pub body: Bytes,
    outcome: OnceLock<Outcome>,
}

impl Entry {
    pub(super) fn new(
        surface: Option<Surface>,
        receipt: &Receipt,
        head: Head,
        body: Bytes,
    ) -> Self {
        Self {
            id: receipt.id.clone(),
            time: receipt.now,
            surface,
            head,
            body,
            outcome: OnceLock::new(),
        }
    }

    /// How it ended; `None` while it is being walked.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    pub(super) fn finish(&self, outcome: Outcome, cursor: Cursor) {
        // A second close cannot happen: `Opened` closes once.
        let _ = self.outcome.set(Outcome { cursor, ..outcome });
    }

    pub(super) fn weight(&self) -> usize {
        512 + self.head.size + self.head.headers.0.len() * 72 + self.body.len()
    }
}
