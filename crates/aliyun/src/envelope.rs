//! The common part of a request, wherever its signature version puts it: V1 in parameters,
//! V3 in header fields. Which version it is, is decided here and nowhere else.

use mqttstack_base::exchange::Request;

use super::parameters::Parameters;

/// How a request says who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme<'a> {
    /// Signed parameters, signature version 1.0.
    V1,
    /// A bearer token among the parameters.
    V1Bearer,
    /// Signed header fields: `Authorization: ACS3-...`.
    V3 {
        /// The `Authorization` field.
        authorization: &'a str,
    },
    /// A bearer token in `x-acs-bearer-token`.
    V3Bearer(&'a str),
}

/// The common part. Absent values are empty, as the gateway treats both alike.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// How it says who calls.
    pub(super) scheme: Scheme<'a>,
    /// `Action`, `x-acs-action`.
    pub(super) action: &'a str,
    /// `Version`, `x-acs-version`.
    pub(super) version: &'a str,
    /// `Timestamp`, `x-acs-date`.
    pub(super) timestamp: &'a str,
    /// `SignatureNonce`, `x-acs-signature-nonce`.
    pub(super) nonce: &'a str,
    /// The `Accept` field.
    pub(super) accept: &'a str,
}

impl<'a> Envelope<'a> {
    /// Finds the common part. Only `Authorization: ACS3-...` and `x-acs-bearer-token` say V3:
    /// V1 clients send `x-acs-action` and `x-acs-version` too, unsigned (measured), and one of
    /// them its bearer token once more ([`V1_ALONE`]).
    pub(super) fn read(request: &'a Request, parameters: &'a Parameters<'_>) -> Self {
        let header = |name| request.head.headers.text(name).unwrap_or("").trim();
        let scheme = scheme(
            header("authorization"),
            header("x-acs-bearer-token"),
            parameters,
        );
        let accept = header("accept");
        match scheme {
            Scheme::V3 { .. } | Scheme::V3Bearer(_) => Self {
                scheme,
                action: header("x-acs-action"),
                version: header("x-acs-version"),
                timestamp: header("x-acs-date"),
                nonce: header("x-acs-signature-nonce"),
                accept,
            },
            Scheme::V1 | Scheme::V1Bearer => Self {
                scheme,
                action: parameters.get("Action"),
                version: parameters.get("Version"),
                timestamp: parameters.get("Timestamp"),
                nonce: parameters.get("SignatureNonce"),
                accept,
            },
        }
    }
}

/// Parameters that no V3 request has. With one of them `x-acs-bearer-token` says nothing: the
/// Java SDK's core sends it beside a V1 query (measured with aliyun-java-sdk-core 4, November
/// 2026).
const V1_ALONE: [&str; 3] = ["BearerToken", "Signature", "SignatureNonce"];

fn scheme<'a>(
    authorization: &'a str,
    bearer: &'a str,
    parameters: &'a Parameters<'_>,
) -> Scheme<'a> {
    let is_v1 = || V1_ALONE.iter().any(|name| !parameters.get(name).is_empty());
    if authorization.starts_with("ACS3-") {
        Scheme::V3 { authorization }
    } else if !bearer.is_empty() && !is_v1() {
        Scheme::V3Bearer(bearer)
    } else if parameters
        .get("SignatureType")
        .eq_ignore_ascii_case("BEARERTOKEN")
    {
        Scheme::V1Bearer
    } else {
        Scheme::V1
    }
}
