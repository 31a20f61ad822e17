//! The namespace and its children as the resource manager names them, so that a Bicep or ARM
//! object can be put into a running emulator: one at its own path below
//! `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.EventGrid/namespaces/{namespace}`,
//! many (an array, a template) at the namespace's path or as a deployment. No token is asked
//! for: this stands for the developer's own hand, not for the cloud's guard.

use std::sync::Arc;

use serde_json::{Value, json};

use super::parameters::decode;
use crate::exchange::{Answer, Request};
use crate::pipeline::Walk;
use crate::vendor::azure_event_grid::AzureEventGrid;
use crate::vendor::azure_event_grid::children::{self, Kind};
use crate::vendor::azure_event_grid::deployment::{self, Declared};
use crate::vendor::azure_event_grid::edit::{Edit, NAMESPACE, Place, no_topic};
use crate::vendor::azure_event_grid::error::Error;
use crate::vendor::azure_event_grid::store::NamespaceState;

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vendor::azure_event_grid) struct ResourceId {
    /// The namespace's name; `None` for a deployment.
    namespace: Option<String>,
    /// The namespace topic of event subscriptions.
    topic: Option<String>,
    /// What of it.
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// `Microsoft.Resources/deployments/{name}`
    Deployment,
    /// The namespace itself, or many of its children.
    Namespace,
    /// All children of a kind.
    List(Kind),
    /// One child.
    One(Kind, String),
}

impl ResourceId {
    /// Reads the part of a path behind `providers`.
    pub(super) fn parse(segments: &[&str]) -> Result<Option<Self>, Error> {
        let (namespace, rest) = match segments {
            ["Microsoft.Resources", "deployments", _] => {
                return Ok(Some(Self {
                    namespace: None,
                    topic: None,
                    target: Target::Deployment,
                }));
            }
            [_, "namespaces", namespace, rest @ ..] => (decode(namespace, "namespaceName")?, rest),
            _ => return Ok(None),
        };
        let mut topic = None;
        let target = match rest {
            [] => Target::Namespace,
            ["topics", of, "eventSubscriptions", rest @ ..] if rest.len() < 2 => {
                topic = Some(decode(of, "topicName")?);
                match rest.first() {
                    Some(name) => Target::One(Kind::EventSubscription, decode(name, "name")?),
                    None => Target::List(Kind::EventSubscription),
                }
            }
            [kind, rest @ ..] if rest.len() < 2 => {
                let kind = Kind::find(kind).filter(|kind| *kind != Kind::EventSubscription);
                let Some(kind) = kind else {
                    return Ok(None);
                };
                match rest.first() {
                    Some(name) => Target::One(kind, decode(name, "resourceName")?),
                    None => Target::List(kind),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            namespace: Some(namespace),
            topic,
            target,
        }))
    }

    /// The methods that it takes.
    pub(super) fn methods(&self) -> &'static str {
        match self.target {
            Target::Deployment => "PUT",
            Target::Namespace => "GET, PUT",
            Target::List(_) => "GET",
            Target::One(..) => "GET, PUT, DELETE",
        }
    }
}

/// What is done with it.
#[derive(Debug)]
pub(in crate::vendor::azure_event_grid) struct ResourceCall {
    id: ResourceId,
    verb: Verb,
}

#[derive(Debug)]
enum Verb {
    Get,
    Put(Value),
    Delete,
}

impl ResourceCall {
    /// Reads a request.
    pub(in crate::vendor::azure_event_grid) fn read(
        id: ResourceId,
        request: &Request,
    ) -> Result<Self, Error> {
        let verb = match &*request.head.method {
            "PUT" => Verb::Put(
                serde_json::from_slice(&request.body)
                    .map_err(|error| Error::InvalidBody(format!("it is not JSON: {error}")))?,
            ),
            "DELETE" => Verb::Delete,
            _ => Verb::Get,
        };
        Ok(Self { id, verb })
    }
}

impl AzureEventGrid {
    /// Answers 200 with the resource, 201 for a new one, 204 for a removal.
    pub(in crate::vendor::azure_event_grid) fn perform_resource(
        &self,
        call: ResourceCall,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let ResourceCall { id, verb } = call;
        let _editing = self.store.editing();
        let state = match &id.namespace {
            None => self.store.namespace(None),
            Some(name) => self
                .store
                .find(name)
                .ok_or_else(|| Error::NotFound(format!("The namespace '{name}' was not found.")))?,
        };
        let topic = id.topic.as_deref();
        match (id.target, verb) {
            (Target::List(kind), _) => list(&state, kind, topic, walk),
            (Target::One(kind, name), Verb::Get) => one(&state, kind, topic, &name, walk),
            (Target::One(kind, name), Verb::Put(body)) => {
                put(&state, kind, topic, &name, &body, walk)
            }
            (Target::One(kind, name), Verb::Delete) => delete(&state, kind, topic, &name, walk),
            (Target::Namespace, Verb::Put(body)) => self.put_many(&state, &body, &json!({}), walk),
            (Target::Deployment, Verb::Put(body)) => {
                let part = |name: &str| body.pointer(&format!("/properties/{name}"));
                let template = part("template").ok_or_else(|| {
                    Error::InvalidBody("it has no properties.template".to_owned())
                })?;
                let parameters = part("parameters").unwrap_or(&Value::Null);
                self.put_many(&state, template, parameters, walk)
            }
            (Target::Namespace | Target::Deployment, _) => {
                Ok(whole(walk, 200, &namespace_object(&state)))
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
        let mut declared = if is_bare(document) {
            vec![Declared {
                resource_type: NAMESPACE.to_owned(),
                name: vec![path.resources().name.clone()],
                properties: document["properties"].clone(),
            }]
        } else {
            deployment::resources(document, parameters).map_err(Error::InvalidBody)?
        };
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

/// Whether a document is a namespace's own `{"properties": ...}`.
fn is_bare(document: &Value) -> bool {
    let has = |name| document.get(name).is_some();
    has("properties") && !has("type") && !has("resources")
}

fn whole(walk: &Walk<'_>, status: u16, body: &Value) -> Answer {
    super::answer(status, walk)
        .header("Content-Type", "application/json; charset=utf-8")
        .body(body.to_string())
}

/// A child as the resource manager shows it.
fn object(path: &str, kind: Kind, name: &str, mut properties: Value) -> Value {
    properties["provisioningState"] = json!("Succeeded");
    json!({"id": path, "name": name, "type": kind.resource_type(), "properties": properties})
}

fn namespace_object(state: &NamespaceState) -> Value {
    let resources = state.resources();
    let mut configuration =
        serde_json::to_value(&resources.topic_spaces_configuration).unwrap_or_default();
    configuration["hostname"] = json!(resources.mqtt_host());
    json!({
        "name": resources.name,
        "type": NAMESPACE,
        "location": resources.location,
        "properties": {
            "provisioningState": "Succeeded",
            "topicsConfiguration": {"hostname": resources.topic_host()},
            "topicSpacesConfiguration": configuration,
        },
    })
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
    let properties = children
        .get(name)
        .ok_or_else(|| Error::NotFound(format!("The resource '{name}' was not found.")))?;
    let body = object(walk.request.head.path(), kind, name, properties);
    Ok(whole(walk, 200, &body))
}

fn put(
    state: &Arc<NamespaceState>,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    body: &Value,
    walk: &Walk<'_>,
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
    edit.check()?;
    let shown = children::of(&mut edit.next, kind, topic)
        .and_then(|children| children.get(name))
        .unwrap_or_default();
    edit.commit(walk.receipt.now, &walk.app.ids);
    let body = object(walk.request.head.path(), kind, name, shown);
    Ok(whole(walk, if known { 200 } else { 201 }, &body))
}

/// Removing what is not there is no error (resource manager conventions).
fn delete(
    state: &Arc<NamespaceState>,
    kind: Kind,
    topic: Option<&str>,
    name: &str,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    let mut edit = Edit::of(state.clone());
    let children = children::of(&mut edit.next, kind, topic).ok_or_else(|| no_topic(topic))?;
    if children.remove(name) {
        if kind == Kind::Client {
            edit.removed_client(name);
        }
        edit.check()?;
        edit.commit(walk.receipt.now, &walk.app.ids);
    }
    Ok(super::answer(204, walk))
}
