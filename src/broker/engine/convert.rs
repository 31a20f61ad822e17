//! Our values from and to the engine's.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use rmqtt::codec::types::Publish as Packet;
use rmqtt::codec::v5::{PublishProperties, RetainHandling};
use rmqtt::context::ServerContext;
use rmqtt::types::{
    ConnectInfo, From as Sender, FromType, Id, LastWill, Publish, QoS, SubsSearchResult,
};

use super::super::message::{
    Client, Origin, OriginKind, Properties, Publication, Qos, Subscription, Will,
};
use super::{Core, tenant};
use crate::secret::shown_user;

pub(super) fn engine_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

pub(super) fn qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// The engine's form of a publication. Properties are always present: without them the engine
/// loses a subscription's identifier.
pub(super) fn publish(publication: &Publication, now_ms: i64) -> Publish {
    let properties = &publication.properties;
    let packet = Packet {
        dup: false,
        retain: publication.retain,
        qos: engine_qos(publication.qos),
        topic: ByteString::from(publication.topic.as_str()),
        packet_id: None,
        payload: publication.payload.clone(),
        properties: Some(PublishProperties {
            topic_alias: None,
            correlation_data: properties.correlation_data.clone(),
            message_expiry_interval: properties.message_expiry_interval.and_then(NonZeroU32::new),
            content_type: properties.content_type.as_deref().map(ByteString::from),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
            is_utf8_payload: properties.payload_format_indicator == Some(true),
            response_topic: properties.response_topic.as_deref().map(ByteString::from),
            subscription_ids: Vec::new(),
        }),
    };
    Publish::new(Box::new(packet), None, None, Some(now_ms))
}

/// The properties of a packet that an MQTT client sent.
pub(super) fn properties(publish: &Publish) -> Properties {
    let Some(properties) = &publish.properties else {
        return Properties::default();
    };
    Properties {
        response_topic: properties.response_topic.as_ref().map(ToString::to_string),
        correlation_data: properties.correlation_data.clone(),
        content_type: properties.content_type.as_ref().map(ToString::to_string),
        message_expiry_interval: properties.message_expiry_interval.map(NonZeroU32::get),
        payload_format_indicator: properties.is_utf8_payload.then_some(true),
        user_properties: properties
            .user_properties
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

/// Where a message that came through the engine is from.
pub(super) fn origin(core: &Core, sender: &Sender) -> Origin {
    let kind = match sender.typ() {
        FromType::LastWill => OriginKind::Will,
        FromType::System | FromType::Admin => OriginKind::System,
        FromType::Custom | FromType::Bridge => OriginKind::Mqtt,
    };
    Origin {
        kind,
        vendor: core
            .doors
            .peer(&sender.client_id)
            .and_then(|peer| peer.grant.surface),
        client_id: Some(sender.client_id.to_string()),
        request: None,
    }
}

pub(super) fn will(info: &ConnectInfo) -> Option<Will> {
    Some(match info.last_will()? {
        LastWill::V3(will) => Will {
            topic: will.topic.to_string(),
            payload: will.message.clone(),
            qos: qos(will.qos),
            retain: will.retain,
            delay: 0,
        },
        LastWill::V5(will) => Will {
            topic: will.topic.to_string(),
            payload: will.message.clone(),
            qos: qos(will.qos),
            retain: will.retain,
            delay: will.will_delay_interval_sec.unwrap_or(0),
        },
    })
}

/// What the engine knows of one client; `None` if its session has just ended.
pub(super) async fn client(core: &Core, context: &ServerContext, id: Id) -> Option<Client> {
    let entry = context.extends.shared().await.entry(id);
    let session = entry.session()?;
    let info = session.connect_info().await.ok()?;
    let outbox = core.outboxes.find(&session.id.client_id);
    let grant = core
        .doors
        .peer(&session.id.client_id)
        .map(|peer| peer.grant.clone());
    let ceiling = grant
        .as_ref()
        .and_then(|grant| grant.max_keep_alive)
        .map_or(core.settings.max_keep_alive, |own| {
            own.min(core.settings.max_keep_alive)
        });
    let (queued, inflight) = outbox.as_ref().map_or((0, 0), |outbox| outbox.lengths());
    let tally = |pick: fn(&super::super::outbox::Tally) -> &std::sync::atomic::AtomicU64| {
        outbox
            .as_ref()
            .map_or(0, |outbox| pick(&outbox.tally).load(Ordering::Relaxed))
    };
    Some(Client {
        client_id: session.id.client_id.to_string(),
        username: info
            .username()
            .map(|name| shown_user(name, info.password().is_some()).into_owned()),
        dialect: grant.as_ref().and_then(|grant| grant.surface),
        tenant: grant.as_ref().and_then(|grant| grant.tenant.clone()),
        identity: grant.as_ref().map(|grant| grant.identity.clone()),
        // The engine's own flag falls before its hook tells us; ours decides what is queued.
        connected: outbox.as_ref().is_some_and(|outbox| outbox.is_connected()),
        protocol_version: info.proto_ver(),
        keep_alive: info.keep_alive().min(ceiling),
        clean_start: info.clean_start(),
        transport: core.listeners.transport(session.id.lid()),
        peer: session.id.remote_addr,
        connected_at: outbox.as_ref().and_then(|outbox| outbox.connected_at()),
        will: will(&info),
        subscriptions: match session.subscriptions().await {
            Ok(subscriptions) => subscriptions.len().await,
            Err(_) => 0,
        },
        queued,
        inflight,
        messages_in: tally(|tally| &tally.taken),
        messages_out: tally(|tally| &tally.written),
        messages_dropped: tally(|tally| &tally.dropped),
    })
}

pub(super) fn subscription(core: &Core, found: &SubsSearchResult) -> Subscription {
    let key = (found.clientid.clone(), found.topic.clone());
    Subscription {
        client_id: found.clientid.to_string(),
        topic_filter: tenant::bare(&found.topic).into_owned(),
        share_group: found.opts.shared_group().map(ToString::to_string),
        qos: qos(found.opts.qos()),
        no_local: found.opts.no_local().unwrap_or(false),
        retain_as_published: found.opts.retain_as_published().unwrap_or(false),
        retain_handling: found
            .opts
            .retain_handling()
            .map_or(0, |handling| match handling {
                RetainHandling::AtSubscribe => 0,
                RetainHandling::AtSubscribeNew => 1,
                RetainHandling::NoAtSubscribe => 2,
            }),
        subscription_identifier: found.opts.subscription_identifier().map(NonZeroU32::get),
        order: core.order.lock().get(&key).copied().unwrap_or(u64::MAX),
    }
}
