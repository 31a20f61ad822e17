//! The client certificate of the "one device, one certificate" mode (BYOC): is its chain issued
//! by a configured authority, and what does its subject say. The chain is judged by rustls, on
//! the emulator's clock; the subject is read by `x509-parser`.

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_kit::hex;
use mqttstack_kit::x509::{self, X509Certificate};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_ORGANIZATION_NAME,
    OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER, OID_X509_STATE_OR_PROVINCE_NAME,
};
use x509_parser::prelude::X509Name;

use super::error::Error;

/// A certificate authority of the configuration: PEM text, or the path of a PEM file.
#[derive(Debug, Clone)]
pub struct Authority {
    written: String,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Reads PEM text, or the PEM file at this path.
    pub fn read(written: String) -> Result<Self, String> {
        let pem = if written.contains("-----BEGIN") {
            written.clone().into_bytes()
        } else {
            std::fs::read(&written).map_err(|error| format!("{written}: {error}"))?
        };
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("not a PEM certificate: {error}"))?;
        for certificate in &certificates {
            x509::check_authority(certificate)
                .map_err(|why| format!("not a certificate authority: {why}"))?;
        }
        if certificates.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        Ok(Self {
            written,
            certificates,
        })
    }
}

impl<'de> Deserialize<'de> for Authority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Authority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// What a certificate's subject says (RFC 4519 names).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// CN: the client id.
    pub common_name: Option<String>,
    /// O.
    pub organization: Option<String>,
    /// OU.
    pub organizational_unit: Option<String>,
    /// C.
    pub country: Option<String>,
    /// ST.
    pub state: Option<String>,
    /// The subject's serialNumber; without one the certificate's serial number in upper-case
    /// hexadecimal digits (assumed: the page says "certificate serial number").
    pub serial_number: Option<String>,
}

impl Identity {
    /// The value of the policy variable `Certificate.Subject.{name}`.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        match name {
            "CommonName" => self.common_name.as_deref(),
            "Organization" => self.organization.as_deref(),
            "OrganizationalUnit" => self.organizational_unit.as_deref(),
            "Country" => self.country.as_deref(),
            "State" => self.state.as_deref(),
            "SerialNumber" => self.serial_number.as_deref(),
            _ => None,
        }
    }

    fn read(certificate: &X509Certificate<'_>) -> Self {
        let subject = certificate.subject();
        let own_serial = hex::upper(certificate.raw_serial());
        Self {
            common_name: attribute(subject, &OID_X509_COMMON_NAME),
            organization: attribute(subject, &OID_X509_ORGANIZATION_NAME),
            organizational_unit: attribute(subject, &OID_X509_ORGANIZATIONAL_UNIT),
            country: attribute(subject, &OID_X509_COUNTRY_NAME),
            state: attribute(subject, &OID_X509_STATE_OR_PROVINCE_NAME),
            serial_number: attribute(subject, &OID_X509_SERIALNUMBER).or(Some(own_serial)),
        }
    }
}

fn attribute(subject: &X509Name<'_>, oid: &Oid<'static>) -> Option<String> {
    let attribute = subject.iter_by_oid(oid).next()?;
    attribute.as_str().ok().map(ToOwned::to_owned)
}

/// Checks a chain (leaf first) against the authorities, at this time; its subject must have a
/// common name.
pub(super) fn verify(
    chain: &[Bytes],
    authorities: &[Authority],
    now: Timestamp,
) -> Result<Identity, Error> {
    let leaf = chain.first().ok_or_else(|| refused("there is none"))?;
    let parsed = x509::read(leaf).map_err(|why| refused(format!("it cannot be read: {why}")))?;
    let known = authorities.iter().flat_map(|it| &it.certificates);
    x509::check_chain(chain, known, now).map_err(|why| refused(why.to_string()))?;
    let identity = Identity::read(&parsed);
    if identity
        .common_name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return Err(refused("its subject has no common name"));
    }
    Ok(identity)
}

fn refused(why: impl Into<String>) -> Error {
    Error::Certificate(why.into())
}
