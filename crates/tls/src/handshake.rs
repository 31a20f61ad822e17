//! The server's side of a TLS handshake, for every secure listener: which configuration a client
//! gets, and in words why a handshake failed and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mqttstack_base::exchange::HandshakeFailure;
use rustls::server::Acceptor;
use rustls::{AlertDescription, CertificateError, PeerIncompatible, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// How much of a hello is looked at before it is read.
const HELLO: usize = 2 << 10;
/// The TLS record that a handshake begins with.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What a client is offered.
#[derive(Debug, Clone)]
pub struct Terms {
    config: Arc<ServerConfig>,
    asking: Option<(Arc<ServerConfig>, Asks)>,
}

/// Whether a client of this server name is asked for a certificate; `None` is one that names no
/// server, or an address.
pub type Asks = fn(Option<&str>) -> bool;

impl From<Arc<ServerConfig>> for Terms {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self {
            config,
            asking: None,
        }
    }
}

impl Terms {
    /// The clients that `asks` names get this configuration.
    #[must_use]
    pub fn asking(self, config: Arc<ServerConfig>, asks: Asks) -> Self {
        Self {
            asking: Some((config, asks)),
            ..self
        }
    }

    fn choose(&self, server_name: Option<&str>) -> Arc<ServerConfig> {
        match &self.asking {
            Some((config, asks)) if asks(server_name) => config.clone(),
            _ => self.config.clone(),
        }
    }
}

/// What a handshake came to.
pub enum Outcome {
    /// A secure connection.
    Done(Box<TlsStream<TcpStream>>),
    /// The client speaks plain HTTP, or some other protocol of letters.
    Plain(TcpStream),
    /// It failed.
    Failed(HandshakeFailure),
    /// The client left without a word, as whoever looks if a port is open does.
    Left,
}

/// Shakes hands, at most for `limit`.
pub async fn accept(
    stream: TcpStream,
    peer: SocketAddr,
    terms: &Terms,
    limit: Duration,
) -> Outcome {
    let mut hello = Hello::default();
    let shaken = timeout(limit, shake(stream, terms, &mut hello)).await;
    let error = match shaken {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let (alert, reason) = match &error {
        _ if hello.psk_only => (0, PSK_ONLY.to_owned()),
        Some(error) => explain(error),
        None => (0, "the client did not finish it in time".to_owned()),
    };
    Outcome::Failed(HandshakeFailure {
        peer,
        server_name: hello.server_name,
        alert,
        reason,
    })
}

/// What is known of a client before its handshake is over.
#[derive(Debug, Default)]
struct Hello {
    server_name: Option<String>,
    psk_only: bool,
}

async fn shake(stream: TcpStream, terms: &Terms, hello: &mut Hello) -> io::Result<Outcome> {
    let mut first = [0; HELLO];
    let length = stream.peek(&mut first).await?;
    let first = &first[..length];
    match first.first() {
        None => return Ok(Outcome::Left),
        Some(byte) if byte.is_ascii_alphabetic() => return Ok(Outcome::Plain(stream)),
        Some(_) => hello.psk_only = suites(first).is_some_and(|suites| are_psk(&suites)),
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    hello.server_name = start.client_hello().server_name().map(str::to_owned);
    let config = terms.choose(hello.server_name.as_deref());
    let stream = start.into_stream(config).await?;
    Ok(Outcome::Done(Box::new(stream)))
}

const PSK_ONLY: &str = "the client offers nothing but TLS-PSK, which the emulator does not speak: \
                        connect it without TLS, or let it use certificates";

/// The alert that came, and what the error says in words.
fn explain(error: &io::Error) -> (u8, String) {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => (u8::from(*alert), of_alert(*alert)),
        Some(error) => (0, of_error(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => (0, EOF.to_owned()),
        None => (0, format!("the connection broke: {error}")),
    }
}

const EOF: &str = "the client closed the connection in the middle of it without an alert; often it \
                   does not trust the certificate";

/// The alerts of RFC 8446 section 6.2 by their names there, and what helps.
fn of_alert(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let (name, advice) = match alert {
        A::UnknownCA => ("unknown_ca", TRUST),
        A::BadCertificate => ("bad_certificate", TRUST),
        A::CertificateUnknown => ("certificate_unknown", TRUST),
        A::UnsupportedCertificate => ("unsupported_certificate", TRUST),
        A::CertificateExpired => (
            "certificate_expired",
            "its clock is before 2020, or a configured certificate has expired",
        ),
        A::UnrecognisedName => ("unrecognized_name", "tls.names may list the name"),
        A::AccessDenied => ("access_denied", TRUST),
        A::HandshakeFailure => (
            "handshake_failure",
            "it may want what the emulator does not offer, or not be able to choose a certificate",
        ),
        A::ProtocolVersion => ("protocol_version", "the emulator speaks TLS 1.2 and 1.3"),
        A::InsufficientSecurity => (
            "insufficient_security",
            "it wants other cipher suites or keys than the emulator's",
        ),
        A::UserCanceled | A::CloseNotify => ("user_canceled", "it gave up"),
        A::DecryptError => (
            "decrypt_error",
            "it may know another emulator's authority of the same name",
        ),
        other => return format!("the client refused it with the alert {other:?}"),
    };
    format!("the client refused it with the alert {name}: {advice}")
}

const TRUST: &str = "it does not trust the certificate; let it trust the authority that \
                     GET /_mqttstack/ca.pem gives (a new one after each start, unless --data-dir keeps it)";

fn of_error(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the client offers no cipher suite that the emulator has".to_owned()
        }
        E::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "the client speaks neither TLS 1.2 nor TLS 1.3 as the emulator does".to_owned(),
        E::PeerIncompatible(what) => format!("the client lacks what the emulator needs: {what:?}"),
        E::NoApplicationProtocol => {
            "the client offers neither http/1.1 nor http/1.0 (ALPN)".to_owned()
        }
        E::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => {
            "the client's certificate has expired, and tls.client_ca asks for valid ones".to_owned()
        }
        E::InvalidCertificate(what) => format!(
            "the client's certificate is refused: {what}; tls.client_ca lists whose are taken"
        ),
        E::InvalidMessage(_) => {
            "what the client sent is not TLS: this port speaks nothing else".to_owned()
        }
        other => other.to_string(),
    }
}

/// The cipher suites of the hello in a record's first bytes, if they are all there (RFC 5246
/// sections 6.2.1, 7.4 and 7.4.1.2).
fn suites(record: &[u8]) -> Option<Vec<u16>> {
    let (head, rest) = record.split_at_checked(5 + 4 + 2 + 32)?;
    if head[0] != HANDSHAKE_RECORD || head[5] != 1 {
        return None;
    }
    let (session, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*session)..)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let list = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    Some(
        list.chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect(),
    )
}

/// Whether all of them need a pre-shared key (IANA's list of cipher suites, November 2026); the
/// two that are signals only do not count.
fn are_psk(suites: &[u16]) -> bool {
    let mut psk = false;
    for suite in suites {
        match suite {
            0x00ff | 0x5600 => {}
            0x002c..=0x002e
            | 0x008a..=0x0095
            | 0x00a8..=0x00b9
            | 0xc033..=0xc03b
            | 0xc064..=0xc071
            | 0xc08e..=0xc09b
            | 0xc0a4..=0xc0ab
            | 0xccab..=0xccae
            | 0xd001..=0xd005 => psk = true,
            _ => return false,
        }
    }
    psk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(suites: &[u16]) -> Vec<u8> {
        let mut bytes = vec![0x16, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3];
        bytes.extend([7; 32]);
        bytes.extend([2, 9, 9]);
        bytes.extend(u16::try_from(2 * suites.len()).unwrap().to_be_bytes());
        bytes.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        bytes.extend([1, 0]);
        bytes
    }

    #[test]
    fn a_hello_of_psk_suites_alone_is_told_from_all_others() {
        for (offered, expected) in [
            (&[0x00ae, 0xc037, 0x00ff][..], true),
            (&[0xccac], true),
            (&[0x00ae, 0xc02f], false),
            (&[0x1301], false),
            (&[0x00ff], false),
            (&[], false),
        ] {
            let bytes = hello(offered);
            assert_eq!(suites(&bytes).as_deref(), Some(offered));
            assert_eq!(are_psk(offered), expected, "{offered:x?}");
        }
    }

    #[test]
    fn half_a_hello_and_other_bytes_have_no_suites() {
        let bytes = hello(&[0x00ae]);
        for length in 0..bytes.len() - 2 {
            assert_eq!(suites(&bytes[..length]), None, "{length}");
        }
        assert_eq!(suites(&[0x10; 200]), None);
    }
}
