//! What an emulator in process shows of itself.

use mqttstack::Emulator;
use mqttstack::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// The client id that the broker gives to a client of MQTT 5 that has none.
async fn assigned(emulator: &Emulator) -> String {
    let mut stream = TcpStream::connect(emulator.mqtt_addr().unwrap())
        .await
        .unwrap();
    let connect = b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0";
    stream.write_all(connect).await.unwrap();
    let mut connack = [0; 200];
    let length = stream.read(&mut connack).await.unwrap();
    // Assigned Client Identifier, MQTT 5.0 section 3.2.2.3.7.
    let at = connack[..length]
        .iter()
        .position(|byte| *byte == 0x12)
        .unwrap();
    let end = at + 3 + usize::from(connack[at + 2]);
    String::from_utf8(connack[at + 3..end].to_vec()).unwrap()
}

#[tokio::test]
async fn a_seed_repeats_assigned_client_ids_and_the_authority() {
    let mut made = Vec::new();
    for seed in [7, 7, 8] {
        let emulator = Emulator::builder().seed(seed).start().await.unwrap();
        made.push((assigned(&emulator).await, emulator.ca_pem().to_owned()));
    }
    assert_eq!(made[0], made[1]);
    assert_ne!(made[0].0, made[2].0);
    assert_ne!(made[0].1, made[2].1);
}

#[tokio::test]
async fn a_client_of_mqtt_3_without_an_id_gets_one_of_the_seed() {
    let mut made = Vec::new();
    for _ in 0..2 {
        let emulator = Emulator::builder().seed(7).start().await.unwrap();
        let mut stream = TcpStream::connect(emulator.mqtt_addr().unwrap())
            .await
            .unwrap();
        stream
            .write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0")
            .await
            .unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        let clients = emulator.app().broker.clients().await;
        made.push(clients[0].client_id.clone());
    }
    assert_eq!(made[0].len(), 32);
    assert_eq!(made[0], made[1]);
}
