//! How TDMQ for MQTT refuses: one [`Error`], one table of [`Row`]s, one [`render`].
//! Over the data plane an error is a status code; over the cloud API it is a code and a message
//! in an answer of status 200 (the SDKs drop the body of any other status). Most of the data
//! plane's status codes are documented nowhere: their rows say so, and one line corrects each.

use crate::exchange::{Answer, Malformed, Receipt, Refusal};
use crate::vendor::tencent_tc3::{self, Standing, Tc3Error};

/// By which of the two ways a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// `/topics/{topic}` and `/client-id/{id}/status`.
    Data,
    /// `/` with `X-TC-Action`.
    Cloud,
}

/// What the cloud API did not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A cluster.
    Instance,
    /// A first-level topic.
    Topic,
    /// A user.
    Username,
    /// An authorization policy.
    AuthorizationPolicy,
    /// A message.
    Message,
    /// A connected client or its session.
    Client,
}

impl Resource {
    const fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Topic => "topic",
            Self::Username => "user",
            Self::AuthorizationPolicy => "authorization policy",
            Self::Message => "message",
            Self::Client => "client",
        }
    }
}

/// Everything that TDMQ for MQTT refuses. Its text is the journal's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such path on the data plane.
    #[error(
        "{0:?} is no path of the data plane: it has /topics/{{topic}} and /client-id/{{id}}/status"
    )]
    Path(String),
    /// The path exists, the method does not.
    #[error("{method} is not allowed here: use {allow}")]
    Method {
        /// What came.
        method: String,
        /// What the path takes.
        allow: &'static str,
    },
    /// The topic in the path is not a topic name.
    #[error("the topic name cannot be published to: {0}")]
    Topic(String),
    /// A query parameter has a value that it cannot have.
    #[error("parameter {name}: {problem}")]
    Parameter {
        /// The parameter as documented.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `UserProp.N.Key` without `UserProp.N.Value`, or the other way round.
    #[error("UserProp.{n}.{present} came without UserProp.{n}.{missing}")]
    UnpairedUserProperty {
        /// The number.
        n: u32,
        /// The half that came.
        present: &'static str,
        /// The half that did not.
        missing: &'static str,
    },
    /// The payload is larger than the instance takes.
    #[error("the payload has {size} bytes, the limit is {limit}")]
    PayloadTooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Neither an `Authorization` field nor a client certificate.
    #[error("{0}")]
    NoCredentials(String),
    /// The `Authorization` field is no Basic credential.
    #[error("the Authorization field is not usable: {0}")]
    BadCredentials(&'static str),
    /// User or password is wrong.
    #[error("{0}")]
    WrongCredentials(String),
    /// The client certificate was not issued by a configured authority, or has no usable name.
    #[error("the client certificate is refused: {0}")]
    Certificate(String),
    /// The authorization policies say no.
    #[error("{0}")]
    Denied(String),
    /// The client whose status was asked is not connected.
    #[error("MQTT client {0:?} is not connected")]
    ClientOffline(String),

    /// Refused by the cloud API's front door: signature, headers, action, version, body.
    #[error("{0}")]
    FrontDoor(Tc3Error),
    /// A required parameter is missing.
    #[error("The request is missing the parameter `{0}`.")]
    Missing(&'static str),
    /// A parameter that the action does not have.
    #[error("The parameter `{0}` is not recognized.")]
    Unknown(String),
    /// A parameter has a value of another kind.
    #[error("The value type of the parameter `{name}` is not valid: it should be {wanted}.")]
    Kind {
        /// The parameter.
        name: &'static str,
        /// The kind it should have.
        wanted: &'static str,
    },
    /// A parameter has a value that it cannot have.
    #[error("The parameter `{name}` is not valid: {problem}.")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It does not exist.
    #[error("The {} {name:?} does not exist.", .resource.word())]
    NotFound {
        /// What kind of thing.
        resource: Resource,
        /// Its name or id.
        name: String,
    },
    /// A user or topic of this name exists.
    #[error("The {} {name:?} exists already.", .resource.word())]
    Exists {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// A policy of this name exists.
    #[error("An authorization policy named {0:?} exists already.")]
    DuplicatePolicy(String),
    /// Another policy has this priority.
    #[error("The priority {0} is taken by another authorization policy.")]
    DuplicatePriority(i64),
    /// The instance has its number of topics.
    #[error("The instance has its limit of {0} topics.")]
    TooManyTopics(usize),
    /// The action exists, this use of it does not.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Raised by a shared room.
    #[error("{0}")]
    Shared(Refusal),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Shared(refusal)
    }
}

impl From<Tc3Error> for Error {
    fn from(error: Tc3Error) -> Self {
        Self::FrontDoor(error)
    }
}

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
const STATUS_PAGE: &str = "tencentcloud.com/document/product/1294/76450 (2026-01-30)";
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
            Self::NoCredentials(_) => data(401, "CredentialsMissing"),
            Self::BadCredentials(_) => data(401, "CredentialsMalformed"),
            Self::WrongCredentials(_) => data(401, "CredentialsWrong"),
            Self::Certificate(_) => data(401, "CertificateRefused"),
            Self::Denied(_) => data(403, "NotAuthorized"),
            Self::ClientOffline(_) => Row {
                source: STATUS_PAGE,
                ..data(404, "ClientOffline")
            },
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
            Self::TooManyTopics(_) => cloud("LimitExceeded.TopicNum", ERROR_LIST),
            Self::Unsupported(_) => cloud("UnsupportedOperation", COMMON_CODES),
            Self::Shared(refusal) => shared(refusal, plane),
        }
    }
}

const fn not_found(resource: Resource) -> Row {
    match resource {
        Resource::Instance => cloud("ResourceNotFound.Instance", ERROR_LIST),
        Resource::Topic => cloud("ResourceNotFound.Topic", ERROR_LIST),
        Resource::Username => cloud("ResourceNotFound.Username", ERROR_LIST),
        Resource::AuthorizationPolicy => cloud("ResourceNotFound.AuthorizationPolicy", ERROR_LIST),
        Resource::Message => cloud("ResourceNotFound.Message", ERROR_LIST),
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
        Refusal::Malformed(_) => (400, "BadRequest", "InvalidParameter"),
        Refusal::TooManyRequests { .. } => (429, "TooManyRequests", "RequestLimitExceeded"),
        Refusal::Overloaded { .. } => (503, "Overloaded", "ResourceUnavailable"),
        Refusal::Unavailable(_) => (503, "Unavailable", "ResourceUnavailable"),
        Refusal::Internal(_) => (500, "InternalError", "InternalError"),
    };
    match plane {
        Plane::Data => data(status, name),
        Plane::Cloud => cloud(code, COMMON_CODES),
    }
}

/// Writes a refusal, in the words of the way by which the request came.
pub fn render(error: &Error, plane: Plane, receipt: &Receipt) -> Answer {
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
    tencent_tc3::failure(receipt, row.code, &message)
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
