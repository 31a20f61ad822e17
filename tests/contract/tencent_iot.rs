//! Tencent IoT Hub's exchanges, from the tables in `fixtures/tencent-iot`: `errors.toml` says how
//! each error is answered, the files of `[[exchange]]` rows hold calls and answers, `actions.toml`
//! what `derived.rs` derives of the actions' and the gateway's parameters, `recorded/` and
//! `fixtures/tencent-tc3` requests of the vendor's SDKs.
//!
//! A row's `request` is one of: `publish`, a good /device/publish with what is changed of its
//! `fields` and of how it is signed; `gateway`, another path of the device gateway; `cloud`, an
//! action of the cloud API; `literal`, a request as it is sent, signed beforehand. Beside it can
//! stand what replaces a part of it after it was signed.

mod derived;
mod described;
mod mutilated;
mod recordings;

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::exchange::{Answered, Code, Exchange, Sent, Site, Standing};
use crate::rows::{self, about, object, written};
use crate::sign::{Hash, Tc3, base64, hex};
use crate::trial;

const CLOCK: &str = "2023-11-14T22:13:20Z";
const NOW: i64 = 1_700_000_000;
const PSK: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const PRODUCT_SECRET: &str = "PRODUCT_SECRETKEY";
const HOST: &str = "127.0.0.1:4580";
const FOLDER: &str = "tencent-iot";
const FILES: [&str; 8] = [
    "signatures",
    "publish",
    "registration",
    "reportlog",
    "platform",
    "cloud",
    "resources",
    "messages",
];

/// Errors that need an MQTT device (`tests/api/tencent_iot.rs`) or a request that is no HTTP.
const ELSEWHERE: [&str; 4] = [
    "RrpcTimeout",
    "DeviceNoSubscription",
    "Unreadable",
    "Internal",
];

/// A row of `errors.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorRow {
    code: String,
    message: String,
    /// What the older registration says.
    legacy: Option<(u32, String)>,
    #[serde(rename = "standing")]
    _standing: Standing,
    source: String,
}

type Errors = BTreeMap<String, ErrorRow>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    request: Request,
    #[serde(default)]
    before: Vec<Request>,
    #[serde(default)]
    settings: Value,
    /// Settings of the cloud API's keys.
    #[serde(default)]
    cloud: Value,
    clock: Option<jiff::Timestamp>,
    /// A row of `errors.toml`, and what it is about.
    error: Option<String>,
    #[serde(default)]
    about: Vec<String>,
    /// The same, said by the older registration.
    legacy_error: Option<String>,
    /// An error of the cloud API's front door.
    code: Option<String>,
    message: Option<String>,
    /// The fields of a good answer.
    answer: Option<String>,
    /// The same of the older registration.
    legacy_answer: Option<String>,
    #[serde(default)]
    published: Vec<Value>,
    reason: Option<String>,
    #[serde(rename = "standing")]
    _standing: Option<Standing>,
    source: Option<String>,
    /// Whether the request is one that an SDK was seen to send.
    #[serde(rename = "request_standing")]
    _request_standing: Option<Standing>,
}

/// A request of a row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    publish: Option<Gateway>,
    gateway: Option<Gateway>,
    cloud: Option<Cloud>,
    literal: Option<Literal>,
    /// In the place of what was signed.
    path: Option<String>,
    body: Option<String>,
    method: Option<String>,
    /// How often it is sent.
    #[serde(default = "one")]
    repeat: usize,
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Literal {
    method: String,
    path: String,
    #[serde(default)]
    raw_query: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// A call of the device gateway: what differs of a good one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Gateway {
    path: Option<String>,
    /// The body; without it that of a good publish with these fields changed and these left out.
    body: Option<String>,
    fields: Map<String, Value>,
    absent: Vec<String>,
    key: Option<String>,
    /// The host that is signed, and the one in the header field.
    host: Option<String>,
    header_host: Option<String>,
    /// The algorithm that is signed, and how the header field spells it.
    algorithm: Option<String>,
    spelling: Option<String>,
    digest: Option<String>,
    body_hash: Option<String>,
    timestamp: Option<String>,
    nonce: Option<String>,
    signature: Option<String>,
    without: Vec<String>,
    method: Option<String>,
    content_type: Option<String>,
    signed_body: Option<String>,
    signed_path: Option<String>,
    spell_headers: Option<String>,
}

fn hash(name: &str) -> Hash {
    if name.contains("sha1") {
        Hash::Sha1
    } else {
        Hash::Sha256
    }
}

impl Gateway {
    fn body(&self) -> String {
        if let Some(body) = &self.body {
            return body.clone();
        }
        let mut fields = Map::new();
        for (name, value) in [
            ("ProductId", json!("ABCDE12345")),
            ("DeviceName", json!("dev01")),
            ("TopicName", json!("ABCDE12345/dev01/data")),
            ("Payload", json!("hello")),
            ("Qos", json!(1)),
        ] {
            if !self.absent.iter().any(|absent| absent == name) {
                fields.insert(name.to_owned(), value);
            }
        }
        fields.extend(self.fields.clone());
        Value::Object(fields).to_string()
    }

    fn sent(&self) -> Sent {
        let or = |given: &Option<String>, usual: &str| given.clone().unwrap_or(usual.to_owned());
        let (body, path) = (self.body(), or(&self.path, "/device/publish"));
        let algorithm = or(&self.algorithm, "hmacsha256");
        let (timestamp, nonce) = (or(&self.timestamp, "1700000000"), or(&self.nonce, "5456"));
        let digest = or(&self.digest, &algorithm.to_lowercase());
        let body_hash = hash(self.body_hash.as_deref().unwrap_or(&digest));
        let text = [
            "POST",
            &or(&self.host, "127.0.0.1"),
            self.signed_path.as_deref().unwrap_or(&path),
            "",
            &algorithm,
            &timestamp,
            &nonce,
            &hex(&body_hash.of(self.signed_body.as_deref().unwrap_or(&body).as_bytes())),
        ]
        .join("\n");
        let key = or(&self.key, PSK);
        let right = base64(&hash(&digest).hmac(key.as_bytes(), text.as_bytes()));
        let headers = [
            ("Host", or(&self.header_host, HOST)),
            ("Content-Type", or(&self.content_type, "application/json")),
            ("X-TC-Algorithm", or(&self.spelling, &algorithm)),
            ("X-TC-Timestamp", timestamp),
            ("X-TC-Nonce", nonce),
            ("X-TC-Signature", or(&self.signature, &right)),
        ];
        let titled = self.spell_headers.is_some();
        let headers = headers
            .into_iter()
            .filter(|(name, _)| !self.without.iter().any(|gone| gone == name));
        Sent {
            method: or(&self.method, "POST"),
            target: path,
            headers: headers
                .map(|(name, value)| (spelled(name, titled), value))
                .collect(),
            body: body.into_bytes(),
            ..Sent::default()
        }
    }
}

/// A header field's name, or as Python's `str.title` has it: `X-Tc-Nonce`.
fn spelled(name: &str, titled: bool) -> String {
    if titled {
        name.replace("-TC-", "-Tc-")
    } else {
        name.to_owned()
    }
}

/// A call of the cloud API: what differs of a good one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cloud {
    action: String,
    params: Map<String, Value>,
    version: Option<String>,
    secret_id: Option<String>,
    secret_key: Option<String>,
    timestamp: Option<String>,
    authorization: Option<String>,
    without: Vec<String>,
    method: Option<String>,
    raw: Option<String>,
    content_type: Option<String>,
    query: String,
    service: Option<String>,
    region: Option<String>,
}

impl Cloud {
    fn new(action: &str, params: Map<String, Value>) -> Self {
        Self {
            action: action.to_owned(),
            params,
            ..Self::default()
        }
    }

    fn sent(&self) -> Sent {
        let or = |given: &Option<String>, usual: &str| given.clone().unwrap_or(usual.to_owned());
        let method = or(&self.method, "POST");
        let body = match (&self.raw, &*method) {
            (Some(raw), _) => raw.clone(),
            (None, "GET") => String::new(),
            (None, _) => Value::Object(self.params.clone()).to_string(),
        };
        let timestamp = or(&self.timestamp, "1700000000");
        let content_type = or(&self.content_type, "application/json");
        let signer = Tc3 {
            id: &or(&self.secret_id, "AKIDEXAMPLE0000000000000000000000000"),
            key: &or(&self.secret_key, "SecretKeyExample0000000000000000"),
            host: HOST,
            service: &or(&self.service, "iotcloud"),
            method: &method,
            query: &self.query,
            content_type: &content_type,
            timestamp: timestamp.parse().unwrap_or(NOW),
        };
        let authorization = signer.authorization(&body);
        let headers = [
            ("Host", HOST.to_owned()),
            ("Content-Type", content_type.clone()),
            ("X-TC-Action", self.action.clone()),
            ("X-TC-Version", or(&self.version, "2021-04-08")),
            ("X-TC-Timestamp", timestamp.clone()),
            ("X-TC-Region", or(&self.region, "ap-guangzhou")),
            ("Authorization", or(&self.authorization, &authorization)),
        ];
        let target = match &*self.query {
            "" => "/".to_owned(),
            query => format!("/?{query}"),
        };
        let headers = headers
            .into_iter()
            .filter(|(name, _)| !self.without.iter().any(|gone| gone == name));
        Sent {
            method,
            target,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: body.into_bytes(),
            ..Sent::default()
        }
    }
}

impl Request {
    fn sent(&self) -> Sent {
        let mut sent = match (&self.publish, &self.gateway, &self.cloud, &self.literal) {
            (Some(call), ..) | (_, Some(call), ..) => call.sent(),
            (_, _, Some(call), _) => call.sent(),
            (.., Some(literal)) => Sent {
                method: literal.method.clone(),
                target: match &*literal.raw_query {
                    "" => literal.path.clone(),
                    query => format!("{}?{query}", literal.path),
                },
                headers: literal.headers.clone(),
                body: literal.body.clone().into_bytes(),
                ..Sent::default()
            },
            _ => panic!("no request"),
        };
        if let Some(path) = &self.path {
            sent.target.clone_from(path);
        }
        if let Some(method) = &self.method {
            sent.method.clone_from(method);
        }
        if let Some(body) = &self.body {
            sent.body = body.clone().into_bytes();
        }
        sent
    }
}

fn answered(body: String) -> Answered {
    Answered {
        status: 200,
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body,
    }
}

/// The cloud's and the gateway's shape of an answer.
fn response(mut fields: Map<String, Value>) -> Answered {
    fields.insert("RequestId".to_owned(), json!("{request-id}"));
    answered(written(&json!({"Response": fields})))
}

fn refused(code: &str, message: &str) -> Answered {
    let mut fields = Map::new();
    let error = json!({"Code": code, "Message": message});
    fields.insert("Error".to_owned(), error);
    response(fields)
}

/// The answer of an error of the table.
fn error(errors: &Errors, name: &str, about_: &[&str]) -> Answered {
    let row = &errors[name];
    let about_: Vec<String> = about_.iter().map(|one| (*one).to_owned()).collect();
    refused(&row.code, &about(&row.message, &about_))
}

/// The older registration's shape of an answer.
fn legacy(mut fields: Map<String, Value>) -> Answered {
    fields.insert("requestId".to_owned(), json!("{request-id}"));
    answered(written(&Value::Object(fields)))
}

fn config(settings: &Value, cloud: &Value) -> Config {
    let mut config = Config::free_ports();
    if !settings.is_null() {
        config.tencent_iot = serde_json::from_value(settings.clone()).unwrap();
    }
    if !cloud.is_null() {
        config.tencent_cloud = serde_json::from_value(cloud.clone()).unwrap();
    }
    config
}

/// An exchange at the usual time, with the usual settings.
fn exchange(name: String, request: Sent, answer: Answered, code: Code) -> Exchange {
    Exchange {
        name,
        config: config(&Value::Null, &Value::Null),
        clock: CLOCK.parse().unwrap(),
        before: Vec::new(),
        request,
        answer,
        published: Vec::new(),
        code,
        reason: None,
        claims: None,
    }
}

impl Row {
    fn exchange(&self, errors: &Errors) -> Exchange {
        let mut code = Code::Some;
        let answer = if let Some(name) = &self.error {
            let row = &errors[name];
            refused(&row.code, &about(&row.message, &self.about))
        } else if let Some(name) = &self.legacy_error {
            let legacy_of = errors[name].legacy.clone();
            let (code, message) = legacy_of.unwrap_or((1001, "Invalid parameter".to_owned()));
            legacy(object(
                &json!({"code": code, "message": message}).to_string(),
            ))
        } else if let (Some(code), Some(message)) = (&self.code, &self.message) {
            refused(code, message)
        } else {
            code = Code::None;
            match (&self.answer, &self.legacy_answer) {
                (_, Some(fields)) => legacy(object(fields)),
                (fields, None) => response(object(fields.as_deref().unwrap_or("{}"))),
            }
        };
        let before = self
            .before
            .iter()
            .flat_map(|request| std::iter::repeat_n(request.sent(), request.repeat));
        Exchange {
            config: config(&self.settings, &self.cloud),
            clock: self.clock.unwrap_or(CLOCK.parse().unwrap()),
            before: before.collect(),
            published: self.published.clone(),
            reason: self.reason.clone(),
            ..exchange(self.name.clone(), self.request.sent(), answer, code)
        }
    }
}

/// One test for each exchange, and one for what they cover.
pub(crate) fn trials() -> Vec<Trial> {
    let errors: Errors = crate::table("tencent-iot/errors.toml");
    let rows: Vec<Row> = rows::read(FOLDER, &FILES);
    let mut seen: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| [row.error.clone(), row.legacy_error.clone()])
        .flatten()
        .collect();
    let mut exchanges: Vec<Exchange> = rows.iter().map(|row| row.exchange(&errors)).collect();
    exchanges.extend(derived::exchanges(&errors, &mut seen));
    exchanges.extend(recordings::exchanges(&errors));
    let requests: Vec<Sent> = exchanges.iter().map(|one| one.request.clone()).collect();
    let site = Site::plain(Surface::TencentIot);
    let mut trials: Vec<Trial> = exchanges
        .into_iter()
        .map(|exchange| trial(FOLDER, site, exchange))
        .collect();
    let name = "tencent-iot::no_mutilated_request_is_an_internal_error";
    trials.push(Trial::test(name, move || mutilated::walk(&requests)));
    let name = "tencent-iot::every_error_has_an_exchange_and_all_is_described";
    trials.push(Trial::test(name, move || {
        covered(&errors, &rows, &seen)?;
        described::compare(&errors, &rows)
    }));
    trials
}

fn covered(errors: &Errors, rows: &[Row], seen: &BTreeSet<String>) -> Result<(), Failed> {
    for (name, row) in errors {
        let known = seen.contains(name) || ELSEWHERE.contains(&&**name);
        if !known || row.source.is_empty() {
            return Err(format!("{name}: no exchange or no source").into());
        }
    }
    // An answer that no error's row states says itself where it is from.
    let unsure = |row: &&Row| row.error.is_none() && row.source.is_none();
    match rows.iter().find(unsure) {
        Some(row) => Err(format!("{}: no source", row.name).into()),
        None => Ok(()),
    }
}
