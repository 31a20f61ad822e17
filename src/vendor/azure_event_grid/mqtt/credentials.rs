//! By what a client shows who it is: an Entra token, a token of the namespace's own issuer, or
//! its name with a certificate. Refusals are for the journal.

use std::collections::BTreeMap;

use super::super::access::{self, Attributes};
use super::super::auth::check_times;
use super::super::certificate::{self, Names};
use super::super::jwt::{self, Token};
use super::super::limits;
use super::super::resources::{Attribute, Namespace};
use super::super::settings::Auth;
use super::super::store::NamespaceState;
use super::{AzureDialect, CUSTOM, ENTRA, Who};
use crate::broker::dialect::Connect;

impl AzureDialect {
    /// Who connects.
    pub(super) async fn identify(
        &self,
        connect: &Connect,
        state: &NamespaceState,
    ) -> Result<Who, String> {
        let namespace = state.resources();
        match connect.authentication_method.as_deref() {
            Some(ENTRA) => {
                let token = token(connect)?;
                let now = self.app.clock.now();
                let caller = self.authenticator.check_token(token, &namespace, now).await;
                let caller = caller.map_err(|error| error.to_string())?;
                Ok(Who::Principal {
                    object_id: caller.object_id,
                    roles: caller.roles,
                })
            }
            Some(CUSTOM) => self.custom(token(connect)?, &namespace),
            Some(other) => Err(format!(
                "the authentication method is {other:?}, expected is {ENTRA:?} or {CUSTOM:?}"
            )),
            None => self.client(connect, &namespace),
        }
    }

    /// A client resource with its certificate.
    fn client(&self, connect: &Connect, namespace: &Namespace) -> Result<Who, String> {
        let name = authentication_name(connect, namespace).unwrap_or_default();
        let Some(client) = access::find_client(namespace, &name) else {
            let password = connect.password.as_deref().unwrap_or(&[]);
            let is_token =
                std::str::from_utf8(password).is_ok_and(|text| Token::parse(text).is_ok());
            return Err(if is_token {
                format!(
                    "Client could not be found: the password is a token, which belongs into the Authentication Data of an MQTT 5 CONNECT with the method {ENTRA}"
                )
            } else {
                format!("Client could not be found: {name:?}")
            });
        };
        let properties = &client.properties;
        if properties.state.eq_ignore_ascii_case("disabled") {
            return Err(format!("the client {name:?} is disabled"));
        }
        if self.auth() == Auth::Strict {
            let now = self.app.clock.now();
            certificate::check(properties, &name, &connect.tls.certificates, namespace, now)?;
        }
        let original = match properties.authentication_name.as_str() {
            "" => client.short_name(),
            name => name,
        };
        Ok(Who::Client {
            authentication_name: original.to_owned(),
            attributes: properties.attributes.clone(),
        })
    }

    /// The subject of a token of the namespace's own issuer (mqtt-client-custom-jwt page).
    fn custom(&self, text: &str, namespace: &Namespace) -> Result<Who, String> {
        let token = Token::parse(text)?;
        // The page's text says JWS, its sample JWT.
        if !matches!(token.kind.as_deref(), None | Some("JWT" | "JWS")) {
            return Err(format!("the typ is {:?}, expected is \"JWT\"", token.kind));
        }
        let rules = namespace
            .topic_spaces_configuration
            .client_authentication
            .custom_jwt_authentication
            .as_ref()
            .ok_or("customJwtAuthentication is not configured")?;
        if self.auth() == Auth::Strict {
            if token.algorithm != "RS256" {
                return Err(format!(
                    "the algorithm is {:?}, expected is \"RS256\"",
                    token.algorithm
                ));
            }
            let mut keys = rules.issuer_certificates.iter();
            if !keys.any(|pem| jwt::key_from_pem(pem).is_some_and(|key| token.is_signed_by(&key))) {
                return Err("the signature matches none of the issuerCertificates".to_owned());
            }
        }
        let issuer = token.text("iss").unwrap_or("");
        if issuer != rules.token_issuer {
            return Err(format!(
                "the issuer is {issuer:?}, expected is {:?}",
                rules.token_issuer
            ));
        }
        if token.seconds("nbf").is_none() {
            return Err("the claim 'nbf' is missing".to_owned());
        }
        check_times(&token, self.app.clock.now()).map_err(|error| error.to_string())?;
        let host = namespace.mqtt_host();
        let audiences = match token.claims.get("aud") {
            Some(serde_json::Value::String(one)) => vec![one.as_str()],
            Some(serde_json::Value::Array(all)) => {
                all.iter().filter_map(|one| one.as_str()).collect()
            }
            _ => Vec::new(),
        };
        if !audiences.iter().any(|one| one.contains(&host)) {
            return Err(format!(
                "the audience is {audiences:?}, expected is {host:?}"
            ));
        }
        let subject = token.text("sub").filter(|sub| !sub.is_empty());
        Ok(Who::Client {
            authentication_name: subject.ok_or("the claim 'sub' is missing")?.to_owned(),
            attributes: custom_attributes(&token),
        })
    }
}

/// The Authentication Data as text.
fn token(connect: &Connect) -> Result<&str, String> {
    let data = connect.authentication_data.as_deref().unwrap_or(&[]);
    if data.len() > limits::AUTHENTICATION_DATA {
        return Err(format!(
            "the Authentication Data has {} bytes, the limit is {}",
            data.len(),
            limits::AUTHENTICATION_DATA
        ));
    }
    std::str::from_utf8(data).map_err(|_| "the Authentication Data is not a token".to_owned())
}

/// The user name, else the first configured source that the certificate has.
pub(super) fn authentication_name(connect: &Connect, namespace: &Namespace) -> Option<String> {
    if let Some(name) = connect.username.as_deref().filter(|name| !name.is_empty()) {
        return Some(name.to_owned());
    }
    let names = Names::read(connect.tls.certificates.first()?)?;
    namespace
        .topic_spaces_configuration
        .client_authentication
        .alternative_authentication_name_sources
        .iter()
        .find_map(|source| names.by_source(source).map(str::to_owned))
}

/// Claims of type int32, string and string array are attributes; others are passed over.
fn custom_attributes(token: &Token) -> Attributes {
    let registered = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
    let attribute = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(Attribute::Text(text.clone())),
        serde_json::Value::Number(number) => number
            .as_i64()
            .filter(|number| i32::try_from(*number).is_ok())
            .map(Attribute::Integer),
        serde_json::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Attribute::List),
        _ => None,
    };
    token
        .claims
        .iter()
        .filter(|(name, _)| !registered.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.clone(), attribute(value)?)))
        .collect::<BTreeMap<_, _>>()
}
