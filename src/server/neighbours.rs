//! Which clients on this machine still have their socket. A client that has closed it and one that
//! has only shut down its sending side look the same on the wire until something is written; the
//! kernel tells them apart (`sock_diag(7)`). Of clients on other machines nothing is known.

use std::net::SocketAddr;

/// Whether the client still has its socket, as far as can be told.
pub(super) fn has_socket(client: SocketAddr, ours: SocketAddr) -> bool {
    let (client, ours) = (canonical(client), canonical(ours));
    let here = client.ip().is_loopback() || client.ip() == ours.ip();
    !here || kernel::is_held(client, ours).unwrap_or(true)
}

/// An IPv4 client of an IPv6 socket counts as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::net::SocketAddr;

    pub(super) fn is_held(_own: SocketAddr, _peer: SocketAddr) -> Option<bool> {
        None
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::net::{IpAddr, SocketAddr};

    use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
    };

    /// A question by address, and its one answer.
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    /// The kernel's "there is none".
    const NLMSG_ERROR: u16 = 2;
    const ENOENT: i32 = 2;
    const IPPROTO_TCP: u8 = 6;
    /// Where the answer (`struct inet_diag_msg` behind `struct nlmsghdr`) has the inode.
    const INODE: std::ops::Range<usize> = 16 + 68..16 + 72;

    /// What the kernel says of one socket.
    #[derive(Debug, PartialEq, Eq)]
    enum Said {
        /// A process holds it.
        Held,
        /// It is closed, and the kernel has yet to finish with it.
        Closed,
        /// There is none, or the kernel answers no such questions.
        None,
    }

    /// Whether a process holds the socket with these addresses; `None` where that cannot be told.
    pub(super) fn is_held(own: SocketAddr, peer: SocketAddr) -> Option<bool> {
        match ask(own, peer)? {
            Said::Held => Some(true),
            Said::Closed => Some(false),
            // The other end is a socket of this process, so it must be there.
            Said::None => (ask(peer, own)? == Said::Held).then_some(false),
        }
    }

    fn ask(own: SocketAddr, peer: SocketAddr) -> Option<Said> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let datagrams = SocketType::DGRAM;
        let socket = socket_with(AddressFamily::NETLINK, datagrams, flags, Some(SOCK_DIAG)).ok()?;
        let question = question(own, peer);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&socket, &question, SendFlags::empty(), &kernel).ok()?;
        let mut answer = [0; 512];
        // The kernel answers before the question's call returns.
        let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
        said(answer.get(..length)?)
    }

    /// `struct nlmsghdr`, then `struct inet_diag_req_v2`.
    fn question(own: SocketAddr, peer: SocketAddr) -> Vec<u8> {
        let (family, own_ip) = match own.ip() {
            IpAddr::V4(ip) => (AddressFamily::INET, padded(ip.octets())),
            IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets()),
        };
        let peer_ip = match peer.ip() {
            IpAddr::V4(ip) => padded(ip.octets()),
            IpAddr::V6(ip) => ip.octets(),
        };
        let family = u8::try_from(family.as_raw()).unwrap_or_default();
        let mut body = vec![family, IPPROTO_TCP, 0, 0];
        // Every state; then the addresses, any interface, and no cookie.
        body.extend([0xff; 4]);
        body.extend(own.port().to_be_bytes());
        body.extend(peer.port().to_be_bytes());
        body.extend(own_ip);
        body.extend(peer_ip);
        body.extend([0; 4]);
        body.extend([0xff; 8]);
        let length = u32::try_from(16 + body.len()).unwrap_or_default();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        message
    }

    fn padded(octets: [u8; 4]) -> [u8; 16] {
        let mut all = [0; 16];
        all[..4].copy_from_slice(&octets);
        all
    }

    fn said(answer: &[u8]) -> Option<Said> {
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        if kind == NLMSG_ERROR {
            let error = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
            return (error == -ENOENT).then_some(Said::None);
        }
        let inode = u32::from_ne_bytes(answer.get(INODE)?.try_into().ok()?);
        Some(if inode == 0 { Said::Closed } else { Said::Held })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_closed_client_is_told_from_one_that_only_ended_its_sending() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(here).await else {
                // A machine without IPv6.
                continue;
            };
            let ours = listener.local_addr().unwrap();
            for reset in [false, true] {
                let mut client = TcpStream::connect(ours).await.unwrap();
                let (_stream, address) = listener.accept().await.unwrap();
                assert!(has_socket(address, ours));
                client.shutdown().await.unwrap();
                assert!(has_socket(address, ours));
                if reset {
                    client.set_zero_linger().unwrap();
                }
                drop(client);
                assert!(!has_socket(address, ours), "{here}");
            }
        }
    }

    #[test]
    fn nothing_is_told_of_a_client_elsewhere_nor_of_a_connection_that_is_none() {
        let ours = "127.0.0.1:9".parse().unwrap();
        assert!(has_socket("192.0.2.1:1".parse().unwrap(), ours));
        assert!(has_socket("127.0.0.1:1".parse().unwrap(), ours));
    }
}
