//! What the tables say of every parameter: left out, empty, of another type, not known; a product
//! and a device that are not there; a header field of the device gateway left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cloud, Errors, Gateway, PRODUCT_SECRET, error, exchange};
use crate::exchange::{Code, Exchange, Sent};

/// A row of `actions.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Action {
    pub(super) needs: Map<String, Value>,
    #[serde(default)]
    pub(super) may_have: Map<String, Value>,
    unknown_product: Option<String>,
    unknown_device: Option<String>,
}

/// What the vendor calls the type of a value, and a value of another.
fn kind(value: &Value) -> (&'static str, Value) {
    match value {
        Value::Number(_) => ("an integer", json!("x")),
        Value::Array(_) => ("a list of strings", json!("x")),
        Value::Object(_) => ("an object", json!("x")),
        _ => ("a string", json!(7)),
    }
}

struct Cases<'a> {
    errors: &'a Errors,
    seen: &'a mut BTreeSet<String>,
    all: Vec<Exchange>,
}

impl Cases<'_> {
    /// A refusal; the journal names what it is about.
    fn refused(&mut self, name: String, sent: Sent, by: &str, about: &[&str]) {
        self.seen.insert(by.to_owned());
        let answer = error(self.errors, by, about);
        self.all.push(Exchange {
            reason: about.first().map(|one| (*one).to_owned()),
            ..exchange(name, sent, answer, Code::Some)
        });
    }
}

/// All of them.
pub(super) fn exchanges(errors: &Errors, seen: &mut BTreeSet<String>) -> Vec<Exchange> {
    let mut cases = Cases {
        errors,
        seen,
        all: Vec::new(),
    };
    let actions: BTreeMap<String, Action> = crate::table("tencent-iot/actions.toml");
    for (name, action) in &actions {
        cloud(&mut cases, name, action);
    }
    gateway(&mut cases);
    cases.all
}

fn cloud(cases: &mut Cases<'_>, name: &str, action: &Action) {
    let with = |parameter: &str, value: Value| {
        let mut changed = action.needs.clone();
        changed.insert(parameter.to_owned(), value);
        Cloud::new(name, changed).sent()
    };
    for parameter in action.needs.keys() {
        let mut left = action.needs.clone();
        left.remove(parameter);
        let sent = Cloud::new(name, left).sent();
        let case = format!("{name}__without-{parameter}");
        cases.refused(case, sent, "MissingParameter", &[parameter]);
    }
    for (parameter, value) in action.needs.iter().chain(&action.may_have) {
        let (wanted, other) = kind(value);
        let case = format!("{name}__type-of-{parameter}");
        cases.refused(case, with(parameter, other), "Type", &[parameter, wanted]);
    }
    let case = format!("{name}__unknown-parameter");
    cases.refused(
        case,
        with("Extra", json!(1)),
        "UnknownParameter",
        &["Extra"],
    );
    if let Some(by) = &action.unknown_product {
        let sent = with("ProductId", json!("ZZZZZ99999"));
        cases.refused(format!("{name}__unknown-product"), sent, by, &[]);
    }
    if let Some(by) = &action.unknown_device {
        let sent = with("DeviceName", json!("dev99"));
        cases.refused(format!("{name}__unknown-device"), sent, by, &[]);
    }
}

/// The calls of the device gateway: path, key, fields of a good body.
fn calls() -> [(&'static str, &'static str, Value); 3] {
    let device = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    let with = |more: Value| {
        let mut all = device.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    };
    let publish = json!({"TopicName": "ABCDE12345/dev01/data", "Payload": "hello", "Qos": 1});
    [
        ("publish", super::PSK, with(publish)),
        ("register", PRODUCT_SECRET, device.clone()),
        (
            "reportlog",
            super::PSK,
            with(json!({"Message": ["INF|started"]})),
        ),
    ]
}

fn gateway(cases: &mut Cases<'_>) {
    for (call, key, good) in calls() {
        let sent = |fields: &Value| {
            Gateway {
                path: Some(format!("/device/{call}")),
                body: Some(fields.to_string()),
                key: Some(key.to_owned()),
                ..Gateway::default()
            }
            .sent()
        };
        for header in [
            "X-TC-Algorithm",
            "X-TC-Timestamp",
            "X-TC-Nonce",
            "X-TC-Signature",
        ] {
            let missing = sent(&good).without(header);
            let case = format!("{call}__missing-{header}");
            cases.refused(case, missing.clone(), "MissingHeader", &[header]);
            let case = format!("{call}__empty-{header}");
            let empty = missing.header(header, "");
            cases.refused(case, empty, "MissingHeader", &[header]);
        }
        let fields = good.as_object().unwrap();
        for (name, value) in fields {
            if name == "Message" {
                continue;
            }
            let mut left = fields.clone();
            left.shift_remove(name);
            let case = format!("{call}__without-{name}");
            cases.refused(case, sent(&json!(left)), "ParamIncomplete", &[name]);
            let (wanted, other) = kind(value);
            let mut changed = good.clone();
            changed[name] = other;
            let case = format!("{call}__type-of-{name}");
            cases.refused(case, sent(&changed), "Type", &[name, wanted]);
            if ["ProductId", "DeviceName"].contains(&&**name) && call != "publish" {
                changed[name] = json!("");
                let case = format!("{call}__empty-{name}");
                cases.refused(case, sent(&changed), "ParamIncomplete", &[name]);
            }
        }
    }
}
