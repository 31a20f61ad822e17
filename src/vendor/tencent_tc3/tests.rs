//! The recorded requests, and what becomes of each when one thing about it is wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::signed::hex;
use super::*;
use crate::exchange::{Head, Headers, Scheme, Version};

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
        assert_eq!(hex(&signed.signing_key(key)), case.signing_key_hex);
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
    let unknown = Case::first().signed_as(&"0".repeat(64)).verify();
    assert_eq!(unknown, Err(Tc3Error::SignatureFailure { hint: None }));
}

#[test]
fn the_host_may_be_signed_without_its_port_as_the_node_sdk_does() {
    // Computed with Python's hmac, not by this file.
    let case =
        Case::first().signed_as("997cf11edb4a0e972d3373bf1177dcaefb98600cf4a5f63e4b56c3b13c37a5eb");
    assert!(case.verify().is_ok());
}

#[test]
fn another_body_does_not_verify() {
    let mut case = Case::first();
    case.body = case.body.replace("hello", "hullo");
    assert!(matches!(
        case.verify(),
        Err(Tc3Error::SignatureFailure { .. })
    ));
}

#[test]
fn with_auth_off_nothing_is_verified_but_the_headers_are_read() {
    let settings = Settings {
        auth: Auth::Off,
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
