//! Who may connect, publish and subscribe: an ordered list of rules, the first that matches
//! decides, and where none matches the answer is no. Pure functions over [`Policy`] and
//! [`Subject`]; how a text condition matches is in `pattern.rs`, where the rules of a token come
//! from in `claims.rs`.
//!
//! Source: cloud.tencent.com/document/product/1778/109715 (2026-02-06) and the parameter list of
//! `CreateAuthorizationPolicy`.

use std::net::IpAddr;

use ipnet::IpNet;
use mqttstack_base::message::Qos;
use serde::{Deserialize, Serialize};

use super::certificate::Identity;
use super::pattern::{Names, Pattern};

/// What a rule says where it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

impl Effect {
    /// As the cloud API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// CONNECT.
    Connect,
    /// PUBLISH.
    Pub,
    /// SUBSCRIBE.
    Sub,
}

impl Action {
    /// As the cloud API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Pub => "pub",
            Self::Sub => "sub",
        }
    }

    /// From the cloud API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Connect, Self::Pub, Self::Sub]
            .into_iter()
            .find(|action| action.as_str() == text)
    }
}

/// One rule, as the configuration and the cloud API write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Its id; given by the emulator where 0.
    #[serde(skip)]
    pub id: i64,
    /// Its name, 3 to 64 characters.
    pub name: String,
    /// Its place: the smaller, the earlier. No two rules of an instance share one.
    pub priority: i64,
    /// What it says.
    pub effect: Effect,
    /// What it is about.
    pub actions: Vec<Action>,
    /// Topic patterns; empty: any topic.
    pub resources: Vec<String>,
    /// A pattern of the user name; none: any, and none at all.
    pub username: Option<String>,
    /// A pattern of the client id (`*` or a regular expression); none: any.
    pub client_id: Option<String>,
    /// An address or a network (CIDR); none: any.
    pub ip: Option<String>,
    /// QoS levels; empty: any.
    pub qos: Vec<u8>,
    /// 1 retained messages, 2 messages that are not retained, 3 both.
    pub retain: u8,
    /// A remark of up to 128 characters.
    pub remark: String,
    /// Unix milliseconds of its making.
    #[serde(skip)]
    pub created_ms: i64,
    /// Unix milliseconds of its last change.
    #[serde(skip)]
    pub updated_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            id: 0,
            name: "allow-all".to_owned(),
            priority: 1,
            effect: Effect::Allow,
            actions: vec![Action::Connect, Action::Pub, Action::Sub],
            resources: Vec::new(),
            username: None,
            client_id: None,
            ip: None,
            qos: Vec::new(),
            retain: 3,
            remark: String::new(),
            created_ms: 0,
            updated_ms: 0,
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    /// The user name, if there is one.
    pub username: Option<String>,
    /// The client id.
    pub client_id: String,
    /// Where from; `None` where the broker cannot tell.
    pub ip: Option<IpAddr>,
    /// The verified client certificate's subject.
    pub certificate: Option<Identity>,
    /// The access list of its token, asked after the policies.
    pub access_list: Vec<Policy>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation<'a> {
    /// To connect. Topics, QoS and retain of a rule do not apply (assumed).
    Connect,
    /// To publish.
    Publish {
        /// The topic name.
        topic: &'a str,
        /// The quality of service.
        qos: Qos,
        /// The retain flag.
        retain: bool,
    },
    /// To subscribe. Retain of a rule does not apply (assumed).
    Subscribe {
        /// The topic filter, without `$share/group/`.
        filter: &'a str,
        /// The requested quality of service.
        qos: Qos,
    },
}

impl Operation<'_> {
    const fn action(self) -> Action {
        match self {
            Self::Connect => Action::Connect,
            Self::Publish { .. } => Action::Pub,
            Self::Subscribe { .. } => Action::Sub,
        }
    }
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The named rule allows it.
    Allowed(String),
    /// The named rule denies it.
    Denied(String),
    /// No rule matches, so it is denied.
    Unmatched,
}

impl Decision {
    /// Whether it is a yes.
    pub(super) const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Asks the chain of authorizers: the policies in the order of their priority, then the access
/// list of the client's token in its own.
pub(super) fn decide(policies: &[Policy], subject: &Subject, operation: Operation<'_>) -> Decision {
    let mut ordered: Vec<&Policy> = policies.iter().collect();
    ordered.sort_by_key(|policy| policy.priority);
    let names = Names {
        username: subject.username.as_deref(),
        client_id: &subject.client_id,
        certificate: subject.certificate.as_ref(),
    };
    let matching = ordered
        .into_iter()
        .chain(&subject.access_list)
        .find(|policy| matches(policy, subject, names, operation));
    match matching {
        Some(policy) if policy.effect == Effect::Allow => Decision::Allowed(policy.name.clone()),
        Some(policy) => Decision::Denied(policy.name.clone()),
        None => Decision::Unmatched,
    }
}

/// Why an operation was denied, for the journal.
pub(super) fn denial(decision: &Decision, subject: &Subject, operation: Operation<'_>) -> String {
    let who = format!(
        "client {:?} with user {:?}",
        subject.client_id,
        subject.username.as_deref().unwrap_or_default()
    );
    let what = match operation {
        Operation::Connect => "connect".to_owned(),
        Operation::Publish { topic, .. } => format!("pub to {topic:?}"),
        Operation::Subscribe { filter, .. } => format!("sub to {filter:?}"),
    };
    match decision {
        Decision::Denied(policy) => format!("policy {policy:?} denies {who} to {what}"),
        _ => format!("no authorization policy matches {who} to {what}, so it is denied"),
    }
}

fn matches(policy: &Policy, subject: &Subject, names: Names<'_>, operation: Operation<'_>) -> bool {
    policy.actions.contains(&operation.action())
        && text_matches(
            policy.username.as_deref(),
            subject.username.as_deref(),
            names,
        )
        && client_id_matches(policy.client_id.as_deref(), subject, names)
        && address_matches(policy.ip.as_deref(), subject.ip)
        && conditions_match(policy, names, operation)
}

fn conditions_match(policy: &Policy, names: Names<'_>, operation: Operation<'_>) -> bool {
    match operation {
        Operation::Connect => true,
        Operation::Publish { topic, qos, retain } => {
            qos_matches(policy, qos)
                && matches!((policy.retain, retain), (3, _) | (1, true) | (2, false))
                && resource_matches(&policy.resources, topic, names)
        }
        Operation::Subscribe { filter, qos } => {
            qos_matches(policy, qos) && resource_matches(&policy.resources, filter, names)
        }
    }
}

fn qos_matches(policy: &Policy, qos: Qos) -> bool {
    policy.qos.is_empty() || policy.qos.contains(&qos.level())
}

fn resource_matches(resources: &[String], topic: &str, names: Names<'_>) -> bool {
    resources.is_empty()
        || resources
            .iter()
            .filter_map(|pattern| Pattern::parse(pattern, names))
            .any(|pattern| pattern.covers(topic))
}

fn text_matches(pattern: Option<&str>, text: Option<&str>, names: Names<'_>) -> bool {
    let Some(pattern) = pattern else { return true };
    Pattern::parse(pattern, names).is_some_and(|pattern| pattern.matches(text.unwrap_or_default()))
}

fn client_id_matches(pattern: Option<&str>, subject: &Subject, names: Names<'_>) -> bool {
    let Some(pattern) = pattern else { return true };
    Pattern::parse(pattern, names).is_some_and(|pattern| {
        pattern.matches(&subject.client_id) || pattern.matches_as_regex(&subject.client_id)
    })
}

fn address_matches(wanted: Option<&str>, from: Option<IpAddr>) -> bool {
    let Some(wanted) = wanted else { return true };
    let Some(from) = from else { return false };
    let network = wanted
        .parse::<IpNet>()
        .or_else(|_| wanted.parse::<IpAddr>().map(IpNet::from));
    network.is_ok_and(|network| network.contains(&from.to_canonical()))
}

/// Whether a text is an address or a network, as the `Ip` condition takes it.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok()
}
