//! What matchers match, what they refuse, and what a near miss says.

use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Message, Origin, OriginKind, Properties, Qos};
use proptest::prelude::*;

use super::super::looking::Bounds;
use super::*;

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

const BOUNDS: Bounds = Bounds {
    time: Duration::from_mins(10),
    entry_bytes: 4 << 20,
    bytes: 256 << 20,
};

fn looking() -> Looking {
    Looking::within(BOUNDS)
}

#[track_caller]
fn holds(wanted: &Value, message: &Message) -> bool {
    let pattern = pattern(wanted).unwrap();
    let matches = pattern.matches(message, &mut looking()).unwrap();
    let agreed = pattern.agreed(message, &mut looking()).unwrap();
    assert_eq!(matches, agreed == pattern.clauses());
    let differences = pattern.differences(message, &mut looking()).unwrap();
    assert_eq!(differences.len(), pattern.clauses() - agreed);
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
    let pattern = pattern(&wanted).unwrap();
    assert_eq!(pattern.agreed(&message, &mut looking()), Ok(1));
    let differences = pattern.differences(&message, &mut looking()).unwrap();
    let [qos, payload] = &differences[..] else {
        panic!("{differences:?}")
    };
    assert_eq!(
        (&*qos.field, &qos.expected, &qos.actual),
        ("qos", &json!(0), &json!(1))
    );
    assert_eq!(payload.expected, json!({"contains": "hello"}));
    assert_eq!(payload.actual.as_str().unwrap().len(), QUOTED + 3);
}

#[test]
fn an_id_matches_in_every_spelling() {
    let message = message("t", b"");
    for id in [
        "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789ABCDEF",
    ] {
        assert!(holds(&json!({"id": id}), &message), "{id}");
    }
    assert!(!holds(&json!({"id": "0123456789abcdef"}), &message));
    assert!(holds(&json!({"id": {"contains": "ABCDEF"}}), &message));
}

#[test]
fn a_pattern_may_have_so_many_matchers_and_expressions() {
    let names = |count: usize| -> Value {
        let names = (0..count).map(|n| (n.to_string(), json!("x")));
        json!({"properties": {"user_properties": names.collect::<Map<_, _>>()}})
    };
    assert!(pattern(&names(MAX_TESTS)).is_ok());
    let refused = pattern(&names(MAX_TESTS + 1)).err().unwrap();
    assert!(refused.why.contains("100 matchers"), "{refused}");
    let expressions = |count: usize, text: &str| -> Value {
        let names = (0..count).map(|n| (n.to_string(), json!({"matches": text})));
        json!({"properties": {"user_properties": names.collect::<Map<_, _>>()}})
    };
    assert!(pattern(&expressions(MAX_EXPRESSIONS, "a+")).is_ok());
    let refused = pattern(&expressions(MAX_EXPRESSIONS + 1, "a+"))
        .err()
        .unwrap();
    assert!(refused.why.contains("8 regular expressions"), "{refused}");
    let refused = pattern(&expressions(2, r"\w{30}")).err().unwrap();
    assert!(refused.why.contains("1048576 bytes"), "{refused}");
}

#[test]
fn a_text_over_a_bound_ends_the_search_and_names_the_setting() {
    let message = message("t", &[b'x'; 1000]);
    let wanted = pattern(&json!({"payload": {"contains": "y"}})).unwrap();
    let bounds = Bounds {
        entry_bytes: 999,
        ..BOUNDS
    };
    let halt = wanted
        .matches(&message, &mut Looking::within(bounds))
        .unwrap_err();
    assert_eq!(halt.setting(), Some("journal.search_entry_bytes"));
    assert!(
        halt.to_string().starts_with("payload has 1000 bytes"),
        "{halt}"
    );
    let mut looking = Looking::within(Bounds {
        bytes: 1999,
        ..BOUNDS
    });
    assert_eq!(wanted.matches(&message, &mut looking), Ok(false));
    assert_eq!(
        wanted.matches(&message, &mut looking),
        Err(Halt::Bytes(1999))
    );
}

#[test]
fn deep_documents_are_compared_without_recursion() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let (expected, actual) = (deep(100), deep(100));
    assert!(is_subset(&expected, &actual));
    assert!(!is_subset(&expected, &deep(99)));
    // What serde_json does not read, matches nothing.
    let text = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let message = message("t", text.as_bytes());
    assert!(!holds(&json!({"payload": {"json": []}}), &message));
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
        prop_assert!(holds(&equal, &message));
        prop_assert!(holds(&part, &message));
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
