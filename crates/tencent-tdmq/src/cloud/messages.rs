//! Messages: `PublishMessage`, and what the instance has kept of its own and of open clients':
//! `DescribeMessageList`, `DescribeMessageByTopic`, `DescribeMessageDetails`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{
    Message, Origin, OriginKind, Properties, Publication, Qos, TopicFilter, TopicName,
};
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::condition::Condition;
use super::parameters::{Parameters, value};
use super::{Fields, fields, nothing};
use crate::error::{Error, Resource};
use crate::store::Instance;
use crate::{TencentTdmq, api};

/// The first level of the topic on which `TargetClientId` gets its message. The page on
/// point-to-point topics has `{first level}/p2p/{client id}` and does not say which first level
/// the cloud API takes (assumed).
const POINT_TO_POINT_FIRST_LEVEL: &str = "mqtt";
/// `ProduceTime` is civil time; the console shows China's (assumed).
const CHINA: Offset = Offset::constant(8);

/// Publishes as the cloud, past the authorization policies (assumed: they are about MQTT
/// clients).
pub(super) async fn publish_message(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let topic = topic(vendor, parameters)?;
    let payload = payload(parameters)?;
    api::check_payload(payload.len(), vendor.settings.max_payload_bytes)?;
    let qos = match parameters.bounded("Qos", 1, 0..=2)? {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    };
    let retain = parameters.flag("Retain")?.unwrap_or(false);
    if retain && parameters.text("TargetClientId")?.is_some() {
        return Err(value(
            "Retain",
            "only a message to a topic can be retained, not one to a client",
        ));
    }
    let publication = Publication {
        topic,
        payload,
        qos,
        retain,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: Some(Surface::TencentTdmq),
            client_id: None,
            request: Some(walk.receipt.id.clone()),
        },
    };
    api::send(vendor, instance, publication, walk).await?;
    Ok(nothing())
}

fn topic(vendor: &TencentTdmq, parameters: &Parameters) -> Result<TopicName, Error> {
    let topic = parameters.text("TargetTopic")?.filter(|it| !it.is_empty());
    let client = parameters
        .text("TargetClientId")?
        .filter(|it| !it.is_empty());
    let (name, text) = match (topic, client) {
        (Some(topic), None) => ("TargetTopic", topic.to_owned()),
        (None, Some(client)) => (
            "TargetClientId",
            format!("{POINT_TO_POINT_FIRST_LEVEL}/p2p/{client}"),
        ),
        (None, None) => return Err(Error::Missing("TargetTopic")),
        (Some(_), Some(_)) => {
            return Err(value(
                "TargetClientId",
                "only one of TargetTopic and TargetClientId can be given",
            ));
        }
    };
    let topic = TopicName::parse(text).map_err(|error| value(name, error.to_string()))?;
    api::check_topic_name(topic.as_str(), vendor.settings.max_topic_bytes)
        .map_err(|error| value(name, error.to_string()))?;
    Ok(topic)
}

fn payload(parameters: &Parameters) -> Result<Bytes, Error> {
    let payload = parameters
        .text("Payload")?
        .ok_or(Error::Missing("Payload"))?;
    match parameters.text("Encoding")?.unwrap_or("plain") {
        "" | "plain" => Ok(Bytes::from(payload.to_owned())),
        "base64" => BASE64_STANDARD
            .decode(payload)
            .map(Bytes::from)
            .map_err(|_| value("Payload", "it is not Base64")),
        other => Err(value(
            "Encoding",
            format!("{other:?} is neither plain nor base64"),
        )),
    }
}

fn civil_time(time: Timestamp) -> String {
    let time = time.to_zoned(TimeZone::fixed(CHINA));
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

pub(super) fn describe_message_list(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let topic = parameters.needed_text("Topic")?;
    if topic.contains('/') {
        return Err(value("Topic", "only the first level is asked for"));
    }
    let (from, to) = parameters.period()?;
    let task = parameters
        .text("TaskRequestId")?
        .filter(|it| !it.is_empty());
    let page = parameters.page(50)?;
    let mut found = vendor.store.newest_first(instance);
    found.retain(|message| {
        (from..=to).contains(&message.time.as_millisecond())
            && message.topic.split('/').next() == Some(topic)
    });
    let total = found.len();
    let data: Vec<Value> = page.of(found).iter().map(|it| list_item(it)).collect();
    let task = task.map_or_else(|| walk.receipt.id.to_ascii_lowercase(), str::to_owned);
    Ok(fields(json!({
        "TotalCount": total,
        "Data": data,
        "TaskRequestId": task,
    })))
}

fn list_item(message: &Message) -> Value {
    let sub_topic = message.topic.split_once('/').map_or("", |(_, rest)| rest);
    json!({
        "MsgId": message.id,
        "Tags": "",
        "Keys": "",
        "ProducerAddr": message.origin.client_id.as_deref().unwrap_or_default(),
        "ProduceTime": civil_time(message.time),
        "DeadLetterResendTimes": 0,
        "DeadLetterResendSuccessTimes": 0,
        "SubTopic": sub_topic,
        "Qos": message.qos.level().to_string(),
    })
}

/// `FilterExpression`, in Base64. What this emulator does not evaluate is refused, not passed over.
fn condition(parameters: &Parameters) -> Result<Option<Condition>, Error> {
    const NAME: &str = "FilterExpression";
    let Some(encoded) = parameters.text(NAME)?.filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let text = BASE64_STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| value(NAME, "it is not Base64 of a text"))?;
    Condition::parse(&text).map(Some).map_err(Error::Condition)
}

/// `DescribeMessageByTopic`: `Topic` is a topic name or filter. A condition may be costly, so it is
/// evaluated beside the
/// serving threads, and within the bounds of a search of the journal.
pub(super) async fn describe_message_by_topic(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let topic = parameters.needed_text("Topic")?;
    let filter = TopicFilter::parse(topic).map_err(|error| value("Topic", error.to_string()))?;
    let from = parameters.needed_integer("StartTime")?;
    let number = parameters.bounded("MaxNumber", 100, 1..=1024)?;
    let number = usize::try_from(number).unwrap_or_default();
    let condition = condition(parameters)?;
    let messages = vendor.store.newest_first(instance);
    let found = walk.app.journal.reading().look(move |looking| {
        let mut found = Vec::new();
        for message in messages {
            if found.len() == number {
                break;
            }
            let asked = message.time.as_millisecond() >= from && filter.matches(&message.topic);
            let met = match &condition {
                Some(condition) if asked => condition.is_met_by(&message.payload, looking)?,
                _ => asked,
            };
            if met {
                found.push(message);
            }
        }
        Ok(found)
    });
    let found = found
        .await
        .map_err(|halt| Error::Condition(halt.to_string()))?;
    let data: Vec<Value> = found
        .iter()
        .map(|message| {
            json!({
                "MessageId": message.id,
                "ClientId": message.origin.client_id.as_deref().unwrap_or_default(),
                "Qos": message.qos.level().to_string(),
                "StoreTimestamp": message.time.as_millisecond(),
                "OriginTopic": message.topic,
            })
        })
        .collect();
    Ok(fields(json!({"Data": data})))
}

pub(super) fn describe_message_details(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let id = parameters.needed_text("MessageId")?;
    let message = vendor
        .store
        .newest_first(instance)
        .into_iter()
        .find(|message| message.id == id)
        .ok_or_else(|| Error::NotFound {
            resource: Resource::Message,
            name: id.to_owned(),
        })?;
    Ok(fields(details(&message)))
}

fn details(message: &Message) -> Value {
    let properties = &message.properties;
    let user_properties: Vec<Value> = properties
        .user_properties
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let correlation = properties.correlation_data.as_deref().map(text_or_base64);
    json!({
        "Body": text_or_base64(&message.payload),
        "UserProperties": user_properties,
        "StoreTimestamp": message.time.as_millisecond(),
        "MessageId": message.id,
        "ClientId": message.origin.client_id.as_deref().unwrap_or_default(),
        "Qos": message.qos.level().to_string(),
        "OriginTopic": message.topic,
        "ContentType": properties.content_type.as_deref().unwrap_or_default(),
        "PayloadFormatIndicator": u8::from(properties.payload_format_indicator == Some(true)),
        "MessageExpiryInterval": properties.message_expiry_interval.unwrap_or(0),
        "ResponseTopic": properties.response_topic.as_deref().unwrap_or_default(),
        "CorrelationData": correlation.unwrap_or_default(),
        "SubscriptionIdentifier": "",
        "Retain": message.retain,
    })
}

/// JSON holds text only; bytes that are none are shown in Base64 (assumed).
fn text_or_base64(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| BASE64_STANDARD.encode(bytes), str::to_owned)
}
