//! One exchange in a file, and its comparison with what was seen.

use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use bytestring::ByteString;
use mqttstack_base::exchange::{Head, Headers, Malformed, Request, Scheme, Version};
use mqttstack_base::ids::Ids;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The names of the exchanges in a vendor's folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".json").map(ToOwned::to_owned))
        .filter(|name| name.contains("__"))
        .collect();
    assert!(!names.is_empty(), "no fixture in {}", folder.display());
    names.sort();
    names
}

/// One exchange.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// Where request and answer are from.
    #[serde(rename = "source")]
    _source: String,
    /// When that was looked at.
    #[serde(rename = "checked")]
    _checked: String,
    /// How sure the answer is.
    #[serde(rename = "standing")]
    _standing: Standing,
    pub(crate) given: Given,
    pub(crate) request: Exchanged,
    answer: Answered,
    published: Vec<Published>,
    /// The variant of the vendor's error, for the test that walks them all.
    error: Option<String>,
    /// A part of what the journal must say.
    reason: Option<String>,
    /// What a recording says was signed; the vendor's own unit tests compare it.
    #[serde(rename = "signing")]
    _signing: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Documented,
    Captured,
    Assumed,
}

/// The state in which the exchange takes place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) clock: jiff::Timestamp,
    pub(crate) seed: u64,
    /// The vendor's settings; what is not said is as by default.
    #[serde(default = "empty")]
    pub(crate) settings: Value,
    /// Requests before the one that is looked at.
    #[serde(default)]
    pub(crate) before: Vec<Exchanged>,
    /// An error that the vendor is made to answer with.
    pub(crate) fault: Option<String>,
    /// The ways in which it can be walked, if not all.
    #[serde(default)]
    ways: Vec<String>,
}

fn one() -> usize {
    1
}

fn empty() -> Value {
    Value::Object(serde_json::Map::default())
}

/// A request as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchanged {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) raw_query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// What was wrong with its bytes.
    pub(crate) malformed: Option<String>,
    /// How many times 16 random bytes its walk draws after its request id: one for a message.
    #[serde(default = "one")]
    draws: usize,
}

impl Exchanged {
    /// The request line's target.
    pub(crate) fn target(&self) -> String {
        match &*self.raw_query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    /// The request as the HTTP loop hands it over.
    pub(crate) fn request(&self) -> Request {
        let loopback = ([127, 0, 0, 1], 21000).into();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (ByteString::from(&**name), Bytes::from(value.clone())));
        Request {
            head: Head {
                method: self.method.as_str().into(),
                target: self.target().into(),
                version: Version::Http11,
                headers: Headers(headers.collect()),
                size: 0,
            },
            body: Bytes::from(self.body.clone()),
            malformed: self.malformed.as_deref().map(malformed),
            peer: loopback,
            local: loopback,
            scheme: Scheme::Http,
            certificates: [].into(),
        }
    }
}

fn malformed(name: &str) -> Malformed {
    match name {
        "Head" => Malformed::Head("a space in a header name".to_owned()),
        "Version" => Malformed::Version,
        "TargetTooLong" => Malformed::TargetTooLong { limit: 262_144 },
        "HeadTooLarge" => Malformed::HeadTooLarge { limit: 327_680 },
        "HeadTimeout" => Malformed::HeadTimeout,
        "ContentLength" => Malformed::ContentLength,
        "Chunk" => Malformed::Chunk,
        "BodyTooLarge" => Malformed::BodyTooLarge { limit: 1_048_576 },
        "BodyTimeout" => Malformed::BodyTimeout,
        "Truncated" => Malformed::Truncated,
        other => panic!("no Malformed::{other}"),
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A message as the journal holds it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Published {
    pub(crate) id: String,
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// What was seen of an exchange.
pub(crate) struct Seen {
    pub(crate) answer: Answered,
    pub(crate) published: Vec<Published>,
    /// What the journal says of the request.
    pub(crate) error_code: Option<String>,
    pub(crate) reasons: Vec<String>,
}

impl Fixture {
    /// Reads a file and puts the ids of its seed into it. They are drawn here in the order in
    /// which a walk draws them: its request id, then the id of its message, its keys, its token.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| told(&error))?;
        let plain: Self = serde_json::from_str(&text).map_err(|error| told(&error))?;
        let ids = Ids::new(Some(plain.given.seed));
        for before in &plain.given.before {
            ids.request_id();
            for _ in 0..before.draws {
                ids.bytes::<16>();
            }
        }
        let request_id = ids.request_id();
        let drawn = ids.bytes::<256>();
        let hex = drawn[..16].iter().map(|byte| format!("{byte:02X}"));
        let text = text
            .replace("{TraceId}", &request_id.replace('-', "").to_lowercase())
            .replace("{RequestId}", &request_id)
            .replace("{MsgId}", &hex.collect::<String>())
            .replace("{Key1}", &BASE64_URL_SAFE_NO_PAD.encode(&drawn[..16]))
            .replace("{Key2}", &BASE64_URL_SAFE_NO_PAD.encode(&drawn[16..32]))
            .replace("{Token}", &BASE64_STANDARD.encode(drawn));
        let mut fixture: Self = serde_json::from_str(&text).map_err(|error| told(&error))?;
        let tag = entity_tag(&fixture.answer.body);
        for (_, value) in &mut fixture.answer.headers {
            *value = value.replace("{ETag}", &tag);
        }
        Ok(fixture)
    }

    /// Whether the exchange can be walked this way.
    pub(crate) fn has_way(&self, way: &str) -> bool {
        self.given.ways.is_empty() || self.given.ways.iter().any(|known| known == way)
    }

    /// Compares what was seen with what is written.
    pub(crate) fn check(&self, seen: &Seen) -> Result<(), String> {
        same("answer", &self.answer, &seen.answer)?;
        same("published", &self.published, &seen.published)?;
        if self.error.is_some() != seen.error_code.is_some() {
            return Err(format!("error code in the journal: {:?}", seen.error_code));
        }
        match &self.reason {
            Some(part) if !seen.reasons.iter().any(|reason| reason.contains(part)) => Err(format!(
                "the journal does not say {part:?} but {:#?}",
                seen.reasons
            )),
            _ => Ok(()),
        }
    }
}

/// The first digit of a body's length, half a hash of it in Base64, the last digit.
fn entity_tag(body: &str) -> String {
    let length = body.len().to_string();
    let hash = BASE64_STANDARD.encode(&Sha256::digest(body)[..16]);
    let hash = hash.trim_end_matches('=');
    [&length[..1], hash, &length[length.len() - 1..]].concat()
}

pub(crate) fn same<T: PartialEq + Serialize>(
    what: &str,
    expected: &T,
    seen: &T,
) -> Result<(), String> {
    if expected == seen {
        return Ok(());
    }
    let print = |value| serde_json::to_string_pretty(value).unwrap_or_default();
    Err(format!(
        "{what} differs\nexpected: {}\nseen:     {}",
        print(expected),
        print(seen)
    ))
}
