//! The engine's own ports, all of them on loopback behind `broker/gate.rs`, one for each way in:
//! by a port's id the hooks know what a connection came through.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::server::MqttServer;
use rmqtt::types::ListenerId;
use tokio::task::JoinHandle;

use super::super::Settings;
use super::super::message::Transport;

/// How long a CONNECT may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long one write to a client may stand still before the connection is given up.
pub(super) const WRITE: Duration = Duration::from_secs(10);
/// How long a 3.x session without Clean Session outlives its connection; the standard sets no
/// end.
const SESSION_3X: Duration = Duration::from_hours(7 * 24);
/// The engine's queue must never be the one that overflows: `outbox.rs` bounds it, and decides
/// what is lost.
const ENGINE_QUEUE: usize = 1_000_000;

struct Open {
    transport: Transport,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Listeners {
    next_id: AtomicU16,
    open: Mutex<HashMap<ListenerId, Open>>,
}

impl Listeners {
    /// Opens a port and returns its id and address. Its connections start with a PROXY line that
    /// names the real peer.
    pub(super) fn open(
        &self,
        context: &ServerContext,
        settings: &Settings,
        transport: Transport,
    ) -> io::Result<(ListenerId, SocketAddr)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let builder = Builder::new()
            .name(format!("{transport:?}"))
            .laddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .allow_anonymous(false)
            .nodelay(true)
            .reuseaddr(Some(true))
            .backlog(1024)
            .max_keepalive(settings.max_keep_alive)
            .max_packet_size(settings.max_packet_size)
            .max_inflight(NonZeroU16::new(settings.receive_maximum).unwrap_or(NonZeroU16::MIN))
            .max_topic_aliases(settings.topic_alias_maximum)
            .max_mqueue_len(ENGINE_QUEUE)
            .message_expiry_interval(Duration::ZERO)
            .message_retry_interval(Duration::ZERO)
            .session_expiry_interval(SESSION_3X)
            .handshake_timeout(HANDSHAKE)
            .send_timeout(WRITE)
            .proxy_protocol(true);
        let listener = builder.bind().map_err(io_error)?;
        let listener = listener.tcp().map_err(io_error)?;
        let bound = listener.local_addr().map_err(io_error)?;
        let server = MqttServer::new(context.clone())
            .listener_by_id(listener, id)
            .build();
        let task = tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "an MQTT listener ended");
            }
        });
        let open = Open { transport, task };
        self.open.lock().insert(id, open);
        Ok((id, bound))
    }

    /// What a connection came through. Unknown ids (none is ever reused) count as TCP.
    pub(super) fn transport(&self, id: ListenerId) -> Transport {
        self.open
            .lock()
            .get(&id)
            .map_or(Transport::Tcp, |open| open.transport)
    }

    /// Closes them all; when this returns, their ports are free.
    pub(super) async fn close_all(&self, context: &ServerContext) {
        let open: Vec<_> = self.open.lock().drain().collect();
        for (id, open) in open {
            open.task.abort();
            // The error says that it was aborted. The socket is closed once the task is gone.
            let _ = open.task.await;
            context.listen_cfgs.remove(&id);
        }
    }
}

/// The engine wraps what the socket said; we want the cause itself.
fn io_error(error: rmqtt::net::Error) -> io::Error {
    match error.downcast::<io::Error>() {
        Ok(cause) => cause,
        Err(other) => io::Error::other(other.to_string()),
    }
}
