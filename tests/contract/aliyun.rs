//! Aliyun's exchanges: derived from `errors.toml`, `actions.toml` and `refusals.toml` in
//! `fixtures/aliyun`, the calls of SendMessage in `send_message.rs`, its wrong signatures in
//! `mistakes.rs`, the SDKs' recordings in `recordings.rs`, errors that no request causes in
//! `injected.rs`. `sign.rs` signs.

mod injected;
mod mistakes;
mod recordings;
mod send_message;
mod sign;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::exchange::{Answered, Code, Exchange, Sent, Site, Standing};
use crate::sign::base64;
use crate::{table, trial};
use sign::{CLOCK, HOST, INSTANCE, V1, V3, set};

/// A row of `errors.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    status: u16,
    /// The status since the vendor's notice.
    changed: Option<u16>,
    code: String,
    message: String,
    retry_after_s: Option<u32>,
    #[serde(rename = "standing")]
    _standing: Standing,
    source: String,
}

/// The tables.
struct Tables {
    errors: BTreeMap<String, Row>,
    actions: BTreeMap<String, Action>,
    refusals: Vec<Refusal>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    methods: Methods,
    #[serde(default = "yes")]
    emulated: bool,
    /// Version 1 sends its parameters in a form.
    #[serde(default)]
    in_body: bool,
    #[serde(default)]
    without_instance: bool,
    #[serde(default)]
    needs: Map<String, Value>,
    with: Option<Map<String, Value>>,
    /// JSON, beside the `RequestId`.
    #[serde(default)]
    answer: String,
    #[serde(default)]
    before: Vec<Before>,
    #[serde(default)]
    settings: Value,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Methods {
    Get,
    Post,
    Both,
}

impl Methods {
    fn first(self) -> &'static str {
        if self == Self::Get { "GET" } else { "POST" }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    action: String,
    #[serde(default)]
    with: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    action: String,
    case: String,
    #[serde(default)]
    with: Map<String, Value>,
    error: String,
    /// What stands for the `{}` of the error's row.
    #[serde(default)]
    parameter: String,
    #[serde(default)]
    before: Vec<Before>,
    #[serde(default)]
    settings: Value,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Refusals {
    refusal: Vec<Refusal>,
}

impl Tables {
    fn read() -> Self {
        Self {
            errors: table("aliyun/errors.toml"),
            actions: table("aliyun/actions.toml"),
            refusals: table::<Refusals>("aliyun/refusals.toml").refusal,
        }
    }

    /// The answer of this error in this format.
    fn refused(&self, format: &str, error: &str, about: &str) -> Answered {
        let row = &self.errors[error];
        Reply::new(format).refused(row, row.status, about)
    }
}

/// An answer as the vendor's gateway writes it.
struct Reply<'a> {
    format: &'a str,
    date: &'a str,
    host: &'a str,
}

impl<'a> Reply<'a> {
    fn new(format: &'a str) -> Self {
        Self {
            format,
            date: "Sat, 21 Nov 2026 22:51:00 GMT",
            host: HOST,
        }
    }

    fn answer(&self, status: u16, root: &str, fields: &Map<String, Value>) -> Answered {
        let (kind, body) = if self.format == "json" {
            ("application/json;charset=utf-8", json!(fields).to_string())
        } else {
            let declaration = "<?xml version='1.0' encoding='UTF-8'?>";
            let body = format!("{declaration}{}", xml(root, &json!(fields)));
            ("text/xml;charset=utf-8", body)
        };
        let headers = [
            ("Content-Type", kind),
            ("Date", self.date),
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", "*"),
            ("x-acs-request-id", "{RequestId}"),
            ("x-acs-trace-id", "{TraceId}"),
            ("ETag", "{ETag}"),
        ];
        let owned = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Answered {
            status,
            headers: owned.into(),
            body,
        }
    }

    fn done(&self, action: &str, fields: &Value) -> Answered {
        let mut all = Map::new();
        all.insert("RequestId".to_owned(), json!("{RequestId}"));
        all.extend(fields.as_object().cloned().unwrap_or_default());
        self.answer(200, &format!("{action}Response"), &all)
    }

    fn sent(&self) -> Answered {
        self.done("SendMessage", &json!({"MsgId": "{MsgId}"}))
    }

    fn refused(&self, row: &Row, status: u16, about: &str) -> Answered {
        self.refused_as(
            row,
            status,
            &row.code.replace("{}", about),
            &row.message.replace("{}", about),
        )
    }

    fn refused_as(&self, row: &Row, status: u16, code: &str, message: &str) -> Answered {
        let link = format!(
            "https://api.aliyun.com/troubleshoot?q={code}&product=OnsMqtt&requestId={{RequestId}}"
        );
        let fields = json!({
            "RequestId": "{RequestId}",
            "HostId": self.host,
            "Code": code,
            "Message": message,
            "Recommend": link,
        });
        let nothing = Map::new();
        let fields = fields.as_object().unwrap_or(&nothing);
        let mut answer = self.answer(status, "Error", fields);
        if let Some(seconds) = row.retry_after_s {
            let field = ("x-acs-retry-after".to_owned(), seconds.to_string());
            answer.headers.push(field);
        }
        answer
    }
}

/// One element; a list is its items as siblings.
fn xml(name: &str, value: &Value) -> String {
    let text = match value {
        Value::Array(items) => return items.iter().map(|item| xml(name, item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| xml(name, value))
            .collect(),
        Value::String(text) if name == "Recommend" => format!("<![CDATA[{text}]]>"),
        Value::String(text) => text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;"),
        other => other.to_string(),
    };
    format!("<{name}>{text}</{name}>")
}

fn config(settings: &Value) -> Config {
    let mut config = Config::free_ports();
    if !settings.is_null() {
        config.aliyun = serde_json::from_value(settings.clone()).unwrap();
    }
    config
}

/// An exchange that publishes nothing and is not refused.
fn exchange(name: String, request: Sent, answer: Answered) -> Exchange {
    Exchange {
        name,
        config: config(&Value::Null),
        clock: CLOCK.parse().unwrap(),
        before: Vec::new(),
        request,
        answer,
        published: Vec::new(),
        code: Code::None,
        reason: None,
        claims: None,
    }
}

/// A call of an action: version 1 or 3, by this method.
fn call(
    tables: &Tables,
    (version, format, method): (u8, &str, &str),
    action: &str,
    parameters: &Map<String, Value>,
    nonce: &str,
) -> Sent {
    let row = &tables.actions[action];
    let mut all = Vec::new();
    if !row.without_instance {
        all.push(("InstanceId".to_owned(), INSTANCE.to_owned()));
    }
    for (name, value) in parameters {
        match value {
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    let text = item.as_str().unwrap_or_default().to_owned();
                    all.push((format!("{name}.{}", place + 1), text));
                }
            }
            Value::Bool(false) => set(&mut all, name, None),
            value => set(&mut all, name, value.as_str()),
        }
    }
    if version == 3 {
        let call = V3 {
            method: method.to_owned(),
            parameters: all,
            ..V3::new(format)
        };
        return call
            .field("x-acs-action", Some(action))
            .field("x-acs-signature-nonce", Some(nonce))
            .sent();
    }
    let mut call = V1 {
        method: method.to_owned(),
        in_form: row.in_body && method == "POST",
        ..V1::new(format)
    };
    for name in ["MqttTopic", "Payload", "InstanceId"] {
        set(&mut call.parameters, name, None);
    }
    call.parameters.extend(all);
    call.set("Action", action)
        .set("SignatureNonce", nonce)
        .sent()
}

const NONCE: &str = "ffffffffffffffffffffffffffffffff";

fn earlier(tables: &Tables, calls: &[Before]) -> Vec<Sent> {
    let call = |(place, before): (usize, &Before)| {
        let row = &tables.actions[&before.action];
        let mut parameters = row.needs.clone();
        parameters.extend(before.with.clone());
        let way = (3, "json", row.methods.first());
        let nonce = format!("before{place}");
        call(tables, way, &before.action, &parameters, &nonce)
    };
    calls.iter().enumerate().map(call).collect()
}

/// What the rows of the actions say.
fn actions(tables: &Tables) -> Vec<Exchange> {
    let mut all = Vec::new();
    for (name, row) in &tables.actions {
        if row.emulated {
            good(tables, name, row, &mut all);
            missing(tables, name, row, &mut all);
            all.extend(other_method(tables, name, row));
        } else {
            for (version, format) in [(1, "xml"), (3, "json")] {
                let way = (version, format, row.methods.first());
                let request = call(tables, way, name, &Map::new(), NONCE);
                let answer = tables.refused(format, "ApiNotSupport", "");
                all.push(Exchange {
                    code: Code::Some,
                    reason: Some(format!("does not emulate {name}")),
                    ..exchange(format!("{name}__not-emulated-{format}"), request, answer)
                });
            }
        }
    }
    all
}

/// A good call in each format, each version, each method.
fn good(tables: &Tables, name: &str, row: &Action, all: &mut Vec<Exchange>) {
    let parameters = row.with.as_ref().unwrap_or(&row.needs);
    let fields: Value = serde_json::from_str(&row.answer).unwrap();
    let methods: &[&str] = match row.methods {
        Methods::Get => &["GET"],
        Methods::Post => &["POST"],
        Methods::Both => &["POST", "GET"],
    };
    // By each method once in each version and in each format.
    for (version, format, method) in [
        (1, "xml", methods[0]),
        (3, "json", methods[0]),
        (1, "json", methods[methods.len() - 1]),
        (3, "xml", methods[methods.len() - 1]),
    ] {
        let request = call(tables, (version, format, method), name, parameters, NONCE);
        let answer = Reply::new(format).done(name, &fields);
        let case = format!("{name}__ok-{format}-v{version}-{}", method.to_lowercase());
        all.push(Exchange {
            config: config(&row.settings),
            before: earlier(tables, &row.before),
            ..exchange(case, request, answer)
        });
    }
}

/// Each parameter that must be there, left out.
fn missing(tables: &Tables, name: &str, row: &Action, all: &mut Vec<Exchange>) {
    if row.without_instance {
        return;
    }
    let instance = String::from("InstanceId");
    for parameter in row.needs.keys().chain([&instance]) {
        let mut left = row.needs.clone();
        left.insert(parameter.clone(), json!(false));
        let way = (3, "json", row.methods.first());
        let request = call(tables, way, name, &left, NONCE);
        let answer = tables.refused("json", "Missing", parameter);
        all.push(Exchange {
            code: Code::Some,
            ..exchange(format!("{name}__missing-{parameter}"), request, answer)
        });
    }
}

/// The method that an action does not take, where the emulator is told to refuse it.
fn other_method(tables: &Tables, name: &str, row: &Action) -> Option<Exchange> {
    let method = match row.methods {
        Methods::Get => "POST",
        Methods::Post => "GET",
        Methods::Both => return None,
    };
    let request = call(tables, (3, "json", method), name, &Map::new(), NONCE);
    let answer = tables.refused("json", "MethodUnsupported", "");
    let case = format!("{name}__{}-refused", method.to_lowercase());
    Some(Exchange {
        config: config(&json!({"allow_get": false})),
        code: Code::Some,
        reason: Some(format!("{name} does not take {method}")),
        ..exchange(case, request, answer)
    })
}

/// What the rows of the refusals say.
fn refusals(tables: &Tables) -> Vec<Exchange> {
    let mut all = Vec::new();
    for row in &tables.refusals {
        let action = &tables.actions[&row.action];
        let mut parameters = action.needs.clone();
        parameters.extend(row.with.clone());
        for (version, format) in [(1, "xml"), (3, "json")] {
            let way = (version, format, action.methods.first());
            let request = call(tables, way, &row.action, &parameters, NONCE);
            let answer = tables.refused(format, &row.error, &row.parameter);
            let case = format!("{}__{}-{format}", row.action, row.case);
            all.push(Exchange {
                config: config(&row.settings),
                before: earlier(tables, &row.before),
                code: Code::Some,
                reason: row.reason.clone(),
                ..exchange(case, request, answer)
            });
        }
    }
    all
}

/// The first digit of a body's length, half a hash of it in Base64, the last digit.
fn entity_tag(body: &str) -> String {
    let length = body.len().to_string();
    let hash = base64(&crate::sign::Hash::Sha256.of(body.as_bytes())[..16]);
    let hash = hash.trim_end_matches('=');
    [&length[..1], hash, &length[length.len() - 1..]].concat()
}

/// One test for each exchange, and one for what they cover.
pub(crate) fn trials() -> Vec<Trial> {
    let tables = Tables::read();
    let site = Site {
        learn: |answer, texts| drop(texts.insert("ETag".to_owned(), entity_tag(&answer.body))),
        ..Site::plain(Surface::Aliyun)
    };
    let mut exchanges = actions(&tables);
    exchanges.extend(refusals(&tables));
    exchanges.extend(send_message::exchanges(&tables));
    exchanges.extend(mistakes::exchanges(&tables));
    exchanges.extend(recordings::exchanges(&tables));
    let mut said: BTreeSet<(String, bool)> = exchanges
        .iter()
        .filter(|one| one.code != Code::None)
        .map(|one| (code_of(&one.answer.body), one.answer.body.starts_with('<')))
        .collect();
    let (injected, codes) = injected::trials(&tables);
    said.extend(codes);
    let mut trials: Vec<Trial> = exchanges
        .into_iter()
        .map(|exchange| trial("aliyun", site, exchange))
        .collect();
    trials.extend(injected);
    trials.push(Trial::test(
        "aliyun::every_error_is_said_in_xml_and_in_json",
        move || covered(&tables, &said),
    ));
    trials
}

/// The code in an error's body, in XML or in JSON.
fn code_of(body: &str) -> String {
    let after = |mark: &str| body.split_once(mark).map(|(_, rest)| rest);
    let rest = after("<Code>")
        .or_else(|| after("\"Code\":\""))
        .unwrap_or_default();
    rest.split(['<', '"']).next().unwrap_or_default().to_owned()
}

fn covered(tables: &Tables, said: &BTreeSet<(String, bool)>) -> Result<(), Failed> {
    for (error, row) in &tables.errors {
        if row.source.is_empty() {
            return Err(format!("{error} has no source").into());
        }
        let (start, end) = row.code.split_once("{}").unwrap_or((&row.code, ""));
        for in_xml in [true, false] {
            let fits = |(code, xml): &(String, bool)| {
                *xml == in_xml && code.starts_with(start) && code.ends_with(end)
            };
            if !said.iter().any(fits) {
                return Err(format!("nothing is answered {error} (XML: {in_xml})").into());
            }
        }
    }
    Ok(())
}

/// The folder of the recordings.
fn recorded() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/aliyun/recorded")
}
