//! What a client may do with its tokens, and how it brings new ones. A client whose token does not
//! do is told by `$SYS/tokenInvalidNotice` and then disconnected (documented); `watch.rs` does so.

use mqttstack_base::message::TopicFilter;
use mqttstack_base::secret::Secret;
use mqttstack_broker::dialect::{Peer, PublishVerdict, SubscribeVerdict};
use serde::Deserialize;

use super::ApsaraMqtt;
use super::watch::Order;
use crate::store::custom::Access;
use crate::store::session::{Held, Holder, Mode, Session};
use crate::store::token::{Fault, Rights};
use crate::topic::p2p_parent;

/// Where a client that is connected with tokens brings new ones.
pub(super) const UPLOAD_TOKEN: &str = "$SYS/uploadToken";

/// The payload of an upload. The vendor's table of fields and its samples spell it both ways.
#[derive(Deserialize)]
struct Upload {
    #[serde(alias = "Token")]
    token: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Why a client may not do something.
#[derive(Debug)]
pub(super) struct Denial {
    /// In words, for the journal.
    pub(super) reason: String,
    /// Code and type of the notice that a client with tokens gets.
    pub(super) notice: Option<(i8, &'static str)>,
}

impl From<String> for Denial {
    fn from(reason: String) -> Self {
        Self {
            reason,
            notice: None,
        }
    }
}

impl ApsaraMqtt {
    /// Whether one of the tokens allows it.
    pub(super) fn check_tokens(
        &self,
        instance: &str,
        held: &[Held],
        access: Access,
        filter: &str,
    ) -> Result<(), Denial> {
        let Some(first) = held.first() else {
            return Err("the client has brought no token yet".to_owned().into());
        };
        let mut denial = Denial {
            reason: format!("no token of the client allows {access:?} at all"),
            notice: Some((Fault::PERMISSION_TYPE, first.rights.as_str())),
        };
        for held in held {
            let rights = match access {
                Access::Publish => held.rights.write,
                Access::Subscribe => held.rights.read,
            };
            if !rights {
                continue;
            }
            let kind = held.rights.as_str();
            let now = self.clock.now();
            let tokens = &self.store.tokens;
            match tokens.check(held.text.expose(), instance, held.rights, now) {
                Ok(token) if token.covers(filter) => return Ok(()),
                // P2P: the permission on the parent topic is what counts (documented).
                Ok(token) if p2p_parent(filter).is_some_and(|parent| token.covers(parent)) => {
                    return Ok(());
                }
                Ok(token) => {
                    let names: Vec<_> = token.resources.iter().map(TopicFilter::as_str).collect();
                    denial = Denial {
                        reason: format!("the client's {kind} token is for {}", names.join(", ")),
                        notice: Some((Fault::RESOURCE, kind)),
                    };
                }
                Err(fault) => {
                    denial = Denial {
                        reason: format!("the client's {kind} token: {fault}"),
                        notice: Some((fault.code(), kind)),
                    };
                }
            }
        }
        Err(denial)
    }

    /// Takes a new token, or has the connection closed.
    pub(super) fn upload(&self, peer: &Peer, payload: &[u8]) -> PublishVerdict {
        let session = self.store.sessions.get(&peer.client_id);
        let Some(Session {
            instance,
            mode: Mode::Token(holder),
            ..
        }) = session
        else {
            return PublishVerdict::Refuse {
                code: super::UNSUPPORTED,
                reason: "only a client that is connected with tokens may upload one".to_owned(),
            };
        };
        let upload: Option<Upload> = serde_json::from_slice(payload).ok();
        let read = upload.and_then(|upload| Some((Rights::from_type(&upload.kind)?, upload.token)));
        let Some((rights, text)) = read else {
            let reason =
                format!("an upload is {{\"token\": .., \"type\": \"R|W|RW\"}} on {UPLOAD_TOKEN}");
            return self.refuse_upload(peer, &reason, (Fault::Unknown.code(), "RW"));
        };
        match self.check_upload(&instance, &holder, rights, &text) {
            Ok(()) => {
                let held = Held {
                    rights,
                    text: Secret::new(text),
                    told: false,
                };
                self.store.sessions.replace_token(&peer.client_id, held);
                PublishVerdict::ConsumeSecret
            }
            Err(fault) => {
                let reason = format!("the uploaded token is not good: {fault}");
                self.refuse_upload(peer, &reason, (fault.code(), rights.as_str()))
            }
        }
    }

    fn check_upload(
        &self,
        instance: &str,
        holder: &Holder,
        rights: Rights,
        text: &str,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let token = self.store.tokens.check(text, instance, rights, now)?;
        match &holder.key_id {
            Some(key_id) => self.check_account(&token.owner, key_id),
            None => Ok(()),
        }
    }

    /// Whether a token may be presented by a client of this access key. Who called with a bearer
    /// token has none to compare, and an STS key is a temporary one of an account that nothing
    /// here names.
    pub(super) fn check_account(&self, owner: &str, key_id: &str) -> Result<(), Fault> {
        if owner == key_id || !self.authenticator.is_accounts_own(owner) {
            return Ok(());
        }
        Err(Fault::Account {
            owner: owner.to_owned(),
            key_id: key_id.to_owned(),
        })
    }

    fn refuse_upload(
        &self,
        peer: &Peer,
        reason: &str,
        notice: (i8, &'static str),
    ) -> PublishVerdict {
        self.deny_publish(
            peer,
            Denial {
                reason: reason.to_owned(),
                notice: Some(notice),
            },
        )
    }

    /// Closes the connection; a client that has a notice coming gets it first, and no
    /// acknowledgement.
    pub(super) fn deny_publish(&self, peer: &Peer, denial: Denial) -> PublishVerdict {
        let Denial { reason, notice } = denial;
        match notice {
            Some(notice) if self.order(peer, &reason, notice) => {
                PublishVerdict::Withhold { reason }
            }
            _ => {
                self.store.sessions.deny(&peer.client_id);
                PublishVerdict::Close { reason }
            }
        }
    }

    /// The same of a subscription.
    pub(super) fn deny_subscribe(&self, peer: &Peer, denial: Denial) -> SubscribeVerdict {
        let Denial { reason, notice } = denial;
        let told = notice.is_some_and(|notice| self.order(peer, &reason, notice));
        if !told {
            self.store.sessions.deny(&peer.client_id);
        }
        SubscribeVerdict::Withhold {
            close: !told,
            reason,
        }
    }

    /// Has a client told and disconnected; false if nobody does so any more.
    fn order(&self, peer: &Peer, reason: &str, (code, kind): (i8, &'static str)) -> bool {
        let order = Order {
            client_id: peer.client_id.clone(),
            code,
            kind,
            reason: reason.to_owned(),
        };
        self.orders.send(order).is_ok()
    }
}
