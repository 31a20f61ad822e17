//! Whose request it is, over real sockets: hosts, paths, what is nobody's, what is not built.

use std::time::Duration;

use mqttstack::Emulator;
use mqttstack_base::exchange::Surface;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::raw::{ask, get};

async fn started() -> Emulator {
    Emulator::builder().seed(1).start().await.unwrap()
}

fn last_surface(emulator: &Emulator) -> Option<Surface> {
    emulator.requests().since(0).last().unwrap().1.surface
}

#[tokio::test]
async fn what_is_nobodys_gets_a_404_that_lists_the_surfaces_and_is_journalled() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    for host in ["127.0.0.1", "http://127.0.0.1:4580", "", "[::1]:1", "::::"] {
        let (status, body) = ask(url, &get("/nowhere", host)).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &problem["status"]), (404, &404.into()));
        let vendors: Vec<&str> = problem["surfaces"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["vendor"].as_str())
            .collect();
        for surface in Surface::ALL {
            assert!(vendors.contains(&surface.as_str()), "{vendors:?}");
        }
        assert_eq!(last_surface(&emulator), None);
    }
    let entries = emulator.requests().since(0);
    assert_eq!(entries.len(), 5);
    let outcome = entries[0].1.outcome().unwrap();
    assert_eq!(outcome.status, Some(404));
    assert!(outcome.draft.reasons[0].contains("neither host nor path"));
}

#[tokio::test]
async fn host_before_path_decides_whose_request_it_is() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    for (target, host, surface) in [
        ("/mqtt/messages", "127.0.0.1", Surface::Azure),
        ("/topics/a", "127.0.0.1", Surface::TencentTdmq),
        ("/topics/a", "nsname.azure.localhost", Surface::Azure),
        (
            "/adfs/.well-known/openid-configuration",
            "127.0.0.1",
            Surface::Azure,
        ),
    ] {
        ask(url, &get(target, host)).await;
        assert_eq!(last_surface(&emulator), Some(surface), "{target} {host}");
    }
}

#[tokio::test]
async fn at_a_vendors_own_port_every_request_is_that_vendors() {
    let emulator = started().await;
    let url = emulator.vendor_url(Surface::Azure).unwrap();
    for (target, host) in [
        ("/", "127.0.0.1"),
        ("/nowhere", "nanomq.localhost"),
        ("/_mqttstack/livez", "127.0.0.1"),
    ] {
        ask(url, &get(target, host)).await;
        assert_eq!(last_surface(&emulator), Some(Surface::Azure));
    }
}

#[tokio::test]
async fn bytes_that_are_nobodys_request_get_a_problem_and_an_entry() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    let (status, body) = ask(url, "GET /nowhere HTTP/3.0\r\n\r\n").await;
    assert_eq!(status, 505, "{body}");
    let entries = emulator.requests().since(0);
    assert_eq!(entries[0].1.outcome().unwrap().status, Some(505));
}

#[tokio::test]
async fn admin_requests_are_answered_by_the_admin_api_and_leave_no_entry() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    let (status, _) = ask(url, &get("/_mqttstack/livez", "127.0.0.1")).await;
    assert_eq!(status, 200);
    let (status, _) = ask(url, &get("/_mqttstack/no/such/thing", "127.0.0.1")).await;
    assert_eq!(status, 404);
    assert!(emulator.requests().is_empty());
}

#[tokio::test]
async fn an_admin_request_beyond_the_http_crate_is_a_400() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    let long = format!("/_mqttstack/requests?x={}", "y".repeat(70_000));
    for target in [long.as_str(), "/_mqttstack/{\u{7f}}"] {
        let (status, body) = ask(url, &get(target, "127.0.0.1")).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &problem["status"]), (400, &400.into()), "{body}");
    }
}

#[tokio::test]
async fn the_admin_api_streams_through_the_edge() {
    let emulator = started().await;
    let url = emulator.http_url().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let request = get("/_mqttstack/events", "127.0.0.1");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    while lines.next_line().await.unwrap().unwrap() != "" {}
    ask(url, &get("/nowhere", "127.0.0.1")).await;
    let told = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.contains("/nowhere") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .expect("the request was not told of");
    emulator.stop().await;
}
