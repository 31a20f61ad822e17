//! What the engine asks us, one function per question: who may connect, what may be published
//! and subscribed to, and what became of a delivery. Hooks run inside the client's own task:
//! they may wait for other clients, never for their own.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytestring::ByteString;
use rmqtt::codec::v5::PublishProperties;
use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{From as Sender, Publish, Reason, SharedGroup, Subscribe, To};

use super::super::SYSTEM_PREFIX;
use super::super::message::{Delivery, DeliveryOutcome, Qos};
use super::super::outbox::{Outbox, RETAINED, Tag};
use super::tenant::Scope;
use super::{Core, admission, convert, matching, subscriptions, system, tenant, verdicts};

const QUESTIONS: [Type; 16] = [
    Type::ClientSubscribe,
    Type::ClientUnsubscribe,
    Type::ClientAuthenticate,
    Type::SessionCreated,
    Type::ClientConnected,
    Type::ClientDisconnected,
    Type::SessionTerminated,
    Type::SessionSubscribed,
    Type::SessionUnsubscribed,
    Type::ClientSubscribeCheckAcl,
    Type::MessagePublish,
    Type::MessagePublishCheckAcl,
    Type::MessageDelivered,
    Type::MessageAcked,
    Type::MessageDropped,
    Type::MessageExpiryCheck,
];

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    let register = context.extends.hook_mgr().register();
    for question in QUESTIONS {
        let hooks = Hooks {
            core: core.clone(),
            context: context.clone(),
        };
        register.add(question, Box::new(hooks)).await;
    }
    register.start().await;
}

struct Hooks {
    core: Arc<Core>,
    context: ServerContext,
}

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, acc: Option<HookResult>) -> ReturnType {
        match parameter {
            Parameter::ClientAuthenticate(info) => {
                let verdict = admission::connect(&self.core, info).await;
                return (false, Some(HookResult::AuthResult(verdict)));
            }
            Parameter::ClientSubscribe(session, subscribe) => {
                let group = subscribe.opts.shared_group();
                let inside = self.inside(session, group, &subscribe.topic_filter);
                return (false, Some(HookResult::TopicFilter(inside)));
            }
            Parameter::ClientUnsubscribe(session, unsubscribe) => {
                let group = unsubscribe.shared_group.as_ref();
                let inside = self.inside(session, group, &unsubscribe.topic_filter);
                return (false, Some(HookResult::TopicFilter(inside)));
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                let verdict =
                    verdicts::subscribe(&self.core, &self.context, session, subscribe).await;
                if let Some(verdict) = verdict {
                    return (false, Some(HookResult::SubscribeAclResult(verdict)));
                }
            }
            Parameter::MessagePublish(session, sender, publish) => {
                if let Some(changed) = self.publish(*session, sender, publish) {
                    return (false, Some(HookResult::Publish(changed)));
                }
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                let verdict =
                    verdicts::permission(&self.core, &self.context, session, publish).await;
                return (false, Some(HookResult::PublishAclResult(verdict)));
            }
            Parameter::MessageDelivered(session, sender, publish) => {
                self.delivered(session, sender, publish);
                if let Cow::Owned(topic) = outside(&publish.topic) {
                    let mut changed = Publish::clone(publish);
                    changed.topic = topic;
                    return (false, Some(HookResult::Publish(changed)));
                }
            }
            Parameter::MessageExpiryCheck(session, sender, publish)
                if self.expired(session, publish) || self.unwanted(session, sender, publish) =>
            {
                return (false, Some(HookResult::MessageExpiry));
            }
            event => self.event(event),
        }
        (true, acc)
    }
}

/// A topic as clients know it; borrowed if it is the same.
fn outside(topic: &ByteString) -> Cow<'_, ByteString> {
    let bare = tenant::bare(topic);
    if *bare == **topic {
        Cow::Borrowed(topic)
    } else {
        Cow::Owned(bare.into_owned().into())
    }
}

impl Hooks {
    /// What the engine only tells.
    fn event(&self, event: &Parameter<'_>) {
        match event {
            Parameter::SessionCreated(session) => self.session_created(session),
            Parameter::ClientConnected(session) => self.connected(session),
            Parameter::ClientDisconnected(session, reason) => self.disconnected(session, reason),
            Parameter::SessionTerminated(session, reason) => self.terminated(session, reason),
            Parameter::SessionSubscribed(session, subscribe) => self.subscribed(session, subscribe),
            Parameter::SessionUnsubscribed(session, unsubscribe) => {
                let key = (
                    session.id.client_id.clone(),
                    unsubscribe.topic_filter.clone(),
                );
                self.core.wanted.forget(&key);
                self.core.order.lock().remove(&key);
                verdicts::notify(&self.core, &session.id, |dialect, peer| {
                    dialect.unsubscribed(peer, &tenant::bare(&key.1));
                });
            }
            Parameter::MessageAcked(session, _, publish) => {
                let outbox = self.core.outboxes.find(&session.id.client_id);
                if let Some((tag, outbox)) = publish.delay_interval.zip(outbox) {
                    outbox.acknowledged(tag);
                }
            }
            Parameter::MessageDropped(to, sender, publish, reason) => {
                self.dropped(to.as_ref(), sender, publish, reason);
            }
            _ => {}
        }
    }

    /// A client's topic filter as it stands in the engine, if it is another.
    fn inside(
        &self,
        session: &Session,
        group: Option<&SharedGroup>,
        filter: &ByteString,
    ) -> Option<ByteString> {
        let peer = self.core.doors.peer(&session.id.client_id)?;
        let scope = Scope::of_client(&self.core, &peer);
        let inside = scope.map_or_else(|| filter.clone(), |scope| scope.filter(filter));
        Some(subscriptions::marked(group, inside))
    }

    /// A client's topic name as it stands in the engine, if it is another.
    fn below(&self, session: &Session, topic: &str) -> Option<ByteString> {
        let peer = self.core.doors.peer(&session.id.client_id)?;
        Some(Scope::of_client(&self.core, &peer)?.topic(topic))
    }

    /// A session that takes nothing over from an earlier one: what the earlier one left is lost.
    fn session_created(&self, session: &Session) {
        if let Some(outbox) = self.core.outboxes.find(&session.id.client_id) {
            let count = outbox.abandon("the client started a new session (Clean Start)");
            self.core
                .totals
                .messages_dropped
                .fetch_add(count as u64, Ordering::Relaxed);
        }
        self.forget_subscriptions(&session.id.client_id);
    }

    fn connected(&self, session: &Session) {
        self.core.totals.connects.fetch_add(1, Ordering::Relaxed);
        let key = verdicts::connection_key(&session.id);
        self.core.outboxes.connected(&session.id.client_id, key);
        self.stir(session);
        verdicts::notify(&self.core, &session.id, |dialect, peer| {
            dialect.connected(peer);
        });
    }

    fn disconnected(&self, session: &Session, reason: &Reason) {
        // Where the gate has ended the connection, the engine sees it closed from outside.
        let key = session.id.remote_addr.map(|peer| (session.id.lid(), peer));
        let ending = key.and_then(|key| self.core.visitors.find(key)?.ending());
        let reason = ending.map_or_else(|| reason.to_string(), |ending| ending.reason);
        verdicts::notify(&self.core, &session.id, |dialect, peer| {
            dialect.disconnected(peer, &reason);
        });
        self.core.totals.disconnects.fetch_add(1, Ordering::Relaxed);
        if let Some(outbox) = self.core.outboxes.find(&session.id.client_id) {
            outbox.disconnected(&verdicts::connection_key(&session.id));
        }
        self.stir(session);
    }

    /// A client whose messages have turns has come or gone.
    fn stir(&self, session: &Session) {
        if let Some(crossing) = self.core.crossing.get() {
            crossing.stir(&session.id.client_id);
        }
    }

    fn terminated(&self, session: &Session, reason: &Reason) {
        let client_id = &session.id.client_id;
        let key = verdicts::connection_key(&session.id);
        let Some(outbox) = self.core.outboxes.remove(client_id, &key) else {
            return;
        };
        let count = outbox.close(&format!("the session ended: {reason}"));
        self.core
            .totals
            .messages_dropped
            .fetch_add(count as u64, Ordering::Relaxed);
        if let Some(crossing) = self.core.crossing.get() {
            crossing.forget(&self.core, client_id, &outbox);
        }
        self.forget_subscriptions(client_id);
        self.core.doors.forget(&session.id);
        self.core.writing.forget(&session.id);
    }

    fn forget_subscriptions(&self, client_id: &ByteString) {
        self.core.wanted.forget_client(client_id);
        self.core
            .order
            .lock()
            .retain(|(owner, _), _| owner != client_id);
    }

    fn subscribed(&self, session: &Session, subscribe: &Subscribe) {
        let filter = &subscribe.topic_filter;
        if tenant::bare(filter).starts_with(SYSTEM_PREFIX) {
            system::watch(&self.core, &self.context);
        }
        let key = (session.id.client_id.clone(), filter.clone());
        self.core
            .order
            .lock()
            .entry(key)
            .or_insert_with(|| self.core.next_order.fetch_add(1, Ordering::Relaxed));
        verdicts::notify(&self.core, &session.id, |dialect, peer| {
            dialect.subscribed(
                peer,
                &tenant::bare(filter),
                convert::qos(subscribe.opts.qos()),
            );
        });
    }

    /// The packet to go on with, if it is another. It always has properties: the engine loses a
    /// subscription's identifier where a 3.x publisher sent none.
    fn publish(
        &self,
        session: Option<&Session>,
        sender: &Sender,
        packet: &Publish,
    ) -> Option<Publish> {
        let mut changed = session.and_then(|session| {
            let outbox = self.core.outboxes.of(&session.id.client_id);
            outbox.tally.taken.fetch_add(1, Ordering::Relaxed);
            verdicts::publish(&self.core, &self.context, session, sender, packet)
        });
        let topic = &changed.as_ref().unwrap_or(packet).topic;
        if &**topic != verdicts::TO_NOBODY
            && let Some(inside) = session.and_then(|session| self.below(session, topic))
        {
            changed.get_or_insert_with(|| packet.clone()).topic = inside;
        }
        if changed.as_ref().unwrap_or(packet).properties.is_some() {
            return changed;
        }
        let mut changed = changed.unwrap_or_else(|| packet.clone());
        changed.properties = Some(PublishProperties::default());
        Some(changed)
    }

    fn delivered(&self, session: &Session, sender: &Sender, publish: &Publish) {
        let outbox = self.core.outboxes.find(&session.id.client_id);
        let Some((tag, outbox)) = publish.delay_interval.zip(outbox) else {
            return;
        };
        let qos = convert::qos(publish.qos);
        if qos != Qos::AtMostOnce {
            self.core.writing.begin(&session.id, sender, publish);
        }
        self.core
            .totals
            .messages_out
            .fetch_add(1, Ordering::Relaxed);
        if !outbox.sent(tag, qos) {
            self.delivered_retained(session, &outbox, publish, tag);
        }
    }

    /// A retained message that the engine sends after a subscribe: a new row of its message.
    fn delivered_retained(&self, session: &Session, outbox: &Outbox, publish: &Publish, tag: Tag) {
        let Some(message) = self.core.retained.by_tag(tag, &publish.topic) else {
            return;
        };
        let qos = convert::qos(publish.qos);
        let index = {
            let mut deliveries = message.deliveries.lock();
            deliveries.push(Delivery {
                client_id: session.id.client_id.to_string(),
                topic: tenant::bare(&publish.topic).into_owned(),
                qos,
                outcome: DeliveryOutcome::Sent,
                reason: None,
                time: self.core.clock.now(),
            });
            deliveries.len() - 1
        };
        outbox.sent_retained(tag, qos, message, index);
    }

    fn dropped(&self, to: Option<&To>, sender: &Sender, publish: &Publish, reason: &Reason) {
        let Some((to, tag)) = to.zip(publish.delay_interval) else {
            tracing::debug!(from = %sender.client_id, topic = %publish.topic, %reason, "not taken");
            return;
        };
        let outcome = match reason {
            Reason::MessageExpiration => DeliveryOutcome::Expired,
            _ => DeliveryOutcome::Dropped,
        };
        let outbox = self.core.outboxes.find(&to.client_id);
        if outbox.is_none_or(|outbox| outbox.dropped(tag, outcome, &reason.to_string())) {
            let dropped = &self.core.totals.messages_dropped;
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a retained message is none that the client's subscriptions are for.
    fn unwanted(&self, session: &Session, sender: &Sender, publish: &Publish) -> bool {
        let retained = publish
            .delay_interval
            .is_some_and(|tag| tag & RETAINED != 0);
        retained && !matching::wants(&self.core, &session.id.client_id, sender, publish)
    }

    /// Whether a waiting message must not be written any more: it was given up, maybe with an
    /// earlier session, or its life is over on the emulator's clock. The engine itself checks
    /// the machine's.
    fn expired(&self, session: &Session, publish: &Publish) -> bool {
        publish.delay_interval.is_some_and(|tag| {
            let outbox = self.core.outboxes.find(&session.id.client_id);
            outbox.is_some_and(|outbox| outbox.gave_up(tag) || outbox.expired(tag))
        })
    }
}
