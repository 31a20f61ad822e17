//! Who each MQTT client was at its last CONNECT. Kept beyond the connection, because its will and
//! its session outlive it; what a reset finds disconnected is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::policy::Subject;

#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    instance: String,
    connected: bool,
}

/// The clients by their id.
#[derive(Debug, Default)]
pub(super) struct Subjects(RwLock<HashMap<String, Known>>);

impl Subjects {
    /// A client of the instance has connected.
    pub(super) fn connected(&self, instance: &str, subject: Subject) {
        let known = Known {
            instance: instance.to_owned(),
            connected: true,
            subject: Arc::new(subject),
        };
        let client_id = known.subject.client_id.clone();
        self.0.write().insert(client_id, known);
    }

    /// The client has gone.
    pub(super) fn disconnected(&self, client_id: &str) {
        if let Some(known) = self.0.write().get_mut(client_id) {
            known.connected = false;
        }
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
            .filter(|(id, known)| known.connected && known.instance == instance && *id != client_id)
            .count()
    }

    /// Forgets the clients that are not connected.
    pub(super) fn forget_absent(&self) {
        self.0.write().retain(|_, known| known.connected);
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
        subjects.connected("mqtt-1", subject("a"));
        subjects.connected("mqtt-1", subject("b"));
        subjects.disconnected("a");
        assert!(subjects.find("a").is_some());
        subjects.forget_absent();
        assert!(subjects.find("a").is_none() && subjects.find("b").is_some());
    }

    #[test]
    fn a_client_that_connects_again_does_not_count_itself() {
        let subjects = Subjects::default();
        subjects.connected("mqtt-1", subject("a"));
        subjects.connected("mqtt-2", subject("b"));
        assert_eq!(subjects.others("mqtt-1", "a"), 0);
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        subjects.disconnected("a");
        assert_eq!(subjects.others("mqtt-1", "c"), 0);
    }
}
