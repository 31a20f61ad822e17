//! Who is connected as what, and which dialect each client has. Filled by `admission.rs`, asked by
//! `verdicts.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use rmqtt::types::Id;

use super::super::dialect::{Connect, Dialect, Grant, Peer, PublishVerdict};
use super::super::outbox::ConnectionKey;
use super::verdicts::connection_key;

/// Who is connected as what, and the verdicts between two of the engine's questions.
#[derive(Default)]
pub(super) struct Doors {
    pub(super) dialects: RwLock<Vec<Arc<dyn Dialect>>>,
    /// By client id; the key tells a client's connections apart.
    pub(super) peers: RwLock<HashMap<ByteString, (ConnectionKey, Arc<Peer>)>>,
    /// The engine asks twice about a publish, first for changes, then for permission; a client's
    /// own task asks one after the other.
    pub(super) publishing: Mutex<HashMap<ByteString, PublishVerdict>>,
}

impl Doors {
    pub(super) fn peer(&self, client_id: &str) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        peers.get(client_id).map(|(_, peer)| peer.clone())
    }

    /// The same, unless a newer connection has taken this one's place.
    pub(super) fn peer_of(&self, id: &Id) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        let (key, peer) = peers.get(&id.client_id)?;
        (*key == connection_key(id)).then(|| peer.clone())
    }

    /// Forgets a client whose session is over, unless it has connected again meanwhile.
    pub(super) fn forget(&self, id: &Id) {
        let mut peers = self.peers.write();
        if peers
            .get(&id.client_id)
            .is_some_and(|(key, _)| *key == connection_key(id))
        {
            peers.remove(&id.client_id);
            self.publishing.lock().remove(&id.client_id);
        }
    }

    pub(super) fn dialect(&self, peer: &Peer) -> Option<Arc<dyn Dialect>> {
        let surface = peer.grant.surface?;
        let dialects = self.dialects.read();
        dialects
            .iter()
            .find(|dialect| dialect.surface() == surface)
            .cloned()
    }

    /// Gives a connected client another grant.
    pub(super) fn regrant(&self, client_id: &str, grant: Grant) {
        if let Some((_, peer)) = self.peers.write().get_mut(client_id) {
            *peer = Arc::new(Peer {
                grant: Arc::new(grant),
                ..Peer::clone(peer)
            });
        }
    }

    pub(super) fn claimant(&self, connect: &Connect) -> Option<Arc<dyn Dialect>> {
        let dialects = self.dialects.read();
        let claims = dialects.iter().find(|dialect| dialect.claims(connect));
        let resembles = || dialects.iter().find(|dialect| dialect.resembles(connect));
        claims.or_else(resembles).cloned()
    }
}
