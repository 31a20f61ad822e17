//! By what a client shows who it is: an Entra token, a token of the namespace's own issuer, its
//! name with a certificate, or whatever the namespace's webhook takes (`webhook.rs`). Refusals
//! are for the journal.

use std::collections::BTreeMap;

use mqttstack_base::clock::Clock;
use mqttstack_base::ids::Ids;
use mqttstack_broker::dialect::{Connect, ConnectCode, ConnectRefusal};
use mqttstack_kit::token::{Algorithm, Token};

use super::webhook;
use super::who::{Expiry, Identified, Who, attribute, not_authorized};
use crate::events::store::NamespaceState;
use crate::identity::auth::{Authenticator, algorithm, check_algorithm, check_times, key_from_pem};
use crate::identity::certificate::{self, Names};
use crate::identity::entra;
use crate::model::attribute::Attributes;
use crate::model::authentication::{CustomJwtAuthentication, WebHookAuthentication};
use crate::model::resources::Namespace;
use crate::model::{access, limits};
use crate::settings::Auth;

/// The Authentication Method of Entra tokens.
pub(crate) const ENTRA: &str = "OAUTH2-JWT";
/// The Authentication Method of other issuers' tokens.
pub(crate) const CUSTOM: &str = "CUSTOM-JWT";

/// What the vendor's resource log says of a client that nothing knows.
const NOT_FOUND: &str = "Client could not be found";

/// Whether a CONNECT has one of the vendor's authentication methods.
pub(crate) fn has_method(connect: &Connect) -> bool {
    let method = connect.authentication_method.as_deref();
    matches!(method, Some(ENTRA | CUSTOM))
}

/// Whether a CONNECT brings what only clients of this namespace bring.
pub(crate) fn knows(connect: &Connect, namespace: &Namespace) -> bool {
    let method = connect.authentication_method.as_deref();
    let authentication = &namespace.topic_spaces_configuration.client_authentication;
    let credentials = connect.username.is_some()
        || connect.password.is_some()
        || method.is_some()
        || !connect.tls.certificates.is_empty();
    (authentication.web_hook_authentication.is_some() && credentials)
        || has_token_as_password(connect)
        || authentication_name(connect, namespace)
            .is_some_and(|name| access::find_client(namespace, &name).is_some())
}

/// Finds out who connects.
pub(super) struct Credentials {
    /// Checks tokens.
    pub authenticator: Authenticator,
    /// The emulator's time.
    pub clock: Clock,
    /// For the tokens that webhooks get.
    pub ids: Ids,
}

impl Credentials {
    /// Who connects.
    pub(crate) async fn identify(
        &self,
        connect: &Connect,
        state: &NamespaceState,
    ) -> Result<Identified, ConnectRefusal> {
        let namespace = state.resources();
        let authentication = &namespace.topic_spaces_configuration.client_authentication;
        let webhook = authentication.web_hook_authentication.as_ref();
        let custom = authentication.custom_jwt_authentication.as_ref();
        match (connect.authentication_method.as_deref(), webhook) {
            (Some(ENTRA), _) => {
                let text = token(connect).map_err(not_authorized)?;
                let now = self.clock.now();
                let caller = self.authenticator.check_token(text, &namespace, now).await;
                let caller = caller
                    .map_err(|error| not_authorized(format!("{}{error}", self.foreign(text))))?;
                let who = Who::Principal {
                    object_id: caller.object_id,
                    roles: caller.roles,
                };
                let expires = Token::parse(text).ok().and_then(|token| expiry(&token));
                Ok(Identified { who, expires })
            }
            (Some(CUSTOM), None) => token(connect)
                .and_then(|text| self.custom(text, custom, &namespace))
                .map_err(not_authorized),
            (Some(CUSTOM), Some(_)) if custom.is_some() => token(connect)
                .and_then(|text| self.custom(text, custom, &namespace))
                .map_err(not_authorized),
            (None, None) => self
                .client(connect, &namespace)
                .map_err(|why| not_authorized(format!("{why}{}", hint(connect)))),
            (None, Some(_)) if is_registered(connect, &namespace) => {
                self.client(connect, &namespace).map_err(not_authorized)
            }
            (_, Some(webhook)) => {
                let token = self.webhook_token(webhook).await;
                let token = token.map_err(webhook::unavailable)?;
                webhook::ask(connect, webhook, &self.authenticator, token).await
            }
            (Some(other), None) => Err(ConnectRefusal {
                code: ConnectCode::BadAuthenticationMethod,
                reason: format!(
                    "the authentication method is {other:?}, expected is {ENTRA:?} or {CUSTOM:?}"
                ),
            }),
        }
    }

    /// The token of the namespace's managed identity: here the first principal's.
    async fn webhook_token(
        &self,
        webhook: &WebHookAuthentication,
    ) -> Result<Option<String>, String> {
        let settings = &self.authenticator.settings;
        let Some(principal) = settings.principals.first() else {
            return Ok(None);
        };
        let ids = &self.ids;
        let key = self.authenticator.keys.own(ids).await;
        let key = key.map_err(|refusal| refusal.to_string())?;
        let audience = &webhook.azure_active_directory_application_id_or_uri;
        let tenant = match webhook.azure_active_directory_tenant_id.as_str() {
            "" => &settings.tenant,
            tenant => tenant,
        };
        let grant = entra::Grant {
            principal,
            tenant,
            audience: audience.strip_suffix("/.default").unwrap_or(audience),
        };
        let claims = entra::claims(&grant, settings, self.clock.now(), ids);
        Ok(Some(key.sign(&claims)))
    }

    /// How the refusal of a token begins that no issuer of Entra tokens has made (JWTSETUP: a
    /// custom token under this method is an invalid issuer).
    fn foreign(&self, text: &str) -> String {
        let token = Token::parse(text);
        let issuer = token
            .ok()
            .and_then(|token| token.text("iss").map(str::to_owned));
        let issuer = issuer.unwrap_or_default();
        let mut outside = self.authenticator.settings.issuers.iter();
        if issuer.is_empty()
            || entra::tenant_of(&issuer).is_some()
            || outside.any(|known| known.issuer == issuer)
        {
            return String::new();
        }
        format!("invalid issuer {issuer:?} (the method of a custom token is {CUSTOM}): ")
    }

    /// A client resource with its certificate.
    fn client(&self, connect: &Connect, namespace: &Namespace) -> Result<Identified, String> {
        let Some(name) = authentication_name(connect, namespace) else {
            return Err(format!(
                "{NOT_FOUND}: there is neither a user name nor a name in the certificate that alternativeAuthenticationNameSources would take"
            ));
        };
        let client = access::find_client(namespace, &name)
            .ok_or_else(|| format!("{NOT_FOUND}: {name:?}"))?;
        let properties = &client.properties;
        if properties.is_disabled() {
            return Err(format!("the client {name:?} is disabled"));
        }
        let mut expires = None;
        if self.authenticator.settings.auth == Auth::Strict {
            let now = self.clock.now();
            let chain = &connect.tls.certificates;
            certificate::check(properties, &name, chain, namespace, now)?;
            expires = chain.first().and_then(|leaf| {
                Some(Expiry {
                    at: certificate::expires(leaf)?,
                    of: "the client's certificate",
                })
            });
        }
        let original = client.authentication_name();
        let who = Who::Client {
            authentication_name: original.to_owned(),
            attributes: properties.attributes.clone(),
            registered: true,
        };
        Ok(Identified { who, expires })
    }

    /// The subject of a token of the namespace's own issuer (mqtt-client-custom-jwt page).
    fn custom(
        &self,
        text: &str,
        rules: Option<&CustomJwtAuthentication>,
        namespace: &Namespace,
    ) -> Result<Identified, String> {
        let token = Token::parse(text).map_err(|why| why.to_string())?;
        algorithm(&token)?;
        // oauth-json-web-token-authentication page: the header has both typ and alg. Its text says
        // JWS, its sample JWT.
        match token.header("typ") {
            Some("JWT" | "JWS") => {}
            None => return Err("its header has no typ, expected is \"JWT\"".to_owned()),
            Some(other) => return Err(format!("the typ is {other:?}, expected is \"JWT\"")),
        }
        let rules = rules.ok_or("customJwtAuthentication is not configured")?;
        if self.authenticator.settings.auth == Auth::Strict {
            check_signature(&token, rules)?;
        }
        let issuer = token.text("iss").unwrap_or("");
        if issuer != rules.token_issuer {
            return Err(format!(
                "invalid issuer: the issuer is {issuer:?}, expected is {:?}",
                rules.token_issuer
            ));
        }
        if token.seconds("nbf").is_none() {
            return Err("the claim 'nbf' is missing".to_owned());
        }
        check_times(&token, self.clock.now()).map_err(|error| error.to_string())?;
        check_audience(&token, namespace)?;
        let subject = token.text("sub").filter(|sub| !sub.is_empty());
        let who = Who::Client {
            authentication_name: subject.ok_or("the claim 'sub' is missing")?.to_owned(),
            attributes: custom_attributes(&token),
            registered: false,
        };
        let expires = expiry(&token);
        Ok(Identified { who, expires })
    }
}

/// Whether one of the issuer's keys made the signature.
fn check_signature(token: &Token, rules: &CustomJwtAuthentication) -> Result<(), String> {
    check_algorithm(token)?;
    let id = token.header("kid");
    let pems = match id {
        None => rules.pems().collect(),
        Some(kid) => rules.pems_of(kid),
    };
    if let (Some(kid), true) = (id, pems.is_empty()) {
        return Err(format!(
            "the kid is {kid:?}, the issuer's certificates have {:?}",
            rules.key_ids().collect::<Vec<_>>()
        ));
    }
    let signed = |pem: &&str| {
        key_from_pem(pem).is_some_and(|key| token.is_signed_by(Algorithm::RS256, &key))
    };
    if pems.iter().any(signed) {
        return Ok(());
    }
    Err(match (rules.key_vault_url(), id) {
        (Some(url), _) => format!(
            "the signature matches none of the issuerCertificates; that of {url} is not known here: give the certificate in PEM instead"
        ),
        (None, None) => "the signature matches none of the issuerCertificates".to_owned(),
        (None, Some(kid)) => {
            format!(
                "the signature does not match that of the issuerCertificates that kid {kid:?} names"
            )
        }
    })
}

/// Whether the token is for one of the namespace's host names, which may stand in an address
/// (assumed).
fn check_audience(token: &Token, namespace: &Namespace) -> Result<(), String> {
    let own = namespace.mqtt_host();
    let configuration = &namespace.topic_spaces_configuration;
    let hosts = configuration.hosts().chain([own.as_str()]);
    let hosts: Vec<_> = hosts.collect();
    let audiences = token.audiences();
    let named = |audience: &str| {
        let start = audience.find("://").map_or(0, |at| at + 3);
        let host = audience[start..].split(['/', ':']).next().unwrap_or("");
        hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    };
    if audiences.iter().any(|one| named(one)) {
        return Ok(());
    }
    Err(format!(
        "the audience is {audiences:?}, expected is {own:?}"
    ))
}

fn expiry(token: &Token) -> Option<Expiry> {
    let at = jiff::Timestamp::from_second(token.seconds("exp")?).ok()?;
    Some(Expiry {
        at,
        of: "the token",
    })
}

/// The Authentication Data as text.
fn token(connect: &Connect) -> Result<&str, String> {
    let data = connect.authentication_data.as_deref().unwrap_or(&[]);
    if data.is_empty() {
        return Err("there is no Authentication Data, expected is a token".to_owned());
    }
    if data.len() > limits::AUTHENTICATION_DATA {
        return Err(format!(
            "the Authentication Data has {} bytes, the limit is {}",
            data.len(),
            limits::AUTHENTICATION_DATA
        ));
    }
    std::str::from_utf8(data).map_err(|_| "the Authentication Data is not a token".to_owned())
}

/// Whether the password is a token that Entra made for Azure: with the broker's own address the
/// CONNECT would otherwise pass for an open client's.
fn has_token_as_password(connect: &Connect) -> bool {
    password_token(connect).is_some_and(|token| {
        let of_entra = token
            .text("iss")
            .is_some_and(|iss| entra::tenant_of(iss).is_some());
        of_entra
            || token
                .text("aud")
                .is_some_and(|aud| aud.contains("eventgrid.azure.net"))
    })
}

fn password_token(connect: &Connect) -> Option<Token> {
    let password = std::str::from_utf8(connect.password.as_deref()?).ok()?;
    Token::parse(password).ok()
}

/// What a refused client has probably mistaken.
fn hint(connect: &Connect) -> String {
    if password_token(connect).is_none() {
        return String::new();
    }
    format!(
        "; the password is a token, which belongs into the Authentication Data of an MQTT 5 CONNECT with the method {ENTRA}"
    )
}

fn is_registered(connect: &Connect, namespace: &Namespace) -> bool {
    authentication_name(connect, namespace)
        .is_some_and(|name| access::find_client(namespace, &name).is_some())
}

/// The user name, else the first configured source that the certificate has.
fn authentication_name(connect: &Connect, namespace: &Namespace) -> Option<String> {
    if let Some(name) = connect.username.as_deref().filter(|name| !name.is_empty()) {
        return Some(name.to_owned());
    }
    let names = Names::read(connect.tls.certificates.first()?)?;
    namespace
        .topic_spaces_configuration
        .client_authentication
        .alternative_authentication_name_sources
        .iter()
        .map(|source| names.by_source(source))
        .find(|names| !names.is_empty())
        .and_then(|names| {
            // Of several names the one that a client has.
            let known = names.iter();
            let mut known = known.filter(|name| access::find_client(namespace, name).is_some());
            known.next().or(names.first()).cloned()
        })
}

/// Claims of type int32, string and string array are attributes; others, and those that RFC 7519
/// registers, are none.
fn custom_attributes(token: &Token) -> Attributes {
    // RFC 7519 section 4.1.
    let registered = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
    token
        .claims()
        .iter()
        .filter(|(name, _)| !registered.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.clone(), attribute(value)?)))
        .collect::<BTreeMap<_, _>>()
}
