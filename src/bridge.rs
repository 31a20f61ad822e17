//! What goes to another MQTT broker and comes from it: `[bridge]` of the configuration. The
//! emulator is an MQTT 5 client of that broker; it is the way to a cluster, and past one machine.
//!
//! A message that came over the bridge never goes back over it: its origin says so here, and the
//! other broker is asked for no message of our own (No Local, MQTT 5.0 section 3.8.3.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mqttstack_base::message::{
    Message, Origin, OriginKind, Properties, Publication, Qos, TopicFilter, TopicName,
};
use mqttstack_base::secret::Secret;
use mqttstack_broker::Broker;
use mqttstack_broker::dialect::Peer;
use mqttstack_broker::outlet::Outlet;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, Packet, Publish, PublishProperties, RetainForwardRule,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many messages wait while the other broker does not take any.
const QUEUE: usize = 1_000;
/// How many packets are handed to the client's loop at once.
const REQUESTS: usize = 10;
/// How long a lost connection waits before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const DEFAULT_PORT: u16 = 1883;

/// Where the other broker is, and what goes which way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `host` or `host:port` of the other broker, MQTT 5 over TCP (default port 1883). Empty is no
    /// bridge.
    pub address: String,
    /// The client id there.
    pub client_id: String,
    /// The user name there; empty sends none.
    pub username: String,
    /// The password there.
    pub password: Secret,
    /// Topic filters whose messages here are published there.
    pub publish: Vec<String>,
    /// Topic filters that are subscribed to there; what comes is published here.
    pub subscribe: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: String::new(),
            client_id: "mqttstack-bridge".to_owned(),
            username: String::new(),
            password: Secret::new(""),
            publish: Vec::new(),
            subscribe: Vec::new(),
        }
    }
}

impl Settings {
    /// Host and port, or what is wrong about the settings, the key first; `None` without a bridge.
    pub fn check(&self) -> Result<Option<(String, u16)>, String> {
        for (key, filters) in [("publish", &self.publish), ("subscribe", &self.subscribe)] {
            for filter in filters {
                TopicFilter::parse(filter)
                    .map_err(|error| format!("bridge.{key}: {filter:?}: {error}"))?;
            }
        }
        if self.address.is_empty() {
            return Ok(None);
        }
        if self.publish.is_empty() && self.subscribe.is_empty() {
            return Err(
                "bridge: publish and subscribe are both empty: nothing would be bridged".into(),
            );
        }
        let bad = || {
            let address = &self.address;
            format!("bridge.address: expected host or host:port, got {address:?}")
        };
        let (host, port) = match self.address.rsplit_once(':') {
            Some((host, port)) if !self.address.ends_with(']') => {
                (host, port.parse().map_err(|_| bad())?)
            }
            _ => (&*self.address, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('/') {
            return Err(bad());
        }
        Ok(Some((host.to_owned(), port)))
    }
}

/// A running bridge. It ends when this is dropped.
#[derive(Debug)]
pub struct Bridge {
    _end: DropGuard,
}

impl Bridge {
    /// Starts the bridge, if there is to be one.
    pub fn start(settings: &Settings, broker: &Broker) -> Result<Option<Self>, String> {
        let Some((host, port)) = settings.check()? else {
            return Ok(None);
        };
        let mut options = MqttOptions::new(&settings.client_id, host, port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_start(true)
            .set_max_packet_size(None);
        if !settings.username.is_empty() {
            options.set_credentials(&settings.username, settings.password.expose());
        }
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let (queue, messages) = mpsc::channel(QUEUE);
        let publish = settings
            .publish
            .iter()
            .filter_map(|f| TopicFilter::parse(f).ok());
        broker.add_outlet(Arc::new(Outward {
            filters: publish.collect(),
            queue,
            lost: AtomicU64::new(0),
        }));
        let connected = Arc::new(Notify::new());
        let end = CancellationToken::new();
        let inward = Inward {
            broker: broker.clone(),
            address: settings.address.clone(),
            connected: connected.clone(),
        };
        let (first, second) = (end.clone(), end.clone());
        let subscribe = settings.subscribe.clone();
        tokio::spawn(async move {
            first
                .run_until_cancelled(send(client, messages, subscribe, connected))
                .await;
        });
        tokio::spawn(async move {
            second.run_until_cancelled(inward.receive(events)).await;
        });
        Ok(Some(Self {
            _end: end.drop_guard(),
        }))
    }
}

/// Takes what goes to the other broker.
struct Outward {
    filters: Vec<TopicFilter>,
    queue: mpsc::Sender<Arc<Message>>,
    lost: AtomicU64,
}

impl Outlet for Outward {
    fn take(&self, message: &Arc<Message>, _peer: Option<&Peer>, _tenant: Option<&str>) {
        let bridged = message.origin.kind == OriginKind::Bridge;
        if bridged
            || !self
                .filters
                .iter()
                .any(|filter| filter.matches(&message.topic))
        {
            return;
        }
        if self.queue.try_send(message.clone()).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            // The first, and then ever more rarely: nobody reads a line a message.
            if lost.is_power_of_two() {
                tracing::warn!(
                    lost,
                    topic = &*message.topic,
                    "the bridge has lost messages: {QUEUE} wait for the other broker"
                );
            }
        }
    }
}

/// Subscribes on every new connection, and publishes what was taken.
async fn send(
    client: AsyncClient,
    mut messages: mpsc::Receiver<Arc<Message>>,
    subscribe: Vec<String>,
    connected: Arc<Notify>,
) {
    loop {
        let sent = tokio::select! {
            biased;
            () = connected.notified() => {
                if subscribe.is_empty() {
                    continue;
                }
                client.subscribe_many(subscribe.iter().map(|filter| wanted(filter))).await
            }
            message = messages.recv() => {
                let Some(message) = message else { return };
                let properties = outward(&message.properties);
                let (topic, payload) = (message.topic.clone(), message.payload.clone());
                let (qos, retain) = (rumqttc_qos(message.qos), message.retain);
                client.publish_with_properties(topic, qos, retain, payload, properties).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn wanted(filter: &str) -> Filter {
    Filter {
        path: filter.to_owned(),
        qos: QoS::ExactlyOnce,
        nolocal: true,
        preserve_retain: true,
        retain_forward_rule: RetainForwardRule::OnEverySubscribe,
    }
}

const fn rumqttc_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

const fn own_qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn outward(own: &Properties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: own.payload_format_indicator.map(u8::from),
        message_expiry_interval: own.message_expiry_interval,
        topic_alias: None,
        response_topic: own.response_topic.clone(),
        correlation_data: own.correlation_data.clone(),
        user_properties: own.user_properties.clone(),
        subscription_identifiers: Vec::new(),
        content_type: own.content_type.clone(),
    }
}

fn inward(other: PublishProperties) -> Properties {
    Properties {
        response_topic: other.response_topic,
        correlation_data: other.correlation_data,
        content_type: other.content_type,
        message_expiry_interval: other.message_expiry_interval,
        payload_format_indicator: other.payload_format_indicator.map(|one| one == 1),
        user_properties: other.user_properties,
    }
}

/// Publishes here what comes from the other broker.
struct Inward {
    broker: Broker,
    address: String,
    connected: Arc<Notify>,
}

impl Inward {
    async fn receive(self, mut events: EventLoop) {
        let mut told = false;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack)))
                    if ack.code == ConnectReturnCode::Success =>
                {
                    tracing::info!(address = self.address, "the bridge is connected");
                    told = false;
                    self.connected.notify_one();
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.publish(publish).await,
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => return,
                Err(error) => {
                    if !told {
                        let address = &self.address;
                        tracing::warn!(address, %error, "the bridge is not connected, and tries again");
                        told = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn publish(&self, publish: Publish) {
        let name = String::from_utf8_lossy(&publish.topic);
        let topic = match TopicName::parse(&*name) {
            Ok(topic) => topic,
            Err(error) => {
                tracing::warn!(topic = &*name, %error, "a message of the bridge is given up");
                return;
            }
        };
        let publication = Publication {
            topic,
            payload: publish.payload,
            qos: own_qos(publish.qos),
            retain: publish.retain,
            properties: publish.properties.map(inward).unwrap_or_default(),
            origin: Origin {
                kind: OriginKind::Bridge,
                vendor: None,
                client_id: None,
                request: None,
            },
        };
        if let Err(refusal) = self.broker.publish(publication).await {
            tracing::warn!(
                topic = &*name,
                ?refusal,
                "a message of the bridge is given up"
            );
        }
    }
}
