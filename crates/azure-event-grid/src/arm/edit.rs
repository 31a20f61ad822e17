//! Changes of a namespace by the resource manager: collected, checked, and put in force together,
//! with the life-cycle events of the clients among them. What comes in is read in
//! `api/resources.rs` and `deployment.rs`.

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use serde_json::{Map, Value, json};

use super::children::{self, Kind};
use super::deployment::Declared;
use super::rules;
use crate::error::Error;
use crate::events::life_cycle::ClientChange;
use crate::events::store::NamespaceState;
use crate::model::resources::Namespace;

/// The type of a namespace.
pub(crate) const NAMESPACE: &str = "Microsoft.EventGrid/namespaces";

/// The properties of a namespace in the template.
const NAMESPACE_PROPERTIES: [&str; 8] = [
    "topicSpacesConfiguration",
    "topicsConfiguration",
    "provisioningState",
    "isZoneRedundant",
    "publicNetworkAccess",
    "inboundIpRules",
    "minimumTlsVersionAllowed",
    "privateEndpointConnections",
];

/// Where a declared resource belongs.
pub(crate) struct Place<'a> {
    /// The namespace's name, if it is said.
    pub namespace: Option<&'a str>,
    /// The namespace topic of an event subscription.
    pub topic: Option<&'a str>,
    /// `None` for the namespace itself.
    pub child: Option<(Kind, &'a str)>,
}

impl<'a> Place<'a> {
    /// `None` for a resource that is not emulated. The names are read from their end: a pasted
    /// child may leave its parents' out.
    pub(crate) fn of(declared: &'a Declared) -> Option<Self> {
        let kind = &declared.resource_type;
        let rest = kind
            .get(..NAMESPACE.len())
            .filter(|start| start.eq_ignore_ascii_case(NAMESPACE))
            .map(|_| &kind[NAMESPACE.len()..])?;
        let kinds: Vec<&str> = rest.split('/').skip(1).collect();
        let name = |from_end: usize| {
            let at = declared.name.len().checked_sub(from_end)?;
            declared.name.get(at).map(String::as_str)
        };
        let namespace = name(kinds.len() + 1);
        let (topic, child) = match kinds.as_slice() {
            [] => (None, None),
            [kind] => (None, Some((Kind::find(kind)?, name(1)?))),
            [topics, kind] if topics.eq_ignore_ascii_case("topics") => {
                (name(2), Some((Kind::find(kind)?, name(1)?)))
            }
            _ => return None,
        };
        Some(Self {
            namespace,
            topic,
            child,
        })
    }
}

/// Changes of one namespace that take effect together.
pub(crate) struct Edit {
    /// The namespace.
    pub state: Arc<NamespaceState>,
    /// What it will be.
    pub next: Namespace,
    /// Clients that were put or, with false, removed.
    clients: Vec<(String, bool)>,
    /// Clients before, for the events of those that go.
    before: Arc<Namespace>,
}

impl Edit {
    /// No change yet.
    pub(crate) fn of(state: Arc<NamespaceState>) -> Self {
        let before = state.resources();
        Self {
            next: (*before).clone(),
            before,
            state,
            clients: Vec::new(),
        }
    }

    /// Puts one resource.
    pub(crate) fn put(&mut self, place: &Place<'_>, properties: Value) -> Result<(), Error> {
        let Some((kind, name)) = place.child else {
            if !properties.is_null() {
                children::check_object("its properties", &properties)
                    .map_err(Error::InvalidBody)?;
            }
            children::check_members(&properties, &NAMESPACE_PROPERTIES)
                .map_err(|why| Error::InvalidBody(format!("its properties: {why}")))?;
            if let Some(configuration) = properties.get("topicSpacesConfiguration") {
                let read = children::read("topicSpacesConfiguration", configuration.clone());
                self.next.topic_spaces_configuration = read.map_err(Error::InvalidBody)?;
            }
            return Ok(());
        };
        check_name(kind, name)?;
        let known = self.next.clients.iter().find(|one| one.is_called(name));
        let authenticated_by = known.map(|client| client.authentication_name().to_owned());
        let children =
            children::of(&mut self.next, kind, place.topic).ok_or_else(|| no_topic(place.topic))?;
        children.put(name, properties).map_err(Error::InvalidBody)?;
        if kind == Kind::Client {
            self.complete_client(name, authenticated_by)
                .map_err(Error::InvalidBody)?;
            self.clients.push((name.to_owned(), true));
        }
        Ok(())
    }

    /// Changes some properties of a resource and leaves the others.
    pub(crate) fn patch(&mut self, place: &Place<'_>, patch: Value) -> Result<(), Error> {
        let Some((kind, name)) = place.child else {
            let configuration = &self.next.topic_spaces_configuration;
            let mut now = json!({
                "topicSpacesConfiguration": serde_json::to_value(configuration).unwrap_or_default(),
            });
            merge(&mut now, patch);
            return self.put(place, now);
        };
        let children =
            children::of(&mut self.next, kind, place.topic).ok_or_else(|| no_topic(place.topic))?;
        let mut now = children.get(name).ok_or_else(|| no_resource(name))?;
        merge(&mut now, patch);
        self.put(place, now)
    }

    /// The rules of the mqtt-clients page that need what was there before: `before` is the
    /// authentication name of the client that is replaced.
    fn complete_client(&mut self, name: &str, before: Option<String>) -> Result<(), String> {
        let mut clients = self.next.clients.iter_mut();
        let Some(client) = clients.find(|one| one.is_called(name)) else {
            return Ok(());
        };
        let properties = &mut client.properties;
        if properties.client_certificate_authentication.is_none() {
            return Err("clientCertificateAuthentication is missing".to_owned());
        }
        if let Some(before) = before {
            let given = &mut properties.authentication_name;
            if !given.is_empty() && !given.eq_ignore_ascii_case(&before) {
                return Err(format!(
                    "the authenticationName cannot be changed: it is {before:?}, the request has {given:?}"
                ));
            }
            *given = before;
        }
        properties.fill_in(name);
        Ok(())
    }

    /// Notes that a client has been taken out.
    pub(crate) fn removed_client(&mut self, name: &str) {
        self.clients.push((name.to_owned(), false));
    }

    /// Whether what it will be makes sense.
    pub(crate) fn check(&self) -> Result<(), Error> {
        rules::check(&self.next).map_err(|broken| Error::InvalidBody(broken.why))
    }

    /// Puts the changes in force and tells of the clients.
    pub(crate) fn commit(self, now: Timestamp, ids: &Ids) {
        self.state.replace(self.next);
        let after = self.state.resources();
        let Some(topic) = after.life_cycle_topic.as_deref() else {
            return;
        };
        for (name, put) in &self.clients {
            let resources = if *put { &after } else { &self.before };
            let mut clients = resources.clients.iter();
            let found = clients.find(|one| one.short_name().eq_ignore_ascii_case(name));
            let Some(client) = found else { continue };
            let change = ClientChange {
                client,
                created: self.state.created(name, now),
                removed: !put,
            };
            let event = change.event(resources, now, ids);
            if !put {
                self.state.forget_client(name);
            }
            if let Err(why) = self.state.topics().publish(topic, &[event], now) {
                tracing::warn!(target: "mqttstack::azure", topic, %why, "a life-cycle event was lost");
            }
        }
    }
}

/// Refuses a name that a resource of this kind cannot have.
pub(crate) fn check_name(kind: Kind, name: &str) -> Result<(), Error> {
    kind.check_name(name)
        .map_err(|why| Error::InvalidParameter {
            name: kind.parameter().to_owned(),
            why,
        })
}

/// Changes a JSON document by another (RFC 7396): null takes a member out.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let mut left = vec![(target, patch)];
    while let Some((target, patch)) = left.pop() {
        let Value::Object(patch) = patch else {
            *target = patch;
            continue;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let Value::Object(members) = target else {
            continue;
        };
        let mut deeper = Map::new();
        for (name, member) in patch {
            if member.is_null() {
                members.shift_remove(&name);
            } else {
                members.entry(&name).or_insert(Value::Null);
                deeper.insert(name, member);
            }
        }
        for (name, member) in members.iter_mut() {
            if let Some(patch) = deeper.remove(name) {
                left.push((member, patch));
            }
        }
    }
}

/// A resource that is not there.
pub(crate) fn no_resource(name: &str) -> Error {
    Error::NotFound(format!("The resource '{name}' was not found."))
}

/// A topic that is not there.
pub(crate) fn no_topic(topic: Option<&str>) -> Error {
    let topic = topic.unwrap_or_default();
    Error::NotFound(format!("The namespace topic '{topic}' was not found."))
}
