//! The table of [`Error`]s, and the one function that writes a refusal.

use mqttstack_base::exchange::{Answer, Malformed, Receipt, Refusal};
use mqttstack_kit::claim::Standing;
use mqttstack_tencent_cloud_api as cloud_api;

use super::{Error, Plane, Resource};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status. Always 200 over the cloud API.
    pub status: u16,
    /// The cloud API's code; over the data plane only the journal's name for the error.
    pub code: &'static str,
    /// How sure the row is.
    pub standing: Standing,
    /// Where it stands.
    pub source: &'static str,
}

const PUBLISH_PAGE: &str = "tencentcloud.com/document/product/1294/76451 (2026-04-01)";
const STATUS_PAGE: &str = "1778/115657 (2025-09-30), of the status call; the others by analogy";
const KEEP_ALIVE_PAGE: &str =
    "1294/76754 (2026-04-01) has the condition; its table of statuses could not be read";
const ERROR_LIST: &str = "tencentcloud-sdk-python-mqtt 3.1.195 errorcodes.py";
const COMMON_CODES: &str = "cloud API 3.0, common error codes";
const NOWHERE: &str = "no page has it; the usual HTTP status";

const fn data(status: u16, code: &'static str) -> Row {
    Row {
        status,
        code,
        standing: Standing::Assumed,
        source: NOWHERE,
    }
}

/// What the page on the status call lists.
const fn of_status_call(status: u16, code: &'static str) -> Row {
    Row {
        status,
        code,
        standing: Standing::Documented,
        source: STATUS_PAGE,
    }
}

/// 400 is documented: "the server cannot process the request", a wrong URL among its causes.
const fn bad_request(code: &'static str) -> Row {
    Row {
        status: 400,
        code,
        standing: Standing::Documented,
        source: PUBLISH_PAGE,
    }
}

const fn cloud(code: &'static str, source: &'static str) -> Row {
    Row {
        status: 200,
        code,
        standing: Standing::Documented,
        source,
    }
}

const fn assumed(row: Row) -> Row {
    Row {
        standing: Standing::Assumed,
        ..row
    }
}

impl Error {
    /// The table.
    pub fn row(&self, plane: Plane) -> Row {
        match self {
            Self::Path(_) => data(404, "NotFound"),
            Self::Method { .. } => data(405, "MethodNotAllowed"),
            Self::Topic(_) => bad_request("InvalidTopic"),
            Self::Parameter { .. } => bad_request("InvalidParameter"),
            Self::UnpairedUserProperty { .. } => bad_request("UnpairedUserProperty"),
            Self::PayloadTooLarge { .. } => match plane {
                Plane::Data => data(413, "PayloadTooLarge"),
                Plane::Cloud => assumed(cloud("InvalidParameterValue", ERROR_LIST)),
            },
            Self::NoCredentials(_) => of_status_call(401, "CredentialsMissing"),
            Self::BadCredentials(_) => of_status_call(401, "CredentialsMalformed"),
            Self::WrongCredentials(_) => of_status_call(401, "CredentialsWrong"),
            Self::Certificate(_) => of_status_call(401, "CertificateRefused"),
            Self::Denied(_) => of_status_call(403, "NotAuthorized"),
            Self::ClientOffline(_) => keep_alive_refused("ClientOffline"),
            Self::NoKeepAlive(_) => keep_alive_refused("NoKeepAlive"),
            Self::FrontDoor(error) => {
                let row = error.row();
                Row {
                    status: 200,
                    code: row.code,
                    standing: row.standing,
                    source: row.source,
                }
            }
            Self::Missing(_) => cloud("MissingParameter", ERROR_LIST),
            Self::Unknown(_) => cloud("UnknownParameter", COMMON_CODES),
            Self::Kind { .. } => assumed(cloud("InvalidParameter", COMMON_CODES)),
            Self::Value { .. } => cloud("InvalidParameterValue", ERROR_LIST),
            Self::NotFound { resource, .. } => not_found(*resource),
            Self::Exists { .. } => cloud("UnsupportedOperation.ResourceAlreadyExists", ERROR_LIST),
            Self::DuplicatePolicy(_) => cloud("FailedOperation.DuplicatePolicy", ERROR_LIST),
            Self::DuplicatePriority(_) => cloud("FailedOperation.DuplicatePriority", ERROR_LIST),
            Self::NotSubscribed { .. } => assumed(cloud("ResourceNotFound", ERROR_LIST)),
            Self::SubscriptionRefused { .. } => assumed(cloud("OperationDenied", ERROR_LIST)),
            Self::TooManyTopics(_) => cloud("LimitExceeded.TopicNum", ERROR_LIST),
            Self::Unsupported(_) | Self::Condition(_) => {
                assumed(cloud("UnsupportedOperation", COMMON_CODES))
            }
            Self::Shared(refusal) => shared(refusal, plane),
        }
    }
}

const fn keep_alive_refused(code: &'static str) -> Row {
    Row {
        source: KEEP_ALIVE_PAGE,
        ..data(400, code)
    }
}

const fn not_found(resource: Resource) -> Row {
    match resource {
        Resource::Instance => cloud("ResourceNotFound.Instance", ERROR_LIST),
        Resource::Topic => cloud("ResourceNotFound.Topic", ERROR_LIST),
        Resource::Username => cloud("ResourceNotFound.Username", ERROR_LIST),
        Resource::AuthorizationPolicy => cloud("ResourceNotFound.AuthorizationPolicy", ERROR_LIST),
        Resource::Message => cloud("ResourceNotFound.Message", ERROR_LIST),
        Resource::Authenticator => cloud("ResourceNotFound.NoAuthenticator", ERROR_LIST),
        Resource::Client => assumed(cloud("ResourceNotFound", ERROR_LIST)),
    }
}

fn shared(refusal: &Refusal, plane: Plane) -> Row {
    let (status, name, code) = match refusal {
        Refusal::Malformed(Malformed::BodyTooLarge { .. }) => {
            (413, "PayloadTooLarge", "InvalidParameterValue")
        }
        Refusal::Malformed(
            Malformed::HeadTimeout | Malformed::BodyTimeout | Malformed::Truncated,
        ) => (408, "RequestTimeout", "InvalidParameter"),
        Refusal::Malformed(Malformed::TargetTooLong { .. }) => {
            (414, "TargetTooLong", "InvalidParameter")
        }
        Refusal::Malformed(Malformed::HeadTooLarge { .. } | Malformed::TooManyFields { .. }) => {
            (431, "HeadTooLarge", "InvalidParameter")
        }
        Refusal::Malformed(Malformed::Version) => (505, "HttpVersion", "InvalidParameter"),
        Refusal::Malformed(Malformed::TransferCoding) => {
            (501, "TransferCoding", "InvalidParameter")
        }
        Refusal::Malformed(_) => (400, "BadRequest", "InvalidParameter"),
        Refusal::Topic(_) => (400, "InvalidTopic", "InvalidParameterValue"),
        Refusal::TooManyRequests { .. } => (429, "TooManyRequests", "RequestLimitExceeded"),
        Refusal::Overloaded { .. } => (503, "Overloaded", "ResourceUnavailable"),
        Refusal::Unavailable(_) => (503, "Unavailable", "ResourceUnavailable"),
        Refusal::Internal(_) => (500, "InternalError", "InternalError"),
    };
    match plane {
        Plane::Data if status == 429 => of_status_call(status, name),
        Plane::Data => data(status, name),
        Plane::Cloud => cloud(code, COMMON_CODES),
    }
}

/// Writes a refusal, in the words of the way by which the request came.
pub(crate) fn render(error: &Error, plane: Plane, receipt: &Receipt) -> Answer {
    let row = error.row(plane);
    match plane {
        Plane::Data => data_answer(error, row),
        Plane::Cloud => cloud_answer(error, row, receipt),
    }
}

/// The body is not documented: the reason as one line of text, for whoever reads it in curl.
fn data_answer(error: &Error, row: Row) -> Answer {
    let answer = Answer::new(row.status);
    let answer = match error {
        Error::Method { allow, .. } => answer.header("Allow", *allow),
        _ if row.status == 401 => answer.header("WWW-Authenticate", "Basic realm=\"mqtt\""),
        _ => answer,
    };
    answer
        .header("Content-Type", "text/plain; charset=utf-8")
        .body(format!("{error}\n"))
}

fn cloud_answer(error: &Error, row: Row, receipt: &Receipt) -> Answer {
    let message = match error {
        Error::FrontDoor(error) => error.message(),
        _ => error.to_string(),
    };
    cloud_api::failure(receipt, row.code, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shared_refusal_has_a_status_of_its_own_kind_on_both_planes() {
        let receipt = Receipt {
            id: "AB-CD".to_owned(),
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        for (refusal, status, code) in [
            (
                Refusal::Malformed(Malformed::ContentLength),
                400,
                "InvalidParameter",
            ),
            (
                Refusal::Malformed(Malformed::BodyTooLarge { limit: 1 }),
                413,
                "InvalidParameterValue",
            ),
            (
                Refusal::Malformed(Malformed::BodyTimeout),
                408,
                "InvalidParameter",
            ),
            (
                Refusal::TooManyRequests {
                    operation: "Publish",
                    key: "k".to_owned(),
                    per_second: 1,
                },
                429,
                "RequestLimitExceeded",
            ),
            (
                Refusal::Overloaded {
                    client_id: "slow".to_owned(),
                    waited_ms: 1,
                },
                503,
                "ResourceUnavailable",
            ),
            (
                Refusal::Unavailable("x".to_owned()),
                503,
                "ResourceUnavailable",
            ),
            (Refusal::Internal("x".to_owned()), 500, "InternalError"),
        ] {
            let error = Error::from(refusal);
            assert_eq!(render(&error, Plane::Data, &receipt).status, status);
            let answer = render(&error, Plane::Cloud, &receipt);
            assert_eq!(answer.status, 200, "the SDKs drop any other");
            let body = String::from_utf8(answer.body.bytes().to_vec()).unwrap();
            assert!(body.contains(&format!("\"Code\":\"{code}\"")), "{body}");
            assert!(body.contains("\"RequestId\":\"ab-cd\""), "{body}");
        }
    }
}
