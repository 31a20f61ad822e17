//! How fast it is, as one table: `cargo bench --bench load [-- SECONDS]`.
//!
//! The emulator runs as a process of its own; 64 keep-alive connections, on the same cores, send
//! signed `SendMessage` requests, signed beforehand. The bare loop is our HTTP/1 loop with a
//! handler that does nothing, measured in the same run: the ratio says what the walk costs,
//! whatever the machine. Every accepted publish is counted again at the subscriber.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on ends, and needs no 16 digits"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mqttstack::exchange::{Answer, BodyPolicy, Head, Request};
use mqttstack::http1::{Handler, Limits};
use mqttstack::server::{Listener, Server, Settings};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if arguments.iter().any(|argument| argument == "--bare") {
        runtime.block_on(bare());
        return;
    }
    let seconds = arguments
        .iter()
        .find_map(|text| text.parse().ok())
        .unwrap_or(5);
    runtime.block_on(table(Duration::from_secs(seconds)));
}

/// A handler that does nothing.
struct Nothing;

impl Handler for Nothing {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn handle(&self, (): (), _request: Request) -> Answer {
        Answer::new(200).body("ok")
    }
}

async fn bare() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind("the bare loop", address, None)
        .await
        .unwrap();
    println!("{}", listener.address());
    let server = Server::new(Settings {
        limits: Limits::default(),
        ..Settings::default()
    });
    server.serve(listener, Arc::new(Nothing));
    std::future::pending::<()>().await;
}

struct Process {
    child: Child,
    http: SocketAddr,
    mqtt: Option<SocketAddr>,
    started_in: Duration,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    fn start(mut command: Command) -> Self {
        let begun = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let started_in = begun.elapsed();
        let (http, mqtt) = match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(ready) if ready.is_object() => {
                let address = |key: &str, scheme: &str| {
                    ready[key]
                        .as_str()
                        .unwrap()
                        .strip_prefix(scheme)
                        .unwrap()
                        .parse()
                        .unwrap()
                };
                (address("http", "http://"), Some(address("mqtt", "mqtt://")))
            }
            _ => (line.trim().parse().unwrap(), None),
        };
        Self {
            child,
            http,
            mqtt,
            started_in,
        }
    }

    fn emulator() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
        for port in ["http", "https", "mqtt", "mqtts", "ws", "wss"] {
            command.args([format!("--{port}-port"), "0".into()]);
        }
        command.args(["--log-level", "warn", "--config"]);
        // The quota would refuse what is to be measured.
        let file = std::env::temp_dir().join("mqttstack-bench.toml");
        std::fs::write(&file, "[aliyun.quotas]\nSendMessage = 0\n").unwrap();
        command.arg(file).env_clear();
        Self::start(command)
    }

    /// Resident memory in megabytes.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1024.0
    }
}

/// One signed request, `SignatureVersion` 1.0, as the vendor's page has it.
fn signed(nonce: u64, now: &str) -> Vec<u8> {
    let mut query = String::from("AccessKeyId=testid&Action=SendMessage&Format=JSON");
    query.push_str("&InstanceId=post-cn-test0001&MqttTopic=bench&Payload=");
    query.push_str(&"x".repeat(64));
    query.push_str("&SignatureMethod=HMAC-SHA1&SignatureNonce=");
    let timestamp = utf8_percent_encode(now, UNRESERVED);
    write!(
        query,
        "{nonce:032x}&SignatureVersion=1.0&Timestamp={timestamp}&Version=2020-04-20"
    )
    .unwrap();
    let text = format!("POST&%2F&{}", utf8_percent_encode(&query, UNRESERVED));
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"testsecret&").unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, UNRESERVED);
    format!("POST /?{query}&Signature={signature} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}

struct Load {
    per_second: f64,
    accepted: u64,
    p99: Duration,
}

/// Sends requests over all connections until the time is over; every answer must be a 200.
async fn load(address: SocketAddr, time: Duration, requests: Arc<Vec<Vec<Vec<u8>>>>) -> Load {
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let (requests, over) = (requests.clone(), over.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 4096];
                let mut waits = Vec::new();
                for request in &requests[index] {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let begun = Instant::now();
                    stream.write_all(request).await.unwrap();
                    let count = stream.read(&mut buffer).await.unwrap();
                    waits.push(begun.elapsed());
                    assert!(
                        buffer[..count].starts_with(b"HTTP/1.1 200"),
                        "{}",
                        String::from_utf8_lossy(&buffer[..count])
                    );
                }
                waits
            })
        })
        .collect();
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let elapsed = begun.elapsed();
    waits.sort_unstable();
    Load {
        per_second: waits.len() as f64 / elapsed.as_secs_f64(),
        accepted: waits.len() as u64,
        p99: waits[waits.len() * 99 / 100],
    }
}

/// Subscribes with QoS 1 and counts what comes.
async fn count(address: SocketAddr, counter: Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let mut options = rumqttc::MqttOptions::new("bench", address.ip().to_string(), address.port());
    options.set_inflight(1000);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 100);
    client
        .subscribe("bench", rumqttc::QoS::AtLeastOnce)
        .await
        .unwrap();
    let (sender, ready) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut sender = Some(sender);
        while let Ok(event) = events.poll().await {
            match event {
                rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)) => {
                    sender.take().map(|sender| sender.send(()));
                }
                rumqttc::Event::Incoming(rumqttc::Packet::Publish(_)) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        drop(client);
    });
    ready.await.unwrap();
    task
}

fn requests(each: usize, base: u64) -> Arc<Vec<Vec<Vec<u8>>>> {
    let now = jiff::Timestamp::from_second(
        std::time::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
            .try_into()
            .unwrap(),
    )
    .unwrap()
    .to_string();
    let of = |connection: u64| {
        (0..each as u64)
            .map(|n| signed(base + connection * each as u64 + n, &now))
            .collect()
    };
    Arc::new((0..CONNECTIONS as u64).map(of).collect())
}

async fn table(time: Duration) {
    let each = 1_500 * usize::try_from(time.as_secs()).unwrap();
    let row = |name: &str, load: &Load, bare: f64| {
        let ratio = load.per_second / bare;
        println!(
            "| {name} | {:.0} | {ratio:.2} | {:?} |",
            load.per_second, load.p99
        );
    };
    let idle = Process::emulator();
    println!(
        "ready in {:?}, {:.1} MB resident when idle\n",
        idle.started_in,
        idle.resident()
    );
    println!("| what | per second | of the bare loop | p99 |\n|---|---|---|---|");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--bare");
    let bare = Process::start(command);
    let bare_load = load(bare.http, time, requests(each, 0)).await;
    drop(bare);
    row("bare loop", &bare_load, bare_load.per_second);
    let without = load(idle.http, time, requests(each, 0)).await;
    row(
        "SendMessage, nobody subscribed",
        &without,
        bare_load.per_second,
    );
    let after = idle.resident();
    drop(idle);
    let emulator = Process::emulator();
    let received = Arc::new(AtomicU64::new(0));
    let subscriber = count(emulator.mqtt.unwrap(), received.clone()).await;
    let with = load(emulator.http, time, requests(each, 0)).await;
    row(
        "SendMessage, one QoS 1 subscriber",
        &with,
        bare_load.per_second,
    );
    let patience = Instant::now();
    while received.load(Ordering::Relaxed) < with.accepted
        && patience.elapsed() < Duration::from_secs(30)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    subscriber.abort();
    let received = received.load(Ordering::Relaxed);
    println!("\naccepted {}, received {received}", with.accepted);
    println!(
        "{after:.1} MB resident after the run without, {:.1} MB after the one with",
        emulator.resident()
    );
    assert_eq!(
        received, with.accepted,
        "an accepted publish was lost or doubled"
    );
}
