//! A way out of the broker beside its subscribers, for a vendor that takes messages further.
//! Unlike the journal, which forgets the oldest, an outlet sees every message, in the task of
//! whoever published it.

use std::pin::Pin;
use std::sync::Arc;

use super::dialect::Peer;
use super::message::Message;

/// Ends when an outlet has room again, or finds that it has been waited for long enough.
pub type WaitForRoom = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes every message that the broker took.
pub trait Outlet: Send + Sync {
    /// What a client's PUBLISH must wait for before it is taken, so that a slow outlet slows its
    /// publishers; `None` where there is room, as there always is in an outlet that waits for
    /// nobody.
    fn room(&self, _peer: &Peer) -> Option<WaitForRoom> {
        None
    }

    /// Takes a message, at once and without waiting, before the publisher is answered. `peer`
    /// is the client that published it, if it was one; `tenant` is that of its grant, or the one
    /// that a vendor has named to publish in.
    fn take(&self, message: &Arc<Message>, peer: Option<&Peer>, tenant: Option<&str>);
}
