//! Real MQTT clients: paho-mqtt and mqtt.js in every protocol version over every transport, with
//! wills, retained messages, shared subscriptions and persistent sessions; and mosquitto's
//! command line clients where Debian's package is to be had.

use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mqttstack::Emulator;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::install::Mosquitto;
use crate::peers::{Library, Message, Peers};
use crate::script::PATIENCE;
use crate::shared;

const LIBRARIES: [Library; 2] = [Library::Paho, Library::MqttJs];
const TRANSPORTS: [&str; 4] = ["mqtt", "mqtts", "ws", "wss"];

/// An emulator, its authority in a file, and the clients of one library.
struct Bench {
    emulator: Emulator,
    ready: Value,
    authority: NamedTempFile,
    peers: Peers,
}

impl Bench {
    async fn start(library: Library) -> Self {
        let peers = Peers::start(library).await;
        let emulator = Emulator::builder().start().await.unwrap();
        let mut authority = NamedTempFile::new().unwrap();
        authority.write_all(emulator.ca_pem().as_bytes()).unwrap();
        Self {
            ready: serde_json::to_value(emulator.ready()).unwrap(),
            emulator,
            authority,
            peers,
        }
    }

    /// How to connect over a transport.
    fn options(&self, transport: &str, version: u8) -> Value {
        json!({
            "url": self.ready[transport],
            "version": version,
            "ca": self.authority.path(),
        })
    }

    /// Connects over TCP with more options.
    async fn connect(&mut self, client: &str, version: u8, more: Value) -> bool {
        let mut options = self.options("mqtt", version);
        for (key, value) in more.as_object().unwrap() {
            options[key] = value.clone();
        }
        self.peers.connect(client, options).await
    }
}

fn message(topic: &str, payload: &[u8], qos: u64, retain: bool) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.to_owned(),
        qos,
        retain,
        user_properties: json!([]),
    }
}

async fn every_version_over_every_transport(library: Library) {
    let mut bench = Bench::start(library).await;
    let everything: Vec<u8> = (0..=255).collect();
    for version in [3, 4, 5] {
        for transport in TRANSPORTS {
            let name = format!("{transport}{version}");
            let options = bench.options(transport, version);
            bench.peers.connect(&name, options).await;
            let topic = format!("all/{name}");
            bench.peers.subscribe(&name, &topic, 2).await;
            for qos in [0, 1, 2] {
                bench
                    .peers
                    .publish(&name, &topic, &everything, (qos, false))
                    .await;
                let received = bench.peers.message(&name).await;
                assert_eq!(received, message(&topic, &everything, qos.into(), false));
            }
        }
    }
    let mut seen: Vec<_> = bench
        .emulator
        .app()
        .broker
        .clients()
        .await
        .into_iter()
        .map(|client| {
            let transport = serde_json::to_value(client.transport).unwrap();
            (
                client.protocol_version,
                transport.as_str().unwrap().to_owned(),
            )
        })
        .collect();
    seen.sort();
    let expected: Vec<_> = [3, 4, 5]
        .into_iter()
        .flat_map(|version| ["tcp", "tls", "ws", "wss"].map(|name| (version, name.to_owned())))
        .collect();
    assert_eq!(seen, expected);
    bench.emulator.stop().await;
}

#[tokio::test]
async fn paho_speaks_every_version_over_every_transport() {
    every_version_over_every_transport(Library::Paho).await;
}

#[tokio::test]
async fn mqtt_js_speaks_every_version_over_every_transport() {
    every_version_over_every_transport(Library::MqttJs).await;
}

#[tokio::test]
async fn a_will_comes_when_a_client_vanishes_and_not_when_it_leaves() {
    for library in LIBRARIES {
        let mut bench = Bench::start(library).await;
        for version in [4, 5] {
            let (watcher, rude, polite) = match version {
                4 => ("watcher4", "rude4", "polite4"),
                _ => ("watcher5", "rude5", "polite5"),
            };
            bench.connect(watcher, version, json!({})).await;
            bench.peers.subscribe(watcher, "will/#", 1).await;
            for client in [polite, rude] {
                let topic = format!("will/{client}");
                let will = json!({"topic": topic, "payload": "gone", "qos": 1, "retain": false});
                bench.connect(client, version, json!({"will": will})).await;
            }
            bench.peers.act(polite, "disconnect", json!({})).await;
            bench.peers.ended(polite).await;
            bench.peers.act(rude, "vanish", json!({})).await;
            // The first will that comes is the rude one's.
            let will = bench.peers.message(watcher).await;
            assert_eq!(will, message(&format!("will/{rude}"), b"gone", 1, false));
            bench.peers.act(watcher, "disconnect", json!({})).await;
        }
        bench.emulator.stop().await;
    }
}

#[tokio::test]
async fn a_retained_message_greets_those_who_come_later() {
    for library in LIBRARIES {
        let mut bench = Bench::start(library).await;
        bench.connect("early", 4, json!({})).await;
        bench.peers.subscribe("early", "kept/+", 1).await;
        bench
            .peers
            .publish("early", "kept/a", b"1", (1, true))
            .await;
        let received = bench.peers.message("early").await;
        assert_eq!(received, message("kept/a", b"1", 1, false));
        for (late, version) in [("late4", 4), ("late5", 5)] {
            bench.connect(late, version, json!({})).await;
            bench.peers.subscribe(late, "kept/#", 1).await;
            let received = bench.peers.message(late).await;
            assert_eq!(received, message("kept/a", b"1", 1, true));
        }
        // An empty one removes it.
        bench.peers.publish("early", "kept/a", b"", (1, true)).await;
        assert_eq!(bench.peers.message("early").await.payload, b"");
        bench.connect("last", 5, json!({})).await;
        bench.peers.subscribe("last", "kept/#", 1).await;
        bench
            .peers
            .publish("last", "kept/b", b"2", (1, false))
            .await;
        let received = bench.peers.message("last").await;
        assert_eq!(received, message("kept/b", b"2", 1, false));
        bench.emulator.stop().await;
    }
}

#[tokio::test]
async fn members_of_a_shared_subscription_divide_the_messages() {
    for library in LIBRARIES {
        let mut bench = Bench::start(library).await;
        for (member, version) in [("a", 4), ("b", 5)] {
            bench.connect(member, version, json!({})).await;
            bench
                .peers
                .subscribe(member, "$share/group/task/+", 1)
                .await;
        }
        bench.connect("giver", 4, json!({})).await;
        let mut given = vec![];
        for n in 0..10_u8 {
            bench
                .peers
                .publish("giver", "task/x", &[n], (1, false))
                .await;
            given.push(vec![n]);
        }
        let mut taken = vec![];
        for _ in 0..5 {
            taken.push(bench.peers.message("a").await.payload);
            taken.push(bench.peers.message("b").await.payload);
        }
        taken.sort();
        assert_eq!(taken, given);
        let left = bench.peers.waiting("a") + bench.peers.waiting("b");
        assert_eq!(left, 0);
        bench.emulator.stop().await;
    }
}

#[tokio::test]
async fn a_persistent_session_gets_what_it_missed() {
    for library in LIBRARIES {
        let mut bench = Bench::start(library).await;
        bench.connect("giver", 4, json!({})).await;
        for version in [4, 5] {
            let name = if version == 4 { "sleeper4" } else { "sleeper5" };
            let keep = json!({"id": name, "clean": false, "session_expiry": 3600});
            assert!(!bench.connect(name, version, keep.clone()).await);
            bench.peers.subscribe(name, name, 1).await;
            bench.peers.act(name, "disconnect", json!({})).await;
            bench.peers.ended(name).await;
            bench.peers.publish("giver", name, b"1", (1, false)).await;
            bench.peers.publish("giver", name, b"2", (2, false)).await;
            assert!(bench.connect(name, version, keep).await);
            for payload in [b"1", b"2"] {
                let received = bench.peers.message(name).await;
                assert_eq!(received, message(name, payload, 1, false));
            }
        }
        bench.emulator.stop().await;
    }
}

#[tokio::test]
async fn user_properties_pass_from_library_to_library() {
    let mut bench = Bench::start(Library::Paho).await;
    let mut other = Peers::start(Library::MqttJs).await;
    let web = bench.options("ws", 5);
    other.connect("js", web).await;
    other.subscribe("js", "p/#", 1).await;
    bench.connect("paho", 5, json!({})).await;
    bench.peers.subscribe("paho", "p/#", 1).await;
    let pairs = json!([["k", "你好"], ["z", "2"]]);
    let options = json!({
        "topic": "p/1",
        "payload": BASE64_STANDARD.encode("x"),
        "qos": 1,
        "retain": false,
        "user_properties": pairs,
    });
    bench.peers.act("paho", "publish", options.clone()).await;
    other.act("js", "publish", options).await;
    for _ in 0..2 {
        assert_eq!(bench.peers.message("paho").await.user_properties, pairs);
        assert_eq!(other.message("js").await.user_properties, pairs);
    }
    bench.emulator.stop().await;
}

#[tokio::test]
async fn mosquittos_clients_speak_over_tcp_and_tls() {
    let found = tokio::task::spawn_blocking(Mosquitto::find).await.unwrap();
    let mosquitto = match found {
        Ok(mosquitto) => mosquitto,
        Err(problem) => {
            println!("skipped: there are no mosquitto clients here: {problem}");
            return;
        }
    };
    let emulator = Emulator::builder().start().await.unwrap();
    let mut authority = NamedTempFile::new().unwrap();
    authority.write_all(emulator.ca_pem().as_bytes()).unwrap();
    let (tcp, tls) = (
        emulator.mqtt_addr().unwrap(),
        emulator.mqtts_addr().unwrap(),
    );
    // Debian's build has no WebSocket.
    for (address, version) in [tcp, tls]
        .into_iter()
        .flat_map(|address| ["mqttv31", "mqttv311", "mqttv5"].map(|version| (address, version)))
    {
        let client = |program: &str| {
            let mut command = Command::from(mosquitto.command(program));
            command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
            command.args(["-V", version, "-t", "m/a", "-q", "1"]);
            if address == tls {
                command.arg("--cafile").arg(authority.path());
            }
            command.kill_on_drop(true);
            command
        };
        let subscriber = client("mosquitto_sub")
            .args(["-C", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let broker = &emulator.app().broker;
        let subscribed = async || (!broker.subscriptions().await.is_empty()).then_some(());
        shared::until(broker, subscribed).await;
        let sent = client("mosquitto_pub").args(["-m", "你好"]).status().await;
        assert!(sent.unwrap().success());
        let output = tokio::time::timeout(PATIENCE, subscriber.wait_with_output());
        let output = output.await.expect("it never ended").unwrap();
        assert_eq!(output.stdout, "你好\n".as_bytes());
        // Its session ends before the next version subscribes.
        let gone = async || broker.subscriptions().await.is_empty().then_some(());
        shared::until(broker, gone).await;
    }
    emulator.stop().await;
}
