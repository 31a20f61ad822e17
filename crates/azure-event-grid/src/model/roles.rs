//! Roles of Entra identities: which there are, and how one is assigned.

use serde::{Deserialize, Serialize};

/// The role that lets an identity publish.
pub(crate) const PUBLISHER: &str = "EventGrid TopicSpaces Publisher";
/// The role that lets an identity subscribe.
pub(crate) const SUBSCRIBER: &str = "EventGrid TopicSpaces Subscriber";
/// The role that lets an identity publish events to topics.
pub(crate) const DATA_SENDER: &str = "EventGrid Data Sender";
/// The role that lets an identity receive and settle events.
pub(crate) const DATA_RECEIVER: &str = "EventGrid Data Receiver";
/// The role that may do both.
pub(crate) const DATA_CONTRIBUTOR: &str = "EventGrid Data Contributor";
/// The roles of the seeded principal: everything.
pub(crate) const SEEDED_ROLES: [&str; 3] = [PUBLISHER, SUBSCRIBER, DATA_CONTRIBUTOR];
/// Every role that has an effect here.
pub(crate) const ROLES: [&str; 5] = [
    PUBLISHER,
    SUBSCRIBER,
    DATA_SENDER,
    DATA_RECEIVER,
    DATA_CONTRIBUTOR,
];

/// Whether a role has an effect here.
pub(crate) fn is_known_role(role: &str) -> bool {
    ROLES.contains(&role)
}

/// A role given to a principal: its name for the whole namespace, or with a topic space.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a role's name, or a table with role and topic_space"
)]
pub enum RoleAssignment {
    /// On every namespace.
    Everywhere(String),
    /// On one topic space.
    OnTopicSpace {
        /// The role's name.
        role: String,
        /// The topic space's name.
        topic_space: String,
    },
}

impl RoleAssignment {
    /// The role's name.
    pub fn role(&self) -> &str {
        match self {
            Self::Everywhere(role) | Self::OnTopicSpace { role, .. } => role,
        }
    }
}
