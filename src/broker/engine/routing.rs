//! How a message finds its subscribers. Every message, from HTTP, from a client or a will,
//! passes [`route`]: it gets its journal row, is retained if it asks for it, is entered in the
//! outbox of each subscriber, and only then handed to the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use parking_lot::Mutex;
use rmqtt::context::ServerContext;
use rmqtt::types::{From as Sender, Id, Publish, SubRelations, SubscriptionOptions};

use super::super::message::{
    Delivery, DeliveryOutcome, Message, Origin, Publication, Published, Qos,
};
use super::super::outbox::{Outbox, RETAINED, SESSION_OVER, Tag};
use super::tenant::Scope;
use super::{Core, convert, matching, record, tenant, turns};
use crate::exchange::Refusal;

/// Who a publish from inside the process is for.
pub(super) enum To<'a> {
    /// All who are subscribed, in this part of the topic tree.
    Everybody(Option<Scope>),
    /// One client, subscribed or not, if it is in this part of the topic tree.
    Client(&'a str, Option<Scope>),
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
        To::Client(target, scope) => direct(core, context, &packet, target, scope.as_ref()).await,
        To::Everybody(scope) => {
            if let Some(scope) = scope {
                packet.topic = scope.topic(&packet.topic);
            }
            matching::matches(core, context, &sender, &packet).await
        }
    };
    core.outboxes
        .wait_for_room(&waited_for(core, &packet, &relations), None)
        .await?;
    let (message, matched) = route(core, &sender, packet, publication.origin, relations);
    Ok(Published { message, matched })
}

/// The engine's idea of now in milliseconds: it lowers a message's remaining life by the
/// machine's time, whatever the emulator's clock says.
fn engine_time() -> i64 {
    rmqtt::utils::timestamp_millis()
}

/// Gives a message that has waited the age that it has on the emulator's clock.
pub(super) fn set_age(outbox: &Outbox, packet: &mut Publish) {
    if let Some(age) = packet.delay_interval.and_then(|tag| outbox.age(tag)) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        packet.create_time = Some(engine_time().saturating_sub(age));
    }
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
        .filter_map(|(_, client_id, _, _, _)| core.outboxes.find(client_id))
        .collect()
}

fn effective_qos(packet: &Publish, options: &SubscriptionOptions) -> Qos {
    convert::qos(packet.qos).min(convert::qos(options.qos()))
}

tokio::task_local! {
    /// Set while subscribers are looked up and nothing is delivered yet.
    static LOOKING: ();
}

/// Whom a client's publish would go to now; no shared group's turn is taken by asking.
pub(super) async fn would_reach(
    core: &Core,
    context: &ServerContext,
    sender: &Sender,
    packet: &Publish,
) -> SubRelations {
    LOOKING
        .scope((), meant_for(core, context, sender, packet))
        .await
}

/// Whether the subscribers are only looked up: see [`would_reach`].
pub(super) fn only_looking() -> bool {
    LOOKING.try_with(|()| ()).is_ok()
}

/// Who a client's publish is meant for: the one client that its dialect named, else whoever is
/// subscribed.
pub(super) async fn meant_for(
    core: &Core,
    context: &ServerContext,
    sender: &Sender,
    packet: &Publish,
) -> SubRelations {
    match &packet.target_clientid {
        Some(target) => {
            let peer = core.doors.peer(&sender.id.client_id);
            let scope = peer.and_then(|peer| Scope::of_client(core, &peer));
            direct(core, context, packet, target, scope.as_ref()).await
        }
        None => matching::matches(core, context, sender, packet).await,
    }
}

/// One client, subscribed or not; nobody if it has no session, or is another tenant's.
async fn direct(
    core: &Core,
    context: &ServerContext,
    packet: &Publish,
    target: &str,
    scope: Option<&Scope>,
) -> SubRelations {
    let peer = core.doors.peer(target);
    let own = peer.and_then(|peer| Scope::of_client(core, &peer));
    let elsewhere = scope.is_some() && own.as_ref() != scope;
    if elsewhere || !context.extends.shared().await.exist(target) {
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
pub(super) fn route(
    core: &Core,
    sender: &Sender,
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
    let publisher = core.doors.peer(&sender.client_id);
    for outlet in core.outlets.read().iter() {
        outlet.take(&message, publisher.as_deref());
    }
    if packet.retain {
        core.retained
            .set(core.tag() | RETAINED, &message, sender, &packet);
    }
    let Some(crossing) = core.crossing.get() else {
        return (message, matched);
    };
    for pass in matching::passes(relations.into_iter().zip(outboxes).collect()) {
        // The engine reads this field only before routing; from here on it carries the tag.
        let tag = core.tag();
        packet.delay_interval = Some(tag);
        for (relation, (outbox, index)) in pass {
            if !outbox.queue(tag, message.clone(), index) {
                core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if !outbox.is_connected() {
                turns::trim(core, &outbox, &turns::limits(core, &outbox.client_id));
            }
            if let Err(reason) = crossing.deliver(sender, &packet, relation) {
                give_up(core, &outbox, tag, reason);
            }
        }
    }
    (message, matched)
}

/// Gives up a delivery that was to be written.
pub(super) fn give_up(core: &Core, outbox: &Outbox, tag: Tag, reason: &str) {
    if outbox.dropped(tag, DeliveryOutcome::Dropped, reason) {
        core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
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

/// The same, of a payload that the journal must not keep.
pub(super) fn keep_secret(core: &Core, sender: &Sender, packet: &Publish) {
    let mut shown = packet.clone();
    shown.payload = Bytes::from_static(b"***");
    keep_consumed(core, sender, &shown);
}

/// Why a client that is offline does not get a message later.
fn lost_offline(
    core: &Core,
    outbox: &Outbox,
    client_id: &str,
    topic: &str,
    qos: Qos,
) -> Option<&'static str> {
    if outbox.is_connected() {
        return None;
    }
    let peer = core.doors.peer(client_id)?;
    let dialect = core.doors.dialect(&peer)?;
    (!dialect.keeps_offline(&peer, &tenant::bare(topic), qos))
        .then_some("the client is offline, and its vendor keeps no such message for it")
}

/// How many deliveries may wait for a client before one more is given up.
fn room(core: &Core, outbox: &Outbox, qos: Qos) -> usize {
    let oldest_goes = qos != Qos::AtMostOnce
        && !outbox.is_connected()
        && turns::limits(core, &outbox.client_id)
            .offline_queue
            .is_some();
    if oldest_goes {
        return usize::MAX;
    }
    core.outboxes.limit()
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
        let outbox = core.outboxes.find(client_id);
        let qos = effective_qos(packet, options);
        let lost = match &outbox {
            // Its subscriptions go only after the session itself.
            None => Some(SESSION_OVER),
            Some(outbox) => outbox
                .full(qos, room(core, outbox, qos))
                .or_else(|| lost_offline(core, outbox, client_id, &packet.topic, qos)),
        };
        deliveries.push(Delivery {
            client_id: client_id.to_string(),
            topic: tenant::bare(&packet.topic).into_owned(),
            qos,
            outcome: lost.map_or(DeliveryOutcome::Queued, |_| DeliveryOutcome::Dropped),
            reason: lost.map(ToOwned::to_owned),
            time,
        });
        if lost.is_some() {
            let tally = outbox.as_ref().map(|outbox| &outbox.tally.dropped);
            tally.inspect(|dropped| _ = dropped.fetch_add(1, Ordering::Relaxed));
            core.totals.messages_dropped.fetch_add(1, Ordering::Relaxed);
        } else if let Some(outbox) = outbox {
            outboxes.push((outbox, deliveries.len() - 1));
        }
        lost.is_none()
    });
    (deliveries, outboxes)
}
