//! `clientAuthentication` of a namespace: where a client's name comes from, whose tokens are taken,
//! and which webhook is asked. What is done with it is in `mqtt/credentials.rs` and
//! `mqtt/webhook.rs`.

use serde::{Deserialize, Serialize};

use super::resource::PassedOver;

/// `clientAuthentication`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientAuthentication {
    /// `ClientCertificateSubject`, `...Dns`, `...Uri`, `...Ip`, `...Email`, tried in order where
    /// CONNECT carries no user name.
    pub alternative_authentication_name_sources: Vec<String>,
    /// `CUSTOM-JWT`.
    pub custom_jwt_authentication: Option<CustomJwtAuthentication>,
    /// A webhook that decides about clients that nothing else knows.
    #[serde(alias = "webhookAuthentication")]
    pub web_hook_authentication: Option<WebHookAuthentication>,
}

/// `customJwtAuthentication`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomJwtAuthentication {
    /// The `iss` that tokens must carry.
    pub token_issuer: String,
    /// The issuer's certificates, at most two.
    pub issuer_certificates: Vec<IssuerCertificate>,
    /// The same in the shape that carries them inline.
    pub encoded_issuer_certificates: Vec<EncodedCertificate>,
}

/// One of `issuerCertificates`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a PEM text, or an object with certificateUrl"
)]
pub enum IssuerCertificate {
    /// A PEM public key or certificate: the emulator's own, shorter form.
    Pem(String),
    /// The template's form, which names a key vault secret. The emulator has no key vault, so
    /// tokens are refused with a hint until a certificate is given in PEM.
    #[serde(rename_all = "camelCase")]
    KeyVault {
        /// The certificate's identifier.
        certificate_url: String,
        /// `identity`.
        #[serde(default, skip_serializing)]
        identity: PassedOver,
    },
}

/// One of `encodedIssuerCertificates`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct EncodedCertificate {
    /// The `kid` of the tokens that it is for.
    pub kid: String,
    /// The certificate in PEM.
    pub encoded_certificate: String,
}

/// `webHookAuthentication`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct WebHookAuthentication {
    /// Where the CONNECT is posted to.
    pub endpoint_url: String,
    /// The audience of the bearer token that the webhook gets, with or without `/.default`.
    pub azure_active_directory_application_id_or_uri: String,
    /// The tenant of that token; empty: the emulator's.
    pub azure_active_directory_tenant_id: String,
    /// `identity`.
    #[serde(skip_serializing)]
    pub identity: PassedOver,
}

impl CustomJwtAuthentication {
    /// The issuer's public keys in PEM.
    pub fn pems(&self) -> impl Iterator<Item = &str> {
        let plain = self.issuer_certificates.iter().filter_map(|one| match one {
            IssuerCertificate::Pem(pem) => Some(pem.as_str()),
            IssuerCertificate::KeyVault { .. } => None,
        });
        let encoded = self.encoded_issuer_certificates.iter();
        plain.chain(encoded.map(|one| one.encoded_certificate.as_str()))
    }

    /// Those that a token with this `kid` may be signed with: the certificate of that name; and
    /// where none has it, those that have no name (assumed: the emulator's shorter form, in which
    /// a certificate has none).
    pub(crate) fn pems_of(&self, kid: &str) -> Vec<&str> {
        let encoded = self.encoded_issuer_certificates.iter();
        let named: Vec<_> = encoded
            .filter(|one| one.kid == kid)
            .map(|one| one.encoded_certificate.as_str())
            .collect();
        if !named.is_empty() {
            return named;
        }
        let encoded = self.encoded_issuer_certificates.iter();
        let nameless = encoded.filter(|one| one.kid.is_empty());
        let plain = self.issuer_certificates.iter().filter_map(|one| match one {
            IssuerCertificate::Pem(pem) => Some(pem.as_str()),
            IssuerCertificate::KeyVault { .. } => None,
        });
        plain
            .chain(nameless.map(|one| one.encoded_certificate.as_str()))
            .collect()
    }

    /// The `kid`s of the certificates.
    pub(crate) fn key_ids(&self) -> impl Iterator<Item = &str> {
        let encoded = self.encoded_issuer_certificates.iter();
        encoded.map(|one| one.kid.as_str())
    }

    /// A certificate that is only named.
    pub fn key_vault_url(&self) -> Option<&str> {
        self.issuer_certificates.iter().find_map(|one| match one {
            IssuerCertificate::Pem(_) => None,
            IssuerCertificate::KeyVault {
                certificate_url, ..
            } => Some(certificate_url.as_str()),
        })
    }
}
