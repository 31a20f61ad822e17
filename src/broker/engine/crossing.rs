//! Handing messages to sessions. While a new connection takes a session over (`takeover.rs`),
//! messages for that client wait here. Those of a client whose vendor limits how it gets them
//! always do, until it is their turn (`turns.rs`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rmqtt::shared::DefaultShared;
use rmqtt::types::{ClientId, From as Sender, Message as SessionMessage, Publish, SubRelation};

use super::super::outbox::Outbox;
use super::turns::{self, Step, Turns};
use super::{Core, routing};

/// What waits for one client, because its session is being taken over or for its turn.
#[derive(Default)]
struct Waiting {
    /// How many take over at once: a connection and an administrator can.
    takeovers: usize,
    /// Whether the old session ends here, so that nothing of it is for the new one.
    clean: bool,
    /// Set where messages have turns.
    turns: Option<Turns>,
    messages: Mutex<VecDeque<(Sender, Publish)>>,
}

impl Waiting {
    fn push(&self, sender: Sender, packet: Publish) {
        self.messages.lock().push_back((sender, packet));
        if let Some(turns) = &self.turns {
            turns.stir();
        }
    }
}

/// The way from routing to the sessions.
pub(super) struct Crossing {
    engine: DefaultShared,
    /// Read for every delivery, written when a takeover begins and ends: while it is held for
    /// writing nothing is on its way.
    waiting: RwLock<HashMap<ClientId, Waiting>>,
}

impl Crossing {
    pub(super) fn new(engine: DefaultShared) -> Self {
        Self {
            engine,
            waiting: RwLock::default(),
        }
    }

    /// Hands one subscriber its copy of a message.
    pub(super) fn deliver(
        &self,
        sender: &Sender,
        packet: &Publish,
        relation: SubRelation,
    ) -> std::result::Result<(), &'static str> {
        let (_, client_id, options, identifiers, _) = relation;
        let mut copy = packet.clone();
        copy.dup = false;
        copy.retain = packet.retain && options.retain_as_published().unwrap_or(false);
        copy.qos = packet.qos.less_value(options.qos());
        copy.packet_id = None;
        if let (Some(properties), Some(identifiers)) = (&mut copy.properties, identifiers) {
            properties.subscription_ids = identifiers;
        }
        let waiting = self.waiting.read();
        if let Some(waiting) = waiting.get(&client_id) {
            waiting.push(sender.clone(), copy);
            return Ok(());
        }
        self.send(&client_id, sender.clone(), copy)
    }

    fn send(
        &self,
        client_id: &ClientId,
        sender: Sender,
        packet: Publish,
    ) -> std::result::Result<(), &'static str> {
        let Some((session, _)) = self.engine.tx(client_id) else {
            return Err("the client has no session");
        };
        session
            .unbounded_send(SessionMessage::Forward(sender, packet))
            .map_err(|_| "the client's session has ended")
    }

    /// A takeover begins: nothing is sent any more, and nothing is on its way.
    pub(super) fn begin(&self, client_id: &ClientId, clean: bool) {
        let mut waiting = self.waiting.write();
        let entry = waiting.entry(client_id.clone()).or_default();
        entry.takeovers += 1;
        entry.clean |= clean;
    }

    /// Sends on what has waited, to the session that is there now, or lets it take its turns.
    pub(super) fn end(&self, core: &Arc<Core>, client_id: &ClientId) {
        let mut waiting = self.waiting.write();
        let Some(entry) = waiting.get_mut(client_id) else {
            return;
        };
        entry.takeovers -= 1;
        if entry.takeovers > 0 {
            return;
        }
        let clean = std::mem::take(&mut entry.clean);
        if clean {
            let left = std::mem::take(&mut *entry.messages.lock());
            let outbox = core.outboxes.find(client_id);
            give_up(core, outbox.as_deref(), left);
        }
        let there = self.engine.tx(client_id).is_some();
        if there && turns::limits(core, client_id).on_delivery() {
            let turns = entry
                .turns
                .get_or_insert_with(|| Turns::begin(core, client_id));
            turns.replay(entry.messages.lock().len());
            turns.stir();
            return;
        }
        let Some(entry) = waiting.remove(client_id) else {
            return;
        };
        let messages = std::mem::take(&mut *entry.messages.lock());
        for (sender, packet) in messages {
            let tag = packet.delay_interval;
            if let Err(reason) = self.send(client_id, sender, packet)
                && let (Some(tag), Some(outbox)) = (tag, core.outboxes.find(client_id))
            {
                routing::give_up(core, &outbox, tag, reason);
            }
        }
    }

    /// The same for what the engine had not written, so that it keeps its place at the head of
    /// the line; gives it back where the client's messages have no turns.
    pub(super) fn put_back(
        &self,
        core: &Core,
        client_id: &ClientId,
        left: Vec<(Sender, Publish)>,
    ) -> Vec<(Sender, Publish)> {
        let waiting = self.waiting.read();
        let limited = turns::limits(core, client_id).on_delivery();
        let Some(entry) = waiting.get(client_id).filter(|_| limited) else {
            return left;
        };
        let mut messages = entry.messages.lock();
        for delivery in left.into_iter().rev() {
            messages.push_front(delivery);
        }
        Vec::new()
    }

    /// Hands over a message that the engine sends after a subscribe; gives it back where the
    /// client's messages have no turns.
    pub(super) fn line_up(
        &self,
        client_id: &ClientId,
        sender: Sender,
        packet: Publish,
    ) -> Option<(Sender, Publish)> {
        let waiting = self.waiting.read();
        match waiting.get(client_id).filter(|entry| entry.turns.is_some()) {
            Some(entry) => {
                entry.push(sender, packet);
                None
            }
            None => Some((sender, packet)),
        }
    }

    /// The client has come or gone: its line looks again.
    pub(super) fn stir(&self, client_id: &str) {
        if let Some(entry) = self.waiting.read().get(client_id)
            && let Some(turns) = &entry.turns
        {
            turns.stir();
        }
    }

    /// Sends on what has its turn now; `None` when the line is no more.
    pub(super) fn pass(&self, core: &Core, client_id: &ClientId) -> Option<Step> {
        let waiting = self.waiting.read();
        let entry = waiting.get(client_id)?;
        let turns = entry.turns.as_ref()?;
        let Some(outbox) = core
            .outboxes
            .find(client_id)
            .filter(|_| entry.takeovers == 0)
        else {
            return Some(Step::Rest);
        };
        let limits = turns::limits(core, client_id);
        let mut messages = entry.messages.lock();
        let connected = outbox.is_connected();
        let due = (!connected)
            .then(|| turns::trim(core, &outbox, &limits))
            .flatten();
        while let Some((_, packet)) = messages.front() {
            let tag = packet.delay_interval;
            if tag.is_some_and(|tag| outbox.gave_up(tag)) {
                messages.pop_front();
                turns.left(&limits, None);
                continue;
            }
            if !connected {
                return Some(due.map_or(Step::Rest, Step::At));
            }
            let now = core.clock.now();
            if let Some(at) = turns.next(&limits, now) {
                return Some(Step::At(at));
            }
            let Some((sender, mut packet)) = messages.pop_front() else {
                break;
            };
            routing::set_age(&outbox, &mut packet);
            turns.left(&limits, Some(now));
            if let (Err(reason), Some(tag)) = (self.send(client_id, sender, packet), tag) {
                routing::give_up(core, &outbox, tag, reason);
            }
        }
        Some(due.map_or(Step::Rest, Step::At))
    }

    /// Forgets a client whose session is over, and gives up what still waits for it.
    pub(super) fn forget(&self, core: &Core, client_id: &str, outbox: &Outbox) {
        let mut waiting = self.waiting.write();
        if waiting
            .get(client_id)
            .is_some_and(|entry| entry.takeovers == 0)
            && let Some(entry) = waiting.remove(client_id)
        {
            let left = std::mem::take(&mut *entry.messages.lock());
            give_up(core, Some(outbox), left);
        }
    }
}

/// Gives up what waited for a session that has ended.
fn give_up(core: &Core, outbox: Option<&Outbox>, left: VecDeque<(Sender, Publish)>) {
    for (_, packet) in left {
        if let (Some(tag), Some(outbox)) = (packet.delay_interval, outbox) {
            routing::give_up(core, outbox, tag, "the client's session has ended");
        }
    }
}
