//! A request handed to a vendor as the HTTP loop would hand it over: for bytes that are no HTTP
//! request, and for a vendor that is made to answer with one error.

use std::collections::BTreeMap;

use jiff::Timestamp;
use libtest_mimic::Failed;
use mqttstack::Emulator;
use mqttstack_base::exchange::{Head, Headers, Malformed, Request, Scheme, Version};
use mqttstack_pipeline::{self as pipeline, REQUEST_ID, Vendor};

use crate::exchange::{Answered, Sent, filled};
use crate::runtime;

/// The request as a value.
pub(crate) fn request(sent: Sent, malformed: Option<Malformed>) -> Request {
    let loopback = ([127, 0, 0, 1], 21000).into();
    let headers = sent
        .headers
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    Request {
        head: Head {
            method: sent.method.into(),
            target: sent.target.into(),
            version: Version::Http11,
            headers: Headers(headers.collect()),
            size: 0,
        },
        body: sent.body.into(),
        malformed,
        peer: loopback,
        local: loopback,
        scheme: Scheme::Http,
        certificates: [].into(),
    }
}

/// Walks the request and compares. `texts` makes of the journal's id and the body what stands for
/// the names in what is expected.
pub(crate) fn walk<V: Vendor>(
    vendor: &V,
    (request, clock): (&Request, Timestamp),
    expected: &Answered,
    reason: Option<&str>,
    texts: fn(&str, &str) -> BTreeMap<String, String>,
) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let emulator = Emulator::builder().clock(clock).seed(1).start().await?;
        let answer = pipeline::run(emulator.app(), vendor, request).await;
        let (_, entry) = emulator.requests().since(0).pop().ok_or("no entry")?;
        emulator.stop().await;
        let body = String::from_utf8(answer.body.bytes().to_vec())?;
        let texts = texts(&entry.id, &body);
        let headers = answer.headers.iter();
        let seen = Answered {
            status: answer.status,
            headers: headers
                .map(|(name, value)| (name.to_string(), value.clone()))
                .filter(|(name, _)| name != REQUEST_ID)
                .collect(),
            body,
        };
        let headers = expected.headers.iter();
        let wanted = Answered {
            status: expected.status,
            headers: headers
                .map(|(name, value)| (name.clone(), filled(value, &texts)))
                .collect(),
            body: filled(&expected.body, &texts),
        };
        if seen != wanted {
            return Err(format!("expected: {wanted:#?}\nseen: {seen:#?}").into());
        }
        let reasons = &entry.outcome().ok_or("no outcome")?.draft.reasons;
        match reason {
            Some(part) if !reasons.iter().any(|one| one.contains(part)) => {
                Err(format!("the journal does not say {part:?} but {reasons:?}").into())
            }
            _ => Ok(()),
        }
    })
}
