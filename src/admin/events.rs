//! `GET events`: server-sent events for every answered request, every message and every reset. An
//! event's id is a position in both journals, so a client that reconnects with `Last-Event-ID` goes
//! on where it was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use mqttstack_base::message::Message;
use mqttstack_pipeline::journal::{Cursor, Entry, Follower, Halt, Looking, Reading};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Panel;
use super::input::Answered;
use super::problem::Problem;
use super::render::Kind;

/// How long nothing may be sent before a comment shows that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many bytes of events are rendered ahead of the client.
const PAGE: usize = 256 << 10;

struct Feed {
    reading: Reading,
    requests: Follower<Entry>,
    messages: Follower<Message>,
    resets: Receiver<Value>,
    told: (Cursor, Cursor),
    /// What has happened and is not rendered yet. A slow client must not keep entries that the
    /// journal has let go of: it misses them.
    happened: VecDeque<Happened>,
    waiting: VecDeque<Event>,
}

enum Happened {
    Request(Cursor, Weak<Entry>),
    Message(Cursor, Weak<Message>),
    Reset(Value),
}

/// `GET events`
pub(super) async fn events(
    State(panel): State<Panel>,
    headers: HeaderMap,
) -> Answered<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let journal = &panel.app.journal;
    let told = match headers.get("last-event-id") {
        None => (journal.requests().last(), journal.messages().last()),
        Some(id) => place(id.to_str().unwrap_or_default()).ok_or_else(|| {
            Problem::parameter(
                "Last-Event-ID",
                "expected the id of an event of this stream, such as 12-34",
            )
        })?,
    };
    let feed = Feed {
        reading: journal.reading().clone(),
        requests: Entry::follow(journal, told.0),
        messages: Message::follow(journal, told.1),
        resets: panel.resets.subscribe(),
        told,
        happened: VecDeque::new(),
        // Sends the head at once, so that a client knows from when on it is told.
        waiting: VecDeque::from([Event::default().comment("listening")]),
    };
    Ok(Sse::new(futures_util::stream::unfold(
        feed,
        |mut feed| async {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        },
    )))
}

fn place(id: &str) -> Option<(Cursor, Cursor)> {
    let (requests, messages) = id.split_once('-')?;
    Some((requests.parse().ok()?, messages.parse().ok()?))
}

impl Feed {
    /// The next event; `None` when the program stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.happened.is_empty() {
                self.collect();
            }
            if !self.happened.is_empty() {
                self.render().await.ok()?;
                continue;
            }
            tokio::select! {
                () = self.requests.changed() => {}
                () = self.messages.changed() => {}
                reset = self.resets.recv() => match reset {
                    Ok(parts) => self.happened.push_back(Happened::Reset(parts)),
                    Err(RecvError::Lagged(_)) => {}
                    // The panel is gone; its journal will not change any more.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = self.reading.stopped() => return None,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Event::default().comment("")),
            }
        }
    }

    fn collect(&mut self) {
        let requests = self.requests.take().entries.into_iter();
        let messages = self.messages.take().entries.into_iter();
        self.happened
            .extend(requests.map(|(cursor, one)| Happened::Request(cursor, Arc::downgrade(&one))));
        self.happened
            .extend(messages.map(|(cursor, one)| Happened::Message(cursor, Arc::downgrade(&one))));
    }

    /// Renders a page of what has happened.
    async fn render(&mut self) -> Result<(), Halt> {
        let mut happened = std::mem::take(&mut self.happened);
        let mut told = self.told;
        (self.happened, self.waiting, self.told) = self
            .reading
            .look(move |looking| {
                let events = page(&mut happened, &mut told, looking)?;
                Ok((happened, events, told))
            })
            .await?;
        Ok(())
    }
}

fn page(
    happened: &mut VecDeque<Happened>,
    told: &mut (Cursor, Cursor),
    looking: &mut Looking,
) -> Result<VecDeque<Event>, Halt> {
    let mut events = VecDeque::new();
    let mut length = 0;
    while length < PAGE
        && let Some(one) = happened.pop_front()
    {
        looking.step()?;
        let (kind, data) = match one {
            Happened::Request(cursor, entry) => {
                told.0 = cursor;
                ("request", entry.upgrade().map(|one| one.render(cursor)))
            }
            Happened::Message(cursor, message) => {
                told.1 = cursor;
                ("message", message.upgrade().map(|one| one.render(cursor)))
            }
            Happened::Reset(parts) => ("reset", Some(parts)),
        };
        let Some(data) = data else { continue };
        let data = data.to_string();
        length += data.len();
        let id = format!("{}-{}", told.0, told.1);
        events.push_back(Event::default().event(kind).id(id).data(data));
    }
    Ok(events)
}

/// What a reset event says.
pub(super) fn reset_event(parts: &[super::control::ResetPart]) -> Value {
    json!({ "reset": parts })
}
