//! `mqtt/publish`: one JSON object is one message to one topic or several.
//! Its surprises are NanoMQ's, all captured: `encoding` encodes and `decoding` decodes, odd QoS
//! values count, and impossible topics are answered with code 0. So are properties that a PUBLISH
//! of a client may not have ([`lost_for`]): the API hands the message to the broker as a PUBLISH,
//! which the broker drops as malformed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{
    MAX_TOPIC_BYTES, Origin, OriginKind, Properties, Publication, Qos, TopicName,
};
use mqttstack_pipeline::Walk;

use super::super::auth::decode_base64;
use super::super::cjson::{Json, general, to_u64};
use super::super::error::{Error, Problem};

/// Who publishes when nobody is named.
const DEFAULT_CLIENT_ID: &str = "NanoMQ-HTTP-Client";

/// Publishes what one object asks for.
pub(crate) async fn publish(item: &Json, walk: &mut Walk<'_>) -> Result<(), Error> {
    let text = |key: &str| item.get(key).and_then(Json::text);
    let bad = |why: &str| Error::new(Problem::BadParameters, why);
    let topics = topics_of(item).ok_or_else(|| bad("neither topic nor topics is a string"))?;
    let payload = text("payload").ok_or_else(|| bad("payload is not a string"))?;
    let properties = item
        .get("properties")
        .filter(|properties| properties.is_object());
    if let Some(properties) = properties {
        // Measured, November 2026: array, string and null; the other types alike.
        if properties
            .get("user_properties")
            .is_some_and(|given| !given.is_object())
        {
            return Err(bad("properties.user_properties is not an object"));
        }
        if let Some(why) = lost_for(properties) {
            walk.draft.note(format!(
                "nobody receives it, {why}; NanoMQ answers code 0 all the same"
            ));
            return Ok(());
        }
    }
    let sent = Publishable {
        payload: coded(payload, text("encoding"), text("decoding")),
        qos: qos_of(item),
        retain: item.get("retain").and_then(Json::bool).unwrap_or(false),
        client_id: lossy(text("clientid").unwrap_or(DEFAULT_CLIENT_ID.as_bytes())),
        properties: properties.map(properties_of).unwrap_or_default(),
    };
    for topic in topics {
        sent.publish(topic, walk).await?;
    }
    Ok(())
}

/// The topics of an object: `topic`, or else `topics` split at commas, empty ones passed over.
pub(crate) fn topics_of(item: &Json) -> Option<Vec<&[u8]>> {
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

struct Publishable {
    payload: Bytes,
    qos: Qos,
    retain: bool,
    client_id: String,
    properties: Properties,
}

impl Publishable {
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
        let publication = Publication {
            topic: name,
            payload: self.payload.clone(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.clone(),
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

/// Why NanoMQ's broker drops a message with these properties, if it does.
fn lost_for(properties: &Json) -> Option<&'static str> {
    let text = |key: &str| properties.get(key).and_then(Json::text);
    // Captured: only a server sends it.
    if number_of(properties, "subscription_identifier").is_some() {
        return Some("a PUBLISH with a subscription_identifier is only a server's");
    }
    // Measured with 2 and with `a/#`, November 2026; that the number is cut to a byte first is
    // assumed, as everywhere in C.
    if format_of(properties).is_some_and(|flag| flag > 1) {
        return Some("payload_format_indicator is neither 0 nor 1");
    }
    if text("response_topic").is_some_and(|topic| topic.iter().any(|b| matches!(b, b'+' | b'#'))) {
        return Some("response_topic has a wildcard");
    }
    // Assumed: MQTT cannot carry them (MQTT 5.0 sections 1.5.4 and 1.5.6).
    let members = match properties.get("user_properties") {
        Some(Json::Object(members)) => &members[..],
        _ => &[],
    };
    let user = members.iter().flat_map(|(name, value)| {
        let value = value.text().unwrap_or_default();
        [&name[..], value]
    });
    let texts = [text("response_topic"), text("content_type")];
    let mut texts = texts.into_iter().flatten().chain(user);
    if texts.any(|text| text.len() > MAX_TOPIC_BYTES || std::str::from_utf8(text).is_err()) {
        return Some("a property is longer than 65535 bytes or not UTF-8");
    }
    text("correlation_data")
        .is_some_and(|data| data.len() > MAX_TOPIC_BYTES)
        .then_some("correlation_data is longer than 65535 bytes")
}

fn number_of(properties: &Json, key: &str) -> Option<u64> {
    properties.get(key).and_then(Json::number).map(to_u64)
}

/// The payload format indicator, cut to a byte.
fn format_of(properties: &Json) -> Option<u64> {
    number_of(properties, "payload_format_indicator").map(|flag| flag & 0xff)
}

/// The MQTT 5 properties; those of another type are passed over. An expiry of 0 is one (measured,
/// November 2026).
fn properties_of(json: &Json) -> Properties {
    let text = |key: &str| json.get(key).and_then(Json::text);
    Properties {
        payload_format_indicator: format_of(json).map(|flag| flag != 0),
        message_expiry_interval: number_of(json, "message_expiry_interval")
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

/// A user property's value: numbers are written as C's `%.17g` (measured, November 2026), truth
/// values as their words.
fn user_property(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(lossy(text)),
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(number) => Some(general(*number, 17)),
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
        assert_eq!(pairs, ["a=x", "b=7", "c=1.5", "d=true", "a=y"]);
    }

    #[test]
    fn an_expiry_of_0_is_one() {
        let expiry = |text: &str| properties_of(&json(text)).message_expiry_interval;
        assert_eq!(expiry(r#"{"message_expiry_interval":0}"#), Some(0));
        assert_eq!(expiry(r#"{"message_expiry_interval":0.9}"#), Some(0));
        assert_eq!(expiry(r#"{"message_expiry_interval":null}"#), None);
    }

    #[test]
    fn numbers_of_user_properties_have_17_digits_at_most() {
        for (number, text) in [
            ("10010", "10010"),
            ("1.50", "1.5"),
            ("0.1", "0.10000000000000001"),
            ("-0", "-0"),
            ("3e2", "300"),
            ("1e16", "10000000000000000"),
            ("1e17", "1e+17"),
            ("0.00001", "1.0000000000000001e-05"),
            ("123456789012345678", "1.2345678901234568e+17"),
            ("1e999", "inf"),
        ] {
            assert_eq!(
                user_property(&json(number)).as_deref(),
                Some(text),
                "{number}"
            );
        }
    }

    #[test]
    fn properties_that_a_clients_publish_may_not_have_lose_it() {
        let long = "x".repeat(65_536);
        for lost in [
            r#"{"subscription_identifier":1}"#,
            r#"{"payload_format_indicator":2}"#,
            r#"{"Payload_Format_Indicator":255}"#,
            r#"{"payload_format_indicator":-1}"#,
            r#"{"response_topic":"a/#"}"#,
            r#"{"response_topic":"+/b"}"#,
            &format!(r#"{{"content_type":"{long}"}}"#),
            &format!(r#"{{"correlation_data":"{long}"}}"#),
            &format!(r#"{{"user_properties":{{"{long}":1}}}}"#),
            &format!(r#"{{"user_properties":{{"a":"{long}"}}}}"#),
        ] {
            assert!(lost_for(&json(lost)).is_some(), "{lost:.60}");
        }
        let invalid = read::bytes(b"{\"content_type\":\"\xff\"}").unwrap();
        assert!(lost_for(&invalid).is_some());
        for kept in [
            "{}",
            r#"{"payload_format_indicator":0,"response_topic":"a/b","topic_alias":3}"#,
            r##"{"payload_format_indicator":1.9,"response_topic":["#"]}"##,
            r#"{"payload_format_indicator":"2","subscription_identifier":"1"}"#,
            r#"{"payload_format_indicator":256,"message_expiry_interval":0}"#,
            r#"{"user_properties":{"a+":"b#"},"content_type":"a/#"}"#,
        ] {
            assert_eq!(lost_for(&json(kept)), None, "{kept}");
        }
    }
}
