//! How IoT Hub refuses: one enum, one table. The device gateway, the cloud API and the legacy
//! registration share the codes; they differ in the shape of the answer ([`render`]).
//!
//! The gateway's own codes are on no page. The codes are those of the vendor's SDK
//! (`iotcloud` errorcodes); that the gateway answers with them is assumed but where said.

use mqttstack_base::exchange::{Answer, Malformed, Receipt, Refusal, Request};
use mqttstack_kit::claim::Standing;
use mqttstack_tencent_cloud_api::{self as cloud_api, Row, Tc3Error};
use serde_json::json;

/// Why IoT Hub refuses. `Display` is the reason for the journal; what the caller sees is in
/// [`Error::row`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cloud API's front door refused.
    #[error(transparent)]
    Cloud(#[from] Tc3Error),
    /// A header field of the gateway's signature is absent.
    #[error("the header {0} is missing")]
    MissingHeader(&'static str),
    /// `X-TC-Timestamp` is no number or too far away.
    #[error("{0}")]
    Timestamp(String),
    /// `X-TC-Algorithm` is none of the five spellings.
    #[error(
        "X-TC-Algorithm {0:?} is none of hmacsha256, HmacSha256, hmacsha1, HmacSha1, rsa-sha256{hint}",
        hint = misspelled(.0)
    )]
    Algorithm(String),
    /// A signature of a device or product does not verify.
    #[error("the signature does not verify{}", .0.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default())]
    Signature(Option<String>),
    /// The body is not announced as JSON.
    #[error("the content type {0:?} is not application/json")]
    ContentType(String),
    /// The body is not a JSON object.
    #[error("the body is not a JSON object: {0}")]
    Json(String),
    /// A field that the gateway needs is absent.
    #[error("the field {0} is missing")]
    ParamIncomplete(String),
    /// A field has the wrong type.
    #[error("the field {name} is not {wanted}")]
    Type {
        /// The field.
        name: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A field has a value that is not allowed.
    #[error("the field {name} {why}")]
    Value {
        /// The field.
        name: String,
        /// What is wrong, as the rest of a sentence.
        why: String,
    },
    /// The gateway knows no such product or device.
    #[error("there is no device {device:?} of product {product:?}")]
    ProductOrDeviceNotExist {
        /// `ProductId`.
        product: String,
        /// `DeviceName`.
        device: String,
    },
    /// The device is disabled.
    #[error("the device is disabled (UpdateDevicesEnableState enables it)")]
    DeviceIsNotEnabled,
    /// The product is forbidden.
    #[error("the product is forbidden (enabled = false)")]
    ProductIsForbidden,
    /// A PSK signature for a device without a PSK.
    #[error("the device proves itself by certificate; it has no PSK")]
    ProductNotSupportPsk,
    /// A topic that breaks the rules for names.
    #[error("the topic name is not valid: {0}")]
    TopicName(String),
    /// A topic that this device may not publish to.
    #[error("{0}")]
    PermissionDenied(String),
    /// Too long a payload, over the gateway or as a broadcast.
    #[error("the payload has {size} bytes; {limit} are allowed")]
    PayloadOverLimit {
        /// Bytes after decoding.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Too long a payload in `PublishMessage`, which has a code of its own.
    #[error("the payload has {size} bytes; {limit} are allowed")]
    InvalidMsgLen {
        /// Bytes after decoding.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Too many calls.
    #[error("{0}")]
    RequestLimitExceeded(String),
    /// A path that the gateway does not have.
    #[error("IoT Hub has nothing at {0:?}")]
    UnknownPath(String),
    /// A method other than POST.
    #[error("the gateway takes POST, not {0:?}")]
    Method(String),
    /// Dynamic registration is off.
    #[error("dynamic registration of this product is off")]
    RegistrationOff,
    /// As many devices have registered as `RegisterLimit` allows.
    #[error("{0} devices have registered, which is the product's RegisterLimit")]
    DeviceExceedLimit(usize),
    /// A parameter that the cloud API needs is absent.
    #[error("the parameter {0} is missing")]
    MissingParameter(String),
    /// A parameter that the action does not have.
    #[error("this version of the action has no parameter {0}")]
    UnknownParameter(String),
    /// No such product.
    #[error("there is no product {0:?}")]
    ProductNotExist(String),
    /// No such device.
    #[error("there is no device {0:?} of this product")]
    DeviceNotExist(String),
    /// The name is taken.
    #[error("the product has a device {0:?} already")]
    DeviceAlreadyExist(String),
    /// The name is taken.
    #[error("there is a product named {0:?} already")]
    ProductAlreadyExist(String),
    /// A product with devices cannot be deleted.
    #[error("the product still has {0} devices")]
    DevicesExistUnderProduct(usize),
    /// A PSK is not base64.
    #[error("the PSK is not base64")]
    PskNotBase64,
    /// A key for a certificate product, or a certificate for a key product.
    #[error("the product's devices prove themselves in the other way")]
    WrongProductAuthType,
    /// The class is there.
    #[error("the product has a topic class {0:?} already")]
    TopicPolicyAlreadyExist(String),
    /// The class is not there.
    #[error("the product has no topic class {0:?}")]
    TopicPolicyNotExist(String),
    /// 100 classes are there.
    #[error("a product has at most 100 custom topic classes")]
    TopicPolicyExceedLimit,
    /// Another version than the shadow's.
    #[error("the shadow has another version than {0}")]
    UpdateVersionNotMatch(u64),
    /// `State` is not JSON.
    #[error("State is not JSON: {0}")]
    InvalidJson(String),
    /// `State` is not what a shadow holds.
    #[error("State {0}")]
    JsonHasInvalidNode(&'static str),
    /// `State` is too long.
    #[error("the state has {0} bytes; 8192 are allowed in State, 262144 in the whole shadow")]
    JsonSizeExceedLimit(usize),
    /// `Prefix` is not one of the two.
    #[error("the prefix {0:?} is neither $shadow nor $template")]
    PrefixInvalid(String),
    /// The device did not answer an RRPC in time.
    #[error("the device did not answer within {0} ms")]
    RrpcTimeout(u64),
    /// The device is not connected.
    #[error("the device is not connected over MQTT")]
    DeviceOffline,
    /// The device is connected and has not subscribed.
    #[error("the device is not subscribed to {0:?}")]
    DeviceNoSubscription(String),
    /// The bytes could not be read as a request.
    #[error("{0}")]
    Unreadable(String),
    /// The broker or this program failed.
    #[error("{0}")]
    Internal(String),
}

/// Which algorithm was meant, if one can be told.
fn misspelled(spelling: &str) -> String {
    let bare: String = spelling
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let meant = match bare.trim_start_matches("tc3") {
        "hmacsha256" | "sha256" | "hs256" => "hmacsha256",
        "hmacsha1" | "sha1" => "hmacsha1",
        "rsasha256" | "sha256withrsa" | "rs256" => "rsa-sha256",
        _ => return String::new(),
    };
    format!("; was {meant} meant?")
}

impl Error {
    /// Code, message, standing and source. The messages of rows that are not `documented` or
    /// `captured` are our own words.
    #[rustfmt::skip]
    pub const fn row(&self) -> Row {
        use Standing::{Assumed, Captured, Documented};
        const SDK: &str = "iotcloud SDK errorcodes; its use here is assumed";
        const ACTION: &str = "iotcloud SDK errorcodes";
        const COMMON: &str = "cloud API, common error codes";
        const fn row(code: &'static str, message: &'static str, standing: Standing, source: &'static str) -> Row {
            Row { code, message, standing, source }
        }
        match self {
            Self::Cloud(error) => error.row(),
            Self::MissingHeader(_) => row("MissingParameter", "A required header is missing.", Assumed, SDK),
            Self::Timestamp(_) => row("InvalidParameterValue", "X-Tc-Timestamp error", Captured, "vendor FAQ (iot-device-java)"),
            Self::Algorithm(_) => row("InvalidParameterValue", "X-Tc-Algorithm error", Assumed, "after the timestamp's text"),
            Self::Signature(_) => row("AuthFailure.SignatureFailure", "The provided credentials could not be validated. Please check your signature is correct.", Assumed, "the cloud API's documented text"),
            Self::ContentType(_) => row("InvalidParameter", "The content type must be application/json.", Assumed, SDK),
            Self::Json(_) => row("InvalidParameter", "The request body is not a valid JSON object.", Assumed, SDK),
            Self::ParamIncomplete(_) => row("InvalidParameterValue.ParamIncomplete", "A required parameter is missing.", Assumed, SDK),
            Self::Type { .. } => row("InvalidParameter", "A parameter has the wrong type.", Documented, COMMON),
            Self::Value { .. } => row("InvalidParameterValue", "The value of a parameter is invalid.", Documented, COMMON),
            Self::ProductOrDeviceNotExist { .. } => row("ResourceNotFound.ProductOrDeviceNotExist", "The product or device does not exist.", Documented, "PublishMessage page"),
            Self::DeviceIsNotEnabled => row("UnauthorizedOperation.DeviceIsNotEnabled", "The device is not enabled.", Assumed, SDK),
            Self::ProductIsForbidden => row("UnauthorizedOperation.ProductIsForbidden", "The product is forbidden.", Assumed, SDK),
            Self::ProductNotSupportPsk => row("UnauthorizedOperation.ProductNotSupportPSK", "The product does not support PSK authentication.", Assumed, SDK),
            Self::TopicName(_) => row("FailedOperation.InvalidTopicName", "The topic name is invalid.", Documented, "PublishMessage page"),
            Self::PermissionDenied(_) => row("UnauthorizedOperation.PermissionDenied", "Permission denied.", Assumed, SDK),
            Self::PayloadOverLimit { .. } => row("InvalidParameterValue.PayloadOverLimit", "The payload exceeds the limit.", Assumed, SDK),
            Self::InvalidMsgLen { .. } => row("FailedOperation.InvalidMsgLen", "The message length is invalid.", Documented, "PublishMessage page"),
            Self::RequestLimitExceeded(_) => row("RequestLimitExceeded", "The number of requests exceeds the frequency limit.", Documented, COMMON),
            Self::UnknownPath(_) => row("InvalidAction", "The API does not exist.", Assumed, SDK),
            Self::Method(_) => row("UnsupportedProtocol", "The HTTP(S) request protocol is not supported: only POST requests are supported.", Assumed, SDK),
            Self::RegistrationOff => row("UnauthorizedOperation.PermissionDenied", "Dynamic registration is not enabled for the product.", Assumed, SDK),
            Self::DeviceExceedLimit(_) => row("LimitExceeded.DeviceExceedLimit", "The number of devices exceeds the limit.", Documented, ACTION),
            Self::MissingParameter(_) => row("MissingParameter", "A required parameter is missing.", Documented, COMMON),
            Self::UnknownParameter(_) => row("UnknownParameter", "Unknown parameter.", Documented, COMMON),
            Self::ProductNotExist(_) => row("ResourceNotFound.ProductNotExist", "The product does not exist.", Documented, ACTION),
            Self::DeviceNotExist(_) => row("ResourceNotFound.DeviceNotExist", "The device does not exist.", Documented, ACTION),
            Self::DeviceAlreadyExist(_) => row("InvalidParameterValue.DeviceAlreadyExist", "The device already exists.", Documented, ACTION),
            Self::ProductAlreadyExist(_) => row("InvalidParameterValue.ProductAlreadyExist", "The product already exists.", Documented, ACTION),
            Self::DevicesExistUnderProduct(_) => row("UnauthorizedOperation.DevicesExistUnderProduct", "There are devices under the product.", Documented, ACTION),
            Self::PskNotBase64 => row("InvalidParameterValue.DefinedPskNotBase64", "The custom PSK is not base64-encoded.", Documented, ACTION),
            Self::WrongProductAuthType => row("UnsupportedOperation.WrongProductAuthType", "The authentication type of the product does not support the operation.", Documented, ACTION),
            Self::TopicPolicyAlreadyExist(_) => row("InvalidParameterValue.TopicPolicyAlreadyExist", "The topic policy already exists.", Documented, ACTION),
            Self::TopicPolicyNotExist(_) => row("ResourceNotFound.TopicPolicyNotExist", "The topic policy does not exist.", Documented, ACTION),
            Self::TopicPolicyExceedLimit => row("LimitExceeded.TopicPolicyExceedLimit", "The number of topic policies exceeds the limit.", Documented, ACTION),
            Self::UpdateVersionNotMatch(_) => row("FailedOperation.UpdateVersionNotMatch", "The update version does not match.", Documented, ACTION),
            Self::InvalidJson(_) => row("InvalidParameterValue.InvalidJSON", "The JSON parameter is invalid.", Documented, ACTION),
            Self::JsonHasInvalidNode(_) => row("InvalidParameterValue.JSONHasInvalidNode", "The State JSON object contains an invalid node.", Documented, ACTION),
            Self::JsonSizeExceedLimit(_) => row("InvalidParameterValue.JSONSizeExceedLimit", "The State JSON object exceeds the size limit of 8 KB.", Documented, ACTION),
            Self::PrefixInvalid(_) => row("InvalidParameterValue.PrefixInvalid", "The prefix is invalid.", Documented, ACTION),
            Self::RrpcTimeout(_) => row("FailedOperation.RRPCTimeout", "The RRPC request timed out.", Documented, ACTION),
            Self::DeviceOffline => row("FailedOperation.DeviceOffline", "The device is offline.", Documented, ACTION),
            Self::DeviceNoSubscription(_) => row("FailedOperation.DeviceNoSubscription", "The device has not subscribed to the topic.", Documented, ACTION),
            Self::Unreadable(_) => row("InvalidParameter", "The request could not be read.", Assumed, SDK),
            Self::Internal(_) => row("InternalError", "Internal error.", Documented, COMMON),
        }
    }

    /// The message, with the name of what is wrong where there is one.
    pub fn message(&self) -> String {
        let text = self.row().message;
        match self {
            Self::Cloud(error) => error.message(),
            Self::MissingHeader(name) => format!("The header `{name}` is missing."),
            Self::ParamIncomplete(name) | Self::MissingParameter(name) => {
                format!("The request is missing a required parameter `{name}`.")
            }
            Self::UnknownParameter(name) => format!("The parameter `{name}` is not recognized."),
            Self::Type { name, wanted } => {
                format!("The value type of parameter `{name}` is not valid: it must be {wanted}.")
            }
            Self::Value { name, .. } => format!("The value of parameter `{name}` is invalid."),
            _ => text.to_owned(),
        }
    }

    /// The number that the legacy registration answers with. Only 1010 was ever seen.
    const fn legacy_code(&self) -> (u16, &'static str) {
        match self {
            Self::Signature(_) => (1010, "Check signature failed"),
            Self::ProductOrDeviceNotExist { .. } | Self::DeviceNotExist(_) => {
                (1011, "Product or device not exist")
            }
            Self::RegistrationOff => (1012, "Dynamic register is not enabled"),
            Self::Internal(_) => (1000, "Internal error"),
            _ => (1001, "Invalid parameter"),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(Malformed::BodyTooLarge { limit }) => Self::PayloadOverLimit {
                size: limit + 1,
                limit,
            },
            Refusal::Malformed(problem) => Self::Unreadable(problem.to_string()),
            Refusal::TooManyRequests { .. } => Self::RequestLimitExceeded(refusal.to_string()),
            Refusal::Topic(problem) => Self::TopicName(problem),
            Refusal::Overloaded { .. } | Refusal::Unavailable(_) | Refusal::Internal(_) => {
                Self::Internal(refusal.to_string())
            }
        }
    }
}

/// The answer to an error: flat for the legacy registration, `Response.Error` for the others,
/// HTTP 200 in every case, because the device SDKs lose the body of any other status.
pub(super) fn render(error: &Error, request: &Request, receipt: &Receipt) -> Answer {
    if request.head.path().ends_with(super::LEGACY_REGISTER) {
        let (code, message) = error.legacy_code();
        let body = json!({
            "code": code,
            "message": message,
            "requestId": cloud_api::request_id(receipt),
        });
        return Answer::new(200)
            .header("Content-Type", "application/json")
            .body(body.to_string());
    }
    cloud_api::failure(receipt, error.row().code, &error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shared_rooms_refuse_has_a_code_of_the_vendors() {
        let code = |refusal: Refusal| Error::from(refusal).row().code;
        assert_eq!(
            code(Refusal::Malformed(Malformed::BodyTooLarge { limit: 1 })),
            "InvalidParameterValue.PayloadOverLimit"
        );
        assert_eq!(
            code(Refusal::Malformed(Malformed::Chunk)),
            "InvalidParameter"
        );
        assert_eq!(
            code(Refusal::TooManyRequests {
                operation: "device/publish",
                key: "P/d".to_owned(),
                per_second: 30,
            }),
            "RequestLimitExceeded"
        );
        for refusal in [
            Refusal::Overloaded {
                client_id: "c".to_owned(),
                waited_ms: 1,
            },
            Refusal::Unavailable("stopped".to_owned()),
            Refusal::Internal("a panic".to_owned()),
        ] {
            assert_eq!(code(refusal), "InternalError");
        }
    }
}
