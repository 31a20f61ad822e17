//! The journal as the admin API shows it: lists, single entries, finding, counting, waiting.

use mqttstack_base::exchange::Answer as HttpAnswer;
use serde_json::{Value, json};

use crate::panel::{NOW, Panel};

fn ids(list: &Value) -> Vec<&str> {
    let entries = list.as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["id"].as_str().unwrap())
        .collect()
}

fn topics(list: &Value) -> Vec<&str> {
    let entries = list.as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["topic"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_request_is_shown_whole_with_its_secrets_cut() {
    let panel = Panel::new().await;
    let headers = [
        ("Host", "localhost"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("x-acs-security-token", "CAIS+sts/token=="),
        ("Authorization", "Basic YWRtaW46cHVibGlj"),
    ];
    let mut opened = panel.open(
        "R1",
        "/?SecurityToken=CAIS%2Bsts%2Ftoken&Format=XML",
        &headers,
    );
    opened.draft.operation = Some("SendMessage".to_owned());
    opened.draft.caller = Some("testid".to_owned());
    opened.draft.messages.push("M1".to_owned());
    let answer = HttpAnswer::new(200)
        .header("Content-Type", "text/xml")
        .body("<Token>0123456789</Token>");
    opened.close(&answer);
    let mut entry = panel.get("/requests/R1").await;
    assert!(entry["duration_us"].take().is_u64());
    assert_eq!(
        entry,
        json!({
            "id": "R1", "cursor": 2, "time": NOW, "vendor": "aliyun", "operation": "SendMessage",
            "method": "POST", "target": "/?SecurityToken=CAIS...&Format=XML",
            "headers": [
                ["Host", "localhost"],
                ["Content-Type", "application/x-www-form-urlencoded"],
                ["x-acs-security-token", "CAIS..."],
                ["Authorization", "Basic YWRt..."],
            ],
            "body": {"text": "Action=SendMessage&Signature=0123..."},
            "caller": "testid", "status": 200, "error_code": null, "reason": null,
            "response": {"headers": [["Content-Type", "text/xml"]], "body": {"text": "<Token>0123...</Token>"}},
            "hints": [], "messages": ["M1"], "duration_us": null, "fault": null,
        })
    );
}

#[tokio::test]
async fn a_message_is_shown_with_its_origin_and_its_bytes() {
    let panel = Panel::new().await;
    panel.publish("a/b", "hello").await;
    let list = panel.get("/messages").await;
    assert_eq!((&list["total"], &list["cursor"]), (&json!(1), &json!(1)));
    let id = list["messages"][0]["id"].as_str().unwrap();
    let message = panel.get(&format!("/messages/{id}")).await;
    assert_eq!(message, list["messages"][0]);
    assert_eq!(
        message["origin"],
        json!({"kind": "http", "vendor": "aliyun", "client_id": "GID_test@@@dev", "request": "R1"})
    );
    assert_eq!(message["payload"], json!({"text": "hello"}));
    assert_eq!(
        (&message["topic"], &message["qos"], &message["size"]),
        (&json!("a/b"), &json!(1), &json!(5))
    );
    assert_eq!(
        (&message["retain"], &message["deliveries"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(message["properties"]["user_properties"], json!([]));
}

#[tokio::test]
async fn lists_are_newest_first_and_obey_filter_cursor_and_limit() {
    let panel = Panel::new().await;
    panel.open("R1", "/", &[]).close(&HttpAnswer::new(200));
    panel.refuse("R2");
    let all = panel.get("/requests").await;
    assert_eq!(
        (ids(&all["requests"]), &all["total"]),
        (vec!["R2", "R1"], &json!(2))
    );
    for (query, expected) in [
        ("status=400", vec!["R2"]),
        ("operation=SendMessage&vendor=aliyun", vec!["R2"]),
        ("error_code=SignatureDoesNotMatch", vec!["R2"]),
        ("vendor=nanomq", vec![]),
        ("since=2", vec!["R2"]),
        ("limit=1", vec!["R2"]),
        ("limit=0", vec![]),
    ] {
        let list = panel.get(&format!("/requests?{query}")).await;
        assert_eq!(ids(&list["requests"]), expected, "{query}");
    }
    for topic in ["a/1", "b/1", "a/2"] {
        panel.publish(topic, "").await;
    }
    for (query, expected) in [
        ("topic=a/%2B", vec!["a/2", "a/1"]),
        ("topic=%23&since=2", vec!["a/2"]),
        (
            "topic=b/1&client_id=GID_test@@@dev&vendor=aliyun",
            vec!["b/1"],
        ),
        ("client_id=other", vec![]),
    ] {
        let list = panel.get(&format!("/messages?{query}")).await;
        assert_eq!(topics(&list["messages"]), expected, "{query}");
    }
}

#[tokio::test]
async fn a_request_in_flight_is_listed_and_gets_a_later_cursor_when_it_is_answered() {
    let panel = Panel::new().await;
    let opened = panel.open("R1", "/", &[]);
    let list = panel.get("/requests").await;
    assert_eq!(list["requests"][0]["status"], Value::Null);
    assert_eq!(list["requests"][0]["response"], Value::Null);
    opened.close(&HttpAnswer::new(200));
    let list = panel
        .get(&format!("/requests?since={}", list["cursor"]))
        .await;
    assert_eq!(list["requests"][0]["status"], 200);
}

#[tokio::test]
async fn a_filter_that_cannot_be_meant_is_refused_by_name() {
    let panel = Panel::new().await;
    for (path, parameter) in [
        ("/requests?status=ok", "status"),
        ("/requests?vendor=aws", "vendor"),
        ("/requests?since=-1", "since"),
        ("/requests?limit=many", "limit"),
        ("/requests?topic=a", "topic"),
        ("/requests?status=1&status=2", "status"),
        ("/messages?topic=a%23", "topic"),
        ("/messages?status=200", "status"),
        ("/clients?limit=1", "limit"),
        ("/messages?vendor=", "vendor"),
    ] {
        let answer = panel.call("GET", path, "").await;
        answer.is_problem(400, "bad-parameter", parameter);
        assert_eq!(answer.json["parameter"], parameter, "{path}");
    }
    let answer = panel.call("DELETE", "/requests?vendor=aliyun", "").await;
    answer.is_problem(400, "bad-parameter", "takes no parameters");
}

#[tokio::test]
async fn finding_and_counting_use_the_matchers() {
    let panel = Panel::new().await;
    panel.refuse("R1");
    panel
        .open("R2", "/", &[("X-Try", "2")])
        .close(&HttpAnswer::new(200));
    let in_flight = panel.open("R3", "/", &[]);
    let found = panel
        .post(
            "/requests/find",
            json!({"match": {"headers": {"x-try": "2"}}}),
        )
        .await;
    assert_eq!(ids(&found.json["requests"]), ["R2"]);
    let counted = panel
        .post(
            "/requests/count",
            json!({"match": {"reason": {"contains": "signature"}}}),
        )
        .await;
    assert_eq!(counted.json, json!({"count": 1, "cursor": 5}));
    let counted = panel.call("POST", "/requests/count", "").await;
    assert_eq!(
        counted.json["count"], 2,
        "requests in flight do not count yet"
    );
    drop(in_flight);
    panel.publish("a/b", r#"{"n":1}"#).await;
    let found = panel
        .post(
            "/messages/find",
            json!({"match": {"payload": {"json": {"n": 1}}}}),
        )
        .await;
    assert_eq!(topics(&found.json["messages"]), ["a/b"]);
}

/// Path, body, the problem and a part of its detail.
const BAD_BODIES: &[(&str, &str, &str, &str)] = &[
    ("/messages/wait", "{", "bad-body", "EOF"),
    (
        "/messages/wait",
        r#"{"matches": {}}"#,
        "bad-body",
        "unknown member",
    ),
    (
        "/messages/wait",
        r#"{"match": {"topics": "a"}}"#,
        "bad-match",
        "no such field",
    ),
    (
        "/messages/wait",
        r#"{"count": {"exactly": 1, "at_least": 1}}"#,
        "bad-body",
        "exactly",
    ),
    (
        "/messages/wait",
        r#"{"count": {"at_least": 2, "at_most": 1}}"#,
        "bad-body",
        "less than",
    ),
    (
        "/messages/wait",
        r#"{"count": {"at_least": 10001}}"#,
        "bad-body",
        "10000",
    ),
    (
        "/messages/wait",
        r#"{"timeout_ms": 60001}"#,
        "bad-body",
        "60000",
    ),
    (
        "/messages/wait",
        r#"{"timeout_ms": 1, "quiet_ms": 2}"#,
        "bad-body",
        "quiet_ms",
    ),
    ("/messages/wait", r#"{"since": -1}"#, "bad-body", "-1"),
    ("/messages/count", r#"{"limit": 1}"#, "bad-body", "limit"),
    (
        "/requests/find",
        r#"{"match": {"body": {"matches": "["}}}"#,
        "bad-match",
        "regular",
    ),
    ("/requests/find", "[]", "bad-body", ""),
];

#[tokio::test]
async fn a_body_that_cannot_be_meant_is_refused() {
    let panel = Panel::new().await;
    for (path, body, kind, detail) in BAD_BODIES {
        panel
            .call("POST", path, body)
            .await
            .is_problem(400, kind, detail);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let panel = Panel::new().await;
    let long = format!(r#"{{"match": {{"id": "{}"}}}}"#, "x".repeat(1 << 20));
    panel
        .call("POST", "/requests/find", &long)
        .await
        .is_problem(413, "too-large", "1048576");
}

#[tokio::test]
async fn a_wait_sees_a_message_that_comes_while_it_waits() {
    let panel = Panel::new().await;
    let wait = panel.post(
        "/messages/wait",
        json!({"match": {"topic": "a/+"}, "timeout_ms": 60_000}),
    );
    let publish = async {
        panel.publish("b/1", "").await;
        panel.publish("a/1", "hello").await;
    };
    let (answer, ()) = tokio::join!(wait, publish);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(topics(&answer.json["matched"]), ["a/1"]);
    assert_eq!(answer.json["cursor"], 2);
}

#[tokio::test]
async fn a_wait_sees_a_request_when_it_is_answered() {
    let panel = Panel::new().await;
    let opened = panel.open("R1", "/", &[]);
    let wait = panel.post(
        "/requests/wait",
        json!({"match": {"status": 503}, "timeout_ms": 60_000}),
    );
    let answer = async { opened.close(&HttpAnswer::new(503)) };
    let (answer, ()) = tokio::join!(wait, answer);
    assert_eq!(ids(&answer.json["matched"]), ["R1"]);
}

#[tokio::test]
async fn a_wait_that_fails_says_what_came_nearest() {
    let panel = Panel::new().await;
    panel.publish("a/1", "hallo").await;
    let wanted = json!({"match": {"topic": "a/1", "payload": "hello"}, "timeout_ms": 0});
    let answer = panel.post("/messages/wait", wanted).await;
    answer.is_problem(
        408,
        "timed-out",
        "0 messages match, at least 1 wanted, and 1 do not match",
    );
    let nearest = &answer.json["nearest"][0];
    assert_eq!(nearest["agreed"], 1);
    assert_eq!(
        nearest["differed"],
        json!([{"field": "payload", "expected": "hello", "actual": "hallo"}])
    );
}

#[tokio::test]
async fn one_match_too_many_is_a_conflict_at_once() {
    let panel = Panel::new().await;
    panel.publish("a", "1").await;
    panel.publish("a", "2").await;
    let wanted = json!({"count": {"exactly": 1}, "timeout_ms": 60_000, "quiet_ms": 60_000});
    let answer = panel.post("/messages/wait", wanted).await;
    answer.is_problem(409, "too-many", "2 messages match, exactly 1 wanted");
    assert_eq!(topics(&answer.json["matched"]), ["a", "a"]);
}

#[tokio::test]
async fn deleting_forgets_one_journal_and_not_the_other() {
    let panel = Panel::new().await;
    panel.publish("a", "").await;
    panel.refuse("R1");
    assert_eq!(panel.call("DELETE", "/messages", "").await.status, 204);
    assert_eq!(
        panel.get("/messages").await,
        json!({"messages": [], "cursor": 1, "total": 0})
    );
    assert_eq!(panel.get("/requests").await["total"], 1);
    assert_eq!(panel.call("DELETE", "/requests", "").await.status, 204);
    panel
        .call("GET", "/requests/R1", "")
        .await
        .is_problem(404, "not-found", "no request \"R1\"");
}
