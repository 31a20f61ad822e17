//! How many requests came and how they ended, since the start: what the journal has let go of is
//! in here too. No label holds text of a client: operations are a vendor's own names, codes come
//! from its table of errors, and of label sets there is a most.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqttstack_base::exchange::Surface;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::entry::Draft;

/// How many label sets of requests are told apart; further ones count under the code `other`.
const MOST_SETS: usize = 2_000;

/// The upper bounds of the latency histogram, in seconds: a request that waits for nobody takes
/// less than a millisecond, a poll up to a minute.
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    vendor: &'static str,
    operation: &'static str,
    status: Status,
    code: String,
}

/// A status, or that there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Status {
    Answered(u16),
    Aborted,
}

impl prometheus_client::encoding::EncodeLabelValue for Status {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder,
    ) -> Result<(), std::fmt::Error> {
        match self {
            Self::Answered(status) => status.encode(encoder),
            Self::Aborted => "aborted".encode(encoder),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whose {
    vendor: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(
    clippy::struct_field_names,
    reason = "the kind of packet is what the standard calls a packet"
)]
struct Packet {
    vendor: &'static str,
    packet: &'static str,
    code: u16,
}

/// The counters of one journal.
#[derive(Debug)]
pub struct Tally {
    ended: Family<Ended, Counter>,
    /// How many label sets `ended` has, and how many more there would be.
    sets: AtomicUsize,
    took: Family<Whose, Histogram, fn() -> Histogram>,
    refused: Family<Packet, Counter>,
}

/// How the metrics call a vendor.
pub fn vendor(surface: Option<Surface>) -> &'static str {
    surface.map_or("none", Surface::as_str)
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ended: Family::default(),
            sets: AtomicUsize::new(0),
            took: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
        }
    }
}

impl Tally {
    /// A request ended.
    pub(super) fn ended(
        &self,
        surface: Option<Surface>,
        draft: &Draft,
        status: Option<u16>,
        took: Duration,
    ) {
        let vendor = vendor(surface);
        let mut ended = Ended {
            vendor,
            operation: draft.known.unwrap_or("unknown"),
            status: status.map_or(Status::Aborted, Status::Answered),
            code: draft.error_code.clone().unwrap_or_default(),
        };
        let is_new = self.ended.get(&ended).is_none();
        if is_new && self.sets.fetch_add(1, Ordering::Relaxed) >= MOST_SETS {
            "other".clone_into(&mut ended.code);
        }
        self.ended.get_or_create(&ended).inc();
        let took = took.as_secs_f64();
        self.took.get_or_create(&Whose { vendor }).observe(took);
    }

    /// An MQTT packet, a WebSocket or a TLS handshake was refused.
    pub(super) fn refused(&self, surface: Option<Surface>, draft: &Draft, code: u16) {
        let packet = Packet {
            vendor: vendor(surface),
            packet: draft.known.unwrap_or("unknown"),
            code,
        };
        self.refused.get_or_create(&packet).inc();
    }

    /// Shows the counters in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "HTTP requests by how they ended",
            self.ended.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "How long HTTP requests took from their arrival to their answer",
            self.took.clone(),
        );
        registry.register(
            "refused_packets",
            "MQTT packets, WebSockets and TLS handshakes that were refused",
            self.refused.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::prometheus_text;

    #[test]
    fn codes_without_end_make_no_label_sets_without_end() {
        let tally = Tally::default();
        for number in 0..MOST_SETS + 500 {
            let draft = Draft {
                operation: Some(format!("made up {number}")),
                error_code: Some(format!("Code{number}")),
                ..Draft::default()
            };
            tally.ended(Some(Surface::Azure), &draft, Some(400), Duration::ZERO);
        }
        let mut registry = Registry::default();
        tally.register(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        let sets = text
            .lines()
            .filter(|line| line.starts_with("requests_total{"));
        assert_eq!(sets.count(), MOST_SETS + 1);
        let other = Ended {
            vendor: "azure",
            operation: "unknown",
            status: Status::Answered(400),
            code: "other".to_owned(),
        };
        assert_eq!(tally.ended.get_or_create(&other).get(), 500);
    }
}
