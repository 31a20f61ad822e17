//! Permissions of custom authentication: which topics an identity may publish and subscribe to.

use mqttstack_pipeline::Walk;

use super::Fields;
use super::custom_auth::{
    IDENTITY_TYPES, Page, changed, check_client_id, deleted, type_name, use_instance,
};
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::custom::{Permission, PermissionKey};
use crate::topic;
use crate::wire::{Field, Value};

/// Publish, subscribe (documented).
const PERMIT_ACTIONS: &[(&str, (bool, bool))] = &[
    ("PUB", (true, false)),
    ("SUB", (false, true)),
    ("PUB_SUB", (true, true)),
];

const EFFECTS: &[(&str, bool)] = &[("ALLOW", true), ("DENY", false)];

fn spelling<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    let found = words.iter().find(|(_, known)| known == value);
    found.map_or("", |(word, _)| word)
}

/// What names a permission: an identity and a topic.
#[derive(Debug)]
struct Name {
    instance_id: String,
    identity: String,
    identity_type: String,
    topic: String,
}

impl Name {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            identity: parameters.required("Identity")?.to_owned(),
            identity_type: parameters.required("IdentityType")?.to_owned(),
            topic: parameters.required("Topic")?.to_owned(),
        })
    }

    fn read(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<PermissionKey, Error> {
        let kind = super::word(
            "IdentityType",
            &self.identity_type,
            IDENTITY_TYPES,
            walk.draft,
        )?;
        // A user name is as long at most.
        check_client_id("Identity", &self.identity, walk)?;
        use_instance(aliyun, &self.instance_id, walk)?;
        Ok(PermissionKey {
            instance: self.instance_id,
            kind,
            identity: self.identity,
            topic: self.topic,
        })
    }
}

/// A new or changed permission.
#[derive(Debug)]
struct Change {
    name: Name,
    permit_action: String,
    effect: String,
}

impl Change {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: Name::parse(parameters)?,
            permit_action: parameters.required("PermitAction")?.to_owned(),
            effect: parameters.required("Effect")?.to_owned(),
        })
    }

    fn read(
        self,
        aliyun: &Aliyun,
        walk: &mut Walk<'_>,
    ) -> Result<(PermissionKey, Permission), Error> {
        let action = super::word(
            "PermitAction",
            &self.permit_action,
            PERMIT_ACTIONS,
            walk.draft,
        );
        let (publish, subscribe) = action?;
        let allow = super::word("Effect", &self.effect, EFFECTS, walk.draft)?;
        let name = self.name;
        let parent = topic::parent_of_filter(&name.topic, &aliyun.settings).map_err(|problem| {
            walk.draft
                .note(format!("Topic {:?}: {problem}", name.topic));
            Error::ParameterCheckFailed
        })?;
        super::use_topic(aliyun, &name.instance_id, parent, walk)?;
        let permission = Permission {
            publish,
            subscribe,
            allow,
        };
        Ok((name.read(aliyun, walk)?, permission))
    }
}

/// `AddCustomAuthPermission`.
#[derive(Debug)]
pub(crate) struct AddCustomAuthPermission(Change);

impl AddCustomAuthPermission {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Change::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let (key, value) = self.0.read(aliyun, walk)?;
        let result = aliyun.store.custom.permissions.add(key, value);
        changed(result, "a permission", walk)
    }
}

/// `UpdateCustomAuthPermission`.
#[derive(Debug)]
pub(crate) struct UpdateCustomAuthPermission(Change);

impl UpdateCustomAuthPermission {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Change::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let (key, value) = self.0.read(aliyun, walk)?;
        let result = aliyun.store.custom.permissions.update(&key, value);
        changed(result, "a permission", walk)
    }
}

/// `DeleteCustomAuthPermission`.
#[derive(Debug)]
pub(crate) struct DeleteCustomAuthPermission(Name);

impl DeleteCustomAuthPermission {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Name::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let key = self.0.read(aliyun, walk)?;
        let was_there = aliyun.store.custom.permissions.remove(&key);
        Ok(deleted(was_there, "a permission", walk))
    }
}

/// `QueryCustomAuthPermission`: all permissions, or those of an identity, a type or a topic.
#[derive(Debug)]
pub(crate) struct QueryCustomAuthPermission {
    instance_id: String,
    identity: String,
    identity_type: String,
    topic: String,
    page: Page,
}

impl QueryCustomAuthPermission {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        let text = |name| parameters.get(name).to_owned();
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            identity: text("Identity"),
            identity_type: text("IdentityType"),
            topic: text("Topic"),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        use_instance(aliyun, &self.instance_id, walk)?;
        let wanted = |asked: &str, value: &str| asked.is_empty() || asked == value;
        let found = aliyun.store.custom.permissions.select(|key| {
            key.instance == self.instance_id
                && wanted(&self.identity, &key.identity)
                && wanted(&self.identity_type, type_name(key.kind))
                && wanted(&self.topic, &key.topic)
        });
        let items = found
            .into_iter()
            .map(|(key, permission)| item(key, permission));
        self.page.answer(items.collect(), walk)
    }
}

fn item(key: PermissionKey, permission: Permission) -> Value<'static> {
    let action = (permission.publish, permission.subscribe);
    Value::Object(vec![
        Field::new("Identity", key.identity),
        Field::new("IdentityType", type_name(key.kind)),
        Field::new("Topic", key.topic),
        Field::new("PermitAction", spelling(PERMIT_ACTIONS, &action)),
        Field::new("Effect", spelling(EFFECTS, &permission.allow)),
    ])
}
