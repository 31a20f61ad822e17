//! The namespace and its children as the resource manager names them, so that a Bicep or ARM
//! object can be put into a running emulator: one at its own path below
//! `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.EventGrid/namespaces/{namespace}`,
//! many (an array, a template) at the namespace's path or as a deployment. What is done with whole
//! namespaces and with keys is in `namespaces.rs`. No token is asked for: this stands for the
//! developer's own hand, not for the cloud's guard.

use std::sync::Arc;

use mqttstack_base::exchange::{Answer, Request};
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::namespaces::{self, KeyAction};
use super::parameters::decode;
use super::rooms::{Rooms, no_namespace};
use crate::arm::children::{self, Kind};
use crate::arm::deployment;
use crate::arm::edit::{Edit, NAMESPACE, Place, check_name, no_resource, no_topic};
use crate::error::Error;
use crate::events::store::NamespaceState;
use crate::model::access::EVERYBODY;
use crate::render::{answer, whole};

/// The vendor's name in resource ids.
const PROVIDER: &str = "Microsoft.EventGrid";
/// The resource group of namespaces where none is asked for.
const GROUP: &str = "mqttstack";

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceId {
    /// What stands before a namespace's name in its id.
    scope: String,
    /// The namespace's name; `None` for a deployment and for all namespaces.
    namespace: Option<String>,
    /// The namespace topic of event subscriptions and of keys.
    topic: Option<String>,
    /// What of it.
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// `Microsoft.Resources/deployments/{name}`
    Deployment,
    /// All namespaces.
    Namespaces,
    /// The namespace itself, or many of its children.
    Namespace,
    /// The access keys of a namespace or a topic.
    Keys(KeyAction),
    /// All children of a kind.
    List(Kind),
    /// One child.
    One(Kind, String),
}

/// Whether a segment of a path is this word; the resource manager compares without case.
fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

impl ResourceId {
    /// Reads the part of a path behind `subscriptions`.
    pub(crate) fn parse(segments: &[&str]) -> Result<Option<Self>, Error> {
        let (subscription, group, rest) = match segments {
            [subscription, groups, group, providers, rest @ ..]
                if is(groups, "resourceGroups") && is(providers, "providers") =>
            {
                (*subscription, Some(*group), rest)
            }
            [subscription, providers, rest @ ..] if is(providers, "providers") => {
                (*subscription, None, rest)
            }
            _ => return Ok(None),
        };
        let mut id = Self {
            scope: format!(
                "/subscriptions/{subscription}/resourceGroups/{}/providers/{PROVIDER}/namespaces",
                group.unwrap_or(GROUP)
            ),
            namespace: None,
            topic: None,
            target: Target::Deployment,
        };
        let rest = match rest {
            [provider, deployments, _]
                if group.is_some()
                    && is(provider, "Microsoft.Resources")
                    && is(deployments, "deployments") =>
            {
                return Ok(Some(id));
            }
            [provider, namespaces, rest @ ..]
                if is(provider, PROVIDER) && is(namespaces, "namespaces") =>
            {
                rest
            }
            _ => return Ok(None),
        };
        match rest {
            [] => id.target = Target::Namespaces,
            [name, rest @ ..] if group.is_some() => {
                id.namespace = Some(decode(name, "namespaceName")?);
                let Some((topic, target)) = Target::parse(rest)? else {
                    return Ok(None);
                };
                (id.topic, id.target) = (topic, target);
            }
            _ => return Ok(None),
        }
        Ok(Some(id))
    }

    /// The methods that it takes.
    pub(crate) fn methods(&self) -> &'static str {
        match self.target {
            Target::Deployment => "PUT",
            Target::Keys(_) => "POST",
            Target::List(_) | Target::Namespaces => "GET",
            Target::Namespace | Target::One(Kind::Topic | Kind::EventSubscription, _) => {
                "GET, PUT, PATCH, DELETE"
            }
            Target::One(..) => "GET, PUT, DELETE",
        }
    }
}

impl Target {
    /// Reads the part of a path behind a namespace's name.
    fn parse(rest: &[&str]) -> Result<Option<(Option<String>, Self)>, Error> {
        let of_topic = |topic: &str| decode(topic, "topicName").map(Some);
        Ok(Some(match rest {
            [] => (None, Self::Namespace),
            [action] if KeyAction::find(action).is_some() => match KeyAction::find(action) {
                Some(action) => (None, Self::Keys(action)),
                None => return Ok(None),
            },
            [topics, topic, action] if is(topics, "topics") => match KeyAction::find(action) {
                Some(action) => (of_topic(topic)?, Self::Keys(action)),
                None if is(action, "eventSubscriptions") => {
                    (of_topic(topic)?, Self::List(Kind::EventSubscription))
                }
                None => return Ok(None),
            },
            [topics, topic, subscriptions, name]
                if is(topics, "topics") && is(subscriptions, "eventSubscriptions") =>
            {
                let name = decode(name, "eventSubscriptionName")?;
                (of_topic(topic)?, Self::One(Kind::EventSubscription, name))
            }
            [kind, rest @ ..] if rest.len() < 2 => {
                let kind = Kind::find(kind).filter(|kind| *kind != Kind::EventSubscription);
                let Some(kind) = kind else {
                    return Ok(None);
                };
                match rest.first() {
                    Some(name) => (None, Self::One(kind, decode(name, kind.parameter())?)),
                    None => (None, Self::List(kind)),
                }
            }
            _ => return Ok(None),
        }))
    }
}

/// What is done with it.
#[derive(Debug)]
pub(crate) struct ResourceCall {
    id: ResourceId,
    verb: Verb,
}

#[derive(Debug)]
enum Verb {
    Get,
    Put(Value),
    Patch(Value),
    Post(Value),
    Delete,
}

impl ResourceCall {
    /// Reads a request.
    pub(crate) fn read(id: ResourceId, request: &Request) -> Result<Self, Error> {
        let body = || {
            serde_json::from_slice(&request.body)
                .map_err(|error| Error::InvalidBody(format!("it is not JSON: {error}")))
        };
        let verb = match &*request.head.method {
            "PUT" => Verb::Put(body()?),
            "PATCH" => Verb::Patch(body()?),
            // The SDKs send no body with `listKeys`.
            "POST" if request.body.is_empty() => Verb::Post(Value::Null),
            "POST" => Verb::Post(body()?),
            "DELETE" => Verb::Delete,
            _ => Verb::Get,
        };
        Ok(Self { id, verb })
    }
}

impl Rooms {
    /// Answers 200 with the resource, 201 for a new one, 204 for a removal.
    pub(crate) fn perform_resource(
        &self,
        call: ResourceCall,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let ResourceCall { id, verb } = call;
        let _editing = self.store.editing();
        let state = match &id.namespace {
            None => self.store.namespace(None),
            Some(name) => self.store.find(name),
        };
        match (&id.target, &verb) {
            (Target::Namespaces, _) => return Ok(self.list_namespaces(&id.scope, walk)),
            (Target::Namespace, Verb::Put(body)) if is_bare(body) => {
                let name = id.namespace.unwrap_or_default();
                return self.put_namespace(&id.scope, &name, state, body, walk);
            }
            (Target::Namespace, Verb::Delete) => {
                self.store.remove(&id.namespace.unwrap_or_default());
                return Ok(answer(204, walk));
            }
            _ => {}
        }
        let state = state.ok_or_else(|| match &id.namespace {
            Some(name) => Error::NotFound(format!("The namespace '{name}' was not found.")),
            None => no_namespace(),
        })?;
        let topic = id.topic.as_deref();
        match (id.target, verb) {
            (Target::List(kind), _) => list(&state, kind, topic, walk),
            (Target::One(kind, name), Verb::Put(body)) => {
                put(&state, kind, topic, &name, &body, walk)
            }
            (Target::One(kind, name), Verb::Patch(body)) => {
                patch(&state, kind, topic, &name, &body, walk)
            }
            (Target::One(kind, name), Verb::Delete) => delete(&state, kind, topic, &name, walk),
            (Target::One(kind, name), _) => one(&state, kind, topic, &name, walk),
            (Target::Keys(action), Verb::Post(body)) => {
                namespaces::keys(&state, topic, action, &body, walk)
            }
            (Target::Namespace, Verb::Put(body)) => self.put_many(&state, &body, &json!({}), walk),
            (Target::Namespace, Verb::Patch(body)) => {
                namespaces::patch(&id.scope, &state, &body, walk)
            }
            (Target::Deployment, Verb::Put(body)) => {
                let part = |name: &str| body.pointer(&format!("/properties/{name}"));
                let template = part("template").ok_or_else(|| {
                    Error::InvalidBody("it has no properties.template".to_owned())
                })?;
                let parameters = part("parameters").unwrap_or(&Value::Null);
                self.put_many(&state, template, parameters, walk)
            }
            (Target::Namespace | Target::Namespaces | Target::Deployment | Target::Keys(_), _) => {
                Ok(whole(walk, 200, &namespaces::object(&id.scope, &state)))
            }
        }
    }

    /// Puts every resource of a document, or none.
    fn put_many(
        &self,
        path: &Arc<NamespaceState>,
        document: &Value,
        parameters: &Value,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let mut declared =
            deployment::resources(document, parameters).map_err(Error::InvalidBody)?;
        // Parents first.
        declared.sort_by_key(|one| one.resource_type.matches('/').count());
        let mut edits: Vec<Edit> = Vec::new();
        let mut put = Vec::new();
        for one in declared {
            let Some(place) = Place::of(&one) else {
                walk.draft
                    .note(format!("passed over: a {}", one.resource_type));
                continue;
            };
            let state = place.namespace.and_then(|name| self.store.find(name));
            let state = state.unwrap_or_else(|| path.clone());
            let other = place.namespace.filter(|name| !is(name, state.name()));
            if let Some(other) = other {
                walk.draft.hint(format!(
                    "there is no namespace {other:?}: {} is put into {:?}",
                    one.name.join("/"),
                    state.name()
                ));
            }
            let known = edits
                .iter()
                .position(|edit| Arc::ptr_eq(&edit.state, &state));
            let at = known.unwrap_or_else(|| {
                edits.push(Edit::of(state));
                edits.len() - 1
            });
            let edit = &mut edits[at];
            edit.put(&place, one.properties.clone())?;
            put.push(json!({"type": one.resource_type, "name": one.name.join("/")}));
        }
        for edit in &edits {
            edit.check()?;
        }
        for edit in edits {
            edit.commit(walk.receipt.now, &walk.app.ids);
        }
        let body = json!({
            "id": walk.request.head.path(),
            "properties": {"provisioningState": "Succeeded", "outputResources": put},
        });
        Ok(whole(walk, 200, &body))
    }
}

/// Whether a document is a namespace's own `{"location": ..., "properties": ...}`, and no array, no
/// template and no other resource.
fn is_bare(document: &Value) -> bool {
    let kind = document.get("type").and_then(Value::as_str);
    document.is_object()
        && document.get("resources").is_none()
        && kind.is_none_or(|kind| is(kind, NAMESPACE))
}

/// A child as the resource manager shows it.
fn object(path: &str, kind: Kind, name: &str, mut properties: Value) -> Value {
    properties["provisioningState"] = json!("Succeeded");
    json!({"id": path, "name": name, "type": kind.resource_type(), "properties": properties})
}

fn list(
    state: &NamespaceState,
    kind: Kind,
    topic: Option<&str>,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    let mut resources = (*state.resources()).clone();
    let children = children::of(&mut resources, kind, topic).ok_or_else(|| no_topic(topic))?;
    let base = walk.request.head.path().trim_end_matches('/');
    let rows: Vec<_> = children
        .names()
        .into_iter()
        .filter_map(|name| {
            let path = format!("{base}/{name}");
            Some(object(&path, kind, &name, children.get(&name)?))
        })
        .collect();
    Ok(whole(walk, 200, &json!({"value": rows})))
}

fn one(
    state: &NamespaceState,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    let mut resources = (*state.resources()).clone();
    let children = children::of(&mut resources, kind, topic).ok_or_else(|| no_topic(topic))?;
    let properties = children.get(name).ok_or_else(|| no_resource(name))?;
    let body = object(walk.request.head.path(), kind, name, properties);
    Ok(whole(walk, 200, &body))
}

fn put(
    state: &Arc<NamespaceState>,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    body: &Value,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    children::check_members(body, &children::RESOURCE).map_err(Error::InvalidBody)?;
    let properties = body
        .get("properties")
        .ok_or_else(|| Error::InvalidBody("it has no member \"properties\"".to_owned()))?;
    let mut edit = Edit::of(state.clone());
    let known = children::of(&mut edit.next, kind, topic)
        .ok_or_else(|| no_topic(topic))?
        .get(name)
        .is_some();
    let place = Place {
        namespace: None,
        topic,
        child: Some((kind, name)),
    };
    edit.put(&place, properties.clone())?;
    let status = if known { 200 } else { 201 };
    finish(edit, status, &place, walk)
}

fn patch(
    state: &Arc<NamespaceState>,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    body: &Value,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    // Event subscriptions are patched without the envelope of their other requests.
    let properties = body.get("properties").unwrap_or(body);
    children::check_object("its properties", properties).map_err(Error::InvalidBody)?;
    let mut edit = Edit::of(state.clone());
    let place = Place {
        namespace: None,
        topic,
        child: Some((kind, name)),
    };
    edit.patch(&place, properties.clone())?;
    finish(edit, 200, &place, walk)
}

/// Puts a change of one resource in force and shows the resource.
fn finish(
    mut edit: Edit,
    status: u16,
    place: &Place<'_>,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    edit.check()?;
    let Some((kind, name)) = place.child else {
        return Err(no_topic(place.topic));
    };
    let shown = children::of(&mut edit.next, kind, place.topic)
        .and_then(|children| children.get(name))
        .unwrap_or_default();
    edit.commit(walk.receipt.now, &walk.app.ids);
    let body = object(walk.request.head.path(), kind, name, shown);
    Ok(whole(walk, status, &body))
}

/// Removing what is not there is no error (resource manager conventions).
fn delete(
    state: &Arc<NamespaceState>,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    if kind == Kind::ClientGroup && is(name, EVERYBODY) {
        check_name(kind, name)?;
    }
    let mut edit = Edit::of(state.clone());
    let children = children::of(&mut edit.next, kind, topic).ok_or_else(|| no_topic(topic))?;
    if children.remove(name) {
        if kind == Kind::Client {
            edit.removed_client(name);
        }
        edit.check()?;
        edit.commit(walk.receipt.now, &walk.app.ids);
    }
    Ok(answer(204, walk))
}
