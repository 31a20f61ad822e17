//! Who each MQTT client was at its last CONNECT. Kept beyond the connection, because its will and
//! its session outlive it; what a reset finds disconnected is forgotten.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;

use super::policy::Subject;
use crate::broker::dialect::Connect;

/// What its CONNECT said that no policy asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attachment {
    /// Where from.
    pub peer: Option<SocketAddr>,
    /// Clean Session (3.x) or Clean Start (5).
    pub clean_start: bool,
    /// Keep-alive in seconds.
    pub keep_alive: u16,
}

impl Attachment {
    /// What a CONNECT says.
    pub(super) fn of(connect: &Connect) -> Self {
        Self {
            peer: connect.peer,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
        }
    }
}

#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    attachment: Attachment,
    instance: String,
    /// When it has gone; `None` while it is connected.
    gone: Option<Timestamp>,
}

/// The clients by their id.
#[derive(Debug, Default)]
pub(super) struct Subjects(RwLock<HashMap<String, Known>>);

impl Subjects {
    /// A client of the instance has connected.
    pub(super) fn connected(&self, instance: &str, subject: Subject, attachment: Attachment) {
        let known = Known {
            instance: instance.to_owned(),
            gone: None,
            attachment,
            subject: Arc::new(subject),
        };
        let client_id = known.subject.client_id.clone();
        self.0.write().insert(client_id, known);
    }

    /// The client has gone.
    pub(super) fn disconnected(&self, client_id: &str, at: Timestamp) {
        if let Some(known) = self.0.write().get_mut(client_id) {
            known.gone = Some(at);
        }
    }

    /// When the client has gone; `None` while it is connected and for one never seen.
    pub(super) fn gone(&self, client_id: &str) -> Option<Timestamp> {
        self.0.read().get(client_id)?.gone
    }

    /// What the client's last CONNECT said.
    pub(super) fn attachment(&self, client_id: &str) -> Attachment {
        let known = self.0.read();
        known
            .get(client_id)
            .map_or_else(Attachment::default, |known| known.attachment)
    }

    /// Who the client was.
    pub(super) fn find(&self, client_id: &str) -> Option<Arc<Subject>> {
        let known = self.0.read();
        known.get(client_id).map(|known| known.subject.clone())
    }

    /// How many clients of the instance are connected, apart from this one.
    pub(super) fn others(&self, instance: &str, client_id: &str) -> usize {
        self.0
            .read()
            .iter()
            .filter(|(id, known)| {
                known.gone.is_none() && known.instance == instance && *id != client_id
            })
            .count()
    }

    /// Forgets the clients that are not connected.
    pub(super) fn forget_absent(&self) {
        self.0.write().retain(|_, known| known.gone.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(client_id: &str) -> Subject {
        Subject {
            client_id: client_id.to_owned(),
            ..Subject::default()
        }
    }

    #[test]
    fn a_reset_forgets_who_has_gone_and_keeps_who_is_there() {
        let subjects = Subjects::default();
        subjects.connected("mqtt-1", subject("a"), Attachment::default());
        subjects.connected("mqtt-1", subject("b"), Attachment::default());
        subjects.disconnected("a", Timestamp::UNIX_EPOCH);
        assert!(subjects.find("a").is_some());
        subjects.forget_absent();
        assert!(subjects.find("a").is_none() && subjects.find("b").is_some());
    }

    #[test]
    fn a_client_that_connects_again_does_not_count_itself() {
        let subjects = Subjects::default();
        subjects.connected("mqtt-1", subject("a"), Attachment::default());
        subjects.connected("mqtt-2", subject("b"), Attachment::default());
        assert_eq!(subjects.others("mqtt-1", "a"), 0);
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        subjects.disconnected("a", Timestamp::UNIX_EPOCH);
        assert_eq!(subjects.others("mqtt-1", "c"), 0);
    }
}
