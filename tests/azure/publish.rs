//! `POST /mqtt/messages`: each parameter, each refusal, the vendor page's example.

use bytes::Bytes;
use jiff::SignedDuration;
use mqttstack::broker::message::Qos;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, OBJECT_ID, bench, recording};

const VERSION: &str = "api-version=2025-02-15-preview";

async fn open() -> Bench {
    bench(json!({"auth": "off"})).await
}

fn publish(query: &str) -> Ask {
    Ask::post(&format!("/mqtt/messages?{query}&{VERSION}"))
}

#[tokio::test]
async fn the_vendor_pages_example_becomes_the_message_that_it_describes() {
    let example = &recording("azure-http-publish.json")["documented_example"];
    let bench = bench(json!({})).await;
    let token = bench.token().await;
    let mut ask = Ask::post(example["target"].as_str().unwrap())
        .header("authorization", &format!("Bearer {token}"))
        .header("x-ms-client-request-id", "abc")
        .body(example["body"].as_str().unwrap());
    for (name, value) in example["headers"].as_object().unwrap() {
        ask = ask.header(name, value.as_str().unwrap());
    }
    let answer = bench.ask(ask).await;
    assert_eq!((answer.status, answer.body.bytes().len()), (204, 0));
    assert_eq!(answer.header_value("x-ms-client-request-id"), Some("abc"));
    let id = &bench.entry().id;
    assert_eq!(
        answer.header_value("x-ms-request-id"),
        Some(&*id.to_ascii_lowercase())
    );
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    let expected = &example["expect_publish"];
    assert_eq!(message.topic, expected["topic"].as_str().unwrap());
    assert_eq!((message.qos, message.retain), (Qos::AtLeastOnce, false));
    let properties = &message.properties;
    assert_eq!(
        properties.response_topic.as_deref(),
        expected["response_topic"].as_str()
    );
    assert_eq!(
        properties.content_type.as_deref(),
        expected["content_type"].as_str()
    );
    assert_eq!(
        properties.correlation_data,
        Some(Bytes::from_static(
            b"\x3e\x55\xc2\xb1\xc2\xb6\xc2\xb6\xc2\xbb\x2f"
        ))
    );
    assert_eq!(
        json!(properties.user_properties),
        expected["user_properties"]
    );
    assert_eq!(message.payload, example["body"].as_str().unwrap());
    // The object id becomes the MQTT client id, and no session comes into being.
    assert_eq!(message.origin.client_id.as_deref(), Some(OBJECT_ID));
    assert!(bench.app.broker.clients().await.is_empty());
    let entry = bench.entry();
    let draft = &entry.outcome().unwrap().draft;
    assert_eq!(draft.operation.as_deref(), Some("HttpPublish"));
    assert_eq!(draft.messages, std::slice::from_ref(&message.id));
}

#[tokio::test]
async fn requests_recorded_from_azure_core_are_taken() {
    let bench = open().await;
    for exchange in recording("azure-http-publish.json")["azure_core_requests"]
        .as_array()
        .unwrap()
    {
        assert_eq!(
            bench.ask(Ask::recorded(&exchange["request"])).await.status,
            204
        );
    }
    assert_eq!(bench.app.journal.messages().len(), 2);
}

#[tokio::test]
async fn each_part_has_its_default_and_the_query_beats_the_header() {
    let bench = open().await;
    let last = || bench.app.journal.messages().since(0).pop().unwrap().1;
    bench.ask(publish("topic=t")).await;
    assert_eq!((last().qos, last().retain), (Qos::AtLeastOnce, false));
    assert_eq!(
        last().properties,
        mqttstack::broker::message::Properties::default()
    );
    bench
        .ask(
            publish("topic=t&qos=0&retain=1")
                .header("mqtt-qos", "1")
                .header("mqtt-retain", "0"),
        )
        .await;
    assert_eq!((last().qos, last().retain), (Qos::AtMostOnce, true));
    bench
        .ask(
            publish("topic=t")
                .header("mqtt-qos", "0")
                .header("mqtt-retain", "1"),
        )
        .await;
    assert_eq!((last().qos, last().retain), (Qos::AtMostOnce, true));
    bench.ask(publish("topic=a+b%2Bc%2F%E5%AD%90")).await;
    assert_eq!(last().topic, "t", "a wildcard is no topic name");
    bench.ask(publish("topic=a+b%2F%E5%AD%90")).await;
    assert_eq!(last().topic, "a b/子");
    let ask = publish("topic=t")
        .header("mqtt-message-expiry", "60")
        .header("mqtt-payload-format-indicator", "1")
        .header("mqtt-response-topic", "a%20b/c");
    bench.ask(ask).await;
    assert_eq!(last().properties.message_expiry_interval, Some(60));
    assert_eq!(last().properties.payload_format_indicator, Some(true));
    assert_eq!(last().properties.response_topic.as_deref(), Some("a b/c"));
    bench
        .ask(publish("topic=t").header("mqtt-message-expiry", "0"))
        .await;
    assert_eq!(
        last().properties.message_expiry_interval,
        None,
        "zero means never"
    );
}

#[tokio::test]
async fn an_empty_retained_publish_removes_the_retained_message() {
    let bench = open().await;
    bench.ask(publish("topic=r&retain=1").body("kept")).await;
    assert_eq!(bench.app.broker.retained().len(), 1);
    bench.ask(publish("topic=r&retain=1")).await;
    assert!(bench.app.broker.retained().is_empty());
}

#[tokio::test]
async fn user_properties_as_raw_json_are_taken_with_a_warning_or_refused_in_strict_mode() {
    let raw =
        recording("azure-http-publish.json")["unencoded_json_user_properties_variant"]["header"]
            .clone();
    let ask = || publish("topic=t").header("mqtt-user-properties", raw.as_str().unwrap());
    let bench = open().await;
    assert_eq!(bench.ask(ask()).await.status, 204);
    assert!(bench.reasons().contains("raw JSON"), "{}", bench.reasons());
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    assert_eq!(
        message.properties.user_properties[0],
        ("Urgency".into(), "alert".into())
    );
    let strict = crate::bench::bench(json!({"auth": "off", "strict_parameters": true})).await;
    assert_eq!(strict.ask(ask()).await.status, 400);
    let unknown = Ask::post("/mqtt/messages?topic=t&api-version=2030-01-01");
    assert_eq!(
        strict.json(400, unknown).await["error"]["code"],
        "UnsupportedApiVersion"
    );
}

#[tokio::test]
async fn every_wrong_request_is_refused_with_the_reason() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let bench = open().await;
    let user = |json: &str| publish("topic=t").header("mqtt-user-properties", &encode(json));
    let with = |name: &str, value: &str| publish("topic=t").header(name, value);
    let many = json!([{"k": "x".repeat(32 * 1024)}]).to_string();
    let cases: Vec<(Ask, u16, &str, &str)> = vec![
        (publish("a=b"), 400, "BadRequest", "'topic' is missing"),
        (
            Ask::post("/mqtt/messages?topic=t"),
            400,
            "BadRequest",
            "'api-version' is missing",
        ),
        (
            publish("topic=devices%2XXXX-0000%2Fprompt"),
            400,
            "BadRequest",
            "\"%2X\" is not a percent escape",
        ),
        (
            publish("topic=a&topic=b"),
            400,
            "BadRequest",
            "more than once",
        ),
        (publish("topic="), 403, "Forbidden", "it is empty"),
        (publish("topic=a/%2B"), 403, "Forbidden", "wildcards"),
        (publish("topic=a/%23"), 403, "Forbidden", "wildcards"),
        (
            publish(&format!("topic=a{}", "/a".repeat(15))),
            403,
            "Forbidden",
            "16 segments, the limit is 15",
        ),
        (
            publish(&format!("topic={}", "a".repeat(257))),
            403,
            "Forbidden",
            "257 bytes, the limit is 256",
        ),
        (
            publish("topic=t&qos=2"),
            400,
            "BadRequest",
            "QoS 2 is not supported",
        ),
        (
            publish("topic=t&qos=x"),
            400,
            "BadRequest",
            "'qos' is invalid",
        ),
        (
            publish("topic=t&retain=2"),
            400,
            "BadRequest",
            "'retain' is invalid",
        ),
        (
            with("mqtt-qos", "true"),
            400,
            "BadRequest",
            "'mqtt-qos' is invalid",
        ),
        (
            with("mqtt-retain", "yes"),
            400,
            "BadRequest",
            "'mqtt-retain' is invalid",
        ),
        (
            with("mqtt-response-topic", "a/%zz"),
            400,
            "BadRequest",
            "\"%zz\" is not a percent escape",
        ),
        (
            with("mqtt-response-topic", "a/#"),
            400,
            "BadRequest",
            "wildcards",
        ),
        (
            with("mqtt-correlation-data", "***"),
            400,
            "BadRequest",
            "'mqtt-correlation-data' is invalid: it is not base64",
        ),
        (
            with("mqtt-correlation-data", &encode(&"x".repeat(257))),
            400,
            "BadRequest",
            "257 bytes",
        ),
        (
            with("mqtt-message-expiry", "-1"),
            400,
            "BadRequest",
            "unsigned",
        ),
        (
            with("mqtt-message-expiry", "4294967296"),
            400,
            "BadRequest",
            "unsigned",
        ),
        (
            with("mqtt-payload-format-indicator", "2"),
            400,
            "BadRequest",
            "must be 0 or 1",
        ),
        (
            with("content-type", &"x".repeat(257)),
            400,
            "BadRequest",
            "'content-type' is invalid",
        ),
        (
            with("mqtt-user-properties", "***"),
            400,
            "BadRequest",
            "not base64",
        ),
        (user("{\"a\":\"b\"}"), 400, "BadRequest", "array of objects"),
        (
            user("[{\"a\":\"b\",\"c\":\"d\"}]"),
            400,
            "BadRequest",
            "one string member",
        ),
        (user("[{\"a\":1}]"), 400, "BadRequest", "one string member"),
        (user("[{}]"), 400, "BadRequest", "one string member"),
        (user("nonsense"), 400, "BadRequest", "array of objects"),
        (user(&many), 400, "BadRequest", "the limit is 32768"),
        (
            with("mqtt-user-property", "x"),
            400,
            "BadRequest",
            "there is no such header",
        ),
        (
            publish("topic=t").body(vec![b'x'; 512 * 1024 + 1]),
            413,
            "RequestEntityTooLarge",
            "the limit is 524288",
        ),
        (
            publish("topic=t&retain=1").body(vec![b'x'; 64 * 1024 + 1]),
            413,
            "RequestEntityTooLarge",
            "the limit is 65536",
        ),
        (
            Ask::get(&format!("/mqtt/messages?topic=t&{VERSION}")),
            405,
            "MethodNotAllowed",
            "allowed is POST",
        ),
        (
            Ask::post("/mqtt/other"),
            404,
            "NotFound",
            "There is nothing at",
        ),
    ];
    for (ask, status, code, reason) in cases {
        let target = ask.target.chars().take(80).collect::<String>();
        let answer = bench.json(status, ask).await;
        assert_eq!(answer["error"]["code"], code, "{target}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains(reason),
            "{target}: {answer}"
        );
        assert!(bench.reasons().contains(reason), "{target}");
    }
    assert!(bench.app.journal.messages().is_empty());
    let full = publish("topic=t").body(vec![b'x'; 512 * 1024]);
    assert_eq!(
        bench.ask(full).await.status,
        204,
        "the limit itself is allowed"
    );
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let bench = bench(json!({"auth": "off", "limits": false})).await;
    let topic = format!("topic=a{}", "/a".repeat(200));
    assert_eq!(
        bench
            .ask(publish(&topic).body(vec![0; 600 * 1024]))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn hints_go_to_the_journal() {
    let bench = open().await;
    bench
        .ask(publish("topic=t&Qos=0").header("Content-Type", "application/x-www-form-urlencoded"))
        .await;
    assert!(bench.reasons().contains("the HTTP client set it by itself"));
    assert!(bench.reasons().contains("\"Qos\" has no meaning"));
}

#[tokio::test]
async fn the_call_over_the_configured_rate_is_told_when_to_come_back() {
    let bench = bench(json!({"auth": "off", "quotas": {"HttpPublish": 2}})).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
    }
    let answer = bench.ask(publish("topic=t")).await;
    assert_eq!(
        (answer.status, answer.header_value("Retry-After")),
        (429, Some("1"))
    );
    let body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap();
    assert_eq!(body["error"]["code"], "TooManyRequests");
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
}

#[tokio::test]
async fn the_status_of_success_can_be_forced() {
    for status in [202, 204] {
        let bench = bench(json!({"auth": "off", "publish_status": status})).await;
        assert_eq!(bench.ask(publish("topic=t")).await.status, status);
    }
}

#[tokio::test]
async fn a_retained_publish_counts_twice() {
    let bench = bench(json!({"auth": "off", "quotas": {"HttpPublish": 3}})).await;
    assert_eq!(bench.ask(publish("topic=t&retain=1")).await.status, 204);
    assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
    assert_eq!(bench.ask(publish("topic=t")).await.status, 429);
}
