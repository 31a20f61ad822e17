//! What a web page of another site can send is refused by the admin API and by the WebSocket
//! listeners, in words; programs, and pages at home, are served.

use std::net::SocketAddr;

use mqttstack::Emulator;
use mqttstack::config::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::raw::ask;

async fn started(hosts: &[&str]) -> Emulator {
    let mut config = Config::free_ports();
    config.admin.hosts = hosts.iter().map(ToString::to_string).collect();
    Emulator::builder().config(config).start().await.unwrap()
}

async fn call(emulator: &Emulator, method: &str, path: &str, fields: &str) -> (u16, Value) {
    let request = format!(
        "{method} /_mqttstack/{path} HTTP/1.1\r\n{fields}Content-Type: text/plain\r\n\
         Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let (status, body) = ask(emulator.http_url().unwrap(), &request).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

const CALLS: [(&str, &str); 5] = [
    ("POST", "reset"),
    ("GET", "requests"),
    ("GET", "livez"),
    ("DELETE", "messages"),
    ("GET", "no/such/path"),
];

#[tokio::test]
async fn the_admin_api_refuses_a_foreign_page_with_a_problem_that_names_the_field() {
    let emulator = started(&[]).await;
    for (fields, name) in [
        ("Host: evil.example:4580\r\n", "Host"),
        ("Host: 127.0.0.1.evil.example\r\n", "Host"),
        (
            "Host: localhost\r\nOrigin: https://evil.example\r\n",
            "Origin",
        ),
        ("Host: localhost\r\nOrigin: null\r\n", "Origin"),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site",
        ),
        (
            "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
            "Sec-Fetch-Site",
        ),
    ] {
        for (method, path) in CALLS {
            let (status, problem) = call(&emulator, method, path, fields).await;
            assert_eq!(status, 403, "{method} {path} {fields}");
            assert_eq!(problem["type"], "urn:mqttstack:problem:foreign-page");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("{name} is ")), "{detail}");
            assert!(detail.contains("admin.hosts"), "{detail}");
        }
    }
}

#[tokio::test]
async fn the_admin_api_serves_programs_and_pages_at_home() {
    let emulator = started(&["mqttstack"]).await;
    for fields in [
        "",
        "Host: 127.0.0.1:4580\r\n",
        "Host: [::1]:4580\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
        "Host: localhost\r\nOrigin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\n",
        "Host: mqttstack:4580\r\nOrigin: http://mqttstack:8080\r\n",
    ] {
        assert_eq!(
            call(&emulator, "GET", "livez", fields).await.0,
            200,
            "{fields}"
        );
    }
}

async fn handshake(address: SocketAddr, origin: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: any.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{origin}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1 << 10];
    let length = timeout(PATIENCE, stream.read(&mut answer)).await;
    answer.truncate(length.expect("an answer").unwrap());
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_websocket_is_opened_by_programs_and_pages_at_home_alone() {
    let emulator = started(&["app.example"]).await;
    let address = emulator.ws_addr().unwrap();
    for origin in [
        "",
        "Origin: http://localhost:3000\r\n",
        "Origin: https://127.0.0.1\r\n",
        "Origin: https://app.example:8443\r\n",
    ] {
        let answer = handshake(address, origin).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{origin}: {answer}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
    ] {
        let answer = handshake(address, &format!("Origin: {origin}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
        assert!(answer.contains("admin.hosts"), "{answer}");
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(&*entry.head.method, "WEBSOCKET");
        let reasons = &entry.outcome().unwrap().draft.reasons;
        assert!(reasons[0].contains(origin), "{reasons:?}");
    }
}
