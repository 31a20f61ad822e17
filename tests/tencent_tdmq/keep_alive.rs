//! `POST /keep-alive`: what it changes for connected clients.

use mqttstack_tencent_tdmq::Settings;
use serde_json::{Value, json};

use crate::bare::{Bare, Opening};
use crate::bench::{BASIC, Bench, request};
use crate::mqtt::Device;

async fn change(bench: &Bench, query: &str) -> (u16, String) {
    let target = format!("/keep-alive?{query}");
    let answer = bench.run(&request("POST", &target, &[BASIC], "")).await;
    let body = String::from_utf8(answer.body.bytes().to_vec()).unwrap();
    (answer.status, body)
}

async fn keep_alive(bench: &Bench, client_id: &str) -> u16 {
    let clients = bench.app.broker.clients().await;
    let client = clients.iter().find(|client| client.client_id == client_id);
    client.unwrap().keep_alive
}

#[tokio::test]
async fn a_connected_clients_keep_alive_is_changed_as_the_page_shows() {
    let bench = Bench::unsigned().await;
    let (mut device, _) = Bare::connect(bench.mqtt(), "curl-x", "user0", "secret0").await;
    assert_eq!(keep_alive(&bench, "curl-x").await, 60);
    for interval in [120, 30, 1_200] {
        let query = format!("client-id=curl-x&interval={interval}");
        let (status, body) = change(&bench, &query).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200);
        assert_eq!(body, json!({"success": true, "keepalive": interval}));
        assert_eq!(keep_alive(&bench, "curl-x").await, interval);
        device.ping().await;
    }
    let listed = bench.cloud("DescribeClientList", json!({})).await;
    assert_eq!(listed["Clients"][0]["Keepalive"], 1_200);
    let (mut again, _) = Bare::connect(bench.mqtt(), "curl-x", "user0", "secret0").await;
    again.ping().await;
    assert_eq!(
        keep_alive(&bench, "curl-x").await,
        60,
        "a new connection has its own"
    );
}

#[tokio::test]
async fn a_keep_alive_of_0_and_a_client_that_is_gone_cannot_be_changed() {
    let bench = Bench::frozen().await;
    let never = Opening {
        keep_alive: 0,
        ..Opening::of(5)
    };
    let at = bench.mqtt();
    let (mut device, _) = Bare::open(at, &never, "never", "user0", "secret0").await;
    let (status, body) = change(&bench, "client-id=never&interval=60").await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        "MQTT client \"never\" connected with keep-alive 0, which cannot be changed\n"
    );
    assert_eq!(bench.reasons()[0], body.trim());
    device.ping().await;
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    let lasting = Opening {
        clean: false,
        ..Opening::of(4)
    };
    let (gone, _) = Bare::open(at, &lasting, "gone", "user0", "secret0").await;
    drop(gone);
    watcher.receive().await;
    for client_id in ["gone", "nobody"] {
        let (status, body) = change(&bench, &format!("client-id={client_id}&interval=60")).await;
        assert_eq!(status, 400);
        assert!(body.contains("is not connected"), "{body}");
    }
}

#[tokio::test]
async fn another_instances_client_is_not_there() {
    let bench = Bench::with(Settings::default()).await;
    let (_device, _) = Bare::connect(bench.mqtt(), "dev", "user0", "secret0").await;
    let host = ("Host", "mqtt-other-gz-public.mqtt.tencenttdmq.com");
    let target = "/keep-alive?client-id=dev&interval=60";
    let answer = bench
        .run(&request("POST", target, &[BASIC, host], ""))
        .await;
    assert_eq!(answer.status, 400);
    assert!(bench.reasons()[0].contains("is not connected"));
}
