//! Azure Event Grid's exchanges, from the tables in `fixtures/azure`: `errors.json` says how each
//! error is answered, the files of `[[exchange]]` rows hold calls and answers.
//!
//! A row's `request` is one of: `publish`, POST /mqtt/messages; `retained`, a read of a retained
//! message; `topic`, a call on the namespace topic `t1`; `identity`, a managed identity's token;
//! `token_request`, a token of Entra's; `sent`, whatever else. Where it stands, `<good>` is a token
//! of the issuer outside, signed by the tests (`sign.rs`) with `keys/outside.pem`, whose key set a
//! server of the tests publishes; `<token>` is the row's own `token`. Shared access signatures are
//! written out: they were made by a signer of their own. A token in an answer is verified with the
//! surface's key (`keys/own.pem`), and its claims are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use libtest_mimic::{Failed, Trial};
use mqttstack::config::Config;
use mqttstack_azure_event_grid::AzureEventGrid;
use mqttstack_base::exchange::Surface;
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey, LineEnding};
use rsa::signature::Verifier;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::exchange::{Answered, Code, Exchange, Sent, Site, Standing};
use crate::rows;
use crate::sign::{Hash, base64url, form_encoded, jwt};
use crate::{handed, trial};

const CLOCK: &str = "2026-11-21T22:51:00Z";
const NOW: i64 = 1_795_301_460;
const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const OBJECT: &str = "33333333-3333-3333-3333-333333333333";
const CALLER: &str = "44444444-4444-4444-4444-444444444444";
const RESOURCE: &str = "https://eventgrid.azure.net";
const ROLES: [&str; 3] = [
    "EventGrid TopicSpaces Publisher",
    "EventGrid TopicSpaces Subscriber",
    "EventGrid Data Contributor",
];
const FOLDER: &str = "azure";
const FILES: [&str; 5] = [
    "http_publish",
    "retained",
    "publish_events",
    "pull_delivery",
    "identity",
];

/// Errors that no exchange here can cause: they need a connection that goes wrong
/// (`tests/azure/connections.rs`), ten thousand messages (`tests/azure/rates.rs`), a slow
/// subscriber or an emulator that ends.
const ELSEWHERE: [&str; 11] = [
    "RetainedQuota",
    "Quota",
    "TargetTooLong",
    "HeadTooLarge",
    "HeadTimeout",
    "BodyTimeout",
    "Version",
    "Chunk",
    "Overloaded",
    "Unavailable",
    "Internal",
];

/// A row of `errors.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorRow {
    error: String,
    status: u16,
    code: String,
    #[serde(rename = "standing")]
    _standing: Standing,
}

type Errors = BTreeMap<String, ErrorRow>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    request: Request,
    #[serde(default)]
    before: Vec<Request>,
    /// Over the tests' signing key and the issuer outside.
    #[serde(default)]
    settings: Map<String, Value>,
    token: Option<Token>,
    /// A row of `errors.json`, and the message in the shape of: the data plane, Entra, the metadata
    /// service, App Service.
    error: Option<String>,
    text: Option<String>,
    entra: Option<String>,
    number: Option<u32>,
    metadata: Option<String>,
    app_service: Option<String>,
    /// The journal is not asked for a reason.
    #[serde(default)]
    unexplained: bool,
    /// A good answer: JSON, JSON that must not be stored, an answer with a token, anything.
    answer: Option<String>,
    given_out: Option<String>,
    token_answer: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// Whether the answer holds a token, and what its claims differ in from the usual ones.
    #[serde(default)]
    minted: bool,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    absent_claims: Vec<String>,
    #[serde(default)]
    published: Vec<Map<String, Value>>,
    reason: Option<String>,
    /// Handed over as the HTTP loop would, which refuses such a body by itself.
    #[serde(default)]
    handed_over: bool,
    #[serde(rename = "standing")]
    _standing: Option<Standing>,
    #[serde(rename = "source")]
    _source: Option<String>,
    /// Whether the request is one that an SDK was seen to send.
    #[serde(rename = "request_standing")]
    _request_standing: Option<Standing>,
}

/// A token of the issuer outside: what differs of a good one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Token {
    claims: Map<String, Value>,
    absent: Vec<String>,
    /// It has no other claims.
    only: bool,
    key: Option<String>,
    alg: Option<String>,
    without_key_id: bool,
}

impl Token {
    fn text(&self) -> String {
        let mut claims = Map::new();
        for (name, value) in [
            ("aud", json!(RESOURCE)),
            ("iss", json!("https://idp.example/")),
            ("iat", json!(NOW - 60)),
            ("nbf", json!(NOW - 60)),
            ("exp", json!(NOW + 3600)),
            ("oid", json!(CALLER)),
            ("sub", json!(CALLER)),
            ("tid", json!(TENANT)),
        ] {
            if !self.only && !self.absent.iter().any(|absent| absent == name) {
                claims.insert(name.to_owned(), value);
            }
        }
        claims.extend(self.claims.clone());
        let algorithm = self.alg.as_deref().unwrap_or("RS256");
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if !self.without_key_id {
            header["kid"] = json!("outside-1");
        }
        let claims = Value::Object(claims);
        let key = match self.key.as_deref() {
            Some("own") => OWN,
            _ => OUTSIDE,
        };
        let unsigned = || {
            let part = |value: &Value| base64url(value.to_string().as_bytes());
            format!("{}.{}", part(&header), part(&claims))
        };
        match algorithm {
            "none" => format!("{}.", unsigned()),
            // The key's public half as the secret, which a careless verifier takes.
            "HS256" => {
                let signed = unsigned();
                let code = Hash::Sha256.hmac(public(OUTSIDE).as_bytes(), signed.as_bytes());
                format!("{signed}.{}", base64url(&code))
            }
            _ => jwt(key, &header, &claims),
        }
    }
}

const OWN: &str = include_str!("../../fixtures/azure/keys/own.pem");
const OUTSIDE: &str = include_str!("../../fixtures/azure/keys/outside.pem");

fn public(pem: &str) -> String {
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(pem).unwrap();
    let public = key.to_public_key();
    public.to_public_key_pem(LineEnding::LF).unwrap()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    publish: Option<Call>,
    retained: Option<Call>,
    topic: Option<Call>,
    identity: Option<Call>,
    #[serde(rename = "token_request")]
    token: Option<BTreeMap<String, Value>>,
    sent: Option<Call>,
    /// In the place of what the call says.
    raw_query: Option<String>,
    #[serde(default)]
    after_s: i64,
    #[serde(default = "one")]
    repeat: usize,
}

fn one() -> usize {
    1
}

/// What differs of a good call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Call {
    method: Option<String>,
    path: Option<String>,
    /// The path behind that of the topic.
    rest: String,
    query: Option<String>,
    /// The api-version in the query.
    version: Option<String>,
    /// A header field in the place of the usual credentials; an empty list is none.
    auth: Option<Vec<String>>,
    headers: Option<Vec<(String, String)>>,
    /// The content type; an empty one is not sent.
    kind: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    /// How often the body is repeated.
    times: Option<usize>,
    /// A batch of as many equal events.
    events: Option<usize>,
}

const EVENT: &str = r#"{"id":"1","source":"/s","type":"t","specversion":"1.0"}"#;

impl Call {
    fn body(&self, usual: &str) -> Vec<u8> {
        if let Some(count) = self.events {
            return format!("[{}]", vec![EVENT; count].join(",")).into_bytes();
        }
        if let Some(text) = &self.body_base64 {
            return BASE64_STANDARD.decode(text).unwrap();
        }
        let body = self.body.as_deref().unwrap_or(usual);
        body.repeat(self.times.unwrap_or(1)).into_bytes()
    }

    /// A request with these usual parts.
    fn sent(
        &self,
        method: &str,
        path: String,
        query: &str,
        usual: Vec<(&str, String)>,
        body: Vec<u8>,
    ) -> Sent {
        let mut headers: Vec<(String, String)> = usual
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        headers.extend(self.headers.clone().unwrap_or_default());
        Sent {
            method: self.method.clone().unwrap_or_else(|| method.to_owned()),
            target: if query.is_empty() {
                path
            } else {
                format!("{path}?{query}")
            },
            headers,
            body,
            ..Sent::default()
        }
    }

    /// The host and the credentials.
    fn usual(&self, host: &'static str, auth: &str) -> Vec<(&str, String)> {
        let mut usual = vec![("Host", host.to_owned())];
        match self.auth.as_deref() {
            None => usual.push(("Authorization", auth.to_owned())),
            Some([name, value]) => usual.push((name, value.clone())),
            Some(_) => (),
        }
        usual
    }

    /// The parts of a query that are there.
    fn query(&self, query: &str, version: &str) -> String {
        let query = self.query.as_deref().unwrap_or(query);
        let version = self.version.as_deref().unwrap_or(version);
        let parts = [query, version].into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("&")
    }
}

const MQTT_HOST: &str = "nsname.westus3-1.ts.eventgrid.azure.net";
const TOPIC_HOST: &str = "nsname.westus3-1.eventgrid.azure.net";
const LOCAL_HOST: &str = "127.0.0.1:4580";

impl Request {
    fn sent(&self) -> Sent {
        let mut sent = self.call();
        if let Some(query) = &self.raw_query {
            let path = sent.target.split('?').next().unwrap_or_default();
            sent.target = format!("{path}?{query}");
        }
        sent.after_s = self.after_s;
        sent
    }

    fn call(&self) -> Sent {
        if let Some(call) = &self.publish {
            let query = call.query("topic=a%2Fb", "api-version=2025-02-15-preview");
            let usual = call.usual(MQTT_HOST, "Bearer <good>");
            let path = "/mqtt/messages".to_owned();
            call.sent("POST", path, &query, usual, call.body("hello"))
        } else if let Some(call) = &self.retained {
            let query = call.query("", "api-version=2025-11-16-preview");
            let path = call.path.clone().unwrap_or_default();
            let path = format!("/mqtt/retainedMessages{path}");
            let usual = call.usual(MQTT_HOST, "Bearer <good>");
            call.sent("GET", path, &query, usual, Vec::new())
        } else if let Some(call) = &self.topic {
            let query = call.query.clone();
            let query = query.unwrap_or_else(|| "api-version=2024-06-01".to_owned());
            let mut usual = call.usual(TOPIC_HOST, "SharedAccessKey dGVzdGtleQ==");
            let kind = call.kind.as_deref().unwrap_or("application/json");
            if !kind.is_empty() {
                usual.push(("content-type", kind.to_owned()));
            }
            let path = format!("/topics/t1{}", call.rest);
            call.sent("POST", path, &query, usual, call.body(""))
        } else if let Some(call) = &self.identity {
            let path = call.path.clone();
            let path = path.unwrap_or_else(|| "/metadata/identity/oauth2/token".to_owned());
            let query = format!("api-version=2018-02-01&resource={RESOURCE}");
            let query = call.query.clone().unwrap_or(query);
            let mut usual = vec![("Host", LOCAL_HOST.to_owned())];
            if call.headers.is_none() {
                usual.push(("Metadata", "true".to_owned()));
            }
            call.sent("GET", path, &query, usual, call.body(""))
        } else if let Some(fields) = &self.token {
            token_request(fields)
        } else if let Some(call) = &self.sent {
            let path = call.path.clone().unwrap_or_default();
            let query = call.query.clone().unwrap_or_default();
            call.sent("GET", path, &query, Vec::new(), call.body(""))
        } else {
            panic!("no request")
        }
    }
}

/// Asks Entra for a token of the seeded application; `absent` are the fields that are left out.
fn token_request(changes: &BTreeMap<String, Value>) -> Sent {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let absent: Vec<String> = changes
        .get("absent")
        .and_then(Value::as_array)
        .map(|names| names.iter().map(text).collect())
        .unwrap_or_default();
    let mut fields = vec![
        ("grant_type".to_owned(), "client_credentials".to_owned()),
        ("client_id".to_owned(), CLIENT.to_owned()),
        ("client_secret".to_owned(), "testsecret".to_owned()),
        ("scope".to_owned(), format!("{RESOURCE}/.default")),
    ];
    let mut path = format!("/{TENANT}/oauth2/v2.0/token");
    for (name, value) in changes {
        match (&**name, fields.iter_mut().find(|(known, _)| known == name)) {
            ("absent", _) => (),
            ("path", _) => path = text(value),
            (_, Some(field)) => field.1 = text(value),
            (_, None) => fields.push((name.clone(), text(value))),
        }
    }
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !absent.contains(name))
        .map(|(name, value)| format!("{name}={}", form_encoded(value)))
        .collect();
    let kind = "application/x-www-form-urlencoded";
    Sent {
        method: "POST".to_owned(),
        target: path,
        headers: vec![
            ("Host".to_owned(), LOCAL_HOST.to_owned()),
            ("Content-Type".to_owned(), kind.to_owned()),
        ],
        // The names of tokens stand in it as they are.
        body: pairs
            .join("&")
            .replace("%3C", "<")
            .replace("%3E", ">")
            .into_bytes(),
        ..Sent::default()
    }
}

/// Tokens in the places of their names.
fn with_tokens(text: &str, own: Option<&Token>) -> String {
    static GOOD: LazyLock<String> = LazyLock::new(|| Token::default().text());
    if !text.contains('<') {
        return text.to_owned();
    }
    let mut parts = GOOD.split('.');
    let mut part = || parts.next().unwrap_or_default();
    let text = text
        .replace("<good>", &GOOD)
        .replace("<good.head>", part())
        .replace("<good.body>", part())
        .replace("<good.sign>", part());
    match own {
        Some(token) if text.contains("<token>") => text.replace("<token>", &token.text()),
        _ => text,
    }
}

fn complete(mut sent: Sent, own: Option<&Token>) -> Sent {
    for (_, value) in &mut sent.headers {
        *value = with_tokens(value, own);
    }
    if let Ok(text) = std::str::from_utf8(&sent.body) {
        sent.body = with_tokens(text, own).into_bytes();
    }
    sent
}

/// Where the issuer outside publishes its key set: one server for all tests of this run.
fn key_set() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async {
                let keys: Value = serde_json::from_str(&crate::fixture("azure/jwks.json")).unwrap();
                let issuer = MockServer::start().await;
                let answer = ResponseTemplate::new(200).set_body_json(keys);
                let keys = Mock::given(matchers::path("/keys")).respond_with(answer);
                keys.mount(&issuer).await;
                tell.send(format!("{}/keys", issuer.uri())).unwrap();
                std::future::pending::<()>().await;
            });
        });
        told.recv().unwrap()
    });
    &ADDRESS
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
const ID: (&str, &str) = ("x-ms-request-id", "{request-id}");

fn answered(
    status: u16,
    first: &[(&str, &str)],
    more: &[(String, String)],
    body: String,
) -> Answered {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut headers: Vec<(String, String)> = first.iter().map(owned).collect();
    headers.extend(more.iter().cloned());
    Answered {
        status,
        headers,
        body,
    }
}

impl Row {
    fn refused(&self, row: &ErrorRow) -> Answered {
        let code = &*row.code;
        if let Some(text) = &self.text {
            let first = [JSON, ID, ("x-ms-error-code", code)];
            let body = json!({"error": {"code": code, "message": text}});
            return answered(row.status, &first, &self.headers, body.to_string());
        }
        let body = if let Some(text) = &self.metadata {
            json!({"error": code, "error_description": text})
        } else if let Some(text) = &self.app_service {
            json!({"statusCode": row.status, "message": text})
        } else {
            let text = self.entra.as_deref().unwrap_or_default();
            let number = self
                .number
                .map_or(String::new(), |number| format!("AADSTS{number}: "));
            let stamp = "2026-11-21 22:51:00Z";
            let ids = "Trace ID: {request-id} Correlation ID: {request-id}";
            json!({
                "error": code,
                "error_description": format!("{number}{text} {ids} Timestamp: {stamp}"),
                "error_codes": Vec::from_iter(self.number),
                "timestamp": stamp,
                "trace_id": "{request-id}",
                "correlation_id": "{request-id}",
            })
        };
        answered(row.status, &[JSON, ID], &[], body.to_string())
    }

    fn good(&self) -> Answered {
        let stored = [("Cache-Control", "no-store"), JSON, ID];
        let given_out = match self.token_answer.as_deref() {
            Some("managed") => Some(managed().to_string()),
            Some(_) => Some(application().to_string()),
            None => self.given_out.clone(),
        };
        match (given_out, &self.answer) {
            (Some(body), _) => answered(200, &stored, &[], body),
            (None, Some(body)) => answered(200, &[ID, JSON], &[], body.clone()),
            (None, None) => {
                let status = self.status.unwrap();
                answered(status, &[ID], &self.headers, self.body.clone())
            }
        }
    }

    /// The claims of the token in the answer.
    fn claims(&self) -> Option<Value> {
        if !self.minted {
            return None;
        }
        let issuer = format!("https://sts.windows.net/{TENANT}/");
        let mut claims = json!({
            "aud": RESOURCE, "iss": issuer, "iat": NOW, "nbf": NOW, "exp": NOW + 3599,
            "appid": CLIENT, "appidacr": "1", "idp": issuer, "idtyp": "app", "oid": OBJECT,
            "roles": ROLES, "sub": OBJECT, "tid": TENANT, "ver": "1.0",
        });
        for (name, value) in &self.claims {
            claims[name] = value.clone();
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|name, _| !self.absent_claims.contains(name));
        }
        Some(claims)
    }

    fn exchange(&self, errors: &Errors) -> Exchange {
        let (answer, code) = match &self.error {
            Some(name) => (self.refused(&errors[name]), Code::Some),
            None => (self.good(), Code::None),
        };
        let issuer = json!({
            "issuer": "https://idp.example/", "jwks_url": "{jwks}", "roles": ROLES,
        });
        let mut settings = Map::new();
        settings.insert("signing_key".to_owned(), json!(OWN));
        settings.insert("issuers".to_owned(), json!([issuer]));
        settings.extend(self.settings.clone());
        let settings = Value::Object(settings)
            .to_string()
            .replace("{jwks}", key_set());
        let mut config = Config::free_ports();
        config.azure = serde_json::from_str(&settings)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let before = self.before.iter().flat_map(|request| {
            let sent = complete(request.sent(), self.token.as_ref());
            std::iter::repeat_n(sent, request.repeat)
        });
        let published = self.published.iter().map(|given| {
            let mut message = json!({
                "client_id": CALLER, "topic": "a/b", "payload": "hello", "qos": 1, "retain": false,
            });
            for (name, value) in given {
                message[name] = value.clone();
            }
            message
        });
        let text = self.text.clone().filter(|_| !self.unexplained);
        Exchange {
            name: self.name.clone(),
            config,
            clock: CLOCK.parse().unwrap(),
            before: before.collect(),
            request: complete(self.request.sent(), self.token.as_ref()),
            answer,
            published: published.collect(),
            code,
            reason: self.reason.clone().or(text),
            claims: self.claims(),
        }
    }
}

/// A managed identity's token.
fn managed() -> Value {
    json!({
        "access_token": "{jwt}", "client_id": CLIENT, "expires_in": "3599",
        "expires_on": (NOW + 3599).to_string(), "ext_expires_in": "3599",
        "not_before": NOW.to_string(), "resource": RESOURCE, "token_type": "Bearer",
    })
}

/// An application's token.
fn application() -> Value {
    json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599,
        "access_token": "{jwt}",
    })
}

/// Puts `{jwt}` in the place of a token, verifies it and compares its claims.
fn look(exchange: &Exchange, body: &mut String) -> Result<(), String> {
    let claims = taken(body)?;
    if claims == exchange.claims {
        return Ok(());
    }
    Err(format!(
        "claims: expected {:#?}, got {claims:#?}",
        exchange.claims
    ))
}

fn taken(body: &mut String) -> Result<Option<Value>, String> {
    let Some(start) = body.find("eyJ") else {
        return Ok(None);
    };
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let length = body[start..].find(|c| !is_inside(c)).unwrap_or(0);
    let token = body[start..start + length].to_owned();
    body.replace_range(start..start + length, "{jwt}");
    let broken = |error: &dyn std::fmt::Display| format!("{token}: {error}");
    let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
    let decode = |part: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part);
        bytes.map_err(|error| broken(&error))
    };
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(OWN).map_err(|error| broken(&error))?;
    let signature = rsa::pkcs1v15::Signature::try_from(&*decode(signature)?);
    let signature = signature.map_err(|error| broken(&error))?;
    rsa::pkcs1v15::VerifyingKey::<rsa::sha2::Sha256>::new(key.to_public_key())
        .verify(signed.as_bytes(), &signature)
        .map_err(|error| broken(&error))?;
    let claims = signed.split_once('.').ok_or("no claims")?.1;
    let mut claims: Value =
        serde_json::from_slice(&decode(claims)?).map_err(|error| broken(&error))?;
    // A random id.
    if let Some(claims) = claims.as_object_mut() {
        claims.remove("uti").ok_or("no uti")?;
    }
    Ok(Some(claims))
}

/// Numbers the lock tokens of the answers, first to last.
fn learn(answer: &Answered, texts: &mut BTreeMap<String, String>) {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    for row in body["value"].as_array().into_iter().flatten() {
        if let Some(token) = row["brokerProperties"]["lockToken"].as_str() {
            let known = texts.keys().filter(|name| name.starts_with("LockToken"));
            let name = format!("LockToken{}", known.count() + 1);
            texts.insert(name, token.to_owned());
        }
    }
}

/// One test for each exchange, and one for what they cover.
pub(crate) fn trials() -> Vec<Trial> {
    let errors: Vec<ErrorRow> = serde_json::from_str(&crate::fixture("azure/errors.json")).unwrap();
    let errors: Errors = errors
        .into_iter()
        .map(|row| (row.error.clone(), row))
        .collect();
    let rows: Vec<Row> = rows::read(FOLDER, &FILES);
    let site = Site {
        look,
        learn,
        ..Site::plain(Surface::Azure)
    };
    let mut trials = Vec::new();
    for row in &rows {
        let exchange = row.exchange(&errors);
        if row.handed_over {
            let name = format!("{FOLDER}::{}", row.name);
            trials.push(Trial::test(name, move || handed_over(exchange)));
        } else {
            trials.push(trial(FOLDER, site, exchange));
        }
    }
    let seen: BTreeSet<String> = rows.into_iter().filter_map(|row| row.error).collect();
    trials.push(Trial::test(
        "azure::every_error_has_an_exchange",
        move || covered(&errors, &seen),
    ));
    trials
}

fn handed_over(exchange: Exchange) -> Result<(), Failed> {
    let azure = AzureEventGrid::new(exchange.config.azure)?;
    let request = handed::request(exchange.request, None);
    let at = (&request, exchange.clock);
    let reason = exchange.reason.as_deref();
    handed::walk(&azure, at, &exchange.answer, reason, |id, _| {
        [("request-id".to_owned(), id.to_ascii_lowercase())].into()
    })
}

fn covered(errors: &Errors, seen: &BTreeSet<String>) -> Result<(), Failed> {
    let missing: Vec<_> = errors
        .keys()
        .filter(|name| !ELSEWHERE.contains(&&***name) && !seen.contains(*name))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no exchange is refused with {missing:?}").into())
    }
}
