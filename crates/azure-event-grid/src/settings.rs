//! What of Azure is configured: identities, namespaces and what is in them. Resources carry the
//! property names of the vendor's resource templates, so that a Bicep or ARM object can be
//! pasted; those shapes are in `resources.rs`.

use std::collections::BTreeMap;

use mqttstack_base::secret::Secret;
use serde::{Deserialize, Serialize};

use super::model::limits;
use super::model::resources::Namespace;
use super::model::roles::{ROLES, RoleAssignment, SEEDED_ROLES, is_known_role};

/// How much of a token is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// No token and no key is needed; a readable token still names the caller.
    Off,
    /// Shape, times, audience and object id; neither signature nor issuer nor role.
    Lenient,
    /// Everything.
    Strict,
}

impl Auth {
    /// What is not looked at, as a hint for the journal.
    pub(crate) fn hint(self) -> Option<String> {
        match self {
            Self::Strict => None,
            Self::Lenient => Some(
                "azure.auth is lenient: signature, issuer and role were not checked".to_owned(),
            ),
            Self::Off => Some("azure.auth is off: the credentials were not checked".to_owned()),
        }
    }
}

/// A service principal or managed identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The object id: `oid` of its tokens and its MQTT client id.
    pub object_id: String,
    /// The application (client) id.
    pub client_id: String,
    /// The resource id of its managed identity
    /// (`/subscriptions/.../userAssignedIdentities/{name}`), for requests that choose it by that.
    #[serde(default)]
    pub resource_id: Option<String>,
    /// The client secret; without one, client secret credentials are refused.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// A PEM public key that client assertions must be signed with; without one, any is taken.
    #[serde(default)]
    pub assertion_key: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub roles: Vec<RoleAssignment>,
}

/// An issuer outside the emulator whose tokens are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_field_names,
    reason = "`issuer` is a key of the configuration"
)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its key set is (`http` or `https`).
    pub jwks_url: String,
    /// Roles of callers that are not among the principals.
    #[serde(default)]
    pub roles: Vec<RoleAssignment>,
}

/// The Azure surface's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
pub struct Settings {
    /// The tenant of tokens that name none, a UUID.
    pub tenant: String,
    /// How much of a token is looked at (default strict).
    pub auth: Auth,
    /// Whether unknown tenants, namespaces' topics and event subscriptions come into being on
    /// first use (default true).
    pub auto_create: bool,
    /// Refuses what only the documents' contradictions allow: user properties as raw JSON,
    /// api-versions that no page names (default false).
    pub strict_parameters: bool,
    /// The status of every accepted HTTP publish, 202 or 204; without it 202 where a routing
    /// topic is set, else 204.
    pub publish_status: Option<u16>,
    /// Further audiences that tokens may carry.
    pub audiences: Vec<String>,
    /// The version of the tokens made here, 1 or 2 (default 1): it decides issuer and claims.
    pub token_version: u8,
    /// How long a token lives, in seconds (default 3599, as the vendor's).
    pub token_seconds: u32,
    /// The PEM private key (RSA, PKCS#8 or PKCS#1) that tokens are signed with; without it one
    /// is made on first use.
    pub signing_key: Option<Secret>,
    /// Whether the limits on sizes and segments apply (default true).
    pub limits: bool,
    /// Whether a SUBSCRIBE may have a subscription identifier (default true: the vendor's blog says
    /// so, its support page of July 2025 does not).
    pub subscription_identifiers: bool,
    /// How many deliveries of QoS 1 a client may leave unacknowledged before it gets no more
    /// (default 16 as the vendor's troubleshooting page says; its limits page says 100).
    pub outbound_in_flight: u16,
    /// Calls per second of one caller, by operation (`HttpPublish`, ...); none by default.
    /// The vendor's own rates are those of `throughput_units`.
    pub quotas: BTreeMap<String, u32>,
    /// How long a namespace's webhook may take to decide, in milliseconds (default 5,000: the
    /// vendor's "approximately 5 seconds").
    pub webhook_timeout_ms: u64,
    /// Throughput units of every namespace, 1 to 40: the rates of the vendor's limits page apply,
    /// over HTTP and MQTT, and its number of retained messages; 0 (default) for none.
    pub throughput_units: u32,
    /// Topics of a namespace beyond which none comes into being by its use (default 10,000).
    pub max_topics: usize,
    /// The same of the event subscriptions of a namespace, over all its topics (default 10,000).
    pub max_event_subscriptions: usize,
    /// Bytes that the waiting events of a namespace may occupy (default 64 MiB); then publishing
    /// events is refused.
    pub max_event_bytes: usize,
    /// Sessions of a namespace, connected or not (default 10,000, the vendor's of one throughput
    /// unit).
    pub max_sessions: usize,
    /// PEM file of further certificate authorities for custom topics and issuers over https.
    pub trusted_ca: Option<String>,
    /// The namespaces; the first answers to host names that name none.
    pub namespaces: Vec<Namespace>,
    /// The identities; the first is the system-assigned managed identity.
    pub principals: Vec<Principal>,
    /// Issuers outside the emulator.
    pub issuers: Vec<Issuer>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tenant: "11111111-1111-1111-1111-111111111111".to_owned(),
            auth: Auth::Strict,
            auto_create: true,
            strict_parameters: false,
            publish_status: None,
            audiences: Vec::new(),
            token_version: 1,
            token_seconds: 3599,
            signing_key: None,
            limits: true,
            subscription_identifiers: true,
            outbound_in_flight: 16,
            quotas: BTreeMap::new(),
            webhook_timeout_ms: 5_000,
            throughput_units: 0,
            max_topics: 10_000,
            max_event_subscriptions: 10_000,
            max_event_bytes: 64 << 20,
            max_sessions: 10_000,
            trusted_ca: None,
            namespaces: vec![Namespace::default()],
            principals: vec![Principal {
                object_id: "33333333-3333-3333-3333-333333333333".to_owned(),
                client_id: "22222222-2222-2222-2222-222222222222".to_owned(),
                resource_id: None,
                secret: Some(Secret::new("testsecret")),
                assertion_key: None,
                roles: SEEDED_ROLES
                    .iter()
                    .map(|role| RoleAssignment::Everywhere((*role).to_owned()))
                    .collect(),
            }],
            issuers: Vec::new(),
        }
    }
}

/// A value of the configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {why}")]
pub struct SettingsError {
    /// The key, as a path from the file's root.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl SettingsError {
    pub(crate) fn new(key: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self {
            key: key.into(),
            why: why.to_string(),
        }
    }
}

impl Settings {
    /// The principal with this object id.
    pub fn principal(&self, object_id: &str) -> Option<&Principal> {
        self.principals
            .iter()
            .find(|principal| principal.object_id.eq_ignore_ascii_case(object_id))
    }

    /// The principal with this client id.
    pub fn application(&self, client_id: &str) -> Option<&Principal> {
        self.principals
            .iter()
            .find(|principal| principal.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The principal whose managed identity has this resource id.
    pub(crate) fn managed_identity(&self, resource_id: &str) -> Option<&Principal> {
        self.principals.iter().find(|principal| {
            let known = principal.resource_id.as_deref();
            known.is_some_and(|known| known.eq_ignore_ascii_case(resource_id))
        })
    }

    /// How many retained messages a namespace may have, if that is limited.
    pub(crate) fn retained_messages(&self) -> Option<usize> {
        let units = usize::try_from(self.throughput_units).unwrap_or(usize::MAX);
        (units > 0).then(|| limits::RETAINED_MESSAGES.saturating_mul(units))
    }

    /// Checks what types alone do not say, but for the namespaces and the names of operations.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if !matches!(self.token_version, 1 | 2) {
            return Err(SettingsError::new(
                "azure.token_version",
                "it must be 1 or 2",
            ));
        }
        if !matches!(self.publish_status, None | Some(202 | 204)) {
            return Err(SettingsError::new(
                "azure.publish_status",
                "it must be 202 or 204",
            ));
        }
        if self.throughput_units > 40 {
            return Err(SettingsError::new(
                "azure.throughput_units",
                "it must be 0 to 40",
            ));
        }
        if self.outbound_in_flight == 0 {
            return Err(SettingsError::new(
                "azure.outbound_in_flight",
                "it must be at least 1",
            ));
        }
        if self.namespaces.is_empty() {
            return Err(SettingsError::new(
                "azure.namespaces",
                "at least one namespace is needed",
            ));
        }
        for principal in &self.principals {
            for role in &principal.roles {
                if !is_known_role(role.role()) {
                    return Err(SettingsError::new(
                        "azure.principals.roles",
                        format!(
                            "{:?} is not a role; there are {}",
                            role.role(),
                            ROLES.join(", ")
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}
