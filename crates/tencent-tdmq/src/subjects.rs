//! Who each MQTT client was at its last CONNECT. Kept beyond the connection, because its will and
//! its session outlive it, but of those that have gone only the latest; what a reset finds
//! disconnected is forgotten. A CONNECT that was allowed is remembered apart until the client is
//! connected, and changes nothing if the broker refuses it after all.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_broker::dialect::Connect;
use parking_lot::RwLock;

use super::policy::Subject;

/// How many clients that have gone are remembered.
const GONE: usize = 10_000;
/// How many CONNECTs that were allowed are remembered until their clients are connected.
const ALLOWED: usize = 1_000;

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
    /// When it has gone, and its place in the order of going; `None` while it is connected.
    gone: Option<(Timestamp, u64)>,
}

#[derive(Debug, Default)]
struct Clients {
    /// The oldest first.
    allowed: VecDeque<Known>,
    known: HashMap<String, Known>,
    /// Those that have gone, by their place in the order of going.
    gone: BTreeMap<u64, String>,
    last_gone: u64,
    /// How many are connected, by instance.
    connected: HashMap<String, usize>,
}

impl Clients {
    fn count(&mut self, instance: &str, change: fn(usize) -> usize) {
        let count = self.connected.entry(instance.to_owned()).or_default();
        *count = change(*count);
        if *count == 0 {
            self.connected.remove(instance);
        }
    }

    /// Takes a client out, wherever it stands.
    fn take(&mut self, client_id: &str) -> Option<Known> {
        let known = self.known.remove(client_id)?;
        match known.gone {
            Some((_, place)) => _ = self.gone.remove(&place),
            None => self.count(&known.instance, |count| count.saturating_sub(1)),
        }
        Some(known)
    }

    fn put(&mut self, known: Known) {
        let client_id = known.subject.client_id.clone();
        match known.gone {
            Some((_, place)) => _ = self.gone.insert(place, client_id.clone()),
            None => self.count(&known.instance, |count| count + 1),
        }
        self.known.insert(client_id, known);
    }
}

/// The clients by their id.
#[derive(Debug, Default)]
pub(super) struct Subjects(RwLock<Clients>);

impl Subjects {
    /// A client's CONNECT to the instance is allowed.
    pub(super) fn allowed(&self, instance: &str, subject: Subject, attachment: Attachment) {
        let known = Known {
            instance: instance.to_owned(),
            gone: None,
            attachment,
            subject: Arc::new(subject),
        };
        let allowed = &mut self.0.write().allowed;
        allowed.retain(|other| other.subject.client_id != known.subject.client_id);
        allowed.push_back(known);
        if allowed.len() > ALLOWED {
            allowed.pop_front();
        }
    }

    /// A client is connected, as its CONNECT was allowed.
    pub(super) fn connected(&self, client_id: &str) {
        let mut clients = self.0.write();
        let at = clients
            .allowed
            .iter()
            .position(|allowed| allowed.subject.client_id == client_id);
        let allowed = at.and_then(|at| clients.allowed.remove(at));
        let before = clients.take(client_id);
        if let Some(known) = allowed.or(before) {
            clients.put(Known {
                gone: None,
                ..known
            });
        }
    }

    /// The client has gone.
    pub(super) fn disconnected(&self, client_id: &str, at: Timestamp) {
        let mut clients = self.0.write();
        let Some(known) = clients.take(client_id) else {
            return;
        };
        clients.last_gone += 1;
        let gone = Some((at, clients.last_gone));
        clients.put(Known { gone, ..known });
        if clients.gone.len() > GONE
            && let Some((_, oldest)) = clients.gone.pop_first()
        {
            clients.known.remove(&oldest);
        }
    }

    /// When the client has gone; `None` while it is connected and for one that is not known.
    pub(super) fn gone(&self, client_id: &str) -> Option<Timestamp> {
        let clients = self.0.read();
        clients.known.get(client_id)?.gone.map(|(at, _)| at)
    }

    /// What the client's last CONNECT said.
    pub(super) fn attachment(&self, client_id: &str) -> Attachment {
        let clients = self.0.read();
        let known = clients.known.get(client_id);
        known.map_or_else(Attachment::default, |known| known.attachment)
    }

    /// Who the client was.
    pub(super) fn find(&self, client_id: &str) -> Option<Arc<Subject>> {
        let clients = self.0.read();
        let known = clients.known.get(client_id);
        known.map(|known| known.subject.clone())
    }

    /// How many clients of the instance are connected, apart from this one.
    pub(super) fn others(&self, instance: &str, client_id: &str) -> usize {
        let clients = self.0.read();
        let all = clients.connected.get(instance).copied().unwrap_or(0);
        let own = clients
            .known
            .get(client_id)
            .is_some_and(|known| known.gone.is_none() && known.instance == instance);
        all - usize::from(own).min(all)
    }

    /// Forgets the clients that are not connected.
    pub(super) fn forget_absent(&self) {
        let mut clients = self.0.write();
        clients.known.retain(|_, known| known.gone.is_none());
        clients.gone.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn allowed(subjects: &Subjects, instance: &str, client_id: &str) {
        let subject = Subject {
            client_id: client_id.to_owned(),
            ..Subject::default()
        };
        subjects.allowed(instance, subject, Attachment::default());
    }

    fn connected(subjects: &Subjects, instance: &str, client_id: &str) {
        allowed(subjects, instance, client_id);
        subjects.connected(client_id);
    }

    #[test]
    fn a_reset_forgets_who_has_gone_and_keeps_who_is_there() {
        let subjects = Subjects::default();
        connected(&subjects, "mqtt-1", "a");
        connected(&subjects, "mqtt-1", "b");
        subjects.disconnected("a", AT);
        assert!(subjects.find("a").is_some());
        subjects.forget_absent();
        assert!(subjects.find("a").is_none() && subjects.find("b").is_some());
        assert_eq!(subjects.others("mqtt-1", ""), 1);
    }

    #[test]
    fn a_client_that_connects_again_does_not_count_itself() {
        let subjects = Subjects::default();
        connected(&subjects, "mqtt-1", "a");
        connected(&subjects, "mqtt-2", "b");
        assert_eq!(subjects.others("mqtt-1", "a"), 0);
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        connected(&subjects, "mqtt-1", "a");
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        subjects.disconnected("a", AT);
        assert_eq!(subjects.others("mqtt-1", "c"), 0);
        connected(&subjects, "mqtt-2", "a");
        assert_eq!(subjects.others("mqtt-2", "c"), 2);
    }

    #[test]
    fn a_connect_that_is_refused_after_all_changes_nothing() {
        let subjects = Subjects::default();
        connected(&subjects, "mqtt-1", "a");
        allowed(&subjects, "mqtt-2", "a");
        allowed(&subjects, "mqtt-1", "b");
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        assert_eq!(subjects.others("mqtt-2", "c"), 0);
        assert!(subjects.find("b").is_none());
    }

    #[test]
    fn of_those_that_have_gone_only_the_latest_are_remembered() {
        let subjects = Subjects::default();
        connected(&subjects, "mqtt-1", "stays");
        for n in 0..=GONE {
            connected(&subjects, "mqtt-1", &format!("c{n}"));
            subjects.disconnected(&format!("c{n}"), AT);
        }
        for n in 0..=ALLOWED {
            allowed(&subjects, "mqtt-1", &format!("refused{n}"));
        }
        assert!(subjects.find("c0").is_none() && subjects.find("c1").is_some());
        assert!(subjects.find("stays").is_some());
        assert_eq!(subjects.others("mqtt-1", "c"), 1);
        assert_eq!(subjects.0.read().known.len(), GONE + 1);
        assert_eq!(subjects.0.read().allowed.len(), ALLOWED);
    }
}
