//! How a message finds its subscribers. Every message, from HTTP, from a client or a will,
//! passes [`route`]: it gets its journal row, is retained if it asks for it, is entered in the
//! outbox of each subscriber, and only then handed to the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use parking_lot::Mutex;
use rmqtt::context::ServerContext;
use rmqtt::shared::Shared;
use rmqtt::types::{From as Sender, Id, Publish, SubRelations, SubscriptionOptions};

use super::super::message::{
    Delivery, DeliveryOutcome, Message, Origin, Publication, Published, Qos,
};
use super::super::outbox::Outbox;
use super::tenant::Scope;
use super::{Core, convert, matching, record, tenant};
use crate::exchange::Refusal;

/// Who a publish from inside the process is for.
pub(super) enum To<'a> {
    /// All who are subscribed, in this part of the topic tree.
    Everybody(Option<Scope>),
    /// One client, subscribed or not.
    Client(&'a str),
}

/// A publish from inside the process: waits for room first, then routes.
pub(super) async fn publish(
    core: &Core,
    context: &ServerContext,
    publication: Publication,
    to: To<'_>,
) -> Result<Published, Refusal> {
    let mut packet = convert::publish(&publication, engine_time());
    let client_id = publication.origin.client_id.as_deref().unwrap_or("");
    let id = Id::new(
        context.node.id(),
        0,
        None,
        None,
        ByteString::from(client_id),
        None,
    );
    let sender = Sender::from_admin(id);
    let relations = match to {
        To::Client(target) => direct(context, &packet, target).await,
        To::Everybody(scope) => {
            if let Some(scope) = scope {
                packet.topic = scope.topic(&packet.topic);
            }
            matching::matches(context, &sender, &packet.topic).await
        }
    };
    core.outboxes
        .wait_for_room(&waited_for(core, &packet, &relations), None)
        .await?;
    let shared = context.extends.shared().await;
    let (message, matched) = route(
        core,
        &**shared,
        sender,
        packet,
        publication.origin,
        relations,
    )
    .await;
    Ok(Published { message, matched })
}

/// The engine's idea of now in milliseconds: it lowers a message's remaining life by the
/// machine's time, whatever the emulator's clock says.
fn engine_time() -> i64 {
    rmqtt::utils::timestamp_millis()
}

/// The outboxes that a publish of this quality of service must wait for.
pub(super) fn waited_for(
    core: &Core,
    packet: &Publish,
    relations: &SubRelations,
) -> Vec<Arc<Outbox>> {
    relations
        .iter()
        .filter(|(_, _, options, _, _)| effective_qos(packet, options) != Qos::AtMostOnce)
        .map(|(_, client_id, _, _, _)| core.outboxes.of(client_id))
        .collect()
}

fn effective_qos(packet: &Publish, options: &SubscriptionOptions) -> Qos {
    convert::qos(packet.qos).min(convert::qos(options.qos()))
}

/// One client, subscribed or not; nobody if it has no session.
async fn direct(context: &ServerContext, packet: &Publish, target: &str) -> SubRelations {
    if !context.extends.shared().await.exist(target) {
        return SubRelations::new();
    }
    let mut options = SubscriptionOptions::default();
    options.set_qos(packet.qos);
    vec![(
        packet.topic.clone(),
        ByteString::from(target),
        options,
        None,
        None,
    )]
}

/// Gives a message its journal row and hands it to the engine. Returns how many subscribers it
/// was meant for.
pub(super) async fn route(
    core: &Core,
    engine: &dyn Shared,
    sender: Sender,
    mut packet: Publish,
    origin: Origin,
    mut relations: SubRelations,
) -> (Arc<Message>, usize) {
    let matched = relations.len();
    let (deliveries, outboxes) = rows(core, &packet, &mut relations);
    let message = Arc::new(Message {
        id: core.message_id(),
        time: core.clock.now(),
        origin,
        topic: tenant::bare(&packet.topic).into_owned(),
        qos: convert::qos(packet.qos),
        retain: packet.retain,
        payload: packet.payload.clone(),
        properties: convert::properties(&packet),
        deliveries: Mutex::new(deliveries),
    });
    core.totals.messages_in.fetch_add(1, Ordering::Relaxed);
    if matched == 0 {
        core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
    }
    record(core, &message);
    if packet.retain {
        core.retained.set(core.tag(), &message, &sender, &packet);
    }
    for pass in matching::passes(relations.into_iter().zip(outboxes).collect()) {
        let tag = core.tag();
        let mut relations = SubRelations::with_capacity(pass.len());
        for (relation, (outbox, index)) in pass {
            outbox.queue(tag, message.clone(), index);
            relations.push(relation);
        }
        // The engine reads this field only before routing; from here on it carries the tag.
        packet.delay_interval = Some(tag);
        hand_over(core, engine, sender.clone(), &packet, relations).await;
    }
    (message, matched)
}

async fn hand_over(
    core: &Core,
    engine: &dyn Shared,
    sender: Sender,
    packet: &Publish,
    relations: SubRelations,
) {
    let Some(tag) = packet.delay_interval else {
        return;
    };
    if let Err((_, failed)) = engine.forwards_to(sender, packet, relations, None).await {
        for (to, _, _, reason) in failed {
            core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
            core.outboxes.of(&to.client_id).dropped(
                tag,
                DeliveryOutcome::Dropped,
                &reason.to_string(),
            );
        }
    }
}

/// The journal row of a message that the vendor's own service takes and nobody else gets.
pub(super) fn keep_consumed(core: &Core, sender: &Sender, packet: &Publish) {
    core.totals.messages_in.fetch_add(1, Ordering::Relaxed);
    record(
        core,
        &Arc::new(Message {
            id: core.message_id(),
            time: core.clock.now(),
            origin: convert::origin(core, sender),
            topic: packet.topic.to_string(),
            qos: convert::qos(packet.qos),
            retain: packet.retain,
            payload: packet.payload.clone(),
            properties: convert::properties(packet),
            deliveries: Mutex::default(),
        }),
    );
}

/// The rows of a message's deliveries, and the outbox with the index of its row for each one
/// that goes on; takes those out of `relations` that must be given up at once.
fn rows(
    core: &Core,
    packet: &Publish,
    relations: &mut SubRelations,
) -> (Vec<Delivery>, Vec<(Arc<Outbox>, usize)>) {
    let mut deliveries = Vec::with_capacity(relations.len());
    let mut outboxes = Vec::with_capacity(relations.len());
    let time = core.clock.now();
    relations.retain(|(_, client_id, options, _, _)| {
        let outbox = core.outboxes.of(client_id);
        let qos = effective_qos(packet, options);
        let full = outbox.full(qos, core.outboxes.limit());
        deliveries.push(Delivery {
            client_id: client_id.to_string(),
            topic: tenant::bare(&packet.topic).into_owned(),
            qos,
            outcome: full.map_or(DeliveryOutcome::Queued, |_| DeliveryOutcome::Dropped),
            reason: full.map(ToOwned::to_owned),
            time,
        });
        if full.is_some() {
            outbox.tally.dropped.fetch_add(1, Ordering::Relaxed);
            core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            outboxes.push((outbox, deliveries.len() - 1));
        }
        full.is_none()
    });
    (deliveries, outboxes)
}
