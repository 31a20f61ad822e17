//! `mqtt/publish`: one JSON object is one message to one topic or several.
//! Its surprises are NanoMQ's, all captured: `encoding` encodes and `decoding` decodes, odd QoS
//! values count, impossible topics are answered with code 0, and so is a
//! `subscription_identifier`, with which the message is lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::exchange::Surface;
use crate::pipeline::Walk;

use super::super::auth::decode_base64;
use super::super::cjson::{Json, print_number, to_u64};
use super::super::error::{Error, Problem};

/// Who publishes when nobody is named.
const DEFAULT_CLIENT_ID: &str = "NanoMQ-HTTP-Client";

/// Publishes what one object asks for.
pub async fn publish(item: &Json, walk: &mut Walk<'_>) -> Result<(), Error> {
    let text = |key: &str| item.get(key).and_then(Json::text);
    let bad = |why: &str| Error::new(Problem::BadParameters, why);
    let topics = topics_of(item).ok_or_else(|| bad("neither topic nor topics is a string"))?;
    let payload = text("payload").ok_or_else(|| bad("payload is not a string"))?;
    let sent = Publishable {
        payload: coded(payload, text("encoding"), text("decoding")),
        qos: qos_of(item),
        retain: item.get("retain").and_then(Json::bool).unwrap_or(false),
        client_id: lossy(text("clientid").unwrap_or(DEFAULT_CLIENT_ID.as_bytes())),
        properties: item
            .get("properties")
            .filter(|properties| properties.is_object()),
    };
    for topic in topics {
        sent.publish(topic, walk).await?;
    }
    Ok(())
}

/// The topics of an object: `topic`, or else `topics` split at commas, empty ones passed over.
pub fn topics_of(item: &Json) -> Option<Vec<&[u8]>> {
    let text = |key: &str| item.get(key).and_then(Json::text);
    if let Some(topic) = text("topic") {
        return Some(vec![topic]);
    }
    let topics = text("topics")?;
    Some(
        topics
            .split(|byte| *byte == b',')
            .filter(|topic| !topic.is_empty())
            .collect(),
    )
}

struct Publishable<'a> {
    payload: Bytes,
    qos: Qos,
    retain: bool,
    client_id: String,
    properties: Option<&'a Json>,
}

impl Publishable<'_> {
    async fn publish(&self, topic: &[u8], walk: &mut Walk<'_>) -> Result<(), Error> {
        let name = match std::str::from_utf8(topic).map(TopicName::parse) {
            Ok(Ok(name)) => name,
            Ok(Err(why)) => {
                let topic = lossy(topic);
                walk.draft.note(format!(
                    "nobody can receive a message to {topic:?}: {why}; NanoMQ answers code 0 all the same"
                ));
                return Ok(());
            }
            Err(_) => {
                walk.draft
                    .note("the topic is not UTF-8; NanoMQ answers code 0 all the same");
                return Ok(());
            }
        };
        if self.properties.is_some_and(loses_the_message) {
            walk.draft
                .note("with subscription_identifier NanoMQ loses the message and answers code 0");
            return Ok(());
        }
        let publication = Publication {
            topic: name,
            payload: self.payload.clone(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.map(properties_of).unwrap_or_default(),
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Nanomq),
                client_id: Some(self.client_id.clone()),
                request: Some(walk.receipt.id.clone()),
            },
        };
        let published = walk.app.broker.publish(publication).await?;
        walk.draft.published(&published.message);
        Ok(())
    }
}

/// The payload: base64 made of it, or undone; any other word leaves it as it is.
fn coded(payload: &[u8], encoding: Option<&[u8]>, decoding: Option<&[u8]>) -> Bytes {
    if encoding == Some(b"base64") {
        STANDARD.encode(payload).into()
    } else if decoding == Some(b"base64") {
        decode_base64(payload).into()
    } else {
        Bytes::copy_from_slice(payload)
    }
}

/// The QoS, cut to a byte as C does it: what is above 2 reaches every subscriber with the QoS
/// of its own subscription, as QoS 2 does.
fn qos_of(item: &Json) -> Qos {
    let number = item.get("qos").and_then(Json::number).unwrap_or(0.0);
    match to_u64(number) & 0xff {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

fn loses_the_message(properties: &Json) -> bool {
    properties
        .get("subscription_identifier")
        .and_then(Json::number)
        .is_some()
}

/// The MQTT 5 properties; those of another type are passed over.
fn properties_of(json: &Json) -> Properties {
    let text = |key: &str| json.get(key).and_then(Json::text);
    let number = |key: &str| json.get(key).and_then(Json::number).map(to_u64);
    Properties {
        payload_format_indicator: number("payload_format_indicator").map(|flag| flag & 0xff != 0),
        message_expiry_interval: number("message_expiry_interval")
            .map(|seconds| u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or(u32::MAX)),
        response_topic: text("response_topic").map(lossy),
        correlation_data: text("correlation_data").map(Bytes::copy_from_slice),
        content_type: text("content_type").map(lossy),
        user_properties: match json.get("user_properties") {
            Some(Json::Object(members)) => members
                .iter()
                .filter_map(|(name, value)| Some((lossy(name), user_property(value)?)))
                .collect(),
            _ => Vec::new(),
        },
    }
}

/// A user property's value: whole numbers and truth values are written out (documented).
fn user_property(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(lossy(text)),
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(number) if number.fract() == 0.0 => Some(print_number(*number)),
        Json::Number(number) => Some(format!("{number:.6}")),
        _ => None,
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::super::cjson::read;
    use super::*;

    fn json(text: &str) -> Json {
        read::bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn odd_qos_values_are_cut_to_a_byte() {
        for (qos, level) in [
            ("0", 0),
            ("1.9", 1),
            ("2", 2),
            ("3", 2),
            ("-1", 2),
            ("256", 0),
            ("\"1\"", 0),
        ] {
            assert_eq!(
                qos_of(&json(&format!("{{\"qos\":{qos}}}"))).level(),
                level,
                "{qos}"
            );
        }
    }

    #[test]
    fn encoding_encodes_and_decoding_decodes() {
        assert_eq!(
            &coded(b"aGVsbG8=", Some(b"base64"), Some(b"base64"))[..],
            b"YUdWc2JHOD0="
        );
        assert_eq!(
            &coded(b"aGVsbG8=", Some(b"hex"), Some(b"base64"))[..],
            b"hello"
        );
        assert_eq!(&coded(b"***", None, Some(b"base64"))[..], b"");
        assert_eq!(&coded(b"x", Some(b"BASE64"), None)[..], b"x");
    }

    #[test]
    fn topic_wins_over_topics_and_empty_ones_are_passed_over() {
        assert_eq!(
            topics_of(&json(r#"{"topic":"a","topics":"b,c"}"#)),
            Some(vec![&b"a"[..]])
        );
        assert_eq!(
            topics_of(&json(r#"{"topic":5,"topics":",b,,c,"}"#)),
            Some(vec![&b"b"[..], b"c"])
        );
        assert_eq!(topics_of(&json(r#"{"topics":""}"#)), Some(vec![]));
        assert_eq!(topics_of(&json("[]")), None);
    }

    #[test]
    fn properties_of_another_type_are_passed_over() {
        let properties = properties_of(&json(
            r#"{"message_expiry_interval":"5","payload_format_indicator":1,"content_type":"t",
            "user_properties":{"a":"x","b":7,"c":1.5,"d":true,"e":[],"a":"y"}}"#,
        ));
        assert_eq!(properties.message_expiry_interval, None);
        assert_eq!(properties.payload_format_indicator, Some(true));
        let pairs: Vec<String> = properties
            .user_properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(pairs, ["a=x", "b=7", "c=1.500000", "d=true", "a=y"]);
    }
}
