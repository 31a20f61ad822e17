//! One client id of the accounting tests: connects, leaves, vanishes and comes back, answers
//! every delivery as the standard asks, and keeps what it received.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::wire::{
    Connect, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, packet, properties, text,
};

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    pub payload: String,
    pub topic: String,
    pub qos: u8,
    pub dup: bool,
}

/// What a client remembers from one connection to the next.
#[derive(Default)]
struct Memory {
    arrivals: Vec<Arrival>,
    /// Packet ids of QoS 2 that were received and not released yet.
    unreleased: HashSet<u16>,
}

type Writer = Arc<AsyncMutex<OwnedWriteHalf>>;

struct Line {
    writer: Writer,
    /// Packets that are neither a delivery nor part of one.
    answers: mpsc::UnboundedReceiver<(u8, Vec<u8>)>,
    /// Whether the client reads at the moment.
    reads: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

/// Where a client breaks a QoS 2 handshake off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// In the middle of the PUBLISH.
    HalfPublish,
    /// Behind the PUBLISH, whose PUBREC is not read.
    Publish,
    /// Behind the PUBREC.
    Pubrec,
    /// Behind the PUBREL, whose PUBCOMP is not read.
    Pubrel,
}

pub const STEPS: [Step; 4] = [Step::HalfPublish, Step::Publish, Step::Pubrec, Step::Pubrel];

pub struct Peer {
    pub name: String,
    pub version: u8,
    /// Whether a connection has ended in a way that loses what was on the wire.
    pub lossy: bool,
    /// Whether its session outlives the connection.
    pub lasting: bool,
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    line: Option<Line>,
}

impl Peer {
    pub fn new(address: SocketAddr, name: String, version: u8) -> Self {
        Self {
            name,
            version,
            lossy: false,
            lasting: false,
            address,
            memory: Arc::default(),
            line: None,
        }
    }

    pub fn connected(&self) -> bool {
        self.line.is_some()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.memory.lock().arrivals.clone()
    }

    /// Connects; an earlier connection, if there still is one, loses its place. Whether the
    /// broker had a session.
    pub async fn connect(&mut self, lasting: bool) -> bool {
        let mut opening = Connect::new(self.version, &self.name);
        opening.clean = !lasting;
        if self.version == 5 && lasting {
            // Session Expiry Interval: an hour.
            opening.properties = [&[0x11][..], &3_600_u32.to_be_bytes()].concat();
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&opening.bytes()).await.unwrap();
        let connack = timeout(PATIENCE, read(&mut stream)).await.unwrap();
        let (first, body) = connack.expect("a CONNACK");
        assert_eq!((first, body[1]), (0x20, 0), "{} is refused", self.name);
        if let Some(mut replaced) = self.line.take() {
            self.lossy = true;
            replaced.reads.send_replace(true);
            (&mut replaced.reader).await.unwrap();
        }
        let present = body[0] == 1;
        if !present {
            self.memory.lock().unreleased.clear();
        }
        self.lasting = lasting;
        let (reading, writing) = stream.into_split();
        let writer = Arc::new(AsyncMutex::new(writing));
        let (other, answers) = mpsc::unbounded_channel();
        let (reads, may_read) = watch::channel(true);
        let side = Side {
            five: self.version == 5,
            memory: self.memory.clone(),
            writer: writer.clone(),
            other,
        };
        let listening = listen(reading, may_read, side);
        self.line = Some(Line {
            writer,
            answers,
            reads,
            reader: tokio::spawn(listening),
        });
        present
    }

    /// Leaves with a DISCONNECT and reads until the broker has closed.
    pub async fn leave(&mut self) {
        if let Some(mut line) = self.line.take() {
            // It may have been closed meanwhile by a newer connection.
            let _ = line.writer.lock().await.write_all(&[DISCONNECT, 0]).await;
            timeout(PATIENCE, &mut line.reader).await.unwrap().unwrap();
        }
    }

    /// Goes without a word, and without reading what was on its way.
    pub async fn vanish(&mut self) {
        if let Some(line) = self.line.take() {
            self.lossy = true;
            line.reader.abort();
            let _ = line.reader.await;
        }
    }

    /// Stops reading, or goes on with it.
    pub fn read(&mut self, reads: bool) {
        if let Some(line) = &self.line {
            line.reads.send_replace(reads);
        }
    }

    /// Publishes at QoS 2, breaks off at a step, comes back with the same session, by a takeover
    /// or after the connection is gone, and goes on as the standard says. Whether the broker has
    /// the message for certain.
    pub async fn interrupted(&mut self, topic: &str, payload: &str, step: Step) -> bool {
        // Of its own: what [`Peer::throw`] left unfinished keeps the other one.
        const ID: [u8; 2] = [0, 11];
        let bytes = |first| {
            let own = if self.version == 5 { &[0][..] } else { &[] };
            packet(first, &[&text(topic), &ID, own, payload.as_bytes()])
        };
        let (publish, again) = (bytes(PUBLISH | 4), bytes(PUBLISH | 4 | 8));
        if step == Step::HalfPublish {
            // Nothing of its answers may come between the halves.
            let writer = self.line.as_ref().map(|line| line.writer.clone());
            self.vanish().await;
            let half = &publish[..publish.len() / 2];
            let mut writer = writer.as_ref().expect("a connection").lock().await;
            // The broker may have closed it by now.
            let _ = writer.write_all(half).await;
        } else {
            self.send(&publish).await;
        }
        if matches!(step, Step::Pubrec | Step::Pubrel) {
            self.answer(PUBREC).await;
        }
        if step == Step::Pubrel {
            self.send(&packet(PUBREL, &[&ID])).await;
        }
        if payload.len().is_multiple_of(2) {
            self.vanish().await;
        }
        let lasting = self.lasting;
        if !self.connect(lasting).await {
            // The session was a clean one: what came of the message is not known.
            return matches!(step, Step::Pubrec | Step::Pubrel);
        }
        if step != Step::Pubrel {
            self.send(&again).await;
            self.answer(PUBREC).await;
        }
        self.send(&packet(PUBREL, &[&ID])).await;
        self.answer(PUBCOMP).await;
        true
    }

    async fn send(&mut self, bytes: &[u8]) {
        let line = self.line.as_mut().expect("a connection");
        line.writer.lock().await.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, wanted: u8) -> Vec<u8> {
        let line = self.line.as_mut().expect("a connection");
        let answer = timeout(PATIENCE, line.answers.recv()).await;
        let (first, body) = answer
            .unwrap_or_else(|_| panic!("{} waits for {wanted:x}", self.name))
            .unwrap_or_else(|| panic!("{} lost its connection", self.name));
        assert_eq!(first, wanted, "{}: {body:?}", self.name);
        body
    }

    /// Everything sent before has been taken, and everything written before has arrived.
    pub async fn ping(&mut self) {
        self.send(&packet(0xc0, &[])).await;
        self.answer(0xd0).await;
    }

    fn own(&self) -> &'static [u8] {
        if self.version == 5 { &[0] } else { &[] }
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) {
        let bytes = packet(0x82, &[&[0, 9], self.own(), &text(filter), &[qos]]);
        self.send(&bytes).await;
        assert_eq!(self.answer(0x90).await.last(), Some(&qos));
    }

    pub async fn unsubscribe(&mut self, filter: &str) {
        let bytes = packet(0xa2, &[&[0, 8], self.own(), &text(filter)]);
        self.send(&bytes).await;
        self.answer(0xb0).await;
    }

    /// Publishes and does not wait for any answer.
    pub async fn throw(&mut self, topic: &str, qos: u8, payload: &str) {
        let id: &[u8] = if qos == 0 { &[] } else { &[0, 7] };
        let parts = [&text(topic), id, self.own(), payload.as_bytes()];
        self.send(&packet(PUBLISH | qos << 1, &parts)).await;
    }

    /// Publishes; when this returns the broker has taken it.
    pub async fn publish(&mut self, topic: &str, qos: u8, payload: &str) {
        self.throw(topic, qos, payload).await;
        match qos {
            0 => self.ping().await,
            1 => assert_eq!(self.answer(PUBACK).await[..2], [0, 7]),
            _ => {
                self.answer(PUBREC).await;
                self.send(&packet(PUBREL, &[&[0, 7]])).await;
                self.answer(PUBCOMP).await;
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

/// What the reading side of a client needs.
struct Side {
    five: bool,
    memory: Arc<Mutex<Memory>>,
    writer: Writer,
    other: mpsc::UnboundedSender<(u8, Vec<u8>)>,
}

/// Reads until the connection ends, and answers the deliveries.
async fn listen(mut reading: OwnedReadHalf, mut may_read: watch::Receiver<bool>, side: Side) {
    while may_read.wait_for(|reads| *reads).await.is_ok()
        && let Some((first, body)) = read(&mut reading).await
    {
        let answer = match first & 0xf0 {
            PUBLISH => taken(&mut side.memory.lock(), side.five, first, &body),
            _ if first == PUBREL => {
                let id = [body[0], body[1]];
                side.memory
                    .lock()
                    .unreleased
                    .remove(&u16::from_be_bytes(id));
                Some(packet(PUBCOMP, &[&id]))
            }
            _ => {
                // Nobody waits for it once the client has gone.
                let _ = side.other.send((first, body));
                None
            }
        };
        if let Some(answer) = answer {
            // The connection may have ended behind the message.
            let _ = side.writer.lock().await.write_all(&answer).await;
        }
    }
}

/// Keeps a message, and says how it is answered.
fn taken(memory: &mut Memory, five: bool, first: u8, body: &[u8]) -> Option<Vec<u8>> {
    let qos = (first >> 1) & 3;
    let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..end].to_vec()).unwrap();
    let (id, mut rest) = match qos {
        0 => ([0, 0], &body[end..]),
        _ => ([body[end], body[end + 1]], &body[end + 2..]),
    };
    if five {
        let length = usize::from(rest[0]);
        assert!(rest.starts_with(&properties(&rest[1..=length])));
        rest = &rest[1 + length..];
    }
    let seen = qos == 2 && !memory.unreleased.insert(u16::from_be_bytes(id));
    if !seen {
        memory.arrivals.push(Arrival {
            payload: String::from_utf8(rest.to_vec()).unwrap(),
            topic,
            qos,
            dup: first & 8 == 8,
        });
    }
    match qos {
        0 => None,
        1 => Some(packet(PUBACK, &[&id])),
        _ => Some(packet(PUBREC, &[&id])),
    }
}
