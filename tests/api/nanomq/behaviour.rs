//! What lasts beyond one answer: the configuration and its restart, settings that change whom
//! it follows, and what reaches MQTT clients and the journal.

use jiff::SignedDuration;
use mqttstack_base::clock::Clock;
use mqttstack_base::message::OriginKind;
use mqttstack_nanomq::{Generation, SetConfig, Settings};
use serde_json::Value;

use super::bench::Bench;
use super::device::{Connect, Device};
use crate::wire::Wire;

const DEVICE: Connect = Connect {
    client_id: "dev-a",
    version: 5,
    username: Some("alice"),
    keep_alive: 60,
    will: None,
};

fn data(text: &str) -> Value {
    let answer: Value = serde_json::from_str(text).unwrap();
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn set_config_shows_after_a_restart_and_a_new_password_counts_from_then_on() {
    let bench = Bench::new(Settings::default()).await;
    let set = "{\"req\":12,\"seq\":1,\"data\":{\"parallel\":16,\"allow_anonymous\":false,\
               \"http_server\":{\"password\":\"secret2\"}}}";
    assert_eq!(bench.v1(set).await, "{\"code\":0,\"seq\":1,\"rep\":12}");
    let before = data(&bench.v1("{\"req\":11,\"seq\":1}").await);
    assert_eq!(before["parallel"], 32);
    let restart = "{\"req\":10,\"seq\":1,\"action\":\"ReStart\"}";
    assert_eq!(bench.v1(restart).await, "{\"code\":0,\"seq\":1,\"rep\":10}");
    assert!(bench.last_reasons().contains("ours"));
    let refused = bench.v1("{\"req\":11,\"seq\":1}").await;
    assert_eq!(refused, "{\"code\":103,\"seq\":1,\"rep\":11}");
    let body = "{\"req\":11,\"seq\":1}";
    let bytes = format!(
        "GET /api/v1 HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWRtaW46c2VjcmV0Mg==\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let after = data(&bench.raw(bytes.as_bytes()).await.unwrap().text());
    assert_eq!(after["parallel"], 16);
    assert_eq!(after["allow_anonymous"], true, "booleans are never written");
    assert_eq!(after["http_server"]["password"], "secret2");
    bench.surface.nanomq.reset();
    let again = data(&bench.v1("{\"req\":11,\"seq\":1}").await);
    assert_eq!(again["parallel"], 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_config_as_documented_takes_effect_at_once() {
    let bench = Bench::new(Settings {
        set_config: SetConfig::Documented,
        ..Settings::default()
    })
    .await;
    bench
        .v1("{\"req\":12,\"seq\":1,\"data\":{\"msq_len\":65,\"allow_anonymous\":false}}")
        .await;
    let shown = data(&bench.v1("{\"req\":11,\"seq\":1}").await);
    assert_eq!(
        (&shown["msq_len"], &shown["allow_anonymous"]),
        (&65.into(), &false.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_to_count_anew() {
    let clock = Clock::frozen("2026-11-22T00:00:00Z".parse().unwrap());
    let bench = Bench::at(Settings::default(), clock.clone()).await;
    let device = Device::connect(bench.mqtt, DEVICE).await;
    bench.until(|c| c.connects == 1).await;
    clock.advance(SignedDuration::from_secs(3_725)).unwrap();
    let nodes = data(&bench.ask("GET", "/api/v4/nodes", "").await.text());
    assert_eq!(nodes[0]["uptime"], "1 Hours, 2 minutes, 5 seconds");
    let brokers = data(&bench.ask("GET", "/api/v4/brokers", "").await.text());
    assert_eq!(brokers[0]["datetime"], "2026-11-22 01:02:05");
    let counted = data(&bench.v1("{\"req\":2,\"seq\":1}").await);
    assert_eq!(
        (&counted["message_in"], &counted["message_drop"]),
        (&1.into(), &1.into())
    );
    bench.ask("POST", "/api/v4/ctrl/restart", "").await;
    let counted = data(&bench.v1("{\"req\":2,\"seq\":1}").await);
    assert_eq!(
        (&counted["message_in"], &counted["message_drop"]),
        (&0.into(), &0.into())
    );
    let nodes = data(&bench.ask("GET", "/api/v4/nodes", "").await.text());
    assert_eq!(nodes[0]["uptime"], "0 Hours, 0 minutes, 0 seconds");
    assert_eq!(nodes[0]["connections"], 1, "clients stay connected");
    device.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generation_0_6_judges_credentials_before_the_body() {
    let bench = Bench::new(Settings {
        generation: Generation::V0_6,
        ..Settings::default()
    })
    .await;
    let bytes = b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nnope";
    let seen = bench.raw(bytes).await.unwrap();
    assert_eq!(seen.status_line, "HTTP/1.1 401 Unauthorized");
    assert_eq!(seen.text(), "{\"code\":104,\"seq\":0}");
    assert_eq!(
        bench.v1("{\"req\":99,\"seq\":5}").await,
        "{\"code\":102,\"seq\":5,\"rep\":99}"
    );
    assert_eq!(
        bench.v1("{\"req\":13,\"seq\":5}").await,
        "{\"code\":102,\"seq\":5,\"rep\":13}"
    );
    let shown = data(&bench.v1("{\"req\":11,\"seq\":5}").await);
    assert_eq!(shown["http_server"].get("auth_type"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_answered_and_it_goes_on_answering() {
    let bench = Bench::new(Settings::default()).await;
    assert_eq!(
        bench.ask("POST", "/api/v4/ctrl/STOP", "").await.text(),
        "{\"code\":0}"
    );
    assert!(bench.last_reasons().contains("ours"));
    assert_eq!(
        bench.v1("{\"req\":9,\"seq\":7}").await,
        "{\"code\":108,\"seq\":7,\"rep\":9}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_and_unsubscribe_work_for_a_connected_client_once_enabled() {
    let off = Bench::new(Settings::default()).await;
    let body = "{\"topic\":\"z/+\",\"qos\":1,\"clientid\":\"dev-a\"}";
    let seen = off.ask("POST", "/api/v4/mqtt/subscribe", body).await;
    assert_eq!(
        (seen.status_line.as_str(), seen.text().as_str()),
        ("HTTP/1.1 404 Not Found", "{\"code\":102}")
    );

    let bench = Bench::new(Settings {
        subscribe_enabled: true,
        ..Settings::default()
    })
    .await;
    let ask = async |path: &str, body: &str| bench.ask("POST", path, body).await.text();
    assert_eq!(ask("/api/v4/mqtt/subscribe", body).await, "{\"code\":112}");
    let mut device = Device::connect(bench.mqtt, DEVICE).await;
    assert_eq!(ask("/api/v4/mqtt/subscribe", body).await, "{\"code\":0}");
    ask(
        "/api/v4/mqtt/publish",
        "{\"topic\":\"z/1\",\"payload\":\"p\",\"qos\":2}",
    )
    .await;
    assert_eq!(
        device.delivery().await,
        ("z/1".into(), b"p".to_vec(), 1, false)
    );
    assert_eq!(ask("/api/v4/mqtt/unsubscribe", body).await, "{\"code\":0}");
    let left = bench.ask("GET", "/api/v4/subscriptions/dev-a", "").await;
    assert_eq!(left.text(), "{\"code\":0,\"data\":[]}");
    assert_eq!(
        ask("/api/v4/mqtt/subscribe_batch", "[{\"topics\":\"a,b\",\"clientid\":\"dev-a\"},{\"topic\":\"#/x\",\"clientid\":\"dev-a\"}]").await,
        "{\"data\":[{\"topic\":\"a,b\",\"code\":0},{\"topic\":\"#/x\",\"code\":108}],\"code\":0}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kick_ends_a_connection_once_enabled() {
    let bench = Bench::new(Settings {
        kick_enabled: true,
        ..Settings::default()
    })
    .await;
    let nobody = bench.ask("DELETE", "/api/v4/clients/dev-a", "").await;
    assert_eq!(
        (nobody.status_line.as_str(), nobody.text().as_str()),
        ("HTTP/1.1 404 Not Found", "{\"code\":112}")
    );
    let _device = Device::connect(bench.mqtt, DEVICE).await;
    let kicked = bench.ask("DELETE", "/api/v4/clients/dev-a", "").await;
    assert_eq!(kicked.text(), "{\"code\":0}");
    bench.until(|c| c.disconnects == 1).await;
}

/// The ids of the clients that a filter finds.
async fn found(bench: &Bench, filter: &str) -> Vec<String> {
    let seen = bench
        .ask("GET", &format!("/api/v4/clients?{filter}"), "")
        .await;
    assert_eq!(seen.status_line, "HTTP/1.1 200 OK", "{filter}");
    let data = data(&seen.text());
    let ids = data.as_array().unwrap().iter();
    ids.map(|row| row["client_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_clients_take_any_protocol_name_and_case() {
    let bench = Bench::new(Settings::default()).await;
    let _old = Wire::open(bench.mqtt, 3, "old").await;
    let _new = Wire::open(bench.mqtt, 5, "new").await;
    for (filter, ids) in [
        ("proto_name=MQIsdp", &["old"][..]),
        ("proto_name=MQTT", &["new"]),
        ("proto_name=bogus", &[]),
        ("proto_name=mqtt", &[]),
        ("proto_name=MQTT&proto_ver=4", &[]),
        ("conn_state=Connected", &["new", "old"]),
        ("conn_state=CONNECTED&proto_ver=3", &["old"]),
        ("conn_state=DisConnected", &[]),
        ("clean_start=TRUE&client_id=new", &["new"]),
        ("clean_start=False", &[]),
    ] {
        assert_eq!(found(&bench, filter).await, ids, "{filter}");
    }
    for filter in ["conn_state=bogus", "clean_start=1", "proto_ver=6", "x=y"] {
        let path = format!("/api/v4/clients?{filter}");
        let seen = bench.ask("GET", &path, "").await;
        assert_eq!(seen.text(), "{\"code\":108}", "{filter}");
        assert_eq!(seen.status_line, "HTTP/1.1 400 Bad Request", "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_carries_its_properties_and_its_origin() {
    let bench = Bench::new(Settings::default()).await;
    let body = "{\"topic\":\"x/5\",\"payload\":\"p5\",\"qos\":1,\"retain\":true,\"clientid\":\"me\",\
                \"properties\":{\"payload_format_indicator\":1,\"message_expiry_interval\":100,\
                \"response_topic\":\"r/t\",\"correlation_data\":\"cd\",\"topic_alias\":3,\
                \"user_properties\":{\"id\":\"10010\",\"name\":\"n\"},\"content_type\":\"text/plain\"}}";
    assert_eq!(
        bench.ask("POST", "/api/v4/mqtt/publish", body).await.text(),
        "{\"code\":0}"
    );
    let (_, message) = bench.surface.app.journal.messages().since(0).pop().unwrap();
    assert_eq!(message.origin.kind, OriginKind::Http);
    assert_eq!(message.origin.client_id.as_deref(), Some("me"));
    assert!(message.retain);
    let properties = &message.properties;
    assert_eq!(properties.payload_format_indicator, Some(true));
    assert_eq!(properties.message_expiry_interval, Some(100));
    assert_eq!(properties.response_topic.as_deref(), Some("r/t"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"cd"[..]));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    let pairs = [("id", "10010"), ("name", "n")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(properties.user_properties, pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_receive_is_answered_with_0_and_told_in_the_journal() {
    let bench = Bench::new(Settings::default()).await;
    for body in [
        "{\"topic\":\"a/#\",\"payload\":\"x\"}",
        "{\"topic\":\"\",\"payload\":\"x\"}",
        "{\"topic\":\"a\",\"payload\":\"x\",\"properties\":{\"subscription_identifier\":1}}",
    ] {
        assert_eq!(
            bench.ask("POST", "/api/v4/mqtt/publish", body).await.text(),
            "{\"code\":0}"
        );
        assert!(
            bench.last_reasons().contains("answer"),
            "{}",
            bench.last_reasons()
        );
    }
    assert_eq!(bench.surface.app.journal.messages().since(0).len(), 0);
}

/// Method, path, body; status and answer.
const FROM_THE_SOURCE: &[(&str, &str, &str, &str, &str)] = &[
    ("GET", "/api/v4/rules", "", "200 OK", "{\"code\":111}"),
    (
        "GET",
        "/api/v4/rules/rule:1",
        "",
        "200 OK",
        "{\"code\":111}",
    ),
    (
        "DELETE",
        "/api/v4/rules/rule:1",
        "",
        "200 OK",
        "{\"code\":111}",
    ),
    (
        "PUT",
        "/api/v4/bridges/x",
        "{}",
        "404 Not Found",
        "{\"code\":115}",
    ),
    (
        "POST",
        "/api/v4/bridges/sub/x",
        "{\"data\":{\"subscription\":[],\"unsubscription\":[]}}",
        "404 Not Found",
        "{\"code\":108}",
    ),
    (
        "POST",
        "/api/v4/bridges/unsub/x",
        "{\"data\":{\"subscription\":[],\"unsubscription\":[]}}",
        "404 Not Found",
        "{\"code\":108}",
    ),
    (
        "POST",
        "/api/v4/bridges/sub/x",
        "{}",
        "400 Bad Request",
        "{\"code\":109}",
    ),
    (
        "POST",
        "/api/v4/config_update",
        "a {",
        "400 Bad Request",
        "{\"code\":117}",
    ),
    (
        "POST",
        "/api/v4/config_update",
        "a = 1",
        "200 OK",
        "{\"code\":0}",
    ),
    (
        "POST",
        "/api/v4/configuration/nope",
        "{}",
        "200 OK",
        "{\"code\":0}",
    ),
    (
        "POST",
        "/api/v4/configuration",
        "[]",
        "400 Bad Request",
        "{\"code\":109}",
    ),
    (
        "GET",
        "/api/v4/configuration/auth",
        "",
        "200 OK",
        "{\"code\":0,\"data\":{\"auth\":[]}}",
    ),
    (
        "get",
        "/api/v4/bridges/",
        "",
        "200 OK",
        "{\"code\":0,\"data\":{\"bridge\":{\"nodes\":[]}}}",
    ),
    (
        "GET",
        "/api/v4/metrics",
        "",
        "200 OK",
        "{\"metrics\":[],\"cpuinfo\":\"0.00%\",\"memory\":\"3006464\",\"connections\":0}",
    ),
    (
        "DELETE",
        "/api/v4/clients/x",
        "",
        "404 Not Found",
        "{\"code\":102}",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_0_25_5_was_not_recorded_with_is_answered_as_its_source_says() {
    let bench = Bench::new(Settings::default()).await;
    for (method, path, body, status, text) in FROM_THE_SOURCE {
        let seen = bench.ask(method, path, body).await;
        assert_eq!(
            seen.status_line,
            format!("HTTP/1.1 {status}"),
            "{method} {path}"
        );
        assert_eq!(seen.text(), *text, "{method} {path}");
    }
}

/// Every path of the description with each of its methods.
fn described() -> Vec<(String, String)> {
    let description = include_str!("../../../openapi/nanomq.yaml");
    let mut found = Vec::new();
    let mut path = "";
    for line in description.lines() {
        if let Some(rest) = line.strip_prefix("  /") {
            path = rest.split_once(':').unwrap().0;
        }
        for method in ["get", "post", "put", "delete"] {
            let inline = line.starts_with("  /") && line.contains(&format!("{{{method}:"));
            if inline || line.starts_with(&format!("    {method}:")) {
                found.push((method.to_uppercase(), format!("/{path}")));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_operation_is_known() {
    let bench = Bench::new(Settings {
        subscribe_enabled: true,
        kick_enabled: true,
        ..Settings::default()
    })
    .await;
    let described = described();
    assert!(described.len() > 35, "{described:?}");
    for (method, path) in described {
        let seen = bench.ask(&method, &path, "{}").await;
        assert_ne!(seen.body, b"{\"code\":102}", "{method} {path}");
        assert!(!seen.status_line.contains("405"), "{method} {path}");
    }
}
