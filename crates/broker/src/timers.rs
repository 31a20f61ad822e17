//! What falls due on the emulator's clock: sessions that expire, wills that were delayed, messages
//! that have waited too long. One task waits for the next of them; whoever moves the clock runs
//! what is due itself, so that it has happened when the answer is given.

use std::collections::BTreeMap;
use std::sync::Weak;

use jiff::Timestamp;
use mqttstack_base::clock::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::core::Core;
use super::session::Session;
use super::tenant::Tenant;

/// What falls due.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A session without a connection expires.
    Session(WeakSession),
    /// The Will Delay Interval is over.
    Will(WeakSession),
    /// A message in a session's queue has waited for too long.
    Queue(WeakSession),
    /// A retained message has expired.
    Retained(Tenant, Box<str>),
}

/// A session that may have ended by then.
#[derive(Clone)]
pub(crate) struct WeakSession(pub(crate) Weak<Session>);

impl std::fmt::Debug for WeakSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakSession")
    }
}

impl From<&std::sync::Arc<Session>> for WeakSession {
    fn from(session: &std::sync::Arc<Session>) -> Self {
        Self(std::sync::Arc::downgrade(session))
    }
}

/// The place of something that falls due, by which it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at: Timestamp,
    number: u64,
}

#[derive(Default)]
struct State {
    due: BTreeMap<Due, What>,
    next: u64,
}

/// Everything that falls due.
#[derive(Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
    sooner: Notify,
    /// Held while what is due is run, so that none of it is half done when a clock's advance
    /// answers.
    running: Mutex<()>,
}

impl Timers {
    /// Enters something that falls due at `at`.
    pub(crate) fn set(&self, at: Timestamp, what: What) -> Due {
        let mut state = self.state.lock();
        state.next += 1;
        let due = Due {
            at,
            number: state.next,
        };
        let first = state.due.keys().next().is_none_or(|first| due < *first);
        state.due.insert(due, what);
        drop(state);
        if first {
            self.sooner.notify_one();
        }
        due
    }

    /// Takes something back that has not fallen due.
    pub(crate) fn cancel(&self, due: Option<Due>) {
        if let Some(due) = due {
            self.state.lock().due.remove(&due);
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.state.lock().due.keys().next().map(|due| due.at)
    }

    /// The next thing that is due at `now`.
    fn take(&self, now: Timestamp) -> Option<What> {
        let mut state = self.state.lock();
        let entry = state.due.first_entry()?;
        (entry.key().at <= now).then(|| entry.remove())
    }

    pub(crate) fn clear(&self) {
        self.state.lock().due.clear();
    }
}

/// Something that happened because its time had come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FellDue {
    /// A session expired.
    SessionExpired {
        /// Whose session.
        client_id: String,
    },
    /// A will was published when its delay was over, or with the end of its session.
    WillPublished {
        /// Whose will.
        client_id: String,
        /// The will's topic.
        topic: String,
    },
    /// Messages were given up that had waited for too long.
    MessagesExpired {
        /// For whom they waited.
        client_id: String,
        /// How many.
        count: usize,
    },
    /// A retained message expired.
    RetainedExpired {
        /// The topic name.
        topic: String,
    },
}

/// Runs `change`, which may move the clock, and then everything that is due. What happened.
pub(crate) fn run(core: &Core, change: impl FnOnce()) -> Vec<FellDue> {
    let _running = core.timers.running.lock();
    change();
    let mut happened = Vec::new();
    // What falls due by something that fell due now has its turn as well.
    while let Some(what) = core.timers.take(core.clock.now()) {
        core.fell_due(what, &mut happened);
    }
    happened
}

/// Runs what falls due for as long as the broker is there.
pub(crate) async fn watch(core: Weak<Core>, timers: std::sync::Arc<Timers>, clock: Clock) {
    loop {
        let sooner = timers.sooner.notified();
        match timers.next() {
            None => sooner.await,
            Some(at) => tokio::select! {
                () = sooner => {}
                () = clock.reached_or_moved(at) => {}
            },
        }
        let Some(core) = core.upgrade() else {
            return;
        };
        run(&core, || {});
    }
}
