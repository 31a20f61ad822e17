//! What an emulator in process shows of itself.

use mqttstack::Emulator;
use mqttstack::config::Config;

use crate::mqtt::Device;

#[tokio::test]
async fn a_refused_mqtt_packet_is_in_the_journal_with_its_reason() {
    let config = Config::from_toml("[mqtt]\ndeny_subscribe = [\"closed/#\"]").unwrap();
    let config = Config {
        mqtt: config.mqtt,
        ..Config::free_ports()
    };
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let mut device = Device::v4(emulator.mqtt_addr().unwrap(), "dev").await;
    device.subscribe("closed/a", 1).await;
    let entries = emulator.requests().since(0);
    let [(_, entry)] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (&*entry.head.method, &*entry.head.target),
        ("SUBSCRIBE", "closed/a")
    );
    let outcome = entry.outcome().unwrap();
    assert_eq!(outcome.status, Some(0x80));
    assert_eq!(outcome.draft.reasons.len(), 1);
}

#[tokio::test]
async fn a_bad_vendor_setting_is_refused_with_its_key() {
    let config = Config::from_toml("[aliyun]\nqos = 3").unwrap();
    let config = Config {
        aliyun: config.aliyun,
        ..Config::free_ports()
    };
    let error = Emulator::builder()
        .config(config)
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("aliyun.qos"), "{error}");
}

#[tokio::test]
async fn the_same_seed_makes_the_same_ids() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let emulator = Emulator::builder().seed(7).start().await.unwrap();
        ids.push(emulator.app().ids.request_id());
    }
    assert_eq!(ids[0], ids[1]);
}
