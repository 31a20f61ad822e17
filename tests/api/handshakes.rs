//! TLS handshakes: who is asked for a certificate, and what log and journal say of those that fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::mqtt::PATIENCE;

/// Has no certificate, and notes that it was asked for one.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn trusting(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    roots
}

/// Whether a client of this server name is asked for a certificate.
async fn is_asked(emulator: &Emulator, address: SocketAddr, name: &str) -> bool {
    let asked = Arc::new(Asked::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(trusting(emulator.ca_pem()))
        .with_client_cert_resolver(asked.clone());
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, connect).await.unwrap().unwrap();
    asked.0.load(Ordering::Relaxed)
}

fn https(emulator: &Emulator) -> SocketAddr {
    let url = emulator.https_url().unwrap();
    url.strip_prefix("https://").unwrap().parse().unwrap()
}

/// Server names, and whether TDMQ's data plane may be meant by them.
const NAMES: [(&str, bool); 9] = [
    ("127.0.0.1", true),
    ("localhost", true),
    ("mqtt-x-public.mqtt.tencenttdmq.com", true),
    ("mqtt.tencentcloudapi.com", false),
    ("ap-guangzhou.gateway.tencentdevices.com", false),
    ("iotcloud.tencentcloudapi.com", false),
    ("onsmqtt.cn-hangzhou.aliyuncs.com", false),
    ("ns.westus3-1.eventgrid.azure.net", false),
    ("login.microsoftonline.com", false),
];

#[tokio::test]
async fn only_mqtt_over_tls_asks_for_a_certificate_by_default() {
    let emulator = Emulator::builder().start().await.unwrap();
    for (name, _) in NAMES {
        assert!(!is_asked(&emulator, https(&emulator), name).await, "{name}");
        let wss = emulator.wss_addr().unwrap();
        assert!(!is_asked(&emulator, wss, name).await, "{name}");
        let mqtts = emulator.mqtts_addr().unwrap();
        assert!(is_asked(&emulator, mqtts, name).await, "{name}");
    }
    // Azure's broker takes certificates over WebSocket as well.
    let azure = "ns.westus3-1.ts.eventgrid.azure.net";
    assert!(!is_asked(&emulator, https(&emulator), azure).await);
    assert!(is_asked(&emulator, emulator.wss_addr().unwrap(), azure).await);
}

#[tokio::test]
async fn https_asks_where_tdmq_takes_certificates_and_is_meant() {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, own.pem()).unwrap();
    let text = format!("[tencent_tdmq]\nca_certificates = ['{}']\n", file.display());
    let config = Config {
        tencent_tdmq: Config::from_toml(&text).unwrap().tencent_tdmq,
        ..Config::free_ports()
    };
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    for (name, tdmq) in NAMES {
        assert_eq!(
            is_asked(&emulator, https(&emulator), name).await,
            tdmq,
            "{name}"
        );
        let wss = emulator.wss_addr().unwrap();
        assert!(!is_asked(&emulator, wss, name).await, "{name}");
    }
}

/// Waits for the entry of a failed handshake.
async fn entry(emulator: &Emulator) -> (Option<Surface>, String, Option<u16>, String) {
    let mut news = emulator.requests().subscribe();
    let come = async {
        while emulator.requests().is_empty() {
            news.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, come).await.expect("an entry");
    let (_, entry) = emulator.requests().since(0).remove(0);
    assert_eq!(&*entry.head.method, "TLS");
    let outcome = entry.outcome().unwrap();
    let reasons = outcome.draft.reasons.join("; ");
    emulator.requests().clear();
    (
        entry.surface,
        entry.head.target.to_string(),
        outcome.status,
        reasons,
    )
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_told_of_with_its_alert() {
    let emulator = Emulator::builder().start().await.unwrap();
    let other = Emulator::builder().start().await.unwrap();
    let name = "onsmqtt.cn-hangzhou.aliyuncs.com";
    for (address, surface, server_name) in [
        (https(&emulator), Some(Surface::Aliyun), name),
        (emulator.mqtts_addr().unwrap(), None, ""),
        (emulator.wss_addr().unwrap(), None, ""),
    ] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(trusting(other.ca_pem()))
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let wanted = ServerName::try_from(name).unwrap();
        assert!(connector.connect(wanted, stream).await.is_err());
        let seen = entry(&emulator).await;
        assert_eq!((seen.0, &*seen.1, seen.2), (surface, server_name, Some(48)));
        assert!(seen.3.contains("unknown_ca"), "{}", seen.3);
        assert!(seen.3.contains("/_mqttstack/ca.pem"), "{}", seen.3);
    }
}

/// A hello of TLS 1.2 with these cipher suites and nothing else.
fn hello(suites: &[u16]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(2 * suites.len()).unwrap().to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn what_is_no_handshake_for_us_is_told_of_in_words() {
    let emulator = Emulator::builder().start().await.unwrap();
    for (bytes, words) in [
        (hello(&[0x00ae, 0x00a8, 0x00ff]), "TLS-PSK"),
        (hello(&[0x002f]), "neither TLS 1.2 nor TLS 1.3"),
        (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0".to_vec(), "is not TLS"),
    ] {
        for address in [https(&emulator), emulator.mqtts_addr().unwrap()] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut alert = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut alert))
                .await
                .unwrap();
            let (_, _, _, reasons) = entry(&emulator).await;
            assert!(reasons.contains(words), "{reasons}");
        }
    }
}

#[tokio::test]
async fn who_only_looks_whether_a_port_is_open_leaves_no_entry() {
    let emulator = Emulator::builder().start().await.unwrap();
    for address in [https(&emulator), emulator.mqtts_addr().unwrap()] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(
            timeout(PATIENCE, stream.read(&mut [0]))
                .await
                .unwrap()
                .unwrap(),
            0
        );
    }
    assert!(emulator.requests().is_empty());
}
