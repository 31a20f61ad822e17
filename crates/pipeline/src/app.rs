//! What the handling of every request needs: clock, ids, journal, quotas, broker; cheap to clone. One
//! `App` is one emulator; nothing is global, so any number of them run in one process.

use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Receipt;
use mqttstack_base::ids::Ids;
use mqttstack_broker::Broker;

use crate::Quotas;
use crate::journal::Journal;

/// The shared rooms of one emulator.
#[derive(Debug, Clone)]
pub struct App {
    /// The emulator's time.
    pub clock: Clock,
    /// Ids and randomness.
    pub ids: Ids,
    /// Requests and messages.
    pub journal: Journal,
    /// Rates.
    pub quotas: Quotas,
    /// The MQTT broker.
    pub broker: Broker,
}

impl App {
    /// A new request id and the one reading of the clock for its walk.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            id: self.ids.request_id(),
            now: self.clock.now(),
        }
    }
}
