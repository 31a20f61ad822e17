//! Tokens run out and are revoked while clients are connected with them: a client is told about
//! five minutes before (`$SYS/tokenExpireNotice`), and when it is so (`$SYS/tokenInvalidNotice`),
//! and then its connection is closed. The task that [`start`] starts looks when the next of them is
//! due on the emulator's clock, and whenever a client brings a token or one is revoked. Each client
//! is told on its own: one that does not read keeps no other waiting.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_broker::Broker;
use mqttstack_pipeline::App;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::store::Store;
use crate::store::session::Mode;

/// How long before its end a client is told of it (documented: about five minutes).
const NOTICE: SignedDuration = SignedDuration::from_mins(5);

/// How long it takes at least until it is looked again on account of time.
const SOONEST: SignedDuration = SignedDuration::from_millis(10);

const EXPIRE_NOTICE: &str = "$SYS/tokenExpireNotice";
const INVALID_NOTICE: &str = "$SYS/tokenInvalidNotice";

/// A client that is to be told that its token is not good, and to be disconnected.
#[derive(Debug)]
pub(crate) struct Order {
    pub(super) client_id: String,
    pub(super) code: i8,
    pub(super) kind: &'static str,
    /// What is wrong, in words.
    pub(super) reason: String,
}

/// What a client must be told.
#[derive(Debug)]
struct Notice {
    client_id: String,
    topic: &'static str,
    told: Value,
    /// Why its connection is closed then, if it is.
    closes: Option<String>,
}

/// Ends the task when it is dropped: the task holds the broker, so nothing that the broker holds
/// may hold this.
#[derive(Debug)]
pub(crate) struct Guard {
    task: JoinHandle<()>,
    due: Arc<Notify>,
}

impl Guard {
    /// Has the task look at once.
    pub(crate) fn look(&self) {
        self.due.notify_one();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks after tokens from now on. Must be called inside a tokio runtime.
pub(crate) fn start(watch: Watch, mut orders: mpsc::UnboundedReceiver<Order>) -> Guard {
    let watch = Arc::new(watch);
    let due = Arc::new(Notify::new());
    let asked = due.clone();
    let task = tokio::spawn(async move {
        let mut telling = JoinSet::new();
        loop {
            let (notices, next) = watch.look();
            for notice in notices {
                let watch = watch.clone();
                telling.spawn(async move { watch.tell(notice).await });
            }
            tokio::select! {
                () = watch.clock.reached_or_moved(next) => {}
                () = watch.store.sessions.brought.notified() => {}
                () = asked.notified() => {}
                order = orders.recv() => match order {
                    Some(order) => {
                        let notice = watch.condemn(order);
                        let watch = watch.clone();
                        telling.spawn(async move {
                            if let Some(notice) = notice {
                                watch.tell(notice).await;
                            }
                        });
                    }
                    None => return,
                },
                Some(told) = telling.join_next() => if let Err(error) = told {
                    tracing::warn!(%error, "could not tell a client of its token");
                },
            }
        }
    });
    Guard { task, due }
}

/// What looks after the tokens of connected clients.
#[derive(Debug)]
pub(crate) struct Watch {
    store: Arc<Store>,
    clock: Clock,
    broker: Broker,
}

impl Watch {
    pub(crate) fn new(store: Arc<Store>, app: &App) -> Self {
        Self {
            store,
            clock: app.clock.clone(),
            broker: app.broker.clone(),
        }
    }

    /// Looks at every token of every connected client once: what they must be told, and when the
    /// next of them must be.
    fn look(&self) -> (Vec<Notice>, Timestamp) {
        let now = self.clock.now();
        let mut notices = Vec::new();
        let mut next = Timestamp::MAX;
        for (client_id, session) in self.store.sessions.with_tokens() {
            let Mode::Token(holder) = &session.mode else {
                continue;
            };
            for held in &holder.held {
                let text = held.text.expose();
                let tokens = &self.store.tokens;
                let kind = held.rights.as_str();
                let token = match tokens.check(text, &session.instance, held.rights, now) {
                    Ok(token) => token,
                    Err(fault) => {
                        notices.extend(self.condemn(Order {
                            client_id: client_id.clone(),
                            code: fault.code(),
                            kind,
                            reason: format!("its {kind} token: {fault}"),
                        }));
                        break;
                    }
                };
                let notice = token.expires.checked_sub(NOTICE).unwrap_or(now);
                if notice > now {
                    next = next.min(notice);
                    continue;
                }
                next = next.min(token.expires);
                if self.store.sessions.tell(&client_id, &held.text) {
                    notices.push(Notice {
                        client_id: client_id.clone(),
                        topic: EXPIRE_NOTICE,
                        told: json!({
                            "expireTime": token.expires.as_millisecond(),
                            "type": kind,
                        }),
                        closes: None,
                    });
                }
            }
        }
        // Never at once again, whatever the ends of tokens are.
        let soonest = now.checked_add(SOONEST).unwrap_or(Timestamp::MAX);
        (notices, next.max(soonest))
    }

    /// Takes the client's rights; what it must be told, unless that was done before.
    fn condemn(&self, order: Order) -> Option<Notice> {
        let condemned = self.store.sessions.condemn(&order.client_id);
        condemned.then(|| Notice {
            topic: INVALID_NOTICE,
            told: json!({ "code": order.code, "type": order.kind }),
            client_id: order.client_id,
            closes: Some(order.reason),
        })
    }

    /// Tells a client, and closes its connection if that is so.
    async fn tell(&self, notice: Notice) {
        let client_id = &notice.client_id;
        self.send(client_id, notice.topic, &notice.told).await;
        if let Some(reason) = &notice.closes {
            // What waits for the client is written first.
            self.broker.close(client_id, reason).await;
        }
    }

    async fn send(&self, client_id: &str, topic: &str, told: &Value) {
        // The topics are constants, so they parse.
        let Ok(topic) = TopicName::parse(topic) else {
            return;
        };
        let notice = Publication {
            topic,
            payload: told.to_string().into(),
            // Assumed.
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            origin: Origin {
                kind: OriginKind::System,
                vendor: Some(Surface::Aliyun),
                client_id: None,
                request: None,
            },
        };
        // Who has gone meanwhile needs no notice.
        let Some(session) = self.store.sessions.get(client_id) else {
            return;
        };
        let instance = &session.instance;
        let sent = self
            .broker
            .send_to_client_in(instance, client_id, notice)
            .await;
        if let Err(refusal) = sent {
            tracing::warn!(client_id, %refusal, "could not tell a client of its token");
        }
    }
}
