//! The deliveries that wait to be written to one client, the oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::message::{Message, Qos};
use super::Tag;

/// One delivery: a row of a message's `deliveries`.
pub(super) struct Row {
    pub(super) message: Arc<Message>,
    pub(super) index: usize,
    qos: Qos,
}

impl Row {
    pub(super) fn new(message: Arc<Message>, index: usize) -> Self {
        let qos = message.deliveries.lock().get(index).map(|row| row.qos);
        Self {
            qos: qos.unwrap_or(message.qos),
            message,
            index,
        }
    }

    /// Whether a vendor's broker keeps it for an offline client: QoS 1 and 2.
    fn counts(&self) -> bool {
        self.qos != Qos::AtMostOnce
    }
}

/// What waits, in the order in which it was taken: tags only grow.
#[derive(Default)]
pub(super) struct Waiting {
    rows: BTreeMap<Tag, Row>,
    /// How many of them are QoS 1 or 2.
    counted: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many of QoS 1 and 2 there are.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&Row> {
        self.rows.get(&tag)
    }

    pub(super) fn insert(&mut self, tag: Tag, row: Row) {
        self.counted += usize::from(row.counts());
        if let Some(old) = self.rows.insert(tag, row) {
            self.counted -= usize::from(old.counts());
        }
    }

    pub(super) fn remove(&mut self, tag: Tag) -> Option<Row> {
        let row = self.rows.remove(&tag)?;
        self.counted -= usize::from(row.counts());
        Some(row)
    }

    /// The oldest of all.
    pub(super) fn oldest(&self) -> Option<(Tag, &Row)> {
        self.rows.iter().next().map(|(tag, row)| (*tag, row))
    }

    /// The oldest of QoS 1 and 2.
    pub(super) fn oldest_counted(&self) -> Option<Tag> {
        let counted = self.rows.iter().find(|(_, row)| row.counts());
        counted.map(|(tag, _)| *tag)
    }

    pub(super) fn into_rows(self) -> impl Iterator<Item = Row> {
        self.rows.into_values()
    }
}
