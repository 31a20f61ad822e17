//! `GET /mqtt/retainedMessages/message` and `GET /mqtt/retainedMessages` (mqtt-retain page,
//! preview): one retained message as it is, or a list of them by pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::exchange::{Answer, Surface};
use mqttstack_base::message::{Message, Retained, TopicFilter, TopicName};
use mqttstack_pipeline::Walk;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::identity::base;
use super::parameters::{Parameters, invalid};
use super::publish::VERSIONS;
use super::rooms::Rooms;
use crate::error::Error;
use crate::identity::auth::Accept;
use crate::model::access;
use crate::model::resources::Permission;
use crate::render::answer;

/// What a query's value cannot hold as it is.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

/// The most and the default number of messages of a page.
const PAGE: usize = 100;

/// An allowed read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Whose rate it counts against.
    pub caller: String,
    namespace: String,
    what: What,
}

#[derive(Debug)]
enum What {
    One(TopicName),
    Page(Page),
}

#[derive(Debug)]
struct Page {
    filter: TopicFilter,
    /// Where the page before ended.
    after: Option<String>,
    size: usize,
}

impl Rooms {
    /// Authenticates, reads and authorizes a read of retained messages.
    pub(crate) async fn admit_retained(
        &self,
        one: bool,
        walk: &mut Walk<'_>,
    ) -> Result<Read, Error> {
        let request = walk.request;
        let namespace = self.namespace_of(request)?;
        let resources = namespace.resources();
        let caller = self
            .authenticator
            .authenticate(request, &resources, Accept::Token, walk.receipt.now)
            .await?;
        walk.draft.caller = Some(caller.name.clone());
        let query = Parameters::parse(request.head.raw_query())?;
        self.check_version(&query, &VERSIONS)?;
        let what = if one {
            let topic = query
                .get("topic")?
                .ok_or(Error::MissingParameter("topic"))?;
            let topic = TopicName::parse(topic).map_err(|why| invalid("topic", why.to_string()))?;
            What::One(topic)
        } else {
            What::Page(Page::read(&query)?)
        };
        let topic = match &what {
            What::One(topic) => topic.as_str(),
            What::Page(page) => page.filter.as_str(),
        };
        let roles = caller.roles.as_deref();
        access::identity_may(
            &resources,
            &caller.object_id,
            roles,
            Permission::Subscriber,
            topic,
        )
        .map_err(Error::Forbidden)?;
        Ok(Read {
            caller: caller.object_id,
            namespace: resources.name.clone(),
            what,
        })
    }

    /// Answers.
    pub(crate) fn perform_retained(call: Read, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        let broker = &walk.app.broker;
        let retained = broker.retained_of(Surface::Azure, &call.namespace);
        let answer = answer(200, walk);
        match call.what {
            What::One(topic) => {
                let found = retained
                    .iter()
                    .find(|one| one.message.topic == topic.as_str())
                    .ok_or_else(|| {
                        Error::NotFound(format!("There is no retained message on '{topic}'."))
                    })?;
                Ok(whole(answer, found))
            }
            What::Page(page) => {
                let (rows, next) = page.cut(&retained);
                let rows: Vec<_> = rows.iter().map(|one| row(one)).collect();
                let link = next.map(|after| page.link(walk, &after));
                let body = json!({"nextLink": link, "retainedMessages": rows});
                Ok(answer
                    .header("Content-Type", "application/json; charset=utf-8")
                    .body(body.to_string()))
            }
        }
    }
}

impl Page {
    fn read(query: &Parameters) -> Result<Self, Error> {
        let size = match query.get("maxResults")? {
            None => PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=PAGE).contains(size))
                .ok_or_else(|| {
                    invalid(
                        "maxResults",
                        format!("it is {text:?}, it must be 1 to {PAGE}"),
                    )
                })?,
        };
        let (filter, after) = match (query.get("topicFilter")?, query.get("continuationToken")?) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "continuationToken",
                    "it cannot be given together with topicFilter",
                ));
            }
            (Some(filter), None) => (filter.to_owned(), None),
            (None, Some(token)) => continuation(token)
                .map(|(filter, after)| (filter, Some(after)))
                .ok_or_else(|| invalid("continuationToken", "it is not one of this service"))?,
            (None, None) => {
                return Err(invalid(
                    "topicFilter",
                    "it is missing; either it or continuationToken is required",
                ));
            }
        };
        let filter =
            TopicFilter::parse(filter).map_err(|why| invalid("topicFilter", why.to_string()))?;
        Ok(Self {
            filter,
            after,
            size,
        })
    }

    /// The messages of this page, and the last topic if more follow.
    fn cut<'a>(&self, retained: &'a [Retained]) -> (Vec<&'a Retained>, Option<String>) {
        let mut matching: Vec<_> = retained
            .iter()
            .filter(|one| self.filter.matches(&one.message.topic))
            .filter(|one| {
                self.after
                    .as_ref()
                    .is_none_or(|after| one.message.topic > *after)
            })
            .collect();
        matching.sort_by(|a, b| a.message.topic.cmp(&b.message.topic));
        let more = matching.len() > self.size;
        matching.truncate(self.size);
        let last = matching.last().map(|one| one.message.topic.clone());
        (matching, last.filter(|_| more))
    }

    fn link(&self, walk: &Walk<'_>, after: &str) -> String {
        let token = json!([self.filter.as_str(), after]).to_string();
        let version = Parameters::parse(walk.request.head.raw_query())
            .ok()
            .and_then(|query| query.get("api-version").ok().flatten().map(str::to_owned))
            .unwrap_or_default();
        let version = utf8_percent_encode(&version, QUERY_VALUE);
        format!(
            "{}/mqtt/retainedMessages?continuationToken={}&maxResults={}&api-version={version}",
            base(walk.request),
            URL_SAFE_NO_PAD.encode(token),
            self.size
        )
    }
}

fn continuation(token: &str) -> Option<(String, String)> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// The size of the whole MQTT message, as the page calls it: topic, payload and properties.
fn size(message: &Message) -> usize {
    let properties = &message.properties;
    message.topic.len()
        + message.payload.len()
        + properties.response_topic.as_ref().map_or(0, String::len)
        + properties
            .correlation_data
            .as_ref()
            .map_or(0, bytes::Bytes::len)
        + properties.content_type.as_ref().map_or(0, String::len)
        + properties
            .user_properties
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>()
}

/// When a message expires: the same at every read, as long as it is the same message.
fn expiry(message: &Message) -> Option<String> {
    let life = message.properties.message_expiry_interval?;
    let life = SignedDuration::from_secs(i64::from(life));
    message.time.checked_add(life).ok().map(whole_seconds)
}

/// A time as the page shows it: `2025-11-16T08:13:05Z`.
fn whole_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn whole(answer: Answer, retained: &Retained) -> Answer {
    let message = &retained.message;
    let mut answer = answer
        .header("Content-Type", "application/octet-stream")
        .header("x-ms-mqtt-topic", escaped(&message.topic))
        .header("x-ms-mqtt-qos", message.qos.level().to_string())
        .header("x-ms-mqtt-size", size(message).to_string());
    if let Some(expiry) = expiry(message) {
        answer = answer.header("x-ms-mqtt-expiry", expiry);
    }
    answer
        .header("x-ms-mqtt-last-modified", whole_seconds(message.time))
        .body(message.payload.clone())
}

/// A topic in a header: control characters must not end the field.
fn escaped(topic: &str) -> String {
    utf8_percent_encode(topic, CONTROLS).to_string()
}

fn row(retained: &Retained) -> Value {
    let message = &retained.message;
    json!({
        "topic": message.topic,
        "qos": message.qos.level(),
        "size": size(message),
        "expiry": expiry(message),
        "lastModifiedTime": whole_seconds(message.time),
    })
}
