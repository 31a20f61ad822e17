//! Everything that Azure refuses: one enum, and one table of what each refusal is on the wire. How it
//! is written is in `render.rs`.

use mqttstack_base::exchange::{Malformed, Refusal};
use mqttstack_kit::claim::Standing;

/// Everything that Azure refuses.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What shared rooms refuse.
    #[error("{}", shared_text(.0))]
    Refused(Refusal),
    /// No `Authorization`, or none of a kind that is taken here.
    #[error("The request carries no usable credentials: {0}.")]
    MissingCredentials(String),
    /// A token that is not taken.
    #[error("The token is not valid: {0}.")]
    InvalidToken(String),
    /// A wrong namespace key.
    #[error("The SharedAccessKey is not the namespace's key.")]
    InvalidKey,
    /// A shared access signature that is not taken.
    #[error("The shared access signature is not valid: {0}.")]
    InvalidSignature(String),
    /// The caller has no right to do it.
    #[error("{0}")]
    Forbidden(String),
    /// A topic that cannot be published to.
    #[error("The topic {topic:?} is invalid: {why}.")]
    InvalidTopic {
        /// The topic as it came, decoded.
        topic: String,
        /// What is wrong with it.
        why: String,
    },
    /// A parameter that is not there.
    #[error("The parameter '{0}' is missing.")]
    MissingParameter(&'static str),
    /// A parameter that cannot be read.
    #[error("The parameter '{name}' is invalid: {why}.")]
    InvalidParameter {
        /// Its name on the wire.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// An api-version that is not known (strict mode).
    #[error("The api-version {got:?} is not supported; known are {known}.")]
    ApiVersion {
        /// What came.
        got: String,
        /// The versions that the vendor's pages name.
        known: String,
    },
    /// A body or message over the limit.
    #[error("The {what} has {got} bytes; the limit is {limit}.")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        got: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// One retained message too many.
    #[error("There are {0} retained messages, as many as the namespace may have.")]
    RetainedQuota(usize),
    /// One topic, event subscription or event too many.
    #[error("The quota of the namespace is exceeded: {0}.")]
    Quota(String),
    /// A publish of events over the limit.
    #[error("The request has {got} bytes; the limit is {limit}.")]
    EventsTooLarge {
        /// Its size in bytes.
        got: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A publish of events to a topic that does not exist.
    #[error("The namespace topic '{0}' was not found.")]
    TopicGone(String),
    /// A body that cannot be read.
    #[error("The request body is invalid: {0}.")]
    InvalidBody(String),
    /// A content type that is not taken.
    #[error("The content type {0:?} is not supported.")]
    MediaType(String),
    /// No retained message, topic, event subscription or path of this name.
    #[error("{0}")]
    NotFound(String),
    /// The path takes other methods.
    #[error("The method is not allowed here; allowed is {0}.")]
    Method(&'static str),
    /// The message cannot be routed.
    #[error("The message could not be routed: {0}.")]
    Routing(String),
    /// A metadata request without `Metadata: true`.
    #[error("Required metadata header not specified")]
    MetadataHeader,
    /// A metadata request without `resource`.
    #[error("The resource parameter is missing")]
    MissingResource,
    /// No managed identity of this name.
    #[error("Identity not found: no principal has {0}")]
    UnknownIdentity(String),
    /// A query or form for tokens that cannot be read.
    #[error("{0}")]
    InvalidForm(String),
    /// A form without a parameter.
    #[error("AADSTS900144: The request body must contain the following parameter: '{0}'.")]
    MissingForm(&'static str),
    /// A grant that is not made here.
    #[error("AADSTS70003: The app requested an unsupported grant type '{0}'.")]
    UnsupportedGrant(String),
    /// An unknown application.
    #[error(
        "AADSTS700016: Application with identifier '{client_id}' was not found in the directory '{tenant}'."
    )]
    UnknownApplication {
        /// The client id.
        client_id: String,
        /// The tenant.
        tenant: String,
    },
    /// An unknown tenant.
    #[error("AADSTS90002: Tenant '{0}' not found.")]
    UnknownTenant(String),
    /// A wrong client secret.
    #[error(
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{0}'."
    )]
    ClientSecret(String),
    /// Neither secret nor assertion.
    #[error(
        "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    )]
    NoClientProof,
    /// An assertion that does not hold.
    #[error("AADSTS700027: Client assertion failed signature validation: {0}.")]
    Assertion(String),
    /// An assertion that is expired or not yet valid.
    #[error("AADSTS700024: Client assertion is not within its valid time range: {0}.")]
    AssertionTime(String),
    /// A scope that names no resource.
    #[error(
        "AADSTS70011: The provided value for the input parameter 'scope' is not valid. The scope {0} is not valid."
    )]
    Scope(String),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The status code.
    pub status: u16,
    /// The vendor's code: `error.code` and `x-ms-error-code`, or Entra's `error`.
    pub code: &'static str,
    /// Entra's number, 0 for none.
    pub aadsts: u32,
    /// How sure status and code are.
    pub standing: Standing,
    /// Where they are from (the vendor's page or specification, by its short name).
    pub source: &'static str,
}

/// The reference of send in the vendor's SDKs of namespace topics, 2026-11.
const SEND: &str = "SDK reference of send (2026-11)";

const fn row(status: u16, code: &'static str, standing: Standing, source: &'static str) -> Row {
    Row {
        status,
        code,
        aadsts: 0,
        standing,
        source,
    }
}

const fn entra(status: u16, code: &'static str, aadsts: u32) -> Row {
    Row {
        status,
        code,
        aadsts,
        standing: Standing::Documented,
        source: "Entra error code reference",
    }
}

impl Error {
    /// The table.
    pub fn row(&self) -> Row {
        use Standing::{Assumed, Documented};
        match self {
            Self::Refused(refusal) => refusal_row(refusal),
            Self::MissingCredentials(_) | Self::InvalidToken(_) => {
                row(401, "Unauthorized", Documented, "HOWTO, RETAIN")
            }
            Self::InvalidKey | Self::InvalidSignature(_) => {
                row(401, "Unauthorized", Assumed, "SPEC")
            }
            Self::Forbidden(_) => row(403, "Forbidden", Documented, "HOWTO, RETAIN"),
            Self::InvalidTopic { .. } => row(403, "Forbidden", Documented, "HOWTO"),
            Self::MissingParameter(_) | Self::InvalidParameter { .. } => {
                row(400, "BadRequest", Documented, "RETAIN")
            }
            Self::ApiVersion { .. } => row(400, "UnsupportedApiVersion", Assumed, "none"),
            Self::TooLarge { .. } => row(413, "RequestEntityTooLarge", Assumed, "QUOTA23"),
            // By analogy with the quota of send.
            Self::RetainedQuota(_) => row(
                403,
                "QuotaExceeded",
                Assumed,
                "includes/limits.md (2025-07-30)",
            ),
            // The SDKs' reference of send names the statuses; the codes are assumed.
            Self::EventsTooLarge { .. } => row(403, "RequestEntityTooLarge", Documented, SEND),
            Self::Quota(_) => row(403, "QuotaExceeded", Documented, SEND),
            Self::TopicGone(_) => row(410, "Gone", Documented, SEND),
            Self::InvalidBody(_) => row(400, "BadRequest", Assumed, "SPEC"),
            Self::MediaType(_) => row(415, "UnsupportedMediaType", Assumed, "SPEC"),
            Self::NotFound(_) => row(404, "NotFound", Documented, "RETAIN"),
            Self::Method(_) => row(405, "MethodNotAllowed", Assumed, "none"),
            Self::Routing(_) => row(500, "InternalServerError", Documented, "HOWTO"),
            Self::MetadataHeader | Self::MissingResource | Self::UnknownIdentity(_) => {
                row(400, "invalid_request", Documented, "IMDS token reference")
            }
            Self::InvalidForm(_) => row(400, "invalid_request", Assumed, "RFC 6749 section 5.2"),
            Self::MissingForm(_) => entra(400, "invalid_request", 900_144),
            Self::UnsupportedGrant(_) => entra(400, "unsupported_grant_type", 70_003),
            Self::UnknownApplication { .. } => entra(400, "unauthorized_client", 700_016),
            Self::UnknownTenant(_) => entra(400, "invalid_request", 90_002),
            Self::ClientSecret(_) => entra(401, "invalid_client", 7_000_215),
            Self::NoClientProof => entra(401, "invalid_client", 7_000_218),
            Self::Assertion(_) => entra(401, "invalid_client", 700_027),
            Self::AssertionTime(_) => entra(401, "invalid_client", 700_024),
            Self::Scope(_) => entra(400, "invalid_scope", 70_011),
        }
    }
}

impl Error {
    /// The same on a path that hands out tokens: what is unreadable there is OAuth's
    /// `invalid_request`, not the data plane's `BadRequest`.
    pub(crate) fn of_identity(self) -> Self {
        match self {
            Self::InvalidParameter { .. } | Self::InvalidBody(_) => {
                Self::InvalidForm(self.to_string())
            }
            other => other,
        }
    }
}

/// How a shared refusal reads.
fn shared_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::TooManyRequests {
            operation,
            key,
            per_second,
        } => format!("The rate of {per_second} {operation} per second is exceeded by {key}."),
        other => other.to_string(),
    }
}

fn refusal_row(refusal: &Refusal) -> Row {
    use Standing::{Assumed, Documented};
    match refusal {
        Refusal::Malformed(Malformed::BodyTooLarge { .. }) => {
            row(413, "RequestEntityTooLarge", Assumed, "QUOTA23")
        }
        Refusal::Malformed(Malformed::TargetTooLong { .. }) => {
            row(414, "UriTooLong", Assumed, "none")
        }
        Refusal::Malformed(Malformed::HeadTooLarge { .. } | Malformed::TooManyFields { .. }) => {
            row(431, "RequestHeaderFieldsTooLarge", Assumed, "none")
        }
        Refusal::Malformed(Malformed::HeadTimeout | Malformed::BodyTimeout) => {
            row(408, "RequestTimeout", Assumed, "none")
        }
        Refusal::Malformed(Malformed::Version) => {
            row(505, "HttpVersionNotSupported", Assumed, "none")
        }
        Refusal::Malformed(Malformed::TransferCoding) => {
            row(501, "NotImplemented", Assumed, "RFC 9112 section 6.1")
        }
        Refusal::Malformed(_) | Refusal::Topic(_) => row(400, "BadRequest", Assumed, "none"),
        Refusal::TooManyRequests { operation, .. }
            if operation.starts_with("PublishCloudEvents") =>
        {
            row(403, "QuotaExceeded", Documented, SEND)
        }
        Refusal::TooManyRequests { .. } => row(429, "TooManyRequests", Documented, "RETAIN"),
        Refusal::Overloaded { .. } | Refusal::Unavailable(_) => {
            row(503, "ServiceUnavailable", Documented, "RETAIN")
        }
        Refusal::Internal(_) => row(500, "InternalServerError", Documented, "HOWTO"),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
