//! The way back to the state at the start, whole or in parts: for tests that share one
//! emulator. The in-process handle (`emulator.rs`) and the admin API both go through it.

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::config::ClockStart;
use crate::vendor::Vendors;

/// What can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The journal of requests.
    Requests,
    /// The journal of messages.
    Messages,
    /// The clock, to its configured start.
    Clock,
    /// The calls counted against rates.
    Quotas,
    /// The retained messages.
    Retained,
    /// MQTT sessions and their connections.
    Sessions,
    /// The vendors' resources, to the configured ones.
    Resources,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 7] = [
        Self::Requests,
        Self::Messages,
        Self::Clock,
        Self::Quotas,
        Self::Retained,
        Self::Sessions,
        Self::Resources,
    ];

    /// The part of that name in the admin API.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name);
        Self::deserialize(name).ok()
    }
}

/// The state at the start.
#[derive(Debug, Clone)]
pub struct Baseline {
    app: App,
    vendors: Vendors,
    clock: ClockStart,
}

impl Baseline {
    /// The state that these were configured to start in.
    pub fn new(app: App, vendors: Vendors, clock: ClockStart) -> Self {
        Self {
            app,
            vendors,
            clock,
        }
    }

    /// Puts these parts back. Sessions go first, because a session that ends may publish its
    /// will, and the journal last, so that it ends up empty.
    pub async fn restore(&self, parts: &[Part]) {
        let has = |part| parts.contains(&part);
        if has(Part::Sessions) {
            self.app.broker.clear_sessions().await;
        }
        if has(Part::Resources) {
            self.vendors.reset();
        }
        if has(Part::Retained) {
            self.app.broker.clear_retained();
        }
        if has(Part::Clock) {
            self.clock.set(&self.app.clock);
            // Rates are counted in the clock's time; set back, they would refuse until it
            // has caught up.
            self.app.quotas.clear();
        }
        if has(Part::Quotas) {
            self.app.quotas.clear();
        }
        if has(Part::Requests) {
            self.app.journal.requests().clear();
        }
        if has(Part::Messages) {
            self.app.journal.messages().clear();
        }
    }
}
