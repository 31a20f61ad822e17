//! Whole namespaces and access keys, as set-up scripts ask for them over the resource manager
//! (azure-mgmt-eventgrid 10.4): list, create, change, and the keys of a namespace or a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::exchange::Answer;
use mqttstack_base::ids::Ids;
use mqttstack_base::secret::Secret;
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::rooms::Rooms;
use crate::arm::children::{RESOURCE, check_members, check_name, check_object};
use crate::arm::edit::{Edit, NAMESPACE, Place, merge, no_topic};
use crate::error::Error;
use crate::events::store::NamespaceState;
use crate::model::limits;
use crate::model::resources::Namespace;
use crate::render::whole;

/// What is done with access keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAction {
    /// `listKeys`
    List,
    /// `regenerateKey`
    Regenerate,
}

impl KeyAction {
    /// By the last segment of a path, compared without case.
    pub(crate) fn find(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("listKeys") {
            Some(Self::List)
        } else if name.eq_ignore_ascii_case("regenerateKey") {
            Some(Self::Regenerate)
        } else {
            None
        }
    }
}

/// The namespace itself, not what is in it.
const ITSELF: Place<'static> = Place {
    namespace: None,
    topic: None,
    child: None,
};

impl Rooms {
    /// Every namespace, whatever the subscription and the resource group.
    pub(crate) fn list_namespaces(&self, scope: &str, walk: &Walk<'_>) -> Answer {
        let all = self.store.all();
        let rows: Vec<_> = all.iter().map(|one| object(scope, one)).collect();
        whole(walk, 200, &json!({"value": rows}))
    }

    /// Creates a namespace, or puts the properties of one that is there.
    pub(crate) fn put_namespace(
        &self,
        scope: &str,
        name: &str,
        known: Option<Arc<NamespaceState>>,
        body: &Value,
        walk: &Walk<'_>,
    ) -> Result<Answer, Error> {
        check_members(body, &RESOURCE).map_err(Error::InvalidBody)?;
        let (state, status) = match known {
            Some(state) => (state, 200),
            None => (self.new_namespace(name, body, &walk.app.ids)?, 201),
        };
        let mut edit = Edit::of(state.clone());
        let properties = body.get("properties").unwrap_or(&Value::Null);
        edit.put(&ITSELF, properties.clone())?;
        if let Some(tags) = body.get("tags") {
            edit.next.tags = read_tags(tags)?;
        }
        edit.check()?;
        edit.commit(walk.receipt.now, &walk.app.ids);
        if status == 201 {
            self.store.add(state.clone());
        }
        let shown = object(scope, &state);
        Ok(whole(walk, status, &shown))
    }

    /// A namespace that is not there yet, with keys of its own.
    fn new_namespace(
        &self,
        name: &str,
        body: &Value,
        ids: &Ids,
    ) -> Result<Arc<NamespaceState>, Error> {
        check_name(name, &limits::NAME, "-").map_err(|why| Error::InvalidParameter {
            name: "namespaceName".to_owned(),
            why,
        })?;
        if self.store.all().len() >= limits::NAMESPACES {
            return Err(Error::InvalidBody(format!(
                "there are {} namespaces already, as many as there may be",
                limits::NAMESPACES
            )));
        }
        let location = body.get("location").and_then(Value::as_str).unwrap_or("");
        // It becomes a part of host names.
        check_name(&location.replace(' ', ""), &(1..=64), "")
            .map_err(|why| Error::InvalidBody(format!("the location {location:?}: {why}")))?;
        Ok(self.store.new_namespace(Namespace {
            name: name.to_owned(),
            location: location.replace(' ', "").to_ascii_lowercase(),
            key: new_key(ids),
            key2: new_key(ids),
            ..Namespace::default()
        }))
    }
}

fn read_tags(tags: &Value) -> Result<BTreeMap<String, String>, Error> {
    let broken = || Error::InvalidBody("tags must be an object of strings".to_owned());
    if tags.is_null() {
        return Ok(BTreeMap::new());
    }
    let tags = tags.as_object().ok_or_else(broken)?;
    tags.iter()
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(broken)
}

/// Changes tags and some properties of a namespace.
pub(crate) fn patch(
    scope: &str,
    state: &Arc<NamespaceState>,
    body: &Value,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    check_object("it", body)
        .and_then(|()| check_members(body, &RESOURCE))
        .map_err(Error::InvalidBody)?;
    let mut edit = Edit::of(state.clone());
    if let Some(properties) = body.get("properties") {
        edit.patch(&ITSELF, properties.clone())?;
    }
    if let Some(tags) = body.get("tags") {
        edit.next.tags = read_tags(tags)?;
    }
    edit.check()?;
    edit.commit(walk.receipt.now, &walk.app.ids);
    Ok(whole(walk, 200, &object(scope, state)))
}

/// A namespace as the resource manager shows it. Its keys are not among its properties.
pub(crate) fn object(scope: &str, state: &NamespaceState) -> Value {
    let resources = state.resources();
    let mut configuration =
        serde_json::to_value(&resources.topic_spaces_configuration).unwrap_or_default();
    merge(
        &mut configuration,
        json!({"hostname": resources.mqtt_host()}),
    );
    json!({
        "id": format!("{scope}/{}", resources.name),
        "name": resources.name,
        "type": NAMESPACE,
        "location": resources.location,
        "tags": resources.tags,
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {
            "provisioningState": "Succeeded",
            "topicsConfiguration": {"hostname": resources.topic_host()},
            "topicSpacesConfiguration": configuration,
        },
    })
}

/// Shows the two keys of a namespace or of one topic, after one was made anew if that is asked.
pub(crate) fn keys(
    state: &Arc<NamespaceState>,
    topic: Option<&str>,
    action: KeyAction,
    body: &Value,
    walk: &Walk<'_>,
) -> Result<Answer, Error> {
    let ids = &walk.app.ids;
    let mut edit = Edit::of(state.clone());
    let second = match action {
        KeyAction::List => None,
        KeyAction::Regenerate => Some(which(body)?),
    };
    let (one, two) = match topic {
        None => (&mut edit.next.key, &mut edit.next.key2),
        Some(name) => {
            let mut topics = edit.next.topics.iter_mut();
            let topic = topics
                .find(|one| one.name.eq_ignore_ascii_case(name))
                .ok_or_else(|| no_topic(Some(name)))?;
            (
                topic.key.get_or_insert_with(|| new_key(ids)),
                topic.key2.get_or_insert_with(|| new_key(ids)),
            )
        }
    };
    match second {
        None => {}
        Some(false) => *one = new_key(ids),
        Some(true) => *two = new_key(ids),
    }
    let shown = json!({"key1": one.expose(), "key2": two.expose()});
    edit.commit(walk.receipt.now, ids);
    Ok(whole(walk, 200, &shown))
}

/// Whether the second key is meant.
fn which(body: &Value) -> Result<bool, Error> {
    let name = body.get("keyName").and_then(Value::as_str).unwrap_or("");
    match name.to_ascii_lowercase().as_str() {
        "key1" => Ok(false),
        "key2" => Ok(true),
        _ => Err(Error::InvalidBody(format!(
            "its keyName is {name:?}, it must be \"key1\" or \"key2\""
        ))),
    }
}

fn new_key(ids: &Ids) -> Secret {
    Secret::new(STANDARD.encode(ids.bytes::<32>()))
}
