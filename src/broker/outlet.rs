//! A way out of the broker beside its subscribers, for a vendor that takes messages further.
//! Unlike the journal, which forgets the oldest, an outlet sees every message, in the task of
//! whoever published it; the engine asks in `engine/routing.rs`.

use std::sync::Arc;

use async_trait::async_trait;

use super::dialect::Peer;
use super::message::Message;

/// Takes every message that the broker took.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// Waits until there is room for another message, no longer than the outlet finds right.
    /// Asked before a client's PUBLISH is taken, so that a slow outlet slows its publishers.
    async fn room(&self, peer: &Peer);

    /// Takes a message, at once and without waiting, before the publisher is answered. `peer`
    /// is the client that published it, if it was one.
    fn take(&self, message: &Arc<Message>, peer: Option<&Peer>);
}
