//! The admin API as such: health, errors, reset, events, and that its description is true.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use mqttstack::admin::ResetPart;
use mqttstack_base::message::Transport;
use serde_json::{Value, json};

use crate::mqtt::Device;
use crate::panel::{NOW, Panel};

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "PATCH"];

#[tokio::test]
async fn readiness_waits_for_the_listeners_and_liveness_does_not() {
    let panel = Panel::new().await;
    panel.ready.send_replace(None);
    assert_eq!(panel.get("/livez").await, json!({"live": true}));
    panel
        .call("GET", "/readyz", "")
        .await
        .is_problem(503, "not-ready", "starting");
    let health = panel.call("GET", "/health", "").await;
    assert_eq!(
        (health.status, &health.json["status"]),
        (503, &json!("starting"))
    );

    let object = json!({"ready": true, "http": "http://127.0.0.1:4580"});
    panel.ready.send_replace(Some(object.clone().into()));
    assert_eq!(panel.get("/readyz").await, object);
    let health = panel.get("/health").await;
    assert_eq!(
        health["surfaces"],
        json!({"aliyun": {"status": "up"}, "nanomq": {"status": "up"}})
    );
    assert_eq!(
        (&health["status"], &health["broker"]["status"]),
        (&json!("up"), &json!("up"))
    );
    let info = panel.get("/info").await;
    assert_eq!(
        (&info["listeners"], &info["surfaces"]),
        (&object, &json!(["aliyun", "nanomq"]))
    );
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let panel = Panel::new().await;
    panel
        .call("GET", "/faults", "")
        .await
        .is_problem(404, "unknown-route", "/_mqttstack/faults");
    panel
        .call("GET", "", "")
        .await
        .is_problem(404, "unknown-route", "/_mqttstack");
    let answer = panel.call("POST", "/clock", "{}").await;
    answer.is_problem(405, "method-not-allowed", "POST");
    assert_eq!(answer.allow.as_deref(), Some("GET,HEAD,PUT"));
    panel.call("DELETE", "/clients/a%2Fb", "").await.is_problem(
        404,
        "not-found",
        "no client \"a/b\"",
    );
    panel
        .call("GET", "/requests/%FF", "")
        .await
        .is_problem(400, "bad-parameter", "id");
}

#[tokio::test]
async fn a_reset_is_of_everything_or_of_the_named_parts() {
    let panel = Panel::new().await;
    let answer = panel.call("POST", "/reset?only=messages,clock", "").await;
    assert_eq!(
        answer.json,
        json!({"reset": ["messages", "clock"], "disconnected": 0})
    );
    assert_eq!(panel.call("POST", "/reset", "").await.status, 200);
    let expected = vec![
        vec![ResetPart::Messages, ResetPart::Clock],
        ResetPart::ALL.map(|(_, part)| part).to_vec(),
    ];
    assert_eq!(*panel.resets.lock(), expected);
    for bad in ["only=messages,everything", "only=", "parts=messages"] {
        let answer = panel.call("POST", &format!("/reset?{bad}"), "").await;
        answer.is_problem(400, "bad-parameter", "");
    }
    assert_eq!(panel.resets.lock().len(), 2);
}

#[tokio::test]
async fn events_tell_of_requests_messages_and_resets_as_they_happen() {
    let panel = Panel::new().await;
    panel.publish("before", "").await;
    let mut stream = events(&panel, None).await;
    assert_eq!(piece(&mut stream).await, ": listening\n\n");
    panel.publish("a/b", "hello").await;
    let message = piece(&mut stream).await;
    assert!(
        message.starts_with("event: message\nid: 0-2\ndata: {\"id\":"),
        "{message}"
    );
    assert!(message.contains("\"topic\":\"a/b\""), "{message}");
    panel.refuse("R1");
    let request = piece(&mut stream).await;
    assert!(
        request.starts_with("event: request\nid: 2-2\n"),
        "{request}"
    );
    panel.call("POST", "/reset?only=quotas", "").await;
    assert_eq!(
        piece(&mut stream).await,
        "event: reset\nid: 2-2\ndata: {\"reset\":[\"quotas\"]}\n\n"
    );
}

#[tokio::test]
async fn a_stream_goes_on_where_the_last_one_ended() {
    let panel = Panel::new().await;
    panel.publish("a", "").await;
    panel.publish("b", "").await;
    let mut stream = events(&panel, Some("0-1")).await;
    piece(&mut stream).await;
    assert!(piece(&mut stream).await.contains("\"topic\":\"b\""));
    let request = Request::get("/_mqttstack/events").header("Last-Event-ID", "x");
    let answer = panel.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), 400);
}

async fn events(panel: &Panel, last: Option<&str>) -> Body {
    let mut request = Request::get("/_mqttstack/events");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let response = panel.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

/// The next event of a stream. A missing one would hang, and the test runner says where.
async fn piece(stream: &mut Body) -> String {
    let frame = stream.frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn what_the_broker_holds_is_listed_and_a_client_can_be_ended() {
    let panel = Panel::new().await;
    let free = ([127, 0, 0, 1], 0).into();
    let address = panel.app.broker.listen(Transport::Tcp, free).unwrap();
    let mut device = Device::v5(address, "dev/1").await;
    device.subscribe("a/+", 1).await;
    device.publish("a/kept", 1, true, "hello").await;
    device.receive().await;

    let clients = panel.get("/clients").await;
    let client = &clients["clients"][0];
    assert_eq!(
        (&client["client_id"], &client["connected"]),
        (&json!("dev/1"), &json!(true))
    );
    assert_eq!(
        (&client["protocol_version"], &client["subscriptions"]),
        (&json!(5), &json!(1))
    );
    assert_eq!(client["connected_at"], NOW);
    let subscriptions = panel.get("/subscriptions").await;
    assert_eq!(subscriptions["subscriptions"][0]["topic_filter"], "a/+");
    let retained = panel.get("/retained").await;
    let kept = &retained["retained"][0];
    assert_eq!(
        (&kept["topic"], &kept["payload"]),
        (&json!("a/kept"), &json!({"text": "hello"}))
    );
    assert_eq!(
        (&kept["origin"]["kind"], &kept["expires_in"]),
        (&json!("mqtt"), &Value::Null)
    );
    let message = &panel.get("/messages").await["messages"][0];
    assert_eq!(message["deliveries"][0]["client_id"], "dev/1");

    assert_eq!(
        panel.call("DELETE", "/clients/dev%2F1", "").await.status,
        204
    );
    device.ended().await;
    assert_eq!(panel.get("/clients").await, json!({"clients": []}));
    panel
        .call("DELETE", "/clients/dev%2F1", "")
        .await
        .is_problem(404, "not-found", "dev/1");
}

#[tokio::test]
async fn the_authority_is_served_as_pem() {
    let panel = Panel::new().await;
    let answer = panel.call("GET", "/ca.pem", "").await;
    assert_eq!(
        (answer.status, &*answer.kind),
        (200, "application/x-pem-file")
    );
}

#[tokio::test]
async fn the_description_names_exactly_the_methods_that_every_path_answers() {
    let panel = Panel::new().await;
    let description = panel.get("/openapi.json").await;
    assert_eq!(description["openapi"], "3.1.0");
    for (path, item) in description["paths"].as_object().unwrap() {
        let described: BTreeSet<_> = METHODS
            .into_iter()
            .filter(|method| item.get(method.to_lowercase()).is_some())
            .collect();
        assert!(!described.is_empty(), "{path}");
        // PATCH is answered nowhere, so every path tells its methods.
        let answer = panel.call("PATCH", &path.replace("{id}", "x"), "").await;
        answer.is_problem(405, "method-not-allowed", "PATCH");
        let allow = answer.allow.unwrap();
        let answered: BTreeSet<_> = allow
            .split(',')
            .filter(|method| *method != "HEAD")
            .collect();
        assert_eq!(answered, described, "{path}");
    }
}

#[tokio::test]
async fn the_description_has_no_dangling_reference() {
    let description = Panel::new().await.get("/openapi.json").await;
    let mut references = Vec::new();
    collect_references(&description, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members
                .values()
                .for_each(|member| collect_references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}
