//! Requests of the vendor's SDKs and signatures of its pages (`fixtures/tencent-iot/recorded`,
//! `fixtures/tencent-tc3`). Their answers are not captured: they are what the tables say.

use serde_json::{Map, Value, json};

use super::{Errors, Gateway, PRODUCT_SECRET, PSK, config, error, exchange, response};
use crate::exchange::{Code, Exchange, Sent};
use crate::sign::base64;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |all| &all[..])
}

/// All of them.
pub(super) fn exchanges(errors: &Errors) -> Vec<Exchange> {
    let read = |name: &str| -> Value { serde_json::from_str(&crate::fixture(name)).unwrap() };
    let hmac = read("tencent-iot/recorded/tencent-iothub-publish-hmac.json");
    let rsa = read("tencent-iot/recorded/tencent-iothub-publish-rsa.json");
    let mut all: Vec<Exchange> = list(&hmac["cases"])
        .iter()
        .map(|case| publish(case, &text(&case["name"])))
        .collect();
    all.push(publish(&rsa["cases"][0], "rsa-sha256"));
    for (name, mistake) in [
        ("key-base64-decoded", "base64-decoded first"),
        ("hex-instead-of-base64", "hexadecimal text of the digest"),
        ("trailing-newline", "ends with a line feed"),
    ] {
        let case = list(&hmac["negative"])
            .iter()
            .find(|case| case["name"] == name);
        let call = Gateway {
            signature: case.map(|case| text(&case["wrong_signature"])),
            ..Gateway::default()
        };
        let answer = error(errors, "Signature", &[]);
        let case = format!("publish__recorded-wrong-{name}");
        all.push(Exchange {
            reason: Some(mistake.to_owned()),
            ..exchange(case, call.sent(), answer, Code::Some)
        });
    }
    let cloud = read("tencent-tc3/cloudapi.json");
    all.extend(list(&cloud["cases"]).iter().enumerate().filter_map(message));
    assert!(all.len() >= 9, "only {} recordings", all.len());
    all
}

fn published(fields: &Value, topic: &str) -> Vec<Value> {
    let payload = text(&fields["Payload"]);
    let payload = match fields.get("PayloadEncoding") {
        Some(_) => payload,
        None => base64(payload.as_bytes()),
    };
    vec![json!({
        "topic": fields[topic], "payload_base64": payload, "qos": fields["Qos"],
    })]
}

/// A device's publish.
fn publish(case: &Value, name: &str) -> Exchange {
    let call = Gateway {
        path: Some(text(&case["path"])),
        body: Some(text(&case["body"])),
        algorithm: Some(text(&case["x_tc_algorithm"])),
        spelling: case["header_value"].as_str().map(str::to_owned),
        timestamp: Some(text(&case["x_tc_timestamp"])),
        nonce: Some(text(&case["x_tc_nonce"])),
        signature: Some(text(&case["x_tc_signature"])),
        header_host: Some(text(match &case["host_header_sent"] {
            Value::Null => &case["signed_host"],
            sent => sent,
        })),
        ..Gateway::default()
    };
    if case["path"] == "/device/register" {
        return register(&call, name);
    }
    let fields: Value = serde_json::from_str(&text(&case["body"])).unwrap();
    let answer = response(Map::new());
    Exchange {
        published: published(&fields, "TopicName"),
        ..exchange(
            format!("publish__recorded-{name}"),
            call.sent(),
            answer,
            Code::None,
        )
    }
}

/// The vendor page's example of a registration; the key is sealed with openssl (AES-128-CBC).
fn register(call: &Gateway, name: &str) -> Exchange {
    let known = json!({"products": [{
        "id": "PRODUCT_ID1", "secret": PRODUCT_SECRET, "dynamic_registration": 1,
        "devices": [{"name": "DEVICENAME1", "psk": PSK}],
    }]});
    let sealed =
        "24zE7aLQGAk3G6X9zKYrtIHJlWfjCiHvvRYM9cm6N4Nm0VYxsXzNwI5ec0IPlEzTEqpZHgl6ZiSwTpIDJ6y45Q==";
    let fields = json!({"Len": 53, "Payload": sealed, "State": 1});
    let fields = fields.as_object().cloned().unwrap_or_default();
    let name = format!("register__recorded-{name}");
    Exchange {
        config: config(&known, &Value::Null),
        clock: "2021-08-19T08:43:09Z".parse().unwrap(),
        ..exchange(name, call.sent(), response(fields), Code::None)
    }
}

/// `PublishMessage` of the cloud API.
fn message((place, case): (usize, &Value)) -> Option<Exchange> {
    let headers = case["headers"].as_object()?;
    let to_iot_hub = text(&headers["Authorization"]).contains("/iotcloud/");
    if !to_iot_hub || headers["X-TC-Action"] != "PublishMessage" {
        return None;
    }
    let body = text(&case["body"]);
    let fields: Value = serde_json::from_str(&body).ok()?;
    let sent = Sent {
        method: "POST".to_owned(),
        target: "/".to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        body: body.into_bytes(),
        ..Sent::default()
    };
    let answer = response(Map::new());
    Some(Exchange {
        published: published(&fields, "Topic"),
        ..exchange(
            format!("PublishMessage__recorded-{place}"),
            sent.without("Content-Length"),
            answer,
            Code::None,
        )
    })
}
