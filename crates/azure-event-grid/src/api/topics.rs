//! Namespace topics: publish, receive, acknowledge, release, reject, renewLock, as the vendor's
//! SDKs of api-version 2024-06-01 call them (recorded; data-plane specification).

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
use crate::events::store::{Missing, NamespaceState};
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
        let missing = |subscription: &str, missing| not_found(&topic, subscription, missing);
        let mut lent = None;
        let body = match what {
            What::Publish(events) => {
                self.rates(walk.app).events(
                    &namespace.resources().name,
                    events.len(),
                    walk.request.body.len(),
                )?;
                namespace
                    .publish(&topic, events, walk.receipt.now)
                    .map_err(|_| Error::TopicGone(topic.clone()))?;
                json!({})
            }
            What::Receive {
                subscription,
                max,
                wait,
            } => {
                let received = receive(&namespace, &topic, &subscription, max, wait, walk)
                    .await
                    .map_err(|which| missing(&subscription, which))?;
                let tokens: Vec<_> = received.iter().map(|one| one.lock_token.clone()).collect();
                let value = json!({"value": received.iter().map(detail).collect::<Vec<_>>()});
                lent = (!tokens.is_empty()).then_some((subscription, tokens));
                value
            }
            What::Settle {
                subscription,
                tokens,
                settlement,
            } => {
                let results = namespace
                    .settle(&topic, &subscription, &tokens, settlement, walk.receipt.now)
                    .map_err(|which| missing(&subscription, which))?;
                settled(&tokens, results)
            }
        };
        let answer = answer(200, walk)
            .header("Content-Type", "application/json; charset=utf-8")
            .body(body.to_string());
        let Some((subscription, tokens)) = lent else {
            return Ok(answer);
        };
        let clock = walk.app.clock.clone();
        Ok(answer.undelivered(move || {
            tracing::info!(target: "mqttstack::azure", topic, subscription, "a receiver was gone before it got its events: they are available again");
            namespace.give_back(&topic, &subscription, &tokens, clock.now());
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
) -> Result<Vec<Received>, Missing> {
    let app = walk.app;
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let news = namespace.news().notified();
        tokio::pin!(news);
        // Registered before looking, so that nothing slips in between.
        news.as_mut().enable();
        let now = app.clock.now();
        let received = namespace.receive(topic, subscription, max, now, &app.ids)?;
        if !received.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(received);
        }
        let next = namespace.next_available(topic, subscription, now);
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

fn detail(received: &Received) -> Value {
    json!({
        "brokerProperties": {
            "lockToken": received.lock_token,
            "deliveryCount": received.delivery_count,
        },
        "event": *received.event,
    })
}

fn not_found(topic: &str, subscription: &str, missing: Missing) -> Error {
    Error::NotFound(match missing {
        Missing::Topic => format!("The namespace topic '{topic}' was not found."),
        Missing::Subscription => {
            format!("The event subscription '{subscription}' of the topic '{topic}' was not found.")
        }
    })
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
