//! Tokens run out and are revoked while clients are connected with them: a client is told about
//! five minutes before (`$SYS/tokenExpireNotice`), and when it is so (`$SYS/tokenInvalidNotice`),
//! and then its connection is closed. [`Watch::tick`] looks once; the task that [`start`] starts
//! looks every second, and at once when the emulator's clock is moved. Each client is told on its
//! own: one that does not read keeps no other waiting.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::app::App;
use crate::broker::Broker;
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::clock::Clock;
use crate::exchange::Surface;
use crate::vendor::aliyun::store::Store;
use crate::vendor::aliyun::store::session::{Mode, Session};

/// How long before its end a client is told of it (documented: about five minutes).
const NOTICE: SignedDuration = SignedDuration::from_mins(5);

const EXPIRE_NOTICE: &str = "$SYS/tokenExpireNotice";
const INVALID_NOTICE: &str = "$SYS/tokenInvalidNotice";

/// How often it is looked whether one has run out, in real time.
const INTERVAL: Duration = Duration::from_secs(1);

/// A client that is to be told that its token is not good, and to be disconnected.
#[derive(Debug)]
pub(in crate::vendor::aliyun) struct Order {
    pub(super) client_id: String,
    pub(super) code: i8,
    pub(super) kind: &'static str,
    /// What is wrong, in words.
    pub(super) reason: String,
}

/// Ends the task when it is dropped: the task holds the broker, so nothing that the broker holds
/// may hold this.
#[derive(Debug)]
pub(in crate::vendor::aliyun) struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks after tokens from now on. Must be called inside a tokio runtime.
pub(in crate::vendor::aliyun) fn start(
    watch: Watch,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Guard {
    let watch = Arc::new(watch);
    let look = |watch: &Arc<Watch>| {
        let watch = watch.clone();
        async move { watch.tick().await }
    };
    Guard(tokio::spawn(async move {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Whoever is told twice at once is told once: the store says who was told.
        let mut telling = JoinSet::new();
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    telling.spawn(look(&watch));
                }
                () = watch.clock.reached_or_moved(Timestamp::MAX) => {
                    telling.spawn(look(&watch));
                }
                order = orders.recv() => match order {
                    Some(order) => {
                        let watch = watch.clone();
                        telling.spawn(async move { watch.invalid(&order).await });
                    }
                    None => return,
                },
                Some(told) = telling.join_next() => if let Err(error) = told {
                    tracing::warn!(%error, "could not tell a client of its token");
                },
            }
        }
    }))
}

/// What looks after the tokens of connected clients.
#[derive(Debug)]
pub(in crate::vendor::aliyun) struct Watch {
    store: Arc<Store>,
    clock: Clock,
    broker: Broker,
}

impl Watch {
    pub(in crate::vendor::aliyun) fn new(store: Arc<Store>, app: &App) -> Self {
        Self {
            store,
            clock: app.clock.clone(),
            broker: app.broker.clone(),
        }
    }

    /// Looks at every token of every connected client once.
    pub(in crate::vendor::aliyun) async fn tick(&self) {
        let now = self.clock.now();
        let clients = self.store.sessions.with_tokens();
        let looks = clients
            .iter()
            .map(|(client_id, session)| self.look(client_id, session, now));
        join_all(looks).await;
    }

    /// Looks at the tokens of one client.
    async fn look(&self, client_id: &str, session: &Session, now: Timestamp) {
        let Mode::Token(holder) = &session.mode else {
            return;
        };
        for held in &holder.held {
            let text = held.text.expose();
            let tokens = &self.store.tokens;
            let checked = tokens.check(text, &session.instance, held.rights, now);
            let kind = held.rights.as_str();
            match checked {
                Err(fault) => {
                    let order = Order {
                        client_id: client_id.to_owned(),
                        code: fault.code(),
                        kind,
                        reason: format!("its {kind} token: {fault}"),
                    };
                    self.invalid(&order).await;
                    return;
                }
                Ok(token)
                    if token.expires.duration_since(now) <= NOTICE
                        && self.store.sessions.tell(client_id, &held.text) =>
                {
                    let told = json!({
                        "expireTime": token.expires.as_millisecond(),
                        "type": kind,
                    });
                    self.send(client_id, EXPIRE_NOTICE, &told).await;
                }
                Ok(_) => {}
            }
        }
    }

    /// Takes the client's rights, tells it, and closes its connection once it was told.
    async fn invalid(&self, order: &Order) {
        if !self.store.sessions.condemn(&order.client_id) {
            return;
        }
        let told = json!({ "code": order.code, "type": order.kind });
        self.send(&order.client_id, INVALID_NOTICE, &told).await;
        // What waits for the client is written first.
        self.broker.close(&order.client_id, &order.reason).await;
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
        if let Err(refusal) = self.broker.send_to_client(client_id, notice).await {
            tracing::warn!(client_id, %refusal, "could not tell a client of its token");
        }
    }
}
