//! How fast it is, as one table: `cargo bench --bench load [-- SECONDS]`.
//!
//! The emulator runs as a process of its own; 64 keep-alive connections, on the same cores, send
//! signed `SendMessage` requests, signed beforehand. The bare loop is our HTTP/1 loop with a
//! handler that does nothing, measured in the same run: the ratio says what the walk costs,
//! whatever the machine. Every accepted publish is counted again at the subscriber. Two other
//! vendors' publishes follow: Azure's with an Entra token, whose signature is RSA, and TDMQ's with
//! a user name and password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on ends, and needs no 16 digits"
)]

mod send_message;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use send_message::process::{Process, resident};
use send_message::{CONNECTIONS, Load, Requests, TOPIC, bare, load, requests};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if arguments.iter().any(|argument| argument == "--bare") {
        runtime.block_on(bare::serve());
        return;
    }
    let seconds = arguments
        .iter()
        .find_map(|text| text.parse().ok())
        .unwrap_or(5);
    runtime.block_on(table(Duration::from_secs(seconds)));
}

/// Subscribes with QoS 1 and counts what comes.
async fn count(address: SocketAddr, counter: Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let mut options = rumqttc::MqttOptions::new("bench", address.ip().to_string(), address.port());
    options.set_inflight(1000);
    let (client, mut events) = rumqttc::AsyncClient::new(options, 100);
    client
        .subscribe(TOPIC, rumqttc::QoS::AtLeastOnce)
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

/// A publish to Azure with a token that the emulator's own identity platform has given.
async fn azure(address: SocketAddr) -> String {
    let form = "grant_type=client_credentials&client_id=22222222-2222-2222-2222-222222222222\
        &client_secret=testsecret&scope=https%3A%2F%2Feventgrid.azure.net%2F.default";
    let request = format!(
        "POST /11111111-1111-1111-1111-111111111111/oauth2/v2.0/token HTTP/1.1\r\n\
        Host: login.microsoftonline.com\r\nConnection: close\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).expect(&answer);
    let token = body["access_token"].as_str().unwrap();
    publish(
        "/mqtt/messages?topic=bench&api-version=2025-11-16-preview",
        "nsname.westus3-1.ts.eventgrid.azure.net",
        &format!("Bearer {token}"),
    )
}

/// A publish to TDMQ.
fn tdmq() -> String {
    publish(
        "/topics/bench",
        "tencent-tdmq.localhost",
        "Basic dXNlcjA6c2VjcmV0MA==",
    )
}

/// The same request again and again, on every connection.
fn repeated(request: &str, each: usize) -> Requests {
    let request = Bytes::copy_from_slice(request.as_bytes());
    Arc::new(vec![vec![request; each]; CONNECTIONS])
}

fn publish(target: &str, host: &str, authorization: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\
        Content-Type: text/plain\r\nContent-Length: 64\r\n\r\n{}",
        "x".repeat(64)
    )
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
    let megabytes = |process: &Process| resident(process.child.id()) as f64 / 1_048_576.0;
    let idle = Process::emulator();
    println!(
        "ready in {:?}, {:.1} MB resident when idle\n",
        idle.started_in,
        megabytes(&idle)
    );
    println!("| what | per second | of the bare loop | p99 |\n|---|---|---|---|");
    let bare = Process::bare();
    let bare_load = load(bare.http, time, requests(each, 0)).await;
    drop(bare);
    row("bare loop", &bare_load, bare_load.per_second);
    let without = load(idle.http, time, requests(each, 0)).await;
    let bare = bare_load.per_second;
    row("SendMessage, nobody subscribed", &without, bare);
    let after = megabytes(&idle);
    let azure = repeated(&azure(idle.http).await, each);
    let azure = load(idle.http, time, azure).await;
    row("Azure publish, Entra token", &azure, bare);
    let tdmq = load(idle.http, time, repeated(&tdmq(), each)).await;
    row("TDMQ publish, Basic", &tdmq, bare);
    drop(idle);
    let emulator = Process::emulator();
    let received = Arc::new(AtomicU64::new(0));
    let subscriber = count(emulator.mqtt.unwrap(), received.clone()).await;
    let with = load(emulator.http, time, requests(each, 0)).await;
    row("SendMessage, one QoS 1 subscriber", &with, bare);
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
        megabytes(&emulator)
    );
    assert_eq!(
        received, with.accepted,
        "an accepted publish was lost or doubled"
    );
}
