//! Requests that the vendor's SDKs sent, as they were captured (`fixtures/aliyun/recorded`). Their
//! answers are not captured: they are what the tables say.

use std::collections::BTreeMap;

use mqttstack_base::exchange::Surface;
use serde_json::{Value, json};

use super::{Reply, Tables, exchange, recorded};
use crate::exchange::{Code, Exchange, Sent};

/// The values of a query or a form.
fn values(text: &str) -> BTreeMap<String, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value);
        let value = value.decode_utf8().ok()?.into_owned();
        Some((name.to_owned(), value))
    };
    text.split('&').filter_map(pair).collect()
}

/// All of them.
pub(super) fn exchanges(tables: &Tables) -> Vec<Exchange> {
    let mut files: Vec<_> = std::fs::read_dir(recorded())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let recorded: Value = serde_json::from_str(&text).unwrap();
        for vector in recorded["vectors"].as_array().unwrap() {
            all.push(recording(tables, vector));
        }
    }
    assert!(
        all.len() >= 17,
        "{} of {}",
        all.len(),
        Surface::Aliyun.as_str()
    );
    all
}

fn recording(tables: &Tables, vector: &Value) -> Exchange {
    let recorded = &vector["request"];
    let text = |name: &str| recorded[name].as_str().unwrap().to_owned();
    let (query, body) = (text("raw_query"), text("body"));
    let headers: Vec<(String, String)> =
        serde_json::from_value(recorded["headers"].clone()).unwrap();
    let field = |name: &str| {
        let found = headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let mut parameters = values(&query);
    parameters.extend(values(&body));
    let named = |name: &str| parameters.get(name).cloned();
    let by_v3 = field("x-acs-date");
    let at = named("Timestamp").or_else(|| by_v3.clone()).unwrap();
    let action = named("Action").or_else(|| field("x-acs-action")).unwrap();
    let format = match (&by_v3, named("Format")) {
        (None, Some(format)) => format.to_lowercase(),
        _ => "json".to_owned(),
    };
    let clock: jiff::Timestamp = at.parse().unwrap();
    let date = clock.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let reply = |format| Reply {
        date: &date,
        ..Reply::new(format)
    };
    let topic = named("MqttTopic").unwrap_or_default();
    let refused = |format, error: &str| {
        let row = &tables.errors[error];
        (
            reply(format).refused(row, row.status, ""),
            Code::Some,
            vec![],
        )
    };
    let (answer, code, published) = if action != "SendMessage" {
        refused(&format, "ApiNotSupport")
    } else if format == "none" {
        refused("xml", "FormatInvalid")
    } else if topic.contains(['+', '#']) {
        refused(&format, "ParameterCheckFailed")
    } else {
        let payload = named("Payload").unwrap();
        let message = json!({
            "id": "{MsgId}", "topic": topic, "payload": payload, "qos": 1, "retain": false,
        });
        (reply(&format).sent(), Code::None, vec![message])
    };
    let name = vector["name"].as_str().unwrap();
    let request = Sent {
        method: text("method"),
        target: format!("{}?{query}", text("path")),
        headers,
        body: body.into_bytes(),
        ..Sent::default()
    };
    let request = request.without("Content-Length");
    Exchange {
        clock,
        published,
        code,
        ..exchange(format!("{action}__recorded-{name}"), request, answer)
    }
}
