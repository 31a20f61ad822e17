//! The recorded requests, and what becomes of each when one thing about it is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mqttstack_base::exchange::{Head, Headers, Scheme, Version};
use mqttstack_kit::hex;

use super::*;

#[derive(serde::Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize, Clone)]
struct Case {
    headers: Map<String, Value>,
    body: String,
    canonical_request: String,
    string_to_sign: String,
    signing_key_hex: String,
    expected_signature: String,
}

impl Case {
    fn all() -> Vec<Self> {
        let text = include_str!("../../../fixtures/tencent-tc3/cloudapi.json");
        serde_json::from_str::<Vectors>(text).unwrap().cases
    }

    fn first() -> Self {
        Self::all().remove(0)
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), json!(value));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.shift_remove(name);
        self
    }

    fn signed_as(self, signature: &str) -> Self {
        let old = self.headers["Authorization"].as_str().unwrap();
        let (head, _) = old.rsplit_once('=').unwrap();
        let new = format!("{head}={signature}");
        self.set("Authorization", &new)
    }

    fn request(&self) -> Request {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = value.as_str().unwrap().to_owned();
            (name.as_str().into(), value.into())
        });
        Request {
            head: Head {
                method: "POST".into(),
                target: "/".into(),
                version: Version::Http11,
                headers: Headers(headers.collect()),
                size: 0,
            },
            body: self.body.clone().into(),
            malformed: None,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 2)),
            scheme: Scheme::Http,
            certificates: Arc::new([]),
        }
    }

    fn service(&self) -> &str {
        self.headers
            .get("Authorization")
            .and_then(|scope| scope.as_str()?.split('/').nth(2))
            .unwrap_or("iotcloud")
    }

    fn verify(&self) -> Result<Caller, Tc3Error> {
        self.verify_at(1_700_000_000)
    }

    fn verify_at(&self, second: i64) -> Result<Caller, Tc3Error> {
        verify(
            &self.request(),
            &Settings::default(),
            Timestamp::from_second(second).unwrap(),
            self.service(),
        )
    }
}

#[test]
fn every_recorded_request_verifies_and_its_steps_are_those_recorded() {
    for case in Case::all() {
        let caller = case.verify().unwrap();
        assert_eq!(caller.secret_id, "AKIDEXAMPLE0000000000000000000000000");
        assert_eq!(caller.invocation.action, case.headers["X-TC-Action"]);
        assert_eq!(caller.invocation.version, case.headers["X-TC-Version"]);
        assert_eq!(caller.invocation.region.as_deref(), Some("ap-guangzhou"));
        let request = case.request();
        let written = request.head.headers.text("Authorization").unwrap();
        let authorization = Authorization::parse(written).unwrap();
        let signed = Signed::of(&request, &authorization, 1_700_000_000).unwrap();
        let canonical = signed.canonical_request(false);
        assert_eq!(canonical, case.canonical_request);
        assert_eq!(signed.string_to_sign(&canonical), case.string_to_sign);
        let key = "SecretKeyExample0000000000000000";
        assert_eq!(hex::lower(signed.signing_key(key)), case.signing_key_hex);
        assert_eq!(signed.signature(key, &canonical), case.expected_signature);
    }
}

#[test]
fn a_missing_header_is_named() {
    for name in [
        "X-TC-Action",
        "X-TC-Version",
        "X-TC-Timestamp",
        "Authorization",
    ] {
        let refused = Case::first().without(name).verify().unwrap_err();
        assert_eq!(refused, Tc3Error::MissingHeader(name));
        assert!(refused.message().contains(name));
    }
}

#[test]
fn a_timestamp_more_than_five_minutes_away_is_expired_in_both_directions() {
    let case = Case::first();
    for (at, fits) in [
        (1_700_000_300, true),
        (1_699_999_700, true),
        (1_700_000_301, false),
        (1_699_999_699, false),
    ] {
        let result = case.verify_at(at);
        assert_eq!(result.is_ok(), fits, "{at}");
        if let Err(error) = result {
            assert_eq!(error.row().code, "AuthFailure.SignatureExpire");
        }
    }
}

#[test]
fn a_wrong_key_token_scope_or_header_is_refused_by_its_own_code() {
    let code = |case: Case| case.verify().unwrap_err().row().code;
    let authorization = Case::first().headers["Authorization"]
        .as_str()
        .unwrap()
        .to_owned();
    let with =
        |old: &str, new: &str| Case::first().set("Authorization", &authorization.replace(old, new));
    assert_eq!(
        code(with("AKIDEXAMPLE", "AKIDNOBODY")),
        "AuthFailure.SecretIdNotFound"
    );
    assert_eq!(
        code(with("tc3_request", "aws4_request")),
        "AuthFailure.InvalidAuthorization"
    );
    assert_eq!(
        code(with("TC3-HMAC-SHA256", "HmacSHA256")),
        "AuthFailure.InvalidAuthorization"
    );
    assert_eq!(
        code(with("content-type;host", "host")),
        "AuthFailure.SignatureFailure"
    );
    assert_eq!(
        code(with("2023-11-14", "2023-11-15")),
        "AuthFailure.SignatureFailure"
    );
    assert_eq!(
        code(Case::first().set("X-TC-Timestamp", "now")),
        "InvalidParameterValue"
    );
    let mut settings = Settings::default();
    settings.secrets[0].token = Some(Secret::new("session"));
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let bare = verify(&Case::first().request(), &settings, now, "iotcloud");
    assert_eq!(bare, Err(Tc3Error::TokenFailure));
    let with_token = Case::first().set("X-TC-Token", "session");
    assert!(verify(&with_token.request(), &settings, now, "iotcloud").is_ok());
    let other = verify(&with_token.request(), &settings, now, "mqtt").unwrap_err();
    assert!(other.to_string().contains("\"iotcloud\""), "{other}");
}

#[test]
fn a_known_mistake_is_named_in_the_reason_and_not_in_the_answer() {
    // Each signature was computed with Python's hmac, not by this file.
    for (signature, phrase) in [
        (
            "7f2cae18a9d735ec01597474f68f3552b6c60f5e4334b518395cfbe013c055df",
            "written without white space",
        ),
        (
            "00273184cac736778fe1de37ba3561a63ae592c359ca0af74c521cca86335bec",
            "host: \"iotcloud.tencentcloudapi.com\"",
        ),
        (
            "fb5f4e60ba04a9951c9d5b09a514cc5eee54eb9f20089378df4bf291e0c8d7c9",
            "without the prefix",
        ),
        (
            "7c4b524c81bf03a7ae15b88d4f2a7e41a27ff95cef2181f72f42d37c44befa32",
            "charset=utf-8",
        ),
    ] {
        let refused = Case::first().signed_as(signature).verify().unwrap_err();
        assert!(refused.to_string().contains(phrase), "{phrase}: {refused}");
        assert_eq!(
            refused.message(),
            "The provided credentials could not be validated. Please check your signature is correct."
        );
    }
}

/// The well-known key and another one.
fn two_keys() -> Settings {
    let mut settings = Settings::default();
    settings.secrets.push(Credential {
        id: "AKIDOTHER".to_owned(),
        key: Secret::new("OtherSecretKey000000000000000000"),
        token: None,
    });
    settings
}

fn reason(request: &Request, settings: &Settings) -> String {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let refused = verify(request, settings, now, "iotcloud").unwrap_err();
    assert_eq!(refused.row().code, "AuthFailure.SignatureFailure");
    let reason = refused.to_string();
    assert!(!reason.contains("SecretKeyExample") && !reason.contains("OtherSecretKey"));
    reason
}

#[test]
fn a_signature_of_no_known_mistake_is_met_with_what_the_server_signs() {
    let case = Case::first().signed_as(&"0".repeat(64));
    let wrong = reason(&case.request(), &two_keys());
    for part in [
        "configured for AKIDEXAMPLE0000000000000000000000000",
        &format!("{:?}", case.canonical_request),
        &format!("{:?}", case.string_to_sign),
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    let mut case = Case::first();
    case.body = case.body.replace("hello", "hullo");
    let other_body = reason(&case.request(), &two_keys());
    assert!(
        other_body.contains("canonical request is \"POST"),
        "{other_body}"
    );
    // Computed with Python's hmac under the other key.
    let of_another = "cfb151f52f0c25c8c510913986913c09bc8f9fa7bd3872f187130509a0deaeb8";
    let case = Case::first().signed_as(of_another);
    let wrong = reason(&case.request(), &two_keys());
    assert!(
        wrong.ends_with("under the SecretKey of AKIDOTHER"),
        "{wrong}"
    );
}

/// A call of the older signature as a form.
fn form(signature: &str, more: &str) -> Request {
    let mut request = Case::first()
        .without("Authorization")
        .without("X-TC-Action")
        .set("Content-Type", "application/x-www-form-urlencoded")
        .request();
    request.body = format!(
        "Action=CreateUser&Version=2024-05-16&Region=ap-guangzhou&Timestamp=1700000000&Nonce=4711\
         &SecretId=AKIDEXAMPLE0000000000000000000000000&SignatureMethod=HmacSHA256&Password=hush\
         &Signature={signature}{more}"
    )
    .into();
    request
}

#[test]
fn the_older_signature_is_explained_as_well_and_hides_what_is_secret() {
    let wrong = reason(&form("AAAA", ""), &two_keys());
    let text = "POST127.0.0.1:21100/?Action=CreateUser&Nonce=4711&Password=***&Region=ap-guangzhou\
                &SecretId=AKIDEXAMPLE0000000000000000000000000&SignatureMethod=HmacSHA256";
    assert!(wrong.contains(text) && !wrong.contains("hush"), "{wrong}");
    // Computed with Python's hmac under the other key, then percent-encoded.
    let wrong = reason(
        &form("EVu0%2FlR%2FMGMTLhxKRMy6fCrTnT%2BP3z6fW6FgGho8duo%3D", ""),
        &two_keys(),
    );
    assert!(
        wrong.ends_with("under the SecretKey of AKIDOTHER"),
        "{wrong}"
    );
}

#[test]
fn a_form_over_a_megabyte_needs_the_newer_signature() {
    let limit = V1_MAX_BYTES - form("AAAA", "&P=").body.len();
    let fits = form("AAAA", &format!("&P={}", "x".repeat(limit)));
    assert!(reason(&fits, &two_keys()).contains("does not verify"));
    let over = form("AAAA", &format!("&P={}", "x".repeat(limit + 1)));
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let refused = verify(&over, &two_keys(), now, "mqtt").unwrap_err();
    assert_eq!(refused, Tc3Error::RequestTooLarge);
    assert_eq!(refused.row().code, "AuthFailure.SignatureFailure");
    let message = refused.message();
    assert!(message.contains("request size limit") && message.contains("TC3-HMAC-SHA256"));
}

#[test]
fn an_unknown_key_is_met_with_those_that_are_there() {
    let old = Case::first().headers["Authorization"]
        .as_str()
        .unwrap()
        .to_owned();
    let case = Case::first().set("Authorization", &old.replace("AKIDEXAMPLE", "AKIDNOBODY"));
    let refused = case.verify().unwrap_err().to_string();
    assert!(
        refused.contains("there are AKIDEXAMPLE0000000000000000000000000"),
        "{refused}"
    );
}

#[test]
fn the_host_may_be_signed_without_its_port_as_the_node_sdk_does() {
    // Computed with Python's hmac, not by this file.
    let case =
        Case::first().signed_as("997cf11edb4a0e972d3373bf1177dcaefb98600cf4a5f63e4b56c3b13c37a5eb");
    assert!(case.verify().is_ok());
}

#[test]
fn with_auth_off_nothing_is_verified_but_the_headers_are_read() {
    let settings = Settings {
        auth: AuthMode::Off,
        ..Settings::default()
    };
    let case = Case::first().without("Authorization");
    let caller = verify(
        &case.request(),
        &settings,
        Timestamp::UNIX_EPOCH,
        "iotcloud",
    )
    .unwrap();
    assert_eq!(caller.invocation.action, "PublishMessage");
    assert_eq!(caller.secret_id, "");
}

#[test]
fn parameters_are_a_json_object_or_an_unfolded_query() {
    let case = Case::first();
    assert_eq!(parameters(&case.request()).unwrap()["Qos"], 1);
    let with_charset = case
        .clone()
        .set("Content-Type", "Application/JSON; charset=utf-8");
    assert!(parameters(&with_charset.request()).is_ok());
    let plain = case.clone().set("Content-Type", "text/plain");
    assert!(matches!(
        parameters(&plain.request()),
        Err(Tc3Error::ContentType(_))
    ));
    for body in ["[]", "{", "", "\"x\""] {
        let broken = Case {
            body: body.to_owned(),
            ..case.clone()
        };
        assert!(matches!(
            parameters(&broken.request()),
            Err(Tc3Error::Body(_))
        ));
    }
    let mut get = case.request();
    get.head.method = "GET".into();
    get.head.target = "/?Limit=20&Filters.0.Name=a%20b&Filters.0.Values.0=x".into();
    assert_eq!(
        Value::Object(parameters(&get).unwrap()),
        json!({"Limit": "20", "Filters": [{"Name": "a b", "Values": ["x"]}]})
    );
    get.head.target = "/?A=1&A.B=2".into();
    assert!(parameters(&get).is_err());
    get.head.target = "/?A.9999999999=1".into();
    assert!(parameters(&get).is_err());
}

#[test]
fn every_refusal_is_an_http_200_of_exactly_application_json() {
    let receipt = Receipt {
        id: "ABCDEF00-0000-4000-8000-000000000000".to_owned(),
        now: Timestamp::UNIX_EPOCH,
    };
    for error in Tc3Error::all() {
        let answer = failure(&receipt, error.row().code, &error.message());
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header_value("content-type"),
            Some("application/json")
        );
        let body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap();
        assert_eq!(body["Response"]["Error"]["Code"], error.row().code);
        assert_eq!(
            body["Response"]["RequestId"],
            "abcdef00-0000-4000-8000-000000000000"
        );
    }
}
