//! TDMQ's exchanges, from the tables in `fixtures/tencent-tdmq`: `errors.toml` says how each error
//! is answered, the files of `[[exchange]]` rows hold calls and answers.
//!
//! A row's `request` is one of: `data`, a call of the data plane with the seeded user's Basic
//! credentials; `cloud`, an action of the cloud API, signed with TC3, on the seeded instance;
//! `literal`, a request as it is sent.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use mqttstack::config::Config;
use mqttstack_base::exchange::{Malformed, Surface};
use mqttstack_tencent_tdmq::{ACTIONS, Error, TencentTdmq};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::exchange::{Answered, Code, Exchange, Sent, Site, Standing};
use crate::handed;
use crate::rows::{self, object, written};
use crate::sign::Tc3;
use crate::trial;

const CLOCK: &str = "2023-11-14T22:13:20Z";
const NOW: i64 = 1_700_000_000;
const HOST: &str = "127.0.0.1:21100";
const BASIC: (&str, &str) = ("Authorization", "Basic dXNlcjA6c2VjcmV0MA==");
const FOLDER: &str = "tencent-tdmq";
const FILES: [&str; 10] = [
    "publish",
    "parameters",
    "clients_and_routes",
    "users",
    "policies",
    "topics",
    "messages",
    "instances",
    "mqtt_clients",
    "authenticators",
];

/// Errors that need a client certificate (`tests/tencent_tdmq/certificates.rs`) or an MQTT client
/// (`keep_alive.rs`, `subscriptions.rs` there).
const ELSEWHERE: [&str; 4] = [
    "Certificate",
    "NoKeepAlive",
    "NotSubscribed",
    "SubscriptionRefused",
];

/// A row of `errors.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorRow {
    status: Option<u16>,
    journal: Option<String>,
    asks: Option<String>,
    code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    request: Request,
    #[serde(default)]
    before: Vec<Request>,
    #[serde(default)]
    settings: Value,
    /// A row of `errors.toml`, the text of the refusal, and what differs of the row.
    error: Option<String>,
    text: Option<String>,
    status: Option<u16>,
    journal: Option<String>,
    code: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The fields of the cloud's answer.
    answer: Option<String>,
    /// A whole body of the data plane.
    plain: Option<String>,
    #[serde(default)]
    published: Vec<Value>,
    /// Without it the journal must say the text of the refusal.
    reason: Option<String>,
    #[serde(rename = "standing")]
    _standing: Option<Standing>,
    #[serde(rename = "source")]
    _source: Option<String>,
    #[serde(rename = "checked")]
    _checked: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    data: Option<Data>,
    cloud: Option<Cloud>,
    literal: Option<Literal>,
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
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// A call of the data plane.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    path: String,
    #[serde(default)]
    query: String,
    /// In the place of the Basic credentials, and beside them.
    headers: Option<Vec<(String, String)>>,
    #[serde(default)]
    more: Vec<(String, String)>,
    #[serde(default)]
    anonymous: bool,
    #[serde(default = "hello")]
    body: String,
    #[serde(default = "post")]
    method: String,
    version: Option<String>,
    malformed: Option<String>,
}

fn hello() -> String {
    "hello".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

/// A call of the cloud API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cloud {
    action: String,
    #[serde(default)]
    fields: Map<String, Value>,
    raw: Option<String>,
    #[serde(default)]
    no_instance: bool,
    version: Option<String>,
    key: Option<String>,
    timestamp: Option<i64>,
    region: Option<String>,
    #[serde(default)]
    without: Vec<String>,
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

impl Data {
    fn sent(&self) -> Sent {
        let mut headers = owned(&[("Host", "mqtt.cloud.tencent.com")]);
        match &self.headers {
            Some(fields) => headers.extend(fields.clone()),
            None if self.anonymous => (),
            None => headers.extend(owned(&[BASIC])),
        }
        headers.extend(self.more.clone());
        Sent {
            method: self.method.clone(),
            target: match &*self.query {
                "" => self.path.clone(),
                query => format!("{}?{query}", self.path),
            },
            headers,
            body: self.body.clone().into_bytes(),
            version: self.version.as_ref().map(|_| "1.0"),
            ..Sent::default()
        }
    }
}

impl Cloud {
    fn sent(&self) -> Sent {
        let mut fields = Map::new();
        if !self.no_instance {
            fields.insert("InstanceId".to_owned(), json!("mqtt-test0001"));
        }
        fields.extend(self.fields.clone());
        let body = match &self.raw {
            Some(raw) => raw.clone(),
            None => Value::Object(fields).to_string(),
        };
        let timestamp = self.timestamp.unwrap_or(NOW);
        let signer = Tc3 {
            id: "AKIDEXAMPLE0000000000000000000000000",
            key: (self.key.as_deref()).unwrap_or("SecretKeyExample0000000000000000"),
            host: HOST,
            service: "mqtt",
            method: "POST",
            query: "",
            content_type: "application/json",
            timestamp,
        };
        let headers = owned(&[
            ("Content-Type", "application/json"),
            ("Host", HOST),
            ("X-TC-Action", &self.action),
            ("X-TC-Timestamp", &timestamp.to_string()),
            (
                "X-TC-Version",
                self.version.as_deref().unwrap_or("2024-05-16"),
            ),
            (
                "X-TC-Region",
                self.region.as_deref().unwrap_or("ap-guangzhou"),
            ),
            ("Authorization", &signer.authorization(&body)),
        ]);
        let headers = headers
            .into_iter()
            .filter(|(name, _)| !self.without.contains(name));
        Sent {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            headers: headers.collect(),
            body: body.into_bytes(),
            ..Sent::default()
        }
    }
}

impl Request {
    fn sent(&self) -> Sent {
        match (&self.data, &self.cloud, &self.literal) {
            (Some(call), ..) => call.sent(),
            (_, Some(call), _) => call.sent(),
            (.., Some(literal)) => Sent {
                method: literal.method.clone(),
                target: literal.path.clone(),
                headers: literal.headers.clone(),
                body: literal.body.clone().into_bytes(),
                ..Sent::default()
            },
            _ => panic!("no request"),
        }
    }

    fn malformed(&self) -> Option<Malformed> {
        let name = self.data.as_ref()?.malformed.as_deref()?;
        Some(match name {
            "ContentLength" => Malformed::ContentLength,
            "BodyTooLarge" => Malformed::BodyTooLarge { limit: 5 },
            "BodyTimeout" => Malformed::BodyTimeout,
            "TargetTooLong" => Malformed::TargetTooLong { limit: 5 },
            other => panic!("no Malformed::{other} here"),
        })
    }
}

type Errors = BTreeMap<String, ErrorRow>;

impl Row {
    /// The answer, and the code that the journal gives it.
    fn answer(&self, errors: &Errors) -> (Answered, Code) {
        let json = [("Content-Type", "application/json")];
        if let Some(text) = &self.text {
            let name = self.error.as_deref().unwrap_or_default();
            let row = errors.get(name).cloned().unwrap_or_default();
            if self.request.data.is_none() {
                let code = self.code.clone().or(row.code).unwrap();
                let body = json!({"Response": {
                    "Error": {"Code": code, "Message": text}, "RequestId": "{request-id}",
                }});
                let answer = answered(200, owned(&json), body.to_string());
                return (answer, Code::Is(row.journal.unwrap_or(code)));
            }
            let mut headers = self.headers.clone();
            if let Some(challenge) = &row.asks {
                headers.extend(owned(&[("WWW-Authenticate", challenge)]));
            }
            headers.extend(owned(&[("Content-Type", "text/plain; charset=utf-8")]));
            let status = self.status.or(row.status).unwrap();
            let bodiless = self
                .request
                .data
                .as_ref()
                .is_some_and(|call| call.method == "HEAD");
            let body = if bodiless {
                String::new()
            } else {
                format!("{text}\n")
            };
            let code = self.journal.clone().or(row.journal).unwrap();
            return (answered(status, headers, body), Code::Is(code));
        }
        let answer = match (&self.answer, &self.plain) {
            (Some(fields), _) => {
                let mut fields = object(fields);
                fields.insert("RequestId".to_owned(), json!("{request-id}"));
                answered(200, owned(&json), written(&json!({"Response": fields})))
            }
            (None, Some(body)) => answered(200, owned(&json), body.clone()),
            (None, None) => answered(200, owned(&[("X-Message-Id", "{MsgId}")]), String::new()),
        };
        (answer, Code::None)
    }

    /// Whether the request is one of HTTP/1.0, after which the connection ends.
    fn ends(&self) -> bool {
        let data = self.request.data.as_ref();
        data.is_some_and(|call| call.version.is_some())
    }

    fn exchange(&self, errors: &Errors) -> Exchange {
        let (mut answer, code) = self.answer(errors);
        if self.ends() {
            answer.headers.extend(owned(&[("Connection", "close")]));
        }
        let mut config = Config::free_ports();
        if !self.settings.is_null() {
            config.tencent_tdmq = serde_json::from_value(self.settings.clone()).unwrap();
        }
        let before = self.before.iter();
        // What the cloud says of a signature is not what the journal says.
        let by_door = self.error.as_deref() == Some("FrontDoor");
        let text = self.text.clone().filter(|_| !by_door);
        let published = self.published.iter().map(|given| {
            let mut message = json!({
                "id": "{MsgId}", "payload": "hello", "qos": 1, "retain": false,
            });
            for (name, value) in given.as_object().into_iter().flatten() {
                message[name] = value.clone();
            }
            message
        });
        Exchange {
            name: self.name.clone(),
            config,
            clock: CLOCK.parse().unwrap(),
            before: before
                .flat_map(|one| std::iter::repeat_n(one.sent(), one.repeat))
                .collect(),
            request: self.request.sent(),
            answer,
            published: published.collect(),
            code,
            reason: self.reason.clone().or(text),
            claims: None,
        }
    }
}

fn answered(status: u16, headers: Vec<(String, String)>, body: String) -> Answered {
    Answered {
        status,
        headers,
        body,
    }
}

/// One test for each exchange, and one for what they cover.
pub(crate) fn trials() -> Vec<Trial> {
    let errors: Errors = crate::table("tencent-tdmq/errors.toml");
    let rows: Vec<Row> = rows::read(FOLDER, &FILES);
    let site = Site::plain(Surface::TencentTdmq);
    let mut trials = Vec::new();
    for row in &rows {
        let exchange = row.exchange(&errors);
        match row.request.malformed() {
            None => trials.push(trial(FOLDER, site, exchange)),
            Some(problem) => {
                let name = format!("{FOLDER}::{}", row.name);
                trials.push(Trial::test(name, move || handed_over(exchange, problem)));
            }
        }
    }
    let seen: BTreeSet<String> = rows.into_iter().filter_map(|row| row.error).collect();
    trials.push(Trial::test(
        "tencent-tdmq::every_error_has_an_exchange",
        move || covered(&seen),
    ));
    trials.push(Trial::test(
        "tencent-tdmq::the_description_lists_every_action",
        described,
    ));
    trials
}

/// Bytes that are no HTTP request, as the HTTP loop hands them over.
fn handed_over(exchange: Exchange, problem: Malformed) -> Result<(), Failed> {
    let vendor = TencentTdmq::new(exchange.config.tencent_tdmq, exchange.config.tencent_cloud)?;
    let request = handed::request(exchange.request, Some(problem));
    let reason = exchange.reason.as_deref();
    let at = (&request, exchange.clock);
    handed::walk(&vendor, at, &exchange.answer, reason, |_, _| {
        BTreeMap::new()
    })
}

/// Every error of the vendor has an exchange here, or a test elsewhere.
fn covered(seen: &BTreeSet<String>) -> Result<(), Failed> {
    let name = |error: &Error| -> String {
        let text = format!("{error:?}");
        text.chars().take_while(|c| c.is_alphanumeric()).collect()
    };
    let wanted: BTreeSet<String> = Error::all().iter().map(name).collect();
    let elsewhere = BTreeSet::from(ELSEWHERE.map(str::to_owned));
    let here = &wanted - &elsewhere;
    if *seen == here {
        Ok(())
    } else {
        Err(format!("expected {here:?}, got {seen:?}").into())
    }
}

fn described() -> Result<(), Failed> {
    let description = include_str!("../../openapi/tencent-tdmq.yaml");
    for action in ACTIONS {
        let line = format!("              - {}\n", action.name());
        if !description.contains(&line) {
            return Err(format!("{} is not described", action.name()).into());
        }
    }
    Ok(())
}
