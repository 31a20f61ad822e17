//! The exchanges of `fixtures/tencent-tdmq/` (written by its `make.py`, whose signer is Python's
//! own), each walked and compared whole. Two things are filled in from the journal: the request
//! id and the message id, which the answer must repeat.

use std::collections::BTreeSet;
use std::path::Path;

use mqttstack_base::exchange::{Malformed, Request, Version};
use mqttstack_base::message::{Message, Properties};
use mqttstack_pipeline::REQUEST_ID;
use mqttstack_tencent_tdmq::{ACTIONS, Error};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::{Bench, request};

#[derive(Deserialize)]
struct Exchange {
    standing: String,
    given: Given,
    request: Sent,
    answer: Value,
    published: Vec<Value>,
    error: Option<String>,
    code: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    settings: Value,
    before: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    raw_query: String,
    headers: Vec<(String, String)>,
    body: String,
    malformed: Option<String>,
    version: Option<String>,
    status: Option<u16>,
}

impl Sent {
    fn request(&self) -> Request {
        let target = match &*self.raw_query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let mut request = request(&self.method, &target, &headers, &self.body);
        if self.version.as_deref() == Some("1.0") {
            request.head.version = Version::Http10;
        }
        request.malformed = self.malformed.as_deref().map(|name| match name {
            "ContentLength" => Malformed::ContentLength,
            "BodyTooLarge" => Malformed::BodyTooLarge { limit: 5 },
            "BodyTimeout" => Malformed::BodyTimeout,
            "TargetTooLong" => Malformed::TargetTooLong { limit: 5 },
            other => panic!("no Malformed::{other} here"),
        });
        request
    }
}

fn exchanges() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tencent-tdmq");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("__"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn parse(text: &str) -> Exchange {
    serde_json::from_str(text).unwrap()
}

/// A message as the exchanges write it: of the properties those that it has.
fn published(message: &Message) -> Value {
    let mut all = json!({
        "id": message.id,
        "topic": message.topic,
        "payload": String::from_utf8_lossy(&message.payload),
        "qos": message.qos,
        "retain": message.retain,
        "client_id": message.origin.client_id,
    });
    let Properties {
        response_topic,
        correlation_data,
        content_type,
        message_expiry_interval,
        payload_format_indicator,
        user_properties,
    } = &message.properties;
    let correlation = correlation_data.as_deref().map(String::from_utf8_lossy);
    for (name, value) in [
        ("response_topic", json!(response_topic)),
        ("correlation_data", json!(correlation)),
        ("content_type", json!(content_type)),
        ("message_expiry_interval", json!(message_expiry_interval)),
        ("payload_format_indicator", json!(payload_format_indicator)),
    ] {
        if !value.is_null() {
            all[name] = value;
        }
    }
    if !user_properties.is_empty() {
        all["user_properties"] = json!(user_properties);
    }
    all
}

/// What differs; `None` where nothing does.
async fn walk(text: &str) -> Option<String> {
    let exchange = parse(text);
    let settings = serde_json::from_value(exchange.given.settings.clone()).unwrap();
    let bench = Bench::with(settings).await;
    for before in &exchange.given.before {
        let answer = bench.run(&before.request()).await;
        let body = String::from_utf8_lossy(&answer.body.bytes()).into_owned();
        assert!(
            answer.status == before.status.unwrap_or(200) && !body.contains("\"Error\""),
            "{body}"
        );
    }
    let earlier = bench.app.journal.messages().last();
    let answer = bench.run(&exchange.request.request()).await;
    let newest = bench.app.journal.messages().since(0).pop();
    let message_id = newest.map_or_else(String::new, |(_, message)| message.id.clone());
    let text = text
        .replace("{request-id}", &bench.entry().id.to_ascii_lowercase())
        .replace("{MsgId}", &message_id);
    let expected = parse(&text);
    // The emulator's own field is on every answer, behind the vendor's.
    let (own, headers) = answer.headers.split_last().unwrap();
    assert_eq!((&*own.0, &*own.1), (REQUEST_ID, &*bench.entry().id));
    let seen = json!({
        "status": answer.status,
        "headers": headers,
        "body": String::from_utf8_lossy(&answer.body.bytes()),
    });
    let published: Vec<Value> = bench
        .app
        .journal
        .messages()
        .since(earlier)
        .iter()
        .map(|(_, message)| published(message))
        .collect();
    let reasons = bench.reasons();
    let code = bench.entry().outcome().unwrap().draft.error_code.clone();
    bench.app.broker.stop().await;
    if expected.answer != seen {
        return Some(format!(
            "answer\n  expected {}\n  seen     {seen}",
            expected.answer
        ));
    }
    if expected.published != published {
        return Some(format!("published {published:?}"));
    }
    if expected.code != code {
        return Some(format!("error code in the journal: {code:?}"));
    }
    let part = expected.reason?;
    let said = reasons.iter().any(|reason| reason.contains(&part));
    (!said).then(|| format!("the journal says {reasons:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_is_answered_as_it_is_written() {
    let mut wrong = Vec::new();
    for (name, text) in exchanges() {
        if let Some(difference) = walk(&text).await {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_error_has_an_exchange_and_every_exchange_a_known_standing() {
    let exchanges = exchanges();
    let seen: BTreeSet<String> = exchanges
        .iter()
        .filter_map(|(_, text)| parse(text).error)
        .collect();
    let wanted: BTreeSet<String> = Error::all()
        .iter()
        .map(|error| {
            let text = format!("{error:?}");
            let end = text.find(|c: char| !c.is_alphanumeric());
            text[..end.unwrap_or(text.len())].to_owned()
        })
        .collect();
    // A client certificate comes with a TLS handshake: `certificates.rs` has its exchanges.
    // The others need an MQTT client: `keep_alive.rs`, `subscriptions.rs`.
    let elsewhere = [
        "Certificate",
        "NoKeepAlive",
        "NotSubscribed",
        "SubscriptionRefused",
    ];
    let elsewhere = BTreeSet::from(elsewhere.map(str::to_owned));
    assert_eq!(seen, &wanted - &elsewhere);
    for (name, text) in &exchanges {
        let standing = parse(text).standing;
        let known = ["documented", "captured", "assumed"].contains(&&*standing);
        assert!(known, "{name}: {standing}");
    }
}

#[test]
fn the_openapi_description_lists_every_action() {
    let description = include_str!("../../openapi/tencent-tdmq.yaml");
    for action in ACTIONS {
        let line = format!("              - {}\n", action.name());
        assert!(description.contains(&line), "{}", action.name());
    }
}

#[tokio::test]
async fn a_reset_brings_a_deleted_user_back() {
    let bench = Bench::frozen().await;
    let deletion = exchanges()
        .into_iter()
        .find(|(name, _)| name == "DeleteUser__gone")
        .unwrap();
    bench.run(&parse(&deletion.1).request.request()).await;
    assert_eq!(bench.post("/topics/home", "x").await.status, 401);
    bench.tdmq.reset();
    assert_eq!(bench.post("/topics/home", "x").await.status, 200);
}
