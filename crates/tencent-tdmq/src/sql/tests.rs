//! Clauses against messages.

use bytes::Bytes;
use mqttstack_base::message::{Properties, Qos};

use super::*;

struct Sent {
    payload: Bytes,
    properties: Properties,
}

fn sent(payload: &str, properties: &[(&str, &str)]) -> Sent {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sent {
        payload: Bytes::from(payload.to_owned()),
        properties: Properties {
            user_properties: properties.iter().map(pair).collect(),
            ..Properties::default()
        },
    }
}

impl Sent {
    fn fits(&self, clause: &str) -> bool {
        let clause = Where::parse(clause).unwrap_or_else(|error| panic!("{clause}: {error}"));
        clause.takes(&Publish {
            client_id: Some("client1"),
            topic: "sensor/room/temp",
            payload: &self.payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: &self.properties,
            will: false,
        })
    }
}

/// Every clause that must hold, and every one that must not: false or unknown.
fn check(sent: &Sent, holds: &[&str], fails: &[&str]) {
    for clause in holds {
        assert!(sent.fits(clause), "{clause}");
    }
    for clause in fails {
        assert!(!sent.fits(clause), "{clause}");
    }
}

#[test]
fn the_vendor_pages_examples_hold_where_they_should() {
    let message = sent(
        r#"{"temp": 31, "on": true, "deep": {"er": "x"}}"#,
        &[("temp", "26"), ("hum", "50"), ("type", "string-literal")],
    );
    check(
        &message,
        &[
            "payload.temp > 30",
            "temp > 25 AND hum < 70",
            "clientid IN ('client1', 'client2')",
            "payload.location IS NULL",
            "topic LIKE 'sensor/%/temp'",
            "CASE WHEN qos > 0 THEN 'important' ELSE 'normal' END = 'important'",
            "WHERE type = 'string-literal'",
            "payload.on = true AND payload.deep.er = 'x'",
        ],
        &[
            "payload.temp > 31",
            "clientid IN ('client2')",
            "payload.temp IS NULL",
            "topic LIKE 'sensor/%/hum'",
            "payload.deep = 'x'",
            "payload.temp.more = 1",
        ],
    );
}

#[test]
fn operators_bind_as_in_sql() {
    let message = sent("", &[("a", "1"), ("b", "2")]);
    check(
        &message,
        &[
            "a = 1 OR b = 1 AND b = 3",
            "(a = 1 OR b = 1) AND b = 2",
            "NOT a = 2 AND b = 2",
            "NOT (a = 2 OR b = 3)",
            "NOT NOT a = 1",
            "a != -1 AND -b < -1",
            "a not in (2, 3) and b not like '3%'",
            "a IS NOT NULL AND c IS NULL",
            "a < b AND a <= 1 AND b >= 2 AND b > 1",
            "CASE a WHEN 2 THEN false WHEN 1 THEN b = 2 END",
            "CASE WHEN a = 2 THEN false ELSE CASE b WHEN 2 THEN true END END",
            "((((a = 1))))",
            "a IN (1) = true",
        ],
        &[
            "(a = 1 OR b = 1) AND b = 3",
            "NOT a = 1",
            "CASE WHEN a = 2 THEN true END",
            "CASE a WHEN 3 THEN true ELSE false END",
        ],
    );
}

#[test]
fn what_is_not_there_is_null_and_null_is_unknown() {
    let message = sent("no json", &[("a", "1"), ("a", "last"), ("empty", "")]);
    check(
        &message,
        &[
            "a = 'last'",
            "none IS NULL",
            "none = 1 OR a = 'last'",
            "COALESCE(none, a) = 'last'",
            "empty = '' AND empty IS NOT NULL",
            "payload = 'no json' AND payload.x IS NULL",
            "`$where` IS NULL",
        ],
        &[
            "none = 1",
            "none != 1",
            "NOT none = 1",
            "none IN (1, 2)",
            "none NOT IN (1, 2)",
            "a NOT IN ('x', NULL)",
            "none LIKE '%'",
            "NULL",
            "none",
            "a > 1",
            "a",
        ],
    );
}

#[test]
fn functions_take_texts_and_numbers() {
    let message = sent("", &[("kind", "Räd"), ("n", "-2.5"), ("many", "1e2")]);
    check(
        &message,
        &[
            "UPPER(kind) = 'RÄD' AND lower(kind) LIKE 'r_d'",
            "LENGTH(kind) = 3 AND LENGTH('') = 0",
            "ABS(n) = 2.5 AND ABS(-3) = 3 AND many = 100",
            "COALESCE(NULL, none, 'x') = 'x'",
            "UPPER(COALESCE(none, LOWER('A'))) = 'A'",
            "kind LIKE '%' AND kind LIKE 'R%d' AND kind LIKE '___'",
            "'it''s' = 'it''s'",
        ],
        &[
            "UPPER(none) = ''",
            "ABS(kind) = 0",
            "LENGTH(none) = 0",
            "kind LIKE 'r%'",
            "kind LIKE '__'",
            "kind LIKE ''",
            "kind = 'räd'",
        ],
    );
}

#[test]
fn a_clause_that_is_not_understood_says_where() {
    for (clause, needle) in [
        ("", "empty"),
        ("WHERE", "empty"),
        ("a =", "got the end"),
        ("a = 1 b", "got \"b\""),
        ("a == 1", "got \"= 1\""),
        ("a <> 1", "got \"> 1\""),
        ("a = \"x\"", "single quotes"),
        ("a = 'x", "no end"),
        ("(a = 1", "\")\""),
        ("a = 1)", "without \"(\""),
        ("a IN 1", "behind IN"),
        ("a IN ()", "a name or a value"),
        ("a IN (1,)", "a name or a value"),
        ("a IS 1", "NULL behind IS"),
        ("a NOT 1", "IN or LIKE"),
        ("SUBSTR(a, 1) = 'x'", "SUBSTR"),
        ("UPPER(a, b) = 'x'", "one argument"),
        ("UPPER() = 'x'", "a name or a value"),
        ("CASE a END", "THEN"),
        ("CASE WHEN a = 1 THEN 2", "END"),
        ("CASE WHEN a = 1 ELSE 2 END", "in this order"),
        ("a = 1 THEN 2", "inside a CASE"),
        ("a = 1, b = 2", "comma"),
        ("a = 1; b", "not understood"),
        ("a = 1 AND", "got the end"),
        ("a + 1 = 2", "not understood"),
        ("a = 1x", "no number"),
        ("a BETWEEN 1 AND 2", "an operator"),
        ("`a = 1", "no end"),
    ] {
        let error = Where::parse(clause).unwrap_err();
        assert!(error.contains(needle), "{clause}: {error}");
    }
    assert!(
        Where::parse(&"x".repeat(4_097))
            .unwrap_err()
            .contains("4096")
    );
}

#[test]
fn the_first_clause_of_a_subscribe_counts() {
    let property = |value: &str| ("$where".to_owned(), value.to_owned());
    let other = ("where".to_owned(), "?".to_owned());
    assert!(Where::of(&[]).is_none() && Where::of(std::slice::from_ref(&other)).is_none());
    let first = Where::of(&[other, property("a = 1"), property("?")]);
    assert_eq!(first.unwrap(), Where::parse("a = 1"));
}

#[test]
fn neither_depth_nor_length_costs_more_than_is_allowed() {
    let deep = format!("{}a = 1{}", "(".repeat(2_000), ")".repeat(2_000));
    let nots = format!("{}a = 1", "NOT ".repeat(1_000));
    let message = sent("", &[("a", "1")]);
    assert!(message.fits(&deep) && message.fits(&nots));
    let long = sent("", &[("a", &"x".repeat(65_535))]);
    let costly = format!("a LIKE '%{}y%'", "x".repeat(4_000));
    assert!(
        !long.fits(&costly),
        "a condition that costs too much is unknown"
    );
    let cases = "CASE WHEN a = 1 THEN ".repeat(150);
    assert!(Where::parse(&cases).is_err());
}

proptest::proptest! {
    #[test]
    fn no_clause_breaks_reading_or_evaluation(
        any in ".{0,200}",
        words in "(a|b|'x'|1|-|\\(|\\)|,|=|<|NOT|AND|OR|IN|IS|NULL|LIKE|CASE|WHEN|THEN|ELSE|END|UPPER\\(| ){0,40}",
    ) {
        let message = sent("{}", &[("a", "1"), ("b", "x")]);
        for clause in [any, words] {
            if let Ok(clause) = Where::parse(&clause) {
                let publish = Publish {
                    client_id: None,
                    topic: "t",
                    payload: &message.payload,
                    qos: Qos::AtMostOnce,
                    retain: false,
                    properties: &message.properties,
                    will: false,
                };
                let at = Message { publish: &publish, json: OnceCell::new() };
                // Every clause that was read leaves exactly one value.
                assert!(clause.evaluate(&at).is_some());
            }
        }
    }
}
