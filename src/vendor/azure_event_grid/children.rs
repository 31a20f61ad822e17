//! The children of a namespace as the resource manager sees them: lists of named objects that
//! are put, read and deleted. Topics and event subscriptions have a shape of their own in the
//! configuration, which is why this is a trait.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::resources::{Namespace, Resource};
use super::topic::{EventSubscription, Topic};
use crate::wording::{self, Language};

/// The kinds of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) fn find(name: &str) -> Option<Self> {
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
    pub(super) fn resource_type(self) -> &'static str {
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

/// The properties of a namespace topic in the template.
const TOPIC_PROPERTIES: [&str; 4] = [
    "publisherType",
    "inputSchema",
    "eventRetentionInDays",
    "provisioningState",
];

/// The members of a resource in the template language, and in the answers of the resource manager.
pub(super) const RESOURCE: [&str; 18] = [
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
pub(super) fn check_members(object: &Value, known: &[&str]) -> Result<(), String> {
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
pub(super) trait Children {
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
pub(super) fn of<'a>(
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
pub(super) fn without_nulls(mut value: Value) -> Value {
    let mut places = vec![&mut value];
    while let Some(place) = places.pop() {
        match place {
            Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                places.extend(members.values_mut());
            }
            Value::Array(items) => places.extend(items),
            _ => {}
        }
    }
    value
}

pub(super) fn read<T: DeserializeOwned>(properties: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(without_nulls(properties)).map_err(|error| {
        let why = wording::plain(&error.inner().to_string(), Language::Json);
        match error.path().to_string().as_str() {
            "." | "?" => format!("its properties: {why}"),
            path => format!("its properties: {path}: {why}"),
        }
    })
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
        let properties = read(properties)?;
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
        check_members(&properties, &TOPIC_PROPERTIES)
            .map_err(|why| format!("its properties: {why}"))?;
        let schema = properties.get("inputSchema").and_then(Value::as_str);
        if schema.is_some_and(|schema| schema != "CloudEventSchemaV1_0") {
            return Err("inputSchema must be \"CloudEventSchemaV1_0\"".to_owned());
        }
        if !self.iter().any(|one| one.name.eq_ignore_ascii_case(name)) {
            self.push(Topic {
                name: name.to_owned(),
                subscriptions: Vec::new(),
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
        let properties = read(properties)?;
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
