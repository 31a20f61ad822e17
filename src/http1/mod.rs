//! The HTTP/1 connection loop, ours because vendors differ in what the usual stacks decide for
//! everybody: header order, missing Host, request lines of 200 KB, broken answers on purpose.
//! `head.rs` reads a head, `body.rs` a body, `write.rs` writes an answer; [`serve`] ties them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::exchange::{Answer, BodyPolicy, Head, Request, Scheme};

/// Bounds of one connection. All of them are in force at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request target in bytes (default 256 KiB).
    pub max_target: usize,
    /// The longest head in bytes, request line included (default 320 KiB).
    pub max_head: usize,
    /// How long a head may take from its first byte, in milliseconds (default 10,000).
    pub head_timeout_ms: u64,
    /// How long a body may take, in milliseconds (default 30,000).
    pub body_timeout_ms: u64,
    /// How long a connection may wait for its next request, in milliseconds (default 60,000).
    pub idle_timeout_ms: u64,
    /// How long writing an answer may stand still, in milliseconds (default 30,000).
    pub write_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_target: 256 << 10,
            max_head: 320 << 10,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
        }
    }
}

/// What the loop asks of whoever answers.
pub trait Handler: Send + Sync + 'static {
    /// How to read the body that belongs to this head.
    fn body_policy(&self, head: &Head) -> BodyPolicy;

    /// Answers one request, a malformed one too (`request.malformed`).
    fn handle(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The sender's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The client's certificate chain in DER, leaf first.
    pub certificates: Arc<[Bytes]>,
}
