//! Searches of the journal: what they may cost, that nobody waits for them, and that long lists
//! come in pieces.

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use mqttstack_pipeline::journal::Settings;
use serde_json::{Value, json};

use crate::panel::Panel;

/// Longer than the expression can be followed in any test's time.
const COSTLY: &str = "(a{1,40}){1,40}b";

#[tokio::test]
async fn a_search_over_a_bound_names_its_setting() {
    for (settings, setting) in [
        (
            Settings {
                search_bytes: 150,
                ..Settings::default()
            },
            "journal.search_bytes",
        ),
        (
            Settings {
                search_entry_bytes: 99,
                ..Settings::default()
            },
            "journal.search_entry_bytes",
        ),
    ] {
        let panel = Panel::with(&settings).await;
        for _ in 0..2 {
            panel.publish("a", &"x".repeat(100)).await;
        }
        for path in ["find", "count", "wait"] {
            let body = json!({"match": {"payload": {"contains": "y"}}});
            let answer = panel.post(&format!("/messages/{path}"), body).await;
            answer.is_problem(422, "too-costly", setting);
            assert_eq!(answer.json["setting"], setting);
        }
        // A list that compares no text has no such bound.
        assert_eq!(panel.get("/messages").await["total"], 2);
    }
}

#[tokio::test]
async fn a_costly_expression_ends_at_the_bound_on_time() {
    let settings = Settings {
        search_timeout_ms: 20,
        ..Settings::default()
    };
    let panel = Panel::with(&settings).await;
    panel.publish("a", &"a".repeat(3_000_000)).await;
    let body = json!({"match": {"payload": {"matches": COSTLY}}});
    let answer = panel.post("/messages/count", body).await;
    answer.is_problem(422, "too-costly", "longer than 20 ms");
    assert_eq!(answer.json["setting"], "journal.search_timeout_ms");
}

#[tokio::test]
async fn a_search_leaves_the_serving_thread_alone_and_ends_with_its_client() {
    let panel = Panel::new().await;
    for _ in 0..40 {
        panel.publish("a", &"a".repeat(500_000)).await;
    }
    // This runtime has one thread: a search on it would let nothing else begin.
    let body = json!({"match": {"payload": {"matches": COSTLY}}});
    let mut search = Box::pin(panel.post("/messages/count", body));
    tokio::select! {
        biased;
        answer = &mut search => panic!("{answer:?}"),
        live = panel.get("/livez") => assert_eq!(live, json!({"live": true})),
    }
    drop(search);
    // Whoever asks now is not kept waiting by searches that nobody wants any more.
    let counted = panel
        .post("/messages/count", json!({"match": {"topic": "a"}}))
        .await;
    assert_eq!(counted.json["count"], 40);
}

#[tokio::test]
async fn a_stop_ends_searches_and_waits() {
    let panel = Panel::new().await;
    let body = json!({"match": {"topic": "never"}, "timeout_ms": 60_000});
    let wait = panel.post("/messages/wait", body);
    let stop = async { panel.app.journal.reading().stop() };
    let (answer, ()) = tokio::join!(wait, stop);
    answer.is_problem(503, "stopping", "stopping");
}

/// A panel with 3,000 messages, and the answer that lists them, its body still to come.
async fn long_list() -> (Panel, Response<Body>) {
    let panel = Panel::new().await;
    for number in 0..3_000 {
        panel
            .publish(&format!("a/{number}"), &"x".repeat(200))
            .await;
    }
    let request = Request::get("/_mqttstack/messages?limit=10000");
    let answer = panel.send(request.body(Body::empty()).unwrap()).await;
    (panel, answer)
}

#[tokio::test]
async fn a_long_list_comes_whole_and_in_pieces() {
    let (_panel, answer) = long_list().await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    let mut body = answer.into_body();
    let (mut pieces, mut whole) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() < 300 << 10, "{}", piece.len());
        whole.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(pieces > 3, "{pieces}");
    let list: Value = serde_json::from_slice(&whole).unwrap();
    let messages = list["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &list["total"]), (3_000, &json!(3_000)));
    assert_eq!(messages[0]["topic"], "a/2999");
    assert_eq!(messages[2_999]["topic"], "a/0");
}

#[tokio::test]
async fn entries_that_leave_while_a_list_is_sent_are_left_out() {
    let (panel, answer) = long_list().await;
    panel.app.journal.forget_messages().await;
    let whole = answer.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&whole).unwrap();
    let sent = list["messages"].as_array().unwrap().len();
    assert!((1..3_000).contains(&sent), "{sent}");
    assert_eq!(list["total"], 3_000);
}

#[tokio::test]
async fn a_count_that_cannot_be_meant_is_told_what_it_may_be() {
    let panel = Panel::new().await;
    for count in [
        json!({"count": 1}),
        json!(1),
        json!({"at_least": -1}),
        json!({"exactly": "1"}),
    ] {
        let answer = panel.post("/messages/wait", json!({"count": count})).await;
        answer.is_problem(400, "bad-body", "at_least, at_most and exactly");
        let said = answer.json["detail"].as_str().unwrap();
        assert!(
            !said.contains("struct") && !said.contains("usize"),
            "{said}"
        );
    }
}
