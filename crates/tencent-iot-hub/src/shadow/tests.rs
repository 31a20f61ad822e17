//! The conversations that the data flow page prints, and what is no conversation.

use super::*;

const NOW: i64 = 1_514_967_088_000;

fn desire(shadow: &mut Shadow, wish: &Value, version: u64) -> Option<Desired> {
    match shadow.desire(wish, version, NOW) {
        Desire::Done(desired) => Some(desired),
        Desire::OtherVersion => None,
        Desire::TooLarge(bytes) => panic!("{bytes}"),
    }
}

fn ask(shadow: &mut Shadow, request: &str) -> Value {
    shadow.take(request.as_bytes(), NOW).unwrap()
}

#[test]
fn a_blank_shadow_answers_as_the_page_prints_it() {
    let answer = ask(
        &mut Shadow::default(),
        r#"{"type":"get","clientToken":"t"}"#,
    );
    assert_eq!(answer["clientToken"], "t");
    assert_eq!(answer["result"], 0);
    assert_eq!(
        answer["payload"],
        json!({"state": {}, "metadata": {}, "version": 0})
    );
}

#[test]
fn what_was_reported_can_be_got_and_null_takes_it_away() {
    let mut shadow = Shadow::default();
    let update =
        r#"{"type":"update","state":{"reported":{"t":27,"u":1}},"version":0,"clientToken":"a"}"#;
    let answer = ask(&mut shadow, update);
    assert_eq!(answer["result"], 0);
    assert_eq!(answer["payload"]["version"], 1);
    assert_eq!(answer["payload"]["state"]["reported"]["t"], 27);
    ask(
        &mut shadow,
        r#"{"type":"update","state":{"reported":{"u":null}}}"#,
    );
    let got = ask(&mut shadow, r#"{"type":"get"}"#);
    assert_eq!(got["payload"]["state"], json!({"reported": {"t": 27}}));
    assert_eq!(got["payload"]["version"], 2);
}

#[test]
fn another_version_is_refused_with_the_whole_document_and_changes_nothing() {
    let mut shadow = Shadow::default();
    ask(
        &mut shadow,
        r#"{"type":"update","state":{"reported":{"t":1}}}"#,
    );
    let update = r#"{"type":"update","state":{"reported":{"t":2}},"version":9,"clientToken":"c"}"#;
    let answer = ask(&mut shadow, update);
    assert_eq!(answer["result"], 5005);
    assert_eq!(answer["clientToken"], "c");
    assert_eq!(answer["payload"]["state"]["reported"]["t"], 1);
    assert_eq!(answer["payload"]["version"], 1);
    assert!(desire(&mut shadow, &json!({"desired": {"t": 3}}), 9).is_none());
    assert_eq!(
        ask(&mut shadow, r#"{"type":"get"}"#)["payload"]["version"],
        1
    );
}

#[test]
fn version_0_and_none_ask_for_no_comparison() {
    let mut shadow = Shadow::default();
    for (n, version) in ["0", "0", "null", ""].into_iter().enumerate() {
        let version = match version {
            "" => String::new(),
            version => format!(r#","version":{version}"#),
        };
        let update = format!(r#"{{"type":"update","state":{{"reported":{{"t":{n}}}}}{version}}}"#);
        assert_eq!(ask(&mut shadow, &update)["result"], 0, "{update}");
    }
    for version in ["3", "-1", "4.5", "\"4\"", "[]", "18446744073709551616"] {
        let update = format!(r#"{{"type":"update","state":{{}},"version":{version}}}"#);
        assert_eq!(ask(&mut shadow, &update)["result"], 5005, "{update}");
    }
}

#[test]
fn an_answer_is_stamped_in_seconds_and_its_payload_in_milliseconds() {
    let mut shadow = Shadow::default();
    let report = r#"{"type":"update","state":{"reported":{"t":1}}}"#;
    let updated = ask(&mut shadow, report);
    let got = ask(&mut shadow, r#"{"type":"get"}"#);
    let conflict = r#"{"type":"update","state":{},"version":9}"#;
    let refused = ask(&mut shadow, conflict);
    let wish = json!({"desired": {"t": 2}});
    let desired = desire(&mut shadow, &wish, 1).unwrap();
    let described = shadow.described(NOW);
    let delta = desired.delta.unwrap();
    for answer in [updated, got, refused, desired.answer, described, delta] {
        assert_eq!(answer["timestamp"], 1_514_967_088, "{answer}");
        assert_eq!(answer["payload"]["timestamp"], NOW, "{answer}");
    }
}

#[test]
fn a_wish_is_told_to_the_device_as_a_delta_until_the_device_has_taken_it() {
    let mut shadow = Shadow::default();
    ask(
        &mut shadow,
        r#"{"type":"update","state":{"reported":{"temperature":27,"on":true}}}"#,
    );
    let wish = json!({"desired": {"temperature": 25, "on": true}});
    let desired = desire(&mut shadow, &wish, 1).unwrap();
    assert_eq!(desired.answer["payload"]["state"], wish);
    let delta = desired.delta.unwrap();
    let at = json!({"temperature": {"timestamp": NOW}});
    assert_eq!(
        delta,
        json!({"type": "delta", "timestamp": NOW / 1_000, "payload": {
            "state": {"temperature": 25}, "metadata": at, "version": 2, "timestamp": NOW}})
    );
    let got = ask(&mut shadow, r#"{"type":"get"}"#);
    assert_eq!(got["payload"]["state"]["delta"], json!({"temperature": 25}));
    assert_eq!(got["payload"]["metadata"]["delta"], at);
    let taken =
        r#"{"type":"update","state":{"reported":{"temperature":25},"desired":null},"version":2}"#;
    let answer = ask(&mut shadow, taken);
    assert_eq!(answer["payload"]["state"]["desired"], Value::Null);
    assert_eq!(
        answer["payload"]["metadata"]["desired"]["temperature"]["timestamp"],
        NOW
    );
    let got = ask(&mut shadow, r#"{"type":"get"}"#);
    assert_eq!(
        got["payload"]["state"],
        json!({"reported": {"temperature": 25, "on": true}})
    );
}

#[test]
fn a_wish_that_is_fulfilled_already_is_told_to_nobody() {
    let mut shadow = Shadow::default();
    ask(
        &mut shadow,
        r#"{"type":"update","state":{"reported":{"t":1}}}"#,
    );
    let desired = desire(&mut shadow, &json!({"desired": {"t": 1}}), 1).unwrap();
    assert!(desired.delta.is_none());
}

#[test]
fn what_is_no_request_gets_no_answer() {
    let mut shadow = Shadow::default();
    for payload in [&b"{"[..], b"[]", b"{}", br#"{"type":"drop"}"#, b"\xff"] {
        assert!(shadow.take(payload, 0).is_none());
    }
}

#[test]
fn a_state_is_one_desired_object_of_bounded_depth_or_null() {
    for good in [
        json!({"desired": null}),
        json!({"desired": {}}),
        json!({"desired": {"a": [1, {"b": {"c": {"d": 1}}}]}}),
        json!({"desired": {"a": null}}),
    ] {
        assert_eq!(state_fault(&good), None, "{good}");
    }
    for bad in [
        json!([]),
        json!({}),
        json!({"desired": 1}),
        json!({"reported": {"a": 1}}),
        json!({"desired": {}, "reported": {}}),
        json!({"desired": {"a": [null]}}),
        json!({"desired": {"a": {"b": {"c": {"d": {"e": {}}}}}}}),
    ] {
        assert!(state_fault(&bad).is_some(), "{bad}");
    }
}

#[test]
fn a_shadow_does_not_grow_without_bound() {
    let mut shadow = Shadow::default();
    let part = "x".repeat(16 << 10);
    let update = |name: usize| {
        json!({"type": "update", "state": {"reported": {name.to_string(): part}}}).to_string()
    };
    let kept = (0..100).take_while(|name| shadow.take(update(*name).as_bytes(), NOW).is_some());
    assert_eq!(kept.count(), 15);
    let version = shadow.version;
    let wish = json!({"desired": {"t": part}});
    let desired = shadow.desire(&wish, version, NOW);
    assert!(matches!(desired, Desire::TooLarge(bytes) if bytes > MAX_KEPT));
    assert_eq!(shadow.version, version);
    // What is gone makes room.
    ask(
        &mut shadow,
        r#"{"type":"update","state":{"reported":null}}"#,
    );
    assert!(desire(&mut shadow, &wish, version + 1).is_some());
}
