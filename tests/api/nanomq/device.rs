//! An MQTT client of a few lines that speaks 3.1.1 and 5 packet by packet, so that keep-alive,
//! user name and will are what the recordings had. Every wait is for a packet.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;

/// What was delivered: topic, payload, QoS and retain flag.
pub type Delivered = (String, Vec<u8>, u8, bool);

/// How to connect.
#[derive(Clone, Copy)]
pub struct Connect {
    pub client_id: &'static str,
    pub version: u8,
    pub username: Option<&'static str>,
    pub keep_alive: u16,
    pub will: Option<(&'static str, &'static str)>,
}

/// A connected client.
pub struct Device {
    stream: TcpStream,
    version: u8,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut left = body.len();
    loop {
        let byte = u8::try_from(left % 128).unwrap();
        left /= 128;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

impl Device {
    pub async fn connect(address: SocketAddr, connect: Connect) -> Self {
        let version = connect.version;
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        let user = if connect.username.is_some() { 0x80 } else { 0 };
        let will = if connect.will.is_some() { 0x0c } else { 0 };
        body.extend_from_slice(&[version, 0x02 | user | will]);
        body.extend_from_slice(&connect.keep_alive.to_be_bytes());
        if version == 5 {
            body.push(0);
        }
        text(&mut body, connect.client_id);
        if let Some((topic, payload)) = connect.will {
            if version == 5 {
                body.push(0);
            }
            text(&mut body, topic);
            text(&mut body, payload);
        }
        if let Some(username) = connect.username {
            text(&mut body, username);
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let mut device = Self { stream, version };
        device.send(0x10, &body).await;
        let (kind, answer) = device.read().await;
        assert_eq!((kind, answer[1]), (0x20, 0), "CONNACK");
        device
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        self.stream.write_all(&packet(kind, body)).await.unwrap();
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let kind = self.stream.read_u8().await.unwrap();
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.stream.read_u8().await.unwrap();
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.unwrap();
            (kind, body)
        };
        timeout(PATIENCE, read).await.expect("a packet in time")
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 7];
        if self.version == 5 {
            body.push(0);
        }
        text(&mut body, filter);
        body.push(qos);
        self.send(0x82, &body).await;
        let (kind, answer) = self.read().await;
        assert_eq!((kind, answer.last()), (0x90, Some(&qos)), "SUBACK");
    }

    /// Publishes, and waits until the broker has taken it where QoS 1 says so.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        let mut body = Vec::new();
        text(&mut body, topic);
        if qos > 0 {
            body.extend_from_slice(&[0, 9]);
        }
        if self.version == 5 {
            body.push(0);
        }
        body.extend_from_slice(payload.as_bytes());
        self.send(0x30 | (qos << 1), &body).await;
        if qos == 1 {
            assert_eq!(self.read().await.0, 0x40, "PUBACK");
        }
    }

    /// The next delivery, acknowledged.
    pub async fn delivery(&mut self) -> Delivered {
        let (kind, body) = self.read().await;
        assert_eq!(kind & 0xf0, 0x30, "PUBLISH");
        let qos = (kind >> 1) & 3;
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut at = 2 + length;
        let id = [body.get(at), body.get(at + 1)].map(|byte| *byte.unwrap_or(&0));
        if qos > 0 {
            at += 2;
        }
        if self.version == 5 {
            at += 1 + usize::from(body[at]);
        }
        let payload = body[at..].to_vec();
        match qos {
            1 => self.send(0x40, &id).await,
            2 => {
                self.send(0x50, &id).await;
                assert_eq!(self.read().await.0, 0x62, "PUBREL");
                self.send(0x70, &id).await;
            }
            _ => {}
        }
        (topic, payload, qos, kind & 1 == 1)
    }

    /// Leaves, and waits until the broker has closed the connection.
    pub async fn leave(mut self) {
        self.send(0xe0, &[]).await;
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        end.expect("an end in time").unwrap();
    }
}
