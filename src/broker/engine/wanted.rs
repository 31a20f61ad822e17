//! What of a topic filter's messages a client wants: the message filters that dialects grant with a
//! subscription (`dialect::MessageFilter`), and the user properties of SUBSCRIBE packets on their
//! way to the question that decides.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use rmqtt::types::{ClientId, From as Sender, Publish, TopicFilter};

use super::super::dialect::{MessageFilter, Publish as Question};
use super::{convert, tenant};

/// The user properties of a SUBSCRIBE.
pub(in crate::broker) type UserProperties = Arc<[(String, String)]>;

/// The filters of SUBSCRIBE packets that the engine has got and not asked about yet, in their
/// order, each with the packet's user properties.
#[derive(Default)]
pub(in crate::broker) struct Subscribing(Mutex<VecDeque<(String, UserProperties)>>);

impl Subscribing {
    /// A SUBSCRIBE goes to the engine.
    pub(super) fn sent(&self, filters: Vec<String>, properties: &UserProperties) {
        let filters = filters.into_iter();
        let entries = filters.map(|filter| (filter, properties.clone()));
        self.0.lock().extend(entries);
    }

    /// The engine asks about a filter. It passes over those that it cannot read.
    pub(super) fn asked(&self, filter: &str) -> Option<UserProperties> {
        let mut sent = self.0.lock();
        let at = sent.iter().position(|(known, _)| known == filter)?;
        sent.drain(..=at)
            .next_back()
            .map(|(_, properties)| properties)
    }
}

/// The message filters by client and by topic filter, as it stands in the engine.
#[derive(Default)]
pub(super) struct Wanted(RwLock<HashMap<(ClientId, TopicFilter), Arc<dyn MessageFilter>>>);

impl Wanted {
    /// A subscription has been granted, with or without a filter.
    pub(super) fn set(
        &self,
        client_id: &ByteString,
        filter: &ByteString,
        wanted: Option<Arc<dyn MessageFilter>>,
    ) {
        let key = (client_id.clone(), filter.clone());
        match wanted {
            Some(wanted) => _ = self.0.write().insert(key, wanted),
            None => self.forget(&key),
        }
    }

    /// A subscription is no more.
    pub(super) fn forget(&self, key: &(ClientId, TopicFilter)) {
        if self.0.read().contains_key(key) {
            self.0.write().remove(key);
        }
    }

    /// A session is no more.
    pub(super) fn forget_client(&self, client_id: &ByteString) {
        if !self.0.read().is_empty() {
            self.0.write().retain(|(owner, _), _| owner != client_id);
        }
    }

    pub(super) fn find(
        &self,
        client_id: &ByteString,
        filter: &ByteString,
    ) -> Option<Arc<dyn MessageFilter>> {
        let all = self.0.read();
        if all.is_empty() {
            return None;
        }
        all.get(&(client_id.clone(), filter.clone())).cloned()
    }
}

/// Whether a filter takes a packet of this publisher.
pub(super) fn takes(filter: &dyn MessageFilter, sender: &Sender, packet: &Publish) -> bool {
    let client_id = &*sender.client_id;
    filter.takes(&Question {
        client_id: (!client_id.is_empty()).then_some(client_id),
        topic: &tenant::bare(&packet.topic),
        payload: &packet.payload,
        qos: convert::qos(packet.qos),
        retain: packet.retain,
        properties: &convert::properties(packet),
        will: matches!(sender.typ(), rmqtt::types::FromType::LastWill),
    })
}
