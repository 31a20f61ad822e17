//! What the types of a namespace's resources alone do not say: the grammar of queries and
//! templates, what names what, and how many there may be. The numbers are in `model/limits.rs`.

use std::collections::HashSet;

use crate::identity::auth::key_from_pem;
use crate::identity::certificate;
use crate::model::access::EVERYBODY;
use crate::model::attribute::is_key;
use crate::model::authentication::ClientAuthentication;
use crate::model::limits;
use crate::model::resources::{
    CertificateAuthentication, ClientProperties, NAMES, Namespace, TopicSpacesConfiguration,
};

/// Certificates that an issuer may have at a time (JWTSETUP: for rotation).
const ISSUER_CERTIFICATES: usize = 2;

/// A rule that a namespace breaks.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Where, as a path from the namespace.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

/// Checks a whole namespace.
pub(crate) fn check(namespace: &Namespace) -> Result<(), Broken> {
    let broken = |place: &str, why| Broken {
        place: place.to_owned(),
        why,
    };
    for (list, checked) in [
        ("clients", namespace.check_clients()),
        ("client_groups", namespace.check_groups()),
        ("topic_spaces", namespace.check_spaces()),
        ("permission_bindings", namespace.check_bindings()),
        ("ca_certificates", namespace.check_authorities()),
        ("topics", namespace.check_topics()),
        ("tags", namespace.check_tags()),
    ] {
        checked.map_err(|why| broken(list, why))?;
    }
    for subscription in namespace
        .topics
        .iter()
        .flat_map(|topic| &topic.subscriptions)
    {
        let checked = subscription.check();
        checked.map_err(|why| broken(&format!("topics.{}", subscription.name), why))?;
    }
    let configuration = &namespace.topic_spaces_configuration;
    configuration
        .check()
        .and_then(|()| configuration.routing_enrichments.check())
        .and_then(|()| configuration.client_authentication.check())
        .map_err(|why| broken("topic_spaces_configuration", why))
}

impl CertificateAuthentication {
    fn check(&self) -> Result<(), String> {
        let scheme = &self.validation_scheme;
        let count = self.allowed_thumbprints.len();
        let Some(kind) = self.names() else {
            if !(1..=limits::THUMBPRINTS).contains(&count) {
                return Err(format!(
                    "ThumbprintMatch needs 1 to {} allowedThumbprints, there are {count}",
                    limits::THUMBPRINTS
                ));
            }
            let mut all = self.allowed_thumbprints.iter();
            return match all.find(|one| !certificate::is_thumbprint(one)) {
                None => Ok(()),
                Some(other) => Err(format!(
                    "the thumbprint {other:?} is not 40 or 64 hexadecimal digits"
                )),
            };
        };
        let full = format!("{kind}MatchesAuthenticationName");
        if !scheme.is_empty() && !scheme.eq_ignore_ascii_case(&full) {
            return Err(format!(
                "the validationScheme {scheme:?} is not ThumbprintMatch or one of {}, each with MatchesAuthenticationName",
                NAMES.join(", ")
            ));
        }
        // mqtt-clients page: the thumbprints belong to their scheme alone.
        if count > 0 {
            return Err(format!(
                "allowedThumbprints are only for the validationScheme ThumbprintMatch, it is {full}"
            ));
        }
        Ok(())
    }
}

impl ClientProperties {
    fn check(&self) -> Result<(), String> {
        let known = ["", "Enabled", "Disabled"];
        if !known
            .iter()
            .any(|one| one.eq_ignore_ascii_case(&self.state))
        {
            return Err(format!(
                "the state {:?} is neither Enabled nor Disabled",
                self.state
            ));
        }
        if let Some(key) = self.attributes.keys().find(|key| !is_key(key)) {
            return Err(format!(
                "the attribute {key:?} has other characters than letters, digits and _"
            ));
        }
        let size = serde_json::to_vec(&self.attributes).map_or(0, |text| text.len());
        if size > limits::ATTRIBUTES {
            return Err(format!(
                "the attributes have {size} bytes, the limit is {}",
                limits::ATTRIBUTES
            ));
        }
        let authentication = self.client_certificate_authentication.as_ref();
        authentication.map_or(Ok(()), CertificateAuthentication::check)
    }
}

impl Namespace {
    fn check_clients(&self) -> Result<(), String> {
        at_most("clients", self.clients.len(), limits::CLIENTS)?;
        let mut names = HashSet::new();
        for client in &self.clients {
            let name = client.authentication_name();
            let count = name.chars().count();
            if !(1..=limits::AUTHENTICATION_NAME).contains(&count) {
                return Err(format!(
                    "the authenticationName {name:?} has {count} characters, it must be 1 to {}",
                    limits::AUTHENTICATION_NAME
                ));
            }
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(format!(
                    "two clients have the authenticationName {name:?}, which has no case"
                ));
            }
            let checked = client.properties.check();
            checked.map_err(|why| format!("{}: {why}", client.short_name()))?;
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), String> {
        at_most("client groups", self.client_groups.len(), limits::CHILDREN)?;
        for group in &self.client_groups {
            group.properties.query.check()?;
        }
        Ok(())
    }

    fn check_spaces(&self) -> Result<(), String> {
        at_most("topic spaces", self.topic_spaces.len(), limits::CHILDREN)?;
        for space in &self.topic_spaces {
            let templates = &space.properties.topic_templates;
            at_most("topic templates", templates.len(), limits::TEMPLATES)?;
            for template in templates {
                template.check()?;
            }
        }
        Ok(())
    }

    fn check_bindings(&self) -> Result<(), String> {
        let bindings = &self.permission_bindings;
        at_most("permission bindings", bindings.len(), limits::BINDINGS)?;
        for binding in bindings {
            let space = &binding.properties.topic_space_name;
            if !self.topic_spaces.iter().any(|one| one.is_called(space)) {
                return Err(format!("there is no topic space {space:?}"));
            }
            let group = &binding.properties.client_group_name;
            let known = self.client_groups.iter().any(|one| one.is_called(group));
            if !known && !group.eq_ignore_ascii_case(EVERYBODY) {
                return Err(format!("there is no client group {group:?}"));
            }
        }
        Ok(())
    }

    fn check_topics(&self) -> Result<(), String> {
        at_most("topics", self.topics.len(), limits::TOPICS)?;
        let mut topics = self.topics.iter();
        topics.try_for_each(|topic| {
            let count = topic.subscriptions.len();
            at_most("event subscriptions", count, limits::EVENT_SUBSCRIPTIONS)
        })
    }

    fn check_tags(&self) -> Result<(), String> {
        let (count, name_size, value_size) = limits::TAGS;
        at_most("tags", self.tags.len(), count)?;
        let is_long = |text: &str, limit| text.chars().count() > limit;
        let mut tags = self.tags.iter();
        match tags.find(|(name, value)| is_long(name, name_size) || is_long(value, value_size)) {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "the tag {:?} is too long: a name may have {name_size} characters, a value {value_size}",
                name.chars().take(32).collect::<String>()
            )),
        }
    }

    fn check_authorities(&self) -> Result<(), String> {
        at_most(
            "CA certificates",
            self.ca_certificates.len(),
            limits::CHILDREN,
        )?;
        let is_broken = |pem: &&_| !certificate::is_pem(pem);
        let mut pems = self
            .ca_certificates
            .iter()
            .map(|one| one.properties.encoded_certificate.as_str());
        match pems.find(is_broken) {
            Some(_) => Err("an encodedCertificate is no certificate in PEM".to_owned()),
            None => Ok(()),
        }
    }
}

impl TopicSpacesConfiguration {
    fn check(&self) -> Result<(), String> {
        let known = ["Enabled", "Disabled"];
        let state = &self.state;
        if !known.iter().any(|one| one.eq_ignore_ascii_case(state)) {
            return Err(format!(
                "the state {state:?} is neither Enabled nor Disabled"
            ));
        }
        let (hours, sessions) = (limits::SESSION_EXPIRY_HOURS, limits::SESSIONS_PER_NAME);
        let count = self.maximum_client_sessions_per_authentication_name;
        for (name, value, allowed) in [
            (
                "maximumSessionExpiryInHours",
                self.maximum_session_expiry_in_hours,
                hours,
            ),
            (
                "maximumClientSessionsPerAuthenticationName",
                count,
                sessions,
            ),
        ] {
            if !allowed.contains(&value) {
                let (least, most) = (allowed.start(), allowed.end());
                return Err(format!("{name} is {value}, it must be {least} to {most}"));
            }
        }
        at_most(
            "customDomains",
            self.custom_domains.len(),
            limits::CUSTOM_DOMAINS,
        )
    }
}

impl ClientAuthentication {
    /// Checks what types alone do not say; the error says what is wrong.
    fn check(&self) -> Result<(), String> {
        let sources = &self.alternative_authentication_name_sources;
        let is_known = |source: &str| {
            let mut known = NAMES.iter().map(|kind| format!("ClientCertificate{kind}"));
            known.any(|one| one.eq_ignore_ascii_case(source))
        };
        let unknown = sources.iter().find(|source| !is_known(source));
        if let Some(source) = unknown {
            return Err(format!(
                "the alternative authentication name source {source:?} is not ClientCertificateSubject, ...Dns, ...Uri, ...Ip or ...Email"
            ));
        }
        if let Some(webhook) = &self.web_hook_authentication
            && !webhook.endpoint_url.starts_with("http")
        {
            return Err(format!(
                "the endpointUrl {:?} of webHookAuthentication is not an http or https address",
                webhook.endpoint_url
            ));
        }
        let Some(custom) = &self.custom_jwt_authentication else {
            return Ok(());
        };
        let count = custom.issuer_certificates.len() + custom.encoded_issuer_certificates.len();
        if count > ISSUER_CERTIFICATES {
            return Err(format!(
                "customJwtAuthentication has {count} issuer certificates, the limit is {ISSUER_CERTIFICATES}"
            ));
        }
        if custom.pems().any(|pem| key_from_pem(pem).is_none()) {
            return Err(
                "an issuer certificate is not an RSA public key or certificate in PEM".to_owned(),
            );
        }
        Ok(())
    }
}

fn at_most(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count <= limit {
        return Ok(());
    }
    Err(format!("there are {count} {what}, the limit is {limit}"))
}
