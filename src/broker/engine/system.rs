//! `$SYS`: the broker's own figures. They are reckoned when somebody subscribes and then again
//! at every interval for as long as anybody is subscribed; without that there is no task and no
//! cost. They are no messages: the journal, the counters and the outboxes do not see them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytestring::ByteString;
use rmqtt::codec::types::Publish as Packet;
use rmqtt::codec::v5::PublishProperties;
use rmqtt::context::ServerContext;
use rmqtt::types::{From as Sender, Id, Publish, QoS, Retain, SubRelations, TopicName};

use super::super::SYSTEM_PREFIX;
use super::super::message::TopicFilter;
use super::{Core, matching};

/// The figures as they are now, by topic name.
fn figures(core: &Core) -> Vec<(&'static str, String)> {
    let totals = &core.totals;
    let (sessions, connected) = core.outboxes.clients();
    vec![
        (
            "$SYS/broker/version",
            format!("mqttstack {}", env!("CARGO_PKG_VERSION")),
        ),
        (
            "$SYS/broker/uptime",
            format!("{} seconds", core.started.elapsed().as_secs()),
        ),
        ("$SYS/broker/clients/total", sessions.to_string()),
        ("$SYS/broker/clients/connected", connected.to_string()),
        (
            "$SYS/broker/messages/received",
            totals.messages_in.load(Ordering::Relaxed).to_string(),
        ),
        (
            "$SYS/broker/messages/sent",
            totals.messages_out.load(Ordering::Relaxed).to_string(),
        ),
        (
            "$SYS/broker/messages/dropped",
            totals.messages_dropped.load(Ordering::Relaxed).to_string(),
        ),
        (
            "$SYS/broker/subscriptions/count",
            core.order.lock().len().to_string(),
        ),
        (
            "$SYS/broker/retained messages/count",
            core.retained.count().to_string(),
        ),
    ]
}

fn sender(context: &ServerContext) -> Sender {
    let nobody = ByteString::new();
    Sender::from_system(Id::new(context.node.id(), 0, None, None, nobody, None))
}

fn publish(topic: &'static str, value: String, retain: bool) -> Publish {
    let packet = Packet {
        dup: false,
        retain,
        qos: QoS::AtMostOnce,
        topic: ByteString::from_static(topic),
        packet_id: None,
        payload: value.into(),
        properties: Some(PublishProperties::default()),
    };
    Publish::new(Box::new(packet), None, None, None)
}

/// The figures that a new subscription gets, as if they were retained.
pub(super) fn retained(
    core: &Core,
    context: &ServerContext,
    filter: &str,
) -> Vec<(TopicName, Retain)> {
    if core.settings.sys_interval_s == 0 || !filter.starts_with(SYSTEM_PREFIX) {
        return Vec::new();
    }
    let Ok(filter) = TopicFilter::parse(filter) else {
        return Vec::new();
    };
    let wanted = figures(core)
        .into_iter()
        .filter(|(topic, _)| filter.matches(topic));
    wanted
        .map(|(topic, value)| {
            let retain = Retain {
                msg_id: None,
                from: sender(context),
                publish: publish(topic, value, true),
            };
            (TopicName::from_static(topic), retain)
        })
        .collect()
}

/// Somebody has subscribed: publishes the figures for as long as anybody is.
pub(super) fn watch(core: &Arc<Core>, context: &ServerContext) {
    let interval = Duration::from_secs(core.settings.sys_interval_s.into());
    if interval.is_zero() || core.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let (core, context) = (core.clone(), context.clone());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            // Taken back first: a subscriber that comes from here on starts a new task.
            core.watched.store(false, Ordering::Release);
            if !tell(&core, &context).await || core.watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    });
}

/// Publishes every figure; false if nobody is subscribed to any.
async fn tell(core: &Core, context: &ServerContext) -> bool {
    let sender = sender(context);
    let mut heard = false;
    let mut busy = HashSet::new();
    for (topic, value) in figures(core) {
        let packet = publish(topic, value, false);
        let relations = matching::matches(core, context, &sender, &packet).await;
        heard |= !relations.is_empty();
        let ready: SubRelations = relations
            .into_iter()
            .filter(|(_, client_id, ..)| {
                // Nothing may pile up for a client that is away or does not read.
                let outbox = core.outboxes.find(client_id);
                let ready = outbox.is_some_and(|outbox| outbox.idle());
                if !ready {
                    busy.insert(client_id.clone());
                }
                ready && !busy.contains(client_id)
            })
            .collect();
        let shared = context.extends.shared().await;
        let sent = shared.forwards_to(sender.clone(), &packet, ready, None);
        if sent.await.is_err() {
            tracing::debug!(topic, "a subscriber went away");
        }
    }
    heard
}
