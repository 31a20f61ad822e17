//! What a dialect can decide, each rule with an allowed and a refused case, seen from a client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::{
    Message, Origin, OriginKind, Properties, Publication, Qos, TopicName, Transport,
};
use mqttstack_broker::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish, PublishVerdict,
    Refused, SubscribeVerdict,
};
use mqttstack_broker::{Broker, Settings};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::{Device, Options, PATIENCE};

mod authentication;
mod limits;
mod refusals;
mod websocket;

/// Claims client ids that begin with `v-`; the rest of the id and the topics say what to do.
struct Sample;

#[async_trait]
impl Dialect for Sample {
    fn surface(&self) -> Surface {
        Surface::TencentIot
    }

    fn claims(&self, connect: &Connect) -> bool {
        connect.client_id.starts_with("v-")
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        if connect.client_id == "v-bad" {
            return Err(ConnectRefusal {
                code: ConnectCode::BadUserNameOrPassword,
                reason: "the password is for another device".into(),
            });
        }
        Ok(Grant {
            surface: Some(Surface::TencentIot),
            tenant: Some("product".into()),
            identity: connect.client_id.clone(),
            max_keep_alive: Some(30),
            limits: Limits::default(),

            ..Grant::default()
        })
    }

    fn publish(&self, _peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        match publish.topic {
            "service/time" => PublishVerdict::Consume(vec![Publication {
                topic: TopicName::parse("service/answer").unwrap(),
                payload: publish.payload.clone(),
                qos: Qos::AtMostOnce,
                retain: false,
                properties: Properties::default(),
                origin: Origin {
                    kind: OriginKind::System,
                    vendor: Some(Surface::TencentIot),
                    client_id: None,
                    request: None,
                },
            }]),
            "retained" => PublishVerdict::AllowUnretained,
            "refused" => PublishVerdict::Refuse {
                code: 0x87,
                reason: "not this device's topic".into(),
            },
            "withheld" => PublishVerdict::Withhold {
                reason: "only operations are published to".into(),
            },
            "fatal" => PublishVerdict::Close {
                reason: "not this device's topic".into(),
            },
            _ => PublishVerdict::Allow,
        }
    }

    fn subscribe(
        &self,
        _peer: &Peer,
        filter: &str,
        qos: Qos,
        _properties: &[(String, String)],
    ) -> SubscribeVerdict {
        match filter {
            "refused" => SubscribeVerdict::Refuse {
                code: 0x87,
                reason: "not this device's topic".into(),
            },
            "fatal" => SubscribeVerdict::Close {
                reason: "not this device's topic".into(),
            },
            _ => SubscribeVerdict::Allow(qos.min(Qos::AtLeastOnce)),
        }
    }
}

struct Bench {
    broker: Broker,
    address: SocketAddr,
    messages: Arc<Mutex<Vec<Arc<Message>>>>,
    refused: Arc<Mutex<Vec<Refused>>>,
}

async fn bench() -> Bench {
    bench_of(Arc::new(Sample)).await
}

async fn bench_of(dialect: Arc<dyn Dialect>) -> Bench {
    let messages: Arc<Mutex<Vec<_>>> = Arc::default();
    let sink = messages.clone();
    let broker = Broker::start(
        Settings::default(),
        Clock::real(),
        Ids::new(Some(1)),
        Arc::new(move |message| sink.lock().push(message)),
    )
    .await;
    broker.add_dialect(dialect);
    let refused: Arc<Mutex<Vec<_>>> = Arc::default();
    let tell = refused.clone();
    broker.on_refused(Arc::new(move |packet| tell.lock().push(packet)));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = broker.listen(Transport::Tcp, anywhere).unwrap();
    Bench {
        broker,
        address,
        messages,
        refused,
    }
}

impl Bench {
    fn refusal(&self) -> Refused {
        self.refused.lock().pop().expect("a refusal was told")
    }
}

#[tokio::test]
async fn a_claimed_client_is_listed_with_dialect_tenant_and_identity_and_others_are_open() {
    let bench = bench().await;
    let _claimed = Device::v4(bench.address, "v-1").await;
    let _open = Device::v4(bench.address, "open").await;
    let clients = bench.broker.clients().await;
    assert_eq!(clients[0].dialect, None);
    assert_eq!(clients[1].dialect, Some(Surface::TencentIot));
    assert_eq!(clients[1].tenant.as_deref(), Some("product"));
    assert_eq!(clients[1].identity.as_deref(), Some("v-1"));
}

#[tokio::test]
async fn a_refused_connect_gets_the_code_and_the_journal_the_reason() {
    let bench = bench().await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream
        .write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05v-bad")
        .await
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 4]);
    let refusal = bench.refusal();
    assert_eq!((refusal.packet, refusal.code), ("CONNECT", 4));
    assert_eq!(refusal.reason, "the password is for another device");
}

#[tokio::test]
async fn a_longer_keep_alive_than_the_dialects_is_lowered_and_mqtt_5_is_told() {
    let bench = bench().await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream
        .write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03v-1")
        .await
        .unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let mut rest = vec![0; head[1].into()];
    stream.read_exact(&mut rest).await.unwrap();
    let server_keep_alive = [0x13, 0, 30];
    assert!(
        rest.windows(3).any(|window| window == server_keep_alive),
        "{rest:?}"
    );
}

#[tokio::test]
async fn a_granted_quality_of_service_is_capped_and_a_refused_filter_is_told() {
    let bench = bench().await;
    let mut device = Device::v4(bench.address, "v-1").await;
    assert_eq!(device.subscribe("ok", 2).await, [1]);
    assert_eq!(device.subscribe("refused", 1).await, [0x80]);
    let refusal = bench.refusal();
    assert_eq!(
        (refusal.packet, refusal.topic.as_deref()),
        ("SUBSCRIBE", Some("refused"))
    );
    assert_eq!(refusal.code, 0x87);
}

#[tokio::test]
async fn a_fatal_filter_ends_the_connection() {
    let bench = bench().await;
    let mut device = Device::v4(bench.address, "v-1").await;
    if device.try_subscribe("fatal", 1).await.is_some() {
        device.ended().await;
    }
    let mut open = Device::v4(bench.address, "open").await;
    assert_eq!(open.subscribe("fatal", 1).await, [1]);
}

#[tokio::test]
async fn a_refused_publish_reaches_nobody_and_a_fatal_one_ends_the_connection() {
    let bench = bench().await;
    let mut watcher = Device::v4(bench.address, "watcher").await;
    watcher.subscribe("#", 1).await;
    let mut device = Device::v4(bench.address, "v-1").await;
    device.publish("refused", 1, false, "x").await;
    assert_eq!(bench.refusal().topic.as_deref(), Some("refused"));
    device.publish("fatal", 0, false, "x").await;
    device.ended().await;
    let mut other = Device::v4(bench.address, "v-2").await;
    other.publish("fine", 1, false, "y").await;
    assert_eq!(watcher.receive().await.topic, "fine");
}

#[tokio::test]
async fn a_publish_to_the_service_is_answered_to_the_client_alone_and_journalled() {
    let bench = bench().await;
    let mut watcher = Device::v4(bench.address, "watcher").await;
    watcher.subscribe("#", 1).await;
    let mut device = Device::v4(bench.address, "v-1").await;
    device.publish("service/time", 0, false, "now?").await;
    let answer = device.receive().await;
    assert_eq!(
        (answer.topic.as_str(), answer.payload.as_ref()),
        ("service/answer", &b"now?"[..])
    );
    let topics: Vec<_> = bench
        .messages
        .lock()
        .iter()
        .map(|m| m.topic.clone())
        .collect();
    assert_eq!(topics, ["service/time", "service/answer"]);
    device.publish("end", 1, false, "").await;
    assert_eq!(watcher.receive().await.topic, "end");
}

#[tokio::test]
async fn a_dialect_without_retained_messages_clears_the_flag() {
    let bench = bench().await;
    let mut device = Device::v4(bench.address, "v-1").await;
    device.publish("retained", 1, true, "x").await;
    device.publish("kept", 1, true, "x").await;
    let kept: Vec<_> = bench
        .broker
        .retained()
        .iter()
        .map(|r| r.message.topic.clone())
        .collect();
    assert_eq!(kept, ["kept"]);
}

#[tokio::test]
async fn a_refused_will_is_not_published() {
    let bench = bench().await;
    let mut watcher = Device::v4(bench.address, "watcher").await;
    watcher.subscribe("#", 1).await;
    for (id, topic) in [("v-1", "refused"), ("v-2", "allowed")] {
        let mut options = Options::new(id);
        options.will = Some((topic.into(), "gone".into()));
        let mut device = Device::connect_v4(bench.address, options).await;
        assert!(bench.broker.kick(id).await);
        device.ended().await;
    }
    assert_eq!(watcher.receive().await.topic, "allowed");
}

/// A self-signed certificate that both ends show and trust, and their configurations.
fn tls_ends() -> (Bytes, rustls::ServerConfig, rustls::ClientConfig) {
    let key = rcgen::generate_simple_self_signed(vec!["broker.test".into()]).unwrap();
    let certificate = key.cert.der().clone();
    let private =
        || rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let roots = Arc::new(roots);
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        roots.clone(),
        provider.clone(),
    )
    .allow_unauthenticated()
    .build()
    .unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.clone()], private())
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate.clone()], private())
        .unwrap();
    (Bytes::copy_from_slice(&certificate), server, client)
}

#[tokio::test]
async fn over_tls_a_dialect_sees_server_name_and_certificate() {
    struct Curious(tokio::sync::mpsc::UnboundedSender<Connect>);
    #[async_trait]
    impl Dialect for Curious {
        fn surface(&self) -> Surface {
            Surface::Azure
        }
        fn claims(&self, connect: &Connect) -> bool {
            self.0.send(connect.clone()).unwrap();
            false
        }
        async fn connect(&self, _connect: &Connect) -> Result<Grant, ConnectRefusal> {
            unreachable!("it claims nobody")
        }
    }
    let bench = bench().await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    bench.broker.add_dialect(Arc::new(Curious(sender)));
    let (certificate, server, client) = tls_ends();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = bench
        .broker
        .listen_tls(Transport::Tls, anywhere, Arc::new(server))
        .unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let local = stream.local_addr().unwrap();
    let name = rustls::pki_types::ServerName::try_from("broker.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")
        .await
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let connect = tokio::time::timeout(PATIENCE, seen.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(connect.transport, Transport::Tls);
    assert_eq!(connect.peer, Some(local));
    assert_eq!(connect.tls.server_name.as_deref(), Some("broker.test"));
    assert_eq!(connect.tls.certificates.to_vec(), [certificate]);
    assert_eq!(bench.broker.clients().await[0].transport, Transport::Tls);
}
