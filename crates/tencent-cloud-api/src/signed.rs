//! What a TC3 signature covers and how it is computed: canonical request, string to sign, key.
//! [`super::verify`] compares; `hints.rs` exchanges one part at a time.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use mqttstack_base::exchange::Request;
use mqttstack_kit::hex;
use sha2::{Digest, Sha256};

use super::{ALGORITHM, Invocation, Tc3Error};

/// The parts of an `Authorization` header field.
pub(super) struct Authorization<'a> {
    pub(super) secret_id: &'a str,
    pub(super) date: &'a str,
    pub(super) service: &'a str,
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Tc3Error> {
        let wrong = |what| Tc3Error::InvalidAuthorization(what);
        let (algorithm, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(wrong("it does not begin with TC3-HMAC-SHA256"));
        }
        let part = |name: &str| {
            rest.split(',')
                .filter_map(|part| part.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let scope = part("Credential").ok_or(wrong("it has no Credential"))?;
        let mut scope = scope.split('/');
        let (Some(secret_id), Some(date), Some(service), Some("tc3_request"), None) = (
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
            scope.next(),
        ) else {
            return Err(wrong(
                "Credential is not {SecretId}/{date}/{service}/tc3_request",
            ));
        };
        Ok(Self {
            secret_id,
            date,
            service,
            signed_headers: part("SignedHeaders").ok_or(wrong("it has no SignedHeaders"))?,
            signature: part("Signature").ok_or(wrong("it has no Signature"))?,
        })
    }

    /// Refuses another service, another day, or too few signed header fields. Called at a host
    /// that is not the vendor's, some SDKs (Node's) take the first part of that host for the
    /// service, as it is at the vendor's own hosts.
    pub(super) fn check_scope(
        &self,
        invocation: &Invocation,
        service: &str,
        host: Option<&str>,
    ) -> Result<(), Tc3Error> {
        let failure = |hint| Err(Tc3Error::SignatureFailure { hint });
        let local = host.filter(|host| !host.contains(".tencentcloudapi.com"));
        let label = local.and_then(|host| host.split('.').next());
        if self.service != service && Some(self.service) != label {
            return failure(format!(
                "the credential scope names the service {:?} where {service:?} was called",
                self.service
            ));
        }
        let date = utc_date(invocation.timestamp);
        if date.as_deref() != Some(self.date) {
            return failure(format!(
                "the credential scope's date {:?} is not the UTC date of X-TC-Timestamp, {:?}",
                self.date,
                date.unwrap_or_default()
            ));
        }
        for needed in ["content-type", "host"] {
            if !self.signed_headers.split(';').any(|name| name == needed) {
                return failure(format!("SignedHeaders does not list {needed}"));
            }
        }
        Ok(())
    }
}

fn utc_date(timestamp: i64) -> Option<String> {
    let timestamp = Timestamp::from_second(timestamp).ok()?;
    Some(timestamp.strftime("%Y-%m-%d").to_string())
}

/// What a signature covers, each part by itself so that `hints.rs` can exchange one.
#[derive(Clone)]
pub(super) struct Signed {
    pub(super) method: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload_hash: String,
    pub(super) body: bytes::Bytes,
    pub(super) timestamp: i64,
    pub(super) date: String,
    pub(super) service: String,
}

impl Signed {
    pub(super) fn of(
        request: &Request,
        authorization: &Authorization<'_>,
        timestamp: i64,
    ) -> Result<Self, Tc3Error> {
        let mut headers = Vec::new();
        for name in authorization.signed_headers.split(';') {
            let value = match name {
                "host" => request.head.host(),
                _ => request.head.headers.text(name),
            };
            let value = value.ok_or_else(|| Tc3Error::SignatureFailure {
                hint: format!("SignedHeaders lists {name:?}, which the request does not have"),
            })?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let unsigned = request.head.headers.text("X-TC-Content-SHA256") == Some("UNSIGNED-PAYLOAD");
        let payload_hash = if unsigned {
            sha256_hex(b"UNSIGNED-PAYLOAD")
        } else {
            sha256_hex(&request.body)
        };
        Ok(Self {
            method: request.head.method.to_string(),
            query: request.head.raw_query().to_owned(),
            headers,
            payload_hash,
            body: request.body.clone(),
            timestamp,
            date: authorization.date.to_owned(),
            service: authorization.service.to_owned(),
        })
    }

    /// Whether this is what was signed. The page says that values are lower-cased; the SDKs
    /// sign them as they send them.
    pub(super) fn fits(&self, secret_key: &str, signature: &str) -> bool {
        [false, true]
            .iter()
            .any(|lower| self.signature(secret_key, &self.canonical_request(*lower)) == signature)
    }

    /// The same with the host's port left out, as Node's SDK signs it; `None` without a port.
    pub(super) fn without_port(&self) -> Option<Self> {
        let mut bare = self.clone();
        let (_, host) = bare.headers.iter_mut().find(|(name, _)| name == "host")?;
        *host = host.rsplit_once(':')?.0.to_owned();
        Some(bare)
    }

    pub(super) fn canonical_request(&self, lower_values: bool) -> String {
        use std::fmt::Write;
        let mut text = format!("{}\n/\n{}\n", self.method, self.query);
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _ = if lower_values {
                writeln!(text, "{name}:{}", value.to_lowercase())
            } else {
                writeln!(text, "{name}:{value}")
            };
        }
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let _ = write!(text, "\n{}\n{}", names.join(";"), self.payload_hash);
        text
    }

    pub(super) fn string_to_sign(&self, canonical_request: &str) -> String {
        format!(
            "{ALGORITHM}\n{}\n{}/{}/tc3_request\n{}",
            self.timestamp,
            self.date,
            self.service,
            sha256_hex(canonical_request.as_bytes())
        )
    }

    pub(super) fn signing_key(&self, secret_key: &str) -> [u8; 32] {
        let date = hmac_sha256(format!("TC3{secret_key}").as_bytes(), self.date.as_bytes());
        let service = hmac_sha256(&date, self.service.as_bytes());
        hmac_sha256(&service, b"tc3_request")
    }

    pub(super) fn signature(&self, secret_key: &str, canonical_request: &str) -> String {
        let key = self.signing_key(secret_key);
        hex::lower(hmac_sha256(
            &key,
            self.string_to_sign(canonical_request).as_bytes(),
        ))
    }
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::lower(Sha256::digest(bytes))
}

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so the error branch is never taken.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mut mac| {
            mac.update(message);
            mac.finalize().into_bytes().into()
        })
        .unwrap_or_default()
}
