//! The older signature of the cloud API, `HmacSHA1` and `HmacSHA256`: everything is a parameter,
//! in the query of a GET or the form of a POST, the signature too. [`super::verify`] comes here for
//! a request that has parameters so and no `X-TC-Action`.
//!
//! Sources: signature v1 page; the vendor's Python and Node SDKs, whose `signMethod` chooses it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use mqttstack_base::exchange::Request;
use mqttstack_kit::auth::AuthMode;
use mqttstack_kit::{form, hex};
use sha1::Sha1;

use super::signed::hmac_sha256;
use super::{Caller, Credential, Invocation, Settings, Tc3Error, check_time, hints};

/// The longest form of a POST that is signed so, in bytes: the signature v1 page has 1 MB; what is
/// longer must be signed by TC3.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Parameters of every call; the rest are the action's own.
const COMMON: [&str; 11] = [
    "Action",
    "Version",
    "Region",
    "Timestamp",
    "Nonce",
    "SecretId",
    "Signature",
    "SignatureMethod",
    "Token",
    "Language",
    "RequestClient",
];

/// The parameters of a request, decoded and in their order.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Those of a request that is signed in this way; `None` for any other.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let head = &request.head;
        if head.headers.get("X-TC-Action").is_some() || head.headers.get("Authorization").is_some()
        {
            return None;
        }
        let content_type = head.headers.text("Content-Type").unwrap_or("");
        let is_form = content_type.split(';').next().is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        let text = match &*head.method {
            "GET" => head.raw_query(),
            "POST" if is_form => std::str::from_utf8(&request.body).ok()?,
            _ => return None,
        };
        let decoded = form::decode_field_loosely;
        let pairs: Option<Vec<_>> = form::fields(text)
            .map(|(name, value)| Some((decoded(name)?, decoded(value)?)))
            .collect();
        pairs.filter(|pairs| !pairs.is_empty()).map(Self)
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn needed(&self, name: &'static str) -> Result<&str, Tc3Error> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or(Tc3Error::MissingParameter(name))
    }

    /// Those of the action.
    pub(super) fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !COMMON.contains(name))
    }

    pub(super) fn invocation(&self) -> Result<Invocation, Tc3Error> {
        let action = self.needed("Action")?.to_owned();
        let version = self.needed("Version")?.to_owned();
        let timestamp = self.needed("Timestamp")?;
        Ok(Invocation {
            action,
            version,
            region: self
                .get("Region")
                .filter(|region| !region.is_empty())
                .map(ToOwned::to_owned),
            timestamp: timestamp.parse().map_err(|_| Tc3Error::TimestampFormat {
                name: "Timestamp",
                text: timestamp.to_owned(),
            })?,
            as_parameters: true,
        })
    }

    /// `METHOD`, host and path, `?`, then all parameters but the signature, sorted by name and
    /// not encoded.
    fn string_to_sign(&self, method: &str, host: &str) -> String {
        let mut pairs: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| name != "Signature")
            .collect();
        pairs.sort();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{method}{host}/?{}", pairs.join("&"))
    }
}

/// Verifies a call that is signed in this way.
pub(super) fn verify(
    request: &Request,
    parameters: &Parameters,
    settings: &Settings,
    now: Timestamp,
    service: &str,
) -> Result<Caller, Tc3Error> {
    if request.body.len() > MAX_BYTES {
        return Err(Tc3Error::RequestTooLarge);
    }
    let invocation = parameters.invocation()?;
    let secret_id = parameters.needed("SecretId");
    if settings.auth == AuthMode::Off {
        let secret_id = secret_id.unwrap_or("").to_owned();
        return Ok(Caller {
            secret_id,
            invocation,
        });
    }
    let secret_id = secret_id?;
    parameters.needed("Nonce")?;
    let signature = parameters.needed("Signature")?;
    let credential = Credential::find(settings, secret_id)?;
    credential.check_token(parameters.get("Token"))?;
    check_time(&invocation, settings.timestamp_window_s, now)?;
    let signing = Signing {
        parameters,
        signature,
        key: credential.key.expose().as_bytes(),
    };
    let method = &*request.head.method;
    let host = request.head.host().unwrap_or("");
    let bare = host.rsplit_once(':').map_or(host, |(bare, _)| bare);
    if signing.fits(method, host) || signing.fits(method, bare) {
        return Ok(Caller {
            secret_id: secret_id.to_owned(),
            invocation,
        });
    }
    let hint = signing.mistake(method, host, service).or_else(|| {
        let fits = |key: &str| {
            let signing = Signing {
                key: key.as_bytes(),
                ..signing
            };
            signing.fits(method, host) || signing.fits(method, bare)
        };
        credential.other(settings, fits).map(hints::of_another)
    });
    let hint = hint.unwrap_or_else(|| {
        let text = parameters.string_to_sign(method, host);
        hints::unknown_of_v1(&credential.id, &text)
    });
    Err(Tc3Error::SignatureFailure { hint })
}

#[derive(Clone, Copy)]
struct Signing<'a> {
    parameters: &'a Parameters,
    signature: &'a str,
    key: &'a [u8],
}

impl Signing<'_> {
    /// The page: `HmacSHA256` only if `SignatureMethod` says so, in all other cases `HmacSHA1`.
    fn is_sha256(&self) -> bool {
        self.parameters.get("SignatureMethod") == Some("HmacSHA256")
    }

    fn digest(&self, sha256: bool, text: &str) -> Vec<u8> {
        if sha256 {
            return hmac_sha256(self.key, text.as_bytes()).to_vec();
        }
        // HMAC takes a key of any length, so the error branch is never taken.
        Hmac::<Sha1>::new_from_slice(self.key)
            .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }

    fn fits(&self, method: &str, host: &str) -> bool {
        let text = self.parameters.string_to_sign(method, host);
        STANDARD.encode(self.digest(self.is_sha256(), &text)) == self.signature
    }

    /// Which known mistake leads to the signature that was sent.
    fn mistake(&self, method: &str, host: &str, service: &str) -> Option<String> {
        let text = self.parameters.string_to_sign(method, host);
        let right = self.digest(self.is_sha256(), &text);
        if hex::lower(&right).eq_ignore_ascii_case(self.signature) {
            return Some(
                "it is the hexadecimal text of the digest; it must be base64 of the raw digest"
                    .to_owned(),
            );
        }
        if STANDARD.encode(self.digest(!self.is_sha256(), &text)) == self.signature {
            return Some("the digest is not of the hash that SignatureMethod names".to_owned());
        }
        if STANDARD.encode(&right) == self.signature.replace(' ', "+") {
            return Some("its + came as a blank: the signature was not percent-encoded".to_owned());
        }
        let other = if method == "GET" { "POST" } else { "GET" };
        if self.fits(other, host) {
            return Some(format!("it fits the method {other}, not {method}"));
        }
        let real = format!("{service}.tencentcloudapi.com");
        self.fits(method, &real)
            .then(|| format!("it fits the host {real:?}, which is not the one called"))
    }
}
