//! One device, one certificate: the chain, the clock, the names, the policies' variables.

use bytes::Bytes;
use jiff::SignedDuration;
use mqttstack_base::clock::Clock;
use mqttstack_tencent_tdmq::{Authority, Policy, Settings};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::bench::{BASIC, Bench, request};

/// A certificate authority of a test's own.
pub struct TestCa {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A device's certificate and key.
pub struct TestLeaf {
    pub der: Bytes,
    pub key_pem: String,
}

impl TestCa {
    pub fn new() -> Self {
        Self::named("test CA")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub fn leaf(&self, names: &[(DnType, &str)]) -> TestLeaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.not_before = rcgen::date_time_ymd(2023, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TestLeaf {
            der: Bytes::copy_from_slice(certificate.der()),
            key_pem: key.serialize_pem(),
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            ca_certificates: vec![Authority::read(self.pem.clone()).unwrap()],
            ..Settings::default()
        }
    }
}

async fn publish(bench: &Bench, leaf: &TestLeaf, target: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = request("POST", target, headers, "x");
    request.certificates = [leaf.der.clone()].into();
    bench.run(&request).await.status
}

#[tokio::test]
async fn the_common_name_becomes_the_client_id_whatever_the_query_says() {
    let ca = TestCa::new();
    let bench = Bench::with(ca.settings()).await;
    let leaf = ca.leaf(&[(DnType::CommonName, "VIN0000001")]);
    assert_eq!(
        publish(&bench, &leaf, "/topics/home?client_id=other", &[]).await,
        200
    );
    let origin = bench.message().origin.clone();
    assert_eq!(origin.client_id.as_deref(), Some("VIN0000001"));
    let reasons = bench.reasons();
    assert!(
        reasons[0].contains("client_id=\"other\" is not used"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn policies_see_the_certificates_subject() {
    let ca = TestCa::new();
    let own = Policy {
        resources: vec![
            "${Certificate.Subject.Country}/${Certificate.Subject.State}/\
             ${Certificate.Subject.Organization}/${Certificate.Subject.OrganizationalUnit}/\
             ${Certificate.Subject.CommonName}"
                .to_owned(),
        ],
        ..Policy::default()
    };
    let settings = Settings {
        policies: vec![own],
        ..ca.settings()
    };
    let bench = Bench::with(settings).await;
    let leaf = ca.leaf(&[
        (DnType::CountryName, "CN"),
        (DnType::StateOrProvinceName, "GD"),
        (DnType::OrganizationName, "org"),
        (DnType::OrganizationalUnitName, "unit"),
        (DnType::CommonName, "dev1"),
    ]);
    assert_eq!(
        publish(&bench, &leaf, "/topics/CN/GD/org/unit/dev1", &[]).await,
        200
    );
    assert_eq!(
        publish(&bench, &leaf, "/topics/CN/GD/org/unit/dev2", &[]).await,
        403
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_another_time_is_refused() {
    let (ca, other) = (TestCa::new(), TestCa::named("other CA"));
    let bench = Bench::with(ca.settings()).await;
    let foreign = other.leaf(&[(DnType::CommonName, "dev1")]);
    assert_eq!(publish(&bench, &foreign, "/topics/home", &[]).await, 401);
    assert!(
        bench.reasons()[0].contains("UnknownIssuer"),
        "{:?}",
        bench.reasons()
    );
    let own = ca.leaf(&[(DnType::CommonName, "dev1")]);
    assert_eq!(publish(&bench, &own, "/topics/home", &[]).await, 200);
    let years = SignedDuration::from_hours(24 * 365 * 20);
    bench.app.clock.advance(years).unwrap();
    assert_eq!(publish(&bench, &own, "/topics/home", &[]).await, 401);
    assert!(
        bench.reasons()[0].contains("xpired"),
        "{:?}",
        bench.reasons()
    );
}

/// A certificate of X.509 version 1, valid from 2026 on.
fn version_1(clock: &str, authority: &str) -> (Settings, Clock, TestLeaf) {
    let pem = include_str!("../../fixtures/tencent-tdmq/version-1/client.pem");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let settings = Settings {
        ca_certificates: vec![Authority::read(authority.to_owned()).unwrap()],
        ..Settings::default()
    };
    let leaf = TestLeaf {
        der: Bytes::copy_from_slice(&der),
        key_pem: String::new(),
    };
    (settings, Clock::frozen(clock.parse().unwrap()), leaf)
}

#[tokio::test]
async fn what_openssl_makes_unless_told_otherwise_counts_too() {
    let own = include_str!("../../fixtures/tencent-tdmq/version-1/ca.pem");
    let other = TestCa::new().pem;
    for (clock, authority, status, reason) in [
        ("2027-01-01T00:00:00Z", own, 200, ""),
        ("2060-01-01T00:00:00Z", own, 401, "expired"),
        ("2020-01-01T00:00:00Z", own, 401, "not yet good"),
        (
            "2027-01-01T00:00:00Z",
            &other,
            401,
            "no configured authority issued it",
        ),
    ] {
        let (settings, clock, leaf) = version_1(clock, authority);
        let bench = Bench::new(settings, clock).await;
        assert_eq!(publish(&bench, &leaf, "/topics/home", &[]).await, status);
        let reasons = bench.reasons().join("; ");
        assert!(reasons.contains(reason), "{reasons}");
    }
}

#[tokio::test]
async fn a_certificate_without_a_common_name_is_refused() {
    let ca = TestCa::new();
    let bench = Bench::with(ca.settings()).await;
    let leaf = ca.leaf(&[(DnType::OrganizationName, "org")]);
    assert_eq!(publish(&bench, &leaf, "/topics/home", &[]).await, 401);
    assert!(
        bench.reasons()[0].contains("common name"),
        "{:?}",
        bench.reasons()
    );
}

#[tokio::test]
async fn beside_a_good_certificate_a_wrong_basic_is_still_wrong() {
    let ca = TestCa::new();
    let bench = Bench::with(ca.settings()).await;
    let leaf = ca.leaf(&[(DnType::CommonName, "dev1")]);
    let wrong = ("Authorization", "Basic dXNlcjA6d3Jvbmc=");
    assert_eq!(publish(&bench, &leaf, "/topics/home", &[wrong]).await, 401);
    assert_eq!(publish(&bench, &leaf, "/topics/home", &[BASIC]).await, 200);
}

#[tokio::test]
async fn without_a_configured_authority_a_certificate_is_no_credential() {
    let bench = Bench::frozen().await;
    let leaf = TestCa::new().leaf(&[(DnType::CommonName, "dev1")]);
    assert_eq!(publish(&bench, &leaf, "/topics/home", &[]).await, 401);
    assert!(
        bench.reasons()[0].contains("ca_certificates"),
        "{:?}",
        bench.reasons()
    );
}

#[test]
fn what_is_no_certificate_is_no_authority() {
    assert!(Authority::read("/nowhere/ca.pem".to_owned()).is_err());
    assert!(Authority::read("-----BEGIN CERTIFICATE-----\n?\n".to_owned()).is_err());
}
