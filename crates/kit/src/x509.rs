//! X.509 certificates of clients, version 1 and version 3: reading one, and whether an authority
//! issued it.
//!
//! rustls reads no certificate of version 1, but `openssl x509 -req` makes those unless told
//! otherwise, so developers have them. One of version 1 counts if an authority itself issued it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
pub use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// Reads a certificate in DER.
pub fn read(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| error.to_string())
}

/// The certificate, if it is one of version 1.
pub fn version_1(der: &[u8]) -> Option<X509Certificate<'_>> {
    read(der)
        .ok()
        .filter(|certificate| certificate.version() == X509Version::V1)
}

/// From when to when a certificate is good.
pub fn validity(certificate: &X509Certificate<'_>) -> Option<(Timestamp, Timestamp)> {
    let validity = certificate.validity();
    let at = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((at(validity.not_before)?, at(validity.not_after)?))
}

/// Why a certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Its time has not come.
    #[error("it is not yet good")]
    NotYetValid,
    /// Its time is over.
    #[error("it is expired")]
    Expired,
    /// No authority issued it.
    #[error("no configured authority issued it")]
    UnknownIssuer,
    /// Whatever rustls says of one of version 3.
    #[error("{0}")]
    Chain(String),
}

/// Whether chains can be checked against this authority. The error says why not.
pub fn check_authority(authority: &CertificateDer<'_>) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone().into_owned())
        .map_err(|error| error.to_string())
}

/// Whether one of the authorities issued this certificate of version 1, and its time is right.
/// `now` is in seconds since 1970.
pub fn check_version_1<'a>(
    leaf: &X509Certificate<'_>,
    mut authorities: impl Iterator<Item = &'a CertificateDer<'static>>,
    now: i64,
) -> Result<(), Untrusted> {
    let validity = leaf.validity();
    if now < validity.not_before.timestamp() {
        return Err(Untrusted::NotYetValid);
    }
    if now > validity.not_after.timestamp() {
        return Err(Untrusted::Expired);
    }
    let is_issuer = |authority: &CertificateDer<'_>| {
        read(authority).is_ok_and(|authority| {
            authority.subject() == leaf.issuer()
                && leaf.verify_signature(Some(authority.public_key())).is_ok()
        })
    };
    if authorities.any(is_issuer) {
        Ok(())
    } else {
        Err(Untrusted::UnknownIssuer)
    }
}

/// Whether one of the authorities issued the chain of a client, leaf first, and its times are
/// right.
pub fn check_chain<'a>(
    chain: &[impl AsRef<[u8]>],
    authorities: impl Iterator<Item = &'a CertificateDer<'static>> + Clone,
    now: Timestamp,
) -> Result<(), Untrusted> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(Untrusted::UnknownIssuer);
    };
    if let Some(leaf) = version_1(leaf.as_ref()) {
        return check_version_1(&leaf, authorities, now.as_second());
    }
    let failed = |error: &dyn std::fmt::Display| Untrusted::Chain(error.to_string());
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority.clone())
            .map_err(|error| failed(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| failed(&error))?;
    let der = |der: &dyn AsRef<[u8]>| CertificateDer::from(der.as_ref().to_vec());
    let intermediates: Vec<_> = intermediates.iter().map(|one| der(one)).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier
        .verify_client_cert(&der(leaf), &intermediates, now)
        .map(|_| ())
        .map_err(|error| failed(&error))
}
