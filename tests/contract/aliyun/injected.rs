//! Errors that no request over a socket causes: the vendor is made to answer with them, and bytes
//! that are no HTTP request are handed over as the HTTP loop would.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use mqttstack_aliyun::{Aliyun, Error, Settings};
use mqttstack_base::exchange::{Answer, Malformed, Receipt, Refusal, Request, Surface};
use mqttstack_pipeline::{Vendor, Walk};

use super::sign::{CLOCK, V1};
use super::{Reply, Row, Tables, code_of, entity_tag};
use crate::exchange::Answered;
use crate::handed;

/// The errors, by their rows in `errors.toml`.
fn injected() -> Vec<(&'static str, Error)> {
    let shared = |refusal| Error::Shared(refusal);
    vec![
        ("ThrottlingUser", Error::ThrottlingUser),
        ("ThrottlingApi", Error::ThrottlingApi),
        ("Throttling", Error::Throttling),
        ("ForbiddenRam", Error::ForbiddenRam),
        ("ServiceUnavailable", Error::ServiceUnavailable),
        ("GatewayInternalError", Error::GatewayInternalError),
        ("CheckAccountInfoFailed", Error::CheckAccountInfoFailed),
        ("InternalError", Error::InternalError),
        ("SendMessageFailed", Error::SendMessageFailed),
        ("SystemOverFlow", Error::SystemOverFlow),
        ("QueryTokenOverFlow", Error::QueryTokenOverFlow),
        ("RevokeTokenOverFlow", Error::RevokeTokenOverFlow),
        ("ApplyTokenOverFlow", Error::ApplyTokenOverFlow),
        (
            "GroupIdAlreadyUsedByOtherUsers",
            Error::GroupIdAlreadyUsedByOtherUsers,
        ),
        ("CreateGroupIdError", Error::CreateGroupIdError),
        ("DeleteGroupIdError", Error::DeleteGroupIdError),
        (
            "DeviceCredentialNumExceed",
            Error::DeviceCredentialNumExceed,
        ),
        ("CustomAuthOverCapacity", Error::CustomAuthOverCapacity),
        (
            "Overloaded",
            shared(Refusal::Overloaded {
                client_id: "slow".to_owned(),
                waited_ms: 5_000,
            }),
        ),
        (
            "Unavailable",
            shared(Refusal::Unavailable("it has stopped".to_owned())),
        ),
        ("Internal", shared(Refusal::Internal("a panic".to_owned()))),
    ]
}

fn malformed() -> Vec<(&'static str, Malformed)> {
    vec![
        (
            "Head",
            Malformed::Head("a space in a header name".to_owned()),
        ),
        ("Version", Malformed::Version),
        ("TargetTooLong", Malformed::TargetTooLong { limit: 262_144 }),
        ("HeadTooLarge", Malformed::HeadTooLarge { limit: 327_680 }),
        ("HeadTimeout", Malformed::HeadTimeout),
        ("ContentLength", Malformed::ContentLength),
        ("Chunk", Malformed::Chunk),
        ("BodyTooLarge", Malformed::BodyTooLarge { limit: 1_048_576 }),
        ("BodyTimeout", Malformed::BodyTimeout),
        ("Truncated", Malformed::Truncated),
    ]
}

/// What is wrong.
enum By {
    Error(Error),
    Bytes(Malformed),
}

/// The vendor, made to answer every request with one error.
struct Faulty(Aliyun, Error);

impl Vendor for Faulty {
    const SURFACE: Surface = Surface::Aliyun;
    type Call = ();
    type Error = Error;

    async fn admit(&self, _: &mut Walk<'_>) -> Result<(), Error> {
        Err(self.1.clone())
    }

    async fn perform(&self, (): (), _: &mut Walk<'_>) -> Result<Answer, Error> {
        Err(self.1.clone())
    }

    fn error_code(&self, error: &Error) -> String {
        self.0.error_code(error)
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        self.0.render(error, request, receipt)
    }
}

/// The trials, and which codes they see in XML (`true`) and in JSON.
pub(super) fn trials(tables: &Tables) -> (Vec<Trial>, BTreeSet<(String, bool)>) {
    let mut trials = Vec::new();
    let mut codes = BTreeSet::new();
    for format in ["xml", "json"] {
        for (name, problem) in malformed() {
            let row = &tables.errors[name];
            let expected = Reply::new(format).refused(row, row.status, "");
            codes.insert((code_of(&expected.body), format == "xml"));
            let by = By::Bytes(problem);
            let test = move || ask(format, by, false, &expected, None);
            let name = format!("aliyun::SendMessage__malformed-{name}-{format}");
            trials.push(Trial::test(name, test));
        }
        for (name, error) in injected() {
            for changed in [false, true] {
                let (row, error) = (tables.errors[name].clone(), error.clone());
                let status = row.changed.filter(|_| changed).unwrap_or(row.status);
                let expected = Reply::new(format).refused(&row, status, "");
                codes.insert((code_of(&expected.body), format == "xml"));
                let reason = reason(&row);
                let by = By::Error(error);
                let test = move || ask(format, by, changed, &expected, reason.as_deref());
                let change = if changed { "-status-change" } else { "" };
                let name = format!("aliyun::SendMessage__fault-{name}{change}-{format}");
                trials.push(Trial::test(name, test));
            }
        }
    }
    (trials, codes)
}

/// What the journal says of a status that the vendor's notice changed.
fn reason(row: &Row) -> Option<String> {
    let (code, before, after) = (&row.code, row.status, row.changed?);
    Some(format!(
        "{code} has HTTP status {before} on the action's page and {after} by the vendor's notice"
    ))
}

/// What stands for the names in an answer.
fn texts(id: &str, body: &str) -> BTreeMap<String, String> {
    let texts = [
        ("RequestId", id.to_owned()),
        ("TraceId", id.replace('-', "").to_lowercase()),
        ("ETag", entity_tag(body)),
    ];
    texts.map(|(name, text)| (name.to_owned(), text)).into()
}

/// Walks a call of SendMessage and compares.
fn ask(
    format: &str,
    by: By,
    status_change: bool,
    expected: &Answered,
    reason: Option<&str>,
) -> Result<(), Failed> {
    let aliyun = Aliyun::new(Settings {
        status_change,
        ..Settings::default()
    })?;
    let sent = V1::new(format).sent();
    let clock = CLOCK.parse()?;
    match by {
        By::Error(error) => {
            let request = handed::request(sent, None);
            let faulty = Faulty(aliyun, error);
            handed::walk(&faulty, (&request, clock), expected, reason, texts)
        }
        By::Bytes(problem) => {
            let request = handed::request(sent, Some(problem));
            handed::walk(&aliyun, (&request, clock), expected, reason, texts)
        }
    }
}
