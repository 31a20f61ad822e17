//! An MQTT 3.x client of a device that sees every packet, and the recorded logins that it uses.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::PATIENCE;

#[derive(serde::Deserialize)]
struct Vectors {
    cases: Vec<Login>,
}

#[derive(Clone, serde::Deserialize)]
pub struct Login {
    pub client_id: String,
    pub username: String,
    pub password: String,
}

pub fn logins() -> Vec<Login> {
    let text = include_str!("../../../fixtures/tencent-iot/recorded/tencent-iothub-mqtt.json");
    serde_json::from_str::<Vectors>(text).unwrap().cases
}

/// What a client is attached by.
pub trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// An MQTT 3.x client that sees every packet.
pub struct Wire {
    stream: Box<dyn Line>,
    buffer: BytesMut,
}

pub fn text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap());
    out.put_slice(text.as_bytes());
}

pub fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let more = if rest > 127 { 0x80 } else { 0 };
        out.push(u8::try_from(rest % 128).unwrap() | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// How a CONNECT differs from the usual one.
#[derive(Clone, Copy)]
pub struct Form {
    pub name: &'static str,
    pub level: u8,
    pub will: bool,
    pub clean: bool,
    pub keep_alive: u16,
}

pub const USUAL: Form = Form {
    name: "MQTT",
    level: 4,
    will: false,
    clean: true,
    keep_alive: 60,
};

impl Wire {
    /// Connects; the CONNACK's return code.
    pub async fn open(address: SocketAddr, login: &Login, form: Form) -> (Self, u8) {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::open_over(Box::new(stream), login, form).await
    }

    pub async fn open_over(stream: Box<dyn Line>, login: &Login, form: Form) -> (Self, u8) {
        let mut body = BytesMut::new();
        text(&mut body, form.name);
        body.put_u8(form.level);
        body.put_u8(0xC0 | u8::from(form.will) << 2 | u8::from(form.clean) << 1);
        body.put_u16(form.keep_alive);
        if form.level == 5 {
            body.put_u8(0);
        }
        text(&mut body, &login.client_id);
        if form.will {
            text(&mut body, "ABCDE12345/dev01/event");
            text(&mut body, "gone");
        }
        text(&mut body, &login.username);
        text(&mut body, &login.password);
        let mut wire = Self {
            stream,
            buffer: BytesMut::new(),
        };
        wire.send(packet(0x10, &body)).await;
        let (kind, body) = wire.next().await.expect("a CONNACK");
        assert_eq!(kind, 0x20);
        (wire, body[1])
    }

    pub async fn device(address: SocketAddr) -> Self {
        let (wire, code) = Self::open(address, &logins()[0], USUAL).await;
        assert_eq!(code, 0);
        wire
    }

    pub async fn send(&mut self, bytes: Vec<u8>) {
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<(u8, Bytes)> {
        let wanted = async {
            loop {
                if let Some(packet) = self.parse() {
                    return Some(packet);
                }
                let read = self.stream.read_buf(&mut self.buffer).await;
                if !read.is_ok_and(|count| count > 0) {
                    return None;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted)
            .await
            .expect("no packet came")
    }

    fn parse(&mut self) -> Option<(u8, Bytes)> {
        let kind = *self.buffer.first()?;
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = *self.buffer.get(at)?;
            length |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.buffer.len() < at + length {
            return None;
        }
        self.buffer.advance(at);
        Some((kind, self.buffer.split_to(length).freeze()))
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.subscribe_all(&[filter], qos).await[0]
    }

    /// Subscribes in one packet; what was granted.
    pub async fn subscribe_all(&mut self, filters: &[&str], qos: u8) -> Vec<u8> {
        let mut body = BytesMut::new();
        body.put_u16(7);
        for filter in filters {
            text(&mut body, filter);
            body.put_u8(qos);
        }
        self.send(packet(0x82, &body)).await;
        loop {
            let (kind, body) = self.next().await.expect("a SUBACK");
            if kind == 0x90 {
                return body[2..].to_vec();
            }
        }
    }

    /// Asks for a sign of life and takes the answer, with the kinds of packets before it.
    pub async fn ping(&mut self) -> Vec<u8> {
        self.send(vec![0xC0, 0]).await;
        let mut before = Vec::new();
        loop {
            match self.next().await.expect("a PINGRESP").0 {
                0xD0 => return before,
                kind => before.push(kind),
            }
        }
    }

    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        let mut body = BytesMut::new();
        text(&mut body, topic);
        if qos > 0 {
            body.put_u16(9);
        }
        body.put_slice(payload.as_bytes());
        self.send(packet(0x30 | qos << 1, &body)).await;
    }

    pub async fn publish_retained(&mut self, topic: &str, payload: &str) {
        let mut body = BytesMut::new();
        text(&mut body, topic);
        body.put_slice(payload.as_bytes());
        self.send(packet(0x31, &body)).await;
    }

    /// The next message: its topic and payload.
    pub async fn received(&mut self) -> (String, String) {
        loop {
            let (kind, mut body) = self.next().await.expect("a PUBLISH");
            if kind >> 4 != 3 {
                continue;
            }
            let length = usize::from(body.get_u16());
            let topic = String::from_utf8(body.split_to(length).to_vec()).unwrap();
            if kind & 6 != 0 {
                let id = body.get_u16();
                self.send(packet(0x40, &id.to_be_bytes())).await;
            }
            return (topic, String::from_utf8(body.to_vec()).unwrap());
        }
    }
}
