//! Who calls: by a bearer token, an access key or a shared access signature (`sas.rs`). What the
//! caller may do is in `access.rs`; the tokens themselves come from `entra.rs`.

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::exchange::Request;
use mqttstack_kit::key::Key;
use mqttstack_kit::outbound::Outbound;
use mqttstack_kit::token::{Algorithm, Token, Verifier};

use super::entra::{self, Keys};
use super::sas::Proof;
use crate::error::Error;
use crate::model::resources::Namespace;
use crate::model::roles::RoleAssignment;
use crate::settings::{Auth, Settings};

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The object id, `""` for the holder of the namespace's key or nobody.
    pub object_id: String,
    /// How the journal names it.
    pub name: String,
    /// What it may do; `None` is not checked.
    pub roles: Option<Vec<RoleAssignment>>,
}

impl Caller {
    /// Somebody whose rights are not looked at.
    fn unchecked(object_id: &str, name: &str) -> Self {
        Self {
            object_id: object_id.to_owned(),
            name: name.to_owned(),
            roles: None,
        }
    }
}

/// Whether access keys and signatures are taken beside tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept<'a> {
    /// HTTP publish and retained reads: tokens alone.
    Token,
    /// The namespace topic of this name: tokens, keys and signatures.
    TokenOrKey(&'a str),
}

/// Checks credentials.
#[derive(Debug, Clone)]
pub(crate) struct Authenticator {
    /// How much is checked, and for whom.
    pub settings: Arc<Settings>,
    /// The issuers' keys.
    pub keys: Arc<Keys>,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// How outside issuers are reached.
    pub outbound: Arc<Outbound>,
}

impl Authenticator {
    /// Finds out who sent a request.
    pub(crate) async fn authenticate(
        &self,
        request: &Request,
        namespace: &Namespace,
        accept: Accept<'_>,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        let given = request.head.headers.text("authorization").unwrap_or("");
        let (scheme, credentials) = given.split_once(' ').unwrap_or((given, ""));
        let credentials = credentials.trim();
        if self.settings.auth == Auth::Off {
            let token = Token::parse(credentials).ok();
            let object_id = token
                .as_ref()
                .and_then(|token| token.text("oid"))
                .unwrap_or("");
            return Ok(Caller::unchecked(object_id, object_id));
        }
        if scheme.eq_ignore_ascii_case("bearer") && !credentials.is_empty() {
            return self.check_token(credentials, namespace, now).await;
        }
        if let Accept::TokenOrKey(topic) = accept
            && let Some(proof) = Proof::of(request, scheme, credentials)?
        {
            proof.check(&request.head, namespace, topic, now)?;
            return Ok(Caller::unchecked("", proof.name()));
        }
        let wanted = match accept {
            Accept::Token => "'Authorization: Bearer <token>' is expected",
            Accept::TokenOrKey(_) => {
                "'Authorization: Bearer <token>', an access key ('Authorization: SharedAccessKey <key>', 'aeg-sas-key') or a signature ('Authorization: SharedAccessSignature <signature>', 'aeg-sas-token') is expected"
            }
        };
        Err(Error::MissingCredentials(match scheme {
            "" => format!("there is no Authorization header; {wanted}"),
            other => format!("the Authorization scheme is {other:?}; {wanted}"),
        }))
    }

    /// Checks a token as far as the settings ask, and finds its owner.
    pub(crate) async fn check_token(
        &self,
        text: &str,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Result<Caller, Error> {
        let invalid = |why: String| Error::InvalidToken(why);
        let read = self.verifier.read(text, now);
        let token = read.map_err(|why| invalid(why.to_string()))?;
        algorithm(&token).map_err(|why| invalid(why.to_owned()))?;
        let mut outside = None;
        if self.settings.auth == Auth::Strict {
            let name = token.text("iss").unwrap_or("");
            outside = self
                .settings
                .issuers
                .iter()
                .find(|issuer| issuer.issuer == name);
            check_algorithm(&token).map_err(invalid)?;
            let key = match outside {
                Some(issuer) => {
                    let (url, id) = (&issuer.jwks_url, token.header("kid"));
                    let key = self.keys.outside(&self.outbound, url, id, now).await;
                    key.map_err(invalid)?
                }
                None => self.own_key(&token)?,
            };
            let verifier = &self.verifier;
            if !verifier.is_signed_by(&token, Algorithm::RS256, &key, now) {
                return Err(invalid(
                    "the signature does not match the issuer's key".to_owned(),
                ));
            }
        }
        check_times(&token, now)?;
        self.check_audience(&token, namespace)?;
        let object_id = token
            .text("oid")
            .filter(|oid| !oid.is_empty())
            .ok_or_else(|| Error::InvalidToken("the claim 'oid' is missing".to_owned()))?;
        let mut caller = Caller::unchecked(object_id, object_id);
        if self.settings.auth == Auth::Strict {
            let known = self.settings.principal(object_id);
            let roles = known.map(|known| &known.roles);
            caller.roles = Some(
                roles
                    .or(outside.map(|issuer| &issuer.roles))
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        Ok(caller)
    }

    /// The key of the emulator's own issuer, if the token names it.
    fn own_key(&self, token: &Token) -> Result<Key, Error> {
        let invalid = |why: String| Error::InvalidToken(why);
        let issuer = token
            .text("iss")
            .ok_or_else(|| invalid("the claim 'iss' is missing".to_owned()))?;
        let tenant = &self.settings.tenant;
        let known = entra::tenant_of(issuer)
            .is_some_and(|named| self.settings.auto_create || named.eq_ignore_ascii_case(tenant));
        if !known {
            return Err(invalid(format!(
                "the issuer is {issuer:?}, expected is {:?} or {:?} or one of azure.issuers",
                entra::issuer(tenant, 1),
                entra::issuer(tenant, 2)
            )));
        }
        let own = self.keys.own_if_made();
        own.filter(|key| token.header("kid").is_none_or(|id| id == key.id()))
            .map(|key| key.public().clone())
            .ok_or_else(|| {
                invalid(format!(
                    "it is signed with the key {:?}, which this emulator has not made; get the token from this emulator or configure its issuer in azure.issuers",
                    token.header("kid").unwrap_or("")
                ))
            })
    }

    fn check_audience(&self, token: &Token, namespace: &Namespace) -> Result<(), Error> {
        let audiences = token.audiences();
        let expected = self.audiences(namespace);
        if expected
            .iter()
            .any(|known| audiences.contains(&known.as_str()))
        {
            return Ok(());
        }
        Err(Error::InvalidToken(format!(
            "the audience is {:?}, expected is {}",
            audiences.join(", "),
            expected
                .iter()
                .map(|known| format!("{known:?}"))
                .collect::<Vec<_>>()
                .join(" or ")
        )))
    }

    /// The audiences that are taken: the resource with and without a slash, and (older pages)
    /// the namespace's host names.
    fn audiences(&self, namespace: &Namespace) -> Vec<String> {
        let mut all = vec![entra::RESOURCE.to_owned(), format!("{}/", entra::RESOURCE)];
        if !self.settings.strict_parameters {
            all.push(format!("https://{}", namespace.mqtt_host()));
            all.push(format!("https://{}", namespace.topic_host()));
        }
        all.extend(self.settings.audiences.iter().cloned());
        all
    }
}

/// Reads an RSA key in PEM (SPKI, PKCS#1), or that of a certificate in PEM.
pub(crate) fn key_from_pem(pem: &str) -> Option<Key> {
    Key::of_rsa_pem(pem).or_else(|| Key::of_rsa_certificate(pem))
}

/// `alg` of a token's header, which must be there.
pub(crate) fn algorithm(token: &Token) -> Result<&str, &'static str> {
    token.header("alg").ok_or("its header has no alg")
}

/// Refuses every algorithm but RS256.
pub(crate) fn check_algorithm(token: &Token) -> Result<(), String> {
    match algorithm(token)? {
        "RS256" => Ok(()),
        other => Err(format!("the algorithm is {other:?}, expected is \"RS256\"")),
    }
}

/// Checks `exp` and `nbf` at the emulator's time.
pub(crate) fn check_times(token: &Token, now: Timestamp) -> Result<(), Error> {
    let shown = |seconds: i64| {
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
    };
    let now = now.as_second();
    let Some(expires) = token.seconds("exp") else {
        return Err(Error::InvalidToken("the claim 'exp' is missing".to_owned()));
    };
    if now >= expires {
        return Err(Error::InvalidToken(format!(
            "it expired at {}, and it is {}",
            shown(expires),
            shown(now)
        )));
    }
    match token.seconds("nbf") {
        Some(starts) if now < starts => Err(Error::InvalidToken(format!(
            "it is not valid before {}, and it is {}",
            shown(starts),
            shown(now)
        ))),
        _ => Ok(()),
    }
}

/// Checks a client assertion against the key configured for its application.
pub(crate) fn check_assertion(text: &str, pem: &str, now: Timestamp) -> Result<(), Error> {
    let failed = |why: String| Error::Assertion(why);
    let key = key_from_pem(pem)
        .ok_or_else(|| failed("the configured assertion_key is not a PEM RSA key".to_owned()))?;
    let token = Token::parse(text).map_err(|why| failed(why.to_string()))?;
    let name = algorithm(&token).map_err(|why| failed(why.to_owned()))?;
    let signed = match name {
        "RS256" => token.is_signed_by(Algorithm::RS256, &key),
        "PS256" => token.is_signed_by(Algorithm::PS256, &key),
        _ => false,
    };
    if !signed {
        return Err(failed(format!(
            "the {name} signature does not match the application's key"
        )));
    }
    check_times(&token, now).map_err(|error| match error {
        Error::InvalidToken(why) => Error::AssertionTime(why),
        other => other,
    })
}
