//! The rates of the quota pages, for who asks for them with `azure.throughput_units`. Those of one
//! operation and caller that are configured by hand are `azure.quotas`.

use crate::app::App;
use crate::exchange::Refusal;

/// HTTP publishes of a namespace per second and unit, and of one caller in all.
const PUBLISHES: u32 = 500;
/// Bytes of HTTP publishes of a namespace per second and unit.
const PUBLISHED_BYTES: u32 = 512 * 1024;
/// Events to the namespace topics per second and unit.
const EVENTS: u32 = 1_000;
/// The same in bytes.
const EVENT_BYTES: u32 = 1024 * 1024;

/// The rates of namespaces with so many throughput units; with none, nothing is limited.
pub(super) struct Rates<'a> {
    /// Throughput units.
    pub units: u32,
    /// Who counts.
    pub app: &'a App,
}

impl Rates<'_> {
    /// Counts an HTTP publish. A retained one is two operations (mqtt-retain page).
    pub(super) fn publish(
        &self,
        namespace: &str,
        caller: &str,
        bytes: usize,
        retain: bool,
    ) -> Result<(), Refusal> {
        let operations = if retain { 2 } else { 1 };
        self.take("HttpPublish per session", caller, PUBLISHES, 1, operations)?;
        self.take("HttpPublish", namespace, PUBLISHES, self.units, operations)?;
        self.take(
            "HttpPublish bytes",
            namespace,
            PUBLISHED_BYTES,
            self.units,
            bytes,
        )
    }

    /// Counts events that are published to a namespace topic.
    pub(super) fn events(
        &self,
        namespace: &str,
        events: usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        self.take("PublishCloudEvents", namespace, EVENTS, self.units, events)?;
        self.take(
            "PublishCloudEvents bytes",
            namespace,
            EVENT_BYTES,
            self.units,
            bytes,
        )
    }

    fn take(
        &self,
        what: &'static str,
        key: &str,
        per_unit: u32,
        units: u32,
        amount: usize,
    ) -> Result<(), Refusal> {
        if self.units == 0 {
            return Ok(());
        }
        let rate = per_unit.saturating_mul(units);
        self.app.quotas.take_many(what, key, rate, amount)
    }
}
