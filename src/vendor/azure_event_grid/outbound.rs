//! Calls that the emulator itself makes, only to addresses that were configured: custom topics
//! and key sets of outside issuers. The client is made on first use, for most runs never.

use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// An HTTP client that is made when it is first needed.
#[derive(Debug)]
pub(super) struct Outbound {
    trusted_ca: Option<String>,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Outbound {
    /// Trusts the system's authorities and those of the PEM file.
    pub(super) fn new(trusted_ca: Option<String>) -> Self {
        Self {
            trusted_ca,
            client: OnceLock::new(),
        }
    }

    /// The client.
    pub(super) fn client(&self) -> Result<&reqwest::Client, String> {
        self.client
            .get_or_init(|| self.build())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn build(&self) -> Result<reqwest::Client, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = &self.trusted_ca {
            let broken = |error: &dyn std::fmt::Display| format!("{file}: {error}");
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| broken(&e))? {
                let certificate = certificate.map_err(|e| broken(&e))?;
                roots.add(certificate).map_err(|e| broken(&e))?;
            }
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())
    }
}
