//! Who may connect, publish and subscribe: puts the engine's questions to the client's dialect,
//! tells the journal of every refusal, and turns the verdicts into the engine's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use rmqtt::codec::v5::{PublishAckReason, SubscribeAckReason};
use rmqtt::context::ServerContext;
use rmqtt::net::MqttError;
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, From as Sender, FromType, Id, Message as SessionMessage, Publish,
    PublishAclResult, PublishResult, Reason, SubRelations, Subscribe, SubscribeReturn,
};

use super::super::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Peer, Publish as PublishQuestion,
    PublishVerdict, Refused, SubscribeVerdict,
};
use super::super::gate::Key;
use super::super::message::Publication;
use super::super::outbox::ConnectionKey;
use super::routing::To;
use super::{Core, convert, matching, routing, tenant};

/// The topic under which a message that goes to nobody passes the engine: no client can publish
/// to a name with U+0000.
pub(super) const TO_NOBODY: &str = "\0";

/// Who is connected as what, and the verdicts between two of the engine's questions.
#[derive(Default)]
pub(super) struct Doors {
    pub dialects: RwLock<Vec<Arc<dyn Dialect>>>,
    /// By client id; the key tells a client's connections apart.
    peers: RwLock<HashMap<ByteString, (ConnectionKey, Arc<Peer>)>>,
    /// The engine asks twice about a publish, first for changes, then for permission; a client's
    /// own task asks one after the other.
    publishing: Mutex<HashMap<ByteString, PublishVerdict>>,
    /// Who a permitted publish goes to, until it is routed: a shared subscription's choice must
    /// be made once.
    routes: Mutex<HashMap<ByteString, SubRelations>>,
}

impl Doors {
    pub(super) fn peer(&self, client_id: &str) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        peers.get(client_id).map(|(_, peer)| peer.clone())
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
            self.routes.lock().remove(&id.client_id);
        }
    }

    fn permitted(&self, client_id: ByteString, relations: SubRelations) {
        self.routes.lock().insert(client_id, relations);
    }

    /// Who the publish goes to that a client was just permitted; nothing is known of a will.
    pub(super) fn asked(&self, sender: &Sender) -> Option<SubRelations> {
        if matches!(sender.typ(), FromType::LastWill) {
            return None;
        }
        self.routes.lock().remove(&sender.client_id)
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
    fn regrant(&self, client_id: &str, grant: Grant) {
        if let Some((_, peer)) = self.peers.write().get_mut(client_id) {
            *peer = Arc::new(Peer {
                grant: Arc::new(grant),
                ..Peer::clone(peer)
            });
        }
    }

    fn claimant(&self, connect: &Connect) -> Option<Arc<dyn Dialect>> {
        let dialects = self.dialects.read();
        dialects
            .iter()
            .find(|dialect| dialect.claims(connect))
            .cloned()
    }
}

/// Tells one connection of a client id from its others.
pub(super) fn connection_key(id: &Id) -> ConnectionKey {
    ConnectionKey(id.remote_addr, id.create_time)
}

/// What the gate calls a connection; `None` for one that has no address.
fn gate_key(id: &Id) -> Option<Key> {
    id.remote_addr.map(|peer| (id.lid(), peer))
}

/// What a CONNECT says, in our words.
fn question(core: &Core, info: &ConnectInfo) -> Connect {
    let id = info.id();
    let transport = core.listeners.transport(id.lid());
    let known = gate_key(id).and_then(|key| core.visitors.find(key));
    let (visitor, authentication) = known.unwrap_or_default();
    let (method, data) =
        authentication.map_or((None, None), |asked| (Some(asked.method), asked.data));
    Connect {
        client_id: id.client_id.to_string(),
        username: info.username().map(ToString::to_string),
        password: info.password().cloned(),
        protocol_version: info.proto_ver(),
        clean_start: info.clean_start(),
        keep_alive: info.keep_alive(),
        will: convert::will(info),
        transport,
        peer: info.ipaddress(),
        tls: visitor,
        authentication_method: method,
        authentication_data: data,
    }
}

pub(super) async fn connect(core: &Core, info: &ConnectInfo) -> AuthResult {
    let connect = question(core, info);
    let dialect = core.doors.claimant(&connect);
    let key = gate_key(info.id());
    let verdict = match &dialect {
        Some(dialect) => dialect.connect(&connect).await,
        None if connect.authentication_method.is_some() => {
            key.inspect(|&key| core.visitors.refuse_method(key));
            Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: "no vendor knows the authentication method".into(),
            })
        }
        None if core.settings.open_clients => open_grant(core, &connect),
        None => Err(ConnectRefusal {
            code: ConnectCode::NotAuthorized,
            reason: "no vendor's credentials, and open_clients is false".into(),
        }),
    };
    match verdict {
        Ok(grant) => {
            key.inspect(|&key| core.visitors.accepted(key, &connect));
            let peer = Peer {
                client_id: connect.client_id,
                grant: Arc::new(grant),
                protocol_version: connect.protocol_version,
            };
            let id = info.id();
            let entry = (connection_key(id), Arc::new(peer));
            core.doors.peers.write().insert(id.client_id.clone(), entry);
            AuthResult::Allow(false, None)
        }
        Err(refusal) => {
            core.refused(Refused {
                surface: dialect.map(|dialect| dialect.surface()),
                packet: "CONNECT",
                identity: connect.username.clone(),
                topic: None,
                code: refusal.code.code(connect.protocol_version),
                reason: refusal.reason,
                client_id: connect.client_id,
            });
            match refusal.code {
                ConnectCode::BadUserNameOrPassword => AuthResult::BadUsernameOrPassword,
                ConnectCode::NotAuthorized => AuthResult::NotAuthorized,
            }
        }
    }
}

/// Puts a client's new authentication data to its dialect.
pub(super) async fn reauthenticate(
    core: &Core,
    key: Key,
    data: Option<Bytes>,
) -> Result<(), ConnectRefusal> {
    let refusal = |reason: &str| ConnectRefusal {
        code: ConnectCode::NotAuthorized,
        reason: reason.into(),
    };
    let mut connect = core
        .visitors
        .connect(key)
        .ok_or_else(|| refusal("the CONNECT has not been answered yet"))?;
    connect.authentication_data = data;
    let peer = core.doors.peer(&connect.client_id);
    let asked = peer.and_then(|peer| Some((core.doors.dialect(&peer)?, peer)));
    let (dialect, peer) = asked.ok_or_else(|| refusal("the session has ended"))?;
    let verdict = dialect.reauthenticate(&peer, &connect).await;
    match verdict {
        Ok(grant) => {
            core.doors.regrant(&connect.client_id, grant);
            Ok(())
        }
        Err(refusal) => {
            core.refused(Refused {
                surface: peer.grant.surface,
                packet: "AUTH",
                identity: Some(peer.grant.identity.clone()),
                topic: None,
                code: refusal.code.code(connect.protocol_version),
                reason: refusal.reason.clone(),
                client_id: connect.client_id,
            });
            Err(refusal)
        }
    }
}

fn open_grant(core: &Core, connect: &Connect) -> Result<Grant, ConnectRefusal> {
    let tenant = tenant::chosen(core, connect.username.as_deref());
    let tenant = tenant.map_err(|reason| ConnectRefusal {
        code: ConnectCode::BadUserNameOrPassword,
        reason,
    })?;
    Ok(Grant {
        surface: None,
        tenant,
        identity: connect.username.clone().unwrap_or_default(),
        max_keep_alive: None,
    })
}

fn open_verdict(core: &Core, publish: &Publish) -> PublishVerdict {
    let topic: &str = &publish.topic;
    if core
        .denied
        .publish
        .iter()
        .any(|denied| denied.matches(topic))
    {
        return PublishVerdict::Refuse {
            code: PublishAckReason::NotAuthorized.into(),
            reason: "mqtt.deny_publish refuses this topic to open clients".into(),
        };
    }
    PublishVerdict::Allow
}

/// The engine's first question about a publish: the packet to go on with, if it is another.
pub(super) fn publish(
    core: &Arc<Core>,
    context: &ServerContext,
    session: &Session,
    sender: &Sender,
    packet: &Publish,
) -> Option<Publish> {
    let client_id = &session.id.client_id;
    let will = matches!(sender.typ(), FromType::LastWill);
    let peer = core.doors.peer(client_id)?;
    let verdict = match core.doors.dialect(&peer) {
        None => open_verdict(core, packet),
        Some(dialect) => dialect.publish(
            &peer,
            &PublishQuestion {
                topic: &packet.topic,
                payload: &packet.payload,
                qos: convert::qos(packet.qos),
                retain: packet.retain,
                properties: &convert::properties(packet),
                will,
            },
        ),
    };
    let mut changed = packet.clone();
    match &verdict {
        PublishVerdict::Allow => return None,
        PublishVerdict::AllowUnretained => changed.retain = false,
        PublishVerdict::Consume(replies) => {
            routing::keep_consumed(core, sender, packet);
            answer(core, context, client_id, replies.clone());
            changed.retain = false;
            changed.topic = ByteString::from_static(TO_NOBODY);
        }
        PublishVerdict::Refuse { code, reason } => {
            refused_publish(core, &peer, packet, *code, reason);
            // Nobody asks for permission for a will, so this is where it ends.
            changed.topic = ByteString::from_static(TO_NOBODY);
        }
        PublishVerdict::Close { reason } => {
            refused_publish(
                core,
                &peer,
                packet,
                PublishAckReason::NotAuthorized.into(),
                reason,
            );
            changed.topic = ByteString::from_static(TO_NOBODY);
        }
    }
    if !will {
        core.doors
            .publishing
            .lock()
            .insert(client_id.clone(), verdict);
    }
    Some(changed)
}

fn refused_publish(core: &Core, peer: &Peer, packet: &Publish, code: u8, reason: &str) {
    core.refused(Refused {
        surface: peer.grant.surface,
        packet: "PUBLISH",
        client_id: peer.client_id.clone(),
        identity: Some(peer.grant.identity.clone()),
        topic: Some(tenant::bare(&packet.topic).into_owned()),
        code,
        reason: reason.to_owned(),
    });
}

/// Sends the service's answers to a client, from a task of their own: the client's own task is
/// the one that must write them.
fn answer(core: &Arc<Core>, context: &ServerContext, client_id: &str, replies: Vec<Publication>) {
    if replies.is_empty() {
        return;
    }
    let (core, context, client_id) = (core.clone(), context.clone(), client_id.to_owned());
    tokio::spawn(async move {
        for reply in replies {
            if let Err(refusal) =
                routing::publish(&core, &context, reply, To::Client(&client_id)).await
            {
                tracing::warn!(client_id, %refusal, "could not answer a client");
            }
        }
    });
}

/// The engine's second question about a publish: permission, and room at its subscribers.
pub(super) async fn permission(
    core: &Core,
    context: &ServerContext,
    session: &Session,
    packet: &Publish,
) -> PublishAclResult {
    let client_id = &session.id.client_id;
    match core.doors.publishing.lock().remove(client_id) {
        None | Some(PublishVerdict::Allow | PublishVerdict::AllowUnretained) => {}
        Some(PublishVerdict::Consume(_)) => return PublishAclResult::allow(),
        Some(PublishVerdict::Refuse { code, reason }) => return refuse(code, reason, false),
        Some(PublishVerdict::Close { reason }) => {
            return refuse(PublishAckReason::NotAuthorized.into(), reason, true);
        }
    }
    let sender = Sender::from_custom(session.id.clone());
    let relations = matching::matches(context, &sender, &packet.topic).await;
    let targets = routing::waited_for(core, packet, &relations);
    core.doors.permitted(client_id.clone(), relations);
    if targets.is_empty() {
        return PublishAclResult::allow();
    }
    let own = core.outboxes.of(client_id);
    let Err(refusal) = core.outboxes.wait_for_room(&targets, Some(&own)).await else {
        return PublishAclResult::allow();
    };
    if let Some(peer) = core.doors.peer(client_id) {
        let code = PublishAckReason::QuotaExceeded.into();
        refused_publish(core, &peer, packet, code, &refusal.to_string());
    }
    // 3.x cannot refuse a publish; closing leaves it unacknowledged.
    let close = session.protocol().await.is_ok_and(|version| version < 5);
    refuse(
        PublishAckReason::QuotaExceeded.into(),
        refusal.to_string(),
        close,
    )
}

fn refuse(code: u8, reason: String, close: bool) -> PublishAclResult {
    let code = PublishAckReason::try_from(code).unwrap_or(PublishAckReason::UnspecifiedError);
    PublishAclResult(PublishResult::reason_code(code, Some(reason.into()), close))
}

/// Whether a filter is refused; `None` if it is granted as it is.
pub(super) async fn subscribe(
    core: &Core,
    context: &ServerContext,
    session: &Session,
    subscribe: &Subscribe,
) -> Option<SubscribeReturn> {
    let peer = core.doors.peer(&session.id.client_id)?;
    let bare = tenant::bare(&subscribe.topic_filter);
    let filter = match subscribe.opts.shared_group() {
        Some(group) => format!("$share/{group}/{bare}"),
        None => bare.to_string(),
    };
    let asked = convert::qos(subscribe.opts.qos());
    let verdict = match core.doors.dialect(&peer) {
        Some(dialect) => dialect.subscribe(&peer, &filter, asked),
        None => open_subscribe(core, &bare, asked),
    };
    let (code, reason, close) = match verdict {
        SubscribeVerdict::Allow(granted) => {
            let granted = convert::engine_qos(granted.min(asked));
            return Some(SubscribeReturn::new_success(granted, None));
        }
        SubscribeVerdict::Refuse { code, reason } => (code, reason, false),
        SubscribeVerdict::Close { reason } => {
            (SubscribeAckReason::NotAuthorized.into(), reason, true)
        }
    };
    core.refused(Refused {
        surface: peer.grant.surface,
        packet: "SUBSCRIBE",
        client_id: peer.client_id.clone(),
        identity: Some(peer.grant.identity.clone()),
        topic: Some(filter),
        code,
        reason: reason.clone(),
    });
    if close {
        self::close(context, &session.id, reason).await;
    }
    let code = SubscribeAckReason::try_from(code).unwrap_or(SubscribeAckReason::UnspecifiedError);
    Some(SubscribeReturn::new_failure(code))
}

fn open_subscribe(core: &Core, filter: &str, qos: super::Qos) -> SubscribeVerdict {
    let denied = core
        .denied
        .subscribe
        .iter()
        .any(|denied| denied.as_str() == filter || denied.matches(filter));
    if denied {
        // 0x80 in both versions: what the interoperability suites expect of a refused filter.
        return SubscribeVerdict::Refuse {
            code: SubscribeAckReason::UnspecifiedError.into(),
            reason: "mqtt.deny_subscribe refuses this filter to open clients".into(),
        };
    }
    SubscribeVerdict::Allow(qos)
}

/// Asks a client's own task to close its connection once it has written what it is writing.
async fn close(context: &ServerContext, id: &Id, reason: String) {
    let entry = context.extends.shared().await.entry(id.clone());
    if let Some(sender) = entry.tx()
        && sender
            .unbounded_send(SessionMessage::Closed(Reason::MqttError(
                MqttError::PublishAckReason(PublishAckReason::NotAuthorized, reason.into()),
            )))
            .is_err()
    {
        tracing::debug!(%id, "the connection was gone before it could be closed");
    }
}

/// What an engine's session stands for, for a dialect's notices.
pub(super) fn notify(core: &Core, client_id: &str, tell: impl FnOnce(&dyn Dialect, &Peer)) {
    if let Some(peer) = core.doors.peer(client_id)
        && let Some(dialect) = core.doors.dialect(&peer)
    {
        tell(&*dialect, &peer);
    }
}

/// How many packets a client sent.
pub(super) fn count(core: &Core, session: &Session) {
    let outbox = core.outboxes.of(&session.id.client_id);
    outbox.tally.taken.fetch_add(1, Ordering::Relaxed);
}
