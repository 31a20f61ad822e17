//! Traces: where a message went, what a client sent and received, how its connections went.
//! Messages are those of `store/trace.rs`, connections those of `store/session.rs`.

use jiff::Timestamp;
use mqttstack_base::message::{Delivery, DeliveryOutcome, Message, OriginKind};
use mqttstack_pipeline::Walk;
use mqttstack_pipeline::journal::Cursor;

use super::Fields;
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::session::Absences;
use crate::wire::{Field, Value};

/// What happened, in the vendor's three words: `Action`, `ActionCode`, `ActionInfo`.
type Words = (&'static str, &'static str, &'static str);

const FROM_CLIENT: Words = (
    "pub_mqtt",
    "mqtt.trace.action.msg.pub.mqtt",
    "Pub From Mqtt Client",
);
/// Also of what `SendMessage` published (assumed: the vendor has no third word).
const FROM_SERVER: Words = ("pub_mq", "mqtt.trace.action.msg.pub.mq", "Pub From MQ");
const TO_CLIENT: Words = ("sub", "mqtt.trace.action.msg.sub", "Push To Mqtt Client");
/// Of what was published while the client was away.
const TO_RETURNED_CLIENT: Words = (
    "push_offline",
    "mqtt.trace.action.msg.push.offline",
    "Push Offline Msg To Mqtt Client",
);

/// `YYYY-MM-DD hh:mm:ss.mmm` (documented), in UTC (assumed).
fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

/// Instance and span of time, which all four queries take.
#[derive(Debug)]
struct Span {
    region: String,
    instance_id: String,
    begin: String,
    end: String,
}

/// A span that was read.
struct Window {
    begin: i64,
    end: i64,
}

impl Span {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            region: parameters.required("MqttRegionId")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
            begin: parameters.required("BeginTime")?.to_owned(),
            end: parameters.required("EndTime")?.to_owned(),
        })
    }

    fn read(&self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Window, Error> {
        let begin = super::number("BeginTime", &self.begin, 0..=i64::MAX, walk.draft)?;
        let end = super::number("EndTime", &self.end, 0..=i64::MAX, walk.draft)?;
        let missing = Error::InstancePermissionCheckFailed;
        super::use_instance(aliyun, &self.instance_id, missing, walk)?;
        let region = aliyun.store.region(&self.instance_id);
        if let Some(region) = region.filter(|known| *known != self.region) {
            walk.draft.note(format!(
                "hint: MqttRegionId is {:?}, the instance is in {region:?}",
                self.region
            ));
        }
        if begin > end {
            walk.draft.note("hint: BeginTime is after EndTime");
        }
        Ok(Window { begin, end })
    }
}

impl Window {
    fn holds(&self, time: Timestamp) -> bool {
        (self.begin..=self.end).contains(&time.as_millisecond())
    }
}

/// The Python SDKs write `True` and `False`; an absent one is the order of time (documented).
const BOOLEANS: &[(&str, bool)] = &[("true", true), ("false", false)];

/// Which page of the result is wanted, and in which order.
#[derive(Debug)]
struct Page {
    current: String,
    size: String,
    reverse: String,
}

impl Page {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            current: parameters.required("CurrentPage")?.to_owned(),
            size: parameters.required("PageSize")?.to_owned(),
            reverse: match parameters.get("Reverse") {
                "" => "false".to_owned(),
                given => given.to_ascii_lowercase(),
            },
        })
    }

    /// The page of these rows, which are in order of time, as an answer.
    fn answer(
        &self,
        name: &'static str,
        mut rows: Vec<Value<'static>>,
        walk: &mut Walk<'_>,
    ) -> Result<Fields, Error> {
        let pages = 1..=i64::from(u32::MAX);
        let current = super::number("CurrentPage", &self.current, pages, walk.draft)?;
        let size = super::number("PageSize", &self.size, 1..=100, walk.draft)?;
        let total = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if super::word("Reverse", &self.reverse, BOOLEANS, walk.draft)? {
            rows.reverse();
        }
        let skipped = usize::try_from((current - 1) * size).unwrap_or(usize::MAX);
        let taken = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(vec![
            Field::list(name, rows.into_iter().skip(skipped).take(taken)),
            Field::new("CurrentPage", current),
            Field::new("PageSize", size),
            Field::new("Total", total),
        ])
    }
}

fn row(message: &Message, client_id: &str, words: Words, time: Timestamp) -> Value<'static> {
    Value::Object(vec![
        Field::new("MsgId", message.id.clone()),
        Field::new("ClientId", client_id.to_owned()),
        Field::new("Action", words.0),
        Field::new("ActionCode", words.1),
        Field::new("ActionInfo", words.2),
        Field::new("Time", written(time)),
    ])
}

fn published(message: &Message) -> Value<'static> {
    let client_id = message.origin.client_id.as_deref().unwrap_or_default();
    let words = match message.origin.kind {
        OriginKind::Mqtt | OriginKind::Will => FROM_CLIENT,
        OriginKind::Http | OriginKind::System | OriginKind::Bridge => FROM_SERVER,
    };
    row(message, client_id, words, message.time)
}

/// The way of messages to the clients of an instance.
struct Deliveries(Absences);

impl Deliveries {
    fn new(aliyun: &Aliyun, span: &Span) -> Self {
        Self(aliyun.store.sessions.absences(&span.instance_id))
    }

    fn words(&self, client_id: &str, cursor: Cursor) -> Words {
        if self.0.at(client_id, cursor) {
            TO_RETURNED_CLIENT
        } else {
            TO_CLIENT
        }
    }

    /// Those of a message that were written to their clients, each as a row with its time; those
    /// to one client alone if it is named.
    fn rows(&self, message: &Message, cursor: Cursor, client_id: &str) -> Vec<Row> {
        let written = |delivery: &&Delivery| {
            matches!(
                delivery.outcome,
                DeliveryOutcome::Sent | DeliveryOutcome::Acknowledged
            ) && (client_id.is_empty() || delivery.client_id == client_id)
        };
        let deliveries = message.deliveries.lock();
        let deliveries = deliveries.iter().filter(written);
        deliveries
            .map(|delivery| {
                let words = self.words(&delivery.client_id, cursor);
                let row = row(message, &delivery.client_id, words, delivery.time);
                (delivery.time, row)
            })
            .collect()
    }
}

/// A row of an answer, with the time by which it is ordered.
type Row = (Timestamp, Value<'static>);

/// The rows within a span of time, in its order.
fn in_time(mut rows: Vec<Row>, window: &Window) -> Vec<Value<'static>> {
    rows.retain(|(time, _)| window.holds(*time));
    rows.sort_by_key(|(time, _)| *time);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// `QueryMqttTraceMessagePublish`: who published a message, and when.
#[derive(Debug)]
pub(crate) struct QueryMqttTraceMessagePublish {
    span: Span,
    message_id: String,
}

impl QueryMqttTraceMessagePublish {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            span: Span::parse(parameters)?,
            message_id: parameters.required("MsgId")?.to_owned(),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let window = self.span.read(aliyun, walk)?;
        let traced = aliyun.store.traces.of(&self.span.instance_id);
        let messages = traced.iter().map(|(_, traced)| &traced.message);
        let found =
            messages.filter(|message| message.id == self.message_id && window.holds(message.time));
        let rows = found.map(|message| published(message));
        Ok(vec![Field::list("MessageTraceLists", rows)])
    }
}

/// `QueryMqttTraceMessageSubscribe`: whom a message was delivered to.
#[derive(Debug)]
pub(crate) struct QueryMqttTraceMessageSubscribe {
    span: Span,
    message_id: String,
    client_id: String,
    page: Page,
}

impl QueryMqttTraceMessageSubscribe {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            span: Span::parse(parameters)?,
            message_id: parameters.required("MsgId")?.to_owned(),
            client_id: parameters.get("ClientId").to_owned(),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let window = self.span.read(aliyun, walk)?;
        let deliveries = Deliveries::new(aliyun, &self.span);
        let mut rows = Vec::new();
        for (cursor, traced) in aliyun.store.traces.of(&self.span.instance_id) {
            let message = &traced.message;
            if message.id == self.message_id {
                rows.extend(deliveries.rows(message, cursor, &self.client_id));
            }
        }
        let rows = in_time(rows, &window);
        self.page.answer("MessageTraceLists", rows, walk)
    }
}

/// `QueryMqttTraceMessageOfClient`: what a client published and received.
#[derive(Debug)]
pub(crate) struct QueryMqttTraceMessageOfClient {
    span: Span,
    client_id: String,
    page: Page,
}

impl QueryMqttTraceMessageOfClient {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            span: Span::parse(parameters)?,
            client_id: parameters.required("ClientId")?.to_owned(),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let window = self.span.read(aliyun, walk)?;
        let deliveries = Deliveries::new(aliyun, &self.span);
        let mut rows = Vec::new();
        for (cursor, traced) in aliyun.store.traces.of(&self.span.instance_id) {
            let message = &traced.message;
            if message.origin.client_id.as_ref() == Some(&self.client_id) {
                rows.push((message.time, published(message)));
            }
            rows.extend(deliveries.rows(message, cursor, &self.client_id));
        }
        let rows = in_time(rows, &window);
        self.page.answer("MessageOfClientList", rows, walk)
    }
}

/// `QueryMqttTraceDevice`: how a client's connections went.
#[derive(Debug)]
pub(crate) struct QueryMqttTraceDevice {
    span: Span,
    client_id: String,
    page: Page,
}

impl QueryMqttTraceDevice {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            span: Span::parse(parameters)?,
            client_id: parameters.required("ClientId")?.to_owned(),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let window = self.span.read(aliyun, walk)?;
        let sessions = &aliyun.store.sessions;
        let events = sessions.events(&self.span.instance_id, &self.client_id);
        let rows = events.into_iter().filter(|event| window.holds(event.time));
        let rows = rows.map(|event| {
            Value::Object(vec![
                Field::new("Action", event.action),
                Field::new("ActionCode", format!("mqtt.trace.action.{}", event.action)),
                Field::new("ActionInfo", event.info),
                Field::new("ChannelId", event.channel),
                Field::new("Time", written(event.time)),
            ])
        });
        self.page.answer("DeviceInfoList", rows.collect(), walk)
    }
}
