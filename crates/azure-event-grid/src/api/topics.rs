//! Namespace topics: publish, receive, acknowledge, release, reject, renewLock, as the vendor's
//! SDKs of api-version 2024-06-01 call them (recorded; data-plane specification).

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mqttstack_base::exchange::Answer;
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::parameters::{Parameters, invalid};
use super::rooms::Rooms;
use super::route::Action;
use crate::error::Error;
use crate::events::queue::{Received, Settlement, TokenError};
use crate::events::store::NamespaceState;
use crate::events::subscription::Subscription;
use crate::events::topics::Unusable;
use crate::identity::auth::Accept;
use crate::model::{access, roles};
use crate::render::answer;

/// The api-versions of the namespace topics' data plane.
pub(crate) const VERSIONS: [&str; 3] = ["2023-11-01", "2024-06-01", "2023-10-01-preview"];
/// Delays that `release` takes, in seconds.
const DELAYS: [u32; 5] = [0, 10, 60, 600, 3600];

/// An allowed request about a namespace topic.
#[derive(Debug)]
pub(crate) struct TopicCall {
    namespace: Arc<NamespaceState>,
    /// Whose rate it counts against.
    pub caller: String,
    topic: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Publish(Vec<Value>),
    Receive {
        subscription: String,
        max: usize,
        wait: Duration,
    },
    Settle {
        subscription: String,
        tokens: Vec<String>,
        settlement: Settlement,
    },
}

impl Rooms {
    /// Authenticates and reads a publish of events.
    pub(crate) async fn admit_events(
        &self,
        topic: String,
        walk: &mut Walk<'_>,
    ) -> Result<TopicCall, Error> {
        let call = self.admit_topic(topic, roles::DATA_SENDER, walk).await?;
        let query = Parameters::parse(walk.request.head.raw_query())?;
        self.check_version(&query, &VERSIONS)?;
        let events = self.read_events(walk)?;
        Ok(TopicCall {
            what: What::Publish(events),
            ..call
        })
    }

    /// Authenticates and reads what is asked of an event subscription.
    pub(crate) async fn admit_subscription(
        &self,
        topic: String,
        subscription: String,
        action: Action,
        walk: &mut Walk<'_>,
    ) -> Result<TopicCall, Error> {
        let call = self.admit_topic(topic, roles::DATA_RECEIVER, walk).await?;
        let query = Parameters::parse(walk.request.head.raw_query())?;
        self.check_version(&query, &VERSIONS)?;
        let settlement = match action {
            Action::Receive => {
                let what = What::Receive {
                    subscription,
                    max: number(&query, "maxEvents", 1, 1, 100)?,
                    wait: Duration::from_secs(number(&query, "maxWaitTime", 60, 10, 120)? as u64),
                };
                return Ok(TopicCall { what, ..call });
            }
            Action::Acknowledge => Settlement::Acknowledge,
            Action::Release => Settlement::Release(delay(&query)?),
            Action::Reject => Settlement::Reject,
            Action::RenewLock => Settlement::RenewLock,
        };
        Ok(TopicCall {
            what: What::Settle {
                subscription,
                tokens: lock_tokens(&walk.request.body)?,
                settlement,
            },
            ..call
        })
    }

    async fn admit_topic(
        &self,
        topic: String,
        role: &str,
        walk: &mut Walk<'_>,
    ) -> Result<TopicCall, Error> {
        let request = walk.request;
        let namespace = self.namespace_of(request)?;
        let resources = namespace.resources();
        let caller = self
            .authenticator
            .authenticate(
                request,
                &resources,
                Accept::TokenOrKey(&topic),
                walk.receipt.now,
            )
            .await?;
        walk.draft.caller = Some(caller.name.clone());
        access::identity_may_use_topics(&caller.object_id, caller.roles.as_deref(), role)
            .map_err(Error::Forbidden)?;
        Ok(TopicCall {
            namespace,
            caller: caller.name,
            topic,
            what: What::Publish(Vec::new()),
        })
    }

    /// Answers.
    pub(crate) async fn perform_topic(
        &self,
        call: TopicCall,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let TopicCall {
            namespace,
            topic,
            what,
            ..
        } = call;
        let mut lent = None;
        let body = match what {
            What::Publish(events) => {
                let size = walk.request.body.len();
                let rates = self.rates(walk.app);
                rates.events(&namespace.resources().name, events.len(), size)?;
                let now = walk.receipt.now;
                let published = namespace.topics().publish(&topic, &events, now);
                published.map_err(|why| match why {
                    Unusable::NoTopic => Error::TopicGone(topic.clone()),
                    other => unusable(&topic, "", other),
                })?;
                "{}".to_owned()
            }
            What::Receive {
                subscription,
                max,
                wait,
            } => {
                let (held, received) = receive(&namespace, &topic, &subscription, max, wait, walk)
                    .await
                    .map_err(|why| unusable(&topic, &subscription, why))?;
                let body = details(&received);
                let tokens: Vec<_> = received.into_iter().map(|one| one.lock_token).collect();
                lent = (!tokens.is_empty()).then_some((held, tokens));
                body
            }
            What::Settle {
                subscription,
                tokens,
                settlement,
            } => {
                let topics = namespace.topics();
                let held = topics
                    .subscription(&topic, &subscription)
                    .map_err(|why| unusable(&topic, &subscription, why))?;
                let results = topics.settle(&held, &tokens, settlement, walk.receipt.now);
                settled(&tokens, results).to_string()
            }
        };
        let answer = answer(200, walk)
            .header("Content-Type", "application/json; charset=utf-8")
            .body(body);
        let Some((held, tokens)) = lent else {
            return Ok(answer);
        };
        let clock = walk.app.clock.clone();
        Ok(answer.undelivered(move || {
            tracing::info!(target: "mqttstack::azure", topic, subscription = held.name(), "a receiver was gone before it got its events: they are available again");
            held.give_back(&tokens, clock.now());
        }))
    }
}

/// Waits until there is an event, at most `wait` of real time.
async fn receive(
    namespace: &NamespaceState,
    topic: &str,
    subscription: &str,
    max: usize,
    wait: Duration,
    walk: &Walk<'_>,
) -> Result<(Arc<Subscription>, Vec<Received>), Unusable> {
    let app = walk.app;
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let held = namespace.topics().subscription(topic, subscription)?;
        let news = held.news().notified();
        tokio::pin!(news);
        // Registered before looking, so that nothing slips in between.
        news.as_mut().enable();
        if held.is_gone() {
            continue;
        }
        let now = app.clock.now();
        let received = namespace.topics().receive(&held, max, now, &app.ids);
        if !received.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok((held.clone(), received));
        }
        let next = held.next_change();
        tokio::select! {
            () = news => {}
            () = app.clock.reached_or_moved(next.unwrap_or(Timestamp::MAX)) => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

/// The body that says of each lock token whether it was good.
fn settled(tokens: &[String], results: Vec<Result<(), TokenError>>) -> Value {
    let mut good = Vec::new();
    let mut failed = Vec::new();
    for (token, result) in tokens.iter().zip(results) {
        match result {
            Ok(()) => good.push(token),
            Err(error) => {
                let (code, message) = error.code();
                failed.push(json!({
                    "lockToken": token,
                    "error": {"code": code, "message": message},
                }));
            }
        }
    }
    json!({"succeededLockTokens": good, "failedLockTokens": failed})
}

/// The body with events and their lock tokens; the events are JSON texts already.
fn details(received: &[Received]) -> String {
    let mut body = "{\"value\":[".to_owned();
    for (place, one) in received.iter().enumerate() {
        let properties = json!({
            "lockToken": one.lock_token,
            "deliveryCount": one.delivery_count,
        });
        let comma = if place == 0 { "" } else { "," };
        let event = one.event.text();
        // A string takes whatever is written into it.
        let _ = write!(
            body,
            "{comma}{{\"brokerProperties\":{properties},\"event\":{event}}}"
        );
    }
    body.push_str("]}");
    body
}

/// How the vendor says that a topic or an event subscription cannot be used.
fn unusable(topic: &str, subscription: &str, why: Unusable) -> Error {
    match why {
        Unusable::NoTopic => {
            Error::NotFound(format!("The namespace topic '{topic}' was not found."))
        }
        Unusable::NoSubscription => Error::NotFound(format!(
            "The event subscription '{subscription}' of the topic '{topic}' was not found."
        )),
        full => Error::Quota(full.to_string()),
    }
}

fn number(
    query: &Parameters,
    name: &str,
    default: usize,
    least: usize,
    most: usize,
) -> Result<usize, Error> {
    let Some(text) = query.get(name)? else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            invalid(
                name,
                format!("it is {text:?}, it must be {least} to {most}"),
            )
        })
}

fn delay(query: &Parameters) -> Result<u32, Error> {
    let name = "releaseDelayInSeconds";
    let Some(text) = query.get(name)? else {
        return Ok(0);
    };
    text.parse()
        .ok()
        .filter(|delay| DELAYS.contains(delay))
        .ok_or_else(|| {
            invalid(
                name,
                format!("it is {text:?}, it must be one of {DELAYS:?}"),
            )
        })
}

fn lock_tokens(body: &[u8]) -> Result<Vec<String>, Error> {
    let shape = || {
        Error::InvalidBody("it must be {\"lockTokens\":[...]} with at least one token".to_owned())
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| shape())?;
    let tokens = body
        .get("lockTokens")
        .and_then(Value::as_array)
        .ok_or_else(shape)?;
    let tokens: Option<Vec<_>> = tokens
        .iter()
        .map(|token| token.as_str().map(str::to_owned))
        .collect();
    tokens.filter(|tokens| !tokens.is_empty()).ok_or_else(shape)
}
