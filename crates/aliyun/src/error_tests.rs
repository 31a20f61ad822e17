//! Every variant of the error has a row in `fixtures/aliyun/errors.toml`; the contract test
//! compares what the rows say with what is answered, in XML and in JSON.

use mqttstack_base::exchange::{Malformed, Refusal};
use std::collections::BTreeSet;

use super::actions::ACTIONS;
use super::error::Error;
use super::settings::Overflow;

/// The name under which the table knows an error. No wildcard: a new variant stops here.
#[expect(clippy::too_many_lines, reason = "it is the list of variants")]
fn name(error: &Error) -> String {
    let debug = format!("{error:?}");
    let shown = match error {
        Error::Shared(Refusal::Malformed(problem)) => match problem {
            // Said with the same row.
            Malformed::BlankLine | Malformed::TransferCoding => "Head".to_owned(),
            Malformed::TooManyFields { .. } => "HeadTooLarge".to_owned(),
            Malformed::Head(_)
            | Malformed::Version
            | Malformed::TargetTooLong { .. }
            | Malformed::HeadTooLarge { .. }
            | Malformed::HeadTimeout
            | Malformed::ContentLength
            | Malformed::Chunk
            | Malformed::BodyTooLarge { .. }
            | Malformed::BodyTimeout
            | Malformed::Truncated => format!("{problem:?}"),
        },
        Error::Shared(
            refusal @ (Refusal::TooManyRequests { .. }
            | Refusal::Topic(_)
            | Refusal::Overloaded { .. }
            | Refusal::Unavailable(_)
            | Refusal::Internal(_)),
        ) => format!("{refusal:?}"),
        Error::Missing(_)
        | Error::ParameterInvalid(_)
        | Error::ParameterMalformed
        | Error::FormatInvalid
        | Error::VersionInvalid
        | Error::ActionNotFound
        | Error::ProductNotFound
        | Error::MethodUnsupported
        | Error::SslRequired
        | Error::TimestampFormat
        | Error::TimestampExpired
        | Error::NonceUsed
        | Error::AccessKeyNotFound
        | Error::AccessKeyInactive
        | Error::SecurityTokenExpired
        | Error::SecurityTokenMalformed
        | Error::SecurityTokenMismatch
        | Error::SignatureMethodInvalid
        | Error::SignatureIncomplete
        | Error::SignatureMismatchV1 { .. }
        | Error::SignatureMismatchV3 { .. }
        | Error::ThrottlingUser
        | Error::ThrottlingApi
        | Error::Throttling
        | Error::ForbiddenRam
        | Error::ServiceUnavailable
        | Error::GatewayInternalError
        | Error::CheckAccountInfoFailed
        | Error::InstancePermissionCheckFailed
        | Error::ParameterCheckFailed
        | Error::PermissionCheckFailed
        | Error::InvalidParameter(_)
        | Error::ApiNotSupport
        | Error::InternalError
        | Error::SendMessageFailed
        | Error::SystemOverFlow
        | Error::ApplyTokenOverFlow
        | Error::QueryTokenOverFlow
        | Error::RevokeTokenOverFlow
        | Error::ParameterFieldCheckFailed
        | Error::InstanceNotFound
        | Error::GroupIdAlreadyExsited
        | Error::GroupIdAlreadyUsedByOtherUsers
        | Error::ResourcePermissionCheckFailed
        | Error::CreateGroupIdError
        | Error::DeleteGroupIdError
        | Error::DeviceCredentialNotFound
        | Error::DeviceCredentialExsit
        | Error::DeviceCredentialNumExceed
        | Error::CustomAuthOverCapacity => debug,
    };
    shown
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap()
        .to_owned()
}

/// One of each variant.
#[expect(clippy::too_many_lines, reason = "it is the list of variants")]
fn every() -> Vec<Error> {
    let text = String::new;
    let refusals = [
        Refusal::Malformed(Malformed::Head(text())),
        Refusal::Malformed(Malformed::Version),
        Refusal::Malformed(Malformed::TargetTooLong { limit: 1 }),
        Refusal::Malformed(Malformed::HeadTooLarge { limit: 1 }),
        Refusal::Malformed(Malformed::TooManyFields { limit: 1 }),
        Refusal::Malformed(Malformed::BlankLine),
        Refusal::Malformed(Malformed::TransferCoding),
        Refusal::Malformed(Malformed::HeadTimeout),
        Refusal::Malformed(Malformed::ContentLength),
        Refusal::Malformed(Malformed::Chunk),
        Refusal::Malformed(Malformed::BodyTooLarge { limit: 1 }),
        Refusal::Malformed(Malformed::BodyTimeout),
        Refusal::Malformed(Malformed::Truncated),
        Refusal::TooManyRequests {
            operation: "SendMessage",
            key: text(),
            per_second: 1,
        },
        Refusal::Overloaded {
            client_id: text(),
            waited_ms: 1,
        },
        Refusal::Unavailable(text()),
        Refusal::Internal(text()),
    ];
    let mut errors = vec![
        Error::Missing("Payload"),
        Error::parameter_invalid("Payload"),
        Error::ParameterMalformed,
        Error::FormatInvalid,
        Error::VersionInvalid,
        Error::ActionNotFound,
        Error::ProductNotFound,
        Error::MethodUnsupported,
        Error::SslRequired,
        Error::TimestampFormat,
        Error::TimestampExpired,
        Error::NonceUsed,
        Error::AccessKeyNotFound,
        Error::AccessKeyInactive,
        Error::SecurityTokenExpired,
        Error::SecurityTokenMalformed,
        Error::SecurityTokenMismatch,
        Error::SignatureMethodInvalid,
        Error::SignatureIncomplete,
        Error::SignatureMismatchV1 {
            string_to_sign: text(),
        },
        Error::SignatureMismatchV3 {
            string_to_sign: text(),
            canonical_request: text(),
        },
        Error::ThrottlingUser,
        Error::ThrottlingApi,
        Error::Throttling,
        Error::ForbiddenRam,
        Error::ServiceUnavailable,
        Error::GatewayInternalError,
        Error::CheckAccountInfoFailed,
        Error::InstancePermissionCheckFailed,
        Error::ParameterCheckFailed,
        Error::PermissionCheckFailed,
        Error::InvalidParameter("InstanceId"),
        Error::ApiNotSupport,
        Error::InternalError,
        Error::SendMessageFailed,
        Error::SystemOverFlow,
        Error::ApplyTokenOverFlow,
        Error::QueryTokenOverFlow,
        Error::RevokeTokenOverFlow,
        Error::ParameterFieldCheckFailed,
        Error::InstanceNotFound,
        Error::GroupIdAlreadyExsited,
        Error::GroupIdAlreadyUsedByOtherUsers,
        Error::ResourcePermissionCheckFailed,
        Error::CreateGroupIdError,
        Error::DeleteGroupIdError,
        Error::DeviceCredentialNotFound,
        Error::DeviceCredentialExsit,
        Error::DeviceCredentialNumExceed,
        Error::CustomAuthOverCapacity,
    ];
    errors.extend(refusals.map(Error::Shared));
    errors
}

#[test]
fn the_table_of_answers_has_every_error_and_no_other() {
    let table = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/aliyun/errors.toml"
    ));
    let table: toml::Table = table.parse().unwrap();
    let stated: BTreeSet<String> = table.keys().cloned().collect();
    let names: BTreeSet<String> = every().iter().map(name).collect();
    assert_eq!(stated, names);
}

#[test]
fn what_the_journal_says_of_an_error_holds_no_string_to_sign() {
    let error = Error::SignatureMismatchV1 {
        string_to_sign: "SecurityToken%3Dtop-secret".to_owned(),
    };
    assert!(!error.to_string().contains("top-secret"));
}

#[test]
fn the_openapi_description_has_parameters_and_answer_of_every_emulated_action() {
    let description = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../openapi/aliyun.yaml"
    ));
    for action in ACTIONS.iter().filter(|action| action.emulated) {
        for schema in ["Request", "Response"] {
            let line = format!("    {}{schema}:\n", action.name);
            assert!(description.contains(&line), "{line}");
        }
    }
}

#[test]
fn the_openapi_description_lists_every_error_code() {
    let description = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../openapi/aliyun.yaml"
    ));
    for error in every() {
        for overflow in [Overflow::Product, Overflow::Gateway] {
            let code = match &error {
                Error::ParameterInvalid(_) => "Invalid<Parameter>".into(),
                Error::InvalidParameter(_) => "InvalidParameter.<Name>".into(),
                other => other.row(overflow).code,
            };
            assert!(description.contains(&format!("`{code}`")), "{code}");
        }
    }
}
