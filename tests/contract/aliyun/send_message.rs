//! SendMessage: what the gateway and the product refuse of it, and what they take.

use serde_json::{Value, json};

use super::sign::{CLOCK, HOST, INSTANCE, V1, V3, canonical, set};
use super::{Reply, Tables, config, exchange};
use crate::exchange::{Code, Exchange, Sent};

const STS: &str = "CAIS+sts/token==";

/// What one case gives beside its request and its error.
#[derive(Default)]
struct Given {
    settings: Value,
    before: Vec<Sent>,
    reason: Option<&'static str>,
}

fn settings(settings: Value) -> Given {
    Given {
        settings,
        ..Given::default()
    }
}

fn reason(reason: &'static str) -> Given {
    Given {
        reason: Some(reason),
        ..Given::default()
    }
}

/// Collects the exchanges of SendMessage.
struct Cases<'a> {
    tables: &'a Tables,
    all: Vec<Exchange>,
}

impl Cases<'_> {
    fn push(&mut self, case: &str, exchange_: Exchange, given: Given) {
        self.all.push(Exchange {
            name: format!("SendMessage__{case}"),
            config: config(&given.settings),
            before: given.before,
            reason: given.reason.map(str::to_owned),
            ..exchange_
        });
    }

    fn one(
        &mut self,
        case: &str,
        format: &str,
        error: &str,
        about: &str,
        sent: Sent,
        given: Given,
    ) {
        let answer = self.tables.refused(format, error, about);
        let exchange = Exchange {
            code: Code::Some,
            ..exchange(String::new(), sent, answer)
        };
        self.push(case, exchange, given);
    }

    /// A refusal in XML and in JSON. `about` is what stands for the `{}` of the error's row.
    fn refused(
        &mut self,
        case: &str,
        (error, about): (&str, &str),
        make: impl Fn(&str) -> Sent,
        given: impl Fn() -> Given,
    ) {
        for format in ["xml", "json"] {
            let case = format!("{case}-{format}");
            self.one(&case, format, error, about, make(format), given());
        }
    }

    /// A call that is taken; it publishes this.
    fn taken(&mut self, case: &str, format: &str, sent: Sent, published: &Value, given: Given) {
        let mut message = json!({
            "id": "{MsgId}", "topic": "TopicA", "payload": "hello", "qos": 1, "retain": false,
        });
        for (name, value) in published.as_object().into_iter().flatten() {
            message[name] = value.clone();
        }
        let exchange = Exchange {
            published: vec![message],
            ..exchange(String::new(), sent, Reply::new(format).sent())
        };
        self.push(case, exchange, given);
    }
}

/// A version 1 call with parameters changed; `None` leaves one out.
fn v1(format: &str, changes: &[(&str, Option<&str>)]) -> V1 {
    let mut call = V1::new(format);
    for (name, value) in changes {
        set(&mut call.parameters, name, *value);
    }
    call
}

fn v1_set(format: &str, name: &str, value: &str) -> Sent {
    v1(format, &[(name, Some(value))]).sent()
}

fn bearer(format: &str, token: Option<&str>) -> V1 {
    let changes = [
        ("AccessKeyId", None),
        ("SignatureMethod", None),
        ("SignatureType", Some("BEARERTOKEN")),
        ("BearerToken", token),
    ];
    V1 {
        signature: Some(String::new()),
        ..v1(format, &changes)
    }
}

/// What the SDKs send beside a bearer token.
fn with_bearer_header(sent: Sent, token: &str) -> Sent {
    sent.header("x-acs-action", "SendMessage")
        .header("x-acs-version", "2020-04-20")
        .header("x-acs-bearer-token", token)
}

fn none() -> Given {
    Given::default()
}

/// All of them.
pub(super) fn exchanges(tables: &Tables) -> Vec<Exchange> {
    let mut cases = Cases {
        tables,
        all: Vec::new(),
    };
    missing(&mut cases);
    gateway(&mut cases);
    times(&mut cases);
    keys(&mut cases);
    product(&mut cases);
    rates(&mut cases);
    taken_v1(&mut cases);
    taken_v3(&mut cases);
    taken_by_settings(&mut cases);
    cases.all
}

fn missing(cases: &mut Cases<'_>) {
    for name in [
        "Action",
        "Version",
        "AccessKeyId",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "SignatureNonce",
        "Timestamp",
        "InstanceId",
        "MqttTopic",
        "Payload",
    ] {
        let make = |format: &str| {
            let mut call = v1(format, &[(name, None)]);
            if name == "Signature" {
                call.signature = Some(String::new());
            }
            call.sent()
        };
        cases.refused(&format!("missing-{name}"), ("Missing", name), make, none);
    }
    // An empty value counts as missing; assumed.
    for name in ["InstanceId", "MqttTopic", "Payload"] {
        let sent = v1_set("json", name, "");
        cases.one(
            &format!("empty-{name}"),
            "json",
            "Missing",
            name,
            sent,
            none(),
        );
    }
    let no_token = |format: &str| v1_set(format, "AccessKeyId", "STS.testid");
    let error = ("Missing", "SecurityToken");
    cases.refused("missing-SecurityToken", error, no_token, none);
    for (field, name) in [
        ("x-acs-action", "Action"),
        ("x-acs-version", "Version"),
        ("x-acs-date", "Timestamp"),
        ("x-acs-signature-nonce", "SignatureNonce"),
    ] {
        let make = |format: &str| V3::new(format).field(field, None).sent();
        cases.refused(
            &format!("v3-missing-{field}"),
            ("Missing", name),
            make,
            none,
        );
    }
    let make = |format: &str| bearer(format, None).sent();
    cases.refused("bearer-missing", ("Missing", "BearerToken"), make, none);
    let misspelled =
        |format: &str| v1(format, &[("Timestamp", None), ("TimeStamp", Some(CLOCK))]).sent();
    cases.refused(
        "misspelled-parameter",
        ("Missing", "Timestamp"),
        misspelled,
        || reason("there is a parameter \"TimeStamp\", but it is spelled Timestamp"),
    );
}

fn gateway(cases: &mut Cases<'_>) {
    let with_tail = |tail: &str, format: &str| {
        V1 {
            tail: tail.to_owned(),
            ..V1::new(format)
        }
        .sent()
    };
    let twice = |format: &str| with_tail("&Payload=again", format);
    cases.refused(
        "duplicate-parameter",
        ("ParameterInvalid", "Payload"),
        twice,
        || reason("\"Payload\" came more than once"),
    );
    let wrong = |format: &str| bearer(format, Some("wrong")).sent();
    cases.refused(
        "unknown-bearer",
        ("ParameterInvalid", "BearerToken"),
        wrong,
        || reason("no such bearer token"),
    );
    let make = |format: &str| v1_set(format, "SignatureVersion", "2.0");
    cases.refused(
        "signature-version",
        ("ParameterInvalid", "SignatureVersion"),
        make,
        none,
    );
    for (name, tail) in [
        ("escape", "&Extra=%zz"),
        ("utf8", "&Extra=%E4%BD"),
        ("name", "&%FF=1"),
    ] {
        let make = |format: &str| with_tail(tail, format);
        cases.refused(
            &format!("malformed-{name}"),
            ("ParameterMalformed", ""),
            make,
            none,
        );
    }
    for text in ["None", "YAML"] {
        let sent = v1_set("xml", "Format", text);
        cases.one(
            &format!("format-{text}"),
            "xml",
            "FormatInvalid",
            "",
            sent,
            none(),
        );
    }
    let sent = v1_set("xml", "Format", "YAML");
    let given = settings(json!({"default_format_v1": "json"}));
    cases.one(
        "format-bad-json-default",
        "json",
        "FormatInvalid",
        "",
        sent,
        given,
    );
    let make = |format: &str| v1_set(format, "Version", "2019-12-11");
    cases.refused("version", ("VersionInvalid", ""), make, none);
    let unknown = ("ActionNotFound", "");
    cases.refused(
        "unknown-action",
        unknown,
        |format| v1_set(format, "Action", "SendMessages"),
        none,
    );
    cases.refused(
        "misspelled-action",
        unknown,
        |format| v1_set(format, "Action", "SendMesage"),
        || reason("there is no action \"SendMesage\"; did you mean SendMessage?"),
    );
    let at_path = |format: &str| {
        V1 {
            path: "/v1/messages".to_owned(),
            ..V1::new(format)
        }
        .sent()
    };
    cases.refused("unknown-path", unknown, at_path, none);
    let by = |method: &str, format: &str| {
        V1 {
            method: method.to_owned(),
            ..V1::new(format)
        }
        .sent()
    };
    let method = ("MethodUnsupported", "");
    cases.refused("wrong-method", method, |format| by("PUT", format), none);
    cases.refused(
        "get-forbidden",
        method,
        |format| by("GET", format),
        || settings(json!({"allow_get": false})),
    );
    cases.refused(
        "https-only",
        ("SslRequired", ""),
        |format| v1_set(format, "Action", "CloseConnection"),
        || settings(json!({"allow_http": false})),
    );
    cases.refused(
        "not-emulated",
        ("ApiNotSupport", ""),
        |format| v1_set(format, "Action", "TagResources"),
        || reason("mqttstack does not emulate TagResources yet"),
    );
    for format in ["xml", "json"] {
        let host = "ecs.aliyuncs.com";
        let call = V1 {
            host: host.to_owned(),
            ..V1::new(format)
        };
        let row = &cases.tables.errors["ProductNotFound"];
        let reply = Reply {
            host,
            ..Reply::new(format)
        };
        let answer = reply.refused(row, row.status, "");
        let exchange = Exchange {
            code: Code::Some,
            ..exchange(String::new(), call.sent(), answer)
        };
        cases.push(&format!("unknown-host-{format}"), exchange, none());
    }
}

fn times(cases: &mut Cases<'_>) {
    let make = |format: &str| v1_set(format, "Timestamp", "2026-11-21 22:51:00");
    cases.refused("timestamp-format", ("TimestampFormat", ""), make, none);
    for (side, at) in [
        ("past", "2026-11-21T22:35:59Z"),
        ("future", "2026-11-21T23:06:01Z"),
    ] {
        let error = ("TimestampExpired", "");
        let make = |format: &str| v1_set(format, "Timestamp", at);
        cases.refused(&format!("timestamp-{side}"), error, make, || {
            reason("901 s")
        });
        let make = |format: &str| V3::new(format).field("x-acs-date", Some(at)).sent();
        cases.refused(&format!("v3-timestamp-{side}"), error, make, none);
    }
    let nonce = ("NonceUsed", "");
    cases.refused(
        "nonce-used",
        nonce,
        |format| V1::new(format).sent(),
        || Given {
            before: vec![v1_set("json", "Payload", "first")],
            reason: Some("was used 0 s ago"),
            ..Given::default()
        },
    );
    cases.refused(
        "v3-nonce-used",
        nonce,
        |format| V3::new(format).sent(),
        || Given {
            before: vec![V3::new("json").sent()],
            ..Given::default()
        },
    );
    for (side, at) in [
        ("past", "2026-11-21T22:36:00Z"),
        ("future", "2026-11-21T23:06:00Z"),
    ] {
        let sent = v1_set("json", "Timestamp", at);
        cases.taken(
            &format!("window-edge-{side}"),
            "json",
            sent,
            &Value::Null,
            none(),
        );
    }
    let sent = v1_set("json", "Timestamp", "2020-01-01T00:00:00Z");
    let given = settings(json!({"timestamp_window_s": 0}));
    cases.taken("any-time", "json", sent, &Value::Null, given);
}

fn keys(cases: &mut Cases<'_>) {
    let unknown = ("AccessKeyNotFound", "");
    cases.refused(
        "unknown-key",
        unknown,
        |format| v1_set(format, "AccessKeyId", "nosuch"),
        none,
    );
    let by_nobody = |format: &str| {
        V3 {
            key_id: "nosuch".to_owned(),
            ..V3::new(format)
        }
        .sent()
    };
    cases.refused("v3-unknown-key", unknown, by_nobody, none);
    cases.refused(
        "inactive-key",
        ("AccessKeyInactive", ""),
        |format| V1::new(format).sent(),
        || {
            let key = json!({"id": "testid", "secret": "testsecret", "status": "inactive"});
            settings(json!({"access_keys": [key]}))
        },
    );
    let sts = |format: &str, id: &str, token: &str| {
        v1(
            format,
            &[("AccessKeyId", Some(id)), ("SecurityToken", Some(token))],
        )
        .sent()
    };
    cases.refused("sts-expired", ("SecurityTokenExpired", ""), |format| sts(format, "STS.testid", STS), || {
        settings(json!({"access_keys": [
            {"id": "STS.testid", "secret": "testsecret", "security_token": STS, "expires": CLOCK},
        ]}))
    });
    let malformed = |format: &str| sts(format, "STS.testid", "not a token");
    cases.refused(
        "sts-malformed",
        ("SecurityTokenMalformed", ""),
        malformed,
        none,
    );
    let mismatch = ("SecurityTokenMismatch", "");
    cases.refused(
        "sts-of-another-key",
        mismatch,
        |format| sts(format, "testid", STS),
        none,
    );
    let other = |format: &str| sts(format, "STS.testid", "CAISother/token==");
    cases.refused("sts-wrong-token", mismatch, other, none);
    let method = ("SignatureMethodInvalid", "");
    let sha256 = |format: &str| v1_set(format, "SignatureMethod", "HMAC-SHA256");
    cases.refused("signature-method", method, sha256, none);
    let authorized = |format: &str, text: &str| {
        V3 {
            authorization: Some(text.to_owned()),
            ..V3::new(format)
        }
        .sent()
    };
    let md5 = "ACS3-HMAC-MD5 Credential=testid,SignedHeaders=host,Signature=00";
    cases.refused(
        "v3-signature-method",
        method,
        |format| authorized(format, md5),
        none,
    );
    let incomplete = ("SignatureIncomplete", "");
    let bare = "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host";
    cases.refused(
        "v3-no-signature",
        incomplete,
        |format| authorized(format, bare),
        || reason("has no Signature"),
    );
    let unsigned = |format: &str| {
        V3 {
            unsigned: vec!["host".to_owned()],
            ..V3::new(format)
        }
        .sent()
    };
    cases.refused("v3-host-unsigned", incomplete, unsigned, || {
        reason("host was sent but is not among the SignedHeaders")
    });
}

/// Whatever is not named does not exist.
fn strict() -> Given {
    let instance = json!({
        "id": INSTANCE, "region": "cn-hangzhou", "groups": [], "topics": ["TopicA"],
    });
    settings(json!({"auto_create": false, "instances": [instance]}))
}

fn product(cases: &mut Cases<'_>) {
    let failed = ("ParameterCheckFailed", "");
    for (name, topic) in [
        ("wildcard", "TopicA/+".to_owned()),
        ("hash", "TopicA/#".to_owned()),
        ("no-parent", "/TopicA".to_owned()),
        ("parent-characters", "主题/a".to_owned()),
        ("null", "TopicA/\0".to_owned()),
        ("parent-65", "a".repeat(65)),
        ("whole-129", format!("TopicA/{}", "b".repeat(122))),
        ("p2p-client-65", format!("TopicA/p2p/{}", "d".repeat(65))),
    ] {
        let make = |format: &str| v1_set(format, "MqttTopic", &topic);
        cases.refused(&format!("topic-{name}"), failed, make, none);
    }
    let sent = v1_set("json", "Payload", &"x".repeat(65_537));
    let given = reason("65536 are allowed");
    cases.one("payload-65537", "json", failed.0, "", sent, given);
    let make = |format: &str| v1_set(format, "InstanceId", "post cn/test");
    cases.refused(
        "instance-shape",
        ("InvalidParameter", "InstanceId"),
        make,
        none,
    );
    let make = |format: &str| v1_set(format, "InstanceId", "nosuch");
    let error = ("InstancePermissionCheckFailed", "");
    cases.refused("unknown-instance", error, make, strict);
    let make = |format: &str| v1_set(format, "MqttTopic", "TopicB/x");
    cases.refused("unknown-topic", ("PermissionCheckFailed", ""), make, strict);
    let sent = v1_set("json", "MqttTopic", "TopicA/x");
    cases.taken(
        "known-topic",
        "json",
        sent,
        &json!({"topic": "TopicA/x"}),
        strict(),
    );
}

/// More calls than the quota: the product's answer, that of the notice, the gateway's.
fn rates(cases: &mut Cases<'_>) {
    let row = |name: &str| cases.tables.errors[name].clone();
    let (product, mut gateway) = (row("TooManyRequests"), row("ThrottlingUser"));
    gateway.retry_after_s = Some(3);
    let changed = product.changed.unwrap();
    for (case, row, status, more, reason) in [
        (
            "over-quota",
            &product,
            product.status,
            json!({}),
            Some("more than 1 calls of SendMessage per second by testid"),
        ),
        (
            "over-quota-status-change",
            &product,
            changed,
            json!({"status_change": true}),
            Some("500 on the action's page and 403"),
        ),
        (
            "over-quota-gateway",
            &gateway,
            gateway.status,
            json!({"overflow": "gateway", "retry_after_s": 3}),
            None,
        ),
    ] {
        for format in ["xml", "json"] {
            let answer = Reply::new(format).refused(row, status, "");
            let mut settings = more.clone();
            settings["quotas"] = json!({"SendMessage": 1});
            let exchange = Exchange {
                code: Code::Some,
                ..exchange(String::new(), V1::new(format).sent(), answer)
            };
            let given = Given {
                settings,
                before: vec![v1_set("json", "SignatureNonce", "first")],
                reason,
            };
            cases.push(&format!("{case}-{format}"), exchange, given);
        }
    }
}

const NASTY: &str = "你好 *~+/=&%?#@'\"!()<>$,;:[]{}|^`\\_-.\n\tend 😀";

fn key_pair() -> Given {
    let public_key = include_str!("../../../fixtures/aliyun/keys/throwaway.pub.pem");
    settings(json!({"access_keys": [{"id": "PAIR.testid", "public_key": public_key}]}))
}

fn taken_v1(cases: &mut Cases<'_>) {
    let plain = Value::Null;
    cases.taken("v1-query-xml", "xml", V1::new("xml").sent(), &plain, none());
    let call = v1(
        "json",
        &[
            ("Payload", Some(NASTY)),
            ("MqttTopic", Some("TopicA/子 x/*~")),
        ],
    );
    let message = json!({"topic": "TopicA/子 x/*~", "payload": NASTY});
    cases.taken("v1-query-characters", "json", call.sent(), &message, none());
    let form = V1 {
        in_form: true,
        ..v1("json", &[("Payload", Some(NASTY))])
    };
    let message = json!({"payload": NASTY});
    cases.taken("v1-form-characters", "json", form.sent(), &message, none());
    let sent = v1("json", &[("Format", None)]).sent();
    cases.taken("v1-default-format", "xml", sent, &plain, none());
    let sent = v1("json", &[("Format", None)]).sent();
    let given = settings(json!({"default_format_v1": "json"}));
    cases.taken("v1-default-format-setting", "json", sent, &plain, given);
    // As the vendor's own sample URL spells it.
    let sent = v1_set("json", "SignatureMethod", "Hmac-SHA1");
    cases.taken("v1-method-case", "json", sent, &plain, none());
    let sent = v1(
        "json",
        &[("SignatureType", Some("")), ("RegionId", Some(""))],
    )
    .sent();
    cases.taken("v1-empty-parameters", "json", sent, &plain, none());
    let sts = [
        ("AccessKeyId", Some("STS.testid")),
        ("SecurityToken", Some(STS)),
    ];
    cases.taken("v1-sts", "json", v1("json", &sts).sent(), &plain, none());
    let call = V1 {
        host: format!("http://{HOST}"),
        ..V1::new("json")
    };
    cases.taken("v1-host-malformed", "json", call.sent(), &plain, none());
    let rsa = [
        ("AccessKeyId", Some("PAIR.testid")),
        ("SignatureMethod", Some("SHA256withRSA")),
        ("SignatureType", Some("PRIVATEKEY")),
    ];
    cases.taken(
        "v1-rsa",
        "json",
        v1("json", &rsa).sent(),
        &plain,
        key_pair(),
    );
    // aliyun-java-sdk-core 4, BearerTokenCredentials. The query is version 1, so the header says
    // nothing.
    let call = bearer("json", Some("testbearer"));
    let call = call.set("SignatureMethod", "").set("SignatureVersion", "");
    let sent = || call.sent();
    let both = with_bearer_header(sent(), "testbearer");
    cases.taken("bearer-v1-and-header", "json", both, &plain, none());
    let other = with_bearer_header(sent(), "other");
    cases.taken(
        "bearer-v1-and-another-header",
        "json",
        other,
        &plain,
        none(),
    );
    let signed = with_bearer_header(V1::new("json").sent(), "other");
    cases.taken(
        "v1-signed-and-bearer-header",
        "json",
        signed,
        &plain,
        none(),
    );
    let call = V1 {
        method: "GET".to_owned(),
        ..V1::new("json")
    };
    cases.taken(
        "get-hint",
        "json",
        call.sent(),
        &plain,
        reason("lists only POST for SendMessage"),
    );
}

fn taken_v3(cases: &mut Cases<'_>) {
    let plain = Value::Null;
    let v3 = || V3::new("json");
    cases.taken(
        "v3-sha256-xml",
        "xml",
        V3::new("xml").sent(),
        &plain,
        none(),
    );
    let sm3 = V3 {
        algorithm: "ACS3-HMAC-SM3".to_owned(),
        ..v3()
    };
    cases.taken("v3-sm3", "json", sm3.sent(), &plain, none());
    let rsa = V3 {
        algorithm: "ACS3-RSA-SHA256".to_owned(),
        key_id: "PAIR.testid".to_owned(),
        ..v3()
    };
    cases.taken("v3-rsa", "json", rsa.sent(), &plain, key_pair());
    let host = format!("http://{HOST}");
    let sent = v3().field("host", Some(&host)).sent();
    cases.taken("v3-host-malformed", "json", sent, &plain, none());
    // JSON unless Accept says XML; assumed.
    let sent = v3().field("accept", Some("*/*")).sent();
    cases.taken("v3-accept-any", "json", sent, &plain, none());
    let mut call = v3();
    set(&mut call.parameters, "Payload", Some(NASTY));
    assert!(canonical(&call.parameters).contains("%20%2A~"));
    cases.taken(
        "v3-characters",
        "json",
        call.sent(),
        &json!({"payload": NASTY}),
        none(),
    );
    let sts = V3 {
        key_id: "STS.testid".to_owned(),
        ..v3()
    };
    let sent = sts
        .field("x-acs-accesskey-id", Some("STS.testid"))
        .field("x-acs-security-token", Some(STS))
        .sent();
    cases.taken("v3-sts", "json", sent, &plain, none());
    let form = V3 {
        parameters: Vec::new(),
        body: format!("InstanceId={INSTANCE}&MqttTopic=TopicA&Payload=in+the+body"),
        ..v3()
    };
    let sent = form
        .field("content-type", Some("application/x-www-form-urlencoded"))
        .sent();
    cases.taken(
        "v3-form",
        "json",
        sent,
        &json!({"payload": "in the body"}),
        none(),
    );
}

fn taken_by_settings(cases: &mut Cases<'_>) {
    let given = settings(json!({"qos": 0}));
    cases.taken(
        "qos-setting",
        "json",
        V1::new("json").sent(),
        &json!({"qos": 0}),
        given,
    );
    let unsigned = V1 {
        signature: Some(String::new()),
        ..v1(
            "json",
            &[
                ("AccessKeyId", None),
                ("SignatureMethod", None),
                ("SignatureNonce", None),
                ("Timestamp", None),
            ],
        )
    };
    let given = settings(json!({"auth": "off"}));
    cases.taken("auth-off", "json", unsigned.sent(), &Value::Null, given);
    let longest = "x".repeat(65_536);
    let sent = v1_set("json", "Payload", &longest);
    cases.taken(
        "payload-65536",
        "json",
        sent,
        &json!({"payload": longest}),
        none(),
    );
    let topic = format!("{}/{}", "a".repeat(64), "b".repeat(63));
    let sent = v1_set("json", "MqttTopic", &topic);
    cases.taken("topic-128", "json", sent, &json!({"topic": topic}), none());
    // Counted without the client id; assumed.
    let topic = format!("{}/p2p/GID_test@@@{}", "a".repeat(64), "d".repeat(53));
    let sent = v1_set("json", "MqttTopic", &topic);
    let given = reason("no MQTT client");
    cases.taken("p2p-133", "json", sent, &json!({"topic": topic}), given);
    let topic = "TopicA/p2p/GID_test@@@nobody";
    let sent = v1_set("json", "MqttTopic", topic);
    let given = reason("no MQTT client");
    cases.taken("p2p-offline", "json", sent, &json!({"topic": topic}), given);
}
