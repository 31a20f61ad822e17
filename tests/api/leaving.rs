//! A client that leaves while its answer is made: what it waited for goes to others, its
//! connection ends, the journal says so. One that only ends its sending stays.

use std::time::Duration;

use mqttstack::Emulator;
use mqttstack::config::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::raw::ask;

const VERSION: &str = "api-version=2024-06-01";
const HEADERS: &str = "Host: 127.0.0.1\r\nConnection: close\r\n";

async fn started() -> Emulator {
    let mut config = Config::free_ports();
    config.azure.auth = serde_json::from_str("\"off\"").unwrap();
    Emulator::builder().config(config).start().await.unwrap()
}

fn receiving(wait: u32) -> String {
    let target = format!("/topics/t/eventsubscriptions/s:receive?{VERSION}&maxWaitTime={wait}");
    format!("POST {target} HTTP/1.1\r\n{HEADERS}Content-Length: 0\r\n\r\n")
}

async fn publish(emulator: &Emulator, id: &str) {
    let event =
        format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\"}}");
    let request = format!(
        "POST /topics/t:publish?{VERSION} HTTP/1.1\r\n{HEADERS}\
         Content-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n{event}",
        event.len()
    );
    let (status, body) = ask(emulator.http_url().unwrap(), &request).await;
    assert_eq!(status, 200, "{body}");
}

/// The ids of the events in an answer, each with how often it was handed out.
fn events(body: &str) -> Vec<(String, u64)> {
    let body: Value = serde_json::from_str(body).unwrap();
    let events = body["value"].as_array().unwrap().iter();
    let pairs = events.map(|one| {
        let id = one["event"]["id"].as_str().unwrap().to_owned();
        (
            id,
            one["brokerProperties"]["deliveryCount"].as_u64().unwrap(),
        )
    });
    pairs.collect()
}

async fn receive(emulator: &Emulator) -> Vec<(String, u64)> {
    let (status, body) = ask(emulator.http_url().unwrap(), &receiving(10)).await;
    assert_eq!(status, 200, "{body}");
    events(&body)
}

/// A client that has asked, once the emulator has begun to make its answer.
async fn asking(emulator: &Emulator, request: &str) -> TcpStream {
    let address = emulator
        .http_url()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let known = emulator.requests().len();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    until(emulator, |emulator| emulator.requests().len() > known).await;
    client
}

/// Waits until the journal of requests has become so.
async fn until(emulator: &Emulator, so: impl Fn(&Emulator) -> bool) {
    let mut news = emulator.requests().subscribe();
    let become_so = async {
        while !so(emulator) {
            news.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, become_so).await.expect("it becomes so");
}

/// The reasons of the first entry, once it is closed.
async fn first_reasons(emulator: &Emulator) -> (Option<u16>, String) {
    until(emulator, |emulator| {
        emulator.requests().since(0)[0].1.outcome().is_some()
    })
    .await;
    let (_, entry) = emulator.requests().since(0).remove(0);
    let outcome = entry.outcome().unwrap();
    (outcome.status, outcome.draft.reasons.join("; "))
}

#[tokio::test]
async fn a_receiver_that_is_gone_gives_its_place_and_the_event_to_the_next() {
    for reset in [true, false] {
        let emulator = started().await;
        let gone = asking(&emulator, &receiving(60)).await;
        if reset {
            gone.set_zero_linger().unwrap();
        }
        drop(gone);
        let (status, reasons) = first_reasons(&emulator).await;
        assert_eq!(status, None);
        assert!(reasons.contains("aborted: the client left"), "{reasons}");
        publish(&emulator, "one").await;
        assert_eq!(receive(&emulator).await, [("one".to_owned(), 1)]);
        emulator.stop().await;
    }
}

#[tokio::test]
async fn a_receiver_that_ended_its_sending_and_then_closes_gives_its_place_too() {
    let emulator = started().await;
    let mut gone = asking(&emulator, &receiving(60)).await;
    gone.shutdown().await.unwrap();
    // While it is there, it would get the event; it is not, however short the time.
    drop(gone);
    publish(&emulator, "one").await;
    assert_eq!(receive(&emulator).await, [("one".to_owned(), 1)]);
    assert_eq!(first_reasons(&emulator).await.0, None);
}

#[tokio::test]
async fn a_receiver_that_only_ended_its_sending_gets_its_event() {
    let emulator = started().await;
    let mut waiting = asking(&emulator, &receiving(60)).await;
    waiting.shutdown().await.unwrap();
    publish(&emulator, "one").await;
    let mut answer = String::new();
    let read = timeout(PATIENCE, waiting.read_to_string(&mut answer)).await;
    read.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(events(body), [("one".to_owned(), 1)]);
}

#[tokio::test]
async fn a_wait_of_the_admin_api_is_answered_though_its_client_ended_its_sending() {
    let emulator = started().await;
    let address = emulator
        .http_url()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let mut waiting = TcpStream::connect(address).await.unwrap();
    let body = r#"{"match":{"topic":"a/b"},"timeout_ms":30000}"#;
    let request = format!(
        "POST /_mqttstack/messages/wait HTTP/1.1\r\n{HEADERS}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    waiting.write_all(request.as_bytes()).await.unwrap();
    waiting.shutdown().await.unwrap();
    let publish = format!(
        "POST /topics/a/b?qos=1 HTTP/1.1\r\n{HEADERS}Authorization: Basic dXNlcjA6c2VjcmV0MA==\r\n\
         Content-Length: 2\r\n\r\nhi"
    );
    assert_eq!(ask(emulator.http_url().unwrap(), &publish).await.0, 200);
    let mut answer = String::new();
    let read = timeout(PATIENCE, waiting.read_to_string(&mut answer)).await;
    read.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"a/b\""), "{answer}");
}

#[tokio::test]
async fn a_thousand_abandoned_waits_end_and_leave_their_connections_to_others() {
    let mut config = Config::free_ports();
    config.azure.auth = serde_json::from_str("\"off\"").unwrap();
    config.http.max_connections = 100;
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    for _ in 0..10 {
        let mut gone = Vec::new();
        for _ in 0..100 {
            gone.push(asking(&emulator, &receiving(60)).await);
        }
        drop(gone);
    }
    // All places were taken ten times over.
    publish(&emulator, "one").await;
    assert_eq!(receive(&emulator).await, [("one".to_owned(), 1)]);
    until(&emulator, |emulator| {
        let all = emulator.requests().since(0);
        let open = all.iter().filter(|(_, entry)| entry.outcome().is_none());
        open.count() == 0
    })
    .await;
    let stopped = timeout(Duration::from_secs(30), emulator.stop()).await;
    assert!(stopped.is_ok());
}
