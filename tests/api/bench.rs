//! A broker on its own with a journal that it fills, for the tests of either. What one behaviour
//! alone asks of it stands with that behaviour's tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mqttstack_base::clock::Clock;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Transport;
use mqttstack_broker::{Broker, Settings};
use mqttstack_pipeline::journal::{Journal, Settings as JournalSettings};

/// A broker with one listener.
pub struct Bench {
    pub broker: Broker,
    pub journal: Journal,
    pub clock: Clock,
    pub address: SocketAddr,
}

/// One on the real clock.
pub async fn bench(settings: Settings) -> Bench {
    Bench::start(settings, Clock::real()).await
}

impl Bench {
    pub async fn start(settings: Settings, clock: Clock) -> Self {
        let journal = Journal::new(&JournalSettings::default());
        let sink = journal.clone();
        let broker = Broker::start(
            settings,
            clock.clone(),
            Ids::new(Some(1)),
            Arc::new(move |message| sink.record(message)),
        )
        .await;
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = broker.listen(Transport::Tcp, free_port).unwrap();
        Self {
            broker,
            journal,
            clock,
            address,
        }
    }
}
