//! Certificates from configured files, on the listeners of HTTPS and of MQTT over TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqttstack::Emulator;
use mqttstack::config::Config;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::mqtt::{Device, PATIENCE};
use crate::program::refusal;
use crate::wire::Connect;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// An authority of the tests' own, which issues for servers and devices.
struct Ca {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: rcgen::Certificate,
}

type Pair = (
    CertificateDer<'static>,
    PrivateKeyDer<'static>,
    String,
    String,
);

impl Ca {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own = &mut params.distinguished_name;
        own.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            certificate,
        }
    }

    /// A certificate for this name that is good until the end of a year.
    fn issue(&self, name: &str, year: i32) -> Pair {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            certificate.der().clone(),
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            certificate.pem(),
            key.serialize_pem(),
        )
    }
}

fn keep(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A client that trusts `ca`, shows `own` whatever the server asks for, and speaks one version.
fn client(ca: &Ca, own: Option<&Pair>, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let Some((certificate, key, ..)) = own else {
        return builder.with_no_client_auth();
    };
    let key = provider.key_provider.load_private_key(key.clone_key());
    let pair = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key.unwrap());
    let resolver = rustls::sign::SingleCertAndKey::from(pair);
    builder.with_client_cert_resolver(Arc::new(resolver))
}

/// Connects over MQTT; the code of the CONNACK, or the failure of the handshake. In TLS 1.3 a
/// client learns of that only when it reads.
async fn connack(address: SocketAddr, config: ClientConfig, id: &str) -> std::io::Result<u8> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("broker.test").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        stream.write_all(&Connect::new(4, id).bytes()).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer[3])
    };
    timeout(PATIENCE, exchange).await.expect("an answer")
}

struct Site {
    emulator: Emulator,
    servers: Ca,
    devices: Ca,
    /// The files, for as long as the emulator runs.
    _dir: tempfile::TempDir,
}

async fn site(check_clients: bool) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let (servers, devices) = (Ca::new("servers"), Ca::new("devices"));
    let (_, _, certificate, key) = servers.issue("broker.test", 2099);
    let mut config = Config::free_ports();
    config.admin.hosts = vec!["broker.test".to_owned()];
    config.tls.certificate = Some(keep(dir.path(), "server.pem", &certificate));
    config.tls.key = Some(keep(dir.path(), "server.key", &key));
    if check_clients {
        let ca = keep(dir.path(), "devices.pem", &devices.certificate.pem());
        config.tls.client_ca = vec![ca];
    }
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    Site {
        emulator,
        servers,
        devices,
        _dir: dir,
    }
}

#[tokio::test]
async fn configured_certificates_are_shown_on_every_secure_listener_in_tls_1_2_and_1_3() {
    let site = site(false).await;
    let mqtts = site.emulator.mqtts_addr().unwrap();
    for version in VERSIONS {
        let config = client(&site.servers, None, version);
        assert_eq!(connack(mqtts, config.clone(), "c").await.unwrap(), 0);
        let https = site.emulator.https_url().unwrap();
        let https: SocketAddr = https.strip_prefix("https://").unwrap().parse().unwrap();
        let port = https.port();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(config)
            .resolve("broker.test", https)
            .build()
            .unwrap();
        let url = format!("https://broker.test:{port}/_mqttstack/livez");
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
    site.emulator.stop().await;
}

#[tokio::test]
async fn client_certificates_of_other_authorities_and_expired_ones_end_the_handshake_alone() {
    let site = site(true).await;
    let mqtts = site.emulator.mqtts_addr().unwrap();
    let mut bystander = Device::v5(site.emulator.mqtt_addr().unwrap(), "bystander").await;
    bystander.subscribe("t", 1).await;
    let good = site.devices.issue("device", 2099);
    let expired = site.devices.issue("device", 2001);
    let foreign = Ca::new("others").issue("device", 2099);
    for version in VERSIONS {
        let with = |own| client(&site.servers, own, version);
        for refused in [&expired, &foreign] {
            let answer = connack(mqtts, with(Some(refused)), "refused").await;
            assert!(answer.is_err(), "{answer:?}");
        }
        assert_eq!(connack(mqtts, with(Some(&good)), "good").await.unwrap(), 0);
        // Nobody needs one.
        assert_eq!(connack(mqtts, with(None), "none").await.unwrap(), 0);
    }
    bystander.publish("t", 1, false, "still here").await;
    assert_eq!(bystander.receive().await.payload, "still here");
    site.emulator.stop().await;
}

#[tokio::test]
async fn without_client_authorities_every_certificate_is_the_dialects_to_judge() {
    let site = site(false).await;
    let mqtts = site.emulator.mqtts_addr().unwrap();
    let expired = Ca::new("others").issue("device", 2001);
    for version in VERSIONS {
        let config = client(&site.servers, Some(&expired), version);
        // An open client: no vendor claims it, so nobody minds.
        assert_eq!(connack(mqtts, config, "c").await.unwrap(), 0);
    }
    site.emulator.stop().await;
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_ends_the_program_with_the_settings_name() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new("servers");
    let certificate = keep(dir.path(), "server.pem", &ca.issue("broker.test", 2099).2);
    let key = keep(dir.path(), "server.key", &ca.issue("broker.test", 2099).3);
    let (certificate, key) = (certificate.display(), key.display());
    let text = format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n");
    let file = keep(dir.path(), "mqttstack.toml", &text);
    let flag = format!("--config={}", file.display());
    let error = refusal(&[&flag, "--http-port=0"], &[]).await;
    assert!(error.contains("tls.key: is not the key of"), "{error}");
}
