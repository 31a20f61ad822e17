//! Every refusal against the table in `fixtures/azure/errors.json`.

use mqttstack_azure_event_grid::Error;
use mqttstack_base::exchange::{Malformed, Refusal};
use serde_json::Value;

/// One of every kind.
fn all() -> Vec<(&'static str, Error)> {
    let text = || "x".to_owned();
    let malformed = |problem| Error::Refused(Refusal::Malformed(problem));
    vec![
        ("MissingCredentials", Error::MissingCredentials(text())),
        ("InvalidToken", Error::InvalidToken(text())),
        ("InvalidKey", Error::InvalidKey),
        ("InvalidSignature", Error::InvalidSignature(text())),
        ("Forbidden", Error::Forbidden(text())),
        (
            "InvalidTopic",
            Error::InvalidTopic {
                topic: text(),
                why: text(),
            },
        ),
        ("MissingParameter", Error::MissingParameter("x")),
        (
            "InvalidParameter",
            Error::InvalidParameter {
                name: text(),
                why: text(),
            },
        ),
        (
            "ApiVersion",
            Error::ApiVersion {
                got: text(),
                known: text(),
            },
        ),
        (
            "TooLarge",
            Error::TooLarge {
                what: "x",
                got: 2,
                limit: 1,
            },
        ),
        ("RetainedQuota", Error::RetainedQuota(1)),
        ("Quota", Error::Quota(text())),
        ("EventsTooLarge", Error::EventsTooLarge { got: 2, limit: 1 }),
        ("TopicGone", Error::TopicGone(text())),
        ("InvalidBody", Error::InvalidBody(text())),
        ("MediaType", Error::MediaType(text())),
        ("NotFound", Error::NotFound(text())),
        ("Method", Error::Method("POST")),
        ("Routing", Error::Routing(text())),
        ("MetadataHeader", Error::MetadataHeader),
        ("MissingResource", Error::MissingResource),
        ("UnknownIdentity", Error::UnknownIdentity(text())),
        ("InvalidForm", Error::InvalidForm(text())),
        ("MissingForm", Error::MissingForm("x")),
        ("UnsupportedGrant", Error::UnsupportedGrant(text())),
        (
            "UnknownApplication",
            Error::UnknownApplication {
                client_id: text(),
                tenant: text(),
            },
        ),
        ("UnknownTenant", Error::UnknownTenant(text())),
        ("ClientSecret", Error::ClientSecret(text())),
        ("NoClientProof", Error::NoClientProof),
        ("Assertion", Error::Assertion(text())),
        ("AssertionTime", Error::AssertionTime(text())),
        ("Scope", Error::Scope(text())),
        (
            "BodyTooLarge",
            malformed(Malformed::BodyTooLarge { limit: 1 }),
        ),
        (
            "TargetTooLong",
            malformed(Malformed::TargetTooLong { limit: 1 }),
        ),
        (
            "HeadTooLarge",
            malformed(Malformed::HeadTooLarge { limit: 1 }),
        ),
        ("HeadTimeout", malformed(Malformed::HeadTimeout)),
        ("BodyTimeout", malformed(Malformed::BodyTimeout)),
        ("Version", malformed(Malformed::Version)),
        ("Chunk", malformed(Malformed::Chunk)),
        (
            "TooManyRequests",
            Error::Refused(Refusal::TooManyRequests {
                operation: "x",
                key: text(),
                per_second: 1,
            }),
        ),
        (
            "EventsQuota",
            Error::Refused(Refusal::TooManyRequests {
                operation: "PublishCloudEvents",
                key: text(),
                per_second: 1,
            }),
        ),
        (
            "Overloaded",
            Error::Refused(Refusal::Overloaded {
                client_id: text(),
                waited_ms: 1,
            }),
        ),
        ("Unavailable", Error::Refused(Refusal::Unavailable(text()))),
        ("Internal", Error::Refused(Refusal::Internal(text()))),
    ]
}

#[test]
fn every_refusal_has_the_status_and_code_of_its_row() {
    let table: Value =
        serde_json::from_str(include_str!("../../fixtures/azure/errors.json")).unwrap();
    let rows = table.as_array().unwrap();
    assert_eq!(rows.len(), all().len());
    for ((name, error), row) in all().iter().zip(rows) {
        let seen = error.row();
        assert_eq!(row["error"], *name);
        assert_eq!(row["status"], seen.status, "{name}");
        assert_eq!(row["code"], seen.code, "{name}");
        assert_eq!(
            row["standing"],
            serde_json::to_value(seen.standing).unwrap(),
            "{name}"
        );
        assert!(!error.to_string().is_empty());
    }
}
