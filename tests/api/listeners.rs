//! Listeners over real sockets and TLS, asked by reqwest and with bare bytes.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttstack::server::{Listener, Server, Settings};
use mqttstack::tls::{self, Authority};
use mqttstack_base::exchange::{Answer, BodyPolicy, Connection, Head, Malformed, Request, Scheme};
use mqttstack_http1::Handler;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use crate::http1::Recorder;

const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server with one plain and one TLS listener.
struct Site {
    http: SocketAddr,
    https: SocketAddr,
    authority: Authority,
    server: Server,
}

async fn site<H: Handler>(handler: &Arc<H>, settings: Settings) -> Site {
    let authority = Authority::open(&tls::Settings::default(), None).unwrap();
    let server = Server::new(settings);
    let http = Listener::bind("http", HERE, None).await.unwrap();
    let https = Listener::bind("https", HERE, Some(authority.https()));
    let https = https.await.unwrap();
    let https = https.asking(authority.https_asking(), |name| {
        name != Some("azure.localhost")
    });
    let addresses = (http.address(), https.address());
    server.serve(http, Arc::clone(handler));
    server.serve(https, Arc::clone(handler));
    Site {
        http: addresses.0,
        https: addresses.1,
        authority,
        server,
    }
}

async fn echo() -> (Arc<Recorder>, Site) {
    let recorder = Arc::new(Recorder::echo());
    let site = site(&recorder, Settings::default()).await;
    (recorder, site)
}

async fn answering(connection: Connection) -> Site {
    let answer = move |_: &Request| Answer::new(200).body("0123456789").connection(connection);
    site(&Arc::new(Recorder::new(answer)), Settings::default()).await
}

/// Everything the server says to `input`, up to its close.
async fn raw(address: SocketAddr, input: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(input).await?;
    let mut output = String::new();
    stream.read_to_string(&mut output).await?;
    Ok(output)
}

// ---- bare bytes ----

#[tokio::test]
async fn a_reset_is_a_reset_on_the_wire_with_and_without_tls() {
    let site = answering(Connection::Reset).await;
    let error = raw(site.http, b"GET / HTTP/1.1\r\n\r\n").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut stream = connect_tls(&site, client_config(&site, TLS13))
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_dropped_answer_is_a_clean_close_and_a_cut_one_ends_at_its_byte() {
    let get = b"GET / HTTP/1.1\r\n\r\n";
    let dropping = answering(Connection::Drop).await;
    assert_eq!(raw(dropping.http, get).await.unwrap(), "");
    let cutting = answering(Connection::Truncate(12)).await;
    assert_eq!(raw(cutting.http, get).await.unwrap(), "HTTP/1.1 200");
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_large_upload_sees_the_refusal_and_not_a_reset() {
    let (recorder, site) = echo().await;
    let mut input = b"POST / HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n".to_vec();
    input.resize(20_000_000, b'x');
    let output = raw(site.http, &input).await.unwrap();
    assert!(output.starts_with("HTTP/1.1 400 "), "{output}");
    assert_eq!(
        recorder.problems(),
        [Malformed::BodyTooLarge { limit: 1 << 20 }]
    );
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_is_still_answered() {
    let (_, site) = echo().await;
    let mut stream = TcpStream::connect(site.http).await.unwrap();
    stream.write_all(b"GET /1 HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).await.unwrap();
    assert!(output.ends_with("GET /1 "), "{output}");
}

#[tokio::test]
async fn speaking_tls_to_the_plain_port_or_plain_http_to_the_tls_port_is_told() {
    let (recorder, site) = echo().await;
    let output = raw(site.http, b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    assert!(output.contains("first bytes of TLS"), "{output}");
    assert!(matches!(recorder.problems()[..], [Malformed::Head(_)]));
    let output = raw(site.https, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(output.starts_with("HTTP/1.1 400 "), "{output}");
    assert!(output.contains("This port speaks HTTPS"), "{output}");
}

// ---- the listeners themselves ----

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = Listener::bind("http_port", HERE, None).await.unwrap();
    let error = Listener::bind("http_port", first.address(), None).await;
    let error = error.unwrap_err().to_string();
    let expected = format!("http_port: cannot listen on {}: ", first.address());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_connection_over_the_bound_gets_the_place_of_an_idle_one() {
    let recorder = Arc::new(Recorder::echo());
    let settings = Settings {
        max_connections: 1,
        ..Settings::default()
    };
    let site = site(&recorder, settings).await;
    let mut buffer = [0; 1 << 10];
    let mut first = TcpStream::connect(site.http).await.unwrap();
    first.write_all(b"GET /1 HTTP/1.1\r\n\r\n").await.unwrap();
    assert_ne!(first.read(&mut buffer).await.unwrap(), 0);
    let mut second = TcpStream::connect(site.http).await.unwrap();
    second.write_all(b"GET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    // Idle now, it makes room.
    assert_eq!(first.read(&mut buffer).await.unwrap(), 0);
    assert_ne!(second.read(&mut buffer).await.unwrap(), 0);
    let seen = recorder.seen.lock();
    let targets: Vec<&str> = seen.iter().map(|r| &*r.head.target).collect();
    assert_eq!(targets, ["/1", "/2"]);
}

/// A handler that tells of each request and never answers.
#[derive(Default)]
struct Never(Notify);

impl Handler for Never {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn handle(&self, (): (), _request: Request) -> Answer {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_stop_ends_every_connection_and_frees_the_port() {
    let never = Arc::new(Never::default());
    let site = site(&never, Settings::default()).await;
    let mut idle = TcpStream::connect(site.http).await.unwrap();
    let mut half_open = TcpStream::connect(site.https).await.unwrap();
    let busy = tokio::spawn(async move { raw(site.http, b"GET / HTTP/1.1\r\n\r\n").await });
    never.0.notified().await;
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, site.server.stop())
        .await
        .expect("the stop hangs");
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    assert!(matches!(half_open.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(!matches!(busy.await.unwrap(), Ok(text) if !text.is_empty()));
    let error = TcpStream::connect(site.http).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_holds_up_nobody() {
    let (_, site) = echo().await;
    let _stalled = TcpStream::connect(site.https).await.unwrap();
    assert!(
        connect_tls(&site, client_config(&site, TLS13))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_cut() {
    let settings = Settings {
        handshake_timeout_ms: 10,
        ..Settings::default()
    };
    let site = site(&Arc::new(Recorder::echo()), settings).await;
    let mut stalled = TcpStream::connect(site.https).await.unwrap();
    assert_eq!(stalled.read(&mut [0]).await.unwrap(), 0);
}

// ---- TLS ----

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

fn client_builder(
    site: &Site,
    version: &'static SupportedProtocolVersion,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(site.authority.ca_pem().as_bytes());
    roots.add(ca.unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
}

fn client_config(site: &Site, version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_builder(site, version).with_no_client_auth()
}

async fn connect_tls(
    site: &Site,
    config: ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(site.https).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn client(site: &Site, config: ClientConfig) -> reqwest::Client {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(config);
    for name in [
        "onsmqtt.cn-hangzhou.aliyuncs.com",
        "azure.localhost",
        "a_b.example",
    ] {
        builder = builder.resolve(name, site.https);
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn reqwest_trusts_every_name_under_the_local_authority() {
    let (recorder, site) = echo().await;
    let port = site.https.port();
    for version in [TLS12, TLS13] {
        let client = client(&site, client_config(&site, version));
        for host in [
            "127.0.0.1",
            "localhost",
            "azure.localhost",
            "onsmqtt.cn-hangzhou.aliyuncs.com",
            "a_b.example",
        ] {
            let url = format!("https://{host}:{port}/x");
            let answer = client.post(url).body("hi").send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "POST /x hi", "{host}");
        }
    }
    let seen = recorder.seen.lock();
    assert!(
        seen.iter()
            .all(|r| r.scheme == Scheme::Https && r.certificates.is_empty())
    );
}

/// Presents this certificate whatever it is; rustls itself would look at it first.
fn presenting(
    site: &Site,
    version: &'static SupportedProtocolVersion,
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> ClientConfig {
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key.clone_key());
    let pair = CertifiedKey::new(vec![certificate.clone()], key.unwrap());
    client_builder(site, version).with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
}

/// A surface sees the certificate that a client presents, in TLS 1.2 and 1.3.
async fn is_seen(certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) {
    let (recorder, site) = echo().await;
    for version in [TLS12, TLS13] {
        let config = presenting(&site, version, certificate, key);
        let url = format!("https://localhost:{}/", site.https.port());
        let answer = client(&site, config).get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let request = recorder.seen.lock().pop().unwrap();
        let seen = &request.certificates[..];
        assert_eq!(seen, [Bytes::copy_from_slice(certificate)]);
    }
}

#[tokio::test]
async fn a_client_certificate_is_taken_from_anybody_and_shown_to_the_surface() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["device".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    is_seen(&own, &key.into()).await;
}

/// Made by `openssl x509 -req -signkey`, which writes X.509 version 1.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBHTCBxQIUVXp//RPnjLujH7hAkod+4qEqZFswCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGZGV2aWNlMCAXDTI2MTEyMjAwNTI0OFoYDzIxMDAxMDI1MDA1MjQ4WjAR
MQ8wDQYDVQQDDAZkZXZpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASeUhAQ
BoVNHbmTBo7JVg4+hZfOvJp6KW8CeIqLD190yllhCmKUR06AQ55D2bAY76EMgoWF
YUmvL1y5n62S2VO5MAoGCCqGSM49BAMCA0cAMEQCIA/TH2yMIxgz+smE92O8zl1n
nQi7tVmmPLfklhh+8V+gAiBnPLFNpJjH6PFTsAcgce3wBV8cVYO6/inYjN+pziE/
hQ==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgY7bOXyIv02KlYpMq
4TMon18XuAzJJvuiH/1Zz35xwAOhRANCAASeUhAQBoVNHbmTBo7JVg4+hZfOvJp6
KW8CeIqLD190yllhCmKUR06AQ55D2bAY76EMgoWFYUmvL1y5n62S2VO5
-----END PRIVATE KEY-----
";

#[tokio::test]
async fn a_client_certificate_of_version_1_is_taken_too() {
    let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    is_seen(&certificate, &key).await;
}

#[tokio::test]
async fn a_client_that_does_not_hold_the_key_of_its_certificate_is_refused() {
    let (_, site) = echo().await;
    let version_1 = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["device".to_owned()]).unwrap();
    for certificate in [version_1, own.cert.der().clone()] {
        let other = rcgen::KeyPair::generate().unwrap().serialize_der();
        let other = PrivatePkcs8KeyDer::from(other).into();
        let config = presenting(&site, TLS12, &certificate, &other);
        assert!(connect_tls(&site, config).await.is_err());
    }
}

#[tokio::test]
async fn https_speaks_http_1_as_its_only_application_protocol_and_mqtt_takes_any() {
    let (_, site) = echo().await;
    let with = |protocols: &[&str]| {
        let mut config = client_config(&site, TLS13);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    };
    let stream = connect_tls(&site, with(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let stream = connect_tls(&site, with(&["http/1.0"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.0"[..]));
    assert!(connect_tls(&site, with(&["h2"])).await.is_err());

    let (one, other) = tokio::io::duplex(16 << 10);
    let server = tokio_rustls::TlsAcceptor::from(site.authority.mqtt());
    let name = ServerName::try_from("any.example").unwrap();
    let client = TlsConnector::from(Arc::new(with(&["mqtt"])));
    let (server, client) = tokio::join!(server.accept(one), client.connect(name, other));
    assert!(server.is_ok() && client.is_ok());
}

// ---- reqwest ----

#[tokio::test]
async fn reqwest_keeps_its_connection() {
    let (recorder, site) = echo().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(client_config(&site, TLS13));
    let client = client.build().unwrap();
    for _ in 0..3 {
        let url = format!("http://{}/x?y=%20", site.http);
        let answer = client
            .put(url)
            .body("z".repeat(100_000))
            .send()
            .await
            .unwrap();
        assert_eq!(
            answer.text().await.unwrap().len(),
            "PUT /x?y=%20 ".len() + 100_000
        );
    }
    let seen = recorder.seen.lock();
    assert!(seen.iter().all(|request| request.peer == seen[0].peer));
}
