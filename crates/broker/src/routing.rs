//! How a message finds its subscribers. Every message, from HTTP, from a client or a will, passes
//! [`Core::route`]: it gets its row in the journal, is retained if it asks for it, and is entered
//! in the session of each subscriber, in the task of whoever publishes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::exchange::Refusal;
use mqttstack_base::message::{
    Delivery as Row, DeliveryOutcome, Message, Origin, OriginKind, Properties, Publication,
    Published, Qos,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::core::Core;
use super::dialect::{Peer, Publish};
use super::encode::Envelope;
use super::events::Event;
use super::router::{Options, Target};
use super::session::{Delivery, NO_ROW, Publishing, Room, Session, expiry};
use super::tenant::Tenant;
use super::timers::What;

/// How many rows the journal keeps of one message's deliveries that come after its routing: a
/// retained message is delivered to every new subscriber.
const MOST_ROWS: usize = 1_000;

/// A message before it has a row.
pub(crate) struct Draft {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
    pub(crate) origin: Origin,
    /// The tenant that its vendor publishes it in; a client's own is in its grant.
    pub(crate) tenant: Option<String>,
}

impl Draft {
    /// The message as it is asked about.
    pub(crate) fn question(&self) -> Publish<'_> {
        Publish {
            client_id: self.origin.client_id.as_deref(),
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: &self.properties,
            will: self.origin.kind == OriginKind::Will,
        }
    }
}

/// A message that has its row, as it is asked about.
pub(crate) fn question(message: &Message) -> Publish<'_> {
    Publish {
        client_id: message.origin.client_id.as_deref(),
        topic: &message.topic,
        payload: &message.payload,
        qos: message.qos,
        retain: message.retain,
        properties: &message.properties,
        will: message.origin.kind == OriginKind::Will,
    }
}

impl From<Publication> for Draft {
    fn from(publication: Publication) -> Self {
        Self {
            topic: publication.topic.as_str().to_owned(),
            payload: publication.payload,
            qos: publication.qos,
            retain: publication.retain,
            properties: publication.properties,
            origin: publication.origin,
            tenant: None,
        }
    }
}

impl Core {
    /// How many deliveries, and how many bytes, may wait for one client.
    pub(crate) fn queue_limits(&self) -> (usize, usize) {
        (self.settings.queue_limit.max(1), self.settings.queue_bytes)
    }

    fn took(&self, origin: &Origin) {
        self.totals.messages_in.fetch_add(1, Ordering::Relaxed);
        self.counts.taken(origin);
    }

    pub(crate) fn dropped(&self, count: usize) {
        let dropped = &self.totals.messages_dropped;
        dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Whom a message is for.
    pub(crate) fn targets(
        &self,
        tenant: &Tenant,
        publish: &Publish<'_>,
        publisher: Option<u64>,
    ) -> Vec<Target> {
        let limits = self.queue_limits();
        self.router.targets(tenant, publish, publisher, limits)
    }

    /// One client, subscribed or not.
    pub(crate) fn only(session: Arc<Session>, qos: Qos) -> Vec<Target> {
        vec![Target {
            session,
            qos,
            retain_as_published: false,
            identifiers: Vec::new(),
            group: None,
        }]
    }

    /// A publish from inside the process: waits for room first, then routes.
    pub(crate) async fn publish(
        &self,
        tenant: &Tenant,
        draft: Draft,
        targets: Vec<Target>,
    ) -> Result<Published, Refusal> {
        self.wait_for_room(&targets, draft.qos, None).await?;
        let matched = targets.len();
        let message = self.route(tenant, draft, targets, None);
        Ok(Published { message, matched })
    }

    /// The targets that a publish of this quality of service asks for room. `publisher` is the
    /// publishing MQTT client, if it is one: it never waits for itself.
    fn asked(
        targets: &[Target],
        qos: Qos,
        publisher: Option<u64>,
    ) -> impl Iterator<Item = &Target> {
        targets.iter().filter(move |target| {
            qos.min(target.qos) != Qos::AtMostOnce && Some(target.session.id) != publisher
        })
    }

    /// Whether a publish can be routed at once.
    pub(crate) fn has_room(&self, targets: &[Target], qos: Qos, publisher: Option<u64>) -> bool {
        let (count, bytes) = self.queue_limits();
        Self::asked(targets, qos, publisher).all(|target| {
            matches!(
                target.session.has_room(count, bytes),
                Room::Yes | Room::Offline
            )
        })
    }

    /// Waits until every target has room, for the configured time at most, and not at all for a
    /// target that somebody has waited for in vain already.
    pub(crate) async fn wait_for_room(
        &self,
        targets: &[Target],
        qos: Qos,
        publisher: Option<&Arc<Session>>,
    ) -> Result<(), Refusal> {
        let own = publisher.map(|session| session.id);
        if self.has_room(targets, qos, own) {
            return Ok(());
        }
        let _publishing = publisher.map(Publishing::begin);
        let wait = Duration::from_millis(self.settings.publish_wait_ms);
        let deadline = Instant::now() + wait;
        let (count, bytes) = self.queue_limits();
        let taken = |target: &Target| target.session.tally.written.load(Ordering::Relaxed);
        let before: Vec<_> = targets.iter().map(taken).collect();
        for target in Self::asked(targets, qos, own) {
            loop {
                let room = target.session.room().notified();
                tokio::pin!(room);
                // Registered before the look, so that a wake between the two is not lost.
                room.as_mut().enable();
                let stalled = match target.session.has_room(count, bytes) {
                    Room::Yes | Room::Offline => break,
                    Room::Wait => false,
                    Room::Stalled => true,
                };
                if stalled || tokio::time::timeout_at(deadline, room).await.is_err() {
                    for (target, before) in targets.iter().zip(before) {
                        let full = target.session.has_room(count, bytes) == Room::Wait;
                        if full && taken(target) == before {
                            target.session.lock().stalled = true;
                        }
                    }
                    return Err(Refusal::Overloaded {
                        client_id: target.session.key.client_id.to_string(),
                        waited_ms: self.settings.publish_wait_ms,
                    });
                }
            }
        }
        Ok(())
    }

    fn message(&self, draft: Draft, deliveries: Vec<Row>) -> Arc<Message> {
        Arc::new(Message {
            id: self.ids.upper_hex::<16>(),
            time: self.clock.now(),
            origin: draft.origin,
            topic: draft.topic,
            qos: draft.qos,
            retain: draft.retain,
            payload: draft.payload,
            properties: draft.properties,
            deliveries: Mutex::new(deliveries),
        })
    }

    /// Gives a message its row and enters it for each of its targets. `publisher` is the client
    /// that published it, if one did.
    pub(crate) fn route(
        &self,
        tenant: &Tenant,
        mut draft: Draft,
        targets: Vec<Target>,
        publisher: Option<&Peer>,
    ) -> Arc<Message> {
        let named = draft.tenant.take();
        let now = self.clock.now();
        let rows = targets.iter().map(|target| Row {
            client_id: target.session.key.client_id.to_string(),
            topic: draft.topic.clone(),
            qos: draft.qos.min(target.qos),
            outcome: DeliveryOutcome::Queued,
            reason: None,
            time: now,
        });
        let rows = rows.collect();
        let message = self.message(draft, rows);
        self.took(&message.origin);
        if targets.is_empty() {
            self.counts.unheard();
            self.dropped(1);
        }
        (self.sink)(message.clone());
        let own = publisher.and_then(|peer| peer.grant.tenant.as_deref());
        for outlet in self.outlets.read().iter() {
            outlet.take(&message, publisher, own.or(named.as_deref()));
        }
        self.tell(|| Event::Published {
            message: message.clone(),
        });
        if targets.is_empty() && !message.retain {
            return message;
        }
        let told = (self.events.receiver_count() > 0).then(|| self.events.clone());
        let counts = Some(self.counts.clone());
        let envelope = Arc::new(Envelope::new(message.clone(), told, counts));
        if message.retain {
            self.retain(tenant, &envelope);
        }
        for (row, target) in targets.into_iter().enumerate() {
            let delivery = Delivery {
                row: u32::try_from(row).unwrap_or(NO_ROW),
                qos: message.qos.min(target.qos),
                retain: message.retain && target.retain_as_published,
                identifiers: target.identifiers.into_boxed_slice(),
                group: target.group,
                envelope: envelope.clone(),
            };
            self.enter(&target.session, delivery);
        }
        message
    }

    /// Enters a delivery in its session, and sees to what follows from it.
    fn enter(&self, session: &Arc<Session>, delivery: Delivery) {
        let entered = session.enter(delivery, self.queue_limits(), self.clock.now());
        self.dropped(entered.dropped);
        if let Some(at) = entered.sweep_at {
            self.plan_sweep(session, at);
        }
        if entered.overflow {
            self.end_overflowing(session);
        }
    }

    pub(crate) fn plan_sweep(&self, session: &Arc<Session>, at: jiff::Timestamp) {
        let due = self.timers.set(at, What::Queue(session.into()));
        let earlier = session.lock().sweep.replace(due);
        self.timers.cancel(earlier);
    }

    fn retain(&self, tenant: &Tenant, envelope: &Arc<Envelope>) {
        let topic = &envelope.message.topic;
        let due = || {
            let at = expiry(&envelope.message)?;
            let what = What::Retained(tenant.clone(), topic.as_str().into());
            Some(self.timers.set(at, what))
        };
        let earlier = self.retained.set(tenant, envelope, due);
        self.timers.cancel(earlier);
    }

    /// Gives a new subscription the retained messages that match it.
    pub(crate) fn deliver_retained(&self, session: &Arc<Session>, filter: &str, options: &Options) {
        let now = self.clock.now();
        for envelope in self.retained.matching(&session.key.tenant, filter, now) {
            let message = &envelope.message;
            if !options.takes(&question(message)) {
                continue;
            }
            let qos = message.qos.min(options.qos);
            let row = {
                let mut rows = message.deliveries.lock();
                if rows.len() < MOST_ROWS {
                    rows.push(Row {
                        client_id: session.key.client_id.to_string(),
                        topic: message.topic.clone(),
                        qos,
                        outcome: DeliveryOutcome::Queued,
                        reason: None,
                        time: now,
                    });
                    u32::try_from(rows.len() - 1).unwrap_or(NO_ROW)
                } else {
                    NO_ROW
                }
            };
            let delivery = Delivery {
                row,
                qos,
                retain: true,
                identifiers: options.identifier.into_iter().collect(),
                group: None,
                envelope,
            };
            // However many there are, they are here already: the queue only names them.
            let entered = session.enter(delivery, (usize::MAX, usize::MAX), now);
            self.dropped(entered.dropped);
        }
    }

    /// Hands what a member of a shared subscription did not acknowledge to another one.
    pub(crate) fn hand_on(&self, gone: &Session, deliveries: Vec<Delivery>) {
        let now = self.clock.now();
        for delivery in deliveries {
            let Some(group) = &delivery.group else {
                continue;
            };
            let publish = question(delivery.message());
            let limits = self.queue_limits();
            let Some(target) = self.router.another(gone, group, &publish, limits) else {
                continue;
            };
            let qos = delivery.message().qos.min(target.qos);
            let row = {
                let mut rows = delivery.message().deliveries.lock();
                rows.push(Row {
                    client_id: target.session.key.client_id.to_string(),
                    topic: delivery.message().topic.clone(),
                    qos,
                    outcome: DeliveryOutcome::Queued,
                    reason: None,
                    time: now,
                });
                u32::try_from(rows.len() - 1).unwrap_or(NO_ROW)
            };
            let delivery = Delivery {
                row,
                qos,
                retain: delivery.message().retain && target.retain_as_published,
                identifiers: target.identifiers.into_boxed_slice(),
                group: target.group,
                envelope: delivery.envelope.clone(),
            };
            self.enter(&target.session, delivery);
        }
    }

    /// The row of a message that the vendor's own service takes and nobody else gets.
    pub(crate) fn keep_consumed(&self, draft: Draft) {
        self.took(&draft.origin);
        (self.sink)(self.message(draft, Vec::new()));
    }
}
