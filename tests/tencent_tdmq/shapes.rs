//! Which MQTT clients are TDMQ's, right or wrong, and what is said of those that are nobody's.

use mqttstack_tencent_tdmq::{Settings, UnknownUsers};
use serde_json::json;

use crate::bare::Bare;
use crate::bench::Bench;

/// The code of a CONNECT, and whose client it was taken for.
async fn refused(bench: &Bench, version: u8, user: &str, password: &str) -> (u8, String) {
    let at = bench.mqtt();
    let code = match version {
        5 => Bare::connect_v5(at, "dev", user, password).await.1,
        _ => Bare::connect(at, "dev", user, password).await.1,
    };
    (code, bench.refusal())
}

#[tokio::test]
async fn a_user_that_nobody_made_is_refused_with_any_password() {
    let bench = Bench::frozen().await;
    for user in ["userX", "a", "User_0-", "12345678901234567890123456789012"] {
        for password in ["secret0", "", "x"] {
            let (code, reason) = refused(&bench, 4, user, password).await;
            assert_eq!(code, 4, "{user}");
            assert!(reason.contains(&format!("no user {user:?}")), "{reason}");
        }
        let (code, _) = refused(&bench, 5, user, "x").await;
        assert_eq!(code, 0x86);
        assert_eq!(bench.refused().surface.unwrap().as_str(), "tencent-tdmq");
    }
}

#[tokio::test]
async fn a_token_that_no_authenticator_reads_is_refused() {
    let bench = Bench::frozen().await;
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
    let (code, reason) = refused(&bench, 4, token, "").await;
    assert_eq!(code, 4);
    assert!(reason.contains("no open authenticator"), "{reason}");
    assert!(!reason.contains("eyJ"), "{reason}");
    let (code, reason) = refused(&bench, 4, "user0", token).await;
    assert_eq!(code, 4);
    assert!(
        reason.contains("another one") && !reason.contains("eyJ"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_has_no_users_shape_is_an_open_client() {
    let bench = Bench::frozen().await;
    let long = "x".repeat(33);
    for user in ["me@example.org", "a b", "a/b", "Köln", &long] {
        let (_device, code) = Bare::connect(bench.mqtt(), "open", user, "any").await;
        assert_eq!(code, 0, "{user}");
    }
}

#[tokio::test]
async fn unknown_users_can_be_open_clients() {
    let bench = Bench::with(Settings {
        unknown_users: UnknownUsers::Open,
        ..Settings::default()
    })
    .await;
    let (_device, code) = Bare::connect(bench.mqtt(), "dev", "userX", "x").await;
    assert_eq!(code, 0);
    let clients = bench.app.broker.clients().await;
    assert_eq!(clients[0].dialect, None);
    let (code, _) = refused(&bench, 4, "user0", "wrong").await;
    assert_eq!(
        code, 4,
        "a user that is there is still asked for its password"
    );
}

#[tokio::test]
async fn a_user_is_tdmqs_as_soon_as_the_cloud_api_has_made_it() {
    let bench = Bench::unsigned().await;
    let (code, _) = refused(&bench, 4, "new", "secret").await;
    assert_eq!(code, 4);
    let user = json!({"Username": "new", "Password": "secret"});
    bench.cloud("CreateUser", user).await;
    let (_device, code) = Bare::connect(bench.mqtt(), "dev", "new", "secret").await;
    assert_eq!(code, 0);
    bench.cloud("DeleteUser", json!({"Username": "new"})).await;
    let (code, _) = refused(&bench, 4, "new", "secret").await;
    assert_eq!(code, 4);
}

#[tokio::test]
async fn what_tdmq_starts_does_not_keep_the_broker() {
    let bench = Bench::frozen().await;
    let (mut device, _) = Bare::connect(bench.mqtt(), "dev", "user0", "secret0").await;
    device.subscribe("home").await;
    let broker = bench.app.broker.downgrade();
    bench.app.broker.stop().await;
    drop(bench);
    assert!(broker.upgrade().is_none());
}
