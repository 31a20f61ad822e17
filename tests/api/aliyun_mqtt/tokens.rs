//! Tokens: what they allow, how they end while their client is connected, how new ones are
//! brought.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_its_rights_until_it_is_revoked() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA/+,TopicA/p2p/#", "R,W", 3_600).await;
    assert_eq!(token.len(), 344);
    let query = [("Token", &*token)];
    assert_eq!(bench.ok("QueryToken", &query).await["TokenStatus"], true);
    let password = format!("RW|{token}");
    let mut device = bench.with_token(CLIENT, &password).await.unwrap();
    assert_eq!(device.subscribe("TopicA/x", 1).await, [1]);
    device.publish("TopicA/x", 0, false, "allowed").await;
    assert_eq!(device.receive().await.payload, "allowed");
    bench.ok("RevokeToken", &query).await;
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenInvalidNotice");
    assert_eq!(notice.payload, r#"{"code":3,"type":"RW"}"#);
    device.ended().await;
    assert_eq!(bench.ok("QueryToken", &query).await["TokenStatus"], false);
    assert!(bench.with_token(CLIENT, &password).await.is_none());
    assert!(bench.last_reason().contains("it was revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_allows_nothing_beyond_its_topics_and_its_type() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA/x", "R", 3_600).await;
    let password = format!("R|{token}");
    let mut device = bench
        .with_token("GID_test@@@dev1", &password)
        .await
        .unwrap();
    device.publish("TopicA/x", 0, false, "no").await;
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenInvalidNotice");
    assert_eq!(notice.payload, r#"{"code":5,"type":"R"}"#);
    device.ended().await;
    assert!(
        bench
            .last_reason()
            .contains("no token of the client allows Publish")
    );
    let mut device = bench
        .with_token("GID_test@@@dev2", &password)
        .await
        .unwrap();
    assert_eq!(device.try_subscribe("TopicA/#", 1).await, None);
    bench.offline("GID_test@@@dev2").await;
    let mut device = bench
        .with_token("GID_test@@@dev3", &password)
        .await
        .unwrap();
    device.ask("TopicA/#", 1).await;
    assert_eq!(device.receive().await.payload, r#"{"code":4,"type":"R"}"#);
    device.ended().await;
    assert!(
        bench
            .last_reason()
            .contains("the client's R token is for TopicA/x")
    );
    for (password, reason) in [
        (format!("RW|{token}"), "it is presented as RW and allows R"),
        (format!("R|{token}|W"), "not pairs of type and token"),
        (format!("R|{token}|R|{token}"), "two tokens of type R"),
        (
            format!("R|{token}|W|forged"),
            "the W token is not good: it is none",
        ),
    ] {
        assert!(
            bench
                .with_token("GID_test@@@dev3", &password)
                .await
                .is_none()
        );
        assert!(
            bench.last_reason().contains(reason),
            "{}",
            bench.last_reason()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_before_its_token_expires_and_when_it_has() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA", "W", 600).await;
    let mut device = bench
        .with_token(CLIENT, &format!("W|{token}"))
        .await
        .unwrap();
    let clock = bench.emulator.clock();
    clock.advance(SignedDuration::from_secs(301)).unwrap();
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenExpireNotice");
    let told: Value = serde_json::from_slice(&notice.payload).unwrap();
    assert_eq!(told["type"], "W");
    clock.advance(SignedDuration::from_secs(299)).unwrap();
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenInvalidNotice");
    assert_eq!(notice.payload, r#"{"code":2,"type":"W"}"#);
    device.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_token_replaces_the_one_of_its_type_and_a_forged_one_ends_the_connection() {
    let bench = bench(Settings::default()).await;
    let first = bench.token("TopicA", "W", 3_600).await;
    let second = bench.token("TopicB", "W", 3_600).await;
    let mut device = bench
        .with_token(CLIENT, &format!("W|{first}"))
        .await
        .unwrap();
    let upload = format!(r#"{{"token":"{second}","type":"W"}}"#);
    device.publish("$SYS/uploadToken", 1, false, &upload).await;
    device.publish("TopicB", 1, false, "with the second").await;
    let forged = r#"{"token":"forged","type":"W"}"#;
    device.publish("$SYS/uploadToken", 0, false, forged).await;
    let notice = device.receive().await;
    assert_eq!(notice.payload, r#"{"code":1,"type":"W"}"#);
    device.ended().await;
    let kept = bench.emulator.messages().since(0);
    let shown = |text: &str| kept.iter().any(|(_, message)| message.payload == text);
    assert!(shown("***") && !shown(&upload) && !shown(forged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publish_of_a_client_with_tokens_is_never_acknowledged() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA", "R", 3_600).await;
    for version in [4, 5] {
        let login = ("Token|testid|post-cn-test0001", &*format!("R|{token}"));
        let (mut wire, connack) = bench.knock(version, CLIENT, login).await;
        assert_eq!(connack.code, 0);
        let publish = wire.publish_bytes("TopicA", "no", 0x02, &[]);
        wire.send(&publish).await;
        let (first, body) = wire.read().await.unwrap();
        assert_eq!(first & 0xf0, wire::PUBLISH);
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains(r#"{"code":5,"type":"R"}"#), "{text}");
        while let Some((first, _)) = wire.read().await {
            assert_eq!(first, wire::DISCONNECT);
        }
        bench.offline(CLIENT).await;
    }
}

/// A token for a day that the key `otherid` has applied for.
async fn others_token(bench: &Bench) -> String {
    let expires = (bench.emulator.clock().now().as_millisecond() + 86_400_000).to_string();
    let apply = [
        ("Resources", "TopicA"),
        ("Actions", "W"),
        ("ExpireTime", &*expires),
    ];
    let key = ("otherid", "othersecret");
    let answer = bench.signed(key, "ApplyToken", &apply).await;
    answer["Token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_of_the_notice_says_what_is_wrong_with_an_uploaded_token() {
    let mut settings = Settings::default();
    let other = AccessKey::with_secret("otherid", "othersecret");
    settings.access_keys.push(other);
    settings.instances.push(Instance::empty("post-cn-other"));
    let bench = bench(settings).await;
    let held = bench.token("TopicA", "W", 86_400).await;
    let soon = bench.token("TopicA", "W", 60).await;
    let read_only = bench.token("TopicA", "R", 86_400).await;
    let revoked = bench.token("TopicA", "W", 86_400).await;
    bench.ok("RevokeToken", &[("Token", &revoked)]).await;
    let others = others_token(&bench).await;
    let clock = bench.emulator.clock();
    clock.advance(SignedDuration::from_secs(61)).unwrap();
    let tampered = format!(
        "{}{}",
        if held.starts_with('A') { 'B' } else { 'A' },
        &held[1..]
    );
    for (code, token) in [
        (1, "forged"),
        (1, ""),
        (2, &soon),
        (3, &revoked),
        (5, &read_only),
        (8, &tampered),
        (-1, &others),
    ] {
        let password = format!("W|{held}");
        let mut device = bench.with_token(CLIENT, &password).await.unwrap();
        let upload = format!(r#"{{"token":"{token}","type":"W"}}"#);
        device.publish("$SYS/uploadToken", 0, false, &upload).await;
        let notice = device.receive().await;
        let told: Value = serde_json::from_slice(&notice.payload).unwrap();
        assert_eq!(told, json!({"code": code, "type": "W"}), "{token}");
        device.ended().await;
        let reason = bench.last_reason();
        assert!(
            reason.contains("the uploaded token is not good"),
            "{reason}"
        );
        bench.offline(CLIENT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_account_lets_nobody_in() {
    let mut settings = Settings::default();
    let other = AccessKey::with_secret("otherid", "othersecret");
    settings.access_keys.push(other);
    let bench = bench(settings).await;
    let others = others_token(&bench).await;
    let login = ("Token|testid|post-cn-test0001", &*format!("W|{others}"));
    for (version, code) in [(4, 5), (5, 0x87)] {
        let (_, connack) = bench.knock(version, CLIENT, login).await;
        assert_eq!(connack.code, code);
        let reason = bench.last_reason();
        assert!(
            reason.contains("it was applied for by \"otherid\""),
            "{reason}"
        );
    }
    let login = ("Token|otherid|post-cn-test0001", login.1);
    let (_wire, connack) = bench.knock(4, CLIENT, login).await;
    assert_eq!(connack.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_an_sts_key_applied_for_is_good_with_the_accounts_own_key() {
    let bench = bench(Settings::default()).await;
    let expires = bench.emulator.clock().now().as_millisecond() + 86_400_000;
    let expires = expires.to_string();
    let apply = [
        ("Resources", "TopicA"),
        ("Actions", "W"),
        ("ExpireTime", &*expires),
        ("SecurityToken", "CAIS+sts/token=="),
    ];
    let key = ("STS.testid", "testsecret");
    let answer = bench.signed(key, "ApplyToken", &apply).await;
    let password = format!("W|{}", answer["Token"].as_str().unwrap());
    let device = bench.with_token(CLIENT, &password).await;
    assert!(device.is_some(), "{}", bench.last_reason());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_instance_is_code_4() {
    let bench = bench(Settings::default()).await;
    let own = bench.token("TopicA", "W", 3_600).await;
    let login = ("Token|testid|post-cn-other", &*format!("W|{own}"));
    let (_, connack) = bench.knock(4, CLIENT, login).await;
    assert_eq!(connack.code, 4);
    let reason = bench.last_reason();
    assert!(
        reason.contains("applied for with instance \"post-cn-test0001\""),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_upload_ends_the_connection_with_code_1() {
    let bench = bench(Settings::default()).await;
    let held = bench.token("TopicA", "R,W", 3_600).await;
    for upload in [
        "",
        "{",
        "[]",
        r#"{"token":1,"type":"R"}"#,
        r#"{"token":"x","type":"X"}"#,
    ] {
        let password = format!("RW|{held}");
        let mut device = bench.with_token(CLIENT, &password).await.unwrap();
        device.publish("$SYS/uploadToken", 0, false, upload).await;
        assert_eq!(device.receive().await.payload, r#"{"code":1,"type":"RW"}"#);
        device.ended().await;
        bench.offline(CLIENT).await;
    }
    // Whoever has all rights has no token to replace.
    let mut device = bench.device(CLIENT).await;
    device.publish("$SYS/uploadToken", 0, false, "{}").await;
    device.publish("TopicA", 1, false, "still here").await;
    assert_eq!(
        bench.last_reason(),
        "only a client that is connected with tokens may upload one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn older_clients_bring_their_token_after_they_have_connected_where_that_is_allowed() {
    let settings = Settings {
        token_after_connect: true,
        ..Settings::default()
    };
    let bench = bench(settings).await;
    let token = bench.token("TopicA/#", "R,W", 3_600).await;
    let mut device = Device::v4(bench.mqtt, CLIENT).await;
    let clients = bench.emulator.app().broker.clients().await;
    assert_eq!(clients[0].tenant.as_deref(), Some(INSTANCE));
    let upload = format!(r#"{{"token":"{token}","type":"RW"}}"#);
    device.publish("$SYS/uploadToken", 1, false, &upload).await;
    assert_eq!(device.subscribe("TopicA/x", 1).await, [1]);
    device.publish("TopicA/x", 1, false, "mine").await;
    assert_eq!(device.receive().await.payload, "mine");
    bench.ok("RevokeToken", &[("Token", &token)]).await;
    assert_eq!(device.receive().await.payload, r#"{"code":3,"type":"RW"}"#);
    device.ended().await;
    // Without a token there are no rights, and nothing to be told of.
    let mut device = Device::v4(bench.mqtt, "GID_test@@@dev2").await;
    device.try_subscribe("TopicA/x", 1).await;
    device.ended().await;
    assert_eq!(bench.last_reason(), "the client has brought no token yet");
    let stranger = Options::new("GID_none@@@dev3");
    assert!(Device::try_v4(bench.mqtt, stranger).await.is_none());
    assert!(
        bench
            .last_reason()
            .contains("no instance has group \"GID_none\"")
    );
    // Any other client id is still an open client's.
    Device::v4(bench.mqtt, "anybody").await;
}
