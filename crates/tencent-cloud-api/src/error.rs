//! How the cloud API's front door refuses, before any product reads the request: one enum and
//! one table. Products wrap [`Tc3Error`] in their own error and render it with
//! [`super::failure`].

use mqttstack_kit::claim::Standing;

/// One row of an error table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `Response.Error.Code`.
    pub code: &'static str,
    /// `Response.Error.Message`.
    pub message: &'static str,
    /// How sure the choice of code and text is.
    pub standing: Standing,
    /// Where it is from.
    pub source: &'static str,
}

/// Why the front door refuses. `Display` is the reason for the journal; code and message for
/// the caller are in [`Tc3Error::row`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tc3Error {
    /// Neither POST nor GET.
    #[error("the cloud API takes POST and GET, not {0:?}")]
    Method(String),
    /// A header field is absent or empty.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// A parameter of every call is absent or empty.
    #[error("the parameter {0} is missing")]
    MissingParameter(&'static str),
    /// The timestamp is not a number.
    #[error("{name} {text:?} is not a number of Unix seconds")]
    TimestampFormat {
        /// `X-TC-Timestamp`, or `Timestamp` in the older signature.
        name: &'static str,
        /// What was sent.
        text: String,
    },
    /// The region is not spelled as one.
    #[error("{name} {region:?} is not spelled as a region is (ap-guangzhou)")]
    RegionFormat {
        /// `X-TC-Region`, or `Region` in the older signature.
        name: &'static str,
        /// What was sent.
        region: String,
    },
    /// The product is not there.
    #[error("the product is not in the region {0:?} (the setting `regions`)")]
    UnsupportedRegion(String),
    /// `Authorization` cannot be read.
    #[error("the Authorization header cannot be read: {0}")]
    InvalidAuthorization(&'static str),
    /// No such key.
    #[error("no secret with the id {id:?} is configured; there are {}", known.join(", "))]
    SecretIdNotFound {
        /// What was sent.
        id: String,
        /// The ids that are configured.
        known: Vec<String>,
    },
    /// A temporary key without its token.
    #[error("X-TC-Token is missing or is not the token of this secret")]
    TokenFailure,
    /// Too old or too new.
    #[error(
        "X-TC-Timestamp {timestamp} is {apart} s behind the emulator's time; {window_s} s are allowed"
    )]
    SignatureExpire {
        /// The timestamp sent.
        timestamp: i64,
        /// The emulator's time minus the timestamp, in seconds.
        apart: i64,
        /// The window in seconds.
        window_s: u32,
    },
    /// The signature is another one.
    #[error("the signature does not verify: {hint}")]
    SignatureFailure {
        /// Which known mistake leads to what was sent; else what the server signed.
        hint: String,
    },
    /// Too long for the older signature.
    #[error(
        "the form has more than {} bytes; a longer call must be signed by TC3-HMAC-SHA256",
        super::V1_MAX_BYTES
    )]
    RequestTooLarge,
    /// The product has no such version.
    #[error("the API version {0:?} does not exist")]
    NoSuchVersion(String),
    /// The version has no such action.
    #[error("the action {0:?} does not exist in this version")]
    InvalidAction(String),
    /// A POST's content type is not JSON.
    #[error("the content type {0:?} is not application/json")]
    ContentType(String),
    /// The parameters cannot be read.
    #[error("the parameters cannot be read: {0}")]
    Body(String),
    /// The body is longer than any signature allows.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Tc3Error {
    /// One of each, for the test that walks the table.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Method("PUT".to_owned()),
            Self::MissingHeader("X-TC-Action"),
            Self::MissingParameter("Region"),
            Self::TimestampFormat {
                name: "Timestamp",
                text: "x".to_owned(),
            },
            Self::RegionFormat {
                name: "X-TC-Region",
                region: "gz".to_owned(),
            },
            Self::UnsupportedRegion("ap-tokyo".to_owned()),
            Self::InvalidAuthorization("it has no Credential"),
            Self::SecretIdNotFound {
                id: "AKID".to_owned(),
                known: Vec::new(),
            },
            Self::TokenFailure,
            Self::SignatureExpire {
                timestamp: 0,
                apart: 301,
                window_s: 300,
            },
            Self::SignatureFailure {
                hint: String::new(),
            },
            Self::RequestTooLarge,
            Self::NoSuchVersion("2000-01-01".to_owned()),
            Self::InvalidAction("Nothing".to_owned()),
            Self::ContentType("text/plain".to_owned()),
            Self::Body("it is not a JSON object".to_owned()),
            Self::TooLarge { limit: 1 },
        ]
    }

    /// Code and message as the caller sees them. The messages of `documented` rows are the
    /// vendor's description of the code; only two texts were seen in real answers.
    #[rustfmt::skip]
    pub const fn row(&self) -> Row {
        use Standing::{Assumed, Captured, Documented};
        const PAGE: &str = "cloud API, common error codes";
        const fn row(code: &'static str, message: &'static str, standing: Standing, source: &'static str) -> Row {
            Row { code, message, standing, source }
        }
        match self {
            Self::Method(_) => row("UnsupportedProtocol", "The HTTP(S) request protocol is not supported: only GET and POST requests are supported.", Documented, PAGE),
            Self::MissingHeader(_) => row("MissingParameter", "A required parameter is missing in the request header.", Assumed, "the code is documented; that the gateway uses it for headers is not"),
            Self::MissingParameter(_) => row("MissingParameter", "The request is missing a required parameter.", Captured, "tencentcloud-sdk-go issue 37, of Region"),
            Self::TimestampFormat { .. } => row("InvalidParameterValue", "The value of the timestamp is not a Unix timestamp.", Assumed, "not documented"),
            Self::RegionFormat { .. } => row("InvalidParameterValue", "A value specified in the region is not valid, is unsupported, or cannot be used.", Captured, "tencentcloud-sdk-python issue 21, tencentcloud-sdk-nodejs issue 56"),
            Self::UnsupportedRegion(_) => row("UnsupportedRegion", "The API does not support the requested region.", Documented, PAGE),
            Self::InvalidAuthorization(_) => row("AuthFailure.InvalidAuthorization", "The `Authorization` in the request header does not meet the Tencent Cloud standard.", Documented, PAGE),
            Self::SecretIdNotFound { .. } => row("AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that your SecretId is correct.", Captured, "tencentcloud-sdk-nodejs issues 138 and 279"),
            Self::TokenFailure => row("AuthFailure.TokenFailure", "Token error.", Documented, PAGE),
            Self::SignatureExpire { .. } => row("AuthFailure.SignatureExpire", "Signature expired. The timestamp and the server time cannot differ by more than five minutes. Please ensure your current local time matches the standard time.", Documented, PAGE),
            Self::SignatureFailure { .. } => row("AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct.", Documented, "iotcloud error code page"),
            Self::RequestTooLarge => row("AuthFailure.SignatureFailure", "The provided credentials could not be validated because of exceeding request size limit, please use new signature method `TC3-HMAC-SHA256`.", Captured, "tencentcloud-sdk-python issue 42 (2019-07-23), sdk-dotnet 75, sdk-php 20"),
            Self::NoSuchVersion(_) => row("NoSuchVersion", "The API version does not exist.", Documented, PAGE),
            Self::InvalidAction(_) => row("InvalidAction", "The API does not exist.", Documented, PAGE),
            Self::ContentType(_) => row("InvalidParameter", "The content type must be application/json.", Assumed, "not documented"),
            Self::Body(_) => row("InvalidParameter", "The request body is not a valid JSON object.", Assumed, "not documented"),
            Self::TooLarge { .. } => row("RequestSizeLimitExceeded", "The request packet size exceeds the limit.", Documented, PAGE),
        }
    }

    /// The message, with the name of what is missing where that helps.
    pub fn message(&self) -> String {
        match self {
            Self::MissingHeader(name) | Self::MissingParameter(name) => {
                format!("The request is missing a required parameter `{name}`.")
            }
            Self::RegionFormat { name, .. } => format!(
                "A value specified in `{name}` is not valid, is unsupported, or cannot be used."
            ),
            Self::TimestampFormat { name, .. } => {
                format!("The value of `{name}` is not a Unix timestamp.")
            }
            _ => self.row().message.to_owned(),
        }
    }
}
