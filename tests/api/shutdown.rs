//! The end of an emulator in process, the failure to become one, and the way back to its start.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use mqttstack::Emulator;
use mqttstack::admin::ResetPart;
use mqttstack::config::{Config, Port};
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::mqtt::{Device, Options};
use crate::raw::{ask, get};
use crate::wire::Wire;

fn address(url: Option<&str>) -> SocketAddr {
    let (_, rest) = url.unwrap().split_once("://").unwrap();
    rest.parse().unwrap()
}

async fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

fn retained(topic: &str) -> Publication {
    Publication {
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: None,
            client_id: None,
            request: None,
        },
    }
}

#[tokio::test]
async fn after_a_stop_no_listener_is_open() {
    let emulator = Emulator::builder().start().await.unwrap();
    let mut addresses = vec![
        address(emulator.http_url()),
        address(emulator.https_url()),
        emulator.mqtt_addr().unwrap(),
        emulator.mqtts_addr().unwrap(),
        emulator.ws_addr().unwrap(),
        emulator.wss_addr().unwrap(),
    ];
    for surface in mqttstack_base::exchange::Surface::ALL {
        addresses.push(address(emulator.vendor_url(surface)));
    }
    for address in &addresses {
        assert!(!refused(*address).await);
    }
    emulator.stop().await;
    for address in addresses {
        assert!(refused(address).await, "{address}");
    }
}

#[tokio::test]
async fn a_dropped_emulator_ends_its_connections() {
    let emulator = Emulator::builder().start().await.unwrap();
    let mut http = TcpStream::connect(address(emulator.http_url()))
        .await
        .unwrap();
    drop(emulator);
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(30), http.read(&mut byte)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn emulators_in_one_process_know_nothing_of_one_another() {
    let one = Emulator::builder().start().await.unwrap();
    let other = Emulator::builder().start().await.unwrap();
    one.app().broker.publish(retained("a/b")).await.unwrap();
    assert_eq!(one.messages().len(), 1);
    assert_eq!(other.messages().len(), 0);
    assert_eq!(other.app().broker.retained().len(), 0);
    one.stop().await;
    other.app().broker.publish(retained("a/b")).await.unwrap();
}

/// An address on which nothing else of these tests listens, so that a port found free there
/// stays free.
const ALONE: &str = "127.0.17.77";

#[tokio::test]
async fn a_listener_that_cannot_be_opened_closes_those_that_were() {
    let free = || TcpListener::bind((ALONE, 0)).unwrap();
    let port = |socket: &TcpListener| socket.local_addr().unwrap().port();
    let (http, mqtt, taken) = (free(), free(), free());
    let [http_port, mqtt_port, wss_port] = [&http, &mqtt, &taken].map(port);
    drop((http, mqtt));
    let config = Config {
        bind: ALONE.parse().unwrap(),
        http_port: Port::Number(http_port),
        mqtt_port: Port::Number(mqtt_port),
        wss_port: Port::Number(wss_port),
        // A free port that one of these were given could be one of those above.
        https_port: Port::Off,
        mqtts_port: Port::Off,
        ws_port: Port::Off,
        ..Config::free_ports()
    };
    let builder = Emulator::builder().config(config);
    let error = builder.clone().start().await.unwrap_err();
    assert!(error.to_string().starts_with("--wss-port: "), "{error}");
    drop(taken);
    builder.start().await.unwrap().stop().await;
}

#[tokio::test]
async fn a_reset_puts_everything_back_to_the_start() {
    let start = "2026-11-21T22:51:00Z".parse().unwrap();
    let emulator = Emulator::builder().clock(start).start().await.unwrap();
    let app = emulator.app();
    let device = Device::connect_v4(emulator.mqtt_addr().unwrap(), Options::new("dev")).await;
    ask(emulator.http_url().unwrap(), &get("/nowhere", "x")).await;
    app.broker.publish(retained("a/b")).await.unwrap();
    app.quotas.take("SendMessage", "testid", 1).unwrap();
    emulator
        .clock()
        .advance(jiff::SignedDuration::from_hours(1))
        .unwrap();
    assert_eq!(app.broker.clients().await.len(), 1);

    emulator.reset().await;

    assert!(emulator.requests().is_empty());
    assert!(emulator.messages().is_empty());
    assert_eq!(emulator.clock().now(), start);
    assert_eq!(app.broker.retained().len(), 0);
    assert_eq!(app.broker.clients().await.len(), 0);
    app.quotas.take("SendMessage", "testid", 1).unwrap();
    drop(device);
}

#[tokio::test]
async fn a_reset_of_one_part_leaves_the_others() {
    let emulator = Emulator::builder().start().await.unwrap();
    let app = emulator.app();
    ask(emulator.http_url().unwrap(), &get("/nowhere", "x")).await;
    app.broker.publish(retained("a/b")).await.unwrap();
    emulator.reset_only([ResetPart::Messages]).await;
    assert!(emulator.messages().is_empty());
    assert_eq!(emulator.requests().len(), 1);
    assert_eq!(app.broker.retained().len(), 1);
    emulator
        .reset_only([ResetPart::Retained, ResetPart::Requests])
        .await;
    assert!(emulator.requests().is_empty());
    assert_eq!(app.broker.retained().len(), 0);
}

#[tokio::test]
async fn what_was_acknowledged_before_a_stop_is_delivered_and_nothing_is_acknowledged_after() {
    let emulator = Emulator::builder().start().await.unwrap();
    let mqtt = emulator.mqtt_addr().unwrap();
    let mut subscriber = Device::v4(mqtt, "subscriber").await;
    subscriber.subscribe("load/#", 1).await;
    let publish = "POST /topics/load/http?qos=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   Authorization: Basic dXNlcjA6c2VjcmV0MA==\r\nContent-Length: 1\r\n\r\nx";
    let mut publisher = Wire::open(mqtt, 4, "publisher").await;
    for number in 0..200 {
        assert_eq!(ask(emulator.http_url().unwrap(), publish).await.0, 200);
        publisher
            .publish("load/mqtt", &number.to_string(), 2, &[])
            .await;
    }
    // Many wait for the subscriber still, which takes sixteen at a time.
    let stopping = tokio::spawn(emulator.stop());
    for _ in 0..400 {
        subscriber.receive().await;
    }
    stopping.await.unwrap();
    // What the publisher sends now is not acknowledged.
    let late = publisher.publish_bytes("load/mqtt", "late", 2, &[]);
    publisher.send(&late).await;
    publisher.ended().await;
}
