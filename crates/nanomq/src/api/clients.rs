//! Clients and their subscriptions, as V1 and V4 list them. All of it is the truth of our
//! broker; only the shapes are NanoMQ's.

use mqttstack_base::message::{Client, Subscription};
use mqttstack_broker::Broker;

use super::super::cjson::{Json, until_nul};
use super::super::error::{Error, Problem};

/// The filter as its subscriber wrote it, `$share/group/` included.
pub(crate) fn full_filter(subscription: &Subscription) -> String {
    match &subscription.share_group {
        Some(group) => format!("$share/{group}/{}", subscription.topic_filter),
        None => subscription.topic_filter.clone(),
    }
}

/// The clients that V1 knows: connected, with at least one subscription.
pub(crate) async fn known_to_v1(broker: &Broker) -> Vec<Client> {
    let mut clients = broker.clients().await;
    clients.retain(|client| client.connected && client.subscriptions > 0);
    clients
}

/// The `data` of request 4.
pub(crate) async fn subscriptions_v1(broker: &Broker) -> Json {
    let subscriptions = broker.subscriptions().await;
    let of_client = |client: Client| {
        let rows = subscriptions
            .iter()
            .filter(|subscription| subscription.client_id == client.client_id)
            .map(|subscription| {
                Json::object([
                    ("topic", full_filter(subscription).into()),
                    ("qos", u16::from(subscription.qos.level()).into()),
                ])
            });
        let rows = Json::Array(rows.collect());
        Json::object([
            ("client_id", client.client_id.into()),
            ("subscriptions", rows),
        ])
    };
    Json::Array(
        known_to_v1(broker)
            .await
            .into_iter()
            .map(of_client)
            .collect(),
    )
}

/// The `data` of request 5.
pub(crate) async fn clients_v1(broker: &Broker) -> Json {
    let shown = |client: Client| {
        Json::object([
            ("client_id", client.client_id.into()),
            ("username", client.username.unwrap_or_default().into()),
            ("keepalive", client.keep_alive.into()),
            ("protocol", u16::from(client.protocol_version).into()),
            ("connect_status", Json::from(1_u16)),
            ("message_receive", client.messages_out.into()),
        ])
    };
    Json::Array(known_to_v1(broker).await.into_iter().map(shown).collect())
}

/// What `GET /clients` is narrowed to. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    client_id: Option<String>,
    username: Option<String>,
    connected: Option<bool>,
    clean_start: Option<bool>,
    protocol_name: Option<String>,
    protocol_version: Option<u8>,
}

impl Filters {
    /// The filters of a query: NanoMQ takes a query of less than three characters for none,
    /// passes over pieces without a key or a value, and ends a value at white space. The words of
    /// `conn_state` and `clean_start` count in any case, and any text is a `proto_name` (measured
    /// on 0.25.5, November 2026; that its case counts is assumed).
    pub(crate) fn parse(query: &str) -> Result<Self, Error> {
        let mut filters = Self::default();
        if query.len() < 3 {
            return Ok(filters);
        }
        for piece in query.split('&') {
            let Some((key, value)) = piece.split_once('=') else {
                continue;
            };
            let value = value.split_ascii_whitespace().next().unwrap_or("");
            if !key.is_empty() && !value.is_empty() {
                filters.add(key, value)?;
            }
        }
        Ok(filters)
    }

    /// The one client of this id.
    #[must_use]
    pub(crate) fn of_client(mut self, client_id: &str) -> Self {
        self.client_id = Some(client_id.to_owned());
        self
    }

    /// The clients of this user.
    #[must_use]
    pub(crate) fn of_user(mut self, username: &str) -> Self {
        self.username = Some(username.to_owned());
        self
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let bad = || {
            let why = format!("the filter {key:?} is unknown, or its value {value:?} is");
            Error::new(Problem::BadFilter, why)
        };
        match key {
            "client_id" | "clientid" => self.client_id = Some(value.to_owned()),
            "username" => self.username = Some(value.to_owned()),
            "conn_state" => {
                let connected = either(value, ["connected", "disconnected"]);
                self.connected = Some(connected.ok_or_else(bad)?);
            }
            "clean_start" => {
                self.clean_start = Some(either(value, ["true", "false"]).ok_or_else(bad)?);
            }
            "proto_name" => self.protocol_name = Some(value.to_owned()),
            "proto_ver" => match value {
                "3" | "4" | "5" => self.protocol_version = value.parse().ok(),
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        }
        Ok(())
    }

    fn let_through(&self, client: &Client) -> bool {
        let is = |wanted: &Option<String>, given: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == given)
        };
        is(&self.client_id, &client.client_id)
            && is(&self.protocol_name, protocol_name(client))
            && (self.username.is_none() || self.username == client.username)
            && self
                .connected
                .is_none_or(|wanted| wanted == client.connected)
            && self
                .clean_start
                .is_none_or(|wanted| wanted == client.clean_start)
            && self
                .protocol_version
                .is_none_or(|wanted| wanted == client.protocol_version)
    }
}

/// Which of two words it is, in any case: whether it is the first.
fn either(value: &str, words: [&str; 2]) -> Option<bool> {
    words
        .iter()
        .position(|word| word.eq_ignore_ascii_case(value))
        .map(|place| place == 0)
}

/// The protocol name of a CONNECT of this version.
fn protocol_name(client: &Client) -> &'static str {
    if client.protocol_version == 3 {
        "MQIsdp"
    } else {
        "MQTT"
    }
}

/// The `data` of V4's clients.
pub(crate) async fn clients_v4(broker: &Broker, filters: &Filters) -> Json {
    let clients = broker.clients().await;
    let shown = clients
        .into_iter()
        .filter(|client| filters.let_through(client))
        .map(shown_by_v4);
    Json::Array(shown.collect())
}

fn shown_by_v4(client: Client) -> Json {
    let state = if client.connected {
        "connected"
    } else {
        "disconnected"
    };
    let protocol_name = protocol_name(&client);
    let mut members = vec![
        ("client_id", Json::from(client.client_id)),
        ("username", client.username.unwrap_or_default().into()),
        ("keepalive", client.keep_alive.into()),
        ("conn_state", state.into()),
        ("clean_start", client.clean_start.into()),
        ("proto_name", protocol_name.into()),
        ("proto_ver", u16::from(client.protocol_version).into()),
    ];
    if let Some(will) = client.will {
        members.push(("will_topic", will.topic.into()));
        members.push(("will_msg", Json::Text(until_nul(&will.payload).to_vec())));
    }
    Json::object(members)
}

/// The `data` of V4's subscriptions, one row each.
pub(crate) async fn subscriptions_v4(broker: &Broker, client_id: Option<&str>) -> Json {
    let subscriptions = broker.subscriptions().await;
    let rows = subscriptions
        .iter()
        .filter(|subscription| client_id.is_none_or(|id| id == subscription.client_id))
        .map(|subscription| {
            Json::object([
                ("clientid", Json::from(&*subscription.client_id)),
                ("topic", full_filter(subscription).into()),
                ("qos", u16::from(subscription.qos.level()).into()),
            ])
        });
    Json::Array(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_filters_and_bad_values_are_refused() {
        for bad in [
            "conn_state=bogus",
            "proto_ver=9",
            "foo=bar",
            "clean_start=maybe",
            "username=a&page=1",
        ] {
            assert!(Filters::parse(bad).is_err(), "{bad}");
        }
        for good in [
            "",
            "x",
            "abc",
            "username=",
            "=abc",
            "conn_state=connected&proto_ver=4",
            "conn_state=Disconnected&clean_start=TRUE",
            "proto_name=bogus&clean_start=False",
        ] {
            assert!(Filters::parse(good).is_ok(), "{good}");
        }
    }
}
