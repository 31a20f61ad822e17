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
        let Some(kind) = self.names() else {
            let count = self.allowed_thumbprints.len();
            return if (1..=limits::THUMBPRINTS).contains(&count) {
                Ok(())
            } else {
                Err(format!(
                    "ThumbprintMatch needs 1 to {} allowedThumbprints, there are {count}",
                    limits::THUMBPRINTS
                ))
            };
        };
        let full = format!("{kind}MatchesAuthenticationName");
        if scheme.is_empty() || scheme.eq_ignore_ascii_case(&full) {
            return Ok(());
        }
        Err(format!(
            "the validationScheme {scheme:?} is not ThumbprintMatch or one of {}, each with MatchesAuthenticationName",
            NAMES.join(", ")
        ))
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
        self.client_certificate_authentication.check()
    }
}

impl Namespace {
    pub(super) fn check_clients(&self) -> Result<(), String> {
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
        let mut queries = self.client_groups.iter();
        queries.try_for_each(|group| Query::parse(&group.properties.query).map(|_| ()))
    }

    pub(super) fn check_spaces(&self) -> Result<(), String> {
        at_most("topic spaces", self.topic_spaces.len(), limits::CHILDREN)?;
        for space in &self.topic_spaces {
            let templates = &space.properties.topic_templates;
            at_most("topic templates", templates.len(), limits::TEMPLATES)?;
            for template in templates {
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
    pub(super) fn check_sessions(&self) -> Result<(), String> {
        let hours = self.maximum_session_expiry_in_hours;
        if hours > limits::SESSION_EXPIRY_HOURS {
            return Err(format!(
                "maximumSessionExpiryInHours is {hours}, the limit is {}",
                limits::SESSION_EXPIRY_HOURS
            ));
        }
        if self.maximum_client_sessions_per_authentication_name == 0 {
            return Err("maximumClientSessionsPerAuthenticationName must be at least 1".to_owned());
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
