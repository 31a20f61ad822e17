//! The load tool: MQTT clients that write packets encoded beforehand and count what comes.
//!
//! It shares the cores with the broker, so it does as little as it can: no client library, one
//! thread, one `read` for as many packets as there are, a PUBLISH counted by its length alone, all
//! PUBACKs of one `read` in one `write`. A publisher is held back by its window: it has at most so
//! many messages under way that are not yet received (and, with QoS 1, acknowledged), and tops the
//! window up once half of it is free. So nothing is lost unless the broker loses it, and the
//! throughput is the broker's, not that of its buffers.
//!
//! Latency is measured at a fixed rate instead: a thread of its own writes what is due, ten
//! thousand times a second at most, and never waits for the broker. The time at which a message
//! was due stands in the last eight bytes of its payload.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For one answer of a broker.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without a message before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two looks of the pacing thread at what is due.
const TICK: Duration = Duration::from_micros(100);
/// For the rest to come, before it counts as lost however much still comes.
const DRAIN: Duration = Duration::from_secs(4);
/// Seconds by which a broker may be behind a fixed rate.
const BEHIND: f64 = 2.0;
/// Messages of one publisher that may be under way whatever the rate: packet ids end at 65,535.
const UNDER_WAY: u64 = 60_000;
/// Connections that are opened at a time.
const AT_ONCE: usize = 32;
const READ_BUFFER: usize = 64 * 1024;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;

/// MQTT protocol version, as CONNECT spells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311 = 4,
    V5 = 5,
}

/// Who subscribes to what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topics {
    /// A topic per publisher; subscribers are dealt out over them.
    Own,
    /// One topic, whose subscribers are one shared group.
    Shared,
    /// Each message to another one of a million topics, all of which the one filter matches.
    Scattered,
    /// The topic of the signed requests.
    SendMessage,
}

/// A pattern of publishers and subscribers.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) qos: u8,
    /// Messages that each publisher may have under way.
    pub(crate) window: u64,
    /// Bytes.
    pub(crate) payload: usize,
    pub(crate) topics: Topics,
}

impl Traffic {
    /// How many subscribers receive each message.
    pub(crate) fn copies(&self) -> u64 {
        match self.topics {
            Topics::Shared => 1,
            _ => (self.subscribers / self.publishers) as u64,
        }
    }

    /// Of the subscribers. Publishers speak MQTT 3.1.1 always: NanoMQ ends an MQTT 5 publisher
    /// after 65,535 messages of QoS 1, acknowledged or not.
    fn version(&self) -> Version {
        match self.topics {
            Topics::Shared => Version::V5,
            _ => Version::V311,
        }
    }

    fn filter(&self, subscriber: usize) -> String {
        match self.topics {
            Topics::Own => format!("bench/{}", subscriber % self.publishers),
            Topics::Shared => "$share/group/bench/0".into(),
            Topics::Scattered => "site/+/bench".into(),
            Topics::SendMessage => crate::send_message::TOPIC.into(),
        }
    }

    fn template(&self, publisher: usize) -> Template {
        let (topic, digits) = match self.topics {
            Topics::Scattered => ("site/000000/bench".into(), Some(5)),
            _ => (format!("bench/{publisher}"), None),
        };
        Template::new(&topic, digits, self.qos, self.payload)
    }
}

/// What a measurement of throughput found.
pub(crate) struct Flow {
    /// Messages received per second, all subscribers together; or connects.
    pub(crate) per_second: f64,
    /// Microseconds of processor time for each: the broker's and the load tool's.
    pub(crate) processor: [f64; 2],
    pub(crate) lost: u64,
}

impl Flow {
    fn new(count: u64, time: Duration, before: [Duration; 2], after: [Duration; 2]) -> Self {
        let processor = [0, 1].map(|whose| {
            let spent = after[whose].saturating_sub(before[whose]);
            spent.as_secs_f64() * 1e6 / count.max(1) as f64
        });
        Self {
            per_second: count as f64 / time.as_secs_f64(),
            processor,
            lost: 0,
        }
    }

    pub(crate) fn figures(&self) -> Vec<f64> {
        vec![self.per_second, self.processor[0], self.processor[1]]
    }
}

/// What a measurement at a fixed rate found.
pub(crate) struct Waits {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) lost: u64,
}

/// Processor time so far: the broker's and the load tool's.
pub(crate) type Meter<'a> = &'a dyn Fn() -> [Duration; 2];

/// Publishes as fast as the windows allow.
pub(crate) async fn throughput(
    address: SocketAddr,
    traffic: &Traffic,
    time: Duration,
    meter: Meter<'_>,
) -> io::Result<Flow> {
    let mut field = Field::lay(address, traffic, None).await?;
    for (index, lane) in field.lanes.clone().into_iter().enumerate() {
        let client = Client::connect(address, Version::V311, &format!("pub{index}")).await?;
        let (reader, writer) = client.stream.into_split();
        field.watch(acknowledgements(reader, lane.clone()));
        field.watch(publish(writer, lane, traffic.template(index)));
    }
    tokio::time::sleep(warm_up(time)).await;
    let (begun, before, used) = (Instant::now(), field.received(), meter());
    tokio::time::sleep(time).await;
    let received = field.received() - before;
    let flow = Flow::new(received, begun.elapsed(), used, meter());
    let lost = field.drain().await?;
    if received == 0 {
        return Err(io::Error::other("nothing was received"));
    }
    Ok(Flow { lost, ..flow })
}

/// Publishes `rate` messages per second, all publishers together.
pub(crate) async fn latency(
    address: SocketAddr,
    traffic: &Traffic,
    rate: f64,
    time: Duration,
) -> io::Result<Waits> {
    let clock = Instant::now();
    let mut field = Field::lay(address, traffic, Some(clock)).await?;
    let mut publishers = Vec::new();
    for (index, lane) in field.lanes.clone().into_iter().enumerate() {
        let client = Client::connect(address, Version::V311, &format!("pub{index}")).await?;
        let writer = client.stream.into_std()?;
        let reader = TcpStream::from_std(writer.try_clone()?)?;
        field.watch(acknowledgements(reader, lane.clone()));
        publishers.push(Paced {
            stream: writer,
            pending: Vec::new(),
            template: traffic.template(index),
            lane,
        });
    }
    let warm_up = warm_up(time);
    let from = clock.elapsed() + warm_up;
    let (done, paced) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(pace(publishers, rate, warm_up + time, clock)));
    paced
        .await
        .map_err(|_| io::Error::other("the pacing thread ended"))??;
    let lost = field.drain().await?;
    let mut waits = field.waits(from);
    waits.sort_unstable();
    if waits.is_empty() {
        return Err(io::Error::other("nothing was received"));
    }
    let rank = |share: usize| Duration::from_micros(waits[(waits.len() - 1) * share / 100].into());
    Ok(Waits {
        p50: rank(50),
        p99: rank(99),
        lost,
    })
}

/// Connections per second that are opened, accepted with CONNACK, ended with DISCONNECT and the
/// stream's end, and closed by the broker; and the processor time of each.
pub(crate) async fn connects(
    address: SocketAddr,
    time: Duration,
    meter: Meter<'_>,
) -> io::Result<Flow> {
    let count = Arc::new(AtomicU64::new(0));
    let (begun, used) = (Instant::now(), meter());
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let count = count.clone();
        workers.spawn(async move {
            let mut number = 0;
            while begun.elapsed() < time {
                let id = format!("con{worker}-{number}");
                let mut client = Client::connect(address, Version::V311, &id).await?;
                client.stream.write_all(&[0xe0, 0]).await?;
                // NanoMQ leaves some connections open unless it sees their end.
                client.stream.shutdown().await?;
                client.closed().await?;
                count.fetch_add(1, Relaxed);
                number += 1;
            }
            io::Result::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(io::Error::other)??;
    }
    Ok(Flow::new(
        count.load(Relaxed),
        begun.elapsed(),
        used,
        meter(),
    ))
}

/// Subscribes to what the emulator publishes as `SendMessage` says, with QoS 1.
pub(crate) async fn subscribe(address: SocketAddr) -> io::Result<Field> {
    let traffic = Traffic {
        publishers: 1,
        subscribers: 1,
        qos: 1,
        window: 0,
        payload: 0,
        topics: Topics::SendMessage,
    };
    Field::lay(address, &traffic, None).await
}

/// Clients that stay: their connections, and what ended the row of them early.
pub(crate) struct Crowd {
    pub(crate) clients: Vec<TcpStream>,
    pub(crate) fault: Option<io::Error>,
}

/// Connects `count` clients that subscribe to `filters` each. Each one answers a PINGREQ at its
/// end, so the broker has done what there was to do for it.
pub(crate) async fn crowd(
    address: SocketAddr,
    name: &'static str,
    count: usize,
    filters: fn(usize) -> Vec<String>,
) -> Crowd {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        workers.spawn(async move {
            let mut clients = Vec::new();
            for index in (worker..count).step_by(AT_ONCE) {
                match member(address, &format!("{name}{index}"), &filters(index)).await {
                    Ok(client) => clients.push(client),
                    Err(error) => return (clients, Some(error)),
                }
            }
            (clients, None)
        });
    }
    let mut crowd = Crowd {
        clients: Vec::new(),
        fault: None,
    };
    while let Some(Ok((clients, fault))) = workers.join_next().await {
        crowd.clients.extend(clients);
        crowd.fault = fault.or(crowd.fault);
    }
    crowd
}

async fn member(address: SocketAddr, id: &str, filters: &[String]) -> io::Result<TcpStream> {
    let mut client = Client::connect(address, Version::V311, id).await?;
    client.subscribe(Version::V311, filters, 0).await?;
    client.stream.write_all(&[0xc0, 0]).await?;
    client.expect(PINGRESP).await?;
    Ok(client.stream)
}

/// Not counted, before what is.
fn warm_up(time: Duration) -> Duration {
    (time / 4).max(Duration::from_millis(200))
}

/// What one publisher has under way.
struct Lane {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    received: AtomicU64,
    copies: u64,
    acknowledges: bool,
    window: u64,
    room: Notify,
    over: std::sync::atomic::AtomicBool,
}

impl Lane {
    fn new(traffic: &Traffic) -> Self {
        Self {
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            received: AtomicU64::new(0),
            copies: traffic.copies(),
            acknowledges: traffic.qos > 0,
            window: traffic.window,
            room: Notify::new(),
            over: false.into(),
        }
    }

    fn under_way(&self) -> u64 {
        let mut through = self.received.load(Relaxed) / self.copies;
        if self.acknowledges {
            through = through.min(self.acknowledged.load(Relaxed));
        }
        self.sent.load(Relaxed).saturating_sub(through)
    }

    /// How many messages may be sent: none before half of the window is free.
    fn room(&self) -> u64 {
        let under_way = self.under_way();
        if under_way * 2 > self.window {
            return 0;
        }
        self.window - under_way
    }

    fn came(&self, counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
        if self.room() > 0 {
            self.room.notify_one();
        }
    }
}

/// What one subscriber has received; the waits only where they are measured.
#[derive(Default)]
struct Tally {
    received: AtomicU64,
    /// When each message was due, in nanoseconds, and how many microseconds it took.
    waits: Mutex<Vec<(u64, u32)>>,
}

/// Everybody who takes part in one measurement.
pub(crate) struct Field {
    lanes: Vec<Arc<Lane>>,
    tallies: Vec<Arc<Tally>>,
    /// Whether the subscribers share the messages.
    shared: bool,
    tasks: JoinSet<()>,
    fault: Arc<Mutex<Option<io::Error>>>,
}

impl Field {
    /// Connects the subscribers.
    async fn lay(
        address: SocketAddr,
        traffic: &Traffic,
        clock: Option<Instant>,
    ) -> io::Result<Self> {
        let mut field = Self {
            lanes: (0..traffic.publishers)
                .map(|_| Arc::new(Lane::new(traffic)))
                .collect(),
            tallies: Vec::new(),
            shared: traffic.topics == Topics::Shared,
            tasks: JoinSet::new(),
            fault: Arc::default(),
        };
        for index in 0..traffic.subscribers {
            let id = format!("sub{index}");
            let version = traffic.version();
            let mut client = Client::connect(address, version, &id).await?;
            let filter = traffic.filter(index);
            client.subscribe(version, &[filter], traffic.qos).await?;
            let lane = field.lanes[index % traffic.publishers].clone();
            let tally = Arc::new(Tally::default());
            field.tallies.push(tally.clone());
            field.watch(receive(client, lane, tally, clock));
        }
        Ok(field)
    }

    fn watch(&mut self, task: impl Future<Output = io::Result<()>> + Send + 'static) {
        let fault = self.fault.clone();
        self.tasks.spawn(async move {
            if let Err(error) = task.await {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
    }

    /// Messages, all subscribers together.
    pub(crate) fn received(&self) -> u64 {
        let counts = self
            .tallies
            .iter()
            .map(|tally| tally.received.load(Relaxed));
        counts.sum()
    }

    /// Stops the publishers and waits until all is received, or nothing comes any more. Returns
    /// how many messages are missing; one too many is a fault.
    async fn drain(&mut self) -> io::Result<u64> {
        for lane in &self.lanes {
            lane.over.store(true, Relaxed);
        }
        let begun = Instant::now();
        let (mut last, mut since) = (self.received(), begun);
        while self.lanes.iter().any(|lane| lane.under_way() > 0)
            && since.elapsed() < SILENCE
            && begun.elapsed() < DRAIN
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let received = self.received();
            if received != last {
                (last, since) = (received, Instant::now());
            }
        }
        let fault = self
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        fault.map_or_else(|| self.missing(), Err)
    }

    fn missing(&self) -> io::Result<u64> {
        let sent = |index: usize| self.lanes[index % self.lanes.len()].sent.load(Relaxed);
        let each = self
            .tallies
            .iter()
            .map(|tally| tally.received.load(Relaxed));
        let each: Vec<u64> = each.collect();
        if each.contains(&0) {
            return Err(io::Error::other("a subscriber received nothing"));
        }
        let received = if self.shared {
            vec![each.iter().sum()]
        } else {
            each
        };
        let mut missing = 0;
        for (index, received) in received.into_iter().enumerate() {
            if received > sent(index) {
                let more = received - sent(index);
                return Err(io::Error::other(format!("{more} messages came twice")));
            }
            missing += sent(index) - received;
        }
        Ok(missing)
    }

    /// In microseconds, of the messages that were due from then on.
    fn waits(&self, from: Duration) -> Vec<u32> {
        let mut all = Vec::new();
        for tally in &self.tallies {
            let waits = tally.waits.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = waits
                .iter()
                .filter(|(due, _)| u128::from(*due) >= from.as_nanos());
            all.extend(counted.map(|(_, wait)| *wait));
        }
        all
    }
}

/// Counts a subscriber's messages and acknowledges those of QoS 1.
async fn receive(
    client: Client,
    lane: Arc<Lane>,
    tally: Arc<Tally>,
    clock: Option<Instant>,
) -> io::Result<()> {
    let (mut reader, mut writer) = client.stream.into_split();
    let mut incoming = Incoming::new();
    let mut acknowledgements = Vec::new();
    loop {
        incoming.fill(&mut reader).await?;
        let now = clock.map(|clock| clock.elapsed().as_nanos() as u64);
        let count = take(&mut incoming, &tally, now, &mut acknowledgements)?;
        tally.received.fetch_add(count, Relaxed);
        lane.came(&lane.received, count);
        if !acknowledgements.is_empty() {
            writer.write_all(&acknowledgements).await?;
            acknowledgements.clear();
        }
    }
}

/// Counts what has come, and collects the PUBACKs and, where the time is told, the waits.
fn take(
    incoming: &mut Incoming,
    tally: &Tally,
    now: Option<u64>,
    acknowledgements: &mut Vec<u8>,
) -> io::Result<u64> {
    let mut waits = tally.waits.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = 0;
    incoming.packets(|first, body| {
        if first >> 4 != PUBLISH {
            return;
        }
        count += 1;
        if first & 0b110 != 0 {
            let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            acknowledgements.extend([PUBACK << 4, 2, body[id], body[id + 1]]);
        }
        if let (Some(now), Some(stamp)) = (now, body.last_chunk()) {
            let due = u64::from_be_bytes(*stamp);
            let wait = now.saturating_sub(due) / 1000;
            waits.push((due, u32::try_from(wait).unwrap_or(u32::MAX)));
        }
    })?;
    Ok(count)
}

/// Counts a publisher's PUBACKs.
async fn acknowledgements(mut reader: impl AsyncRead + Unpin, lane: Arc<Lane>) -> io::Result<()> {
    let mut incoming = Incoming::new();
    loop {
        incoming.fill(&mut reader).await?;
        let mut count = 0;
        incoming.packets(|first, _| count += u64::from(first >> 4 == PUBACK))?;
        lane.came(&lane.acknowledged, count);
    }
}

/// Keeps a publisher's window full.
async fn publish(
    mut writer: OwnedWriteHalf,
    lane: Arc<Lane>,
    template: Template,
) -> io::Result<()> {
    let mut packets = Vec::new();
    while !lane.over.load(Relaxed) {
        let room = lane.room();
        if room == 0 {
            lane.room.notified().await;
            continue;
        }
        let sent = lane.sent.load(Relaxed);
        packets.clear();
        for number in sent..sent + room {
            template.append(&mut packets, number, 0);
        }
        lane.sent.store(sent + room, Relaxed);
        writer.write_all(&packets).await?;
    }
    // The connection stays until the last message is through.
    std::future::pending().await
}

/// A publisher at a fixed rate.
struct Paced {
    stream: std::net::TcpStream,
    /// What the broker's socket did not take yet.
    pending: Vec<u8>,
    template: Template,
    lane: Arc<Lane>,
}

impl Paced {
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes what is due, to the publishers in turn, until the time is over.
fn pace(mut publishers: Vec<Paced>, rate: f64, time: Duration, clock: Instant) -> io::Result<()> {
    let begun = clock.elapsed();
    let total = (rate * time.as_secs_f64()) as u64;
    let most = (rate * BEHIND) as u64 / publishers.len() as u64;
    let mut next = 0;
    while next < total || publishers.iter().any(|one| !one.pending.is_empty()) {
        let now = clock.elapsed();
        let due = total.min((now.saturating_sub(begun).as_secs_f64() * rate) as u64);
        for number in next..due {
            let index = number as usize % publishers.len();
            let Paced {
                pending,
                template,
                lane,
                ..
            } = &mut publishers[index];
            let sent = lane.sent.fetch_add(1, Relaxed);
            template.append(pending, sent, now.as_nanos() as u64);
        }
        next = due;
        for publisher in &mut publishers {
            publisher.flush()?;
            if publisher.lane.under_way() > most.clamp(100, UNDER_WAY) {
                let text = format!("too far behind at {rate:.0} messages/s published");
                return Err(io::Error::other(text));
            }
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// A PUBLISH of which only packet id, topic digits and stamp change.
struct Template {
    packet: Vec<u8>,
    id: Option<usize>,
    digits: Option<usize>,
}

impl Template {
    fn new(topic: &str, digits: Option<usize>, qos: u8, payload: usize) -> Self {
        let mut body = Vec::new();
        text(&mut body, topic);
        let id = (qos > 0).then_some(body.len());
        if qos > 0 {
            body.extend([0, 0]);
        }
        body.resize(body.len() + payload.max(size_of::<u64>()), b'x');
        let packet = framed(PUBLISH << 4 | qos << 1, &body);
        let head = packet.len() - body.len();
        Self {
            packet,
            id: id.map(|at| head + at),
            digits: digits.map(|at| head + 2 + at),
        }
    }

    fn append(&self, packets: &mut Vec<u8>, number: u64, stamp: u64) {
        let start = packets.len();
        packets.extend_from_slice(&self.packet);
        if let Some(at) = self.id {
            let id = (number % 65_535) as u16 + 1;
            packets[start + at..start + at + 2].copy_from_slice(&id.to_be_bytes());
        }
        if let Some(at) = self.digits {
            // A prime step: neighbours in time are not neighbours in the tree.
            let mut rest = number * 7_919;
            for digit in packets[start + at..start + at + 6].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        let end = packets.len();
        packets[end - size_of::<u64>()..].copy_from_slice(&stamp.to_be_bytes());
    }
}

/// A connection whose CONNECT was accepted.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn connect(address: SocketAddr, version: Version, id: &str) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut client = Self { stream };
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        // Clean start; keep alive 600 seconds, longer than any measurement.
        body.extend([version as u8, 2, 2, 88]);
        properties(&mut body, version);
        text(&mut body, id);
        client.stream.write_all(&framed(0x10, &body)).await?;
        let answer = client.expect(CONNACK).await?;
        match answer.get(1) {
            Some(0) => Ok(client),
            code => Err(io::Error::other(format!("CONNACK with {code:?}"))),
        }
    }

    async fn subscribe(&mut self, version: Version, filters: &[String], qos: u8) -> io::Result<()> {
        let mut body = vec![0, 1];
        properties(&mut body, version);
        for filter in filters {
            text(&mut body, filter);
            body.push(qos);
        }
        self.stream.write_all(&framed(0x82, &body)).await?;
        let answer = self.expect(SUBACK).await?;
        let granted = answer.iter().rev().take(filters.len());
        match granted.copied().find(|code| *code != qos) {
            None => Ok(()),
            Some(code) => Err(io::Error::other(format!("SUBACK with {code}"))),
        }
    }

    /// The body of the next packet, which must be of this kind and the only one that came.
    async fn expect(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 512];
        let mut filled = 0;
        let (head, length) = loop {
            let count = timeout(PATIENCE, self.stream.read(&mut buffer[filled..])).await??;
            filled += count;
            match header(&buffer[..filled])? {
                Some((head, length)) if head + length == filled => break (head, length),
                _ if count > 0 => {}
                _ => {
                    return Err(io::Error::other(
                        "the broker closed a connection, or sent more",
                    ));
                }
            }
        };
        let got = buffer[0] >> 4;
        if got != kind {
            let text = format!("expected packet type {kind}, got {got}");
            return Err(io::Error::other(text));
        }
        Ok(buffer[head..head + length].to_vec())
    }

    /// Waits until the broker has closed the connection.
    async fn closed(&mut self) -> io::Result<()> {
        match timeout(PATIENCE, self.stream.read(&mut [0; 16])).await? {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(io::Error::other(
                "expected the connection's end, got a packet",
            )),
            Err(error) => Err(error),
        }
    }
}

/// The bytes that came and are not yet whole packets.
struct Incoming {
    buffer: Vec<u8>,
    filled: usize,
}

impl Incoming {
    fn new() -> Self {
        Self {
            buffer: vec![0; READ_BUFFER],
            filled: 0,
        }
    }

    async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            return Err(io::Error::other("a packet larger than any that was sent"));
        }
        match reader.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::Error::other("the broker closed a connection")),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// Calls with the first byte and the body of each packet that is whole.
    fn packets(&mut self, mut each: impl FnMut(u8, &[u8])) -> io::Result<()> {
        let mut at = 0;
        while let Some((head, length)) = header(&self.buffer[at..self.filled])? {
            let end = at + head + length;
            if end > self.filled {
                break;
            }
            each(self.buffer[at], &self.buffer[at + head..end]);
            at = end;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

/// Lengths of the fixed header and of the body, once the header is there.
fn header(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (index, byte) in bytes.iter().skip(1).enumerate() {
        if index == 4 {
            return Err(io::Error::other("a remaining length of five bytes"));
        }
        length |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Ok(Some((index + 2, length)));
        }
    }
    Ok(None)
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length > 0x7f {
        packet.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

/// No properties, which MQTT 5 has to say.
fn properties(body: &mut Vec<u8>, version: Version) {
    if version == Version::V5 {
        body.push(0);
    }
}
