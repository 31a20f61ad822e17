//! Who is behind a connection: what its credentials have shown, and until when that is good.

use jiff::Timestamp;
use mqttstack_broker::dialect::{ConnectCode, ConnectRefusal};
use serde_json::Value;

use crate::model::access;
use crate::model::attribute::{Attribute, Attributes, Identity};
use crate::model::resources::{Namespace, Permission};
use crate::model::roles::RoleAssignment;

/// Who is behind a session.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// An Entra identity.
    Principal {
        object_id: String,
        roles: Option<Vec<RoleAssignment>>,
    },
    /// A client resource, the subject of a custom token, or whom a webhook named.
    Client {
        authentication_name: String,
        attributes: Attributes,
        /// Whether it is a client resource.
        registered: bool,
    },
}

impl Who {
    /// The authentication name; of an Entra identity its object id.
    pub(super) fn authentication_name(&self) -> &str {
        match self {
            Self::Principal { object_id, .. } => object_id,
            Self::Client {
                authentication_name,
                ..
            } => authentication_name,
        }
    }

    /// Whether it may use a topic name or filter; the error says why not.
    pub(super) fn may(
        &self,
        namespace: &Namespace,
        permission: Permission,
        topic: &str,
    ) -> Result<(), String> {
        match self {
            Self::Principal { object_id, roles } => {
                access::identity_may(namespace, object_id, roles.as_deref(), permission, topic)
            }
            Self::Client {
                authentication_name,
                attributes,
                registered,
            } => {
                // A client resource may have been changed since it connected.
                let known = registered
                    .then(|| access::find_client(namespace, authentication_name))
                    .flatten();
                let identity = Identity {
                    authentication_name,
                    attributes: Some(
                        known.map_or(attributes, |known| &known.properties.attributes),
                    ),
                };
                access::client_may(namespace, identity, permission, topic)
            }
        }
    }
}

/// Who connects, and until when that is good.
#[derive(Debug)]
pub(super) struct Identified {
    pub who: Who,
    pub expires: Option<Expiry>,
}

pub(super) fn not_authorized(reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code: ConnectCode::NotAuthorized,
        reason: reason.into(),
    }
}

/// Until when a client's credentials are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expiry {
    /// The time.
    pub at: Timestamp,
    /// What it is that ends then.
    pub of: &'static str,
}

impl Expiry {
    /// The reason to give at `now`; `None` while they are good.
    pub(super) fn reason(&self, now: Timestamp) -> Option<String> {
        (now >= self.at).then(|| format!("{} expired at {}, and it is {now}", self.of, self.at))
    }
}

/// A value that an attribute can have.
pub(super) fn attribute(value: &Value) -> Option<Attribute> {
    match value {
        Value::String(text) => Some(Attribute::Text(text.clone())),
        Value::Number(number) => number
            .as_i64()
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Attribute::Integer),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Attribute::List),
        _ => None,
    }
}
