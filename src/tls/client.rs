//! Which client certificates a TLS handshake accepts, if the client holds the key: every one, or with
//! `client_ca` those of its authorities. What a client may do with its certificate, its vendor decides.

use std::sync::Arc;

use mqttstack_kit::x509::{self, Untrusted, X509Certificate};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};

/// Takes every client certificate, and a client without one.
#[derive(Debug)]
pub(super) struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    /// What rustls does for certificates of version 3, for one of version 1, which it refuses to
    /// read. `openssl x509 -req` makes those unless told otherwise, so developers have them.
    fn verify_version_1(
        &self,
        message: &[u8],
        certificate: &X509Certificate<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = &certificate.public_key().subject_public_key.data;
        let (_, algorithms) = self
            .0
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signature.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        algorithms
            .iter()
            .find(|algorithm| {
                algorithm
                    .verify_signature(key, message, signature.signature())
                    .is_ok()
            })
            .map(|_| HandshakeSignatureValid::assertion())
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match x509::version_1(certificate) {
            Some(certificate) => self.verify_version_1(message, &certificate, signature),
            None => verify_tls12_signature(message, certificate, signature, &self.0),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match x509::version_1(certificate) {
            Some(certificate) => self.verify_version_1(message, &certificate, signature),
            None => verify_tls13_signature(message, certificate, signature, &self.0),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Takes the client certificates that configured authorities issued, and a client without one.
#[derive(Debug)]
pub(super) struct KnownClient {
    /// The judge of certificates of version 3.
    chains: Arc<dyn ClientCertVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    signatures: AnyClient,
}

impl KnownClient {
    pub(super) fn new(
        chains: Arc<dyn ClientCertVerifier>,
        authorities: Vec<CertificateDer<'static>>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            chains,
            authorities,
            signatures: AnyClient::new(provider),
        }
    }

    /// One of version 1 counts if a configured authority itself issued it.
    fn judge_version_1(
        &self,
        leaf: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<ClientCertVerified, CertificateError> {
        let now = i64::try_from(now.as_secs()).map_err(|_| CertificateError::BadEncoding)?;
        match x509::check_version_1(leaf, self.authorities.iter(), now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(Untrusted::NotYetValid) => Err(CertificateError::NotValidYet),
            Err(Untrusted::Expired) => Err(CertificateError::Expired),
            Err(Untrusted::UnknownIssuer | Untrusted::Chain(_)) => {
                Err(CertificateError::UnknownIssuer)
            }
        }
    }
}

impl ClientCertVerifier for KnownClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match x509::version_1(end_entity) {
            Some(leaf) => Ok(self.judge_version_1(&leaf, now)?),
            None => self
                .chains
                .verify_client_cert(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
