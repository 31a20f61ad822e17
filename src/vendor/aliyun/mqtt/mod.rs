//! The MQTT side: who may connect (`credentials.rs`, its mistakes named by `diagnosis.rs`), and
//! what a connected client may publish and subscribe to. Tokens end while clients are connected;
//! `watch.rs` tells them so. Permission failures close the connection, as the vendor documents.

mod credentials;
mod diagnosis;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::mpsc;

use self::credentials::Claimed;
use self::watch::Order;
use super::auth::Authenticator;
use super::client_id::ClientId;
use super::settings::Settings;
use super::store::custom::Access;
use super::store::session::{Event, Held, Mode, Session};
use super::store::token::{Fault, Rights};
use super::store::{Store, Unknown};
use super::topic::{self, Topic};
use crate::broker::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish, PublishVerdict,
    SubscribeVerdict,
};
use crate::broker::message::{Qos, TopicFilter};
use crate::clock::Clock;
use crate::exchange::Surface;
use crate::ids::Ids;
use crate::secret::Secret;

pub(super) use self::watch::{Guard, Watch, start};

/// The longest keep-alive in seconds (documented: 8 minutes).
const MAX_KEEP_ALIVE: u16 = 480;

/// Where a client that is connected with tokens brings new ones.
const UPLOAD_TOKEN: &str = "$SYS/uploadToken";

/// MQTT 5: Implementation specific error.
const UNSUPPORTED: u8 = 0x83;

/// MQTT 5: Shared Subscriptions not supported.
const NO_SHARED_SUBSCRIPTIONS: u8 = 0x9E;

/// The dialect.
pub(super) struct ApsaraMqtt {
    pub(super) settings: Arc<Settings>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

/// The payload of an upload.
#[derive(Deserialize)]
struct Upload {
    token: String,
    #[serde(rename = "type")]
    kind: String,
}

fn not_authorized(reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code: ConnectCode::NotAuthorized,
        reason: reason.into(),
    }
}

impl ApsaraMqtt {
    /// Who it is and by what right, or why not.
    fn admit(&self, connect: &Connect, claimed: &Claimed<'_>) -> Result<Mode, ConnectRefusal> {
        // The standard has a code for a bad client id; the engine cannot send it.
        let client = ClientId::parse(&connect.client_id).map_err(not_authorized)?;
        let instance = claimed.instance();
        if let Some(named) = credentials::instance_of_server_name(connect)
            && named != instance
        {
            return Err(not_authorized(format!(
                "the user name is for instance {instance:?}, the TLS server name for {named:?}"
            )));
        }
        let now = self.clock.now();
        if self.store.use_instance(instance, now).is_err() {
            return Err(not_authorized(format!(
                "instance {instance:?} is not configured and aliyun.auto_create is off"
            )));
        }
        let mode = self.prove(connect, claimed)?;
        let black = (instance.to_owned(), connect.client_id.clone());
        if self.store.custom.black.get(&black).is_some() {
            return Err(not_authorized(
                "the client id is on the instance's blacklist",
            ));
        }
        match self.store.use_group(instance, client.group, now) {
            Ok(()) => Ok(mode),
            Err(Unknown::DeletedGroup) => Err(not_authorized(format!(
                "group {:?} was deleted",
                client.group
            ))),
            Err(_) => Err(not_authorized(format!(
                "instance {instance:?} has no group {:?} and aliyun.auto_create is off",
                client.group
            ))),
        }
    }

    fn event(&self, client_id: &str, session: &Session, action: &'static str, info: &'static str) {
        self.store.sessions.record(Event {
            time: self.clock.now(),
            instance: session.instance.clone(),
            client_id: client_id.to_owned(),
            action,
            info,
            channel: session.channel.clone(),
        });
    }

    /// Whether the client may, and if not, why not.
    fn check_access(&self, peer: &Peer, access: Access, filter: &str) -> Result<(), String> {
        let Some(session) = self.store.sessions.get(&peer.client_id) else {
            return Err("the client's session is gone".to_owned());
        };
        let now = self.clock.now();
        let parent = filter.split('/').next().unwrap_or_default();
        self.store
            .use_topic(&session.instance, parent, now)
            .map_err(|_| {
                format!(
                    "parent topic {parent:?} is not configured for instance {:?} and \
                     aliyun.auto_create is off",
                    session.instance
                )
            })?;
        match &session.mode {
            Mode::Owner => Ok(()),
            Mode::Token(held) => self.check_tokens(&session, held, access, filter),
            Mode::Custom(username) => self.store.custom.permits(
                &session.instance,
                username,
                &peer.client_id,
                access,
                filter,
            ),
        }
    }

    /// Whether one of the tokens allows it.
    fn check_tokens(
        &self,
        session: &Session,
        held: &[Held],
        access: Access,
        filter: &str,
    ) -> Result<(), String> {
        let mut why = format!("no token of the client allows {access:?} at all");
        for held in held {
            let rights = match access {
                Access::Publish => held.rights.write,
                Access::Subscribe => held.rights.read,
            };
            if !rights {
                continue;
            }
            let text = held.text.expose();
            let checked =
                self.store
                    .tokens
                    .check(text, &session.instance, held.rights, self.clock.now());
            match checked {
                Ok(token) if token.covers(filter) => return Ok(()),
                // P2P: the permission on the parent topic is what counts (documented).
                Ok(token) if is_p2p(filter) && token.covers(parent(filter)) => return Ok(()),
                Ok(token) => {
                    let names: Vec<_> = token.resources.iter().map(TopicFilter::as_str).collect();
                    why = format!(
                        "the client's {} token is for {}",
                        held.rights.as_str(),
                        names.join(", ")
                    );
                }
                Err(fault) => {
                    why = format!("the client's {} token: {fault}", held.rights.as_str());
                }
            }
        }
        Err(why)
    }

    /// Takes a new token, or has the connection closed.
    fn upload(&self, peer: &Peer, payload: &[u8]) -> PublishVerdict {
        let session = self.store.sessions.get(&peer.client_id);
        let Some(Session {
            instance,
            mode: Mode::Token(_),
            ..
        }) = session
        else {
            return PublishVerdict::Refuse {
                code: UNSUPPORTED,
                reason: "only a client that is connected with tokens may upload one".to_owned(),
            };
        };
        let upload: Option<Upload> = serde_json::from_slice(payload).ok();
        let read = upload.and_then(|upload| Some((Rights::from_type(&upload.kind)?, upload.token)));
        let Some((rights, text)) = read else {
            return self.invalid(peer, Fault::Unknown.code(), "RW");
        };
        let now = self.clock.now();
        match self.store.tokens.check(&text, &instance, rights, now) {
            Ok(_) => {
                let held = Held {
                    rights,
                    text: Secret::new(text),
                    told: false,
                };
                self.store.sessions.replace_token(&peer.client_id, held);
                PublishVerdict::ConsumeSecret
            }
            Err(fault) => self.invalid(peer, fault.code(), rights.as_str()),
        }
    }

    /// The client is told that its token is not good, and its connection is closed.
    fn invalid(&self, peer: &Peer, code: i8, kind: &'static str) -> PublishVerdict {
        let order = Order {
            client_id: peer.client_id.clone(),
            code,
            kind,
        };
        match self.orders.send(order) {
            Ok(()) => PublishVerdict::ConsumeSecret,
            Err(_) => PublishVerdict::Close {
                reason: format!("the uploaded token is not good (code {code})"),
            },
        }
    }
}

fn parent(filter: &str) -> &str {
    filter.split('/').next().unwrap_or_default()
}

fn is_p2p(filter: &str) -> bool {
    filter.split('/').nth(1) == Some("p2p")
}

/// The vendor's words for the end of a connection, from the engine's.
fn words(reason: &str) -> (&'static str, &'static str) {
    let has = |part: &str| reason.contains(part);
    if has("DISCONNECT") || has("Disconnect") {
        ("disconnect", "disconnected by client")
    } else if has("RemoteClose") {
        ("close", "closed by client")
    } else if has("KeepaliveTimeout") {
        ("close", "no heart")
    } else if has("ReadWrite") {
        ("close", "Socket IOException")
    } else if has("rotocol") || has("ecode") {
        ("close", "invalid param")
    } else {
        ("close", "resource auth failed")
    }
}

#[async_trait]
impl Dialect for ApsaraMqtt {
    fn surface(&self) -> Surface {
        Surface::Aliyun
    }

    fn claims(&self, connect: &Connect) -> bool {
        self.claims_connect(connect)
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let claimed = self.read_claim(connect)?;
        let mut session = Session {
            instance: claimed.instance().to_owned(),
            mode: Mode::Owner,
            channel: self.ids.upper_hex::<16>().to_ascii_lowercase(),
        };
        let client_id = &connect.client_id;
        session.mode = self.admit(connect, &claimed).inspect_err(|_| {
            self.event(client_id, &session, "close", "not authorized");
        })?;
        let grant = Grant {
            surface: Some(Surface::Aliyun),
            tenant: Some(session.instance.clone()),
            identity: claimed.identity().to_owned(),
            max_keep_alive: Some(MAX_KEEP_ALIVE),
            limits: Limits::default(),
        };
        if let Some(displaced) = self.store.sessions.open(client_id, session.clone()) {
            self.event(client_id, &displaced, "close", "clientId conflict");
        }
        self.event(client_id, &session, "connect", "accepted");
        Ok(grant)
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if publish.will {
            return PublishVerdict::Refuse {
                code: UNSUPPORTED,
                reason: "ApsaraMQ for MQTT does not support will messages".to_owned(),
            };
        }
        if publish.topic == UPLOAD_TOKEN {
            return self.upload(peer, publish.payload);
        }
        let topic = match Topic::parse(publish.topic, &self.settings) {
            Ok(topic) => topic,
            Err(reason) => return PublishVerdict::Close { reason },
        };
        if let Err(reason) = self.check_access(peer, Access::Publish, publish.topic) {
            return PublishVerdict::Close { reason };
        }
        match topic.target() {
            Some(client_id) => PublishVerdict::DeliverTo(client_id.to_owned()),
            // Retained messages are not supported (documented); that the flag is ignored instead
            // of refused is assumed.
            None if publish.retain => PublishVerdict::AllowUnretained,
            None => PublishVerdict::Allow,
        }
    }

    fn subscribe(&self, peer: &Peer, filter: &str, qos: Qos) -> SubscribeVerdict {
        if filter.starts_with("$share/") {
            let reason = "ApsaraMQ for MQTT does not support shared subscriptions".to_owned();
            // Which of the two a client meets is not documented.
            return if peer.protocol_version >= 5 {
                SubscribeVerdict::Refuse {
                    code: NO_SHARED_SUBSCRIPTIONS,
                    reason,
                }
            } else {
                SubscribeVerdict::Close { reason }
            };
        }
        let allowed = topic::parent_of_filter(filter, &self.settings)
            .and_then(|_| self.check_access(peer, Access::Subscribe, filter));
        match allowed {
            Ok(()) => SubscribeVerdict::Allow(qos),
            Err(reason) => SubscribeVerdict::Close { reason },
        }
    }

    /// Offline messages are those of QoS 1 only (documented).
    fn keeps_offline(&self, _peer: &Peer, qos: Qos) -> bool {
        qos == Qos::AtLeastOnce
    }

    fn disconnected(&self, peer: &Peer, reason: &str) {
        if let Some(session) = self.store.sessions.end(&peer.client_id) {
            let (action, info) = words(reason);
            self.event(&peer.client_id, &session, action, info);
        }
    }
}
