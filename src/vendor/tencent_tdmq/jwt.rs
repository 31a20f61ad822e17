//! The JWT authenticators of the MQTT side: a token in the user name or the password, signed
//! with a shared secret or by a key pair. `exp`, `nbf`, `iat`, `iss` and `aud` are checked on the
//! emulator's clock.
//!
//! Sources: `CreateJWTAuthenticator` (cloud.tencent.com/document/api/1778/111077) and
//! tencentcloud.com/document/product/1294/76421.

use jiff::Timestamp;
use jsonwebtoken::{Algorithm as Alg, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret::Secret;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// With a shared secret: HS256, HS384, HS512.
    #[default]
    HmacBased,
    /// By a key pair: RS, PS and ES algorithms and Ed25519.
    PublicKey,
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

/// One authenticator, in the words of `CreateJWTAuthenticator`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// The `iss` that a token must have; none: any.
    pub issuer: Option<String>,
    /// The `aud` that a token must have; none: any.
    pub audience: Option<String>,
}

/// What a good token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// `sub`.
    pub subject: Option<String>,
}

impl Authenticator {
    /// The token in the field that this authenticator reads.
    fn token<'a>(&self, username: Option<&'a str>, password: Option<&'a [u8]>) -> Option<&'a str> {
        let field = match self.from {
            Field::Username => username,
            Field::Password => password.and_then(|bytes| std::str::from_utf8(bytes).ok()),
        };
        field.filter(|text| looks_like_token(text))
    }

    fn key(&self, algorithm: Alg) -> Result<DecodingKey, String> {
        use Alg::{
            ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
        };
        let pem = self.public_key.as_deref().unwrap_or_default().as_bytes();
        let key = match (self.algorithm, algorithm) {
            (Algorithm::HmacBased, HS256 | HS384 | HS512) => {
                let secret = self.secret.as_ref().map(Secret::expose).unwrap_or_default();
                if secret.is_empty() {
                    return Err("the authenticator has no secret".to_owned());
                }
                return Ok(DecodingKey::from_secret(secret.as_bytes()));
            }
            (Algorithm::PublicKey, RS256 | RS384 | RS512 | PS256 | PS384 | PS512) => {
                DecodingKey::from_rsa_pem(pem)
            }
            (Algorithm::PublicKey, ES256 | ES384) => DecodingKey::from_ec_pem(pem),
            (Algorithm::PublicKey, EdDSA) => DecodingKey::from_ed_pem(pem),
            _ => {
                return Err(format!(
                    "its algorithm {algorithm:?} is not this authenticator's"
                ));
            }
        };
        key.map_err(|error| format!("the authenticator's key does not fit: {error}"))
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Bearer, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        // Times are checked below, on the emulator's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let key = self.key(header.alg)?;
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
            .map_err(|error| error.to_string())?
            .claims;
        check_times(&claims, now)?;
        self.check_names(&claims)?;
        Ok(Bearer {
            subject: claims["sub"].as_str().map(ToOwned::to_owned),
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
pub(super) fn has_token(
    authenticators: &[Authenticator],
    username: Option<&str>,
    password: Option<&[u8]>,
) -> bool {
    authenticators
        .iter()
        .any(|authenticator| authenticator.token(username, password).is_some())
}

/// Asks the authenticators in order; the first that takes the token decides. `None` where there
/// is no token, the last refusal where none takes it.
pub(super) fn authenticate(
    authenticators: &[Authenticator],
    username: Option<&str>,
    password: Option<&[u8]>,
    now: Timestamp,
) -> Option<Result<Bearer, String>> {
    let mut refusal = None;
    for authenticator in authenticators {
        let Some(token) = authenticator.token(username, password) else {
            continue;
        };
        match authenticator.verify(token, now) {
            Ok(bearer) => return Some(Ok(bearer)),
            Err(why) => refusal = Some(Err(format!("the token is refused: {why}"))),
        }
    }
    refusal
}
