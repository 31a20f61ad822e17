//! The contract with Tencent IoT Hub: every file `fixtures/tencent-iot/<operation>__<case>.json`
//! is one exchange and one test name, walked through `pipeline::run` and compared whole. The
//! files are written by `fixtures/tencent-iot/generate.py`, which signs by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use libtest_mimic::{Arguments, Failed, Trial};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Head, Headers, Request, Scheme, Version};
use mqttstack_base::ids::Ids;
use mqttstack_broker::Broker;
use mqttstack_pipeline::App;
use mqttstack_pipeline::Quotas;
use mqttstack_pipeline::journal::{Draft, Journal};
use mqttstack_pipeline::{self as pipeline, REQUEST_ID};
use mqttstack_tencent_iot_hub::TencentIot;
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows that no fixture can reach: they need an MQTT device (`tests/api/tencent_iot.rs`) or a
/// request that is no HTTP (`vendor::tencent_iot::error` tests `From<Refusal>`).
const ELSEWHERE: [&str; 4] = [
    "RrpcTimeout",
    "DeviceNoSubscription",
    "Unreadable",
    "Internal",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    source: String,
    checked: String,
    standing: String,
    given: Given,
    request: Exchanged,
    answer: Answered,
    published: Vec<Value>,
    error: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    clock: jiff::Timestamp,
    seed: u64,
    #[serde(default = "empty")]
    settings: Value,
    #[serde(default = "empty")]
    cloud: Value,
    #[serde(default)]
    before: Vec<Exchanged>,
}

fn empty() -> Value {
    json!({})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchanged {
    method: String,
    path: String,
    raw_query: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Exchanged {
    fn request(&self) -> Request {
        let target = match &*self.raw_query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (ByteString::from(&**name), Bytes::from(value.clone())));
        let loopback = ([127, 0, 0, 1], 4580).into();
        Request {
            head: Head {
                method: self.method.as_str().into(),
                target: target.into(),
                version: Version::Http11,
                headers: Headers(headers.collect()),
                size: 0,
            },
            body: Bytes::from(self.body.clone()),
            malformed: None,
            peer: loopback,
            local: loopback,
            scheme: Scheme::Http,
            certificates: [].into(),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tencent-iot")
}

fn names() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".json").map(ToOwned::to_owned))
        .filter(|name| name.contains("__"))
        .collect();
    names.sort();
    names
}

fn read(name: &str) -> Result<Fixture, Failed> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json")))?;
    Ok(serde_json::from_str(&text)?)
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = names()
        .into_iter()
        .map(|name| Trial::test(name.clone(), move || walk(&read(&name)?)))
        .collect();
    assert!(!trials.is_empty(), "no fixture");
    trials.push(Trial::test("every_error_row_has_an_exchange", rows));
    trials.push(Trial::test(
        "the_openapi_description_has_every_route_action_parameter_and_code",
        description,
    ));
    trials.push(Trial::test(
        "no_mutilated_request_is_an_internal_error",
        || runtime()?.block_on(mutilated()),
    ));
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every variant of the vendor's error is what some exchange ends in.
fn rows() -> Result<(), Failed> {
    let mut seen: BTreeSet<String> = ELSEWHERE.map(ToOwned::to_owned).into();
    for name in names() {
        seen.extend(read(&name)?.error);
    }
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/tencent-iot-hub/src/error.rs"
    );
    let text = std::fs::read_to_string(source)?;
    let rows: BTreeSet<String> = text
        .lines()
        .filter(|line| line.contains("=> row(") || line.contains("=> error.row()"))
        .filter_map(|line| line.trim().strip_prefix("Self::"))
        .map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect())
        .collect();
    let without: Vec<_> = rows.difference(&seen).collect();
    let unknown: Vec<_> = seen.difference(&rows).collect();
    if rows.is_empty() || !without.is_empty() || !unknown.is_empty() {
        return Err(format!("rows without an exchange {without:?}, unknown {unknown:?}").into());
    }
    Ok(())
}

/// What the program and the exchanges know is in `openapi/tencent-iot.yaml`, and nothing else.
fn description() -> Result<(), Failed> {
    let text = include_str!("../../openapi/tencent-iot.yaml");
    let described: Value = serde_saphyr::from_str(text)?;
    let at = |pointer: &str| described.pointer(pointer).unwrap_or(&Value::Null).clone();
    let names = |list: &Value| -> BTreeSet<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(ToOwned::to_owned))
            .collect()
    };
    let gateway = include_str!("../../crates/tencent-iot-hub/src/gateway.rs");
    let mut paths = quoted(gateway, "=> \"/");
    paths.extend(["register/dev".to_owned(), String::new()]);
    for path in paths {
        if at(&format!("/paths/~1{}/post", path.replace('/', "~1"))).is_null() {
            return Err(format!("/{path} is not described").into());
        }
    }
    let table = include_str!("../../crates/tencent-iot-hub/src/cloud/mod.rs");
    let actions: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.split_once("entry(Action::")?.1.split('"').nth(1))
        .map(ToOwned::to_owned)
        .collect();
    let listed = at("/components/parameters/X-TC-Action/schema/enum");
    same("actions", &json!(actions), &json!(names(&listed)))?;
    let codes: BTreeSet<String> = [
        include_str!("../../crates/tencent-iot-hub/src/error.rs"),
        include_str!("../../crates/tencent-cloud-api/src/error.rs"),
    ]
    .iter()
    .flat_map(|source| quoted(source, "=> row(\""))
    .collect();
    let listed = at("/components/schemas/Code/enum");
    same("codes", &json!(codes), &json!(names(&listed)))?;
    for name in self::names() {
        let Some((action, case)) = name.split_once("__") else {
            continue;
        };
        let schema = at(&format!("/components/schemas/Action.{action}"));
        let known = if let Some(parameter) = case.strip_prefix("without-") {
            names(&schema["required"]).contains(parameter)
        } else if let Some(parameter) = case.strip_prefix("type-of-") {
            !schema["properties"][parameter].is_null()
        } else {
            true
        };
        if actions.contains(action) && !known {
            return Err(format!("{name}: the parameter is not described").into());
        }
    }
    Ok(())
}

/// What stands between this opening and the next quotation mark, wherever it does.
fn quoted(source: &str, opening: &str) -> BTreeSet<String> {
    source
        .split(opening)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(ToOwned::to_owned)
        .collect()
}

fn walk(fixture: &Fixture) -> Result<(), Failed> {
    let known = ["documented", "captured", "assumed"];
    if !known.contains(&&*fixture.standing)
        || fixture.source.is_empty()
        || fixture.checked.is_empty()
    {
        return Err("standing, source or date is missing".into());
    }
    runtime()?.block_on(exchange(fixture))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}

/// Bodies cut short, with a byte changed, with a value exchanged: each gets an answer of the
/// vendor's, and none of them an internal error. Nothing is signed, so that parsing is reached.
async fn mutilated() -> Result<(), Failed> {
    let first = names().into_iter().next().ok_or("no fixture")?;
    let app = app(&read(&first)?.given).await;
    let off = json!({"auth": "off"});
    let vendor = TencentIot::new(
        serde_json::from_value(off.clone())?,
        serde_json::from_value(off)?,
    )?;
    for name in names() {
        let request = read(&name)?.request.request();
        for body in mutilations(&request.body) {
            let mut request = request.clone();
            request.body = body.into();
            let answer = pipeline::run(&app, &vendor, &request).await;
            let text = String::from_utf8(answer.body.bytes().to_vec())?;
            let told: Value = serde_json::from_str(&text)?;
            let code = &told["Response"]["Error"]["Code"];
            if answer.status != 200 || code == "InternalError" || told["code"] == 1000 {
                return Err(format!("{name}: {:?} got {text}", request.body).into());
            }
        }
    }
    app.broker.stop().await;
    Ok(())
}

fn mutilations(body: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![b"null".to_vec(), vec![b'['; 100_000], b"\xff\xfe".to_vec()];
    for at in (0..body.len().min(200)).step_by(7) {
        found.push(body[..at].to_vec());
        for byte in [b'"', 0, 0xFF, b'{'] {
            let mut changed = body.to_vec();
            changed[at] = byte;
            found.push(changed);
        }
    }
    let values = [
        "null",
        "-1",
        "1e400",
        "[]",
        "{}",
        "true",
        "\"\"",
        "\"\\u0000\"",
    ];
    if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
        for name in fields.keys() {
            for value in values {
                let members: Vec<String> = fields
                    .iter()
                    .map(|(key, old)| {
                        let new = if key == name {
                            value.to_owned()
                        } else {
                            old.to_string()
                        };
                        format!("{key:?}:{new}")
                    })
                    .collect();
                found.push(format!("{{{}}}", members.join(",")).into());
            }
        }
    }
    found
}

async fn app(given: &Given) -> App {
    let clock = Clock::frozen(given.clock);
    let ids = Ids::new(Some(given.seed));
    let journal = Journal::new(&mqttstack_pipeline::journal::Settings::default());
    let recorder = journal.clone();
    let broker = Broker::start(
        mqttstack_broker::Settings::default(),
        clock.clone(),
        ids.clone(),
        Arc::new(move |message| recorder.record(message)),
    )
    .await;
    App {
        quotas: Quotas::new(clock.clone()),
        clock,
        ids,
        journal,
        broker,
    }
}

async fn exchange(fixture: &Fixture) -> Result<(), Failed> {
    let given = &fixture.given;
    let app = app(given).await;
    let vendor = TencentIot::new(
        serde_json::from_value(given.settings.clone())?,
        serde_json::from_value(given.cloud.clone())?,
    )?;
    for before in &given.before {
        let answer = pipeline::run(&app, &vendor, &before.request()).await;
        let body = answer.body.bytes();
        if String::from_utf8_lossy(&body).contains("\"Error\"") {
            return Err(format!("a request before was refused: {body:?}").into());
        }
    }
    let earlier = app.journal.messages().last();
    let answer = pipeline::run(&app, &vendor, &fixture.request.request()).await;
    app.broker.stop().await;
    let entries = app.journal.requests().since(0);
    let (_, entry) = entries.last().ok_or("nothing in the journal")?;
    let outcome = entry.outcome().ok_or("the entry is open")?;
    same(
        "status",
        &json!(fixture.answer.status),
        &json!(answer.status),
    )?;
    // The emulator's own field is on every answer, behind the vendor's.
    let (own, headers) = answer.headers.split_last().ok_or("no header field")?;
    same("request id", &json!((REQUEST_ID, &entry.id)), &json!(own))?;
    same("headers", &json!(fixture.answer.headers), &json!(headers))?;
    let wanted = fixture
        .answer
        .body
        .replace("{RequestId}", &entry.id.to_ascii_lowercase());
    let body = String::from_utf8(answer.body.bytes().to_vec())?;
    if !fits(&wanted, &body) {
        same("body", &json!(wanted), &json!(body))?;
    }
    let published: Vec<Value> = app
        .journal
        .messages()
        .since(earlier)
        .iter()
        .map(|(_, message)| {
            json!({
                "topic": message.topic,
                "payload_base64": base64(&message.payload),
                "qos": message.qos.level(),
            })
        })
        .collect();
    same("published", &json!(fixture.published), &json!(published))?;
    check_reasons(fixture, &outcome.draft)
}

fn check_reasons(fixture: &Fixture, draft: &Draft) -> Result<(), Failed> {
    let reasons = draft.reasons.join("\n");
    if fixture.error.is_some() != draft.error_code.is_some() {
        return Err(format!("error code in the journal: {:?}", draft.error_code).into());
    }
    if fixture.error.is_some() && reasons.is_empty() {
        return Err("the journal gives no reason".into());
    }
    let reason = fixture.reason.as_deref().unwrap_or("");
    if !reasons.contains(reason) {
        return Err(format!("the journal does not say {reason:?} but {reasons:?}").into());
    }
    for secret in [
        "PRODUCT_SECRETKEY",
        "SecretKeyExample0000000000000000",
        "MDEyMzQ1Njc4OWFiY2RlZg==",
    ] {
        if reasons.contains(secret) {
            return Err("a secret in the journal's reasons".into());
        }
    }
    Ok(())
}

/// Whether a text is as wanted, where `{*}` stands for what is drawn at the time: characters
/// that do not end a value.
fn fits(wanted: &str, seen: &str) -> bool {
    let Some((before, after)) = wanted.split_once("{*}") else {
        return wanted == seen;
    };
    let Some(rest) = seen.strip_prefix(before) else {
        return false;
    };
    let end = rest.find(['"', ',', '}']).unwrap_or(rest.len());
    end > 0 && fits(after, &rest[end..])
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn same(what: &str, wanted: &Value, seen: &Value) -> Result<(), Failed> {
    if wanted == seen {
        return Ok(());
    }
    Err(format!("{what} differs\nwanted: {wanted:#}\nseen:   {seen:#}").into())
}
