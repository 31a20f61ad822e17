//! The rates of the limits page (`includes/limits.md`, 2025-07-30; where it says less, the table of
//! 2023-11-15), for who asks for them with `azure.throughput_units`. Those of one operation and
//! caller that are configured by hand are `azure.quotas`.

use mqttstack_base::exchange::Refusal;
use mqttstack_pipeline::Quotas;

/// Calls of one kind per second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// What the refusal calls it.
    what: &'static str,
    per_second: u32,
}

const fn rate(what: &'static str, per_second: u32) -> Rate {
    Rate { what, per_second }
}

/// HTTP publishes of one caller, and of a namespace per unit.
const HTTP_PER_SESSION: Rate = rate("HttpPublish per session", 500);
const HTTP: Rate = rate("HttpPublish", 500);
/// Bytes of HTTP publishes, likewise.
const HTTP_BYTES_PER_SESSION: Rate = rate("HttpPublish bytes per session", 512 * 1024);
const HTTP_BYTES: Rate = rate("HttpPublish bytes", 512 * 1024);
/// MQTT publishes of one session, and of a namespace per unit, HTTP publishes included
/// (mqtt-http-publish page: they count toward the overall MQTT quota).
const MQTT_PER_SESSION: Rate = rate("PUBLISH per session", 1_000);
const MQTT: Rate = rate("PUBLISH", 1_000);
/// Bytes of MQTT publishes, likewise.
const MQTT_BYTES_PER_SESSION: Rate = rate("PUBLISH bytes per session", 1024 * 1024);
const MQTT_BYTES: Rate = rate("PUBLISH bytes", 1024 * 1024);
/// SUBSCRIBE and UNSUBSCRIBE of one session together, and of a namespace, whatever its units.
const SUBSCRIBE_PER_SESSION: Rate = rate("SUBSCRIBE or UNSUBSCRIBE per session", 5);
const SUBSCRIBE: Rate = rate("SUBSCRIBE or UNSUBSCRIBE", 200);
/// Connections of one session, and of a namespace per unit.
const CONNECT_PER_SESSION: Rate = rate("CONNECT per session", 1);
const CONNECT: Rate = rate("CONNECT", 200);
/// Events to the namespace topics per unit, and their bytes.
const EVENTS: Rate = rate("PublishCloudEvents", 1_000);
const EVENT_BYTES: Rate = rate("PublishCloudEvents bytes", 1024 * 1024);

/// The rates of namespaces with so many throughput units; with none, nothing is limited.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    /// Throughput units.
    pub units: u32,
    /// Who counts.
    pub quotas: Quotas,
}

impl Rates {
    /// Counts an HTTP publish. A retained one is two operations (mqtt-retain page).
    pub(crate) fn http_publish(
        &self,
        namespace: &str,
        caller: &str,
        bytes: usize,
        retain: bool,
    ) -> Result<(), Refusal> {
        let operations = operations(retain);
        let session = || format!("{namespace}/{caller}");
        self.once(HTTP_PER_SESSION, session, operations)?;
        self.once(HTTP_BYTES_PER_SESSION, session, bytes)?;
        self.per_unit(HTTP, namespace, operations)?;
        self.per_unit(HTTP_BYTES, namespace, bytes)?;
        self.per_unit(MQTT, namespace, operations)?;
        self.per_unit(MQTT_BYTES, namespace, bytes)
    }

    /// Counts a PUBLISH of an MQTT client. A retained one is two operations (mqtt-retain page).
    pub(crate) fn mqtt_publish(
        &self,
        namespace: &str,
        session: &str,
        bytes: usize,
        retain: bool,
    ) -> Result<(), Refusal> {
        let operations = operations(retain);
        let session = || format!("{namespace}/{session}");
        self.once(MQTT_PER_SESSION, session, operations)?;
        self.once(MQTT_BYTES_PER_SESSION, session, bytes)?;
        self.per_unit(MQTT, namespace, operations)?;
        self.per_unit(MQTT_BYTES, namespace, bytes)
    }

    /// Counts a SUBSCRIBE or UNSUBSCRIBE, however many filters it has.
    pub(crate) fn subscribe(&self, namespace: &str, session: &str) -> Result<(), Refusal> {
        let session = || format!("{namespace}/{session}");
        self.once(SUBSCRIBE_PER_SESSION, session, 1)?;
        self.once(SUBSCRIBE, || namespace.to_owned(), 1)
    }

    /// Counts a CONNECT.
    pub(crate) fn connect(&self, namespace: &str, session: &str) -> Result<(), Refusal> {
        self.once(CONNECT_PER_SESSION, || format!("{namespace}/{session}"), 1)?;
        self.per_unit(CONNECT, namespace, 1)
    }

    /// Counts events that are published to a namespace topic.
    pub(crate) fn events(
        &self,
        namespace: &str,
        events: usize,
        bytes: usize,
    ) -> Result<(), Refusal> {
        self.per_unit(EVENTS, namespace, events)?;
        self.per_unit(EVENT_BYTES, namespace, bytes)
    }

    /// A rate that more units do not raise.
    fn once(&self, rate: Rate, key: impl Fn() -> String, amount: usize) -> Result<(), Refusal> {
        if self.units == 0 {
            return Ok(());
        }
        let Rate { what, per_second } = rate;
        self.quotas.take_many(what, &key(), per_second, amount)
    }

    /// A rate that every unit has.
    fn per_unit(&self, rate: Rate, namespace: &str, amount: usize) -> Result<(), Refusal> {
        let Rate { what, per_second } = rate;
        let per_second = per_second.saturating_mul(self.units);
        self.quotas.take_many(what, namespace, per_second, amount)
    }
}

fn operations(retain: bool) -> usize {
    if retain { 2 } else { 1 }
}
