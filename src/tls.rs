//! TLS: the local certificate authority, the leaf certificates it issues by server name, and the
//! rustls configurations of the HTTPS and MQTT listeners.
//!
//! Any server name gets a certificate, so that a client which resolves a vendor's real host name
//! to this program only has to trust [`Authority::ca_pem`]. The vendors judge client certificates
//! (`tls/client.rs`). Configured files replace both (`tls/files.rs`).

mod client;
mod files;
mod key;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mqttstack_base::ids::Ids;
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SerialNumber, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use client::AnyClient;
use key::Key;

/// Names of the certificate that a client gets which sends no server name.
const NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "aliyun.localhost",
    "tencent-iot.localhost",
    "tencent-tdmq.localhost",
    "azure.localhost",
    "nanomq.localhost",
];

/// The application protocols of HTTPS.
const HTTP: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// The most certificates kept; beyond it the cache starts anew.
const MAX_LEAVES: usize = 1_000;

/// The file in the data directory that holds the certificate of the authority.
pub const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key.pem";

/// Settings of TLS.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Further host names and IP addresses for clients that send no server name (which is every
    /// client that connects to an IP address), besides localhost and the loopback addresses.
    pub names: Vec<String>,
    /// A PEM file with the certificate chain, the server's own first, that all secure listeners
    /// show in place of the local authority's certificates; `key` goes with it.
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
    /// PEM files with the authorities whose client certificates are taken. With any, a
    /// certificate from elsewhere, or one that has expired, ends the handshake; a client needs
    /// none. Without, every certificate is taken, and the vendors judge it.
    pub client_ca: Vec<PathBuf>,
}

/// Why there is no certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The stored authority cannot be used.
    #[error("the certificate authority in {} cannot be used: {problem}; remove {CERTIFICATE_FILE} and {KEY_FILE} there to have a new one made", dir.display())]
    Stored {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A configured file cannot be used.
    #[error("tls.{name}: {problem}")]
    Configured {
        /// The setting.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A name cannot stand in a certificate.
    #[error("{name:?} cannot be a name in a certificate: {problem}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Issue(String),
}

/// Whether listeners could be secured with these settings.
pub fn check(settings: &Settings) -> Result<(), Error> {
    let provider = Arc::new(ring::default_provider());
    files::server(settings, &provider)?;
    files::clients(settings, &provider)?;
    parameters(&settings.names, &[]).map(drop)
}

/// A local certificate authority with everything that listeners need of it.
#[derive(Debug)]
pub struct Authority {
    ca_pem: String,
    https: Arc<ServerConfig>,
    https_asking: Arc<ServerConfig>,
    mqtt: Arc<ServerConfig>,
    web_socket: Arc<ServerConfig>,
}

impl Authority {
    /// Makes an authority, or takes up the one kept in `data_dir`; with a `data_dir` that holds
    /// none, the new one is stored there.
    pub fn open(settings: &Settings, data_dir: Option<&Path>) -> Result<Self, Error> {
        Self::open_with(settings, data_dir, &Ids::new(None))
    }

    /// The same with keys made from `ids`: the same bytes give the same authority and the same
    /// certificates.
    pub fn open_with(
        settings: &Settings,
        data_dir: Option<&Path>,
        ids: &Ids,
    ) -> Result<Self, Error> {
        let (own, of_leaves) = (Key::make(ids), Key::make(ids));
        let root = match data_dir {
            None => Root::make(own)?,
            Some(dir) => match Root::load(dir)? {
                Some(root) => root,
                None => Root::make(own)?.store(dir)?,
            },
        };
        let provider = Arc::new(ring::default_provider());
        let ca_pem = root.pem.clone();
        let shown: Arc<dyn ResolvesServerCert> = match files::server(settings, &provider)? {
            Some(pair) => Arc::new(SingleCertAndKey::from(pair)),
            None => Arc::new(Leaves::new(root, of_leaves, &provider, &settings.names)?),
        };
        let taken = files::clients(settings, &provider)?
            .unwrap_or_else(|| Arc::new(AnyClient::new(&provider)));
        let config = |asking: bool, alpn: &[&[u8]]| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
                .map_err(|error| Error::Issue(error.to_string()))?;
            let builder = if asking {
                builder.with_client_cert_verifier(Arc::clone(&taken))
            } else {
                builder.with_no_client_auth()
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&shown));
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            Ok(Arc::new(config))
        };
        Ok(Self {
            ca_pem,
            https: config(false, &HTTP)?,
            https_asking: config(true, &HTTP)?,
            mqtt: config(true, &[])?,
            web_socket: config(false, &[])?,
        })
    }

    /// The authority's certificate in PEM: what clients are to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// For HTTPS: `http/1.1`, or `http/1.0` for a client that offers nothing newer. The client is
    /// not asked for a certificate: the vendors do not ask those that sign or bring a token, and
    /// some of these fail on the question (Tencent's C device SDK with mbed TLS 2.4).
    pub fn https(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.https)
    }

    /// The same for a surface that takes client certificates; nobody needs one.
    pub fn https_asking(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.https_asking)
    }

    /// For secure WebSocket: any application protocol, and no question for a certificate, since a
    /// page has no way to choose one and Chromium gives up on being asked.
    pub fn web_socket(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.web_socket)
    }

    /// For MQTT over TLS, and for secure WebSocket where a vendor takes certificates over it: any
    /// application protocol; a client certificate is asked for, and nobody needs one.
    pub fn mqtt(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.mqtt)
    }
}

/// The authority's own key and certificate.
struct Root {
    issuer: Issuer<'static, Key>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Root {
    fn make(key: Key) -> Result<Self, Error> {
        let mut params = parameters(&[], &[])?;
        // Of its own name, so that nobody takes it for an earlier authority's certificate.
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(key.der_bytes()).into();
        let name = format!("mqttstack local CA {a:02x}{b:02x}{c:02x}{d:02x}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(issue)?;
        Ok(Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// `None` where nothing is stored.
    fn load(dir: &Path) -> Result<Option<Self>, Error> {
        let stored = |problem: String| Error::Stored {
            dir: dir.to_owned(),
            problem,
        };
        let (pem, key_pem) = match (read(dir, CERTIFICATE_FILE)?, read(dir, KEY_FILE)?) {
            (None, None) => return Ok(None),
            (Some(pem), Some(key)) => (pem, key),
            (None, Some(_)) => return Err(stored(format!("{CERTIFICATE_FILE} is missing"))),
            (Some(_), None) => return Err(stored(format!("{KEY_FILE} is missing"))),
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| stored(format!("{CERTIFICATE_FILE} holds no certificate: {error}")))?;
        let key = Key::from_pem(&key_pem)
            .map_err(|error| stored(format!("{KEY_FILE} holds no private key: {error}")))?;
        let pair = CertifiedKey::new(vec![der.clone()], signing_key(&key)?);
        pair.keys_match()
            .map_err(|error| stored(format!("certificate and key do not match: {error}")))?;
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|error| stored(format!("{CERTIFICATE_FILE} cannot be read: {error}")))?;
        Ok(Some(Self { issuer, der, pem }))
    }

    fn store(self, dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::File {
            verb: "make the directory",
            path: dir.to_owned(),
            source,
        })?;
        write(dir, KEY_FILE, 0o600, &self.issuer.key().to_pem()?)?;
        write(dir, CERTIFICATE_FILE, 0o644, &self.pem)?;
        Ok(self)
    }
}

fn read(dir: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            verb: "read",
            path,
            source,
        }),
    }
}

/// Writes a new file that only ever had this mode.
fn write(dir: &Path, name: &str, mode: u32, text: &str) -> Result<(), Error> {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::File {
            verb: "write",
            path,
            source,
        })
}

/// What every certificate has in common. The validity is fixed and wide: clients judge it by
/// their own clock, whatever the emulator's says.
fn parameters(names: &[String], serial: &[u8]) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    for name in names {
        let alternative =
            CertificateParams::new(vec![name.clone()]).map_err(|error| Error::Name {
                name: name.clone(),
                problem: error.to_string(),
            })?;
        params
            .subject_alt_names
            .extend(alternative.subject_alt_names);
    }
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    if !serial.is_empty() {
        params.serial_number = Some(SerialNumber::from_slice(serial));
    }
    Ok(params)
}

/// The certificates of this server, one per server name asked for. All share one key, so that a
/// new one costs a single signature.
struct Leaves {
    root: Root,
    key: Key,
    signing_key: Arc<dyn SigningKey>,
    default: Arc<CertifiedKey>,
    by_name: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Leaves {
    fn new(
        root: Root,
        key: Key,
        provider: &CryptoProvider,
        more: &[String],
    ) -> Result<Self, Error> {
        let signing_key = provider
            .key_provider
            .load_private_key(PrivatePkcs8KeyDer::from(key.to_der()?).into())
            .map_err(|error| Error::Issue(error.to_string()))?;
        let names: Vec<String> = NAMES
            .iter()
            .map(ToString::to_string)
            .chain(more.iter().cloned())
            .collect();
        let default = sign(&root, &key, &signing_key, &names)?;
        let by_name = names
            .into_iter()
            .map(|name| (name.to_ascii_lowercase(), Arc::clone(&default)))
            .collect();
        Ok(Self {
            root,
            key,
            signing_key,
            default,
            by_name: Mutex::new(by_name),
        })
    }

    fn by_name(&self, name: &str) -> Result<Arc<CertifiedKey>, Error> {
        let name = name.to_ascii_lowercase();
        if let Some(leaf) = self.by_name.lock().get(&name) {
            return Ok(Arc::clone(leaf));
        }
        let leaf = sign(
            &self.root,
            &self.key,
            &self.signing_key,
            std::slice::from_ref(&name),
        )?;
        let mut cache = self.by_name.lock();
        if cache.len() >= MAX_LEAVES {
            cache.clear();
        }
        cache.insert(name, Arc::clone(&leaf));
        Ok(leaf)
    }
}

impl std::fmt::Debug for Leaves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaves")
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else {
            return Some(Arc::clone(&self.default));
        };
        self.by_name(name)
            .inspect_err(|error| tracing::warn!(%error, "no certificate for a server name"))
            .ok()
    }
}

fn sign(
    root: &Root,
    key: &Key,
    signing_key: &Arc<dyn SigningKey>,
    names: &[String],
) -> Result<Arc<CertifiedKey>, Error> {
    // No two certificates of one authority may share a serial number (Firefox refuses the
    // second), and rcgen would derive it from the key alone.
    let mut digest = Sha256::new();
    digest.update(key.der_bytes());
    for name in names {
        digest.update(name.as_bytes());
        digest.update([0]);
    }
    let mut serial = digest.finalize()[..16].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = parameters(names, &serial)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "mqttstack");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(key, &root.issuer).map_err(issue)?;
    let chain = vec![leaf.der().clone(), root.der.clone()];
    Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(signing_key))))
}

fn signing_key(key: &Key) -> Result<Arc<dyn SigningKey>, Error> {
    ring::sign::any_supported_type(&PrivatePkcs8KeyDer::from(key.to_der()?).into())
        .map_err(|error| Error::Issue(error.to_string()))
}

/// As a function value of `map_err`, which hands the error over.
#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn issue(error: rcgen::Error) -> Error {
    Error::Issue(error.to_string())
}

#[cfg(test)]
mod tests;
