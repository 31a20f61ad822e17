//! The platform's own topics over MQTT, and sub-devices behind a gateway.

use serde_json::{Value, json};

use super::wire::Wire;
use super::{OWN, cloud, started};

/// A device that is subscribed to the platform's answers of one family.
async fn listening(emulator: &mqttstack::Emulator, filter: &str) -> Wire {
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    assert_eq!(device.subscribe(filter, 0).await, 0);
    device
}

async fn ask(device: &mut Wire, topic: &str, request: Value) -> Value {
    device.publish(topic, &request.to_string(), 0).await;
    told(device).await
}

async fn told(device: &mut Wire) -> Value {
    let (_, answer) = device.received().await;
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn the_platform_tells_the_time() {
    let emulator = started(|_| ()).await;
    let mut device = listening(&emulator, &format!("$sys/operation/result/{OWN}")).await;
    let request = json!({"type": "get", "resource": ["time"]});
    assert_eq!(
        ask(&mut device, &format!("$sys/operation/{OWN}"), request).await,
        json!({"type": "get", "time": 1_700_000_000, "ntptime1": 1_700_000_000_000_i64,
            "ntptime2": 1_700_000_000_000_i64})
    );
}

#[tokio::test]
async fn device_and_application_agree_by_the_shadow() {
    let emulator = started(|_| ()).await;
    let mut device = listening(&emulator, &format!("$shadow/operation/result/{OWN}")).await;
    let topic = format!("$shadow/operation/{OWN}");
    let report = json!({"type": "update", "state": {"reported": {"t": 21}}, "clientToken": "a"});
    let answer = ask(&mut device, &topic, report).await;
    assert_eq!(
        (&answer["clientToken"], &answer["payload"]["version"]),
        (&json!("a"), &json!(1))
    );
    let wish = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01",
        "State": "{\"desired\":{\"t\":25}}", "ShadowVersion": 1});
    let answer = cloud(&emulator, "UpdateDeviceShadow", wish.clone()).await;
    let data: Value = serde_json::from_str(answer["Data"].as_str().unwrap()).unwrap();
    assert_eq!(data["payload"]["version"], 2);
    let delta = told(&mut device).await;
    assert_eq!(delta["type"], "delta");
    assert_eq!(delta["payload"]["state"], json!({"t": 25}));
    let again = cloud(&emulator, "UpdateDeviceShadow", wish).await;
    assert_eq!(
        again["Error"]["Code"],
        "FailedOperation.UpdateVersionNotMatch"
    );
    let stale = json!({"type": "update", "state": {"reported": {"t": 1}}, "version": 1});
    assert_eq!(ask(&mut device, &topic, stale).await["result"], 5005);
    let taken = json!({"type": "update", "version": 2,
        "state": {"reported": {"t": 25}, "desired": null}});
    assert_eq!(ask(&mut device, &topic, taken).await["result"], 0);
    let names = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    let answer = cloud(&emulator, "DescribeDeviceShadow", names).await;
    let data: Value = serde_json::from_str(answer["Data"].as_str().unwrap()).unwrap();
    assert_eq!(data["payload"]["state"], json!({"reported": {"t": 25}}));
    assert_eq!(data["payload"]["version"], 3);
}

#[tokio::test]
async fn a_device_gets_its_products_remote_configuration_by_either_topic() {
    let emulator = started(|config| {
        let configuration = json!({"ip": "10.0.0.1", "deep": {"port": 1883}});
        config.tencent_iot.products[0].remote_configuration = configuration.as_object().cloned();
    })
    .await;
    let mut device = listening(&emulator, &format!("$config/operation/result/{OWN}")).await;
    for topic in [
        format!("$config/report/{OWN}"),
        format!("$config/operation/{OWN}"),
    ] {
        let answer = ask(&mut device, &topic, json!({"type": "get"})).await;
        assert_eq!(
            answer,
            json!({"type": "reply", "result": 0,
                "payload": {"ip": "10.0.0.1", "deep": {"port": 1883}}})
        );
    }
    for nothing in ["{\"type\":\"set\"}", "{}", "[]", "get", ""] {
        device
            .publish(&format!("$config/report/{OWN}"), nothing, 1)
            .await;
    }
    assert_eq!(
        device
            .subscribe(&format!("$config/operation/{OWN}"), 1)
            .await,
        0x80
    );
    let others = "$config/operation/result/ABCDE12345/dev02";
    assert_eq!(device.subscribe(others, 1).await, 0x80);
}

#[tokio::test]
async fn a_device_is_told_that_its_product_has_no_remote_configuration() {
    let emulator = started(|_| ()).await;
    let mut device = listening(&emulator, &format!("$config/operation/result/{OWN}")).await;
    let answer = ask(
        &mut device,
        &format!("$config/report/{OWN}"),
        json!({"type": "get"}),
    )
    .await;
    assert_eq!(
        answer,
        json!({"type": "reply", "result": 1001, "payload": {}})
    );
}

#[tokio::test]
async fn a_reported_firmware_version_is_what_the_application_is_shown() {
    let emulator = started(|_| ()).await;
    let mut device = listening(&emulator, &format!("$ota/update/{OWN}")).await;
    let report = json!({"type": "report_version", "report": {"version": "1.2.0"}});
    let answer = ask(&mut device, &format!("$ota/report/{OWN}"), report).await;
    assert_eq!(
        (&answer["type"], &answer["result_code"]),
        (&json!("report_version_rsp"), &json!(0))
    );
    let names = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    let shown = cloud(&emulator, "DescribeDevice", names).await;
    assert_eq!(shown["Version"], "1.2.0");
}

#[tokio::test]
async fn log_level_and_resources_are_answered() {
    let emulator = started(|_| ()).await;
    let mut device = listening(&emulator, &format!("$log/operation/result/{OWN}")).await;
    let request = json!({"type": "get_log_level", "clientToken": "t"});
    let answer = ask(&mut device, &format!("$log/operation/{OWN}"), request).await;
    assert_eq!(
        (&answer["clientToken"], &answer["log_level"]),
        (&json!("t"), &json!(0))
    );
    let filter = format!("$resource/down/service/{OWN}");
    assert_eq!(device.subscribe(&filter, 0).await, 0);
    let request = json!({"method": "report_version", "report": {"resource_list": []}});
    let answer = ask(&mut device, &format!("$resource/up/service/{OWN}"), request).await;
    assert_eq!(answer["method"], "report_version_rsp");
}

#[tokio::test]
async fn a_gateway_speaks_for_the_sub_device_that_it_has_online() {
    let emulator = started(|_| ()).await;
    let psk = "c3ViIGRldmljZSBrZXk=";
    let new = json!({"ProductId": "ABCDE12345", "DeviceName": "sub1", "DefinedPsk": psk});
    cloud(&emulator, "CreateDevice", new).await;
    let mut gateway = listening(&emulator, &format!("$gateway/operation/result/{OWN}")).await;
    let topic = format!("$gateway/operation/{OWN}");
    let data = "ABCDE12345/sub1/data";
    assert_eq!(gateway.subscribe(data, 1).await, 0x80, "not yet");
    let names = json!({"product_id": "ABCDE12345", "device_name": "sub1"});
    let mut sub = names.clone();
    // Computed with Python's hmac: HMAC-SHA1 of "ABCDE12345sub1;7;1700000000" under the key's text.
    for (name, value) in [
        ("signature", json!("T3SV+bdit+kZchBYalDCJNLVTm8=")),
        ("random", json!(7)),
        ("timestamp", json!(1_700_000_000)),
        ("signmethod", json!("hmacsha1")),
        ("authtype", json!("psk")),
    ] {
        sub[name] = value;
    }
    for (kind, device) in [("bind", sub), ("online", names.clone())] {
        let request = json!({"type": kind, "payload": {"devices": [device]}});
        let answer = ask(&mut gateway, &topic, request).await;
        assert_eq!(answer["payload"]["devices"][0]["result"], 0, "{kind}");
    }
    let shown = json!({"ProductId": "ABCDE12345", "DeviceName": "sub1"});
    let seen = cloud(&emulator, "DescribeDevice", shown.clone()).await;
    assert_eq!(seen["Online"], 1);
    assert_eq!(gateway.subscribe(data, 1).await, 1);
    gateway.publish(data, "of the sub-device", 0).await;
    assert_eq!(
        gateway.received().await,
        (data.into(), "of the sub-device".into())
    );
    platform_and_application_reach(&emulator, &mut gateway).await;
    let request = json!({"type": "offline", "payload": {"devices": [names]}});
    assert_eq!(
        ask(&mut gateway, &topic, request).await["payload"]["devices"][0]["result"],
        0
    );
    gateway.publish(data, "no longer", 1).await;
    assert!(gateway.ping().await.is_empty());
}

/// The sub-device that a gateway has online has a shadow, and answers to an RRPC.
async fn platform_and_application_reach(emulator: &mqttstack::Emulator, gateway: &mut Wire) {
    let sub = "ABCDE12345/sub1";
    for filter in [
        format!("$shadow/operation/result/{sub}"),
        format!("$rrpc/rxd/{sub}/+"),
    ] {
        assert_eq!(gateway.subscribe(&filter, 1).await, 1, "{filter}");
    }
    let topic = format!("$shadow/operation/{sub}");
    let answer = ask(gateway, &topic, json!({"type": "get"})).await;
    assert_eq!(answer["result"], 0);
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "sub1", "Payload": "ask"});
    let call = cloud(emulator, "PublishRRPCMessage", message);
    let reply = async {
        let (topic, _) = gateway.received().await;
        let up = topic.replacen("rxd", "txd", 1);
        gateway.publish(&up, "told", 0).await;
    };
    let (answer, ()) = tokio::join!(call, reply);
    assert_eq!(answer["PayloadBase64"], "dG9sZA==", "{answer}");
}

#[tokio::test]
async fn a_gateway_that_is_deleted_leaves_its_sub_devices_free() {
    let emulator = started(|_| ()).await;
    let psk = "c3ViIGRldmljZSBrZXk=";
    let named = |name: &str| json!({"ProductId": "ABCDE12345", "DeviceName": name});
    let mut new = named("sub1");
    new["DefinedPsk"] = json!(psk);
    cloud(&emulator, "CreateDevice", new).await;
    let mut gateway = listening(&emulator, &format!("$gateway/operation/result/{OWN}")).await;
    let topic = format!("$gateway/operation/{OWN}");
    // Signed as in the test above.
    let sub = json!({"product_id": "ABCDE12345", "device_name": "sub1", "random": 7,
        "timestamp": 1_700_000_000, "signmethod": "hmacsha1", "authtype": "psk",
        "signature": "T3SV+bdit+kZchBYalDCJNLVTm8="});
    for kind in ["bind", "online"] {
        let request = json!({"type": kind, "payload": {"devices": [sub]}});
        ask(&mut gateway, &topic, request).await;
    }
    let seen = cloud(&emulator, "DescribeDevice", named("sub1")).await;
    assert_eq!(seen["Online"], 1);
    cloud(&emulator, "DeleteDevice", named("dev01")).await;
    let seen = cloud(&emulator, "DescribeDevice", named("sub1")).await;
    assert_eq!(seen["Online"], 3);
}
