//! Puts the emulator back to its state at the start, whole or in parts, for tests that share one.
//! [`crate::Emulator`] and the admin API both use it.

use std::sync::Arc;

use mqttstack_pipeline::App;

use crate::admin::{Reset, ResetPart as Part, ResetScope};
use crate::config::ClockStart;
use crate::vendors::Vendors;

/// The state at the start.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    app: App,
    vendors: Vendors,
    clock: ClockStart,
}

impl Baseline {
    /// The state that these were configured to start in.
    pub(crate) fn new(app: App, vendors: Vendors, clock: ClockStart) -> Self {
        Self {
            app,
            vendors,
            clock,
        }
    }

    /// Puts these parts back. Sessions go first, because a session that ends may publish its
    /// will, and the journal last, so that it ends up empty.
    pub(crate) async fn restore(&self, scope: &ResetScope) {
        let has = |part| scope.contains(part);
        if has(Part::Sessions) {
            self.app.broker.clear_sessions().await;
        }
        if has(Part::Resources) {
            self.vendors.reset(&self.app);
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
            self.app.journal.forget_requests().await;
        }
        if has(Part::Messages) {
            self.app.journal.forget_messages().await;
        }
    }

    /// The same as the admin API takes it.
    pub(crate) fn into_reset(self) -> Reset {
        Arc::new(move |scope| {
            let baseline = self.clone();
            Box::pin(async move { baseline.restore(&scope).await })
        })
    }
}
