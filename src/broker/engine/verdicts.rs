//! Who may publish and subscribe: puts the engine's questions to the client's dialect, tells the
//! journal of every refusal, and turns the verdicts into the engine's. Who may connect is in
//! `admission.rs`.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytestring::ByteString;
use rmqtt::codec::v5::{PublishAckReason, SubscribeAckReason};
use rmqtt::context::ServerContext;
use rmqtt::net::MqttError;
use rmqtt::session::Session;
use rmqtt::types::{
    From as Sender, FromType, Id, Message as SessionMessage, Publish, PublishAclResult,
    PublishResult, Reason, Subscribe, SubscribeReturn,
};

use super::super::dialect::{
    Dialect, Feature, Peer, Publish as PublishQuestion, PublishVerdict, Refused, SubscribeVerdict,
};
use super::super::message::{Publication, Qos};
use super::super::outbox::ConnectionKey;
use super::super::visitors::Visit;
use super::routing::To;
use super::tenant::Scope;
use super::{Core, admission, convert, routing, tenant, validity};

/// The topic under which a message that goes to nobody passes the engine: no client can publish
/// to a name with U+0000.
pub(super) const TO_NOBODY: &str = "\0";

/// The reason code of a PUBLISH that ends its connection.
const NOT_AUTHORIZED: u8 = 0x87;

/// Tells one connection of a client id from its others.
pub(super) fn connection_key(id: &Id) -> ConnectionKey {
    ConnectionKey(id.remote_addr, id.create_time)
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
    let verdict = retainable(core, &peer, packet, verdict);
    let mut changed = packet.clone();
    match &verdict {
        PublishVerdict::Allow => return expiring(&peer, packet),
        PublishVerdict::AllowUnretained => changed.retain = false,
        PublishVerdict::DeliverTo(target) => {
            changed.retain = false;
            changed.target_clientid = Some(ByteString::from(target.as_str()));
        }
        PublishVerdict::Consume(replies) => {
            routing::keep_consumed(core, sender, packet);
            answer(core, context, client_id, replies.clone());
        }
        PublishVerdict::ConsumeSecret => routing::keep_secret(core, sender, packet),
        PublishVerdict::Refuse { code, reason } | PublishVerdict::Disconnect { code, reason } => {
            refused_publish(core, &peer, packet, *code, reason);
        }
        PublishVerdict::Withhold { reason } => {
            let code = PublishAckReason::UnspecifiedError.into();
            refused_publish(core, &peer, packet, code, reason);
            if let Some(packet_id) = packet.packet_id {
                admission::withhold(core, &session.id, |visit| visit.withhold(packet_id.get()));
            }
        }
        PublishVerdict::Close { reason } => {
            refused_publish(core, &peer, packet, NOT_AUTHORIZED, reason);
        }
    }
    let routed = matches!(
        verdict,
        PublishVerdict::AllowUnretained | PublishVerdict::DeliverTo(_)
    );
    if !routed {
        // Nobody asks for permission for a will, so this is where it ends.
        changed.retain = false;
        changed.topic = ByteString::from_static(TO_NOBODY);
    }
    if !will {
        core.doors
            .publishing
            .lock()
            .insert(client_id.clone(), verdict);
    }
    Some(changed)
}

/// The verdict, unless the message would be one more retained message than there may be.
fn retainable(
    core: &Core,
    peer: &Peer,
    packet: &Publish,
    verdict: PublishVerdict,
) -> PublishVerdict {
    let most = peer.grant.limits.retained_messages;
    let Some(most) = most.filter(|_| packet.retain && !packet.payload.is_empty()) else {
        return verdict;
    };
    let scope = Scope::of_client(core, peer);
    let topic = scope
        .as_ref()
        .map_or_else(|| packet.topic.clone(), |scope| scope.topic(&packet.topic));
    if !matches!(verdict, PublishVerdict::Allow)
        || !core.retained.is_full(&topic, scope.as_ref(), most)
    {
        return verdict;
    }
    let code = PublishAckReason::QuotaExceeded.into();
    let reason = format!("there are {most} retained messages, which are as many as there may be");
    if peer.protocol_version >= 5 && convert::qos(packet.qos) != Qos::AtMostOnce {
        PublishVerdict::Refuse { code, reason }
    } else {
        PublishVerdict::Disconnect { code, reason }
    }
}

/// A retained message with the life that its client's vendor gives it, if it is another.
fn expiring(peer: &Peer, packet: &Publish) -> Option<Publish> {
    let longest = NonZeroU32::new(peer.grant.limits.max_retained_expiry?)?;
    let own = packet.properties.as_ref();
    let own = own.and_then(|properties| properties.message_expiry_interval);
    let changes = match own {
        Some(own) => own > longest,
        None => peer.protocol_version < 5,
    };
    if !packet.retain || !changes {
        return None;
    }
    let mut changed = packet.clone();
    let properties = changed.properties.get_or_insert_default();
    properties.message_expiry_interval = Some(longest);
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
                routing::publish(&core, &context, reply, To::Client(&client_id, None)).await
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
        None
        | Some(
            PublishVerdict::Allow | PublishVerdict::AllowUnretained | PublishVerdict::DeliverTo(_),
        ) => {}
        Some(PublishVerdict::Consume(_) | PublishVerdict::ConsumeSecret) => {
            return PublishAclResult::allow();
        }
        Some(PublishVerdict::Refuse { code, reason }) => return refuse(code, reason, false),
        Some(PublishVerdict::Withhold { reason }) => {
            return refuse(PublishAckReason::UnspecifiedError.into(), reason, false);
        }
        Some(PublishVerdict::Close { reason }) => {
            return refuse(PublishAckReason::NotAuthorized.into(), reason, true);
        }
        Some(PublishVerdict::Disconnect { code, reason }) => return refuse(code, reason, true),
    }
    if let Some(peer) = core.doors.peer(client_id) {
        let outlets = core.outlets.read().clone();
        for outlet in outlets {
            outlet.room(&peer).await;
        }
    }
    let sender = Sender::from_custom(session.id.clone());
    let relations = routing::would_reach(core, context, &sender, packet).await;
    let targets = routing::waited_for(core, packet, &relations);
    if targets.is_empty() {
        return PublishAclResult::allow();
    }
    let own = core.outboxes.of(client_id);
    let Err(refusal) = core.outboxes.wait_for_room(&targets, Some(&own)).await else {
        return PublishAclResult::allow();
    };
    // 3.x cannot refuse a publish. Its publisher must not suffer for a subscriber that takes
    // nothing: everybody else gets the message, the journal says who did not.
    if session.protocol().await.is_ok_and(|version| version < 5) {
        return PublishAclResult::allow();
    }
    if let Some(peer) = core.doors.peer(client_id) {
        let code = PublishAckReason::QuotaExceeded.into();
        refused_publish(core, &peer, packet, code, &refusal.to_string());
    }
    let code = PublishAckReason::QuotaExceeded.into();
    refuse(code, refusal.to_string(), false)
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
    let group = subscribe.opts.shared_group();
    let filter = match group {
        Some(group) => format!("$share/{group}/{bare}"),
        None => bare.to_string(),
    };
    let asked = convert::qos(subscribe.opts.qos());
    let unavailable = &peer.grant.limits.unavailable;
    let verdict = match core.doors.dialect(&peer) {
        _ if group.is_some() && unavailable.contains(&Feature::SharedSubscription) => {
            SubscribeVerdict::Refuse {
                code: SubscribeAckReason::SharedSubscriptionNotSupported.into(),
                reason: "shared subscriptions are not available".into(),
            }
        }
        Some(dialect) => dialect.subscribe(&peer, &filter, asked),
        None => open_subscribe(core, &bare, asked),
    };
    let not_authorized = SubscribeAckReason::NotAuthorized.into();
    let (code, reason, close) = match verdict {
        SubscribeVerdict::Allow(_) if let Err(reason) = validity::filter(group, &bare) => {
            (SubscribeAckReason::TopicFilterInvalid.into(), reason, false)
        }
        SubscribeVerdict::Allow(_) if has_its_filters(core, &peer, subscribe) => (
            SubscribeAckReason::QuotaExceeded.into(),
            "the client is subscribed to as many filters as it may be".to_owned(),
            false,
        ),
        SubscribeVerdict::Allow(granted) => {
            let highest = peer.grant.limits.max_qos.unwrap_or(Qos::ExactlyOnce);
            let granted = convert::engine_qos(granted.min(asked).min(highest));
            return Some(SubscribeReturn::new_success(granted, None));
        }
        SubscribeVerdict::Refuse { code, reason } => (code, reason, false),
        SubscribeVerdict::Close { reason } => (not_authorized, reason, true),
        SubscribeVerdict::Withhold { close, reason } => {
            admission::withhold(core, &session.id, Visit::withhold_subacks);
            (not_authorized, reason, close)
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

/// Whether a client has as many filters as it may have, and this is a new one.
fn has_its_filters(core: &Core, peer: &Peer, subscribe: &Subscribe) -> bool {
    let Some(limit) = peer.grant.limits.filters_per_client else {
        return false;
    };
    let order = core.order.lock();
    let own = order.keys().filter(|(owner, _)| **owner == *peer.client_id);
    let mut count = 0;
    for (_, filter) in own {
        if *filter == subscribe.topic_filter {
            return false;
        }
        count += 1;
    }
    count >= limit
}

fn open_subscribe(core: &Core, filter: &str, qos: Qos) -> SubscribeVerdict {
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

/// Asks a client's own task to close its connection once it has written what it is writing;
/// false if there is no such task.
pub(super) async fn close(context: &ServerContext, id: &Id, reason: String) -> bool {
    let entry = context.extends.shared().await.entry(id.clone());
    let message = SessionMessage::Closed(Reason::MqttError(MqttError::PublishAckReason(
        PublishAckReason::NotAuthorized,
        reason.into(),
    )));
    entry
        .tx()
        .is_some_and(|sender| sender.unbounded_send(message).is_ok())
}

/// What an engine's session stands for, for a dialect's notices.
pub(super) fn notify(core: &Core, id: &Id, tell: impl FnOnce(&dyn Dialect, &Peer)) {
    if let Some(peer) = core.doors.peer_of(id)
        && let Some(dialect) = core.doors.dialect(&peer)
    {
        tell(&*dialect, &peer);
    }
}
