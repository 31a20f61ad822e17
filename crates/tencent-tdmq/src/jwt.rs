//! The token authenticators of the MQTT side: a JSON Web Token in the user name or the password,
//! signed with a shared secret, by a key pair or by a key of a key set. `exp`, `nbf`, `iat`,
//! `iss` and `aud` are checked on the emulator's clock. The access list that a token may carry is
//! in `claims.rs`.
//!
//! Sources: `CreateJWTAuthenticator` and `CreateJWKSAuthenticator` (models.py of the Python SDK;
//! cloud.tencent.com/document/api/1778/111077), tencentcloud.com/document/product/1294/76421.

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use mqttstack_kit::key::Key;
use mqttstack_kit::key_set::{KeySet, KeySets};
use mqttstack_kit::outbound::Outbound;
use mqttstack_kit::token::{Algorithm as Alg, AlgorithmFamily as Family, Token};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claims;
use super::policy::Policy;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// With a shared secret: HS256, HS384, HS512.
    #[default]
    HmacBased,
    /// By a key pair: RS, PS and ES algorithms and Ed25519.
    PublicKey,
    /// By a key of a key set (a JWKS authenticator).
    Jwks,
}

impl Algorithm {
    /// As the cloud API and the configuration spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacBased => "hmac-based",
            Self::PublicKey => "public-key",
            Self::Jwks => "jwks",
        }
    }
}

/// Which field of CONNECT has the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// The user name.
    #[default]
    Username,
    /// The password.
    Password,
}

impl Field {
    /// As the cloud API and the configuration spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password => "password",
        }
    }
}

/// One authenticator, in the words of the cloud API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authenticator {
    /// How tokens are signed (default `hmac-based`).
    pub algorithm: Algorithm,
    /// Where the token is (default `username`).
    pub from: Field,
    /// The shared secret of `hmac-based`.
    pub secret: Option<Secret>,
    /// The public key of `public-key`, in PEM.
    pub public_key: Option<String>,
    /// The key set of `jwks`, as text.
    pub text: Option<String>,
    /// The address of the key set of `jwks`; either this or the text.
    pub endpoint: Option<String>,
    /// After how many seconds the address is asked again, 60 (the default) to 1000.
    pub refresh_interval: u32,
    /// The `iss` that a token must have; none: any.
    pub issuer: Option<String>,
    /// The `aud` that a token must have; none: any.
    pub audience: Option<String>,
    /// The claim that holds an access list (default `acl`).
    pub acl_claim: String,
    /// Whether it is asked at all (default true).
    pub open: bool,
    /// A remark of up to 128 characters.
    pub remark: String,
    /// Unix milliseconds of its making.
    #[serde(skip)]
    pub created_ms: i64,
}

impl Default for Authenticator {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            from: Field::default(),
            secret: None,
            public_key: None,
            text: None,
            endpoint: None,
            refresh_interval: 60,
            issuer: None,
            audience: None,
            acl_claim: claims::DEFAULT_CLAIM.to_owned(),
            open: true,
            remark: String::new(),
            created_ms: 0,
        }
    }
}

/// The key sets of the JWKS authenticators, and how they are reached.
#[derive(Debug, Default)]
pub(super) struct Issuers {
    key_sets: KeySets,
    outbound: Outbound,
}

impl Issuers {
    /// Forgets the key sets that were fetched.
    pub(super) fn clear(&self) {
        self.key_sets.clear();
    }
}

/// The fields of a CONNECT that can hold a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented<'a> {
    /// The user name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
}

/// What a good token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// `sub`.
    pub subject: Option<String>,
    /// The access list that it carries.
    pub access_list: Vec<Policy>,
}

impl Authenticator {
    /// Refuses one that could take no token at all. The error says which field is wrong.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match self.algorithm {
            Algorithm::HmacBased => match &self.secret {
                Some(secret) if !secret.expose().is_empty() => Ok(()),
                _ => Err(("Secret", "hmac-based needs one".to_owned())),
            },
            Algorithm::PublicKey => {
                let pem = self.public_key.as_deref().unwrap_or_default();
                let key = Key::of_pem(pem);
                key.map(|_| ())
                    .ok_or_else(|| ("PublicKey", "public-key needs one in PEM".to_owned()))
            }
            Algorithm::Jwks => self.check_key_set(),
        }
    }

    fn check_key_set(&self) -> Result<(), (&'static str, String)> {
        if !(60..=1000).contains(&self.refresh_interval) {
            let problem = format!("{} is not within 60 and 1000", self.refresh_interval);
            return Err(("RefreshInterval", problem));
        }
        match (&self.endpoint, &self.text) {
            (None, None) => Err(("Endpoint", "jwks needs it or Text".to_owned())),
            (Some(_), Some(_)) => Err(("Text", "there is an Endpoint already".to_owned())),
            (None, Some(text)) => KeySet::parse(text.as_bytes())
                .map(|_| ())
                .map_err(|problem| ("Text", problem)),
            (Some(url), None) => match reqwest::Url::parse(url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
                _ => Err(("Endpoint", format!("{url:?} is no http or https address"))),
            },
        }
    }

    /// The token in the field that this authenticator reads.
    fn token<'a>(&self, presented: Presented<'a>) -> Option<&'a str> {
        let field = match self.from {
            Field::Username => presented.username,
            Field::Password => presented
                .password
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        };
        field.filter(|text| self.open && looks_like_token(text))
    }

    /// The keys that may have signed a token with this algorithm.
    async fn keys(
        &self,
        algorithm: Alg,
        id: Option<&str>,
        issuers: &Issuers,
        now: Timestamp,
    ) -> Result<Vec<Key>, String> {
        if self.algorithm != Algorithm::Jwks {
            return self.own_key(algorithm).map(|key| vec![key]);
        }
        let set = match (&self.endpoint, &self.text) {
            (Some(url), _) => {
                let (sets, refresh_s) = (&issuers.key_sets, self.refresh_interval);
                sets.at(&issuers.outbound, url, refresh_s, id, now).await?
            }
            (None, text) => Arc::new(KeySet::parse(
                text.as_deref().unwrap_or_default().as_bytes(),
            )?),
        };
        let fitting: Vec<Key> = set
            .keys(id)
            .filter(|key| key.family() == algorithm.family())
            .cloned()
            .collect();
        if fitting.is_empty() {
            let name = id.unwrap_or_default();
            return Err(format!("the key set has no {algorithm:?} key {name:?}"));
        }
        Ok(fitting)
    }

    fn own_key(&self, algorithm: Alg) -> Result<Key, String> {
        match (self.algorithm, algorithm.family()) {
            (Algorithm::HmacBased, Family::Hmac) => {
                let secret = self.secret.as_ref().map(Secret::expose).unwrap_or_default();
                if secret.is_empty() {
                    return Err("the authenticator has no secret".to_owned());
                }
                Ok(Key::of_secret(secret.as_bytes()))
            }
            (Algorithm::PublicKey, Family::Rsa | Family::Ec | Family::Ed) => {
                let pem = self.public_key.as_deref().unwrap_or_default();
                Key::of_pem(pem)
                    .filter(|key| key.family() == algorithm.family())
                    .ok_or_else(|| {
                        format!(
                            "the authenticator's key does not fit: it is not one of {algorithm:?}"
                        )
                    })
            }
            _ => Err(format!(
                "its algorithm {algorithm:?} is not this authenticator's"
            )),
        }
    }

    async fn verify(
        &self,
        text: &str,
        issuers: &Issuers,
        now: Timestamp,
    ) -> Result<Bearer, String> {
        let token = Token::parse(text).map_err(|why| why.to_string())?;
        let name = token.header("alg").ok_or("its header has no alg")?;
        let algorithm: Alg = name
            .parse()
            .map_err(|_| format!("its algorithm {name:?} is not known"))?;
        let keys = self.keys(algorithm, token.header("kid"), issuers, now);
        let keys = keys.await?;
        if !keys.iter().any(|key| token.is_signed_by(algorithm, key)) {
            return Err("its signature does not match the key".to_owned());
        }
        // Times and names are checked here, on the emulator's clock.
        self.bearer(&Value::Object(token.claims().clone()), now)
    }

    fn bearer(&self, claims: &Value, now: Timestamp) -> Result<Bearer, String> {
        check_times(claims, now)?;
        self.check_names(claims)?;
        Ok(Bearer {
            subject: claims["sub"].as_str().map(ToOwned::to_owned),
            access_list: claims::access_list(&claims[&self.acl_claim], &self.acl_claim)?,
        })
    }

    fn check_names(&self, claims: &Value) -> Result<(), String> {
        if let Some(issuer) = &self.issuer
            && claims["iss"].as_str() != Some(issuer)
        {
            return Err(format!("its iss is not {issuer:?}"));
        }
        let Some(audience) = &self.audience else {
            return Ok(());
        };
        let named = match &claims["aud"] {
            Value::Array(all) => all.iter().any(|one| one.as_str() == Some(audience)),
            one => one.as_str() == Some(audience),
        };
        if named {
            Ok(())
        } else {
            Err(format!("its aud is not {audience:?}"))
        }
    }
}

fn check_times(claims: &Value, now: Timestamp) -> Result<(), String> {
    let now = now.as_second();
    let time = |name: &str| match &claims[name] {
        Value::Null => Ok(None),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds, fractions dropped"
        )]
        value => value
            .as_i64()
            .or_else(|| value.as_f64().map(|seconds| seconds as i64))
            .map(Some)
            .ok_or_else(|| format!("its {name} is not a number of seconds")),
    };
    if let Some(exp) = time("exp")?
        && now >= exp
    {
        return Err(format!("it expired at {exp}, now is {now}"));
    }
    if let Some(nbf) = time("nbf")?
        && now < nbf
    {
        return Err(format!("it is good from {nbf} on, now is {now}"));
    }
    if let Some(iat) = time("iat")?
        && now < iat
    {
        return Err(format!(
            "it was issued at {iat}, which is after now ({now})"
        ));
    }
    Ok(())
}

/// Three parts, the first of them a JSON object in Base64.
pub(super) fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

/// Whether a CONNECT has a token where an authenticator looks for one.
pub(super) fn has_token(authenticators: &[Authenticator], presented: Presented<'_>) -> bool {
    authenticators
        .iter()
        .any(|authenticator| authenticator.token(presented).is_some())
}

/// Asks the authenticators in order; the first that takes the token decides. `None` where there
/// is no token, the last refusal where none takes it.
pub(super) async fn authenticate(
    authenticators: &[Authenticator],
    presented: Presented<'_>,
    issuers: &Issuers,
    now: Timestamp,
) -> Option<Result<Bearer, String>> {
    let mut refusal = None;
    for authenticator in authenticators {
        let Some(token) = authenticator.token(presented) else {
            continue;
        };
        match authenticator.verify(token, issuers, now).await {
            Ok(bearer) => return Some(Ok(bearer)),
            Err(why) => refusal = Some(Err(format!("the token is refused: {why}"))),
        }
    }
    refusal
}
