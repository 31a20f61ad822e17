//! Clients as the broker has them: `DescribeClientList`, `KickOutClient`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::parameters::{Parameters, value};
use super::{Fields, fields, nothing};
use crate::broker::message::{Client, Subscription};
use crate::pipeline::Walk;
use crate::vendor::tencent_tdmq::TencentTdmq;
use crate::vendor::tencent_tdmq::error::{Error, Resource};
use crate::vendor::tencent_tdmq::store::Instance;

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
    let gone = |client: &Client| match client.connected {
        true => None,
        false => vendor.subjects.gone(&client.client_id),
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
        .map(|subscription| {
            let filter = match &subscription.share_group {
                Some(group) => format!("$share/{group}/{}", subscription.topic_filter),
                None => subscription.topic_filter.clone(),
            };
            json!({"TopicFilter": filter, "Qos": subscription.qos})
        })
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
    let client_id = parameters.needed_text("ClientId")?;
    if client_id.len() > usize::from(u16::MAX) {
        return Err(value("ClientId", "it is longer than 65535 bytes"));
    }
    let with_session = parameters.flag("DeleteSession")?.unwrap_or(false);
    let broker = &walk.app.broker;
    let clients = broker.clients().await;
    let found = clients
        .iter()
        .find(|client| client.client_id == client_id && instance.has_client(client))
        .ok_or_else(|| Error::NotFound {
            resource: Resource::Client,
            name: client_id.to_owned(),
        })?;
    if with_session {
        broker.kick(client_id).await;
    } else if found.connected {
        broker.close(client_id, "kicked out by KickOutClient").await;
    }
    Ok(nothing())
}
