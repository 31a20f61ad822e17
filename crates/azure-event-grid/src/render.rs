//! How Azure answers: the headers of every answer, and the one writer of refusals. Four shapes: that
//! of the data plane and the resource manager, `{"error":{"code","message"}}`, Entra's
//! `{"error","error_description",...}`, the metadata service's `{"error","error_description"}` and
//! App Service's `{"statusCode","message"}`.

use mqttstack_base::exchange::{Answer, Head, Malformed, Receipt, Refusal, Request};
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::error::{Error, Row};

/// An answer with the headers that all of the data plane carry.
pub(crate) fn answer(status: u16, walk: &Walk<'_>) -> Answer {
    let id = walk.receipt.id.to_ascii_lowercase();
    let answer = Answer::new(status).header("x-ms-request-id", id);
    match walk.request.head.headers.text("x-ms-client-request-id") {
        Some(id) => answer.header("x-ms-client-request-id", id),
        None => answer,
    }
}

/// An answer of the resource manager.
pub(crate) fn whole(walk: &Walk<'_>, status: u16, body: &Value) -> Answer {
    answer(status, walk)
        .header("Content-Type", "application/json; charset=utf-8")
        .body(body.to_string())
}

/// Which of the vendor's services a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plane {
    /// MQTT over HTTP and namespace topics.
    Data,
    /// Entra ID.
    Entra,
    /// The managed identity endpoints.
    Metadata,
    /// Those as App Service has them.
    AppService,
}

impl Plane {
    /// By the path of a request, and what marks App Service's form of it: its header, beside which
    /// MSAL sends that of the others too, or none at all.
    fn of(head: &Head) -> Self {
        let path = head.path();
        let has = |name| head.headers.text(name).is_some();
        let marked = has("metadata") || has("secret");
        if path.starts_with("/msi/") && (has("x-identity-header") || !marked) {
            Self::AppService
        } else if path.starts_with("/metadata/") || path.starts_with("/msi/") {
            Self::Metadata
        } else if path.starts_with("/mqtt/") || path.starts_with("/topics/") {
            Self::Data
        } else if ["/oauth2/", "/.well-known/", "/discovery/"]
            .iter()
            .any(|part| path.contains(part))
        {
            Self::Entra
        } else {
            Self::Data
        }
    }
}

/// The answer to a refusal.
pub(crate) fn render(error: &Error, request: &Request, receipt: &Receipt) -> Answer {
    let of_events = too_large_for_events(error, &request.head);
    let error = of_events.as_ref().unwrap_or(error);
    let row = error.row();
    let plane = Plane::of(&request.head);
    let id = receipt.id.to_ascii_lowercase();
    let body = match plane {
        Plane::Data => json!({"error": {"code": row.code, "message": error.to_string()}}),
        Plane::Metadata => json!({"error": row.code, "error_description": error.to_string()}),
        Plane::AppService => json!({"statusCode": row.status, "message": error.to_string()}),
        Plane::Entra => entra_body(row, error, request, receipt, &id),
    };
    let mut answer = Answer::new(row.status)
        .header("Content-Type", "application/json; charset=utf-8")
        .header("x-ms-request-id", id);
    if plane == Plane::Data {
        answer = answer.header("x-ms-error-code", row.code);
    }
    if let Some(given) = request.head.headers.text("x-ms-client-request-id") {
        answer = answer.header("x-ms-client-request-id", given);
    }
    if let Error::Method(allowed) = error {
        answer = answer.header("Allow", *allowed);
    }
    if matches!(row.status, 429 | 503) {
        answer = answer.header("Retry-After", "1");
    }
    answer.body(body.to_string())
}

/// A body that was too long to be read, where events are published: the same refusal as of one
/// that was read.
fn too_large_for_events(error: &Error, head: &Head) -> Option<Error> {
    let Error::Refused(Refusal::Malformed(Malformed::BodyTooLarge { limit })) = error else {
        return None;
    };
    let path = head.path().trim_end_matches('/');
    let of_events = path.starts_with("/topics/") && path.ends_with(":publish");
    let length = head.headers.text("content-length");
    of_events.then(|| Error::EventsTooLarge {
        // Without a length only so much was read.
        got: length
            .and_then(|text| text.parse().ok())
            .unwrap_or(limit + 1),
        limit: *limit,
    })
}

fn entra_body(row: Row, error: &Error, request: &Request, receipt: &Receipt, id: &str) -> Value {
    let correlation = ["client-request-id", "x-ms-client-request-id"]
        .iter()
        .find_map(|name| request.head.headers.text(name))
        .unwrap_or(id);
    let timestamp = receipt.now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    json!({
        "error": row.code,
        "error_description": format!(
            "{error} Trace ID: {id} Correlation ID: {correlation} Timestamp: {timestamp}"
        ),
        "error_codes": if row.aadsts == 0 { vec![] } else { vec![row.aadsts] },
        "timestamp": timestamp,
        "trace_id": id,
        "correlation_id": correlation,
    })
}
