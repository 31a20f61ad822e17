//! The resources of a namespace in the property shapes of the vendor's resource templates
//! (`Microsoft.EventGrid/namespaces/...`, api-version 2025-02-15). Properties that the template has
//! and the emulator does not need are passed over, all others are refused; the emulator's own keys
//! stand beside them in snake case.

use std::collections::BTreeMap;

use mqttstack_base::secret::Secret;
use serde::{Deserialize, Serialize};

use super::attribute::Attribute;
use super::authentication::ClientAuthentication;
use super::enrichment::Enrichments;
use super::parsed::Parsed;
use super::query::Query;
use super::resource::{PassedOver, Resource};
use super::template::Template;
use super::topic::Topic;

impl Resource<ClientProperties> {
    /// The name that the client authenticates by, in its own spelling.
    pub fn authentication_name(&self) -> &str {
        match self.properties.authentication_name.as_str() {
            "" => self.short_name(),
            name => name,
        }
    }
}

/// A namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Its name, the first label of its host names.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its first access key, in base64.
    pub key: Secret,
    /// Its second access key, which is as good as the first.
    pub key2: Secret,
    /// What the resource manager keeps beside it.
    pub tags: BTreeMap<String, String>,
    /// Where accepted MQTT messages are routed to: a namespace topic by name, or a custom topic
    /// by its `http` or `https` address.
    pub route_topic: Option<String>,
    /// The access key of that custom topic, sent as `aeg-sas-key`.
    pub route_key: Option<Secret>,
    /// The namespace topic that session events are put on; without it there are none.
    pub life_cycle_topic: Option<String>,
    /// Namespace topics.
    pub topics: Vec<Topic>,
    /// Authorities that clients' certificates may come from; without any, every one.
    #[serde(alias = "caCertificates")]
    pub ca_certificates: Vec<Resource<CaCertificateProperties>>,
    /// MQTT clients.
    pub clients: Vec<Resource<ClientProperties>>,
    /// Client groups; `$all` is built in.
    #[serde(alias = "clientGroups")]
    pub client_groups: Vec<Resource<ClientGroupProperties>>,
    /// Topic spaces. Without any, every topic is allowed.
    #[serde(alias = "topicSpaces")]
    pub topic_spaces: Vec<Resource<TopicSpaceProperties>>,
    /// Which group may do what in which topic space.
    #[serde(alias = "permissionBindings")]
    pub permission_bindings: Vec<Resource<PermissionBindingProperties>>,
    /// The MQTT broker's own configuration.
    #[serde(alias = "topicSpacesConfiguration")]
    pub topic_spaces_configuration: TopicSpacesConfiguration,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            name: "nsname".to_owned(),
            location: "westus3".to_owned(),
            key: Secret::new("dGVzdGtleQ=="),
            key2: Secret::new("dGVzdGtleTI="),
            tags: BTreeMap::new(),
            route_topic: None,
            route_key: None,
            life_cycle_topic: None,
            topics: Vec::new(),
            ca_certificates: Vec::new(),
            clients: Vec::new(),
            client_groups: Vec::new(),
            topic_spaces: Vec::new(),
            permission_bindings: Vec::new(),
            topic_spaces_configuration: TopicSpacesConfiguration::default(),
        }
    }
}

impl Namespace {
    /// The host name of the MQTT broker and of HTTP publish.
    pub fn mqtt_host(&self) -> String {
        format!("{}.{}-1.ts.eventgrid.azure.net", self.name, self.location)
    }

    /// The host name of the namespace topics.
    pub fn topic_host(&self) -> String {
        format!("{}.{}-1.eventgrid.azure.net", self.name, self.location)
    }

    /// Where messages are routed to: the emulator's own key, else the template's property.
    pub fn route(&self) -> Option<&str> {
        let resource_id = || {
            let id = self
                .topic_spaces_configuration
                .route_topic_resource_id
                .as_deref()?;
            id.rsplit('/').next()
        };
        self.route_topic.as_deref().or_else(resource_id)
    }
}

/// `properties` of a client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientProperties {
    /// The name it authenticates by, compared without case; empty: the resource's name.
    pub authentication_name: String,
    /// `Enabled` or `Disabled`; empty counts as enabled.
    pub state: String,
    /// How its certificate is checked. The resource manager demands it; in the configuration it may
    /// be left out.
    pub client_certificate_authentication: Option<CertificateAuthentication>,
    /// What client groups can ask about it.
    pub attributes: BTreeMap<String, Attribute>,
    /// `description`.
    #[serde(skip_serializing)]
    pub description: PassedOver,
    /// `provisioningState`.
    #[serde(skip_serializing)]
    pub provisioning_state: PassedOver,
}

impl ClientProperties {
    /// Fills in what the resource manager shows although nobody has set it.
    pub(crate) fn fill_in(&mut self, name: &str) {
        let or = |text: &mut String, other: &str| {
            if text.is_empty() {
                other.clone_into(text);
            }
        };
        or(&mut self.authentication_name, name);
        or(&mut self.state, "Enabled");
        if let Some(authentication) = &mut self.client_certificate_authentication {
            let scheme = &mut authentication.validation_scheme;
            or(scheme, "SubjectMatchesAuthenticationName");
        }
    }

    /// Whether it may not connect.
    pub fn is_disabled(&self) -> bool {
        self.state.eq_ignore_ascii_case("disabled")
    }
}

/// The kinds of names that a certificate is compared by, as validation schemes and alternative
/// authentication name sources spell them.
pub(crate) const NAMES: [&str; 5] = ["Subject", "Dns", "Uri", "Ip", "Email"];

/// `clientCertificateAuthentication`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateAuthentication {
    /// `SubjectMatchesAuthenticationName`, `DnsMatches...`, `UriMatches...`, `IpMatches...`,
    /// `EmailMatches...` or `ThumbprintMatch`.
    pub validation_scheme: String,
    /// SHA-1 or SHA-256 thumbprints in hexadecimal, one or two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_thumbprints: Vec<String>,
}

impl CertificateAuthentication {
    /// The kind of the certificate's names that must have the authentication name; `None` where
    /// the thumbprint decides. Without a scheme it is the subject.
    pub(crate) fn names(&self) -> Option<&'static str> {
        if self
            .validation_scheme
            .eq_ignore_ascii_case("ThumbprintMatch")
        {
            return None;
        }
        let is_meant = |kind: &&&str| {
            let scheme = format!("{kind}MatchesAuthenticationName");
            self.validation_scheme.eq_ignore_ascii_case(&scheme)
        };
        NAMES.iter().find(is_meant).or(NAMES.first()).copied()
    }
}

/// `properties` of a CA certificate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CaCertificateProperties {
    /// The certificate in PEM.
    pub encoded_certificate: String,
    /// `description`.
    #[serde(skip_serializing)]
    pub description: PassedOver,
    /// `issueTimeInUtc`.
    #[serde(skip_serializing)]
    pub issue_time_in_utc: PassedOver,
    /// `expiryTimeInUtc`.
    #[serde(skip_serializing)]
    pub expiry_time_in_utc: PassedOver,
    /// `provisioningState`.
    #[serde(skip_serializing)]
    pub provisioning_state: PassedOver,
}

/// `properties` of a client group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientGroupProperties {
    /// Who belongs to it.
    pub query: Parsed<Query>,
    /// `description`.
    #[serde(skip_serializing)]
    pub description: PassedOver,
    /// `provisioningState`.
    #[serde(skip_serializing)]
    pub provisioning_state: PassedOver,
}

/// `properties` of a topic space.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicSpaceProperties {
    /// Topic filters with variables, at most ten.
    pub topic_templates: Vec<Parsed<Template>>,
    /// `description`.
    #[serde(skip_serializing)]
    pub description: PassedOver,
    /// `provisioningState`.
    #[serde(skip_serializing)]
    pub provisioning_state: PassedOver,
}

/// What a permission binding permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// To publish.
    #[serde(alias = "publisher")]
    Publisher,
    /// To subscribe.
    #[serde(alias = "subscriber")]
    Subscriber,
}

/// `properties` of a permission binding.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionBindingProperties {
    /// The group, or `$all`.
    pub client_group_name: String,
    /// The topic space.
    pub topic_space_name: String,
    /// What the group may do there.
    pub permission: Permission,
    /// `description`.
    #[serde(default, skip_serializing)]
    pub description: PassedOver,
    /// `provisioningState`.
    #[serde(default, skip_serializing)]
    pub provisioning_state: PassedOver,
}

impl Default for PermissionBindingProperties {
    fn default() -> Self {
        Self {
            client_group_name: "$all".to_owned(),
            topic_space_name: String::new(),
            permission: Permission::Publisher,
            description: PassedOver,
            provisioning_state: PassedOver,
        }
    }
}

/// `topicSpacesConfiguration` of a namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicSpacesConfiguration {
    /// `Enabled` (default) or `Disabled`: whether there is an MQTT broker.
    pub state: String,
    /// The MQTT host name, where it is another than the emulator would make of name and location.
    pub hostname: Option<String>,
    /// Further host names of the namespace.
    pub custom_domains: Vec<CustomDomain>,
    /// The resource id of the routing topic.
    pub route_topic_resource_id: Option<String>,
    /// What routed events carry in addition.
    pub routing_enrichments: Enrichments,
    /// How clients authenticate.
    pub client_authentication: ClientAuthentication,
    /// The longest session expiry, 1 to 8 hours (default 1).
    pub maximum_session_expiry_in_hours: u32,
    /// Sessions of one authentication name (default 1).
    pub maximum_client_sessions_per_authentication_name: u32,
    /// `routingIdentityInfo`.
    #[serde(skip_serializing)]
    pub routing_identity_info: PassedOver,
}

impl Default for TopicSpacesConfiguration {
    fn default() -> Self {
        Self {
            state: "Enabled".to_owned(),
            hostname: None,
            custom_domains: Vec::new(),
            route_topic_resource_id: None,
            routing_enrichments: Enrichments::default(),
            client_authentication: ClientAuthentication::default(),
            maximum_session_expiry_in_hours: 1,
            maximum_client_sessions_per_authentication_name: 1,
            routing_identity_info: PassedOver,
        }
    }
}

/// One of `customDomains`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomDomain {
    /// The host name.
    pub fully_qualified_domain_name: String,
    /// `validationState`.
    #[serde(skip_serializing)]
    pub validation_state: PassedOver,
    /// `identity`.
    #[serde(skip_serializing)]
    pub identity: PassedOver,
    /// `certificateUrl`.
    #[serde(skip_serializing)]
    pub certificate_url: PassedOver,
    /// `expectedTxtRecordName`.
    #[serde(skip_serializing)]
    pub expected_txt_record_name: PassedOver,
    /// `expectedTxtRecordValue`.
    #[serde(skip_serializing)]
    pub expected_txt_record_value: PassedOver,
}

impl TopicSpacesConfiguration {
    /// Whether nobody may connect.
    pub(crate) fn is_disabled(&self) -> bool {
        self.state.eq_ignore_ascii_case("disabled")
    }

    /// The host names that the template itself gives.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        let own = self.hostname.iter().map(String::as_str);
        let custom = self.custom_domains.iter();
        own.chain(custom.map(|one| one.fully_qualified_domain_name.as_str()))
            .filter(|host| !host.is_empty())
    }
}
