//! Telling as it happens: server-sent events for every answered request, every message and
//! every reset. An event's id is the place in both rings, so a client that reconnects with
//! `Last-Event-ID` goes on where it was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Panel;
use super::input::Answered;
use super::problem::Problem;
use super::render::Kind;
use crate::broker::message::Message;
use crate::journal::{Cursor, Entry, Follower};

/// How long nothing may be sent before a comment shows that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Feed {
    requests: Follower<Entry>,
    messages: Follower<Message>,
    resets: Receiver<Value>,
    told: (Cursor, Cursor),
    waiting: VecDeque<Event>,
}

/// `GET events`
pub(super) async fn events(
    State(panel): State<Panel>,
    headers: HeaderMap,
) -> Answered<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let journal = &panel.app.journal;
    let told = match headers.get("last-event-id") {
        None => (journal.requests().last(), journal.messages().last()),
        Some(id) => place(id.to_str().unwrap_or_default())
            .ok_or_else(|| Problem::parameter("Last-Event-ID", "not an id of this stream"))?,
    };
    let feed = Feed {
        requests: Entry::follow(journal, told.0),
        messages: Message::follow(journal, told.1),
        resets: panel.resets.subscribe(),
        told,
        // Sends the head at once, so that a client knows from when on it is told.
        waiting: VecDeque::from([Event::default().comment("listening")]),
    };
    Ok(Sse::new(futures_util::stream::unfold(
        feed,
        |mut feed| async {
            let event = feed.next().await;
            Some((Ok(event), feed))
        },
    )))
}

fn place(id: &str) -> Option<(Cursor, Cursor)> {
    let (requests, messages) = id.split_once('-')?;
    Some((requests.parse().ok()?, messages.parse().ok()?))
}

impl Feed {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            self.collect();
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.requests.changed() => {}
                () = self.messages.changed() => {}
                reset = self.resets.recv() => match reset {
                    Ok(parts) => self.push("reset", &parts),
                    Err(RecvError::Lagged(_)) => {}
                    // The panel is gone; its journal will not change any more.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => return Event::default().comment(""),
            }
        }
    }

    fn collect(&mut self) {
        for (cursor, entry) in self.requests.take().entries {
            self.told.0 = cursor;
            self.push("request", &entry.render(cursor));
        }
        for (cursor, message) in self.messages.take().entries {
            self.told.1 = cursor;
            self.push("message", &message.render(cursor));
        }
    }

    fn push(&mut self, kind: &str, data: &Value) {
        let id = format!("{}-{}", self.told.0, self.told.1);
        self.waiting
            .push_back(Event::default().event(kind).id(id).data(data.to_string()));
    }
}

/// What a reset event says.
pub(super) fn reset_event(parts: &[super::control::ResetPart]) -> Value {
    json!({ "reset": parts })
}
