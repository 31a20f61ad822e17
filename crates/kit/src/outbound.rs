//! Calls that the emulator itself makes, only to addresses that were configured: custom topics,
//! webhooks and key sets of outside issuers. The client is made on first use, for most runs never.

use std::sync::OnceLock;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The longest answer that is read of anybody outside, in bytes.
const ANSWER: usize = 1 << 20;

/// The body of an answer, as long as it is not too long.
pub async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        if body.len() + chunk.len() > ANSWER {
            return Err(format!("its answer is longer than {ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An HTTP client that is made when it is first needed. It follows no redirect.
#[derive(Debug, Default)]
pub struct Outbound {
    trusted_ca: Option<String>,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Outbound {
    /// Trusts the system's authorities and those of the PEM file.
    pub fn new(trusted_ca: Option<String>) -> Self {
        Self {
            trusted_ca,
            client: OnceLock::new(),
        }
    }

    /// The client.
    pub fn client(&self) -> Result<&reqwest::Client, String> {
        self.client
            .get_or_init(|| self.build())
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The body of what `url` answers within `patience`, if it answers with success.
    pub async fn get(&self, url: &str, patience: Duration) -> Result<Vec<u8>, String> {
        let response = self
            .client()?
            .get(url)
            .timeout(patience)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| error.to_string())?;
        body(response).await
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
