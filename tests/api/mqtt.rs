//! MQTT clients for tests: rumqttc, in both of its protocol versions, with what arrives on a
//! channel. Every wait is for an event.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as v5packets;
use tokio::sync::mpsc;

/// Longer than anything here takes, so that a failure ends instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a subscriber received.
#[derive(Debug, Clone)]
pub struct Received {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub properties: Option<v5packets::PublishProperties>,
}

enum Event {
    Connected { session_present: bool },
    Subscribed(Vec<u8>),
    Received(Received),
    Acknowledged,
    Ended,
}

/// A connected client of either version.
pub struct Device {
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
    pub session_present: bool,
}

enum Handle {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// How to connect.
pub struct Options {
    pub client_id: String,
    pub clean: bool,
    pub will: Option<(String, String)>,
    pub session_expiry: Option<u32>,
    pub credentials: Option<(String, String)>,
    pub keep_alive: Option<u64>,
}

impl Options {
    pub fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            clean: true,
            will: None,
            session_expiry: None,
            credentials: None,
            keep_alive: None,
        }
    }

    /// With a user name and a password.
    pub fn login(client_id: &str, username: &str, password: &str) -> Self {
        Self {
            credentials: Some((username.into(), password.into())),
            ..Self::new(client_id)
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("topics are UTF-8")
}

impl Device {
    /// Connects over MQTT 3.1.1 with default options.
    pub async fn v4(address: SocketAddr, client_id: &str) -> Self {
        Self::connect_v4(address, Options::new(client_id)).await
    }

    /// Connects over MQTT 5 with default options.
    pub async fn v5(address: SocketAddr, client_id: &str) -> Self {
        Self::connect_v5(address, Options::new(client_id)).await
    }

    pub async fn connect_v4(address: SocketAddr, options: Options) -> Self {
        let accepted = Self::try_v4(address, options).await;
        accepted.expect("the connection was not accepted")
    }

    /// Connects over MQTT 3.1.1; `None` if the connection is refused.
    pub async fn try_v4(address: SocketAddr, options: Options) -> Option<Self> {
        use rumqttc::{Event as E, LastWill, MqttOptions, Packet as P, QoS, SubscribeReasonCode};
        let mut mqtt =
            MqttOptions::new(options.client_id, address.ip().to_string(), address.port());
        mqtt.set_clean_session(options.clean)
            .set_max_packet_size(1 << 20, 1 << 20);
        if let Some((topic, payload)) = options.will {
            mqtt.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, false));
        }
        if let Some((username, password)) = options.credentials {
            mqtt.set_credentials(username, password);
        }
        if let Some(seconds) = options.keep_alive {
            mqtt.set_keep_alive(Duration::from_secs(seconds));
        }
        let (client, mut eventloop) = rumqttc::AsyncClient::new(mqtt, 64);
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = match eventloop.poll().await {
                    Ok(E::Incoming(P::ConnAck(ack))) => Event::Connected {
                        session_present: ack.session_present,
                    },
                    Ok(E::Incoming(P::SubAck(ack))) => Event::Subscribed(
                        ack.return_codes
                            .iter()
                            .map(|code| match code {
                                SubscribeReasonCode::Success(qos) => *qos as u8,
                                SubscribeReasonCode::Failure => 0x80,
                            })
                            .collect(),
                    ),
                    Ok(E::Incoming(P::Publish(publish))) => Event::Received(Received {
                        topic: publish.topic,
                        payload: publish.payload,
                        qos: publish.qos as u8,
                        retain: publish.retain,
                        dup: publish.dup,
                        properties: None,
                    }),
                    Ok(E::Incoming(P::PubAck(_) | P::PubComp(_))) => Event::Acknowledged,
                    Ok(_) => continue,
                    Err(_) => Event::Ended,
                };
                let over = matches!(event, Event::Ended);
                if sender.send(event).is_err() || over {
                    return;
                }
            }
        });
        Self::ready(Handle::V4(client), events).await
    }

    pub async fn connect_v5(address: SocketAddr, options: Options) -> Self {
        let accepted = Self::try_v5(address, options).await;
        accepted.expect("the connection was not accepted")
    }

    /// Connects over MQTT 5; `None` if the connection is refused.
    pub async fn try_v5(address: SocketAddr, options: Options) -> Option<Self> {
        use rumqttc::v5::mqttbytes::QoS;
        use rumqttc::v5::mqttbytes::v5::{LastWill, Packet as P, SubscribeReasonCode};
        use rumqttc::v5::{Event as E, MqttOptions};
        let mut mqtt =
            MqttOptions::new(options.client_id, address.ip().to_string(), address.port());
        mqtt.set_clean_start(options.clean);
        mqtt.set_session_expiry_interval(options.session_expiry);
        if let Some((topic, payload)) = options.will {
            mqtt.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, false, None));
        }
        if let Some((username, password)) = options.credentials {
            mqtt.set_credentials(username, password);
        }
        if let Some(seconds) = options.keep_alive {
            mqtt.set_keep_alive(Duration::from_secs(seconds));
        }
        let (client, mut eventloop) = rumqttc::v5::AsyncClient::new(mqtt, 64);
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = match eventloop.poll().await {
                    Ok(E::Incoming(P::ConnAck(ack))) => Event::Connected {
                        session_present: ack.session_present,
                    },
                    Ok(E::Incoming(P::SubAck(ack))) => Event::Subscribed(
                        ack.return_codes
                            .iter()
                            .map(|code| match code {
                                SubscribeReasonCode::Success(qos) => *qos as u8,
                                _ => 0x80,
                            })
                            .collect(),
                    ),
                    Ok(E::Incoming(P::Publish(publish))) => Event::Received(Received {
                        topic: text(&publish.topic),
                        payload: publish.payload,
                        qos: publish.qos as u8,
                        retain: publish.retain,
                        dup: publish.dup,
                        properties: publish.properties,
                    }),
                    Ok(E::Incoming(P::PubAck(_) | P::PubComp(_))) => Event::Acknowledged,
                    Ok(_) => continue,
                    Err(_) => Event::Ended,
                };
                let over = matches!(event, Event::Ended);
                if sender.send(event).is_err() || over {
                    return;
                }
            }
        });
        Self::ready(Handle::V5(client), events).await
    }

    async fn ready(handle: Handle, events: mpsc::UnboundedReceiver<Event>) -> Option<Self> {
        let mut device = Self {
            handle,
            events,
            session_present: false,
        };
        match device.next().await {
            Event::Connected { session_present } => device.session_present = session_present,
            _ => return None,
        }
        Some(device)
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("nothing happened for a long time")
            .unwrap_or(Event::Ended)
    }

    /// Subscribes and returns the granted codes.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Vec<u8> {
        self.try_subscribe(filter, qos)
            .await
            .expect("the connection ended instead of a SUBACK")
    }

    /// Subscribes and returns the granted codes; `None` if the connection ends instead.
    pub async fn try_subscribe(&mut self, filter: &str, qos: u8) -> Option<Vec<u8>> {
        self.ask(filter, qos).await;
        loop {
            match self.next().await {
                Event::Subscribed(codes) => return Some(codes),
                Event::Ended => return None,
                _ => {}
            }
        }
    }

    /// Sends a SUBSCRIBE and waits for nothing.
    pub async fn ask(&self, filter: &str, qos: u8) {
        match &self.handle {
            Handle::V4(client) => {
                let qos = rumqttc::qos(qos).unwrap();
                client.subscribe(filter, qos).await.unwrap();
            }
            Handle::V5(client) => {
                let qos = rumqttc::v5::mqttbytes::qos(qos).unwrap();
                client.subscribe(filter, qos).await.unwrap();
            }
        }
    }

    /// Publishes and, above QoS 0, waits for the acknowledgement.
    pub async fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str) {
        let taken = self.try_publish(topic, qos, retain, payload).await;
        assert!(taken, "the connection ended instead of an acknowledgement");
    }

    /// The same; false if the connection ends instead of an acknowledgement.
    pub async fn try_publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str) -> bool {
        match &self.handle {
            Handle::V4(client) => {
                let qos = rumqttc::qos(qos).unwrap();
                client.publish(topic, qos, retain, payload).await.unwrap();
            }
            Handle::V5(client) => {
                let qos = rumqttc::v5::mqttbytes::qos(qos).unwrap();
                client
                    .publish(topic, qos, retain, payload.to_owned())
                    .await
                    .unwrap();
            }
        }
        if qos == 0 {
            return true;
        }
        loop {
            match self.next().await {
                Event::Acknowledged => return true,
                Event::Ended => return false,
                _ => {}
            }
        }
    }

    /// The next message.
    pub async fn receive(&mut self) -> Received {
        loop {
            match self.next().await {
                Event::Received(received) => return received,
                Event::Ended => panic!("the connection ended"),
                _ => {}
            }
        }
    }

    /// Waits until the connection has ended.
    pub async fn ended(&mut self) {
        while !matches!(self.next().await, Event::Ended) {}
    }

    /// Leaves with a DISCONNECT and waits for the end of the connection; what came until then.
    pub async fn leave(mut self) -> Vec<Received> {
        match &self.handle {
            Handle::V4(client) => client.disconnect().await.unwrap(),
            Handle::V5(client) => client.disconnect().await.unwrap(),
        }
        let mut rest = vec![];
        loop {
            match self.next().await {
                Event::Received(received) => rest.push(received),
                Event::Ended => return rest,
                _ => {}
            }
        }
    }
}
