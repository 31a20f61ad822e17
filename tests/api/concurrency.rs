//! Many at once: 200 connections publish by SendMessage while subscribers come and go, and what
//! happens to publishes when a subscriber stalls. Requests are signed here, from the vendor's
//! description, with nothing of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::message::{DeliveryOutcome, Message};
use mqttstack_broker::Broker;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha1::Sha1;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::mqtt::{Device, Options, PATIENCE, Received};
use crate::shared;

const NOW: &str = "2026-11-21T22:51:00Z";
const CONNECTIONS: usize = 200;
const EACH: usize = 10;
const ALL: usize = CONNECTIONS * EACH;

/// RFC 3986: everything but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A SendMessage as a form, with signature version 1.0.
fn form(topic: &str, payload: &str, nonce: &str) -> String {
    // In the order of their names, as they are signed.
    let parameters = [
        ("AccessKeyId", "testid"),
        ("Action", "SendMessage"),
        ("Format", "JSON"),
        ("InstanceId", "post-cn-test0001"),
        ("MqttTopic", topic),
        ("Payload", payload),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", NOW),
        ("Version", "2020-04-20"),
    ];
    let pairs = parameters.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    let query = pairs.join("&");
    let mut mac = Hmac::<Sha1>::new_from_slice(b"testsecret&").unwrap();
    mac.update(format!("POST&%2F&{}", encode(&query)).as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    format!("{query}&Signature={}", encode(&signature))
}

/// One connection that publishes.
struct Publisher {
    stream: BufReader<TcpStream>,
    name: String,
    sent: usize,
}

impl Publisher {
    async fn connect(emulator: &Emulator, name: impl Into<String>) -> Self {
        let address = emulator.http_url().unwrap().strip_prefix("http://");
        let stream = TcpStream::connect(address.unwrap()).await.unwrap();
        Self {
            stream: BufReader::new(stream),
            name: name.into(),
            sent: 0,
        }
    }

    /// Publishes; status and body of the answer.
    async fn send(&mut self, topic: &str, payload: &str) -> (u16, Value) {
        self.sent += 1;
        let form = form(topic, payload, &format!("{}-{}", self.name, self.sent));
        let request = format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        let answer = async {
            let stream = &mut self.stream;
            stream.write_all(request.as_bytes()).await.unwrap();
            let (mut status, mut length) = (0, 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(rest) = line.strip_prefix("http/1.1 ") {
                    status = rest[..3].parse().unwrap();
                } else if let Some(rest) = line.strip_prefix("content-length:") {
                    length = rest.trim().parse().unwrap();
                } else if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            (status, serde_json::from_slice(&body).unwrap())
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.expect("no answer")
    }
}

async fn start(edit: impl FnOnce(&mut Config)) -> Emulator {
    let mut config = Config::free_ports();
    // The vendor's 1,000 a second would be over with a clock that stands still.
    config.aliyun.quotas.insert("SendMessage".to_owned(), 0);
    edit(&mut config);
    let builder = Emulator::builder().config(config);
    builder.clock(NOW.parse().unwrap()).start().await.unwrap()
}

/// Publishes from all connections at once; message id and request id by payload.
async fn publish_all(emulator: &Emulator) -> BTreeMap<String, (String, String)> {
    let gate = Arc::new(Barrier::new(CONNECTIONS));
    let mut publishers = JoinSet::new();
    for n in 0..CONNECTIONS {
        let mut publisher = Publisher::connect(emulator, n.to_string()).await;
        let gate = gate.clone();
        publishers.spawn(async move {
            gate.wait().await;
            let mut answered = vec![];
            for i in 0..EACH {
                let payload = format!("{n}/{i}");
                let (status, answer) = publisher.send("load/t", &payload).await;
                assert_eq!(status, 200, "{answer}");
                let id = |name: &str| answer[name].as_str().unwrap().to_owned();
                answered.push((payload, (id("MsgId"), id("RequestId"))));
            }
            answered
        });
    }
    publishers.join_all().await.into_iter().flatten().collect()
}

/// Clients that subscribe and leave again, until told to stop. None gets anything twice.
async fn visitors(address: SocketAddr, stop: Arc<AtomicBool>) {
    for n in 0.. {
        let mut visitor = Device::v5(address, &format!("visitor{n}")).await;
        visitor.subscribe("load/#", 1).await;
        let mut seen = BTreeSet::new();
        for received in visitor.leave().await {
            assert!(seen.insert(received.payload), "delivered twice");
        }
        if stop.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Everything that a client gets, which is each message once.
async fn each_once(device: &mut Device) {
    let mut seen = BTreeSet::new();
    for _ in 0..ALL {
        assert!(seen.insert(device.receive().await.payload));
    }
}

/// Waits until a delivery to each of these clients was acknowledged; how many rows they have.
async fn acknowledged(broker: &Broker, message: &Message, clients: &[&str]) -> usize {
    shared::until(broker, async || {
        let rows = message.deliveries.lock();
        let rows = rows.iter().filter(|row| clients.contains(&&*row.client_id));
        let outcomes: Vec<_> = rows.map(|row| row.outcome).collect();
        let done = |outcome: &DeliveryOutcome| *outcome == DeliveryOutcome::Acknowledged;
        outcomes.iter().all(done).then_some(outcomes.len())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_connections_publish_and_nothing_is_lost_or_doubled() {
    // A busy machine must not make a publish give up.
    let emulator = start(|config| config.mqtt.publish_wait_ms = 60_000).await;
    let broker = &emulator.app().broker;
    // While somebody listens, the broker tells how far each delivery comes.
    let _events = broker.events();
    let address = emulator.mqtt_addr().unwrap();
    let mut old = Device::v4(address, "old").await;
    old.subscribe("load/t", 1).await;
    let mut new = Device::v5(address, "new").await;
    new.subscribe("load/#", 1).await;
    let mut member = Device::v4(address, "member").await;
    member.subscribe("$share/group/load/t", 1).await;
    let mut other = Device::v5(address, "other").await;
    other.subscribe("$share/group/load/t", 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let visitors = tokio::spawn(visitors(address, stop.clone()));
    let answered = publish_all(&emulator).await;
    stop.store(true, Ordering::SeqCst);
    assert_eq!(answered.len(), ALL);
    each_once(&mut old).await;
    each_once(&mut new).await;
    let mut shared = BTreeSet::new();
    for _ in 0..ALL / 2 {
        assert!(shared.insert(member.receive().await.payload));
        assert!(shared.insert(other.receive().await.payload));
    }
    visitors.await.unwrap();

    let messages: BTreeMap<_, _> = emulator
        .messages()
        .since(0)
        .into_iter()
        .map(|(_, message)| (message.id.clone(), message))
        .collect();
    let requests = emulator.requests().since(0);
    let asked: BTreeMap<_, _> = requests.iter().map(|(_, e)| (&*e.id, e)).collect();
    assert_eq!((messages.len(), asked.len()), (ALL, ALL));
    for (payload, (message, request)) in &answered {
        let outcome = asked[&**request].outcome().unwrap();
        assert_eq!(outcome.draft.messages, [message.as_str()]);
        let message = &messages[message];
        assert_eq!(message.payload, payload.as_bytes());
        assert_eq!(message.origin.request.as_ref(), Some(request));
        assert_eq!(acknowledged(broker, message, &["old", "new"]).await, 2);
        assert_eq!(acknowledged(broker, message, &["member", "other"]).await, 1);
    }
    emulator.stop().await;
}

/// Leaves and comes back as long as others publish; what it received.
async fn commute(address: SocketAddr, stop: Arc<AtomicBool>) -> Vec<Received> {
    let mut received = vec![];
    while !stop.load(Ordering::SeqCst) {
        let device = Device::connect_v4(address, commuter()).await;
        received.extend(device.leave().await);
    }
    received
}

fn commuter() -> Options {
    Options {
        clean: false,
        ..Options::new("commuter")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_and_comes_back_under_load_loses_nothing() {
    // An offline client's queue must hold what it misses.
    let emulator = start(|config| config.mqtt.queue_limit = 2 * ALL).await;
    let address = emulator.mqtt_addr().unwrap();
    let mut device = Device::connect_v4(address, commuter()).await;
    device.subscribe("load/t", 1).await;
    device.leave().await;
    let stop = Arc::new(AtomicBool::new(false));
    let commute = tokio::spawn(commute(address, stop.clone()));
    let answered = publish_all(&emulator).await;
    stop.store(true, Ordering::SeqCst);
    let mut seen = BTreeSet::new();
    // What was not acknowledged before it left comes again, and says so.
    let mut take = |received: Received| {
        let again = !seen.insert(received.payload);
        assert!(!again || received.dup, "delivered twice");
        seen.len()
    };
    let mut count = 0;
    for received in commute.await.unwrap() {
        count = take(received);
    }
    let mut device = Device::connect_v4(address, commuter()).await;
    assert!(device.session_present);
    while count < answered.len() {
        count = take(device.receive().await);
    }
    emulator.stop().await;
}

/// A subscriber that takes its SUBACK and then never reads or acknowledges anything.
async fn stalled(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04slow";
    stream.write_all(connect).await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
    let subscribe = b"\x82\x0b\x00\x01\x00\x06slow/t\x01";
    stream.write_all(subscribe).await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    stream
}

/// What a stalled subscriber may hold: its inflight window and its queue.
fn room(config: &Config) -> usize {
    usize::from(config.mqtt.max_inflight) + config.mqtt.queue_limit
}

#[tokio::test]
async fn a_stalled_subscriber_makes_send_message_fail_and_the_journal_names_the_client() {
    let mut held = 0;
    let emulator = start(|config| {
        config.mqtt.queue_limit = 5;
        config.mqtt.publish_wait_ms = 50;
        held = room(config);
    })
    .await;
    let _slow = stalled(emulator.mqtt_addr().unwrap()).await;
    let mut publisher = Publisher::connect(&emulator, "p").await;
    for n in 0..held {
        let (status, answer) = publisher.send("slow/t", &n.to_string()).await;
        assert_eq!(status, 200, "{n}: {answer}");
    }
    for _ in 0..2 {
        let (status, answer) = publisher.send("slow/t", "one too many").await;
        assert_eq!(status, 500, "{answer}");
        assert_eq!(answer["Code"], "SystemOverFlow");
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        let draft = &entry.outcome().unwrap().draft;
        assert_eq!(draft.error_code.as_deref(), Some("SystemOverFlow"));
        let reasons = draft.reasons.join("\n");
        assert!(reasons.contains("\"slow\""), "{reasons}");
        assert!(draft.messages.is_empty());
    }
    // What was refused was published to nobody.
    assert_eq!(emulator.messages().len(), held);
    emulator.stop().await;
}

#[tokio::test]
async fn while_a_publish_waits_for_a_stalled_subscriber_other_topics_go_on() {
    let mut held = 0;
    let emulator = start(|config| {
        config.mqtt.queue_limit = 5;
        config.mqtt.publish_wait_ms = 3_600_000;
        held = room(config);
    })
    .await;
    let address = emulator.mqtt_addr().unwrap();
    let slow = stalled(address).await;
    let mut quick = Device::v4(address, "quick").await;
    quick.subscribe("quick/t", 1).await;
    let mut publisher = Publisher::connect(&emulator, "p").await;
    for n in 0..held {
        publisher.send("slow/t", &n.to_string()).await;
    }
    let mut waiting = Publisher::connect(&emulator, "w").await;
    let waiting = tokio::spawn(async move { waiting.send("slow/t", "waits").await });
    let ring = emulator.requests();
    let mut changes = ring.subscribe();
    let came = changes.wait_for(|_| ring.len() > held);
    let came = tokio::time::timeout(PATIENCE, came).await;
    came.unwrap().unwrap();
    for n in 0..100 {
        let (status, answer) = publisher.send("quick/t", &n.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(quick.receive().await.payload, n.to_string());
    }
    assert!(!waiting.is_finished());
    // The stalled one is gone: nobody has to be waited for.
    drop(slow);
    let (status, answer) = waiting.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    emulator.stop().await;
}
