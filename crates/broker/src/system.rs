//! `$SYS`: the broker's own figures. They are reckoned when somebody subscribes and then again
//! at every interval for as long as anybody is subscribed; without that there is no task and no
//! cost. They are no messages: the journal and the counters do not see them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::message::{Message, Origin, OriginKind, Properties, Qos, TopicFilter};
use parking_lot::Mutex;

use super::core::Core;
use super::encode::Envelope;
use super::routing::question;
use super::session::{Delivery, NO_ROW, Session};
use super::tenant::Tenant;

const TOPICS: [&str; 9] = [
    "$SYS/broker/version",
    "$SYS/broker/uptime",
    "$SYS/broker/clients/total",
    "$SYS/broker/clients/connected",
    "$SYS/broker/messages/received",
    "$SYS/broker/messages/sent",
    "$SYS/broker/messages/dropped",
    "$SYS/broker/subscriptions/count",
    "$SYS/broker/retained messages/count",
];

/// The figures as they are now, in the order of [`TOPICS`].
fn figures(core: &Core) -> [String; 9] {
    let totals = &core.totals;
    let (sessions, connected) = core.sessions.counts();
    let count = |total: &std::sync::atomic::AtomicU64| total.load(Ordering::Relaxed).to_string();
    [
        format!("mqttstack {}", env!("CARGO_PKG_VERSION")),
        format!("{} seconds", core.started.elapsed().as_secs()),
        sessions.to_string(),
        connected.to_string(),
        count(&totals.messages_in),
        count(&totals.messages_out),
        count(&totals.messages_dropped),
        core.router.count().to_string(),
        core.retained.count().to_string(),
    ]
}

fn envelope(core: &Core, topic: &str, value: String) -> Arc<Envelope> {
    let message = Message {
        id: String::new(),
        time: core.clock.now(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: None,
            client_id: None,
            request: None,
        },
        topic: topic.to_owned(),
        qos: Qos::AtMostOnce,
        retain: false,
        payload: Bytes::from(value),
        properties: Properties::default(),
        deliveries: Mutex::default(),
    };
    Arc::new(Envelope::new(Arc::new(message), None, None))
}

fn give(
    core: &Core,
    session: &Session,
    envelope: Arc<Envelope>,
    retain: bool,
    identifiers: &[u32],
) {
    let delivery = Delivery {
        envelope,
        row: NO_ROW,
        qos: Qos::AtMostOnce,
        retain,
        identifiers: identifiers.into(),
        group: None,
    };
    session.enter(delivery, core.queue_limits(), core.clock.now());
}

/// The figures that a new subscription gets, as if they were retained.
pub(crate) fn figures_for(core: &Core, session: &Session, filter: &str) {
    if core.settings.sys_interval_s == 0 {
        return;
    }
    let Ok(filter) = TopicFilter::parse(filter) else {
        return;
    };
    for (topic, value) in TOPICS.iter().zip(figures(core)) {
        if filter.matches(topic) {
            give(core, session, envelope(core, topic, value), true, &[]);
        }
    }
}

/// Somebody has subscribed: publishes the figures for as long as anybody is.
pub(crate) fn watch(core: &Arc<Core>) {
    let interval = Duration::from_secs(core.settings.sys_interval_s.into());
    if interval.is_zero() || core.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let closing = core.closing.clone();
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        loop {
            let pause = tokio::time::sleep(interval);
            if closing.run_until_cancelled(pause).await.is_none() {
                return;
            }
            let Some(core) = core.upgrade() else {
                return;
            };
            // Taken back first: a subscriber that comes from here on starts a new task.
            core.watched.store(false, Ordering::Release);
            if core.stopped.load(Ordering::Acquire) || !core.router.figures_are_watched(&TOPICS) {
                return;
            }
            tell(&core);
            if core.watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    });
}

/// Publishes every figure.
fn tell(core: &Core) {
    let mut ready = std::collections::HashMap::new();
    for (topic, value) in TOPICS.iter().zip(figures(core)) {
        let envelope = envelope(core, topic, value);
        let targets = core.targets(&Tenant::default(), &question(&envelope.message), None);
        for target in targets {
            let session = &target.session;
            // Nothing may pile up for a client that is away or does not read.
            if *ready
                .entry(session.id)
                .or_insert_with(|| session.lock().is_idle())
            {
                give(core, session, envelope.clone(), false, &target.identifiers);
            }
        }
    }
}
