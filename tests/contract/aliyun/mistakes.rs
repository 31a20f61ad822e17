//! Signatures that are wrong in a way that people really make: the answer holds the right string
//! to sign, and the journal names the mistake.

use serde_json::json;

use super::sign::{HOST, INSTANCE, V1, V3, canonical, set};
use super::{Reply, Row, Tables, config, exchange};
use crate::exchange::{Code, Exchange, Sent};
use crate::sign::{Hash, base64, encoded, hex};

/// What is signed under which key, in the place of the right string.
struct Wrong {
    key: &'static str,
    hash: Hash,
    in_hex: bool,
}

const RIGHT_KEY: Wrong = Wrong {
    key: "testsecret&",
    hash: Hash::Sha1,
    in_hex: false,
};

/// All of them.
pub(super) fn exchanges(tables: &Tables) -> Vec<Exchange> {
    let mut all = Vec::new();
    for format in ["xml", "json"] {
        all.extend(version_1(tables, format));
        all.extend(version_3(tables, format));
    }
    all.push(of_another_key(tables));
    all
}

fn mismatch_v1(tables: &Tables, case: &str, format: &str, reason: &str, call: &V1) -> Exchange {
    let answer = tables.refused(format, "SignatureMismatchV1", &call.string_to_sign());
    Exchange {
        code: Code::Some,
        reason: Some(reason.to_owned()),
        ..exchange(
            format!("SendMessage__signature-{case}"),
            call.sent(),
            answer,
        )
    }
}

/// What is signed in the place of a right string, which is given too.
type Text = fn(&V1, &str) -> String;

/// A case, what the journal says, the parameters that are sent beside the usual, what is signed.
type Mistake = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Text,
);

fn again(call: &V1, change: impl Fn(String) -> String) -> String {
    format!("POST&%2F&{}", encoded(&change(canonical(&call.parameters))))
}

/// Signs the call without the parameters that `keep` does not want.
fn without(call: &V1, keep: impl Fn(&str, &str) -> bool) -> String {
    let mut left = call.clone();
    left.parameters.retain(|(name, value)| keep(name, value));
    left.string_to_sign()
}

const SPACED: &[(&str, &str)] = &[("Payload", "a b*~")];

#[rustfmt::skip]
const MISTAKES: [Mistake; 14] = [
    ("payload-changed", "or what came is not what was signed", &[],
     |call, _| call.clone().set("Payload", "signed").string_to_sign()),
    ("parameter-added", "parameter \"RegionId\" was not signed", &[("RegionId", "cn-hangzhou")],
     |call, _| without(call, |name, _| name != "RegionId")),
    ("get-for-post", "begins with GET", &[],
     |_, right| right.replacen("POST&", "GET&", 1)),
    ("plus-for-space", "a space was signed as +", SPACED,
     |call, _| again(call, |query| query.replace("%20", "+"))),
    ("bare-asterisk", "an asterisk was signed as *", SPACED,
     |call, _| again(call, |query| query.replace("%2A", "*"))),
    ("escaped-tilde", "a tilde was signed as %7E", SPACED,
     |call, _| again(call, |query| query.replace('~', "%7E"))),
    ("form-encoding", "as HTML forms are encoded", SPACED,
     |call, _| again(call, |query| query.replace("%20", "+").replace("%2A", "*").replace('~', "%7E"))),
    ("encoded-once", "not encoded a second time", &[],
     |call, _| format!("POST&%2F&{}", canonical(&call.parameters))),
    ("bare-path", "the path was signed as /", &[],
     |_, right| right.replace("POST&%2F&", "POST&/&")),
    ("unsorted", "not sorted by name", &[("SignatureType", "")],
     |call, _| {
         let pairs: Vec<String> = call.parameters.iter()
             .map(|(name, value)| format!("{name}={}", encoded(value)))
             .collect();
         format!("POST&%2F&{}", encoded(&pairs.join("&")))
     }),
    ("empty-left-out", "with an empty value were left out", &[("SignatureType", "")],
     |call, _| without(call, |_, value| !value.is_empty())),
    ("token-left-out", "SecurityToken was left out",
     &[("AccessKeyId", "STS.testid"), ("SecurityToken", "CAIS+sts/token==")],
     |call, _| without(call, |name, _| name != "SecurityToken")),
    ("secret-alone", "the key is the secret with & behind it", &[], |_, right| right.to_owned()),
    ("wrong-secret", "is not the one under the secret configured for testid", &[],
     |_, right| right.to_owned()),
];

fn signed_wrongly(call: &mut V1, text: &str, by: &Wrong) {
    let code = by.hash.hmac(by.key.as_bytes(), text.as_bytes());
    call.signature = Some(if by.in_hex { hex(&code) } else { base64(&code) });
}

fn version_1(tables: &Tables, format: &str) -> Vec<Exchange> {
    let mut all = Vec::new();
    for (case, reason, changes, text) in MISTAKES {
        let mut call = V1::new(format);
        for (name, value) in changes {
            set(&mut call.parameters, name, Some(value));
        }
        let key = match case {
            "secret-alone" => "testsecret",
            "wrong-secret" => "no&",
            _ => RIGHT_KEY.key,
        };
        let text = text(&call, &call.string_to_sign());
        signed_wrongly(&mut call, &text, &Wrong { key, ..RIGHT_KEY });
        let case = format!("{case}-{format}");
        all.push(mismatch_v1(tables, &case, format, reason, &call));
    }
    let mut by_get = V1 {
        method: "GET".to_owned(),
        ..V1::new(format)
    };
    let text = by_get.string_to_sign().replacen("GET&", "POST&", 1);
    signed_wrongly(&mut by_get, &text, &RIGHT_KEY);
    let case = format!("post-for-get-{format}");
    all.push(mismatch_v1(
        tables,
        &case,
        format,
        "begins with POST",
        &by_get,
    ));
    for (case, reason, by) in [
        (
            "hexadecimal",
            "is in hexadecimal",
            Wrong {
                in_hex: true,
                ..RIGHT_KEY
            },
        ),
        (
            "hmac-sha256",
            "signed with HMAC-SHA256",
            Wrong {
                hash: Hash::Sha256,
                ..RIGHT_KEY
            },
        ),
    ] {
        let mut call = V1::new(format);
        let text = call.string_to_sign();
        signed_wrongly(&mut call, &text, &by);
        let case = format!("{case}-{format}");
        all.push(mismatch_v1(tables, &case, format, reason, &call));
    }
    let garbage = V1 {
        signature: Some("wrong".to_owned()),
        ..V1::new(format)
    };
    let reason = "is not the one under the secret configured for testid";
    let case = format!("not-base64-{format}");
    all.push(mismatch_v1(tables, &case, format, reason, &garbage));
    all
}

/// Signed with the secret of another key that the emulator knows.
fn of_another_key(tables: &Tables) -> Exchange {
    let mut call = V1::new("json");
    let text = call.string_to_sign();
    let by = Wrong {
        key: "other&",
        ..RIGHT_KEY
    };
    signed_wrongly(&mut call, &text, &by);
    let reason = "signed with the secret of access key second";
    let keys = json!({"access_keys": [
        {"id": "testid", "secret": "testsecret"}, {"id": "second", "secret": "other"},
    ]});
    Exchange {
        config: config(&keys),
        ..mismatch_v1(tables, "other-key", "json", reason, &call)
    }
}

/// A case, what the journal says, whether its values hold what must be escaped, the secret, what
/// is signed of the right canonical request.
type Mistake3 = (
    &'static str,
    &'static str,
    bool,
    &'static str,
    fn(&str) -> String,
);

#[rustfmt::skip]
const MISTAKES_3: [Mistake3; 10] = [
    ("ampersand", "signed with & behind the secret", false, "testsecret&", str::to_owned),
    ("wrong-secret", "is not the one under the secret configured for testid", false, "no", str::to_owned),
    ("payload-changed", "or what came is not what was signed", false, "testsecret",
     |right| right.replace("Payload=hello", "Payload=signed")),
    ("parameter-added", "parameter \"Payload\" was not signed", false, "testsecret",
     |right| right.replace("&Payload=hello", "")),
    ("get-for-post", "says GET", false, "testsecret", |right| right.replacen("POST\n", "GET\n", 1)),
    ("no-port", "without its port", false, "testsecret",
     |right| right.replace("host:127.0.0.1:21000", "host:127.0.0.1")),
    ("plus-for-space", "a space was signed as +", true, "testsecret", |right| right.replace("%20", "+")),
    ("bare-asterisk", "an asterisk was signed as *", true, "testsecret", |right| right.replace("%2A", "*")),
    ("bare-slash", "a slash was signed as /", true, "testsecret", |right| right.replace("%2F", "/")),
    ("no-query", "the query was left out", false, "testsecret",
     |right| format!("POST\n/\n\n{}", right.splitn(4, '\n').nth(3).unwrap())),
];

fn mismatch_v3(
    tables: &Tables,
    (case, format, reason): (&str, &str, &str),
    canonical_request: &str,
    call: &V3,
    sent: Sent,
) -> Exchange {
    let text = call.string_to_sign(canonical_request);
    let row = &tables.errors["SignatureMismatchV3"];
    let row = Row {
        message: row.message.replace("{canonical}", canonical_request),
        ..row.clone()
    };
    Exchange {
        code: Code::Some,
        reason: Some(reason.to_owned()),
        ..exchange(
            format!("SendMessage__v3-signature-{case}-{format}"),
            sent,
            Reply::new(format).refused(&row, row.status, &text),
        )
    }
}

fn version_3(tables: &Tables, format: &str) -> Vec<Exchange> {
    let mut all = Vec::new();
    for (case, reason, spaced, secret, change) in MISTAKES_3 {
        let mut call = V3 {
            secret: secret.to_owned(),
            ..V3::new(format)
        };
        if spaced {
            let values = [
                ("InstanceId", INSTANCE),
                ("MqttTopic", "TopicA/b"),
                ("Payload", "a b*~"),
            ];
            call.parameters = values
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        }
        let right = call.canonical_request();
        let signature = call.signature(&call.string_to_sign(&change(&right)));
        let sent = call.sent_with(&signature);
        all.push(mismatch_v3(
            tables,
            (case, format, reason),
            &right,
            &call,
            sent,
        ));
    }
    let host = format!("http://{HOST}");
    let call = V3::new(format).field("host", Some(&host));
    let right = call.canonical_request();
    let changed = call.string_to_sign(&right.replace("host:http://", "host:"));
    let sent = call.sent_with(&call.signature(&changed));
    let case = ("no-scheme", format, "without the http://");
    all.push(mismatch_v3(tables, case, &right, &call, sent));

    let call = V3::new(format);
    let right = call.canonical_request();
    let signature = call.signature(&call.string_to_sign(&right)).to_uppercase();
    let sent = call.sent_with(&signature);
    let case = ("upper-case", format, "must be in lower case");
    all.push(mismatch_v3(tables, case, &right, &call, sent));

    // A body that is not the one whose hash is signed.
    let empty = hex(&Hash::Sha256.of(b""));
    let call = V3::new(format).field("x-acs-content-sha256", Some(&empty));
    let sent = Sent {
        body: b"a=b".to_vec(),
        ..call.sent()
    };
    let came = V3 {
        body: "a=b".to_owned(),
        ..call.clone()
    };
    let case = ("body-hash", format, "is not the hash of the body that came");
    all.push(mismatch_v3(
        tables,
        case,
        &came.canonical_request(),
        &call,
        sent,
    ));
    all
}
