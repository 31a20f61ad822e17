//! Certificates from configured files: the one that the secure listeners show, and the authorities
//! whose client certificates they accept. Without files, `tls.rs` makes the certificate, and
//! `client.rs` accepts every client's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use super::client::KnownClient;
use super::{Error, Settings};

/// The certificate chain and key of the settings; `None` where there are none.
pub(super) fn server(
    settings: &Settings,
    provider: &CryptoProvider,
) -> Result<Option<CertifiedKey>, Error> {
    let (certificate, key) = match (&settings.certificate, &settings.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(wrong("key", "is missing beside tls.certificate")),
        (None, Some(_)) => return Err(wrong("certificate", "is missing beside tls.key")),
    };
    let chain = certificates("certificate", certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable("key", key, "private key", &error))
        .and_then(|der| {
            let loaded = provider.key_provider.load_private_key(der);
            loaded.map_err(|error| wrong("key", &format!("{}: {error}", key.display())))
        })?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // Unknown is what it says of a kind of key that it cannot compare.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Some(pair))
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(wrong(
            "key",
            &format!("is not the key of {}", certificate.display()),
        )),
        Err(error) => Err(wrong(
            "certificate",
            &format!("{}: {error}", certificate.display()),
        )),
    }
}

/// Who checks client certificates against the settings' authorities; `None` where there are none.
pub(super) fn clients(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    if settings.client_ca.is_empty() {
        return Ok(None);
    }
    let (mut roots, mut authorities) = (RootCertStore::empty(), Vec::new());
    for path in &settings.client_ca {
        for certificate in certificates("client_ca", path)? {
            authorities.push(certificate.clone());
            roots
                .add(certificate)
                .map_err(|error| wrong("client_ca", &format!("{}: {error}", path.display())))?;
        }
    }
    let chains = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| wrong("client_ca", &error.to_string()))?;
    Ok(Some(Arc::new(KnownClient::new(
        chains,
        authorities,
        provider,
    ))))
}

fn certificates(name: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = read.map_err(|error| unreadable(name, path, "certificate", &error))?;
    if found.is_empty() {
        return Err(unreadable(
            name,
            path,
            "certificate",
            &pem::Error::NoItemsFound,
        ));
    }
    Ok(found)
}

fn unreadable(name: &'static str, path: &Path, what: &str, error: &pem::Error) -> Error {
    let path = path.display();
    wrong(
        name,
        &match error {
            pem::Error::Io(source) => format!("cannot read {path}: {source}"),
            pem::Error::NoItemsFound => format!("{path} holds no {what} in PEM"),
            other => format!("{path}: {other}"),
        },
    )
}

fn wrong(name: &'static str, problem: &str) -> Error {
    Error::Configured {
        name,
        problem: problem.to_owned(),
    }
}
