//! What the OpenAPI tells of connected clients, and does to them.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_seen_and_closed_from_outside() {
    let bench = bench(Settings::default()).await;
    let client = [("ClientId", CLIENT)];
    let mut device = bench.device(CLIENT).await;
    assert_eq!(
        bench.ok("QuerySessionByClientId", &client).await["OnlineStatus"],
        true
    );
    let two = [
        ("ClientIdList.1", CLIENT),
        ("ClientIdList.2", "GID_test@@@off"),
    ];
    let list = bench.ok("BatchQuerySessionByClientIds", &two).await;
    assert_eq!(list["OnlineStatusList"][0]["OnlineStatus"], true);
    assert_eq!(list["OnlineStatusList"][1]["OnlineStatus"], false);
    bench.ok("CloseConnection", &client).await;
    device.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_tell_of_messages_and_connections() {
    let bench = bench(Settings::default()).await;
    let mut device = bench.device(CLIENT).await;
    device.subscribe("TopicA", 1).await;
    let message = [("MqttTopic", "TopicA"), ("Payload", "x")];
    let sent = bench.ok("SendMessage", &message).await;
    device.receive().await;
    let id = sent["MsgId"].as_str().unwrap();
    let span = [
        ("MqttRegionId", "cn-hangzhou"),
        ("BeginTime", "0"),
        ("EndTime", "9999999999999"),
    ];
    let page = [("CurrentPage", "1"), ("PageSize", "10")];
    let of_message = [&span[..], &[("MsgId", id)]].concat();
    let published = bench.ok("QueryMqttTraceMessagePublish", &of_message).await;
    assert_eq!(published["MessageTraceLists"][0]["Action"], "pub_mq");
    let delivered = [&of_message[..], &page].concat();
    let delivered = bench.ok("QueryMqttTraceMessageSubscribe", &delivered).await;
    assert_eq!(delivered["MessageTraceLists"][0]["ClientId"], CLIENT);
    let of_client = [&span[..], &page, &[("ClientId", CLIENT)]].concat();
    let of_client_list = bench.ok("QueryMqttTraceMessageOfClient", &of_client).await;
    assert_eq!(of_client_list["Total"], 1);
    bench.ok("CloseConnection", &[("ClientId", CLIENT)]).await;
    device.ended().await;
    let connections = bench.ok("QueryMqttTraceDevice", &of_client).await;
    assert_eq!(connections["DeviceInfoList"][0]["ActionInfo"], "accepted");
}

/// What `QueryMqttTraceDevice` says of a client, oldest first: action and information.
async fn went(bench: &Bench, client_id: &str) -> Vec<(String, String)> {
    let parameters = [
        ("MqttRegionId", "cn-hangzhou"),
        ("BeginTime", "0"),
        ("EndTime", "9999999999999"),
        ("CurrentPage", "1"),
        ("PageSize", "100"),
        ("ClientId", client_id),
    ];
    let answer = bench.ok("QueryMqttTraceDevice", &parameters).await;
    let rows = answer["DeviceInfoList"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter()
        .inspect(|row| {
            let code = format!("mqtt.trace.action.{}", row["Action"].as_str().unwrap());
            assert_eq!(row["ActionCode"], code);
            assert_eq!(row["ChannelId"].as_str().unwrap().len(), 32);
        })
        .map(|row| (text(row, "Action"), text(row, "ActionInfo")))
        .collect()
}

/// The newest line of a client's trace.
async fn last(bench: &Bench, client_id: &str) -> (String, String) {
    bench.offline(client_id).await;
    went(bench, client_id).await.pop().unwrap()
}

fn line(action: &str, info: &str) -> (String, String) {
    (action.to_owned(), info.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_trace_names_the_way_each_connection_ended() {
    let bench = bench(strict()).await;
    let mut wire = bench.wire(4, CLIENT).await;
    wire.send(&[wire::DISCONNECT, 0]).await;
    wire.ended().await;
    let left = line("disconnect", "disconnected by client");
    assert_eq!(last(&bench, CLIENT).await, left);
    drop(bench.wire(4, CLIENT).await);
    let vanished = line("close", "closed by client");
    assert_eq!(last(&bench, CLIENT).await, vanished);
    // Packet type 0 does not exist.
    for version in [4, 5] {
        let mut wire = bench.wire(version, CLIENT).await;
        wire.send(&[0, 0]).await;
        wire.ended().await;
        assert_eq!(last(&bench, CLIENT).await, line("close", "invalid param"));
    }
    for (topic, info) in [
        ("TopicA/+", "invalid param"),
        ("no parent/x", "invalid param"),
        ("TopicB", "resource auth failed"),
    ] {
        let mut wire = bench.wire(4, CLIENT).await;
        let publish = wire.publish_bytes(topic, "x", 0, &[]);
        wire.send(&publish).await;
        wire.ended().await;
        assert_eq!(last(&bench, CLIENT).await, line("close", info));
    }
    let mut first = bench.wire(4, CLIENT).await;
    let second = bench.wire(4, CLIENT).await;
    first.ended().await;
    let trace = went(&bench, CLIENT).await;
    let conflict = [
        line("close", "clientId conflict"),
        line("connect", "accepted"),
    ];
    assert!(trace.ends_with(&conflict), "{trace:?}");
    drop(second);
    bench.offline(CLIENT).await;
    let mut device = bench.device(CLIENT).await;
    bench.ok("CloseConnection", &[("ClientId", CLIENT)]).await;
    device.ended().await;
    assert_eq!(
        last(&bench, CLIENT).await,
        line("close", "closed by server")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_falls_silent_is_closed_for_want_of_a_heartbeat() {
    let bench = bench(Settings::default()).await;
    let connect = wire::Connect {
        username: Some(USERNAME.to_owned()),
        password: Some(PASSWORD.into()),
        keep_alive: 1,
        ..wire::Connect::new(4, CLIENT)
    };
    let (mut wire, _) = Wire::connect(bench.mqtt, &connect).await;
    wire.ended().await;
    assert_eq!(last(&bench, CLIENT).await, line("close", "no heart"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_trace_names_why_a_connect_was_refused() {
    let bench = bench(strict()).await;
    let long = format!("GID_test@@@{}", "d".repeat(54));
    for (client, secret, info) in [
        (CLIENT, "wrong", "not authorized"),
        ("dev1", "testsecret", "invalid param"),
        (&long, "testsecret", "invalid param"),
        ("GID_none@@@dev1", "testsecret", "resource auth failed"),
    ] {
        let password = sign(secret, client);
        let (_, connack) = bench.knock(4, client, (USERNAME, &password)).await;
        assert_ne!(connack.code, 0);
        assert_eq!(went(&bench, client).await, [line("close", info)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_a_client_was_away_is_traced_as_pushed_offline() {
    push_offline(bench(Settings::default()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_the_same_whatever_the_journal_still_has() {
    let mut config = Config::free_ports();
    config.journal.max_entries = 1;
    push_offline(start(config).await).await;
}

/// What a row of a trace calls what has happened.
fn words(row: &Value) -> [String; 3] {
    ["Action", "ActionCode", "ActionInfo"].map(|key| row[key].as_str().unwrap().to_owned())
}

/// Messages to a client that is there, away, and there again, and how each is traced; an empty
/// journal makes no difference.
async fn push_offline(bench: Bench) {
    let options = || {
        let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
        options.clean = false;
        options
    };
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    device.subscribe("TopicA", 1).await;
    let mut ids = Vec::new();
    let send = async |payload: &str| {
        let message = [("MqttTopic", "TopicA"), ("Payload", payload)];
        let sent = bench.ok("SendMessage", &message).await;
        sent["MsgId"].as_str().unwrap().to_owned()
    };
    ids.push(send("at home").await);
    assert_eq!(device.receive().await.payload, "at home");
    device.leave().await;
    bench.offline(CLIENT).await;
    ids.push(send("away").await);
    // A stranger's attempt is no return.
    let (_, connack) = bench.knock(4, CLIENT, (USERNAME, "wrong")).await;
    assert_ne!(connack.code, 0);
    ids.push(send("still away").await);
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    assert_eq!(device.receive().await.payload, "away");
    assert_eq!(device.receive().await.payload, "still away");
    ids.push(send("home again").await);
    assert_eq!(device.receive().await.payload, "home again");
    device.leave().await;
    bench.emulator.app().journal.forget_messages().await;
    let page = [
        ("MqttRegionId", "cn-hangzhou"),
        ("BeginTime", "0"),
        ("EndTime", "9999999999999"),
        ("CurrentPage", "1"),
        ("PageSize", "100"),
    ];
    let online = ["sub", "mqtt.trace.action.msg.sub", "Push To Mqtt Client"];
    let offline = [
        "push_offline",
        "mqtt.trace.action.msg.push.offline",
        "Push Offline Msg To Mqtt Client",
    ];
    let expected = [online, offline, offline, online];
    for (id, expected) in ids.iter().zip(expected) {
        let parameters = [&page[..], &[("MsgId", id)]].concat();
        let answer = bench
            .ok("QueryMqttTraceMessageSubscribe", &parameters)
            .await;
        assert_eq!(words(&answer["MessageTraceLists"][0]), expected, "{id}");
        let parameters = [&page[..3], &[("MsgId", id)]].concat();
        let answer = bench.ok("QueryMqttTraceMessagePublish", &parameters).await;
        assert_eq!(answer["MessageTraceLists"][0]["Action"], "pub_mq", "{id}");
    }
    let parameters = [&page[..], &[("ClientId", CLIENT)]].concat();
    let answer = bench.ok("QueryMqttTraceMessageOfClient", &parameters).await;
    let rows = answer["MessageOfClientList"].as_array().unwrap();
    assert_eq!(rows.iter().map(words).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_traced_in_its_own_instance_alone() {
    let bench = bench(Settings::default()).await;
    let broker = &bench.emulator.app().broker;
    let publish = async |instance: &str| {
        let publication = shared::publication("TopicA", "x", Some(Surface::Aliyun));
        let published = broker.publish_in(instance, publication).await.unwrap();
        published.message.id.clone()
    };
    for (instance, rows) in [(INSTANCE, 1), ("post-cn-other", 0)] {
        let id = publish(instance).await;
        let parameters = [
            ("MqttRegionId", "cn-hangzhou"),
            ("BeginTime", "0"),
            ("EndTime", "9999999999999"),
            ("MsgId", &id),
        ];
        let answer = bench.ok("QueryMqttTraceMessagePublish", &parameters).await;
        let found = answer["MessageTraceLists"].as_array().unwrap();
        assert_eq!(found.len(), rows, "{instance}");
    }
}

#[test]
fn the_journal_shows_no_secret_of_a_device_or_an_identity() {
    let answer = r#"{"DeviceAccessKeySecret":"DC.0123456789abcdefghijkl"}"#;
    let shown = masking::body(Some("application/json;charset=utf-8"), answer);
    assert!(!shown.contains("0123456789"), "{shown}");
    let shown = masking::target("/?Action=AddCustomAuthIdentity&Secret=wonderland&SignMode=ORIGIN");
    assert!(!shown.contains("wonderland"), "{shown}");
    assert!(shown.contains("SignMode=ORIGIN"), "{shown}");
}
