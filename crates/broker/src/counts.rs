//! What one broker counts for its metrics: messages taken by origin, deliveries by how far they
//! came, and what was given up by why. Atomics only: whoever counts waits for nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{DeliveryOutcome, Origin, OriginKind};

/// The kinds of reasons for which a delivery, or a message that is for nobody, is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// Nobody was subscribed.
    NoSubscriber,
    /// Too much waits for the client already.
    QueueFull,
    /// The client is offline, and its vendor keeps no such message.
    NotKept,
    /// It is larger than the client takes.
    TooLarge,
    /// It waited for too long.
    Expired,
    /// The session ended first.
    SessionEnded,
    /// The client refused it.
    RefusedByClient,
}

impl GivenUp {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 7] = [
        Self::NoSubscriber,
        Self::QueueFull,
        Self::NotKept,
        Self::TooLarge,
        Self::Expired,
        Self::SessionEnded,
        Self::RefusedByClient,
    ];

    /// The spelling of the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoSubscriber => "no_subscriber",
            Self::QueueFull => "queue_full",
            Self::NotKept => "not_kept_offline",
            Self::TooLarge => "too_large",
            Self::Expired => "expired",
            Self::SessionEnded => "session_ended",
            Self::RefusedByClient => "refused_by_client",
        }
    }
}

/// How far a delivery has come, and if it is given up, why.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// It waits (again).
    Queued,
    /// It was written.
    Sent,
    /// The client has it.
    Acknowledged,
    /// It is given up: the kind of reason, and the reason in words.
    GivenUp(GivenUp, &'a str),
}

impl Step<'_> {
    /// The outcome that its row shows.
    pub(crate) const fn outcome(self) -> DeliveryOutcome {
        match self {
            Self::Queued => DeliveryOutcome::Queued,
            Self::Sent => DeliveryOutcome::Sent,
            Self::Acknowledged => DeliveryOutcome::Acknowledged,
            Self::GivenUp(GivenUp::Expired, _) => DeliveryOutcome::Expired,
            Self::GivenUp(_, _) => DeliveryOutcome::Dropped,
        }
    }
}

/// The outcomes that are counted: to be queued is no end.
const OUTCOMES: [(&str, DeliveryOutcome); 4] = [
    ("sent", DeliveryOutcome::Sent),
    ("acknowledged", DeliveryOutcome::Acknowledged),
    ("dropped", DeliveryOutcome::Dropped),
    ("expired", DeliveryOutcome::Expired),
];

const ORIGINS: [(&str, OriginKind); 5] = [
    ("http", OriginKind::Http),
    ("mqtt", OriginKind::Mqtt),
    ("will", OriginKind::Will),
    ("system", OriginKind::System),
    ("bridge", OriginKind::Bridge),
];

/// The counters of one broker.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By origin, and then by vendor; the last one is for none.
    taken: [[AtomicU64; Surface::ALL.len() + 1]; ORIGINS.len()],
    deliveries: [AtomicU64; OUTCOMES.len()],
    given_up: [AtomicU64; GivenUp::ALL.len()],
}

fn place<T: PartialEq>(all: &[T], wanted: &T) -> usize {
    all.iter()
        .position(|one| one == wanted)
        .unwrap_or(all.len())
}

fn add(counters: &[AtomicU64], place: usize) {
    if let Some(counter) = counters.get(place) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    /// A message was taken.
    pub(crate) fn taken(&self, origin: &Origin) {
        let kind = ORIGINS.iter().position(|(_, kind)| *kind == origin.kind);
        let vendor = origin
            .vendor
            .map_or(Surface::ALL.len(), |vendor| place(&Surface::ALL, &vendor));
        if let Some(by_vendor) = kind.and_then(|kind| self.taken.get(kind)) {
            add(by_vendor, vendor);
        }
    }

    /// A message was for nobody.
    pub(crate) fn unheard(&self) {
        add(&self.given_up, place(&GivenUp::ALL, &GivenUp::NoSubscriber));
    }

    /// A delivery has come further.
    pub(crate) fn step(&self, step: Step<'_>) {
        let outcome = step.outcome();
        if let Some(at) = OUTCOMES.iter().position(|(_, one)| *one == outcome) {
            add(&self.deliveries, at);
        }
        if let Step::GivenUp(why, _) = step {
            add(&self.given_up, place(&GivenUp::ALL, &why));
        }
    }

    /// The counters as they are now.
    pub(crate) fn read(&self) -> Counted {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let vendors = Surface::ALL.into_iter().map(Some).chain([None]);
        let taken = ORIGINS
            .iter()
            .zip(&self.taken)
            .flat_map(|((origin, _), by_vendor)| {
                let by_vendor = by_vendor.iter().zip(vendors.clone());
                by_vendor.map(|(counter, vendor)| (*origin, vendor, value(counter)))
            });
        let deliveries = OUTCOMES.iter().zip(&self.deliveries);
        let given_up = GivenUp::ALL.iter().zip(&self.given_up);
        Counted {
            taken: taken.collect(),
            deliveries: deliveries
                .map(|((outcome, _), counter)| (*outcome, value(counter)))
                .collect(),
            given_up: given_up
                .map(|(why, counter)| (why.as_str(), value(counter)))
                .collect(),
        }
    }
}

/// What a broker has counted since its start.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Messages taken: by which way, whose, how many.
    pub taken: Vec<(&'static str, Option<Surface>, u64)>,
    /// Deliveries by outcome. One that is sent again counts as sent again.
    pub deliveries: Vec<(&'static str, u64)>,
    /// What was given up, by why.
    pub given_up: Vec<(&'static str, u64)>,
}

/// What a broker holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Connected clients.
    pub connected: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Deliveries that wait to be written.
    pub queued: usize,
    /// Deliveries that wait to be acknowledged.
    pub inflight: usize,
    /// Retained messages.
    pub retained: usize,
}
