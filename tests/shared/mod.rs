//! What several test programs need: an emulator's rooms without its listeners and vendors, and
//! waiting on what happens instead of asking again and again.

#![allow(dead_code, reason = "each test program uses its part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::{
    Origin, OriginKind, Properties, Publication, Qos, TopicName, Transport,
};
use mqttstack_broker::{self as broker, Broker};
use mqttstack_pipeline::App;
use mqttstack_pipeline::Quotas;
use mqttstack_pipeline::journal::{self, Journal, Ring};
use tokio::sync::broadcast::error::RecvError;

/// Longer than anything here takes, so that a failure ends instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A free port of this machine.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// What rooms are made with.
pub struct Rooms {
    pub clock: Clock,
    pub seed: u64,
    pub broker: broker::Settings,
    pub journal: journal::Settings,
}

impl Rooms {
    /// With the default settings.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            seed: 1,
            broker: broker::Settings::default(),
            journal: journal::Settings::default(),
        }
    }

    /// Rooms whose journal keeps what the broker takes.
    pub async fn open(self) -> App {
        let ids = Ids::new(Some(self.seed));
        let journal = Journal::new(&self.journal);
        let sink = journal.clone();
        let record = Arc::new(move |message| sink.record(message));
        let broker = Broker::start(self.broker, self.clock.clone(), ids.clone(), record);
        App {
            quotas: Quotas::new(self.clock.clone()),
            broker: broker.await,
            clock: self.clock,
            ids,
            journal,
        }
    }
}

/// A message as a vendor's HTTP surface publishes it, or with none the emulator itself.
pub fn publication(topic: &str, payload: &str, vendor: Option<Surface>) -> Publication {
    Publication {
        topic: TopicName::parse(topic).unwrap(),
        payload: payload.to_owned().into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor,
            client_id: None,
            request: None,
        },
    }
}

/// A plain MQTT listener of a broker.
pub fn listen(broker: &Broker) -> SocketAddr {
    broker.listen(Transport::Tcp, anywhere()).unwrap()
}

/// Looks at each event of the broker until something is there.
pub async fn until<T>(broker: &Broker, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut events = broker.events();
    let wanted = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            // Whoever falls behind has missed events, so something has happened.
            if let Err(RecvError::Closed) = events.recv().await {
                panic!("the broker has ended");
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, wanted).await;
    found.expect("what is waited for never happened")
}

/// Waits until a client is not connected, whether or not it has a session.
pub async fn offline(broker: &Broker, client_id: &str) {
    until(broker, async || {
        let client = broker.client(client_id);
        client.is_none_or(|client| !client.connected).then_some(())
    })
    .await;
}

/// Waits until no client is connected.
pub async fn all_offline(broker: &Broker) {
    until(broker, async || {
        let clients = broker.clients().await;
        let connected = clients.iter().any(|client| client.connected);
        (!connected).then_some(())
    })
    .await;
}

/// Waits until a client has no session.
pub async fn forgotten(broker: &Broker, client_id: &str) {
    until(broker, async || {
        broker.client(client_id).is_none().then_some(())
    })
    .await;
}

/// Waits until a ring has more than it had.
pub async fn more<T>(ring: &Ring<T>, than: u64) {
    let mut changes = ring.subscribe();
    let more = changes.wait_for(|_| ring.last() > than);
    let more = tokio::time::timeout(PATIENCE, more).await;
    more.expect("nothing came").expect("the ring is there");
}
