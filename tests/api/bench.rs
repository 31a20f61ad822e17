//! A broker on its own with a journal that it fills, for the tests of either. What one behaviour
//! alone asks of it stands with that behaviour's tests.

use std::net::SocketAddr;

use mqttstack_base::clock::Clock;
use mqttstack_broker::{Broker, Event, Settings};
use mqttstack_pipeline::journal::Journal;
use tokio::sync::broadcast::Receiver;

use crate::shared::{self, Rooms};

/// A broker with one listener.
pub struct Bench {
    pub broker: Broker,
    pub journal: Journal,
    pub clock: Clock,
    pub address: SocketAddr,
    /// While somebody listens, the broker tells how far each delivery comes.
    _events: Receiver<Event>,
}

/// One on the real clock.
pub async fn bench(settings: Settings) -> Bench {
    Bench::start(settings, Clock::real()).await
}

impl Bench {
    pub async fn start(settings: Settings, clock: Clock) -> Self {
        let rooms = Rooms {
            broker: settings,
            ..Rooms::new(clock)
        };
        let app = rooms.open().await;
        Self {
            address: shared::listen(&app.broker),
            _events: app.broker.events(),
            broker: app.broker,
            journal: app.journal,
            clock: app.clock,
        }
    }
}
