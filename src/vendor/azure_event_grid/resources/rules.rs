//! What the types of a namespace's resources alone do not say: the grammar of queries and
//! templates, what names what, and how many there may be. The numbers are in `limits.rs`.

use std::collections::HashSet;

use super::super::access::EVERYBODY;
use super::super::certificate;
use super::super::limits;
use super::super::query::Query;
use super::super::template::{Template, is_key};
use super::{CertificateAuthentication, ClientProperties, Namespace, TopicSpacesConfiguration};

/// The kinds of names that a certificate is compared by, as validation schemes and alternative
/// authentication name sources spell them.
pub(super) const NAMES: [&str; 5] = ["Subject", "Dns", "Uri", "Ip", "Email"];

impl CertificateAuthentication {
    /// The kind of the certificate's names that must have the authentication name; `None` where
    /// the thumbprint decides. Without a scheme it is the subject.
    pub(in super::super) fn names(&self) -> Option<&'static str> {
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

    /// Fills in what the resource manager shows although nobody has set it.
    pub(in super::super) fn fill_in(&mut self, name: &str) {
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
}

impl Namespace {
    pub(super) fn check_clients(&self) -> Result<(), String> {
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

    pub(super) fn check_groups(&self) -> Result<(), String> {
        at_most("client groups", self.client_groups.len(), limits::CHILDREN)?;
        for group in &self.client_groups {
            let query = &group.properties.query;
            if query.len() > limits::QUERY {
                return Err(format!(
                    "the query has {} bytes, the limit is {}",
                    query.len(),
                    limits::QUERY
                ));
            }
            Query::parse(query)?;
        }
        Ok(())
    }

    pub(super) fn check_spaces(&self) -> Result<(), String> {
        at_most("topic spaces", self.topic_spaces.len(), limits::CHILDREN)?;
        for space in &self.topic_spaces {
            let templates = &space.properties.topic_templates;
            at_most("topic templates", templates.len(), limits::TEMPLATES)?;
            for template in templates {
                if template.len() > limits::TEMPLATE {
                    return Err(format!(
                        "the topic template has {} bytes, the limit is {}",
                        template.len(),
                        limits::TEMPLATE
                    ));
                }
                Template::parse(template)?;
            }
        }
        Ok(())
    }

    pub(super) fn check_bindings(&self) -> Result<(), String> {
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

    pub(super) fn check_topics(&self) -> Result<(), String> {
        at_most("topics", self.topics.len(), limits::TOPICS)?;
        let mut topics = self.topics.iter();
        topics.try_for_each(|topic| {
            let count = topic.subscriptions.len();
            at_most("event subscriptions", count, limits::EVENT_SUBSCRIPTIONS)
        })
    }

    pub(super) fn check_tags(&self) -> Result<(), String> {
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

    pub(super) fn check_authorities(&self) -> Result<(), String> {
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
    pub(super) fn check(&self) -> Result<(), String> {
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

fn at_most(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count <= limit {
        return Ok(());
    }
    Err(format!("there are {count} {what}, the limit is {limit}"))
}
