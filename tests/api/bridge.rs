//! The bridge to another MQTT broker, which is another emulator here.

use std::net::SocketAddr;

use mqttstack::Emulator;
use mqttstack::bridge;
use mqttstack::config::Config;
use mqttstack_base::message::OriginKind;

use crate::mqtt::Device;

async fn bridged(to: SocketAddr) -> Emulator {
    let config = Config {
        bridge: bridge::Settings {
            address: to.to_string(),
            publish: vec!["out/#".into(), "both/#".into()],
            subscribe: vec!["in/#".into(), "both/#".into()],
            ..bridge::Settings::default()
        },
        ..Config::free_ports()
    };
    Emulator::builder().config(config).start().await.unwrap()
}

/// Waits until the bridge has its subscriptions at the other broker.
async fn subscribed(other: &Emulator) {
    let mut events = other.app().broker.events();
    while other.app().broker.subscriptions().await.len() < 2 {
        events.recv().await.unwrap();
    }
}

#[tokio::test]
async fn messages_cross_the_bridge_both_ways_and_never_come_back() {
    let other = Emulator::builder().start().await.unwrap();
    let own = bridged(other.mqtt_addr().unwrap()).await;
    subscribed(&other).await;
    let mut here = Device::v5(own.mqtt_addr().unwrap(), "here").await;
    let mut there = Device::v4(other.mqtt_addr().unwrap(), "there").await;
    let mut from_here = Device::v4(own.mqtt_addr().unwrap(), "from here").await;
    let mut from_there = Device::v5(other.mqtt_addr().unwrap(), "from there").await;
    here.subscribe("#", 2).await;
    there.subscribe("#", 2).await;
    from_here.publish("out/a", 1, false, "1").await;
    from_here.publish("both/a", 2, false, "2").await;
    for expected in ["1", "2"] {
        assert_eq!(there.receive().await.payload, expected);
        assert_eq!(here.receive().await.payload, expected);
    }
    from_there.publish("in/a", 1, false, "3").await;
    from_there.publish("both/b", 2, false, "4").await;
    for expected in ["3", "4"] {
        assert_eq!(here.receive().await.payload, expected);
        assert_eq!(there.receive().await.payload, expected);
    }
    // What no filter names stays, and nothing has come a second time.
    from_here.publish("own", 1, false, "5").await;
    from_there.publish("own", 1, false, "6").await;
    assert_eq!(here.receive().await.payload, "5");
    assert_eq!(there.receive().await.payload, "6");
    let origins: Vec<_> = own.messages().since(0);
    let origins: Vec<_> = origins.iter().map(|(_, m)| m.origin.kind).collect();
    let (mqtt, bridge) = (OriginKind::Mqtt, OriginKind::Bridge);
    assert_eq!(origins, [mqtt, mqtt, bridge, bridge, mqtt]);
    own.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_was_published_before_the_other_broker_was_there_waits_for_it() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    let own = bridged(address).await;
    let mut here = Device::v5(own.mqtt_addr().unwrap(), "here").await;
    here.publish("out/early", 1, true, "1").await;
    drop(place);
    let config = Config {
        mqtt_port: mqttstack::config::Port::Number(address.port()),
        ..Config::free_ports()
    };
    let other = Emulator::builder().config(config).start().await.unwrap();
    let mut there = Device::v5(address, "there").await;
    there.subscribe("out/#", 1).await;
    assert_eq!(there.receive().await.payload, "1");
    own.stop().await;
    other.stop().await;
}

#[test]
fn a_bridge_that_cannot_be_is_refused_with_its_key() {
    for (text, expected) in [
        (
            "address = \"a:b\"\npublish = [\"#\"]",
            "bridge.address: expected host or host:port",
        ),
        (
            "address = \"mqtt://a\"\npublish = [\"#\"]",
            "bridge.address: expected host or host:port",
        ),
        ("address = \"a\"", "publish and subscribe are both empty"),
        ("publish = [\"a/#/b\"]", "bridge.publish: \"a/#/b\""),
        ("subscribe = [\"\"]", "bridge.subscribe: \"\""),
    ] {
        let config = Config::from_toml(&format!("[bridge]\n{text}\n")).unwrap();
        let error = mqttstack::emulator::check(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
