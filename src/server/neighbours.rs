//! Which clients on this machine still have their socket. A client that has closed it and one that
//! has only shut down its sending side look the same on the wire until something is written; the
//! kernel's list of sockets tells them apart. Of clients elsewhere nothing can be told.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Questions that may wait; who asks more waits to ask.
const WAITING: usize = 1_024;
/// The least pause between two looks at the list; a long list costs a longer one.
const PAUSE: Duration = Duration::from_millis(20);
/// How many times as long as a look the pause behind it is.
const REST: u32 = 10;
/// The lists of IPv4 and IPv6 sockets.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// A client's socket: its own address, then ours.
type Pair = (SocketAddr, SocketAddr);

/// Asks about clients on this machine.
#[derive(Debug, Clone)]
pub(super) struct Neighbours(mpsc::Sender<(Pair, oneshot::Sender<bool>)>);

impl Neighbours {
    /// Must be called inside a tokio runtime.
    pub(super) fn new() -> Self {
        let (asks, asked) = mpsc::channel(WAITING);
        tokio::spawn(answer(asked));
        Self(asks)
    }

    /// Whether the client still has its socket, as far as can be told.
    pub(super) async fn has(&self, client: SocketAddr, ours: SocketAddr) -> bool {
        let (client, ours) = (canonical(client), canonical(ours));
        if !client.ip().is_loopback() && client.ip() != ours.ip() {
            return true;
        }
        let (tell, told) = oneshot::channel();
        match self.0.send(((client, ours), tell)).await {
            Ok(()) => told.await.unwrap_or(true),
            Err(_) => true,
        }
    }
}

/// Answers all questions that wait with one look at the list, until nobody can ask any more.
async fn answer(mut asked: mpsc::Receiver<(Pair, oneshot::Sender<bool>)>) {
    let mut questions = Vec::new();
    while asked.recv_many(&mut questions, WAITING).await > 0 {
        let begun = Instant::now();
        let sockets = tokio::task::spawn_blocking(sockets).await.ok().flatten();
        for (pair, tell) in questions.drain(..) {
            let has = sockets.as_ref().is_none_or(|held| held.contains(&pair));
            // Whoever asked may have left meanwhile.
            let _ = tell.send(has);
        }
        sleep(PAUSE.max(begun.elapsed() * REST)).await;
    }
}

/// The sockets that a process holds; `None` where the kernel keeps no such list.
fn sockets() -> Option<Arc<HashSet<Pair>>> {
    let mut held = HashSet::new();
    let mut read = false;
    for list in LISTS {
        let Ok(text) = std::fs::read_to_string(list) else {
            continue;
        };
        read = true;
        held.extend(text.lines().filter_map(held_socket));
    }
    read.then(|| Arc::new(held))
}

/// The addresses in a line of the list, if a process holds the socket: one that has been closed has
/// no inode.
fn held_socket(line: &str) -> Option<Pair> {
    let mut fields = line.split_ascii_whitespace();
    let own = address(fields.nth(1)?)?;
    let peer = address(fields.next()?)?;
    let inode = fields.nth(6)?;
    (inode != "0").then_some((own, peer))
}

/// An address as the list writes it: 32-bit words in the machine's order, in hexadecimal digits.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    for (at, word) in bytes.chunks_exact_mut(4).zip(ip.as_bytes().chunks_exact(8)) {
        let word = std::str::from_utf8(word).ok()?;
        let word = u32::from_str_radix(word, 16).ok()?;
        at.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        32 => IpAddr::V6(Ipv6Addr::from(bytes)),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// An IPv4 client of an IPv6 socket counts as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_an_inode_is_a_socket_that_is_held() {
        let line = |inode: &str| {
            format!(
                "   1: 0100007F:D2F0 0100007F:11E4 05 00000000:00000000 00:00000000 00000000  \
                 1000        0 {inode} 1 0000000000000000 20 4 30 10 -1"
            )
        };
        let pair = (
            "127.0.0.1:54000".parse().unwrap(),
            "127.0.0.1:4580".parse().unwrap(),
        );
        if cfg!(target_endian = "little") {
            assert_eq!(held_socket(&line("22930")), Some(pair));
            let ipv6 = "00000000000000000000000001000000:1F90";
            assert_eq!(address(ipv6), Some("[::1]:8080".parse().unwrap()));
            let mapped = "0000000000000000FFFF00000100007F:1F90";
            assert_eq!(address(mapped), Some("127.0.0.1:8080".parse().unwrap()));
        }
        assert_eq!(held_socket(&line("0")), None);
        assert_eq!(held_socket("  sl  local_address rem_address   st"), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_closed_client_is_told_from_one_that_only_ended_its_sending() {
        use tokio::io::AsyncWriteExt;
        use tokio::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = listener.local_addr().unwrap();
        let neighbours = Neighbours::new();
        let mut client = TcpStream::connect(ours).await.unwrap();
        let (_stream, address) = listener.accept().await.unwrap();
        assert!(neighbours.has(address, ours).await);
        client.shutdown().await.unwrap();
        assert!(neighbours.has(address, ours).await);
        drop(client);
        assert!(!neighbours.has(address, ours).await);
        let elsewhere = "192.0.2.1:1".parse().unwrap();
        assert!(neighbours.has(elsewhere, ours).await);
    }
}
