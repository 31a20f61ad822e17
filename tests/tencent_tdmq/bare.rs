//! A connection that speaks bare MQTT, so that every code on the wire can be seen.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client of MQTT 3.1.1, or of MQTT 5 without properties.
pub struct Bare<S> {
    stream: S,
    version: u8,
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// User properties with their length.
fn property_list(user_properties: &[(&str, &str)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, value) in user_properties {
        list.push(0x26);
        list.extend_from_slice(&text(name));
        list.extend_from_slice(&text(value));
    }
    let length = u8::try_from(list.len()).ok().filter(|length| *length < 128);
    [&[length.expect("short properties")][..], &list].concat()
}

/// What a CONNECT says beside client id, user name and password.
pub struct Opening<'a> {
    pub version: u8,
    pub clean: bool,
    pub keep_alive: u16,
    /// Properties of MQTT 5, without their length.
    pub properties: &'a [u8],
    /// Topic and payload of a will, and its properties of MQTT 5.
    pub will: Option<(&'a str, &'a str, &'a [u8])>,
}

impl Opening<'_> {
    pub fn of(version: u8) -> Self {
        Self {
            version,
            clean: true,
            keep_alive: 60,
            properties: &[],
            will: None,
        }
    }
}

impl Bare<TcpStream> {
    /// Connects with MQTT 3.1.1 and returns the CONNACK's code.
    pub async fn connect(
        at: SocketAddr,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> (Self, u8) {
        Self::open(at, &Opening::of(4), client_id, user, password).await
    }

    /// Connects with MQTT 5 and returns the CONNACK's code.
    pub async fn connect_v5(
        at: SocketAddr,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> (Self, u8) {
        Self::open(at, &Opening::of(5), client_id, user, password).await
    }

    pub async fn open(
        at: SocketAddr,
        opening: &Opening<'_>,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> (Self, u8) {
        let stream = TcpStream::connect(at).await.unwrap();
        Self::over(stream, opening, &[client_id, user, password]).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bare<S> {
    /// Sends a CONNECT with a client id and, if they are there, user name and password; returns
    /// the CONNACK's code.
    pub async fn over(stream: S, opening: &Opening<'_>, fields: &[&str]) -> (Self, u8) {
        let mut flags = if opening.clean { 0x02 } else { 0 };
        if opening.will.is_some() {
            flags |= 0x04;
        }
        if fields.len() == 3 {
            flags |= 0xc0;
        }
        let mut body = [&text("MQTT")[..], &[opening.version, flags]].concat();
        body.extend_from_slice(&opening.keep_alive.to_be_bytes());
        let property_list = |body: &mut Vec<u8>, list: &[u8]| {
            if opening.version == 5 {
                body.push(u8::try_from(list.len()).unwrap());
                body.extend_from_slice(list);
            }
        };
        property_list(&mut body, opening.properties);
        body.extend_from_slice(&text(fields[0]));
        if let Some((topic, payload, properties)) = opening.will {
            property_list(&mut body, properties);
            body.extend_from_slice(&text(topic));
            body.extend_from_slice(&text(payload));
        }
        for field in &fields[1..] {
            body.extend_from_slice(&text(field));
        }
        let mut bare = Self {
            stream,
            version: opening.version,
        };
        bare.send(0x10, &body).await;
        let (_, connack) = bare.receive().await.expect("no CONNACK");
        (bare, connack[1])
    }

    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        self.stream.write_all(&packet(kind, body)).await.unwrap();
    }

    /// The next packet: its first byte and its body. `None` once the connection is closed.
    pub async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let digit = self.stream.read_u8().await.ok()?;
            length |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((kind, body))
    }

    /// Subscribes and returns the SUBACK's code.
    pub async fn subscribe(&mut self, filter: &str) -> u8 {
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        let body = [&[0, 1][..], properties, &text(filter), &[1]].concat();
        self.send(0x82, &body).await;
        let (kind, suback) = self.receive().await.expect("no SUBACK");
        assert_eq!(kind, 0x90);
        suback[suback.len() - 1]
    }

    /// Subscribes with QoS 1 to some filters in one packet of MQTT 5 and returns the SUBACK's codes.
    pub async fn subscribe_with(
        &mut self,
        filters: &[&str],
        user_properties: &[(&str, &str)],
    ) -> Vec<u8> {
        let mut body = [&[0, 1][..], &property_list(user_properties)].concat();
        for filter in filters {
            body.extend_from_slice(&text(filter));
            body.push(1);
        }
        self.send(0x82, &body).await;
        let (kind, suback) = self.receive().await.expect("no SUBACK");
        assert_eq!(kind, 0x90);
        suback[3..].to_vec()
    }

    /// Unsubscribes and returns the UNSUBACK's codes, none of 3.x; `None` where there is none.
    pub async fn unsubscribe(&mut self, filters: &[&str]) -> Option<Vec<u8>> {
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        let mut body = [&[0, 1][..], properties].concat();
        for filter in filters {
            body.extend_from_slice(&text(filter));
        }
        self.send(0xa2, &body).await;
        // What comes before the PINGRESP is all that comes.
        self.send(0xc0, &[]).await;
        let (kind, unsuback) = self.receive().await.expect("no PINGRESP");
        if kind == 0xd0 {
            return None;
        }
        assert_eq!(kind, 0xb0);
        let (kind, _) = self.receive().await.expect("no PINGRESP");
        assert_eq!(kind, 0xd0);
        Some(unsuback.get(3..).unwrap_or_default().to_vec())
    }

    /// Publishes with QoS 1 and MQTT 5; the PUBACK must be a success.
    pub async fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        retain: bool,
        user_properties: &[(&str, &str)],
    ) {
        let properties = property_list(user_properties);
        let body = [&text(topic)[..], &[0, 2], &properties, payload.as_bytes()].concat();
        self.send(if retain { 0x33 } else { 0x32 }, &body).await;
        let (kind, puback) = self.receive().await.expect("no PUBACK");
        assert_eq!(
            (kind, puback.get(2).copied().unwrap_or(0) < 0x80),
            (0x40, true)
        );
    }

    /// The payloads that have come, each acknowledged, up to one of this text.
    pub async fn payloads_until(&mut self, last: &str) -> Vec<String> {
        let mut payloads = Vec::new();
        loop {
            let (kind, body) = self.receive().await.expect("no PUBLISH");
            assert_eq!(kind & 0xf0, 0x30);
            let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            if kind & 0x06 != 0 {
                self.send(0x40, &body[at..at + 2]).await;
                at += 2;
            }
            if self.version == 5 {
                at += 1 + usize::from(body[at]);
            }
            let payload = String::from_utf8_lossy(&body[at..]).into_owned();
            let over = payload == last;
            payloads.push(payload);
            if over {
                return payloads;
            }
        }
    }

    /// Publishes with QoS 1.
    pub async fn publish_only(&mut self, topic: &str, payload: &str) {
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        let body = [&text(topic)[..], &[0, 2], properties, payload.as_bytes()].concat();
        self.send(0x32, &body).await;
    }

    /// Publishes with QoS 1 and returns the PUBACK's code, 0 where it has none.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_only(topic, payload).await;
        let (kind, puback) = self.receive().await.expect("no PUBACK");
        assert_eq!(kind, 0x40);
        puback.get(2).copied().unwrap_or(0)
    }

    /// Publishes with QoS 0.
    pub async fn publish_qos_0(&mut self, topic: &str, payload: &str) {
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        let body = [&text(topic)[..], properties, payload.as_bytes()].concat();
        self.send(0x30, &body).await;
    }

    /// PINGREQ and PINGRESP: everything before it has been answered.
    pub async fn ping(&mut self) {
        self.send(0xc0, &[]).await;
        let (kind, _) = self.receive().await.expect("no PINGRESP");
        assert_eq!(kind, 0xd0);
    }
}
