//! What matchers match, what they refuse, and what a near miss says.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::broker::message::{Message, Origin, OriginKind, Properties, Qos};
use crate::exchange::Surface;

fn message(topic: &str, payload: &[u8]) -> Message {
    Message {
        id: "0123456789ABCDEF0123456789ABCDEF".to_owned(),
        time: "2026-11-21T22:51:00Z".parse().unwrap(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: Some(Surface::Aliyun),
            client_id: Some("GID_test@@@dev".to_owned()),
            request: None,
        },
        topic: topic.to_owned(),
        qos: Qos::AtLeastOnce,
        retain: false,
        payload: Bytes::copy_from_slice(payload),
        properties: Properties {
            content_type: Some("text/plain".to_owned()),
            user_properties: vec![
                ("k".to_owned(), "v1".to_owned()),
                ("k".to_owned(), "v2".to_owned()),
                ("a.b".to_owned(), "dotted".to_owned()),
            ],
            ..Properties::default()
        },
        deliveries: parking_lot::Mutex::default(),
    }
}

fn pattern(wanted: &Value) -> Result<Pattern<Message>, PatternError> {
    Pattern::parse(wanted.as_object().unwrap())
}

#[track_caller]
fn holds(wanted: &Value, message: &Message) -> bool {
    let pattern = pattern(wanted).unwrap();
    let matches = pattern.matches(message);
    assert_eq!(matches, pattern.compare(message).matches());
    matches
}

#[test]
fn every_kind_of_matcher_holds_for_what_it_describes_and_for_nothing_else() {
    let message = message("a/b", br#"{"n":1,"list":[1,2],"o":{"x":"y","z":null}}"#);
    for wanted in [
        json!({}),
        json!({"topic": "a/b", "qos": 1, "retain": false}),
        json!({"topic": "a/+"}),
        json!({"topic": "#"}),
        json!({"payload": {"contains": "list"}}),
        json!({"payload": {"matches": r#""n":\d"#}}),
        json!({"payload": {"json": {"n": 1.0, "o": {"x": "y"}}}}),
        json!({"payload": {"json": {"list": [1, 2]}, "contains": "z"}}),
        json!({"origin": {"vendor": "aliyun", "kind": "http"}}),
        json!({"origin.client_id": {"contains": "@@@"}, "vendor": "aliyun"}),
        json!({"origin.request": null}),
        json!({"properties": {"content_type": "text/plain"}}),
        json!({"properties.user_properties.k": "v2"}),
        json!({"properties": {"user_properties": {"a.b": "dotted", "absent": null}}}),
        json!({"size": {"matches": r"^\d+$"}}),
    ] {
        assert!(holds(&wanted, &message), "{wanted}");
    }
    for wanted in [
        json!({"topic": "a/c"}),
        json!({"topic": "+"}),
        json!({"qos": "1"}),
        json!({"qos": 0}),
        json!({"payload": {"json": {"n": "1"}}}),
        json!({"payload": {"json": {"list": [1]}}}),
        json!({"payload": {"json": {"o": {"missing": null}}}}),
        json!({"payload": {"contains": "list", "matches": "^x"}}),
        json!({"properties.user_properties.k": "v3"}),
        json!({"properties.user_properties.k": null}),
        json!({"origin.request": {"contains": ""}}),
    ] {
        assert!(!holds(&wanted, &message), "{wanted}");
    }
}

#[test]
fn bytes_that_are_no_text_match_by_base64_only() {
    let message = message("t", &[0xff, 0xfe]);
    assert!(holds(&json!({"payload": {"base64": "//4="}}), &message));
    assert!(!holds(&json!({"payload": {"contains": ""}}), &message));
    assert!(!holds(&json!({"payload": {"text": "x"}}), &message));
}

#[test]
fn a_pattern_that_cannot_be_meant_is_refused_by_name() {
    for (wanted, field, part) in [
        (json!({"topics": "a"}), "topics", "there are id, topic"),
        (json!({"origin": {"ip": "x"}}), "origin.ip", "no such field"),
        (json!({"origin": "http"}), "origin", "give an object"),
        (json!({"topic": "a/#/b"}), "topic", "not a topic filter"),
        (
            json!({"payload": {"matches": "("}}),
            "payload",
            "not a regular expression",
        ),
        (
            json!({"payload": {"contains": 1}}),
            "payload",
            "contains takes a text",
        ),
        (
            json!({"payload": {"like": "x"}}),
            "payload",
            "unknown matcher \"like\"",
        ),
        (json!({"payload": {}}), "payload", "no matcher is given"),
        (json!({"payload": [1]}), "payload", "an array"),
    ] {
        let Err(error) = pattern(&wanted) else {
            panic!("{wanted} was accepted")
        };
        assert_eq!(error.field, field);
        assert!(error.why.contains(part), "{error}");
    }
}

#[test]
fn a_near_miss_says_what_differed_and_quotes_no_more_than_needed() {
    let payload = "x".repeat(1000);
    let message = message("a/b", payload.as_bytes());
    let wanted = json!({"topic": "a/b", "qos": 0, "payload": {"contains": "hello"}});
    let comparison = pattern(&wanted).unwrap().compare(&message);
    assert_eq!(comparison.agreed, 1);
    let [qos, payload] = &comparison.differences[..] else {
        panic!("{comparison:?}")
    };
    assert_eq!(
        (&*qos.field, &qos.expected, &qos.actual),
        ("qos", &json!(0), &json!(1))
    );
    assert_eq!(payload.expected, json!({"contains": "hello"}));
    assert_eq!(payload.actual.as_str().unwrap().len(), QUOTED + 3);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn every_document_is_a_subset_of_itself_and_of_itself_with_more(
        document in any_json(), extra in any_json()
    ) {
        prop_assert!(is_subset(&document, &document));
        if let Value::Object(members) = &document {
            let mut more = members.clone();
            more.insert("extra".to_owned(), extra);
            prop_assert!(is_subset(&document, &Value::from(more.clone())));
            prop_assert!(!is_subset(&Value::from(more), &document));
        }
    }

    #[test]
    fn a_payload_matches_its_own_text_and_every_part_of_it(text in ".{0,40}", cut in 0usize..40) {
        let message = message("t", text.as_bytes());
        let part: String = text.chars().skip(cut).collect();
        let (equal, part) = (json!({"payload": text}), json!({"payload": {"contains": part}}));
        prop_assert!(pattern(&equal).unwrap().matches(&message));
        prop_assert!(pattern(&part).unwrap().matches(&message));
    }

    #[test]
    fn no_json_object_makes_the_parser_panic(wanted in any_json()) {
        if let Value::Object(wanted) = wanted {
            let _ = Pattern::<Message>::parse(&wanted);
            let nested = json!({"payload": wanted, "origin": wanted, "properties": wanted});
            let _ = pattern(&nested);
        }
    }
}
