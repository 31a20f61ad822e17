//! What can be asked: paths and methods, and the operation that each is.

use mqttstack_base::exchange::Head;

use super::parameters;
use super::resources::ResourceId;
use crate::error::Error;

/// Every operation, as the journal and the configured rates name it.
pub(crate) const OPERATIONS: [&str; 15] = [
    "HttpPublish",
    "GetRetainedMessage",
    "ListRetainedMessages",
    "PublishCloudEvents",
    "ReceiveCloudEvents",
    "AcknowledgeCloudEvents",
    "ReleaseCloudEvents",
    "RejectCloudEvents",
    "RenewCloudEventLocks",
    "GetManagedIdentityToken",
    "GetOpenIdConfiguration",
    "GetToken",
    "GetSigningKeys",
    "DiscoverInstance",
    "ManageResource",
];

/// A path of the surface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/mqtt/messages`
    Publish,
    /// `/mqtt/retainedMessages/message`
    GetRetained,
    /// `/mqtt/retainedMessages`
    ListRetained,
    /// `/topics/{topic}:publish`
    PublishEvents {
        /// The namespace topic.
        topic: String,
    },
    /// `/topics/{topic}/eventsubscriptions/{subscription}:{action}`
    Subscription {
        /// The namespace topic.
        topic: String,
        /// The event subscription.
        subscription: String,
        /// What is done.
        action: Action,
    },
    /// `/metadata/identity/oauth2/token`, `/msi/token`
    ManagedIdentity,
    /// `/{tenant}[/v2.0]/.well-known/openid-configuration`
    OpenIdConfiguration {
        /// The tenant.
        tenant: String,
        /// 1 or 2.
        version: u8,
    },
    /// `/{tenant}/oauth2[/v2.0]/token`
    Token {
        /// The tenant.
        tenant: String,
    },
    /// `/{tenant}/discovery[/v2.0]/keys`
    Keys {
        /// The tenant.
        tenant: String,
    },
    /// `/{tenant}/discovery/instance`
    Instance,
    /// `/subscriptions/.../namespaces[/{namespace}[/{kind}/{name}]]`, `.../deployments/{name}`
    Resource(ResourceId),
}

/// What is done with an event subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the vendor's and say it all")]
pub(crate) enum Action {
    Receive,
    Acknowledge,
    Release,
    Reject,
    RenewLock,
}

impl Route {
    /// Reads the path and checks the method.
    pub(crate) fn of(head: &Head) -> Result<Self, Error> {
        let path = head.path();
        let route = Self::parse(path)?.ok_or_else(|| Error::NotFound(format!(
            "There is nothing at {path:?}: known are /mqtt/messages, /mqtt/retainedMessages, /topics/{{topic}}:publish, /topics/{{topic}}/eventsubscriptions/{{name}}:receive and the token endpoints"
        )))?;
        let allowed = route.methods();
        if allowed.split(", ").any(|method| head.method == method) {
            Ok(route)
        } else {
            Err(Error::Method(allowed))
        }
    }

    fn parse(path: &str) -> Result<Option<Self>, Error> {
        let trimmed = path.trim_start_matches('/').trim_end_matches('/');
        let segments: Vec<&str> = trimmed.split('/').collect();
        Ok(Some(match segments.as_slice() {
            ["mqtt", "messages"] => Self::Publish,
            ["mqtt", "retainedMessages"] => Self::ListRetained,
            ["mqtt", "retainedMessages", "message"] => Self::GetRetained,
            ["topics", last] => match last.rsplit_once(':') {
                Some((topic, "publish")) => Self::PublishEvents {
                    topic: parameters::decode(topic, "topicName")?,
                },
                _ => return Ok(None),
            },
            ["topics", topic, "eventsubscriptions", last] => match last.rsplit_once(':') {
                Some((subscription, action)) => {
                    let Some(action) = Action::find(action) else {
                        return Ok(None);
                    };
                    Self::Subscription {
                        topic: parameters::decode(topic, "topicName")?,
                        subscription: parameters::decode(subscription, "eventSubscriptionName")?,
                        action,
                    }
                }
                None => return Ok(None),
            },
            ["metadata", "identity", "oauth2", "token"] | ["msi", "token"] => Self::ManagedIdentity,
            ["subscriptions", rest @ ..] => match ResourceId::parse(rest)? {
                Some(id) => Self::Resource(id),
                None => return Ok(None),
            },
            _ => return Self::parse_entra(&segments),
        }))
    }

    /// The identity platform's paths, which begin with a tenant.
    fn parse_entra(segments: &[&str]) -> Result<Option<Self>, Error> {
        let tenant = || parameters::decode(segments[0], "tenant");
        Ok(Some(match segments {
            [_, ".well-known", "openid-configuration"] => Self::OpenIdConfiguration {
                tenant: tenant()?,
                version: 1,
            },
            [_, "v2.0", ".well-known", "openid-configuration"] => Self::OpenIdConfiguration {
                tenant: tenant()?,
                version: 2,
            },
            [_, "oauth2", "token"] | [_, "oauth2", "v2.0", "token"] => {
                Self::Token { tenant: tenant()? }
            }
            [_, "discovery", "keys"] | [_, "discovery", "v2.0", "keys"] => {
                Self::Keys { tenant: tenant()? }
            }
            [_, "discovery", "instance"] => Self::Instance,
            _ => return Ok(None),
        }))
    }

    /// Whether a path belongs to this surface, for the edge.
    pub(crate) fn knows(path: &str) -> bool {
        !matches!(Self::parse(path), Ok(None))
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Publish
            | Self::PublishEvents { .. }
            | Self::Subscription { .. }
            | Self::Token { .. } => "POST",
            Self::GetRetained
            | Self::ListRetained
            | Self::OpenIdConfiguration { .. }
            | Self::Keys { .. }
            | Self::Instance => "GET",
            Self::ManagedIdentity => "GET, POST",
            Self::Resource(id) => id.methods(),
        }
    }

    /// The operation's name.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Publish => "HttpPublish",
            Self::GetRetained => "GetRetainedMessage",
            Self::ListRetained => "ListRetainedMessages",
            Self::PublishEvents { .. } => "PublishCloudEvents",
            Self::Subscription { action, .. } => match action {
                Action::Receive => "ReceiveCloudEvents",
                Action::Acknowledge => "AcknowledgeCloudEvents",
                Action::Release => "ReleaseCloudEvents",
                Action::Reject => "RejectCloudEvents",
                Action::RenewLock => "RenewCloudEventLocks",
            },
            Self::ManagedIdentity => "GetManagedIdentityToken",
            Self::OpenIdConfiguration { .. } => "GetOpenIdConfiguration",
            Self::Token { .. } => "GetToken",
            Self::Keys { .. } => "GetSigningKeys",
            Self::Instance => "DiscoverInstance",
            Self::Resource(_) => "ManageResource",
        }
    }
}

impl Action {
    fn find(name: &str) -> Option<Self> {
        Some(match name {
            "receive" => Self::Receive,
            "acknowledge" => Self::Acknowledge,
            "release" => Self::Release,
            "reject" => Self::Reject,
            "renewLock" => Self::RenewLock,
            _ => return None,
        })
    }
}
