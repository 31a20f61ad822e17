//! V4's paths: which operation a method and a path name. Source: `rest_api.c`, the recordings.

use super::control::Action;
use super::subscribe::Change;

/// What V4 can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The list of endpoints.
    Endpoints,
    /// The one broker.
    Brokers,
    /// The one node.
    Nodes,
    /// Clients, of an id or of a user.
    Clients {
        /// `/clients/{id}`
        id: Option<String>,
        /// `/clients/username/{name}`
        username: Option<String>,
    },
    /// Subscriptions, of a client.
    Subscriptions(Option<String>),
    /// The topic tree.
    TopicTree,
    /// Metrics.
    Metrics,
    /// Metrics for Prometheus.
    Prometheus,
    /// What can be changed while running.
    GetReload,
    /// Changes that.
    SetReload,
    /// A part of the configuration, or all.
    GetConfiguration(Option<String>),
    /// Changes a part of the configuration, or any.
    SetConfiguration(Option<String>),
    /// Replaces the configuration file.
    ConfigUpdate,
    /// Bridges.
    GetBridges,
    /// Changes a bridge.
    SetBridge,
    /// Subscribes or unsubscribes a bridge; the member of `data` that lists the topics.
    BridgeTopics(&'static str),
    /// Switches a bridge on or off.
    SwitchBridge,
    /// Rules, to be looked at.
    GetRules,
    /// Rules, to be changed; whether there is a body.
    SetRules(bool),
    /// Publishes a message.
    Publish,
    /// Publishes several.
    PublishBatch,
    /// Subscribes or unsubscribes a client; whether several.
    ChangeSubscriptions(Change, bool),
    /// Stops or restarts; `None` for another word.
    Ctrl(Option<Action>),
    /// Ends a client's connection.
    Kick(String),
}

impl Operation {
    /// Its name in the journal.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Brokers => "brokers",
            Self::Nodes => "nodes",
            Self::Clients { .. } => "clients",
            Self::Subscriptions(_) => "subscriptions",
            Self::TopicTree => "topic_tree",
            Self::Metrics => "metrics",
            Self::Prometheus => "prometheus",
            Self::GetReload => "get_reload",
            Self::SetReload => "set_reload",
            Self::GetConfiguration(_) => "get_configuration",
            Self::SetConfiguration(_) => "set_configuration",
            Self::ConfigUpdate => "config_update",
            Self::GetBridges => "get_bridges",
            Self::SetBridge => "set_bridge",
            Self::BridgeTopics(_) => "bridge_topics",
            Self::SwitchBridge => "switch_bridge",
            Self::GetRules => "get_rules",
            Self::SetRules(_) => "set_rules",
            Self::Publish => "publish",
            Self::PublishBatch => "publish_batch",
            Self::ChangeSubscriptions(Change::Subscribe, false) => "subscribe",
            Self::ChangeSubscriptions(Change::Subscribe, true) => "subscribe_batch",
            Self::ChangeSubscriptions(Change::Unsubscribe, false) => "unsubscribe",
            Self::ChangeSubscriptions(Change::Unsubscribe, true) => "unsubscribe_batch",
            Self::Ctrl(_) => "ctrl",
            Self::Kick(_) => "kick",
        }
    }
}

/// The four methods that V4 knows, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// The method from its name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [
            ("GET", Self::Get),
            ("POST", Self::Post),
            ("PUT", Self::Put),
            ("DELETE", Self::Delete),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, method)| method)
    }
}

/// The operation of a method and what follows `/api/v4` in the target, query included; `None`
/// where there is none. A slash at the end does not matter.
pub(crate) fn operation(method: Method, rest: &str) -> Option<Operation> {
    if matches!(rest, "" | "/") {
        return (method == Method::Get).then_some(Operation::Endpoints);
    }
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    if path.is_empty() {
        return (method == Method::Get).then_some(Operation::Endpoints);
    }
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let levels: Vec<&str> = path.split('/').collect();
    match method {
        Method::Get => of_get(&levels),
        Method::Post => of_post(&levels),
        Method::Put => match levels[..] {
            ["rules", _] => Some(Operation::SetRules(true)),
            ["bridges", _] => Some(Operation::SetBridge),
            _ => None,
        },
        Method::Delete => match levels[..] {
            ["rules", _] => Some(Operation::SetRules(false)),
            ["clients", id] => Some(Operation::Kick(id.to_owned())),
            _ => None,
        },
    }
}

fn of_get(levels: &[&str]) -> Option<Operation> {
    let clients = |id: Option<&str>, username: Option<&str>| Operation::Clients {
        id: id.map(str::to_owned),
        username: username.map(str::to_owned),
    };
    Some(match levels {
        ["brokers"] => Operation::Brokers,
        ["nodes"] => Operation::Nodes,
        ["clients"] => clients(None, None),
        ["clients", id] => clients(Some(id), None),
        ["clients", "username", name] => clients(None, Some(name)),
        ["subscriptions"] => Operation::Subscriptions(None),
        ["subscriptions", id] => Operation::Subscriptions(Some((*id).to_owned())),
        ["topic-tree"] => Operation::TopicTree,
        ["metrics"] => Operation::Metrics,
        ["prometheus"] => Operation::Prometheus,
        ["reload"] => Operation::GetReload,
        ["configuration"] => Operation::GetConfiguration(None),
        ["configuration", part] => Operation::GetConfiguration(Some((*part).to_owned())),
        ["bridges"] | ["bridges", _] => Operation::GetBridges,
        ["rules"] | ["rules", _] => Operation::GetRules,
        _ => return None,
    })
}

fn of_post(levels: &[&str]) -> Option<Operation> {
    Some(match levels {
        ["ctrl", action] => Operation::Ctrl(Action::parse(action.as_bytes())),
        ["reload"] => Operation::SetReload,
        ["configuration"] => Operation::SetConfiguration(None),
        ["configuration", part] => Operation::SetConfiguration(Some((*part).to_owned())),
        ["config_update"] => Operation::ConfigUpdate,
        ["rules"] => Operation::SetRules(true),
        ["bridges", "sub", _] => Operation::BridgeTopics("subscription"),
        ["bridges", "unsub", _] => Operation::BridgeTopics("unsubscription"),
        ["bridges", "switch", _] => Operation::SwitchBridge,
        ["mqtt", "publish"] => Operation::Publish,
        ["mqtt", "publish_batch"] => Operation::PublishBatch,
        ["mqtt", "subscribe"] => Operation::ChangeSubscriptions(Change::Subscribe, false),
        ["mqtt", "subscribe_batch"] => Operation::ChangeSubscriptions(Change::Subscribe, true),
        ["mqtt", "unsubscribe"] => Operation::ChangeSubscriptions(Change::Unsubscribe, false),
        ["mqtt", "unsubscribe_batch"] => Operation::ChangeSubscriptions(Change::Unsubscribe, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_does_not_matter_and_more_do() {
        for path in ["/brokers", "/brokers/", "/brokers?x=1", "/brokers/?x=1"] {
            assert_eq!(
                operation(Method::Get, path),
                Some(Operation::Brokers),
                "{path}"
            );
        }
        for path in [
            "/brokers//",
            "//brokers",
            "/Brokers",
            "/brokers/x",
            "//",
            "/?x=1",
        ] {
            assert_eq!(operation(Method::Get, path), None, "{path}");
        }
        for path in ["", "/", "?x=1"] {
            assert_eq!(
                operation(Method::Get, path),
                Some(Operation::Endpoints),
                "{path}"
            );
        }
    }

    #[test]
    fn a_known_path_with_another_method_is_unknown() {
        assert_eq!(operation(Method::Get, "/mqtt/publish"), None);
        assert_eq!(operation(Method::Put, "/brokers"), None);
        assert_eq!(operation(Method::Post, ""), None);
        assert_eq!(Method::parse("delete"), Some(Method::Delete));
        assert_eq!(Method::parse("HEAD"), None);
    }
}
