//! The namespace's children as the resource manager names them, so that a Bicep or ARM object
//! can be put into a running emulator: `PUT`, `GET` and `DELETE` of
//! `/subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.EventGrid/namespaces/{namespace}/{kind}/{name}`.
//! No token is asked for: this stands for the developer's own hand, not for the cloud's guard.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::exchange::{Answer, Request};
use crate::pipeline::Walk;
use crate::vendor::azure_event_grid::AzureEventGrid;
use crate::vendor::azure_event_grid::error::Error;
use crate::vendor::azure_event_grid::resources::{Namespace, Resource};

/// The kinds of children that can be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vendor::azure_event_grid) enum ResourceKind {
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
}

impl ResourceKind {
    /// By the name in the path.
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "clients" => Self::Client,
            "clientgroups" => Self::ClientGroup,
            "topicspaces" => Self::TopicSpace,
            "permissionbindings" => Self::PermissionBinding,
            "cacertificates" => Self::CaCertificate,
            _ => return None,
        })
    }
}

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vendor::azure_event_grid) struct ResourceId {
    /// The namespace's name.
    pub namespace: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
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
            "PUT" => {
                let body: Value = serde_json::from_slice(&request.body)
                    .map_err(|error| Error::InvalidBody(format!("it is not JSON: {error}")))?;
                let properties = body.get("properties").cloned();
                Verb::Put(properties.ok_or_else(|| {
                    Error::InvalidBody("it has no member \"properties\"".to_owned())
                })?)
            }
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
        walk: &Walk<'_>,
    ) -> Result<Answer, Error> {
        let ResourceCall { id, verb } = call;
        let state = self.store.find(&id.namespace).ok_or_else(|| {
            Error::NotFound(format!("The namespace '{}' was not found.", id.namespace))
        })?;
        let mut next = (*state.resources()).clone();
        let done = match id.kind {
            ResourceKind::Client => apply(&mut next.clients, &id.name, verb),
            ResourceKind::ClientGroup => apply(&mut next.client_groups, &id.name, verb),
            ResourceKind::TopicSpace => apply(&mut next.topic_spaces, &id.name, verb),
            ResourceKind::PermissionBinding => apply(&mut next.permission_bindings, &id.name, verb),
            ResourceKind::CaCertificate => apply(&mut next.ca_certificates, &id.name, verb),
        }?;
        if done.changed {
            Namespace::check(&next).map_err(|error| Error::InvalidBody(error.why))?;
            state.replace(next);
        }
        let answer = super::answer(done.status, walk);
        Ok(match done.properties {
            None => answer,
            Some(properties) => answer
                .header("Content-Type", "application/json; charset=utf-8")
                .body(
                    json!({
                        "id": walk.request.head.path(),
                        "name": id.name,
                        "properties": properties,
                    })
                    .to_string(),
                ),
        })
    }
}

/// What was done.
struct Done {
    status: u16,
    changed: bool,
    properties: Option<Value>,
}

fn apply<P: Serialize + DeserializeOwned>(
    list: &mut Vec<Resource<P>>,
    name: &str,
    verb: Verb,
) -> Result<Done, Error> {
    let found = list
        .iter()
        .position(|one| one.short_name().eq_ignore_ascii_case(name));
    match (verb, found) {
        (Verb::Put(properties), _) => {
            let properties: P = serde_json::from_value(properties)
                .map_err(|error| Error::InvalidBody(format!("its properties: {error}")))?;
            let shown = serde_json::to_value(&properties).ok();
            let resource = Resource {
                name: name.to_owned(),
                properties,
            };
            match found {
                Some(place) => list[place] = resource,
                None => list.push(resource),
            }
            Ok(Done {
                status: if found.is_some() { 200 } else { 201 },
                changed: true,
                properties: shown,
            })
        }
        (Verb::Get, Some(place)) => Ok(Done {
            status: 200,
            changed: false,
            properties: serde_json::to_value(&list[place].properties).ok(),
        }),
        (Verb::Delete, Some(place)) => {
            list.remove(place);
            Ok(Done {
                status: 204,
                changed: true,
                properties: None,
            })
        }
        (Verb::Delete | Verb::Get, None) => Err(Error::NotFound(format!(
            "The resource '{name}' was not found."
        ))),
    }
}
