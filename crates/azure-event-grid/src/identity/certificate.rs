//! What a client's certificate says: the names it can authenticate by, its thumbprints, and
//! whether a registered authority signed it (mqtt-client-authentication, mqtt-clients pages).

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_kit::{hex, x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_parser::extensions::GeneralName;

use crate::model::resources::{CertificateAuthentication, ClientProperties, Namespace};

/// The names of a leaf certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The common name, and the whole subject as text.
    pub subject: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
    /// IP addresses as text.
    pub ip: Vec<String>,
    /// E-mail addresses.
    pub email: Vec<String>,
}

impl Names {
    /// Reads a leaf in DER; `None` if it is no certificate.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509::read(der).ok()?;
        let mut names = Self::default();
        let subject = certificate.subject();
        let common = subject
            .iter_common_name()
            .filter_map(|name| name.as_str().ok());
        names.subject.extend(common.map(str::to_owned));
        names.subject.push(subject.to_string());
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        for name in alternatives.iter().flat_map(|all| &all.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::URI(name) => names.uri.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.email.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ip.extend(address(bytes)),
                _ => {}
            }
        }
        Some(names)
    }

    /// The names of one kind: `Subject`, `Dns`, `Uri`, `Ip` or `Email`.
    fn of_kind(&self, kind: &str) -> &[String] {
        match kind.to_ascii_lowercase().as_str() {
            "subject" => &self.subject,
            "dns" => &self.dns,
            "uri" => &self.uri,
            "ip" => &self.ip,
            "email" => &self.email,
            _ => &[],
        }
    }

    /// The names that one of `alternativeAuthenticationNameSources` gives.
    pub(crate) fn by_source(&self, source: &str) -> &[String] {
        let start = "ClientCertificate".len();
        source.get(start..).map_or(&[], |kind| self.of_kind(kind))
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let six: Result<[u8; 16], _> = bytes.try_into();
    match (four, six) {
        (Ok(four), _) => Some(std::net::Ipv4Addr::from(four).to_string()),
        (_, Ok(six)) => Some(std::net::Ipv6Addr::from(six).to_string()),
        _ => None,
    }
}

/// Checks a client's certificate by the scheme of its resource; the error is for the journal.
pub(crate) fn check(
    client: &ClientProperties,
    authentication_name: &str,
    chain: &[Bytes],
    namespace: &Namespace,
    now: Timestamp,
) -> Result<(), String> {
    let leaf = chain.first().ok_or("the client showed no certificate")?;
    let names = Names::read(leaf).ok_or("the client's certificate cannot be read")?;
    check_validity(leaf, now)?;
    let rules = client.client_certificate_authentication.as_ref();
    let own = CertificateAuthentication::default();
    let rules = rules.unwrap_or(&own);
    let Some(kind) = rules.names() else {
        let found = thumbprints(leaf);
        let allowed = rules
            .allowed_thumbprints
            .iter()
            .any(|one| found.contains(&plain(one)));
        return if allowed {
            Ok(())
        } else {
            Err(format!(
                "the certificate's thumbprint {} is not allowed",
                found[0]
            ))
        };
    };
    let given = names.of_kind(kind);
    if !given.iter().any(|name| is_same(name, authentication_name)) {
        return Err(format!(
            "the certificate's {kind} names are {given:?}, expected is {authentication_name:?}"
        ));
    }
    check_chain(chain, namespace, now)
}

/// Names have no case, and an IPv6 address several spellings.
fn is_same(name: &str, authentication_name: &str) -> bool {
    let address = |text: &str| text.parse::<std::net::IpAddr>().ok();
    name.eq_ignore_ascii_case(authentication_name)
        || address(name).is_some_and(|one| address(authentication_name) == Some(one))
}

/// Whether a text has certificates in PEM, and nothing else that looks like one.
pub(crate) fn is_pem(text: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes()).peekable();
    certificates.peek().is_some()
        && certificates.all(|one| one.is_ok_and(|der| x509::read(&der).is_ok()))
}

/// The times between which a certificate is good.
fn validity(leaf: &[u8]) -> Option<(Timestamp, Timestamp)> {
    x509::validity(&x509::read(leaf).ok()?)
}

/// Until when a certificate is good; `None` if that cannot be read.
pub(crate) fn expires(leaf: &[u8]) -> Option<Timestamp> {
    validity(leaf).map(|(_, until)| until)
}

/// Whether a certificate is good now; that of a thumbprint as well (assumed).
fn check_validity(leaf: &[u8], now: Timestamp) -> Result<(), String> {
    match validity(leaf) {
        Some((_, until)) if now >= until => Err(format!(
            "the client's certificate expired at {until}, and it is {now}"
        )),
        Some((from, _)) if now < from => Err(format!(
            "the client's certificate is not valid before {from}, and it is {now}"
        )),
        _ => Ok(()),
    }
}

/// A thumbprint as it is compared.
fn plain(thumbprint: &str) -> String {
    thumbprint.replace([':', ' '], "").to_ascii_lowercase()
}

/// Whether a text can be a thumbprint: SHA-1 or SHA-256 in hexadecimal.
pub(crate) fn is_thumbprint(text: &str) -> bool {
    let text = plain(text);
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// SHA-1 and SHA-256 of the leaf in lower-case hexadecimal.
fn thumbprints(leaf: &[u8]) -> [String; 2] {
    [
        hex::lower(Sha1::digest(leaf)),
        hex::lower(Sha256::digest(leaf)),
    ]
}

/// Whether a registered authority signed the chain. Without any registered, every chain is
/// taken: the emulator has no list to refuse it by.
fn check_chain(chain: &[Bytes], namespace: &Namespace, now: Timestamp) -> Result<(), String> {
    if namespace.ca_certificates.is_empty() {
        return Ok(());
    }
    let mut known = Vec::new();
    for authority in &namespace.ca_certificates {
        let pem = authority.properties.encoded_certificate.as_bytes();
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            x509::check_authority(&certificate).map_err(|why| {
                format!("the CA certificate {:?} is invalid: {why}", authority.name)
            })?;
            known.push(certificate);
        }
    }
    x509::check_chain(chain, known.iter(), now)
        .map_err(|why| format!("no registered CA certificate signed it: {why}"))
}
