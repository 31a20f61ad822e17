//! The children of a namespace as the resource manager sees them: lists of named objects that
//! are put, read and deleted. Topics and event subscriptions have a shape of their own in the
//! configuration, which is why this is a trait.

use std::ops::RangeInclusive;

use mqttstack_kit::wording::{self, Language};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::model::access::EVERYBODY;
use crate::model::limits;
use crate::model::resource::Resource;
use crate::model::resources::Namespace;
use crate::model::topic::{EventSubscription, Topic};

/// The kinds of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `clients`
    Client,
    /// `clientGroups`
    ClientGroup,
    /// `topicSpaces`
    TopicSpace,
    /// `permissionBindings`
    PermissionBinding,
    /// `caCertificates`
    CaCertificate,
    /// `topics`
    Topic,
    /// `eventSubscriptions`, of a topic
    EventSubscription,
}

impl Kind {
    /// By the name in a path or a type, compared without case.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "clients" => Self::Client,
            "clientgroups" => Self::ClientGroup,
            "topicspaces" => Self::TopicSpace,
            "permissionbindings" => Self::PermissionBinding,
            "cacertificates" => Self::CaCertificate,
            "topics" => Self::Topic,
            "eventsubscriptions" => Self::EventSubscription,
            _ => return None,
        })
    }

    /// The resource type.
    pub(crate) fn resource_type(self) -> &'static str {
        match self {
            Self::Client => "Microsoft.EventGrid/namespaces/clients",
            Self::ClientGroup => "Microsoft.EventGrid/namespaces/clientGroups",
            Self::TopicSpace => "Microsoft.EventGrid/namespaces/topicSpaces",
            Self::PermissionBinding => "Microsoft.EventGrid/namespaces/permissionBindings",
            Self::CaCertificate => "Microsoft.EventGrid/namespaces/caCertificates",
            Self::Topic => "Microsoft.EventGrid/namespaces/topics",
            Self::EventSubscription => "Microsoft.EventGrid/namespaces/topics/eventSubscriptions",
        }
    }
}

impl Kind {
    /// What the vendor calls the part of a path that names one.
    pub(crate) fn parameter(self) -> &'static str {
        match self {
            Self::Client => "clientName",
            Self::ClientGroup => "clientGroupName",
            Self::TopicSpace => "topicSpaceName",
            Self::PermissionBinding => "permissionBindingName",
            Self::CaCertificate => "caCertificateName",
            Self::Topic => "topicName",
            Self::EventSubscription => "eventSubscriptionName",
        }
    }

    /// What is wrong with a name (mqtt-clients, mqtt-client-groups, mqtt-topic-spaces pages).
    pub(crate) fn check_name(self, name: &str) -> Result<(), String> {
        if self == Self::ClientGroup && name.eq_ignore_ascii_case(EVERYBODY) {
            return Err(format!("{EVERYBODY} is built in and cannot be edited"));
        }
        let (size, more) = match self {
            Self::Client => (limits::CLIENT_NAME, "-:._"),
            Self::ClientGroup | Self::TopicSpace => (limits::NAME, "-"),
            Self::EventSubscription => (limits::SUBSCRIPTION_NAME, "-"),
            Self::PermissionBinding | Self::CaCertificate | Self::Topic => {
                (limits::OTHER_NAME, "-")
            }
        };
        check_name(name, &size, more)
    }
}

/// Checks a name of letters, digits and a few characters more.
pub(crate) fn check_name(
    name: &str,
    size: &RangeInclusive<usize>,
    more: &str,
) -> Result<(), String> {
    let count = name.chars().count();
    if !size.contains(&count) {
        let (least, most) = (size.start(), size.end());
        return Err(format!(
            "it has {count} characters, it must have {least} to {most}"
        ));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    match name.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "{other:?} is in it, letters, digits and {} are allowed",
            more.chars().map(String::from).collect::<Vec<_>>().join(" ")
        )),
    }
}

/// The properties of a namespace topic in the template.
const TOPIC_PROPERTIES: [&str; 4] = [
    "publisherType",
    "inputSchema",
    "eventRetentionInDays",
    "provisioningState",
];

/// The members of a resource in the template language, and in the answers of the resource manager.
pub(crate) const RESOURCE: [&str; 18] = [
    "properties",
    "name",
    "type",
    "id",
    "apiVersion",
    "location",
    "tags",
    "sku",
    "kind",
    "identity",
    "systemData",
    "resources",
    "dependsOn",
    "condition",
    "copy",
    "scope",
    "comments",
    "metadata",
];

/// That an object has none but known members.
pub(crate) fn check_members(object: &Value, known: &[&str]) -> Result<(), String> {
    let mut names = object.as_object().into_iter().flat_map(|one| one.keys());
    let Some(name) = names.find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let near = wording::nearest(name, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Err(format!(
        "unknown member {name:?}{near}; there are {}",
        known.join(", ")
    ))
}

/// Some children of one kind.
pub(crate) trait Children {
    /// The names.
    fn names(&self) -> Vec<String>;

    /// The properties of one.
    fn get(&self, name: &str) -> Option<Value>;

    /// Creates or changes one; the error says what is wrong with the properties.
    fn put(&mut self, name: &str, properties: Value) -> Result<(), String>;

    /// Removes one; whether it was there.
    fn remove(&mut self, name: &str) -> bool;
}

/// The list of a kind; of event subscriptions, that of `topic`. `None` without that topic.
pub(crate) fn of<'a>(
    namespace: &'a mut Namespace,
    kind: Kind,
    topic: Option<&str>,
) -> Option<&'a mut dyn Children> {
    Some(match kind {
        Kind::Client => &mut namespace.clients,
        Kind::ClientGroup => &mut namespace.client_groups,
        Kind::TopicSpace => &mut namespace.topic_spaces,
        Kind::PermissionBinding => &mut namespace.permission_bindings,
        Kind::CaCertificate => &mut namespace.ca_certificates,
        Kind::Topic => &mut namespace.topics,
        Kind::EventSubscription => {
            let mut topics = namespace.topics.iter_mut();
            &mut topics
                .find(|one| topic.is_some_and(|name| one.name.eq_ignore_ascii_case(name)))?
                .subscriptions
        }
    })
}

/// A property that is null is as if it were not there.
pub(crate) fn without_nulls(mut value: Value) -> Value {
    let mut left = vec![&mut value];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                left.extend(members.values_mut());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    value
}

/// The member of a JSON document that stands where an object is expected and is an array instead:
/// what the types themselves would take for an object's members in their order.
fn array_for_object(given: &Value, read: &Value) -> Option<String> {
    let mut left = vec![(String::new(), given, read)];
    while let Some((path, given, read)) = left.pop() {
        match (given, read) {
            (Value::Array(_), Value::Object(_)) => return Some(path),
            (Value::Array(given), Value::Array(read)) => {
                let pairs = given.iter().zip(read).enumerate();
                left.extend(pairs.map(|(at, (a, b))| (format!("{path}[{at}]"), a, b)));
            }
            (Value::Object(given), Value::Object(read)) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (name, a) in given {
                    if let Some(b) = read.get(name) {
                        left.push((format!("{path}{dot}{name}"), a, b));
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// That a value is an object.
pub(crate) fn check_object(what: &str, value: &Value) -> Result<(), String> {
    let got = match value {
        Value::Object(_) => return Ok(()),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    let got: String = got.chars().take(64).collect();
    Err(format!("{what}: expected an object, got {got}"))
}

/// Reads properties in the shape of the vendor's templates; the error says what is wrong.
pub(crate) fn read<T: Serialize + DeserializeOwned>(
    what: &str,
    properties: Value,
) -> Result<T, String> {
    let properties = without_nulls(properties);
    check_object(what, &properties)?;
    let read: T = serde_path_to_error::deserialize(&properties).map_err(|error| {
        let why = wording::plain(&error.inner().to_string(), Language::Json);
        match error.path().to_string().as_str() {
            "." | "?" => format!("{what}: {why}"),
            path => format!("{what}: {path}: {why}"),
        }
    })?;
    let shown = serde_json::to_value(&read).unwrap_or_default();
    match array_for_object(&properties, &shown) {
        Some(path) => Err(format!("{what}: {path}: expected an object, got a list")),
        None => Ok(read),
    }
}

impl<P: Serialize + DeserializeOwned> Children for Vec<Resource<P>> {
    fn names(&self) -> Vec<String> {
        self.iter().map(|one| one.short_name().to_owned()).collect()
    }

    fn get(&self, name: &str) -> Option<Value> {
        let found = self
            .iter()
            .find(|one| one.short_name().eq_ignore_ascii_case(name))?;
        serde_json::to_value(&found.properties).ok()
    }

    fn put(&mut self, name: &str, properties: Value) -> Result<(), String> {
        let properties = read("its properties", properties)?;
        let mut known = self.iter_mut();
        match known.find(|one| one.short_name().eq_ignore_ascii_case(name)) {
            Some(found) => found.properties = properties,
            None => self.push(Resource {
                name: name.to_owned(),
                properties,
            }),
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|one| !one.short_name().eq_ignore_ascii_case(name));
        self.len() < before
    }
}

impl Children for Vec<Topic> {
    fn names(&self) -> Vec<String> {
        self.iter().map(|one| one.name.clone()).collect()
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.iter()
            .find(|one| one.name.eq_ignore_ascii_case(name))?;
        Some(json!({
            "publisherType": "Custom",
            "inputSchema": "CloudEventSchemaV1_0",
            "eventRetentionInDays": 7,
        }))
    }

    fn put(&mut self, name: &str, properties: Value) -> Result<(), String> {
        check_object("its properties", &properties)?;
        check_members(&properties, &TOPIC_PROPERTIES)
            .map_err(|why| format!("its properties: {why}"))?;
        let schema = properties.get("inputSchema").and_then(Value::as_str);
        if schema.is_some_and(|schema| schema != "CloudEventSchemaV1_0") {
            return Err("inputSchema must be \"CloudEventSchemaV1_0\"".to_owned());
        }
        if !self.iter().any(|one| one.name.eq_ignore_ascii_case(name)) {
            self.push(Topic {
                name: name.to_owned(),
                ..Topic::default()
            });
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|one| !one.name.eq_ignore_ascii_case(name));
        self.len() < before
    }
}

impl Children for Vec<EventSubscription> {
    fn names(&self) -> Vec<String> {
        self.iter().map(|one| one.name.clone()).collect()
    }

    fn get(&self, name: &str) -> Option<Value> {
        let found = self
            .iter()
            .find(|one| one.name.eq_ignore_ascii_case(name))?;
        serde_json::to_value(&found.properties).ok()
    }

    fn put(&mut self, name: &str, properties: Value) -> Result<(), String> {
        let properties = read("its properties", properties)?;
        let mut known = self.iter_mut();
        match known.find(|one| one.name.eq_ignore_ascii_case(name)) {
            Some(found) => found.properties = properties,
            None => self.push(EventSubscription {
                name: name.to_owned(),
                dead_letter_topic: None,
                properties,
            }),
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|one| !one.name.eq_ignore_ascii_case(name));
        self.len() < before
    }
}
