//! Events of a namespace about its clients and their sessions (mqtt-client-life-cycle-events
//! page). The vendor sends them through a system topic; here the namespace names a topic of its
//! own.

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use mqttstack_broker::Ending;
use serde_json::{Value, json};

use crate::model::resource::Resource;
use crate::model::resources::{ClientProperties, Namespace};

/// A session that began or ended.
#[derive(Debug)]
pub(crate) struct SessionChange<'a> {
    /// The client's authentication name.
    pub authentication_name: &'a str,
    /// The session's name: the MQTT client id.
    pub session_name: &'a str,
    /// The same for the pair of events of one connection, one more for the next.
    pub sequence: u64,
    /// Why it ended; `None` for a beginning.
    pub ended: Option<&'static str>,
}

impl SessionChange<'_> {
    /// The `CloudEvent`.
    pub(crate) fn event(&self, namespace: &Namespace, now: Timestamp, ids: &Ids) -> Value {
        let kind = if self.ended.is_some() {
            "Disconnected"
        } else {
            "Connected"
        };
        let mut data = json!({
            "namespaceName": namespace.name,
            "clientAuthenticationName": self.authentication_name,
            "clientSessionName": self.session_name,
            "sequenceNumber": self.sequence,
        });
        if let Some(reason) = self.ended {
            data["disconnectionReason"] = json!(reason);
        }
        json!({
            "specversion": "1.0",
            "id": ids.uuid().to_string(),
            "time": now.to_string(),
            "type": format!("Microsoft.EventGrid.MQTTClientSession{kind}"),
            "source": source(namespace),
            "subject": format!("clients/{}/sessions/{}", self.authentication_name, self.session_name),
            "data": data,
        })
    }
}

/// A client resource that was put or removed.
#[derive(Debug)]
pub(crate) struct ClientChange<'a> {
    /// The client as it is now, or as it was.
    pub client: &'a Resource<ClientProperties>,
    /// When it was first put.
    pub created: Timestamp,
    /// Whether it was removed.
    pub removed: bool,
}

impl ClientChange<'_> {
    /// The `CloudEvent`.
    pub(crate) fn event(&self, namespace: &Namespace, now: Timestamp, ids: &Ids) -> Value {
        let name = self.client.short_name();
        let properties = &self.client.properties;
        let authentication_name = match properties.authentication_name.as_str() {
            "" => name,
            other => other,
        };
        let mut data = json!({
            "namespaceName": namespace.name,
            "clientName": name,
            "clientAuthenticationName": authentication_name,
        });
        let kind = if self.removed {
            "MQTTClientDeleted"
        } else {
            let state = match properties.state.as_str() {
                "" => "Enabled",
                other => other,
            };
            data["state"] = json!(state);
            data["attributes"] = json!(properties.attributes);
            data["createdOn"] = json!(self.created.to_string());
            data["updatedOn"] = json!(now.to_string());
            "MQTTClientCreatedOrUpdated"
        };
        json!({
            "specversion": "1.0",
            "id": ids.uuid().to_string(),
            "time": now.to_string(),
            "type": format!("Microsoft.EventGrid.{kind}"),
            "source": source(namespace),
            "subject": format!("clients/{name}"),
            "data": data,
        })
    }
}

/// The resource id of the namespace, in a subscription and group of zeros.
fn source(namespace: &Namespace) -> String {
    format!(
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/mqttstack/providers/Microsoft.EventGrid/namespaces/{}",
        namespace.name
    )
}

/// `disconnectionReason` for the end of a connection.
pub(crate) fn reason(ending: &Ending) -> &'static str {
    match ending {
        Ending::Disconnected { .. } => "ClientInitiatedDisconnect",
        Ending::ConnectionLost | Ending::KeepAliveTimeout | Ending::Stalled => "ConnectionLost",
        Ending::TakenOver => "SessionTakenOver",
        Ending::Kicked | Ending::Stopped => "ServerInitiatedDisconnect",
        Ending::QueueOverflow => "SessionOverflow",
        Ending::Closed { .. } | Ending::Refused { .. } => "ClientError",
    }
}
