//! Webhook authentication (WEBHOOK page): a CONNECT is posted to the namespace's webhook, which
//! allows or denies it. A webhook that does not answer in time, or not as it should, makes the
//! broker "Server unavailable".

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mqttstack_broker::dialect::{Connect, ConnectCode, ConnectRefusal};
use mqttstack_kit::outbound;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::who::{Expiry, Identified, Who, attribute, not_authorized};
use crate::identity::auth::Authenticator;
use crate::model::authentication::WebHookAuthentication;

/// What a webhook answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    decision: String,
    client_authentication_name: Option<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
    /// Seconds since 1970; the page's sample shows a string, its table an integer.
    expiration: Option<Value>,
    error_reason: Option<String>,
}

/// The refusal where a webhook has not decided.
pub(super) fn unavailable(reason: String) -> ConnectRefusal {
    ConnectRefusal {
        code: ConnectCode::ServerUnavailable,
        reason,
    }
}

/// Puts a CONNECT to the webhook.
pub(super) async fn ask(
    connect: &Connect,
    webhook: &WebHookAuthentication,
    authenticator: &Authenticator,
    token: Option<String>,
) -> Result<Identified, ConnectRefusal> {
    let url = &webhook.endpoint_url;
    let failed = |why: &dyn std::fmt::Display| {
        unavailable(format!("the webhook at {url} gave no decision: {why}"))
    };
    let client = authenticator.outbound.client();
    let mut request = client
        .map_err(|why| failed(&why))?
        .post(url)
        .timeout(Duration::from_millis(
            authenticator.settings.webhook_timeout_ms,
        ))
        .header("content-type", "application/json")
        .body(question(connect).to_string());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request
        .send()
        .await
        .map_err(|error| failed(&causes(&error)))?;
    if answer.status() != 200 {
        return Err(failed(&format!("it answered {}", answer.status())));
    }
    let body = outbound::body(answer).await.map_err(|why| failed(&why))?;
    let decision = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
    judge(decision, |why| failed(&why))
}

/// The whole story of a failed request; reqwest tells only its beginning.
fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "it did not answer in time".to_owned()
    } else {
        error.to_string()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The documented body.
fn question(connect: &Connect) -> Value {
    let mut body = json!({"clientId": connect.client_id});
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    };
    put("userName", connect.username.clone());
    put(
        "password",
        connect
            .password
            .as_ref()
            .map(|bytes| STANDARD.encode(bytes)),
    );
    put(
        "authenticationMethod",
        connect.authentication_method.clone(),
    );
    let data = connect.authentication_data.as_ref();
    put(
        "authenticationData",
        data.map(|bytes| STANDARD.encode(bytes)),
    );
    if let Some((leaf, rest)) = connect.tls.certificates.split_first() {
        put("clientCertificate", Some(pem(leaf)));
        let rest: String = rest.iter().map(|certificate| pem(certificate)).collect();
        put("clientCertificateChain", (!rest.is_empty()).then_some(rest));
    }
    body
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn judge(
    answer: Answer,
    failed: impl Fn(String) -> ConnectRefusal,
) -> Result<Identified, ConnectRefusal> {
    match answer.decision.as_str() {
        "deny" => Err(not_authorized(format!(
            "the webhook denied it: {}",
            answer
                .error_reason
                .as_deref()
                .unwrap_or("without an errorReason")
        ))),
        "allow" => {
            let name = answer
                .client_authentication_name
                .filter(|name| !name.is_empty())
                .ok_or_else(|| {
                    failed("it allowed without a clientAuthenticationName".to_owned())
                })?;
            let expires = match &answer.expiration {
                None | Some(Value::Null) => None,
                Some(value) => Some(expiry(value).ok_or_else(|| {
                    failed(format!("the expiration {value} is no time in seconds"))
                })?),
            };
            let attributes = answer.attributes.iter();
            let attributes =
                attributes.filter_map(|(name, value)| Some((name.clone(), attribute(value)?)));
            let who = Who::Client {
                authentication_name: name,
                attributes: attributes.collect(),
                registered: false,
            };
            Ok(Identified { who, expires })
        }
        other => Err(failed(format!(
            "the decision is {other:?}, expected is \"allow\" or \"deny\""
        ))),
    }
}

fn expiry(value: &Value) -> Option<Expiry> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    let at = Timestamp::from_second(seconds).ok()?;
    Some(Expiry {
        at,
        of: "the webhook's decision",
    })
}
