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

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    // Made with openssl on 2026-11-27, good for 9,000 days: an authority, one of the same name with
    // another key, and a leaf of version 1 and one of version 3 by the first.
    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUVBv10u4dePsXBp/fwhPs8sleirYwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGa2l0IGNhMCAXDTI2MTEyNzE5NTg0MFoYDzIwNTEwNzE5MTk1
ODQwWjARMQ8wDQYDVQQDDAZraXQgY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAR7IbJiQ5vHTXLyIFsGdDbCaxWHUyYoCGmu9DJQaa2IdzJRL7J8IyJhLelBKABh
GFnhSWhtUjcyAdtBDOyNy8sto1MwUTAdBgNVHQ4EFgQUvc45ff4PGvZquxlP8LgV
aMtH8R8wHwYDVR0jBBgwFoAUvc45ff4PGvZquxlP8LgVaMtH8R8wDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBncVuKnrw/nj56zWI5VMLtAh/bzNC0
zuwoWHHn90UDTAIgXqZy/tAnsBqJKlJYQ81ksrY6MEolZWetA1kRcc6M9Uw=
-----END CERTIFICATE-----";
    const NAMESAKE: &str = "-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUOQKHq6lGu6ypZOGrmNbXGzjrMeswCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGa2l0IGNhMCAXDTI2MTEyNzE5NTg0NVoYDzIwNTEwNzE5MTk1
ODQ1WjARMQ8wDQYDVQQDDAZraXQgY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT3KD4PPiMCf0TAqUz6Pwhu/ICwXfNReSPP6hPRhuCxHKz/KzIB2RdjBM2X/iJt
UgiF7gbEXJM4XL+OTJhfkncto1MwUTAdBgNVHQ4EFgQUpviaK3t+FZUE67soJfs+
y+C3mXMwHwYDVR0jBBgwFoAUpviaK3t+FZUE67soJfs+y+C3mXMwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAuo7RwwZCtzQgfzAc7Xp30+hKGv8j
34xR5CngxMNOY04CIQDi5uyDDMRjwYDSA6sZyDI45q2NZ+oTKbglulwLTmP5mQ==
-----END CERTIFICATE-----";
    const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBHTCBxQIUc+GU4Vqv8ja0JgFHtTEFIJbTjZ0wCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGa2l0IGNhMCAXDTI2MTEyNzE5NTg0MVoYDzIwNTEwNzE5MTk1ODQxWjAR
MQ8wDQYDVQQDDAZkZXZpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT3KD4P
PiMCf0TAqUz6Pwhu/ICwXfNReSPP6hPRhuCxHKz/KzIB2RdjBM2X/iJtUgiF7gbE
XJM4XL+OTJhfknctMAoGCCqGSM49BAMCA0cAMEQCIA75E7aySPz1bLa72vZ0eqa4
uA9Pg9/DuPjpdha18YXOAiBN/TDCZDpXpyRZRqQ5lvdIvDo+1GxPH2cIbGmqMVjb
FA==
-----END CERTIFICATE-----";
    const VERSION_3: &str = "-----BEGIN CERTIFICATE-----
MIIBiDCCAS6gAwIBAgIUc+GU4Vqv8ja0JgFHtTEFIJbTjZ4wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGa2l0IGNhMCAXDTI2MTEyNzE5NTg0NFoYDzIwNTEwNzE5MTk1
ODQ0WjARMQ8wDQYDVQQDDAZkZXZpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT3KD4PPiMCf0TAqUz6Pwhu/ICwXfNReSPP6hPRhuCxHKz/KzIB2RdjBM2X/iJt
UgiF7gbEXJM4XL+OTJhfkncto2IwYDAJBgNVHRMEAjAAMBMGA1UdJQQMMAoGCCsG
AQUFBwMCMB0GA1UdDgQWBBSm+Jore34VlQTruygl+z7L4LeZczAfBgNVHSMEGDAW
gBS9zjl9/g8a9mq7GU/wuBVoy0fxHzAKBggqhkjOPQQDAgNIADBFAiAjQK0hWZFR
Wuv9TQfExdR6YcnQ5EsonkTZ0TWDBPggrgIhAMsZeSGZzw4eCdhtMkQMEdGwdk4G
ZDM9xId3D90U1f/9
-----END CERTIFICATE-----";

    fn check(leaf: &str, authority: &str, time: &str) -> Result<(), Untrusted> {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        check_chain(&[der(leaf)], [der(authority)].iter(), time.parse().unwrap())
    }

    #[test]
    fn a_leaf_of_either_version_counts_if_its_authority_is_known() {
        for leaf in [VERSION_1, VERSION_3] {
            assert_eq!(check(leaf, AUTHORITY, "2030-01-01T00:00:00Z"), Ok(()));
            assert!(check(leaf, NAMESAKE, "2030-01-01T00:00:00Z").is_err());
        }
        assert_eq!(
            check(VERSION_1, NAMESAKE, "2030-01-01T00:00:00Z"),
            Err(Untrusted::UnknownIssuer)
        );
    }

    #[test]
    fn a_leaf_of_either_version_counts_in_its_time_alone() {
        for leaf in [VERSION_1, VERSION_3] {
            for time in ["2026-11-26T00:00:00Z", "2060-01-01T00:00:00Z"] {
                assert!(check(leaf, AUTHORITY, time).is_err(), "{time}");
            }
        }
        let early = check(VERSION_1, AUTHORITY, "2026-11-26T00:00:00Z");
        assert_eq!(early, Err(Untrusted::NotYetValid));
        let late = check(VERSION_1, AUTHORITY, "2060-01-01T00:00:00Z");
        assert_eq!(late, Err(Untrusted::Expired));
    }

    #[test]
    fn no_certificate_is_issued_by_nobody() {
        let none: [&[u8]; 0] = [];
        let checked = check_chain(&none, [].iter(), Timestamp::UNIX_EPOCH);
        assert_eq!(checked, Err(Untrusted::UnknownIssuer));
    }

    #[test]
    fn what_is_no_certificate_cannot_be_read() {
        assert!(read(b"x").is_err() && version_1(b"x").is_none());
    }
}
