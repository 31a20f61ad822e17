//! Clients as the broker has them: `DescribeClientList`, `KickOutClient`, `DescribeWillMessage`; and
//! what has happened to them: `DescribeClientEvents`.
//!
//! Sources of the last two: models.py of the Python SDK 3.1.195; cloud.tencent.com/document/api/
//! 1778/135213 and 1778/139235 (2026-10-13).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use mqttstack_base::message::{Client, Subscription};
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::parameters::{Parameters, value};
use super::subscriptions::whole_filter;
use super::{Fields, fields, nothing};
use crate::TencentTdmq;
use crate::error::{Error, Resource};
use crate::events::KICKED_OUT;
use crate::store::Instance;

/// The latest first, so that `MaxTimestamp` leads on to the next page (assumed). It is compared
/// with the time of connecting where the client is online, else with that of disconnecting
/// (documented).
pub(super) async fn describe_client_list(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let number = parameters.bounded("Number", 1024, 1..=1024)?;
    let wanted = match parameters.bounded("OnlineStatus", 0, 0..=2)? {
        1 => Some(true),
        2 => Some(false),
        _ => None,
    };
    let client_id = parameters.text("ClientId")?.filter(|id| !id.is_empty());
    let newest = parameters.integer("MaxTimestamp")?.filter(|it| *it > 0);
    let gone = |client: &Client| {
        let at = vendor.subjects.gone(&client.client_id);
        at.filter(|_| !client.connected)
    };
    let last_seen = |client: &Client| {
        gone(client).map_or_else(|| connect_time(client), Timestamp::as_millisecond)
    };
    let mut clients = walk.app.broker.clients().await;
    clients.retain(|client| {
        instance.has_client(client)
            && client_id.is_none_or(|id| id == client.client_id)
            && wanted.is_none_or(|connected| connected == client.connected)
            && newest.is_none_or(|newest| last_seen(client) <= newest)
    });
    clients.sort_by_key(|client| std::cmp::Reverse(last_seen(client)));
    clients.truncate(usize::try_from(number).unwrap_or_default());
    let subscriptions = walk.app.broker.subscriptions().await;
    let list: Vec<Value> = clients
        .iter()
        .map(|client| describe(client, gone(client), &subscriptions))
        .collect();
    Ok(fields(json!({"Clients": list})))
}

fn connect_time(client: &Client) -> i64 {
    client.connected_at.map_or(0, Timestamp::as_millisecond)
}

fn describe(client: &Client, gone: Option<Timestamp>, subscriptions: &[Subscription]) -> Value {
    let own: Vec<Value> = subscriptions
        .iter()
        .filter(|subscription| subscription.client_id == client.client_id)
        .map(|held| json!({"TopicFilter": whole_filter(held), "Qos": held.qos}))
        .collect();
    let address = client.peer.map(|peer| peer.to_string());
    let mut described = json!({
        "ClientId": client.client_id,
        "ClientAddress": address.unwrap_or_default(),
        "ProtocolVersion": client.protocol_version,
        "Keepalive": client.keep_alive,
        "ConnectionStatus": if client.connected { "CONNECTED" } else { "DISCONNECTED" },
        "CreateTime": connect_time(client),
        "ConnectTime": connect_time(client),
        "MQTTClientSubscriptions": own,
        "CleanSession": client.clean_start,
    });
    if let Some(gone) = gone {
        described["DisconnectTime"] = json!(gone.as_millisecond());
    }
    described
}

/// Ends the connection, and with `DeleteSession` the session too. A client that is offline and
/// keeps its session is as it should be (assumed).
pub(super) async fn kick_out_client(
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let client_id = client_id(parameters)?;
    let with_session = parameters.flag("DeleteSession")?.unwrap_or(false);
    let found = find(instance, client_id, walk).await?;
    let broker = &walk.app.broker;
    if with_session {
        broker.kick(client_id).await;
    } else if found.connected {
        broker.close(client_id, KICKED_OUT).await;
    }
    Ok(nothing())
}

/// `ClientId`, which must be there.
pub(super) fn client_id(parameters: &Parameters) -> Result<&str, Error> {
    let client_id = parameters.needed_text("ClientId")?;
    if client_id.len() > usize::from(u16::MAX) {
        return Err(value("ClientId", "it is longer than 65535 bytes"));
    }
    Ok(client_id)
}

/// The client of the instance that has this id and a session.
pub(super) async fn find(
    instance: &Instance,
    client_id: &str,
    walk: &Walk<'_>,
) -> Result<Client, Error> {
    let clients = walk.app.broker.clients().await;
    clients
        .into_iter()
        .find(|client| client.client_id == client_id && instance.has_client(client))
        .ok_or_else(|| Error::NotFound {
            resource: Resource::Client,
            name: client_id.to_owned(),
        })
}

/// The oldest event first (assumed). A client that was never seen has none.
pub(super) fn describe_client_events(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let client_id = client_id(parameters)?;
    let (from, to) = parameters.period()?;
    let events = vendor.history.of(&instance.id, client_id, from, to);
    let events: Vec<Value> = events
        .iter()
        .map(|item| {
            let info = item.info.iter();
            let info: Vec<Value> = info
                .map(|(key, value)| json!({"Key": key, "Value": value}))
                .collect();
            json!({
                "Timestamp": item.at_ms,
                "Event": item.event,
                "ClientId": client_id,
                "Info": info,
            })
        })
        .collect();
    Ok(fields(json!({"Events": events})))
}

/// A client without a will is answered with nothing but the request id: the page has an example of
/// that name, whose answer could not be read (assumed). The delay is 0, whatever was asked for, and
/// `PublishAfter` is left out, since the service lets no will wait (1294/76370); times are those of
/// the CONNECT that brought it.
pub(super) async fn describe_will_message(
    instance: &Instance,
    parameters: &Parameters,
    walk: &Walk<'_>,
) -> Result<Fields, Error> {
    let client_id = client_id(parameters)?;
    let client = find(instance, client_id, walk).await?;
    let Some(will) = client.will.as_ref() else {
        return Ok(nothing());
    };
    let properties = &will.properties;
    let user_properties: Vec<Value> = properties
        .user_properties
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let correlation = properties.correlation_data.as_deref().unwrap_or_default();
    Ok(fields(json!({
        "Topic": will.topic,
        "Qos": will.qos,
        "Retained": will.retain,
        "Payload": BASE64_STANDARD.encode(&will.payload),
        "CreateTime": connect_time(&client),
        "UpdateTime": connect_time(&client),
        "WillDelayInterval": 0,
        "ContentType": properties.content_type.as_deref().unwrap_or_default(),
        "ResponseTopic": properties.response_topic.as_deref().unwrap_or_default(),
        "CorrelationData": BASE64_STANDARD.encode(correlation),
        "MessageExpiryInterval": properties.message_expiry_interval.unwrap_or(0),
        "PayloadFormatIndicator": u8::from(properties.payload_format_indicator == Some(true)),
        "UserProperties": user_properties,
    })))
}
