//! The signatures of real SDKs, as recorded in `fixtures/aliyun/recorded/`: what was signed must be what
//! is computed here, byte for byte, and a changed request must not pass for the recorded one.

use bytes::Bytes;
use bytestring::ByteString;
use mqttstack_base::exchange::{Head, Headers, Request, Scheme as Transport, Version};
use mqttstack_pipeline::journal::Draft;
use serde_json::Value;

use super::keys::Key;
use super::{Authenticator, Claim, Proof, v1, v3};
use crate::envelope::{Envelope, Scheme};
use crate::parameters::Parameters;
use crate::settings::Settings;

struct Recording {
    name: String,
    request: Request,
    signing: Value,
}

fn recordings() -> Vec<Recording> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/aliyun/recorded"
    );
    let mut recordings = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            recordings.push(Recording {
                name: vector["name"].as_str().unwrap().to_owned(),
                signing: vector["verification"].clone(),
                request: request(&vector["request"]),
            });
        }
    }
    assert!(recordings.len() >= 12, "only {}", recordings.len());
    recordings
}

fn request(value: &Value) -> Request {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let loopback = ([127, 0, 0, 1], 21000).into();
    let headers = value["headers"].as_array().unwrap().iter().map(|header| {
        (
            ByteString::from(header[0].as_str().unwrap()),
            Bytes::from(header[1].as_str().unwrap().to_owned()),
        )
    });
    Request {
        head: Head {
            method: text("method").into(),
            target: format!("{}?{}", text("path"), text("raw_query")).into(),
            version: Version::Http11,
            headers: Headers(headers.collect()),
            size: 0,
        },
        body: Bytes::from(text("body")),
        malformed: None,
        peer: loopback,
        local: loopback,
        scheme: Transport::Http,
        certificates: [].into(),
    }
}

/// The string to sign and, for V3, the canonical request, and whether the signature holds.
fn computed(request: &Request) -> (String, Option<String>, bool) {
    let authenticator = Authenticator::new(&Settings::default()).unwrap();
    let parameters = Parameters::read(request);
    let envelope = Envelope::read(request, &parameters);
    let mut draft = Draft::default();
    let claim: Claim<'_> = match envelope.scheme {
        Scheme::V1 => v1::claim(&parameters, &mut draft).unwrap(),
        Scheme::V3 { authorization } => v3::claim(authorization, request, &mut draft).unwrap(),
        other => panic!("{other:?} is not signed"),
    };
    let key: &Key = authenticator.keys.find(claim.key_id, &mut draft).unwrap();
    match claim.proof {
        Proof::V1(proof) => {
            let canonical = v1::canonical_parameters(&parameters);
            let string = v1::string_to_sign(&request.head.method, &canonical);
            let holds = proof.holds(key, &string);
            (string, None, holds)
        }
        Proof::V3(proof) => {
            let canonical = proof.canonical_request(request, &parameters);
            let string = proof.string_to_sign(&canonical);
            let holds = proof.holds(key, &string);
            (string, Some(canonical), holds)
        }
    }
}

fn signed() -> impl Iterator<Item = Recording> {
    recordings()
        .into_iter()
        .filter(|recording| recording.signing.get("string_to_sign").is_some())
}

#[test]
fn what_the_sdks_signed_is_what_is_computed() {
    for Recording {
        name,
        request,
        signing,
    } in signed()
    {
        let (string, canonical, holds) = computed(&request);
        assert_eq!(signing["string_to_sign"], string, "{name}");
        if let Some(canonical) = canonical {
            assert_eq!(signing["canonical_request"], canonical, "{name}");
        }
        assert!(holds, "{name}");
    }
}

#[test]
fn a_changed_request_does_not_pass_for_the_recorded_one() {
    for Recording {
        name, mut request, ..
    } in signed()
    {
        request.head.target = format!("{}&Added=1", request.head.target).into();
        assert!(!computed(&request).2, "{name}");
    }
}
