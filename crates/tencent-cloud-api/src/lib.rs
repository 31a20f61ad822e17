//! The cloud API's signatures and the envelope around every cloud API call, which both Tencent
//! vendors share: `X-TC-*` header fields in, `{"Response":{..}}` out. A leaf: it knows no
//! product. Read [`verify`] first, which is about TC3-HMAC-SHA256; the older signature is in
//! `v1.rs`. How a mistake is recognised is in `hints.rs`, what is signed in `signed.rs`, how
//! parameters are read in `parameters.rs`.
//!
//! Sources: the signature v3 page and the common error codes of the cloud API; nine requests
//! captured from the vendor's Python SDK (`fixtures/tencent-tc3/cloudapi.json`).

mod error;
mod hints;
mod parameters;
mod signed;
mod size;
mod v1;

use jiff::Timestamp;
use mqttstack_kit::auth::AuthMode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::error::{Row, Tc3Error};
pub use self::hints::respellings;
pub use self::parameters::{are_text, parameters};
use self::signed::{Authorization, Signed};
pub use self::size::{longest_body, too_large};
use mqttstack_base::exchange::{Answer, Receipt, Request};
use mqttstack_base::secret::Secret;

use self::v1::MAX_BYTES as V1_MAX_BYTES;

/// The one algorithm of signature v3.
pub(crate) const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// One cloud API key pair: `[[tencent_cloud.secrets]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The `SecretId`.
    pub id: String,
    /// The `SecretKey`.
    pub key: Secret,
    /// The session token (`X-TC-Token`) that a temporary pair must bring.
    #[serde(default)]
    pub token: Option<Secret>,
}

impl Credential {
    fn find<'a>(settings: &'a Settings, id: &str) -> Result<&'a Self, Tc3Error> {
        let all = &settings.secrets;
        all.iter()
            .find(|credential| credential.id == id)
            .ok_or_else(|| Tc3Error::SecretIdNotFound {
                id: id.to_owned(),
                known: all.iter().map(|one| one.id.clone()).collect(),
            })
    }

    /// Whose key it is that `fits`, if it is another one than this.
    fn other<'a>(&self, settings: &'a Settings, fits: impl Fn(&str) -> bool) -> Option<&'a str> {
        let others = settings.secrets.iter().filter(|one| one.id != self.id);
        let mut fitting = others.filter(|one| fits(one.key.expose()));
        fitting.next().map(|one| one.id.as_str())
    }

    fn check_token(&self, sent: Option<&str>) -> Result<(), Tc3Error> {
        match &self.token {
            Some(token) if sent != Some(token.expose()) => Err(Tc3Error::TokenFailure),
            _ => Ok(()),
        }
    }
}

/// The table `[tencent_cloud]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether signatures are checked (default `strict`).
    pub auth: AuthMode,
    /// How far `X-TC-Timestamp` may be from the emulator's time, in seconds (default 300, as
    /// documented; 0 turns the check off).
    pub timestamp_window_s: u32,
    /// The key pairs (default: one well-known test pair).
    pub secrets: Vec<Credential>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: AuthMode::Strict,
            timestamp_window_s: 300,
            secrets: vec![Credential {
                id: "AKIDEXAMPLE0000000000000000000000000".to_owned(),
                key: Secret::new("SecretKeyExample0000000000000000"),
                token: None,
            }],
        }
    }
}

/// What the `X-TC-*` header fields ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// `X-TC-Action`.
    pub action: String,
    /// `X-TC-Version`.
    pub version: String,
    /// `X-TC-Region`; some products need none.
    pub region: Option<String>,
    /// `X-TC-Timestamp`, Unix seconds.
    pub timestamp: i64,
    /// Whether all that came as parameters, as the older signature has it.
    pub as_parameters: bool,
}

/// Who calls, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The `SecretId`.
    pub secret_id: String,
    /// What is asked for.
    pub invocation: Invocation,
}

impl Invocation {
    /// Refuses a call without a region, or with one that is not among `regions`; an empty list
    /// takes any and none.
    pub fn check_region(&self, regions: &[String]) -> Result<(), Tc3Error> {
        if regions.is_empty() {
            return Ok(());
        }
        let name = if self.as_parameters {
            "Region"
        } else {
            "X-TC-Region"
        };
        let region = self
            .region
            .as_deref()
            .ok_or(Tc3Error::MissingParameter(name))?;
        if regions.iter().any(|known| known == region) {
            return Ok(());
        }
        // `gz` and `hk`, as the API before this one spelled them, were seen to be refused so.
        if region.contains('-') {
            return Err(Tc3Error::UnsupportedRegion(region.to_owned()));
        }
        Err(Tc3Error::RegionFormat {
            name,
            region: region.to_owned(),
        })
    }
}

/// The action that is asked for, even of a request that will be refused.
pub fn action(request: &Request) -> Option<String> {
    match request.head.headers.text("X-TC-Action") {
        Some(action) => Some(action.to_owned()),
        None => v1::Parameters::of(request)?
            .get("Action")
            .map(ToOwned::to_owned),
    }
}

/// Reads the `X-TC-*` header fields.
pub fn invocation(request: &Request) -> Result<Invocation, Tc3Error> {
    let headers = &request.head.headers;
    let needed = |name: &'static str| {
        headers
            .text(name)
            .filter(|value| !value.is_empty())
            .ok_or(Tc3Error::MissingHeader(name))
    };
    let (action, version) = (needed("X-TC-Action")?, needed("X-TC-Version")?);
    let timestamp = needed("X-TC-Timestamp")?;
    Ok(Invocation {
        action: action.to_owned(),
        version: version.to_owned(),
        region: headers
            .text("X-TC-Region")
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned),
        timestamp: timestamp.parse().map_err(|_| Tc3Error::TimestampFormat {
            name: "X-TC-Timestamp",
            text: timestamp.to_owned(),
        })?,
        as_parameters: false,
    })
}

/// Verifies a cloud API request for `service` (`iotcloud`, `mqtt`): method, header fields, key,
/// time, signature, in this order.
pub fn verify(
    request: &Request,
    settings: &Settings,
    now: Timestamp,
    service: &str,
) -> Result<Caller, Tc3Error> {
    if !matches!(&*request.head.method, "POST" | "GET") {
        return Err(Tc3Error::Method(request.head.method.to_string()));
    }
    if let Some(parameters) = v1::Parameters::of(request) {
        return v1::verify(request, &parameters, settings, now, service);
    }
    let invocation = invocation(request)?;
    let written = request
        .head
        .headers
        .text("Authorization")
        .ok_or(Tc3Error::MissingHeader("Authorization"));
    if settings.auth == AuthMode::Off {
        let secret_id = written
            .ok()
            .and_then(|text| Authorization::parse(text).ok())
            .map_or_else(String::new, |authorization| authorization.secret_id.into());
        return Ok(Caller {
            secret_id,
            invocation,
        });
    }
    let authorization = Authorization::parse(written?)?;
    let credential = Credential::find(settings, authorization.secret_id)?;
    credential.check_token(request.head.headers.text("X-TC-Token"))?;
    check_time(&invocation, settings.timestamp_window_s, now)?;
    authorization.check_scope(&invocation, service, request.head.host())?;
    let signed = Signed::of(request, &authorization, invocation.timestamp)?;
    let key = credential.key.expose();
    if signed.fits(key, authorization.signature)
        || signed
            .without_port()
            .is_some_and(|bare| bare.fits(key, authorization.signature))
    {
        return Ok(Caller {
            secret_id: credential.id.clone(),
            invocation,
        });
    }
    let hint = hints::explain(&signed, key, authorization.signature)
        .or_else(|| {
            let fits = |key: &str| signed.fits(key, authorization.signature);
            credential.other(settings, fits).map(hints::of_another)
        })
        .unwrap_or_else(|| hints::unknown(&credential.id, &signed));
    Err(Tc3Error::SignatureFailure { hint })
}

/// What was lenient about a caller that was let in.
pub fn hint(settings: &Settings) -> Option<String> {
    let off = settings.auth == AuthMode::Off;
    off.then(|| "tencent_cloud.auth is off: the signature was not checked".to_owned())
}

fn check_time(invocation: &Invocation, window_s: u32, now: Timestamp) -> Result<(), Tc3Error> {
    let apart = now.as_second().saturating_sub(invocation.timestamp);
    if window_s != 0 && apart.unsigned_abs() > u64::from(window_s) {
        return Err(Tc3Error::SignatureExpire {
            timestamp: invocation.timestamp,
            apart,
            window_s,
        });
    }
    Ok(())
}

/// A request id as Tencent spells it: the receipt's, in lower case.
pub fn request_id(receipt: &Receipt) -> String {
    receipt.id.to_ascii_lowercase()
}

/// `{"Response":{<fields>,"RequestId":..}}`, HTTP 200.
pub fn success(receipt: &Receipt, mut fields: Map<String, Value>) -> Answer {
    fields.insert("RequestId".to_owned(), Value::String(request_id(receipt)));
    envelope(&Value::Object(fields))
}

/// `{"Response":{"Error":{"Code":..,"Message":..},"RequestId":..}}`, HTTP 200 as well: the SDKs
/// read an error only there.
pub fn failure(receipt: &Receipt, code: &str, message: &str) -> Answer {
    envelope(&json!({
        "Error": { "Code": code, "Message": message },
        "RequestId": request_id(receipt),
    }))
}

/// The content type is exactly this: with a charset behind it the Python SDK takes every error
/// for an empty success.
fn envelope(response: &Value) -> Answer {
    Answer::new(200)
        .header("Content-Type", "application/json")
        .body(json!({ "Response": response }).to_string())
}

#[cfg(test)]
mod tests;
