//! Every recording of the real NanoMQ, sent over a socket and compared byte by byte: status
//! line, header lines and their order, body. Where the real one keeps an internal order, rows
//! are compared as a set; uptime and date by shape.

use mqttstack_base::clock::Clock;
use mqttstack_base::secret::Secret;
use mqttstack_nanomq::{AuthType, Overlay, Serve, Settings};
use serde_json::{Value, json};

use super::bench::{Bench, Seen};
use super::device::{Connect, Device};

const V1: &str = include_str!("../../../fixtures/nanomq/nanomq-v1.json");
const V4: &str = include_str!("../../../fixtures/nanomq/nanomq-v4.json");
const TOKENS: &str = include_str!("../../../fixtures/nanomq/tokens.json");

fn recordings(text: &str, part: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file[part].as_array().unwrap().clone()
}

fn overlay(value: Value) -> Overlay {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

/// Recorded bytes are written as Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

/// The recorder wrote down what long requests were instead of them.
fn bytes_of(recording: &Value) -> Vec<u8> {
    let name = recording["name"].as_str().unwrap();
    if let Some(text) = recording["request_bytes"].as_str() {
        return match name {
            "1001 nested arrays" => {
                let head = text.split_once("[[").unwrap().0;
                format!("{head}{}{}}}", "[".repeat(1001), "]".repeat(1001)).into_bytes()
            }
            _ if name.starts_with("header ") => {
                let length: usize = name.split(' ').nth(1).unwrap().parse().unwrap();
                let head = text.split_once("X-Long: ").unwrap().0;
                format!("{head}X-Long: {}\r\n\r\n", "a".repeat(length)).into_bytes()
            }
            "Authorization 5000 chars" => {
                let head = text.split_once("Basic ").unwrap().0;
                let body = "{\"topic\":\"a/b\",\"payload\":\"x\"}";
                let type_and_length = "Content-Type: application/json\r\nContent-Length: 29";
                let value = "QUFB".repeat(1250);
                format!("{head}Basic {value}\r\n{type_and_length}\r\n\r\n{body}").into_bytes()
            }
            _ => latin1(text),
        };
    }
    let request = &recording["request"];
    let padded = |length: usize| {
        let payload = "x".repeat(length);
        format!("{{\"topic\":\"big\",\"payload\":\"{payload}\"}}")
    };
    let body = request["body"].as_str().map(|body| match body {
        "1 MiB payload" => padded(1 << 20).into_bytes(),
        "200 KiB payload" => padded(200 << 10).into_bytes(),
        // Its Content-Length was one more than V1 takes.
        "{\"req\":2,\"seq\":7,\"p\":\"<131072 x>\"}" => vec![b'x'; (128 << 10) + 1],
        body => latin1(body),
    });
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\n",
        request["method"].as_str().unwrap(),
        request["path"].as_str().unwrap()
    );
    let headers = request["headers"].as_array().unwrap();
    if !headers.iter().any(|header| header[0] == "Host") {
        bytes.push_str("Host: localhost:8081\r\n");
    }
    for header in headers {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        let value = with_token(name, value, recording);
        bytes.extend([name, ": ", &value, "\r\n"]);
    }
    if let Some(body) = &body {
        let length = body.len().to_string();
        bytes.extend(["Content-Length: ", &length, "\r\n"]);
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend(body.unwrap_or_default());
    bytes
}

/// Tokens were not recorded, only what they were.
fn with_token(header: &str, value: &str, recording: &Value) -> String {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    if header == "Authorization" && value.ends_with("<token>") {
        let name = recording["name"].as_str().unwrap();
        let token = tokens["tokens"][name]
            .as_str()
            .unwrap_or("YWRtaW46cHVibGlj");
        return value.replace("<token>", token);
    }
    value.to_owned()
}

/// Uptime and date by shape: their digits become `0`.
fn masked(body: &str) -> String {
    let mut body = body.to_owned();
    for (from, to) in [("\"datetime\":\"", '"'), ("\"uptime\":\"", '"')] {
        if let Some(start) = body.find(from).map(|at| at + from.len()) {
            let end = start + body[start..].find(to).unwrap();
            let masked: String = body[start..end]
                .split(|c: char| c.is_ascii_digit())
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("0");
            body.replace_range(start..end, &masked);
        }
    }
    body
}

/// The rows of `data` in an order of their own.
fn as_set(body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap();
    if let Some(rows) = body["data"].as_array_mut() {
        rows.sort_by_key(ToString::to_string);
    }
    body
}

fn compare(recording: &Value, seen: Option<&Seen>, failures: &mut Vec<String>) {
    let name = recording["name"].as_str().unwrap();
    let wanted = &recording["response"];
    let Some(seen) = seen else {
        if !wanted.is_null() {
            failures.push(format!("{name}: no answer"));
        }
        return;
    };
    if wanted.is_null() {
        failures.push(format!("{name}: answered {seen:?}"));
        return;
    }
    let timed = wanted["body"].as_str().unwrap().contains("\"uptime\"");
    let headers: Vec<(String, String)> = wanted["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            (
                pair[0].as_str().unwrap().into(),
                pair[1].as_str().unwrap().into(),
            )
        })
        .filter(|(name, _): &(String, String)| !timed || name != "Content-Length")
        .collect();
    let seen_headers: Vec<(String, String)> = seen
        .headers
        .iter()
        .filter(|(name, _)| !timed || name != "Content-Length")
        .cloned()
        .collect();
    let (wanted_body, body) = (wanted["body"].as_str().unwrap(), seen.text());
    // A second, pipelined answer stands in the recording's body; it is tested by itself.
    let wanted_body = wanted_body
        .split_once("HTTP/1.1 ")
        .map_or(wanted_body, |(first, _)| first);
    let listed = ["\"subscriptions\":[", "\"clientid\":\"", "\"client_id\":\""];
    let same_body = masked(wanted_body) == masked(&body)
        || listed.iter().any(|mark| wanted_body.contains(mark))
            && as_set(wanted_body) == as_set(&body);
    if wanted["status_line"] != seen.status_line || headers != seen_headers || !same_body {
        failures.push(format!(
            "{name}:\n  wanted {} {headers:?}\n         {wanted_body}\n  seen   {} {:?}\n         {body}",
            wanted["status_line"], seen.status_line, seen.headers
        ));
    }
}

fn check(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

const A: Connect = Connect {
    client_id: "dev-a",
    version: 4,
    username: Some("alice"),
    keep_alive: 60,
    will: None,
};
const B: Connect = Connect {
    client_id: "dev-b",
    version: 5,
    username: None,
    keep_alive: 30,
    will: None,
};
const C: Connect = Connect {
    client_id: "dev-c",
    version: 4,
    username: None,
    keep_alive: 45,
    will: None,
};

/// `dev-a` and `dev-b` with the subscriptions of the recordings.
async fn subscribers(bench: &Bench) -> (Device, Device) {
    let mut a = Device::connect(bench.mqtt, A).await;
    a.subscribe("a/b/c", 0).await;
    a.subscribe("a/+/d", 1).await;
    let mut b = Device::connect(bench.mqtt, B).await;
    b.subscribe("x/#", 2).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_answers_every_recorded_request_with_the_recorded_bytes() {
    let bench = Bench::new(Settings {
        api: Serve::V1,
        configuration_v1: overlay(json!({
            "url": "nmq-tcp://127.0.0.1:21301", "msq_len": 64,
            "tls": {"url": "tls+nmq-tcp://127.0.0.1:21303"},
            "websocket": {"url": "nmq-ws://127.0.0.1:21304/mqtt",
                "tls_url": "nmq-wss://127.0.0.1:21305/mqtt"},
            "http_server": {"port": 21302},
            "bridge": {"address": "mqtt-tcp://127.0.0.1:21399", "proto_ver": 4,
                "clean_start": true, "username": "username", "password": "passwd",
                "keepalive": 60, "parallel": 2, "forwards": ["topic1/#", "topic2/#"],
                "subscription": [{"topic": "cmd/topic1", "qos": 1},
                    {"topic": "cmd/topic2", "qos": 2}]}
        })),
        ..Settings::default()
    })
    .await;
    let mut failures = Vec::new();
    let mut devices = None;
    for (index, recording) in recordings(V1, "main").iter().enumerate() {
        if index == 1 {
            let (a, b) = subscribers(&bench).await;
            devices = Some((a, b, Device::connect(bench.mqtt, C).await));
            bench.until(|c| c.connects == 3).await;
        }
        if index == 2 {
            let (a, b, c) = devices.as_mut().unwrap();
            c.publish("a/b/c", "hello", 0).await;
            c.publish("x/1", "q1", 1).await;
            c.publish("nobody/here", "lost", 0).await;
            assert_eq!(a.delivery().await.1, b"hello");
            assert_eq!(b.delivery().await.1, b"q1");
            bench
                .until(|c| (c.messages_in, c.messages_out, c.messages_dropped) == (3, 2, 1))
                .await;
        }
        let seen = bench.raw(&bytes_of(recording)).await;
        if recording["broker_crashed"] == true {
            let seen = seen.expect("ours answers where the real one crashed");
            assert_eq!(seen.text(), "{\"code\":0,\"seq\":10,\"rep\":10}");
            assert!(
                bench.last_reasons().contains("ours"),
                "{}",
                bench.last_reasons()
            );
            continue;
        }
        compare(recording, seen.as_ref(), &mut failures);
    }
    check(&failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_answers_every_recorded_edge_case_with_the_recorded_bytes() {
    let bench = Bench::new(Settings {
        api: Serve::V1,
        configuration_v1: overlay(json!({
            "url": "nmq-tcp://127.0.0.1:21301", "num_taskq_thread": 10, "max_taskq_thread": 10,
            "parallel": 30, "msq_len": 64, "tls": {"url": null},
            "websocket": {"enable": false, "url": null, "tls_url": null},
            "http_server": {"port": 21302}
        })),
        ..Settings::default()
    })
    .await;
    let mut failures = Vec::new();
    for recording in recordings(V1, "edge_cases") {
        let seen = bench.raw(&bytes_of(&recording)).await;
        compare(&recording, seen.as_ref(), &mut failures);
    }
    check(&failures);
}

fn token_settings() -> Settings {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    Settings {
        auth_type: AuthType::Jwt,
        jwt_public_key: tokens["public_key"].as_str().map(str::to_owned),
        password: Secret::new("public"),
        ..Settings::default()
    }
}

async fn token_bench() -> Bench {
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    let now = tokens["now"].as_str().unwrap().parse().unwrap();
    Bench::at(token_settings(), Clock::frozen(now)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_token_is_judged_as_recorded() {
    let bench = token_bench().await;
    let mut failures = Vec::new();
    for file in [V1, V4] {
        for recording in recordings(file, "jwt") {
            // The recorder sent V1's bodies as JSON without writing the header down.
            let mut recording = recording.clone();
            if recording["request"]["method"] == "POST" {
                let headers = recording["request"]["headers"].as_array_mut().unwrap();
                headers.push(json!(["Content-Type", "application/json"]));
            }
            let seen = bench.raw(&bytes_of(&recording)).await;
            compare(&recording, seen.as_ref(), &mut failures);
        }
    }
    check(&failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_exp_is_out_of_date_and_other_faults_outweigh_the_time() {
    let bench = token_bench().await;
    let tokens: Value = serde_json::from_str(TOKENS).unwrap();
    for (name, code) in [
        ("no exp", 116),
        ("RS512", 103),
        ("wrong iss and expired", 103),
    ] {
        let token = tokens["tokens"][name].as_str().unwrap();
        let request = format!(
            "GET /api/v4/nodes HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let seen = bench.raw(request.as_bytes()).await.unwrap();
        assert_eq!(seen.text(), format!("{{\"code\":{code}}}"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_answers_every_recorded_request_with_the_recorded_bytes_and_deliveries() {
    let bench = Bench::new(Settings {
        api: Serve::V4,
        configuration_v4: overlay(json!({
            "basic": {"url": "nmq-tcp://127.0.0.1:21311"},
            "websocket": {"url": "nmq-ws://127.0.0.1:21314/mqtt"}
        })),
        ..Settings::default()
    })
    .await;
    let (mut a, mut b) = subscribers(&bench).await;
    let c = Connect {
        will: Some(("will/c", "gone")),
        ..C
    };
    let c = Device::connect(bench.mqtt, c).await;
    let d = Connect {
        client_id: "ws-d",
        version: 4,
        username: Some("wendy"),
        keep_alive: 60,
        will: None,
    };
    let mut d = Device::connect(bench.mqtt, d).await;
    d.subscribe("$share/g/s/t", 1).await;
    bench.until(|c| c.connects == 4).await;
    let mut all = recordings(V4, "main");
    let last = all.pop().unwrap();
    let mut failures = Vec::new();
    for recording in &all {
        if recording["name"] == "GET /reload after" {
            let changed = "{\"data\":{\"property_size\":33,\"msq_len\":1024}}";
            let seen = bench.ask("POST", "/api/v4/reload", changed).await;
            assert_eq!(seen.text(), "{\"code\":0}");
        }
        let seen = bench.raw(&bytes_of(recording)).await;
        compare(recording, seen.as_ref(), &mut failures);
        for row in recording["delivered"].as_array().unwrap() {
            let device = if row[0] == "dev-a" { &mut a } else { &mut b };
            let (topic, payload, qos, retain) = device.delivery().await;
            let payload: String = payload.iter().map(|byte| char::from(*byte)).collect();
            let got = json!([row[0], topic, payload, qos, retain]);
            if got != *row {
                failures.push(format!("{}: delivered {got}, not {row}", recording["name"]));
            }
        }
    }
    // Nothing but what was recorded came: the next delivery is this one.
    for (topic, device) in [("a/b/c", &mut a), ("x/1", &mut b)] {
        let body = format!("{{\"topic\":\"{topic}\",\"payload\":\"the end\"}}");
        bench.ask("POST", "/api/v4/mqtt/publish", &body).await;
        assert_eq!(device.delivery().await.1, b"the end");
    }
    for device in [a, b, c, d] {
        device.leave().await;
    }
    bench.until(|c| c.disconnects == 4).await;
    let seen = bench.raw(&bytes_of(&last)).await;
    compare(&last, seen.as_ref(), &mut failures);
    check(&failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_answers_every_recorded_edge_case_with_the_recorded_bytes() {
    let bench = Bench::new(Settings {
        api: Serve::V4,
        ..Settings::default()
    })
    .await;
    let mut failures = Vec::new();
    for recording in recordings(V4, "edge_cases") {
        if recording["transport_note"].is_string() {
            // The client announces more than it sends; it is waited for, see wire.rs.
            continue;
        }
        let seen = bench.raw(&bytes_of(&recording)).await;
        compare(&recording, seen.as_ref(), &mut failures);
    }
    check(&failures);
}
