//! The errors of the admin API: RFC 9457 problem documents from one enum and one table.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mqttstack_pipeline::journal::Halt;
use mqttstack_pipeline::journal::pattern::PatternError;
use serde_json::{Map, Value, json};

/// What can be wrong with an admin request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// No such path.
    #[error("there is no {0}; GET /_mqttstack/openapi.json lists what there is")]
    UnknownRoute(String),
    /// The path exists, the method does not.
    #[error("this path does not answer {0}; see the Allow header")]
    MethodNotAllowed(String),
    /// The thing named in the path is not there.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which id.
        id: String,
    },
    /// A parameter of the query, or a part of the path, is unknown or has a bad value.
    #[error("{name}: {why}")]
    BadParameter {
        /// The parameter.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The body is not the JSON that is asked for.
    #[error("the request body is wrong: {0}")]
    BadBody(String),
    /// A matcher cannot be read.
    #[error("match.{0}")]
    BadMatch(#[from] PatternError),
    /// The body is too long.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// What was waited for did not come in time; this says how it stood when time was up.
    #[error("{0}")]
    TimedOut(String),
    /// More came than were allowed; this says how many.
    #[error("{0}")]
    TooMany(String),
    /// A search of the journal ended early.
    #[error("{0}")]
    Halted(#[from] Halt),
    /// A web page of another site may have sent it.
    #[error(
        "the admin API refuses what a web page of another site can send: {field} is {value:?}; \
         admin.hosts in the configuration names hosts that are trusted beside the loopback ones"
    )]
    Foreign {
        /// The header field that tells it.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// Not everything listens yet.
    #[error("the emulator is starting; not everything listens yet")]
    NotReady,
    /// The description in the program cannot be read.
    #[error("internal fault: {0}")]
    Internal(String),
}

impl Problem {
    /// Status, the last part of the type, and the title of every problem.
    fn row(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::UnknownRoute(_) => (S::NOT_FOUND, "unknown-route", "Unknown route"),
            Self::MethodNotAllowed(_) => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::NotFound { .. } => (S::NOT_FOUND, "not-found", "Not found"),
            Self::BadParameter { .. } => (S::BAD_REQUEST, "bad-parameter", "Bad parameter"),
            Self::BadBody(_) => (S::BAD_REQUEST, "bad-body", "Bad body"),
            Self::BadMatch(_) => (S::BAD_REQUEST, "bad-match", "Bad matcher"),
            Self::TooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::TimedOut(_) => (S::REQUEST_TIMEOUT, "timed-out", "Not seen in time"),
            Self::TooMany(_) => (S::CONFLICT, "too-many", "More than wanted"),
            Self::Foreign { .. } => (S::FORBIDDEN, "foreign-page", "Foreign web page"),
            Self::Halted(Halt::Stopped | Halt::Left) => (
                S::SERVICE_UNAVAILABLE,
                "stopping",
                "The emulator is stopping",
            ),
            Self::Halted(Halt::Failed(_)) => {
                (S::INTERNAL_SERVER_ERROR, "internal", "Internal fault")
            }
            Self::Halted(_) => (S::UNPROCESSABLE_ENTITY, "too-costly", "Search too costly"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal", "Internal fault"),
        }
    }

    /// A bad parameter.
    pub fn parameter(name: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::BadParameter {
            name: name.into(),
            why: why.to_string(),
        }
    }
}

impl Problem {
    /// The status, and the members of the document.
    pub(super) fn document(&self) -> (StatusCode, Map<String, Value>) {
        let (status, slug, title) = self.row();
        let mut document = Map::new();
        document.insert(
            "type".into(),
            json!(format!("urn:mqttstack:problem:{slug}")),
        );
        document.insert("title".into(), json!(title));
        document.insert("status".into(), json!(status.as_u16()));
        document.insert("detail".into(), json!(self.to_string()));
        match self {
            Self::BadParameter { name, .. } => {
                document.insert("parameter".into(), json!(name));
            }
            Self::BadMatch(error) => {
                document.insert("field".into(), json!(error.field));
            }
            Self::Halted(halt) => {
                if let Some(setting) = halt.setting() {
                    document.insert("setting".into(), json!(setting));
                }
            }
            _ => {}
        }
        (status, document)
    }
}

/// The media type of the document.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, document) = self.document();
        let kind = [(header::CONTENT_TYPE, MEDIA_TYPE)];
        (status, kind, Json(document)).into_response()
    }
}
