//! Tests of the local authority: its leaves, its folder, its refusals.

use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::*;

fn open(dir: Option<&Path>) -> Result<Authority, Error> {
    Authority::open(&Settings::default(), dir)
}

#[test]
fn without_a_directory_every_authority_is_new() {
    assert_ne!(open(None).unwrap().ca_pem(), open(None).unwrap().ca_pem());
}

#[test]
fn with_a_directory_the_authority_survives_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("new/data");
    let first = open(Some(&inner)).unwrap();
    assert_eq!(open(Some(&inner)).unwrap().ca_pem(), first.ca_pem());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(inner.join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_damaged_authority_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    open(Some(dir.path())).unwrap();
    open(Some(other.path())).unwrap();
    let key = fs::read(dir.path().join(KEY_FILE)).unwrap();
    let error = || open(Some(dir.path())).unwrap_err().to_string();

    fs::copy(other.path().join(KEY_FILE), dir.path().join(KEY_FILE)).unwrap();
    assert!(error().contains("do not match"), "{}", error());
    fs::write(dir.path().join(KEY_FILE), "nonsense").unwrap();
    assert!(
        error().contains("ca.key.pem holds no private key"),
        "{}",
        error()
    );
    fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    assert!(error().contains("ca.key.pem is missing"), "{}", error());
    fs::write(dir.path().join(KEY_FILE), key).unwrap();
    fs::write(dir.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
    assert!(
        error().contains("ca.pem holds no certificate"),
        "{}",
        error()
    );
    assert!(
        error().contains("remove ca.pem and ca.key.pem"),
        "{}",
        error()
    );
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = open(Some(file.path())).unwrap_err().to_string();
    assert!(
        error.contains(&file.path().display().to_string()),
        "{error}"
    );
}

#[test]
fn a_name_that_no_certificate_can_hold_is_refused() {
    let settings = Settings {
        names: vec!["größe.test".to_owned()],
        ..Settings::default()
    };
    let error = Authority::open(&settings, None).unwrap_err().to_string();
    assert!(error.contains("größe.test"), "{error}");
}

/// A certificate and its key in files of this name.
fn pair(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["server.test".into()]).unwrap();
    let certificate = dir.join(format!("{name}.pem"));
    let key = dir.join(format!("{name}.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn a_configured_file_that_cannot_be_used_is_named_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = pair(dir.path(), "one");
    let (_, other_key) = pair(dir.path(), "two");
    let missing = dir.path().join("missing.pem");
    let error = |certificate: Option<&PathBuf>, key: Option<&PathBuf>, ca: &[&PathBuf]| {
        let settings = Settings {
            certificate: certificate.cloned(),
            key: key.cloned(),
            client_ca: ca.iter().copied().cloned().collect(),
            ..Settings::default()
        };
        let opened = Authority::open(&settings, None);
        opened.map(|_| ()).map_err(|error| error.to_string())
    };
    let says = |result: Result<(), String>, words: &str| {
        let error = result.unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    error(Some(&certificate), Some(&key), &[&certificate]).unwrap();
    says(error(Some(&certificate), None, &[]), "tls.key: is missing");
    says(error(None, Some(&key), &[]), "tls.certificate: is missing");
    says(
        error(Some(&missing), Some(&key), &[]),
        "tls.certificate: cannot read",
    );
    says(
        error(Some(&certificate), Some(&missing), &[]),
        "tls.key: cannot read",
    );
    says(
        error(Some(&key), Some(&key), &[]),
        "one.key holds no certificate in PEM",
    );
    says(
        error(Some(&certificate), Some(&certificate), &[]),
        "one.pem holds no private key in PEM",
    );
    says(
        error(Some(&certificate), Some(&other_key), &[]),
        "tls.key: is not the key of",
    );
    says(error(None, None, &[&missing]), "tls.client_ca: cannot read");
}

#[test]
fn the_cache_of_certificates_stays_bounded_and_serials_differ() {
    let provider = ring::default_provider();
    let ids = Ids::new(Some(1));
    let root = Root::make(Key::make(&ids)).unwrap();
    let leaves = Leaves::new(root, Key::make(&ids), &provider, &[]).unwrap();
    for number in 0..MAX_LEAVES + 10 {
        leaves.by_name(&format!("host-{number}.test")).unwrap();
    }
    assert!(leaves.by_name.lock().len() <= MAX_LEAVES);
    let again = leaves.by_name("HOST-1009.test").unwrap();
    let same = leaves.by_name("host-1009.test").unwrap();
    assert!(Arc::ptr_eq(&again, &same));
    let other = leaves.by_name("other.test").unwrap();
    assert_ne!(again.cert[0], other.cert[0]);
}

// `openssl x509 -req` without extensions: version 1, good from November 2026 to April 2054.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBHzCBxgIULymOZ2eT6TLfrgOtrR/h3IFoJf0wCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJZGV2aWNlIENBMCAXDTI2MTEyMjA1MjkwM1oYDzIwNTQwNDA5MDUyOTAz
WjAPMQ0wCwYDVQQDDARWSU4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExL+d
Pn2/5w3KRnAjfCFgKOEvMKAZFBpBd4aWw8EpaOnGYdUHdQAaPl/jqz82N+kBsb/F
EvFKp0PiDs35XXO4czAKBggqhkjOPQQDAgNIADBFAiEA25UZwmolgwMWx+zXk+B+
+MlhwUnidINpu289P9mqa8kCIBsPsiC64TtzSB/nIC6CYU2xq3qTqZ6WVXvz7fZ1
j+fn
-----END CERTIFICATE-----
";
const ITS_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUOHRYp56y64KOO3d9/bva0bYvcBYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJZGV2aWNlIENBMCAXDTI2MTEyMjA1MjkwM1oYDzIwODEwODI1
MDUyOTAzWjAUMRIwEAYDVQQDDAlkZXZpY2UgQ0EwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARDJqWW3w0ngDqrAFiDFCBGvIN4aKKqqkqo8i37sNF7mpqc+4pr8fz5
QSH26NSklpTo+XyKZ7K81UnB2wjzynmMo1MwUTAdBgNVHQ4EFgQU9u023H8vhW7f
dNOcZJSo7xoc5ukwHwYDVR0jBBgwFoAU9u023H8vhW7fdNOcZJSo7xoc5ukwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiA+ncYr/DrHePdv44+IF16f
g29u7GheNFwLW9ovxIyjMAIhAMtREqPSIPr0G3CWAqTpD4dlLT4TEw8wwc4CdaXg
0R4P
-----END CERTIFICATE-----
";
const NAMESAKE_AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBfjCCASWgAwIBAgIUV6Gl7M5T4oxKPVmjwVgux5w/WW0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJZGV2aWNlIENBMCAXDTI2MTEyMjA1MjkwM1oYDzIwODEwODI1
MDUyOTAzWjAUMRIwEAYDVQQDDAlkZXZpY2UgQ0EwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQJUKbUgcgHVIv4ndxB3DbBIk14rRqevaxyXLHFqiyFEjiUTyPCrCvW
nwsvt3kdrU4mrW8E9U/LzEXhr+ADTs2jo1MwUTAdBgNVHQ4EFgQUUTHOZ4ADThsM
k1IJILFUVZM4F+8wHwYDVR0jBBgwFoAUUTHOZ4ADThsMk1IJILFUVZM4F+8wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAAzUscScZU20QUjpQCXUcD
761Diy2hqDOZBqksicQ+JQIgQ9qzUFM9mNGpIr1GJwVmCMAflv9eSnE/Jx7UQllV
u48=
-----END CERTIFICATE-----
";

#[test]
fn a_version_1_client_certificate_counts_if_a_configured_authority_issued_it() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let judged = |authority: &str, seconds: u64| {
        let path = dir.path().join("ca.pem");
        fs::write(&path, authority).unwrap();
        let settings = Settings {
            client_ca: vec![path],
            ..Settings::default()
        };
        let verifier = files::clients(&settings, &Arc::new(ring::default_provider()));
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verdict = verifier
            .unwrap()
            .unwrap()
            .verify_client_cert(&leaf, &[], now);
        verdict.map(|_| ())
    };
    let refused = |why| Err(rustls::Error::InvalidCertificate(why));
    assert_eq!(judged(ITS_AUTHORITY, 1_800_000_000), Ok(()));
    assert_eq!(
        judged(NAMESAKE_AUTHORITY, 1_800_000_000),
        refused(CertificateError::UnknownIssuer)
    );
    assert_eq!(
        judged(ITS_AUTHORITY, 2_700_000_000),
        refused(CertificateError::Expired)
    );
    assert_eq!(
        judged(ITS_AUTHORITY, 1_700_000_000),
        refused(CertificateError::NotValidYet)
    );
}

#[test]
fn the_same_bytes_make_the_same_authority_and_leaves() {
    let open = |seed| {
        let ids = Ids::named(Some(seed), "tls");
        Authority::open_with(&Settings::default(), None, &ids).unwrap()
    };
    assert_eq!(open(42).ca_pem(), open(42).ca_pem());
    assert_ne!(open(42).ca_pem(), open(43).ca_pem());
    let leaf = || {
        let ids = Ids::named(Some(42), "tls");
        let (own, of_leaves) = (Key::make(&ids), Key::make(&ids));
        let provider = ring::default_provider();
        let leaves = Leaves::new(Root::make(own).unwrap(), of_leaves, &provider, &[]).unwrap();
        leaves.by_name("a.example").unwrap().cert[0].clone()
    };
    assert_eq!(leaf(), leaf());
}

#[test]
fn a_stored_key_of_another_kind_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = parameters(&[], &[]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    fs::write(dir.path().join(CERTIFICATE_FILE), &pem).unwrap();
    fs::write(dir.path().join(KEY_FILE), key.serialize_pem()).unwrap();
    let opened = Authority::open(&Settings::default(), Some(dir.path()));
    assert_eq!(opened.unwrap().ca_pem(), pem);
}
