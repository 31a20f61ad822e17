//! An MQTT client that writes and reads packets byte by byte, so that tests can say exactly what
//! is on the wire, right or wrong. It is independent of the broker's own codec.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;

pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
pub const PUBREC: u8 = 0x50;
pub const PUBREL: u8 = 0x62;
pub const PUBCOMP: u8 = 0x70;
pub const DISCONNECT: u8 = 0xe0;
pub const AUTH: u8 = 0xf0;

/// A string or binary value with its length in front.
pub fn text(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = u16::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(value);
    bytes
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(byte | if value > 0 { 0x80 } else { 0 });
        if value == 0 {
            return bytes;
        }
    }
}

/// A packet: its first byte, its length, and these parts.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [vec![first], variable(body.len()), body].concat()
}

/// MQTT 5 properties with their length in front.
pub fn properties(all: &[u8]) -> Vec<u8> {
    [variable(all.len()), all.to_vec()].concat()
}

/// A CONNECT.
pub struct Connect {
    pub version: u8,
    pub client_id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
    /// Flags (will QoS, will retain), will properties, topic, payload.
    pub will: Option<(u8, Vec<u8>, String, String)>,
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
}

impl Connect {
    pub fn new(version: u8, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.into(),
            clean: true,
            keep_alive: 0,
            properties: vec![],
            will: None,
            username: None,
            password: None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let five = self.version == 5;
        let name = if self.version == 3 { "MQIsdp" } else { "MQTT" };
        let mut flags = u8::from(self.clean) << 1;
        let mut payload = text(&self.client_id);
        if let Some((options, will_properties, topic, message)) = &self.will {
            flags |= 0x04 | options;
            if five {
                payload.extend(properties(will_properties));
            }
            payload.extend(text(topic));
            payload.extend(text(message));
        }
        if let Some(username) = &self.username {
            flags |= 0x80;
            payload.extend(text(username));
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            payload.extend(text(password));
        }
        let own = if five {
            properties(&self.properties)
        } else {
            vec![]
        };
        let head = [
            text(name),
            vec![self.version, flags],
            self.keep_alive.to_be_bytes().to_vec(),
        ];
        packet(0x10, &[&head.concat(), &own, &payload])
    }
}

/// What a CONNACK says.
#[derive(Debug)]
pub struct Connack {
    pub session_present: bool,
    pub code: u8,
    pub properties: Vec<u8>,
}

impl Connack {
    /// Whether these bytes are in the properties: an id and its value.
    pub fn has(&self, property: &[u8]) -> bool {
        self.properties
            .windows(property.len())
            .any(|window| window == property)
    }
}

/// A PUBLISH that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: u16,
    pub properties: Vec<u8>,
}

impl Arrived {
    /// Subscription identifiers, in order; only ones below 128 and no other properties.
    pub fn identifiers(&self) -> Vec<u8> {
        let mut found: Vec<u8> = self
            .properties
            .chunks(2)
            .map(|pair| {
                assert_eq!(pair[0], 0x0b, "{:?}", self.properties);
                pair[1]
            })
            .collect();
        found.sort_unstable();
        found
    }
}

/// What bytes go over: a socket, or something around one.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub struct Wire {
    pub stream: Box<dyn Stream>,
    pub version: u8,
    /// PUBLISH packets that came while something else was waited for.
    inbox: VecDeque<(u8, Vec<u8>)>,
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length: usize = u16::from_be_bytes([bytes[0], bytes[1]]).into();
    (&bytes[2..2 + length], &bytes[2 + length..])
}

impl Wire {
    /// A connected client with default options.
    pub async fn open(address: SocketAddr, version: u8, client_id: &str) -> Self {
        let (wire, connack) = Self::connect(address, &Connect::new(version, client_id)).await;
        assert_eq!(connack.code, 0);
        wire
    }

    pub async fn connect(address: SocketAddr, connect: &Connect) -> (Self, Connack) {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::connect_over(stream, connect).await
    }

    pub async fn connect_over(stream: impl Stream + 'static, connect: &Connect) -> (Self, Connack) {
        let mut wire = Self {
            stream: Box::new(stream),
            version: connect.version,
            inbox: VecDeque::new(),
        };
        wire.send(&connect.bytes()).await;
        let (first, body) = wire.read().await.expect("the connection ended");
        assert_eq!(first, 0x20);
        let connack = Connack {
            session_present: body[0] == 1,
            code: body[1],
            properties: body[2..].to_vec(),
        };
        (wire, connack)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet; `None` when the connection has ended.
    pub async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.try_read())
            .await
            .expect("nothing arrived for a long time")
    }

    async fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// The code of the DISCONNECT that must come before the end of the connection.
    pub async fn disconnected(&mut self) -> u8 {
        let mut code = None;
        while let Some((first, body)) = self.read().await {
            if first == DISCONNECT {
                code = Some(body.first().copied().unwrap_or(0));
            }
        }
        code.expect("the connection ended without a DISCONNECT")
    }

    /// Waits for the end of the connection, whatever comes before.
    pub async fn ended(&mut self) {
        while self.read().await.is_some() {}
    }

    /// The next packet that is not a PUBLISH.
    pub async fn answer(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (first, body) = self.read().await.expect("the connection ended");
            if first & 0xf0 != PUBLISH {
                return (first, body);
            }
            self.inbox.push_back((first, body));
        }
    }

    /// Sends a SUBSCRIBE; the options byte is the QoS alone in 3.x.
    pub async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_as(filter, options, &[]).await
    }

    pub async fn subscribe_as(&mut self, filter: &str, options: u8, own: &[u8]) -> u8 {
        let five = if self.version == 5 {
            properties(own)
        } else {
            vec![]
        };
        let subscribe = packet(0x82, &[&[0, 9], &five, &text(filter), &[options]]);
        self.send(&subscribe).await;
        let (first, body) = self.answer().await;
        assert_eq!(first, 0x90, "{body:?}");
        *body.last().unwrap()
    }

    /// Sends an UNSUBSCRIBE and waits for its answer.
    pub async fn unsubscribe(&mut self, filter: &str) {
        let five: &[u8] = if self.version == 5 { &[0] } else { &[] };
        let unsubscribe = packet(0xa2, &[&[0, 8], five, &text(filter)]);
        self.send(&unsubscribe).await;
        assert_eq!(self.answer().await.0, 0xb0);
    }

    pub fn publish_bytes(&self, topic: &str, payload: &str, flags: u8, own: &[u8]) -> Vec<u8> {
        self.publish_with_id(topic, payload, flags, own, 7)
    }

    pub fn publish_with_id(
        &self,
        topic: &str,
        payload: &str,
        flags: u8,
        own: &[u8],
        id: u16,
    ) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id: &[u8] = if flags & 6 == 0 { &[] } else { &id };
        let five = if self.version == 5 {
            properties(own)
        } else {
            vec![]
        };
        packet(
            PUBLISH | flags,
            &[&text(topic), id, &five, payload.as_bytes()],
        )
    }

    /// Publishes (flags: retain 1, QoS 2 or 4) and goes through the acknowledgements.
    pub async fn publish(&mut self, topic: &str, payload: &str, flags: u8, own: &[u8]) {
        let bytes = self.publish_bytes(topic, payload, flags, own);
        self.send(&bytes).await;
        if flags & 6 == 2 {
            assert_eq!(self.answer().await.0, PUBACK);
        } else if flags & 6 == 4 {
            assert_eq!(self.answer().await.0, PUBREC);
            self.send(&packet(PUBREL, &[&[0, 7]])).await;
            assert_eq!(self.answer().await.0, PUBCOMP);
        }
    }

    /// The next PUBLISH, not acknowledged.
    pub async fn take(&mut self) -> Arrived {
        let (first, body) = match self.inbox.pop_front() {
            Some(waiting) => waiting,
            None => self.read().await.expect("the connection ended"),
        };
        assert_eq!(first & 0xf0, PUBLISH, "{first:x} {body:?}");
        let qos = (first >> 1) & 3;
        let (topic, mut rest) = split(&body);
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let mut own = vec![];
        if self.version == 5 {
            let length = usize::from(rest[0]);
            assert!(length < 0x80, "tests keep properties short");
            own = rest[1..=length].to_vec();
            rest = &rest[1 + length..];
        }
        Arrived {
            topic: String::from_utf8(topic.to_vec()).unwrap(),
            payload: String::from_utf8(rest.to_vec()).unwrap(),
            qos,
            retain: first & 1 == 1,
            dup: first & 8 == 8,
            id,
            properties: own,
        }
    }

    /// The next PUBLISH, acknowledged to the end.
    pub async fn receive(&mut self) -> Arrived {
        let arrived = self.take().await;
        let id = arrived.id.to_be_bytes();
        if arrived.qos == 1 {
            self.send(&packet(PUBACK, &[&id])).await;
        } else if arrived.qos == 2 {
            self.send(&packet(PUBREC, &[&id])).await;
            assert_eq!(self.answer().await.0, PUBREL);
            self.send(&packet(PUBCOMP, &[&id])).await;
        }
        arrived
    }

    /// Leaves with a DISCONNECT and waits until the broker has closed.
    pub async fn leave(mut self) {
        self.send(&[DISCONNECT, 0]).await;
        self.ended().await;
    }
}
