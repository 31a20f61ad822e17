//! The emulator's time, seen and moved from outside.

use serde_json::json;

use crate::panel::{NOW, Panel};

#[tokio::test]
async fn the_clock_can_be_read_frozen_shifted_and_let_go() {
    let panel = Panel::new().await;
    assert_eq!(
        panel.get("/clock").await,
        json!({"mode": "frozen", "now": NOW})
    );

    let later = r#"{"mode": "frozen", "now": "2027-01-01T08:00:00+08:00"}"#;
    let answer = panel.call("PUT", "/clock", later).await;
    assert_eq!(
        answer.json,
        json!({"mode": "frozen", "now": "2027-01-01T00:00:00Z", "fell_due": []})
    );

    let answer = panel.call("PUT", "/clock", r#"{"mode": "offset"}"#).await;
    assert_eq!(answer.json["mode"], "offset");
    assert!(
        answer.json["now"]
            .as_str()
            .unwrap()
            .starts_with("2027-01-01T00:00:")
    );

    let answer = panel.call("PUT", "/clock", r#"{"mode": "real"}"#).await;
    assert_eq!((answer.status, &answer.json["mode"]), (200, &json!("real")));
}

#[tokio::test]
async fn a_step_moves_the_time_and_may_have_a_fraction_or_go_back() {
    let panel = Panel::new().await;
    let answer = panel
        .post("/clock/advance", json!({"seconds": 901.5}))
        .await;
    assert_eq!(answer.json["now"], "2026-11-21T23:06:01.5Z");
    let answer = panel
        .post("/clock/advance", json!({"seconds": -901.5}))
        .await;
    assert_eq!(answer.json["now"], NOW);
}

#[tokio::test]
async fn a_time_that_cannot_be_is_refused_and_changes_nothing() {
    let panel = Panel::new().await;
    for (path, method, body) in [
        ("/clock/advance", "POST", r#"{"seconds": 1e18}"#),
        ("/clock/advance", "POST", r#"{"seconds": 1e300}"#),
        ("/clock/advance", "POST", r#"{"seconds": "5"}"#),
        ("/clock/advance", "POST", "{}"),
        (
            "/clock",
            "PUT",
            r#"{"mode": "real", "now": "2027-01-01T00:00:00Z"}"#,
        ),
        ("/clock", "PUT", r#"{"mode": "fast"}"#),
        ("/clock", "PUT", r#"{"mode": "frozen", "now": "yesterday"}"#),
        (
            "/clock",
            "PUT",
            r#"{"mode": "frozen", "at": "2027-01-01T00:00:00Z"}"#,
        ),
        ("/clock", "PUT", ""),
    ] {
        panel
            .call(method, path, body)
            .await
            .is_problem(400, "bad-body", "");
    }
    assert_eq!(
        panel.get("/clock").await,
        json!({"mode": "frozen", "now": NOW})
    );
}

#[tokio::test]
async fn setting_the_clock_forgets_calls_counted_in_another_time() {
    let panel = Panel::new().await;
    let take = || panel.app.quotas.take("SendMessage", "testid", 1);
    for (method, path, body) in [
        ("PUT", "/clock", r#"{"mode": "frozen"}"#),
        ("POST", "/clock/advance", r#"{"seconds": -60}"#),
        ("POST", "/reset?only=clock", ""),
    ] {
        take().unwrap();
        assert!(take().is_err());
        assert_eq!(panel.call(method, path, body).await.status, 200);
        take().unwrap();
        panel.app.quotas.clear();
    }
}
