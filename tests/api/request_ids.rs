//! Answers name their entry in the journal: every surface's, but NanoMQ's unless it is asked to.

use mqttstack::Emulator;
use mqttstack::config::Config;

use crate::refusals::exchange;

async fn answer(emulator: &Emulator, line: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    exchange(emulator.http_url().unwrap(), request.as_bytes(), false).await
}

fn named(answer: &str) -> Option<&str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    lines.find_map(|line| line.strip_prefix("x-mqttstack-request-id: "))
}

const ELSEWHERE: [&str; 9] = [
    "POST /topics/home?qos=1",
    "GET /client-id/none/status",
    "GET /mqtt/messages",
    "GET /metadata/identity/oauth2/token",
    "GET /tenant/v2.0/.well-known/openid-configuration",
    "POST /device/publish",
    "POST /register/dev",
    "GET /?Action=SendMessage",
    "GET /nowhere",
];
const NANOMQ: [&str; 2] = ["GET /api/v4/brokers", "POST /api/v1"];

#[tokio::test]
async fn every_surface_but_nanomq_names_the_entry_of_a_request() {
    let emulator = Emulator::builder().start().await.unwrap();
    for line in ELSEWHERE {
        let answer = answer(&emulator, line).await;
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(named(&answer), Some(&*entry.id), "{line}");
    }
    for line in NANOMQ {
        assert_eq!(named(&answer(&emulator, line).await), None, "{line}");
    }
}

#[tokio::test]
async fn nanomq_names_it_too_where_it_is_told_to() {
    let mut config = Config::free_ports();
    config.nanomq.request_id_header = true;
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    for line in NANOMQ {
        let answer = answer(&emulator, line).await;
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(named(&answer), Some(&*entry.id), "{line}");
    }
}
