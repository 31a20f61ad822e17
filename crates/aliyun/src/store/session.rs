//! Who is connected with which rights, and what connections went through: `QueryMqttTraceDevice`
//! answers from the latter.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use mqttstack_pipeline::journal::Cursor;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::token::Rights;

/// How many events of connections are remembered.
const MAX_EVENTS: usize = 10_000;

/// The longest client id, in bytes, whose events are remembered: nobody has a longer one, and
/// refused attempts may name any.
const MAX_NAME: usize = 1_024;

/// A token that a connected client presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub rights: Rights,
    pub text: Secret,
    /// Whether the client was told that it expires soon.
    pub told: bool,
}

/// The tokens of a connected client.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub held: Vec<Held>,
    /// The access key that the client named; `None` if it connected without credentials.
    pub key_id: Option<String>,
    /// Whether its connection is about to be closed.
    pub condemned: bool,
}

/// By what right a client is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An access key or a device credential: everything in the instance.
    Owner,
    /// Tokens.
    Token(Holder),
    /// Custom authentication, under this user name.
    Custom(String),
}

/// One connected client.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub instance: String,
    pub mode: Mode,
    /// Names the connection in traces: 32 hexadecimal digits.
    pub channel: String,
    /// The vendor's words for why its connection is about to be closed, if it is for want of
    /// permission.
    pub ending: Option<&'static str>,
}

/// The vendor's words for a connection that is closed because topic or group are not permitted
/// (documented: `QueryMqttTraceDevice`).
pub(crate) const RESOURCE_AUTH_FAILED: &str = "resource auth failed";

/// When the clients of an instance were away.
#[derive(Debug)]
pub(crate) struct Absences(HashMap<String, Vec<(Cursor, Cursor)>>);

impl Absences {
    /// Whether a client was away when a message was published.
    pub(crate) fn at(&self, client_id: &str, cursor: Cursor) -> bool {
        let away = self.0.get(client_id).into_iter().flatten();
        away.into_iter()
            .any(|(left, back)| *left < cursor && cursor <= *back)
    }
}

/// What a client's events say so far of where it is.
#[derive(Debug, Default)]
struct Whereabouts {
    away: Vec<(Cursor, Cursor)>,
    here: Option<String>,
    left: Option<Cursor>,
}

/// What happened to a connection.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub time: Timestamp,
    pub instance: String,
    pub client_id: String,
    /// `connect`, `close` or `disconnect`.
    pub action: &'static str,
    /// The vendor's words for it.
    pub info: &'static str,
    pub channel: String,
    /// The place of the newest message at that moment.
    pub cursor: Cursor,
}

/// All connected clients, and the latest events.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Told when a client brings a token.
    pub(crate) brought: Notify,
    connected: Mutex<HashMap<String, Session>>,
    events: Mutex<VecDeque<Event>>,
}

impl Sessions {
    /// A client is connected.
    pub(crate) fn open(&self, client_id: &str, session: Session) {
        self.connected.lock().insert(client_id.to_owned(), session);
        self.brought.notify_one();
    }

    /// A client's connection has ended.
    pub(crate) fn end(&self, client_id: &str) -> Option<Session> {
        self.connected.lock().remove(client_id)
    }

    /// The client as it is connected now.
    pub(crate) fn get(&self, client_id: &str) -> Option<Session> {
        self.connected.lock().get(client_id).cloned()
    }

    /// Those that are connected with tokens.
    pub(crate) fn with_tokens(&self) -> Vec<(String, Session)> {
        let connected = self.connected.lock();
        connected
            .iter()
            .filter(|(_, session)| matches!(session.mode, Mode::Token(_)))
            .map(|(client_id, session)| (client_id.clone(), session.clone()))
            .collect()
    }

    /// Puts an uploaded token in the place of those of its type.
    pub(crate) fn replace_token(&self, client_id: &str, new: Held) {
        if let Some(session) = self.connected.lock().get_mut(client_id)
            && let Mode::Token(holder) = &mut session.mode
            && !holder.condemned
        {
            holder.held.retain(|old| old.rights != new.rights);
            holder.held.push(new);
            self.brought.notify_one();
        }
    }

    /// Notes that a client was told of a token's coming end; false if it had been.
    pub(crate) fn tell(&self, client_id: &str, text: &Secret) -> bool {
        let mut connected = self.connected.lock();
        let Some(Session {
            mode: Mode::Token(holder),
            ..
        }) = connected.get_mut(client_id)
        else {
            return false;
        };
        let mut held = holder.held.iter_mut();
        held.find(|held| held.text == *text && !held.told)
            .map(|held| held.told = true)
            .is_some()
    }

    /// Takes a client's tokens from it for good; false if that was done before, or if it is not
    /// connected with tokens.
    pub(crate) fn condemn(&self, client_id: &str) -> bool {
        let mut connected = self.connected.lock();
        match connected.get_mut(client_id) {
            Some(Session {
                mode: Mode::Token(holder),
                ending,
                ..
            }) if !holder.condemned => {
                holder.held.clear();
                holder.condemned = true;
                *ending = Some(RESOURCE_AUTH_FAILED);
                true
            }
            _ => false,
        }
    }

    /// Notes that a client's connection is closed for want of permission.
    pub(crate) fn deny(&self, client_id: &str) {
        if let Some(session) = self.connected.lock().get_mut(client_id) {
            session.ending = Some(RESOURCE_AUTH_FAILED);
        }
    }

    /// Remembers an event.
    pub(crate) fn record(&self, event: Event) {
        if event.client_id.len() > MAX_NAME || event.instance.len() > MAX_NAME {
            return;
        }
        let mut events = self.events.lock();
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// The events of a client, oldest first.
    pub(crate) fn events(&self, instance: &str, client_id: &str) -> Vec<Event> {
        let events = self.events.lock();
        events
            .iter()
            .filter(|event| event.instance == instance && event.client_id == client_id)
            .cloned()
            .collect()
    }

    /// When each client of an instance was offline: messages behind the first place, up to the
    /// second, were published between two of its connections.
    pub(crate) fn absences(&self, instance: &str) -> Absences {
        let mut clients: HashMap<String, Whereabouts> = HashMap::new();
        for event in self.events.lock().iter() {
            if event.instance != instance {
                continue;
            }
            let client = clients.entry(event.client_id.clone()).or_default();
            if event.action == "connect" {
                let left = client.left.take();
                client.away.extend(left.map(|left| (left, event.cursor)));
                client.here = Some(event.channel.clone());
            } else if client.here.as_ref() == Some(&event.channel) {
                client.left = Some(event.cursor);
                client.here = None;
            }
            // What is left is a CONNECT that was refused.
        }
        let clients = clients.into_iter();
        Absences(clients.map(|(id, client)| (id, client.away)).collect())
    }

    pub(super) fn forget_events(&self) {
        self.events.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_in_number_and_in_the_length_of_names() {
        let sessions = Sessions::default();
        let event = |client_id: String| Event {
            time: Timestamp::UNIX_EPOCH,
            instance: "i".to_owned(),
            client_id,
            action: "close",
            info: "invalid param",
            channel: String::new(),
            cursor: 0,
        };
        sessions.record(event("x".repeat(60_000)));
        assert!(sessions.events.lock().is_empty());
        for number in 0..=MAX_EVENTS {
            sessions.record(event(number.to_string()));
        }
        assert_eq!(sessions.events.lock().len(), MAX_EVENTS);
        assert!(sessions.events("i", "0").is_empty());
    }
}
