//! How Aliyun refuses: every error, one table of their rows, one function that writes them.
//! Texts, misspellings included, are the vendor's. Where a status or a code is not documented
//! the row says `Assumed`, and correcting it is correcting that line. Where two pages have two
//! statuses, the second one is in `status_change.rs`.

use std::borrow::Cow;

use mqttstack_base::exchange::{Answer, Connection, Malformed, Receipt, Refusal};
use mqttstack_kit::claim::Standing;

use super::settings::Overflow;
use super::status_change::{self, Changed};
use super::wire::{Field, Format, answer};

/// Why a request is refused. Gateway errors come before the product has seen the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A required parameter is absent or empty.
    Missing(&'static str),
    /// A parameter's value cannot be right. Made by [`Error::parameter_invalid`].
    ParameterInvalid(Cow<'static, str>),
    /// A percent escape or UTF-8 is broken.
    ParameterMalformed,
    /// `Format` is neither XML nor JSON.
    FormatInvalid,
    /// The API version is not 2020-04-20.
    VersionInvalid,
    /// There is no such action.
    ActionNotFound,
    /// The host belongs to no product that is here.
    ProductNotFound,
    /// The action does not take this method.
    MethodUnsupported,
    /// The action is offered over HTTPS only.
    SslRequired,
    /// The request's time is not `YYYY-MM-DDThh:mm:ssZ`.
    TimestampFormat,
    /// The request's time is too far off.
    TimestampExpired,
    /// The nonce came before.
    NonceUsed,
    /// There is no such access key.
    AccessKeyNotFound,
    /// The access key is disabled.
    AccessKeyInactive,
    /// The STS token has expired.
    SecurityTokenExpired,
    /// The STS token is not one.
    SecurityTokenMalformed,
    /// The STS token belongs to another access key, or the access key to no token.
    SecurityTokenMismatch,
    /// The signature method is unknown.
    SignatureMethodInvalid,
    /// The signature's own form is wrong.
    SignatureIncomplete,
    /// A V1 signature is wrong.
    SignatureMismatchV1 {
        /// The string to sign as it should have been.
        string_to_sign: String,
    },
    /// A V3 signature is wrong.
    SignatureMismatchV3 {
        /// The string to sign as it should have been.
        string_to_sign: String,
        /// The canonical request as it should have been.
        canonical_request: String,
    },
    /// The gateway's flow control, by user.
    ThrottlingUser,
    /// The gateway's flow control, by action.
    ThrottlingApi,
    /// The gateway's flow control, unspecific.
    Throttling,
    /// RAM forbids the call.
    ForbiddenRam,
    /// The gateway is overloaded.
    ServiceUnavailable,
    /// The gateway failed.
    GatewayInternalError,
    /// The product could not check the account.
    CheckAccountInfoFailed,
    /// The instance is unknown or belongs to somebody else.
    InstancePermissionCheckFailed,
    /// The parameters' values are not acceptable to the product.
    ParameterCheckFailed,
    /// The topic is unknown or not permitted.
    PermissionCheckFailed,
    /// One parameter's value is not acceptable to the product.
    InvalidParameter(&'static str),
    /// The product does not support the action.
    ApiNotSupport,
    /// The product failed.
    InternalError,
    /// The product could not store the message.
    SendMessageFailed,
    /// The product is overloaded.
    SystemOverFlow,
    /// Too many calls of `ApplyToken`.
    ApplyTokenOverFlow,
    /// Too many calls of `QueryToken`.
    QueryTokenOverFlow,
    /// Too many calls of `RevokeToken`.
    RevokeTokenOverFlow,
    /// The parameters' values are not acceptable, as the group actions say it.
    ParameterFieldCheckFailed,
    /// There is no such instance, as the group actions say it.
    InstanceNotFound,
    /// There is such a group already.
    GroupIdAlreadyExsited,
    /// The group belongs to somebody else.
    GroupIdAlreadyUsedByOtherUsers,
    /// There is no such group.
    ResourcePermissionCheckFailed,
    /// The product could not make the group.
    CreateGroupIdError,
    /// The product could not delete the group.
    DeleteGroupIdError,
    /// The device has no credential.
    DeviceCredentialNotFound,
    /// The device has a credential already.
    DeviceCredentialExsit,
    /// There are too many device credentials.
    DeviceCredentialNumExceed,
    /// There are too many entries of custom authentication.
    CustomAuthOverCapacity,
    /// What a shared room refused; said in one of the ways above.
    Shared(Refusal),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Topic(_) => Self::ParameterCheckFailed,
            other => Self::Shared(other),
        }
    }
}

impl std::fmt::Display for Error {
    /// Code and text, without strings to sign: those carry tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let row = self.row(Overflow::Product);
        match self {
            Self::Shared(refusal) => write!(f, "{refusal}")?,
            Self::SignatureMismatchV1 { .. } | Self::SignatureMismatchV3 { .. } => {
                write!(
                    f,
                    "{}: the signature is not the one computed here",
                    row.code
                )?;
            }
            _ => write!(f, "{}: {}", row.code, row.message)?,
        }
        match row.changed {
            Some(Changed {
                code,
                before,
                after,
            }) => write!(
                f,
                " ({code} has HTTP status {before} on the action's page and {after} by the \
                 vendor's notice of changed status codes; aliyun.status_change chooses)"
            ),
            None => Ok(()),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The HTTP status.
    pub status: u16,
    /// The error code.
    pub code: Cow<'static, str>,
    /// The message.
    pub message: Cow<'static, str>,
    /// How sure status, code and message are.
    pub standing: Standing,
    /// Where they are from.
    pub source: &'static str,
    /// What the vendor's notice of changed status codes says of the status, if anything.
    pub(super) changed: Option<Changed>,
}

impl Row {
    /// The same with what the notice says of its code: a code of the product's.
    fn noticed(self) -> Self {
        Self {
            changed: status_change::of(&self.code),
            ..self
        }
    }

    /// The status to answer with.
    const fn status(&self, status_change: bool) -> u16 {
        match self.changed {
            Some(changed) if status_change => changed.after,
            _ => self.status,
        }
    }
}

fn row(
    status: u16,
    code: impl Into<Cow<'static, str>>,
    message: impl Into<Cow<'static, str>>,
    standing: Standing,
    source: &'static str,
) -> Row {
    Row {
        status,
        code: code.into(),
        message: message.into(),
        standing,
        source,
        changed: None,
    }
}

/// The gateway-wide table of error codes.
const GATEWAY: &str = "developer.aliyun.com ask/278265, help.aliyun.com 60629";
/// The page of a sibling product's limits, which has the whole text, and public reports.
const LIMITS: &str = "STS, limits, looked at 2026-11-27; public issue threads";
/// Lists of sibling products behind the same gateway.
const SIBLING: &str = "error lists of sibling products (PolarDB, DTS)";
/// The vendor's page of this action.
const PRODUCT: &str = "OnsMqtt 2020-04-20 SendMessage, error codes";
/// The vendor's metadata, error codes of the other actions.
const PER_ACTION: &str = "OnsMqtt 2020-04-20 metadata, error codes of the action";
/// Nothing found; after the pattern of the other rows.
const PATTERN: &str = "after the gateway's pattern";

const FLOW: &str = "Request was denied due to user flow control.";
const OVERFLOW: &str = "An error occurred while processing your request. Please try again.";
const INTERNAL: &str = "An error occurred while processing your request. Try again later.";

impl Error {
    /// A parameter whose value cannot be right. A name that could not be a parameter's is not
    /// repeated in the code.
    pub(crate) fn parameter_invalid(name: &str) -> Self {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let sound = !name.is_empty() && name.len() <= 64 && name.bytes().all(plain);
        let name = if sound { name } else { "Parameter" };
        Self::ParameterInvalid(Cow::Owned(name.to_owned()))
    }

    /// Status, code and message. `overflow` chooses how a call over the quota is said.
    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "it is the table")]
    pub fn row(&self, overflow: Overflow) -> Row {
        use Standing::{Assumed, Captured, Documented};
        match self {
            Self::Missing(name) => row(400, format!("Missing{name}"), format!("{name} is mandatory for this action."), Captured, "alibaba-cloud-sdk-go issue 443"),
            Self::ParameterInvalid(name) => row(400, format!("Invalid{name}"), format!("Specified parameter {name} is not valid."), Documented, GATEWAY),
            Self::ParameterMalformed => row(400, "RequestParameterMalformed", "Request parameters has malformed encoded characters.", Captured, "openapi-sdk-php issue 167; status assumed"),
            Self::FormatInvalid => row(400, "InvalidParameter.Format", "Specified parameter format is not valid.", Documented, GATEWAY),
            Self::VersionInvalid => row(400, "InvalidVersion", "Specified parameter Version is not valid.", Captured, "aliyun-openapi-php-sdk issue 104; code and status assumed"),
            Self::ActionNotFound => row(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.", Captured, "aliyun-cli issue 415"),
            Self::ProductNotFound => row(404, "InvalidProduct.NotFound", "Cannot find product according to your specified domain.", Documented, GATEWAY),
            Self::MethodUnsupported => row(400, "UnsupportedHTTPMethod", "This http method not supported.", Documented, "PolarDB error list; 400 as in the gateway's table, 403 there"),
            Self::SslRequired => row(400, "InvalidProtocol.NeedSsl", "Your request is denied as lack of ssl protect.", Documented, GATEWAY),
            Self::TimestampFormat => row(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.", Documented, GATEWAY),
            Self::TimestampExpired => row(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.", Captured, "ddns-go issue 1291"),
            Self::NonceUsed => row(400, "SignatureNonceUsed", "Specified signature nonce was used already.", Documented, GATEWAY),
            Self::AccessKeyNotFound => row(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.", Documented, GATEWAY),
            Self::AccessKeyInactive => row(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.", Documented, GATEWAY),
            Self::SecurityTokenExpired => row(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.", Captured, "vendor's FAQ, copied in public"),
            Self::SecurityTokenMalformed => row(400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.", Captured, "vendor's FAQ, copied in public"),
            Self::SecurityTokenMismatch => row(400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.", Captured, "vendor's FAQ, copied in public"),
            Self::SignatureMethodInvalid => row(400, "InvalidSignatureMethod", "Specified signature method is not valid.", Documented, GATEWAY),
            Self::SignatureIncomplete => row(400, "IncompleteSignature", "The request signature does not conform to Aliyun standards.", Documented, SIBLING),
            // The SDKs compare what follows the first colon with their own string to sign.
            Self::SignatureMismatchV1 { string_to_sign } => row(400, "SignatureDoesNotMatch", format!("Specified signature is not matched with our calculation. server string to sign is:{string_to_sign}"), Captured, "SMS4J issue 34"),
            Self::SignatureMismatchV3 { string_to_sign, canonical_request } => row(400, "SignatureDoesNotMatch", format!("Specified signature does not match our calculation. server StringToSign is [{string_to_sign}]\nserver CanonicalRequest is [{canonical_request}]"), Captured, "developer.aliyun.com ask/678646; that its two parts stand on separate lines is assumed"),
            Self::ThrottlingUser => row(400, "Throttling.User", FLOW, Documented, GATEWAY),
            Self::ThrottlingApi => row(400, "Throttling.Api", "Request was denied due to api flow control.", Documented, LIMITS),
            Self::Throttling => row(400, "Throttling", "Request was denied due to request throttling.", Documented, SIBLING),
            Self::ForbiddenRam => row(403, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM.", Documented, GATEWAY),
            Self::ServiceUnavailable => row(503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.", Documented, GATEWAY),
            Self::GatewayInternalError => row(500, "InternalError", "The request processing has failed due to some unknown error.", Documented, GATEWAY),
            Self::CheckAccountInfoFailed => row(400, "CheckAccountInfoFailed", "An error occurred while checking the account information by the STS token.", Documented, PRODUCT),
            Self::InstancePermissionCheckFailed => row(400, "InstancePermissionCheckFailed", "An error occurred while validating the permissions of the instance. Please verify the account that created the instance and its permissions settings.", Documented, PRODUCT),
            Self::ParameterCheckFailed => row(400, "ParameterCheckFailed", "An error occurred while validating the parameters. The parameters may be missing or invalid.", Documented, PRODUCT),
            Self::PermissionCheckFailed => row(400, "PermissionCheckFailed", "An error occurred while validating the resource permissions. Please check the account that created the instance, topic, and GroupId, and check their permission settings.", Documented, PRODUCT),
            Self::InvalidParameter(name) => row(400, format!("InvalidParameter.{name}"), "An error occurred while validating the parameter. The parameter may be missing or invalid.", Documented, PRODUCT),
            Self::ApiNotSupport => row(404, "ApiNotSupport", "The specified API is not supported.", Documented, PRODUCT),
            Self::InternalError => row(500, "InternalError", INTERNAL, Documented, PRODUCT).noticed(),
            Self::SendMessageFailed => row(500, "SendMessageFailed", "A storage exception occurred while sending the message. Please try again.", Documented, PRODUCT).noticed(),
            Self::SystemOverFlow => row(500, "SystemOverFlow", OVERFLOW, Documented, PRODUCT).noticed(),
            Self::ApplyTokenOverFlow => row(400, "ApplyTokenOverFlow", "You have applied for tokens too many times. Please try again later.", Documented, PER_ACTION),
            Self::QueryTokenOverFlow => row(400, "QueryTokenOverFlow", "You have queried tokens too many times. Please try again later.", Documented, PER_ACTION),
            Self::RevokeTokenOverFlow => row(400, "RevokeTokenOverFlow", "You have revoked tokens too many times. Please try again later.", Documented, PER_ACTION),
            Self::ParameterFieldCheckFailed => row(400, "ParameterFieldCheckFailed", "Failed to validate the parameters. The parameters may be missing or invalid.", Documented, PER_ACTION),
            Self::InstanceNotFound => row(400, "InstanceNotFound", "Failed to find the instance. The instanceId may be invalid.", Documented, PER_ACTION),
            Self::GroupIdAlreadyExsited => row(400, "GroupIdAlreadyExsited", "The specified GroupId already exists.", Documented, PER_ACTION),
            Self::GroupIdAlreadyUsedByOtherUsers => row(400, "GroupIdAlreadyUsedByOtherUsers", "The current GroupId is used by another user. Please change to a different GroupId.", Documented, PER_ACTION),
            Self::ResourcePermissionCheckFailed => row(400, "ResourcePermissionCheckFailed", "An error occurred while validating the resource permissions. Please check the account that created the instance, topic, and GroupId, and check their permission settings.", Documented, PER_ACTION),
            Self::CreateGroupIdError => row(500, "CreateGroupIdError", "Failed to create GroupId. Try again later.", Documented, PER_ACTION).noticed(),
            Self::DeleteGroupIdError => row(500, "DeleteGroupIdError", "Failed to delete GroupId. Try again later.", Documented, PER_ACTION).noticed(),
            Self::DeviceCredentialNotFound => row(400, "DeviceCredentialNotFound", "Device Credential Not Found. Check if the device certificate is registered.", Documented, PER_ACTION),
            Self::DeviceCredentialExsit => row(400, "DeviceCredentialExsit", "Device Credential Exsit", Documented, PER_ACTION),
            Self::DeviceCredentialNumExceed => row(400, "DeviceCredentialNumExceed", "The number of device credentia exceeds the limit. Please revoke unused device certificates", Documented, PER_ACTION),
            Self::CustomAuthOverCapacity => row(400, "Customauth.over.capacity", "Over custom auth capacity.", Documented, PER_ACTION),
            Self::Shared(Refusal::TooManyRequests { operation: "ApplyToken", .. }) if overflow == Overflow::Product => Self::ApplyTokenOverFlow.row(overflow),
            Self::Shared(Refusal::TooManyRequests { operation: "QueryToken", .. }) if overflow == Overflow::Product => Self::QueryTokenOverFlow.row(overflow),
            Self::Shared(Refusal::TooManyRequests { operation: "RevokeToken", .. }) if overflow == Overflow::Product => Self::RevokeTokenOverFlow.row(overflow),
            Self::Shared(Refusal::TooManyRequests { .. }) => match overflow {
                Overflow::Product => row(500, "SystemOverFlow", OVERFLOW, Assumed, PRODUCT).noticed(),
                Overflow::Gateway => row(400, "Throttling.User", FLOW, Assumed, GATEWAY),
            },
            Self::Shared(Refusal::Overloaded { .. }) => row(500, "SystemOverFlow", OVERFLOW, Assumed, PRODUCT).noticed(),
            Self::Shared(Refusal::Unavailable(_)) => row(500, "SendMessageFailed", "A storage exception occurred while sending the message. Please try again.", Assumed, PRODUCT).noticed(),
            Self::Shared(Refusal::Internal(_)) => row(500, "InternalError", INTERNAL, Assumed, PRODUCT).noticed(),
            Self::Shared(Refusal::Topic(_)) => Self::ParameterCheckFailed.row(overflow),
            Self::Shared(Refusal::Malformed(problem)) => malformed_row(problem),
        }
    }
}

/// What is not HTTP the gateway's web server refuses, in words that are not documented.
#[rustfmt::skip]
fn malformed_row(problem: &Malformed) -> Row {
    let (status, code, message) = match problem {
        Malformed::Head(_) | Malformed::BlankLine | Malformed::TransferCoding => (400, "BadRequest", "The request is not well-formed HTTP."),
        Malformed::Version => (505, "UnsupportedHTTPVersion", "This http version not supported."),
        Malformed::TargetTooLong { .. } => (414, "RequestUriTooLong", "The request uri is too long."),
        Malformed::HeadTooLarge { .. } | Malformed::TooManyFields { .. } => (431, "RequestHeaderTooLarge", "The request header is too large."),
        Malformed::HeadTimeout | Malformed::BodyTimeout => (408, "RequestTimeout", "The request was not received in time."),
        Malformed::ContentLength | Malformed::Truncated => (400, "ContentLengthDoesNotMatch", "The Content-Length does not match the request body."),
        Malformed::Chunk => (400, "BadRequest", "The request body is not well-formed HTTP."),
        Malformed::BodyTooLarge { .. } => (413, "RequestBodyTooLarge", "The request body is too large."),
    };
    row(status, code, message, Standing::Assumed, PATTERN)
}

/// What a refusal needs to know besides the error.
pub(super) struct Rendering<'a> {
    /// The format wanted.
    pub(super) format: Format,
    /// The host that was called.
    pub(super) host: &'a str,
    /// How a call over the quota is said.
    pub(super) overflow: Overflow,
    /// Whether the statuses are those of the vendor's notice.
    pub(super) status_change: bool,
    /// When it may try again.
    pub(super) retry_after_s: u32,
}

/// Writes a refusal. The only function that does.
pub(super) fn render(error: &Error, rendering: &Rendering<'_>, receipt: &Receipt) -> Answer {
    let row = error.row(rendering.overflow);
    let status = row.status(rendering.status_change);
    let recommend = format!(
        "https://api.aliyun.com/troubleshoot?q={}&product=OnsMqtt&requestId={}",
        row.code, receipt.id
    );
    let fields = [
        Field::new("RequestId", &*receipt.id),
        Field::new("HostId", rendering.host),
        Field::new("Code", row.code),
        Field::new("Message", row.message),
        Field::cdata("Recommend", recommend),
    ];
    let document = rendering.format.document("Error", &fields);
    let mut answer = answer(status, rendering.format, document, receipt);
    if throttles(error, rendering.overflow) && rendering.retry_after_s > 0 {
        // The newest SDK raises its ThrottlingException on this field alone (measured).
        answer = answer.header("x-acs-retry-after", rendering.retry_after_s.to_string());
    }
    if matches!(error, Error::Shared(Refusal::Malformed(_))) {
        answer = answer.connection(Connection::Close);
    }
    answer
}

fn throttles(error: &Error, overflow: Overflow) -> bool {
    match error {
        Error::ThrottlingUser | Error::ThrottlingApi | Error::Throttling => true,
        Error::Shared(Refusal::TooManyRequests { .. }) => overflow == Overflow::Gateway,
        _ => false,
    }
}
