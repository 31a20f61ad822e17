//! Authorization policies: `CreateAuthorizationPolicy`, `ModifyAuthorizationPolicy`,
//! `DeleteAuthorizationPolicy`, `DescribeAuthorizationPolicies`,
//! `UpdateAuthorizationPolicyPriority`. A change is in force for the next request at once (the
//! cloud spreads it "regularly").

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::parameters::{Parameters, at_most, value};
use super::{Fields, fields, nothing};
use crate::error::{Error, Resource};
use crate::policy::{Action, Effect, Policy, is_address};
use crate::store::{Instance, Resources};

/// What a call says about a policy, each part only where it was given.
#[derive(Debug, Default)]
struct Change {
    name: Option<String>,
    priority: Option<i64>,
    effect: Option<Effect>,
    actions: Option<Vec<Action>>,
    resources: Option<Vec<String>>,
    username: Option<String>,
    client_id: Option<String>,
    ip: Option<String>,
    qos: Option<Vec<u8>>,
    retain: Option<u8>,
    remark: Option<String>,
}

impl Change {
    fn read(parameters: &Parameters) -> Result<Self, Error> {
        if let Some(version) = parameters.integer("PolicyVersion")?
            && version != 1
        {
            return Err(value("PolicyVersion", "1 is the only one"));
        }
        let retain = parameters
            .integer("Retain")?
            .map(|_| parameters.bounded("Retain", 3, 1..=3))
            .transpose()?;
        let remark = parameters.text("Remark")?.map(str::to_owned);
        at_most("Remark", remark.as_deref().unwrap_or_default(), 128)?;
        Ok(Self {
            name: parameters.text("PolicyName")?.map(name).transpose()?,
            priority: parameters.integer("Priority")?,
            effect: parameters.text("Effect")?.map(effect).transpose()?,
            actions: parameters.text("Actions")?.map(actions).transpose()?,
            resources: parameters.text("Resources")?.map(list),
            username: parameters.text("Username")?.map(str::to_owned),
            client_id: parameters.text("ClientId")?.map(str::to_owned),
            ip: parameters.text("Ip")?.map(address).transpose()?,
            qos: parameters.text("Qos")?.map(qos).transpose()?,
            retain: retain.and_then(|retain| u8::try_from(retain).ok()),
            remark,
        })
    }

    fn apply(self, policy: &mut Policy) {
        fn set<T>(field: &mut T, change: Option<T>) {
            if let Some(change) = change {
                *field = change;
            }
        }
        // An empty condition is none.
        fn condition(field: &mut Option<String>, change: Option<String>) {
            if let Some(text) = change {
                *field = Some(text).filter(|text| !text.is_empty());
            }
        }
        set(&mut policy.name, self.name);
        set(&mut policy.priority, self.priority);
        set(&mut policy.effect, self.effect);
        set(&mut policy.actions, self.actions);
        set(&mut policy.resources, self.resources);
        condition(&mut policy.username, self.username);
        condition(&mut policy.client_id, self.client_id);
        condition(&mut policy.ip, self.ip);
        set(&mut policy.qos, self.qos);
        set(&mut policy.retain, self.retain);
        set(&mut policy.remark, self.remark);
    }
}

/// 3 to 64 characters: Chinese or other letters, digits, `-` and `_`.
fn name(text: &str) -> Result<String, Error> {
    let good = text
        .chars()
        .all(|character| character.is_alphanumeric() || matches!(character, '-' | '_'));
    if good && (3..=64).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err(value(
        "PolicyName",
        "it must be 3 to 64 letters, digits, \"-\" and \"_\"",
    ))
}

fn effect(text: &str) -> Result<Effect, Error> {
    [Effect::Allow, Effect::Deny]
        .into_iter()
        .find(|effect| effect.as_str() == text)
        .ok_or_else(|| value("Effect", format!("{text:?} is neither allow nor deny")))
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn actions(text: &str) -> Result<Vec<Action>, Error> {
    let actions: Option<Vec<Action>> = list(text).iter().map(|it| Action::parse(it)).collect();
    actions
        .filter(|actions| !actions.is_empty())
        .ok_or_else(|| {
            value(
                "Actions",
                format!("{text:?} is no list of connect, pub and sub"),
            )
        })
}

fn qos(text: &str) -> Result<Vec<u8>, Error> {
    list(text)
        .iter()
        .map(|level| level.parse().ok().filter(|level| *level <= 2))
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| value("Qos", format!("{text:?} is no list of 0, 1 and 2")))
}

fn address(text: &str) -> Result<String, Error> {
    if text.is_empty() || is_address(text) {
        return Ok(text.to_owned());
    }
    Err(value(
        "Ip",
        format!("{text:?} is neither an address nor a network"),
    ))
}

fn check_unique(resources: &Resources, policy: &Policy) -> Result<(), Error> {
    let mut others = resources
        .policies
        .iter()
        .filter(|other| other.id != policy.id);
    if others.clone().any(|other| other.name == policy.name) {
        return Err(Error::DuplicatePolicy(policy.name.clone()));
    }
    if others.any(|other| other.priority == policy.priority) {
        return Err(Error::DuplicatePriority(policy.priority));
    }
    Ok(())
}

fn not_found(id: i64) -> Error {
    Error::NotFound {
        resource: Resource::AuthorizationPolicy,
        name: id.to_string(),
    }
}

fn position(resources: &Resources, id: i64) -> Result<usize, Error> {
    resources
        .policies
        .iter()
        .position(|policy| policy.id == id)
        .ok_or_else(|| not_found(id))
}

pub(super) fn create_authorization_policy(
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    parameters.needed_text("PolicyName")?;
    for needed in ["PolicyVersion", "Priority"] {
        parameters.needed_integer(needed)?;
    }
    for needed in ["Effect", "Actions"] {
        parameters.needed_text(needed)?;
    }
    parameters.needed_integer("Retain")?;
    parameters.needed_text("Qos")?;
    let mut policy = Policy {
        created_ms: now.as_millisecond(),
        updated_ms: now.as_millisecond(),
        ..Policy::default()
    };
    Change::read(parameters)?.apply(&mut policy);
    let mut resources = instance.resources.write();
    check_unique(&resources, &policy)?;
    let id = resources.add_policy(policy);
    Ok(fields(json!({"InstanceId": instance.id, "Id": id})))
}

pub(super) fn modify_authorization_policy(
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    let id = parameters.needed_integer("Id")?;
    let change = Change::read(parameters)?;
    let mut resources = instance.resources.write();
    let at = position(&resources, id)?;
    let mut policy = resources.policies[at].clone();
    change.apply(&mut policy);
    policy.updated_ms = now.as_millisecond();
    check_unique(&resources, &policy)?;
    resources.policies[at] = policy;
    Ok(nothing())
}

pub(super) fn delete_authorization_policy(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let id = parameters.needed_integer("Id")?;
    let mut resources = instance.resources.write();
    let at = position(&resources, id)?;
    resources.policies.remove(at);
    Ok(nothing())
}

pub(super) fn describe_authorization_policies(instance: &Instance) -> Fields {
    let resources = instance.resources.read();
    let mut policies: Vec<&Policy> = resources.policies.iter().collect();
    policies.sort_by_key(|policy| policy.priority);
    let data: Vec<Value> = policies
        .into_iter()
        .map(|policy| describe(instance, policy))
        .collect();
    fields(json!({"Data": data}))
}

fn describe(instance: &Instance, policy: &Policy) -> Value {
    let actions: Vec<&str> = policy.actions.iter().map(|it| it.as_str()).collect();
    let qos: Vec<String> = policy.qos.iter().map(ToString::to_string).collect();
    json!({
        "Id": policy.id,
        "InstanceId": instance.id,
        "PolicyName": policy.name,
        "Version": 1,
        "Priority": policy.priority,
        "Effect": policy.effect.as_str(),
        "Actions": actions.join(","),
        "Resources": policy.resources.join(","),
        "ClientId": policy.client_id.as_deref().unwrap_or_default(),
        "Username": policy.username.as_deref().unwrap_or_default(),
        "Ip": policy.ip.as_deref().unwrap_or_default(),
        "Qos": qos.join(","),
        "Retain": policy.retain,
        "Remark": policy.remark,
        "CreatedTime": policy.created_ms,
        "UpdateTime": policy.updated_ms,
    })
}

/// All or nothing: the priorities as they would be must be unique.
pub(super) fn update_authorization_policy_priority(
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    let changes = parameters
        .objects("Priorities")?
        .into_iter()
        .map(priority)
        .collect::<Result<Vec<_>, _>>()?;
    if changes.is_empty() {
        return Err(Error::Missing("Priorities"));
    }
    let mut resources = instance.resources.write();
    let mut next = resources.clone();
    for (id, priority) in changes {
        let at = position(&next, id)?;
        next.policies[at].priority = priority;
        next.policies[at].updated_ms = now.as_millisecond();
    }
    for policy in &next.policies {
        check_unique(&next, policy)?;
    }
    *resources = next;
    Ok(nothing())
}

fn priority(item: &Map<String, Value>) -> Result<(i64, i64), Error> {
    let number = |field| item.get(field).and_then(Value::as_i64);
    number("Id").zip(number("Priority")).ok_or_else(|| {
        value(
            "Priorities",
            "every item has an Id and a Priority, both integers",
        )
    })
}
