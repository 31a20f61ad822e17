//! Messages as `CloudEvents` on a namespace topic. Custom topics are in `custom_topics.rs`.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, OBJECT_ID, bench};
use crate::mqtt::{Client, connect, listening};

async fn routed_to(namespace: Value) -> Bench {
    routing(json!({"auth": "off", "namespaces": [namespace]})).await
}

/// The surface with its way out of the broker.
async fn routing(settings: Value) -> Bench {
    let bench = bench(settings).await;
    bench.azure.started(&bench.app);
    bench
}

fn publish(topic: &str) -> Ask {
    Ask::post(&format!(
        "/mqtt/messages?topic={topic}&api-version=2025-02-15-preview"
    ))
}

async fn event(bench: &Bench) -> Value {
    let target =
        "/topics/events/eventsubscriptions/s:receive?api-version=2024-06-01&maxWaitTime=10";
    let answer = bench.json(200, Ask::post(target)).await;
    answer["value"][0]["event"].clone()
}

#[tokio::test]
async fn a_routed_publish_is_accepted_and_becomes_an_event_of_the_namespace() {
    let bench = routed_to(json!({"route_topic": "events"})).await;
    assert_eq!(
        bench.ask(publish("dev/1").body(vec![1, 2])).await.status,
        202
    );
    let event = event(&bench).await;
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "MQTT.EventPublished");
    assert_eq!(
        (&event["source"], &event["subject"]),
        (&json!("nsname"), &json!("dev/1"))
    );
    assert_eq!(event["time"], "2026-11-21T22:51:00.000Z");
    assert_eq!(event["datacontenttype"], "application/octet-stream");
    assert_eq!(
        (&event["data_base64"], event.get("data")),
        (&json!("AQI="), None)
    );
    assert!(uuid::Uuid::parse_str(event["id"].as_str().unwrap()).is_ok());
}

#[tokio::test]
async fn payload_format_and_content_type_decide_between_text_json_and_base64() {
    let bench = routed_to(json!({"route_topic": "events"})).await;
    let json_type = Some("application/json; charset=utf-8");
    for (pfi, kind, body, expected) in [
        (
            None,
            None,
            "{\"a\":1}",
            json!({"datacontenttype": "application/octet-stream", "data_base64": "eyJhIjoxfQ=="}),
        ),
        (
            Some("0"),
            Some("text/plain"),
            "hi",
            json!({"datacontenttype": "text/plain", "data_base64": "aGk="}),
        ),
        (
            Some("1"),
            None,
            "{\"a\":1}",
            json!({"datacontenttype": "text/plain; charset=utf-8", "data": "{\"a\":1}"}),
        ),
        (
            Some("1"),
            Some("text/csv"),
            "a,b",
            json!({"datacontenttype": "text/csv", "data": "a,b"}),
        ),
        (
            Some("1"),
            json_type,
            "{\"a\":1}",
            json!({"datacontenttype": json_type, "data": {"a": 1}}),
        ),
        (
            None,
            json_type,
            "{\"a\":1}",
            json!({"datacontenttype": json_type, "data": {"a": 1}}),
        ),
        (
            None,
            json_type,
            "not json",
            json!({"datacontenttype": json_type, "data": "not json"}),
        ),
    ] {
        let mut ask = publish("t").body(body);
        if let Some(pfi) = pfi {
            ask = ask.header("mqtt-payload-format-indicator", pfi);
        }
        if let Some(kind) = kind {
            ask = ask.header("content-type", kind);
        }
        assert_eq!(bench.ask(ask).await.status, 202);
        let event = event(&bench).await;
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&event[name], value, "{pfi:?} {kind:?} {body}: {event}");
        }
        assert_ne!(
            event.get("data").is_some(),
            event.get("data_base64").is_some()
        );
    }
}

#[tokio::test]
async fn a_message_that_is_a_cloud_event_already_keeps_its_attributes() {
    use base64::Engine;
    let bench = routed_to(json!({"route_topic": "events"})).await;
    let own = json!({"specversion": "1.0", "id": "own", "source": "/own", "type": "own.type", "data": {"a": 1}});
    let ask = publish("t")
        .header(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )
        .body(own.to_string());
    bench.ask(ask).await;
    assert_eq!(event(&bench).await, own);
    let properties = json!([{"specversion": "1.0"}, {"id": "own"}, {"source": "/own"}, {"type": "own.type"}, {"ext": "x"}]);
    let properties = base64::engine::general_purpose::STANDARD.encode(properties.to_string());
    let ask = publish("t")
        .header("mqtt-user-properties", &properties)
        .header("content-type", "application/json")
        .body("{\"b\":2}");
    bench.ask(ask).await;
    let binary = event(&bench).await;
    assert_eq!(
        (&binary["id"], &binary["ext"], &binary["data"]),
        (&json!("own"), &json!("x"), &json!({"b": 2}))
    );
}

#[tokio::test]
async fn a_message_that_only_resembles_a_cloud_event_is_wrapped_like_any_other() {
    let bench = routed_to(json!({"route_topic": "events"})).await;
    for body in [
        json!({"specversion": "1.0"}),
        json!({"specversion": "1.0", "id": "", "source": "/own", "type": "own.type"}),
        json!({"specversion": "0.3", "id": "own", "source": "/own", "type": "own.type"}),
        json!({"specversion": "1.0", "id": "own", "source": "/own", "type": "own.type", "time": "today"}),
        json!([]),
    ] {
        let ask = publish("t")
            .header("content-type", "application/cloudevents+json")
            .header("mqtt-payload-format-indicator", "1")
            .body(body.to_string());
        bench.ask(ask).await;
        let event = event(&bench).await;
        assert_eq!(
            (&event["type"], &event["data"]),
            (&json!("MQTT.EventPublished"), &body)
        );
    }
    bench.ask(binary("0.3", &json!([])).body("x")).await;
    assert_eq!(event(&bench).await["type"], "MQTT.EventPublished");
}

/// A publish with the attributes of an event in its user properties, and more of them.
fn binary(version: &str, more: &Value) -> Ask {
    use base64::Engine;
    let mut properties =
        json!([{"specversion": version}, {"id": "own"}, {"source": "/own"}, {"type": "own.type"}]);
    let all = properties.as_array_mut().unwrap();
    all.extend(more.as_array().unwrap().iter().cloned());
    let text = base64::engine::general_purpose::STANDARD.encode(properties.to_string());
    publish("t").header("mqtt-user-properties", &text)
}

#[tokio::test]
async fn user_properties_that_no_attribute_can_be_called_stay_out_of_the_event() {
    let bench = routed_to(json!({"route_topic": "events"})).await;
    let more = json!([{"Urgency": "x"}, {"a b": "x"}, {"": "x"}, {"data": "x"}, {"data_base64": "x"}, {"ext1": "x"}]);
    bench.ask(binary("1.0", &more)).await;
    let own = json!({"specversion": "1.0", "id": "own", "source": "/own", "type": "own.type", "ext1": "x"});
    assert_eq!(event(&bench).await, own, "and without a payload no data");
}

#[tokio::test]
async fn enrichments_come_from_the_configuration_the_message_and_the_client() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let bench = routing(json!({"namespaces": [{
        "route_topic": "events",
        "clients": [{"name": "c", "properties": {"authenticationName": OBJECT_ID, "attributes": {"tags": ["a", "b"], "floor": 7}}}],
        "topic_spaces_configuration": {"routingEnrichments": {
            "static": [{"key": "fixed", "value": "f", "valueType": "String"}],
            "dynamic": [
                {"key": "who", "value": "${client.authenticationName}"},
                {"key": "tags", "value": "${client.attributes.tags}"},
                {"key": "floor", "value": "${client.attributes.floor}"},
                {"key": "none", "value": "${client.attributes.none}"},
                {"key": "prop", "value": "${mqtt.message.userProperties['a b']}"},
                {"key": "other", "value": "${mqtt.message.userProperties.x}"},
                {"key": "topic", "value": "${mqtt.message.topicName}"},
                {"key": "reply", "value": "${mqtt.message.responseTopic}"},
                {"key": "data1", "value": "${mqtt.message.correlationData}"},
                {"key": "pfi", "value": "${mqtt.message.pfi}"},
            ],
        }},
    }]}))
    .await;
    let token = bench.token().await;
    let ask = publish("t")
        .header("Authorization", &format!("Bearer {token}"))
        .header(
            "mqtt-user-properties",
            &encode("[{\"a b\":\"1\"},{\"a b\":\"2\"},{\"x\":\"3\"}]"),
        )
        .header("mqtt-response-topic", "r")
        .header("mqtt-correlation-data", "AQI=")
        .header("mqtt-payload-format-indicator", "1");
    assert_eq!(bench.ask(ask).await.status, 202);
    let target = "/topics/events/eventsubscriptions/s:receive?api-version=x";
    let answer = bench
        .json(
            200,
            Ask::post(target).header("Authorization", &format!("Bearer {token}")),
        )
        .await;
    let event = &answer["value"][0]["event"];
    for (name, value) in [
        ("fixed", json!("f")),
        ("who", json!(OBJECT_ID)),
        ("tags", json!("a,b")),
        ("floor", json!(7)),
        ("none", json!("")),
        ("prop", json!("1,2")),
        ("other", json!("3")),
        ("topic", json!("t")),
        ("reply", json!("r")),
        ("data1", json!("AQI=")),
        ("pfi", json!(1)),
    ] {
        assert_eq!(event[name], value, "{name}");
    }
}

#[test]
fn wrong_settings_are_named() {
    use mqttstack_azure_event_grid::{AzureEventGrid, Settings};
    let enriched = |key: &str| json!({"namespaces": [{"topic_spaces_configuration": {"routingEnrichments": {"static": [{"key": key, "value": "v"}]}}}]});
    for (settings, why) in [
        (enriched("Upper"), "lower-case"),
        (enriched("azspx"), "reserved"),
        (enriched("id"), "reserved"),
        (json!({"publish_status": 200}), "202 or 204"),
        (json!({"token_version": 3}), "1 or 2"),
        (json!({"signing_key": "x"}), "azure.signing_key"),
        (json!({"quotas": {"Nothing": 1}}), "no such operation"),
        (json!({"namespaces": []}), "at least one"),
        (
            json!({"namespaces": [{"client_groups": [{"name": "g", "properties": {"query": "x"}}]}]}),
            "query",
        ),
        (
            json!({"namespaces": [{"topic_spaces": [{"name": "s", "properties": {"topicTemplates": ["a/#/b"]}}]}]}),
            "template",
        ),
        (
            json!({"principals": [{"object_id": "o", "client_id": "c", "roles": ["Owner"]}]}),
            "is not a role",
        ),
    ] {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let error = AzureEventGrid::new(settings).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_routed_is_refused_before_anybody_has_it() {
    let none = json!({"auto_create": false, "namespaces": [{"route_topic": "none"}]});
    let full = json!({"max_event_bytes": 100, "namespaces": [{"route_topic": "events"}]});
    for (mut settings, why) in [(none, "was not found"), (full, "occupy")] {
        settings["auth"] = json!("off");
        let bench = routing(settings).await;
        let answer = bench.json(500, publish("t")).await;
        assert_eq!(answer["error"]["code"], "InternalServerError");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert!(bench.app.journal.messages().is_empty());
    }
}

#[tokio::test]
async fn an_mqtt_publish_that_cannot_be_routed_is_told_to_the_journal() {
    let (bench, address) = listening(json!({
        "auth": "lenient",
        "auto_create": false,
        "namespaces": [{"route_topic": "none", "clients": [{"name": "dev1"}]}],
    }))
    .await;
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&connect("dev1", "dev1")).await, 0);
    assert_eq!(client.publish("a/b").await, 0, "the publisher is not told");
    let entry = bench.entry();
    let draft = &entry.outcome().unwrap().draft;
    assert_eq!(draft.operation.as_deref(), Some("RouteMessage"));
    assert_eq!(draft.topic.as_deref(), Some("a/b"));
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    assert_eq!(draft.messages, std::slice::from_ref(&message.id));
    let reasons = draft.reasons.join("\n");
    assert!(
        reasons.ends_with("the routing topic 'none' was not found"),
        "{reasons}"
    );
}
