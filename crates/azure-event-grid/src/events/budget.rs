//! How many bytes the waiting events of a namespace occupy. A share of it is given back when what
//! it was taken for is dropped, so nothing can forget to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an event costs beside its text: the places where it is counted and kept.
const OF_AN_EVENT: usize = 64;
/// What an event costs in each queue that it waits in.
const OF_A_PLACE: usize = 256;

/// The bytes of one namespace.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    most: usize,
}

/// Bytes that are taken until this is dropped.
#[derive(Debug)]
struct Share {
    of: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Budget {
    /// Nothing is used yet.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            most,
        })
    }

    /// The limit in bytes.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Whether so many bytes more would be within the limit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.most
    }

    /// Takes bytes, beyond the limit if it must be.
    fn share(self: &Arc<Self>, bytes: usize) -> Share {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Share {
            of: self.clone(),
            bytes,
        }
    }
}

/// The text of a `CloudEvent`, shared by the queues that it waits in.
#[derive(Debug)]
pub(crate) struct Event {
    text: Box<str>,
    share: Share,
}

impl Event {
    /// Counts an event that has been let in.
    pub(crate) fn new(text: String, budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            share: budget.share(Self::cost(text.len(), 0)),
            text: text.into(),
        })
    }

    /// What a text of this size will cost that waits in so many queues.
    pub(crate) const fn cost(size: usize, places: usize) -> usize {
        size.saturating_add(OF_AN_EVENT)
            .saturating_add(places.saturating_mul(OF_A_PLACE))
    }

    /// The JSON text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Counts a queue that it waits in.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        Place {
            _share: self.share.of.share(OF_A_PLACE),
            event: self.clone(),
        }
    }
}

/// An event in one queue.
#[derive(Debug)]
pub(crate) struct Place {
    /// The event.
    pub event: Arc<Event>,
    _share: Share,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(1_000);
        let event = Event::new("x".repeat(500), &budget);
        let places = [event.place(), event.place()];
        drop(event);
        assert!(
            !budget.has_room(0),
            "500 + 64 + 2 x 256 are more than 1,000"
        );
        drop(places);
        assert!(budget.has_room(1_000) && !budget.has_room(1_001));
    }
}
