//! What is said after a command has ended: which requests were refused and why, what was lenient,
//! which messages nobody received. The journal has masked every secret in it before.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::hash::Hash;
use std::sync::Arc;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{DeliveryOutcome, Message, OriginKind};
use mqttstack_pipeline::journal::{Entry, Follower, Journal, Outcome, Record, Ring};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many rows of one kind are shown; the rest is counted.
const SHOWN: usize = 20;
/// How much of a text is shown, in characters.
const LINE: usize = 300;
/// How many kinds of rows are told apart.
const KINDS: usize = 1_000;
/// How many bytes of messages may wait for a subscriber before it is decided that nobody came.
const OPEN_BYTES: usize = 16 << 20;

/// The summary of a journal.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    requests: u64,
    refused: Rows<Refusal>,
    hints: Rows<Hint>,
    messages: u64,
    unreceived: Rows<Unreceived>,
    /// Entries that had left the journal before they were looked at: in none of the rows.
    missed: u64,
}

/// Rows that came up more than once, most frequent first.
#[derive(Debug, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of the summary's JSON"
)]
struct Rows<T> {
    /// How often all of them came up.
    total: u64,
    rows: Vec<Counted<T>>,
    /// How many of them are in no row, since there are too many kinds.
    not_shown: u64,
}

#[derive(Debug, Serialize)]
struct Counted<T> {
    count: u64,
    #[serde(flatten)]
    row: T,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
struct Refusal {
    vendor: Option<&'static str>,
    operation: String,
    status: Option<u16>,
    error_code: Option<String>,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of the summary's JSON"
)]
struct Hint {
    vendor: Option<&'static str>,
    operation: String,
    hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
struct Unreceived {
    vendor: Option<&'static str>,
    topic: String,
    why: String,
}

/// Looks at the journal while the command runs: a test suite empties it between its tests.
pub(super) struct Watch {
    over: CancellationToken,
    requests: JoinHandle<Requests>,
    messages: JoinHandle<Messages>,
}

impl Watch {
    /// Must be called inside a tokio runtime.
    pub(super) fn start(journal: &Journal) -> Self {
        let over = CancellationToken::new();
        Self {
            requests: tokio::spawn(follow(journal.requests(), over.clone())),
            messages: tokio::spawn(follow(journal.messages(), over.clone())),
            over,
        }
    }

    /// What has been seen until now.
    pub(super) async fn end(self) -> Summary {
        self.over.cancel();
        // They fail only where they panic, and then there is no more to tell.
        let requests = self.requests.await.unwrap_or_default();
        let mut messages = self.messages.await.unwrap_or_default();
        messages.settle(0);
        Summary {
            requests: requests.seen,
            refused: requests.refused.rows(),
            hints: requests.hints.rows(),
            messages: messages.seen,
            unreceived: messages.unreceived.rows(),
            missed: requests.missed + messages.missed,
        }
    }
}

/// What is kept of the entries of a ring.
trait Sight<T>: Default {
    fn see(&mut self, entry: &Arc<T>);
    fn miss(&mut self, lost: u64);
}

fn follow<T: Record, S: Sight<T>>(
    ring: &Arc<Ring<T>>,
    over: CancellationToken,
) -> impl Future<Output = S> + use<T, S> {
    let mut follower = Follower::new(ring, 0);
    async move {
        let mut sight = S::default();
        loop {
            let last = over.is_cancelled();
            let batch = follower.take();
            sight.miss(batch.lost);
            for (_, entry) in &batch.entries {
                sight.see(entry);
            }
            if last {
                return sight;
            }
            tokio::select! {
                () = follower.changed() => {}
                () = over.cancelled() => {}
            }
        }
    }
}

#[derive(Default)]
struct Requests {
    seen: u64,
    missed: u64,
    refused: Tally<Refusal>,
    hints: Tally<Hint>,
}

impl Sight<Entry> for Requests {
    fn see(&mut self, entry: &Arc<Entry>) {
        let Some(outcome) = entry.outcome() else {
            return;
        };
        self.seen += 1;
        if is_refusal(entry, outcome) {
            self.refused.add(refusal(entry, outcome));
        }
        for hint in &outcome.draft.hints {
            self.hints.add(Hint {
                vendor: entry.surface.map(Surface::as_str),
                operation: operation(entry, outcome),
                hint: first_line(hint),
            });
        }
    }

    fn miss(&mut self, lost: u64) {
        self.missed += lost;
    }
}

#[derive(Default)]
struct Messages {
    seen: u64,
    missed: u64,
    /// Those that nobody has received yet, and how many bytes they occupy.
    open: VecDeque<Arc<Message>>,
    bytes: usize,
    unreceived: Tally<Unreceived>,
}

impl Sight<Message> for Messages {
    fn see(&mut self, message: &Arc<Message>) {
        self.seen += 1;
        self.bytes += message.weight();
        self.open.push_back(message.clone());
        self.settle(OPEN_BYTES);
    }

    fn miss(&mut self, lost: u64) {
        self.missed += lost;
    }
}

impl Messages {
    /// Decides on the oldest, until no more than this many bytes wait.
    fn settle(&mut self, bytes: usize) {
        while self.bytes > bytes
            && let Some(message) = self.open.pop_front()
        {
            self.bytes -= message.weight();
            if let Some(why) = why_unreceived(&message) {
                self.unreceived.add(Unreceived {
                    vendor: message.origin.vendor.map(Surface::as_str),
                    topic: first_line(&message.topic),
                    why,
                });
            }
        }
    }
}

impl Summary {
    /// One JSON object on a line of its own.
    pub(super) fn json(&self) -> String {
        // It has no part that cannot be written.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// For reading.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "mqttstack: {}, {} refused; {}, {} that nobody received; {}\n",
            counted(self.requests, "request"),
            self.refused.total,
            counted(self.messages, "message"),
            self.unreceived.total,
            counted(self.hints.total, "hint"),
        );
        self.refused.show(&mut text, "refused", Refusal::show);
        self.hints.show(&mut text, "hints", Hint::show);
        self.unreceived
            .show(&mut text, "received by nobody", Unreceived::show);
        if self.missed > 0 {
            let what = counted(self.missed, "journal entry");
            let _ = writeln!(text, "  {what} came too fast to be looked at");
        }
        text
    }
}

fn counted(number: u64, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {what}s"),
    }
}

impl Refusal {
    fn show(&self) -> String {
        let mut text = of(self.vendor, &self.operation);
        if let Some(status) = self.status {
            let _ = write!(text, " {status}");
        }
        match &self.error_code {
            // Most reasons begin with the code.
            Some(code) if !self.reason.starts_with(code.as_str()) => {
                let _ = write!(text, " {code}");
            }
            _ => {}
        }
        text + ": " + &self.reason
    }
}

impl Hint {
    fn show(&self) -> String {
        of(self.vendor, &self.operation) + ": " + &self.hint
    }
}

impl Unreceived {
    fn show(&self) -> String {
        of(self.vendor, &self.topic) + ": " + &self.why
    }
}

fn of(vendor: Option<&str>, what: &str) -> String {
    match vendor {
        Some(vendor) => format!("{vendor} {what}"),
        None => what.to_owned(),
    }
}

/// An entry of a packet has no bytes of a head, and a reason code in place of an HTTP status.
fn is_refusal(entry: &Entry, outcome: &Outcome) -> bool {
    if outcome.draft.error_code.is_some() {
        return true;
    }
    match outcome.status {
        None => true,
        Some(code) if entry.head.size == 0 => code != 0,
        Some(status) => status >= 400,
    }
}

fn refusal(entry: &Entry, outcome: &Outcome) -> Refusal {
    let reason = outcome.draft.reasons.first();
    Refusal {
        vendor: entry.surface.map(Surface::as_str),
        operation: operation(entry, outcome),
        status: outcome.status,
        error_code: outcome.draft.error_code.clone(),
        reason: reason.map_or_else(|| "no reason is known".to_owned(), |text| first_line(text)),
    }
}

/// The vendor's operation, else method and path.
fn operation(entry: &Entry, outcome: &Outcome) -> String {
    match &outcome.draft.operation {
        Some(operation) => first_line(operation),
        None => first_line(&format!("{} {}", entry.head.method, entry.head.path())),
    }
}

/// The first line of a text, at most [`LINE`] characters of it, without control characters.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line
        .chars()
        .take(LINE)
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    if line.chars().nth(LINE).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Why nobody has received a message; `None` if somebody has, or if it was the emulator's own.
fn why_unreceived(message: &Message) -> Option<String> {
    if message.origin.kind == OriginKind::System {
        return None;
    }
    let deliveries = message.deliveries.lock();
    let received = |outcome| {
        matches!(
            outcome,
            DeliveryOutcome::Sent | DeliveryOutcome::Acknowledged
        )
    };
    if deliveries.iter().any(|delivery| received(delivery.outcome)) {
        return None;
    }
    let Some(last) = deliveries.last() else {
        return Some(if message.retain {
            "nobody was subscribed; it was retained".to_owned()
        } else {
            "nobody was subscribed".to_owned()
        });
    };
    Some(match (last.outcome, &last.reason) {
        (DeliveryOutcome::Expired, _) => "it expired in a queue".to_owned(),
        (_, Some(reason)) => first_line(reason),
        _ => "it waited for a subscriber that did not take it".to_owned(),
    })
}

/// Counts equal rows, and remembers in which order they came.
struct Tally<T> {
    rows: HashMap<T, (u64, usize)>,
    /// Rows of which there were too many kinds.
    others: u64,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            others: 0,
        }
    }
}

impl<T: Eq + Hash> Tally<T> {
    fn add(&mut self, row: T) {
        let order = self.rows.len();
        match self.rows.entry(row) {
            Place::Occupied(mut place) => place.get_mut().0 += 1,
            Place::Vacant(_) if order >= KINDS => self.others += 1,
            Place::Vacant(place) => {
                place.insert((1, order));
            }
        }
    }

    fn rows(self) -> Rows<T> {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_by_key(|(_, (count, order))| (std::cmp::Reverse(*count), *order));
        let total = self.others + rows.iter().map(|(_, (count, _))| count).sum::<u64>();
        let rows: Vec<_> = rows
            .into_iter()
            .take(SHOWN)
            .map(|(row, (count, _))| Counted { count, row })
            .collect();
        Rows {
            total,
            not_shown: total - rows.iter().map(|row| row.count).sum::<u64>(),
            rows,
        }
    }
}

impl<T> Rows<T> {
    fn show(&self, text: &mut String, title: &str, show: impl Fn(&T) -> String) {
        if self.rows.is_empty() {
            return;
        }
        let _ = writeln!(text, "  {title}");
        for Counted { count, row } in &self.rows {
            let _ = writeln!(text, "    {count} x {}", show(row));
        }
        if self.not_shown > 0 {
            let _ = writeln!(text, "    and {} of other kinds", self.not_shown);
        }
    }
}
