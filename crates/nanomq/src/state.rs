//! What a running NanoMQ knows besides the broker: its configuration, running and on file, the
//! login that follows from it, since when it runs and what it had counted when it began.

use jiff::Timestamp;
use mqttstack_base::message::Counters;
use mqttstack_base::secret::Secret;
use parking_lot::Mutex;

use super::auth::AuthType;
use super::cjson::Json;
use super::configuration::Document;
use super::settings::Settings;

/// Who may call, as the running configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Basic or token.
    pub auth_type: AuthType,
    /// The user name of Basic.
    pub username: String,
    /// The password of Basic.
    pub password: Secret,
}

/// Both documents of one configuration. They have one login between them.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// In V1's shape.
    pub v1: Document,
    /// In V4's shape.
    pub v4: Document,
}

/// Where the login stands in both documents.
const LOGIN: [&str; 3] = [
    "http_server.username",
    "http_server.password",
    "http_server.auth_type",
];

impl Configuration {
    fn new(settings: &Settings) -> Self {
        let mut configuration = Self {
            v1: Document::v1(),
            v4: Document::v4(),
        };
        for document in [&mut configuration.v1, &mut configuration.v4] {
            document.put(LOGIN[0], settings.username.as_str().into());
            document.put(LOGIN[1], settings.password.expose().into());
            document.put(LOGIN[2], settings.auth_type.as_str().into());
        }
        configuration.v1.overlay(&settings.configuration_v1);
        configuration.v4.overlay(&settings.configuration_v4);
        // The login is the settings', whatever the documents laid over say.
        for document in [&mut configuration.v1, &mut configuration.v4] {
            document.put(LOGIN[0], settings.username.as_str().into());
            document.put(LOGIN[1], settings.password.expose().into());
            document.put(LOGIN[2], settings.auth_type.as_str().into());
        }
        configuration
    }

    /// Brings V1's login to V4's document after V1 changed it.
    pub(crate) fn login_from_v1(&mut self) {
        copy_login(&self.v1, &mut self.v4);
    }

    /// Brings V4's login to V1's document after V4 changed it.
    pub(crate) fn login_from_v4(&mut self) {
        copy_login(&self.v4, &mut self.v1);
    }

    fn login(&self) -> Login {
        let text = |path: &str| {
            let value = self.v1.get(path).and_then(Json::text).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        Login {
            auth_type: AuthType::from_text(text(LOGIN[2]).as_bytes()).unwrap_or_default(),
            username: text(LOGIN[0]),
            password: Secret::new(text(LOGIN[1])),
        }
    }
}

fn copy_login(from: &Document, to: &mut Document) {
    for path in LOGIN {
        to.put(path, from.get(path).cloned().unwrap_or(Json::Null));
    }
}

/// The most of each figure that a look at `/prometheus` ever saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peaks {
    /// Connected clients.
    pub connections: usize,
    /// Clients with a session.
    pub sessions: usize,
    /// Topic filters.
    pub topics: usize,
    /// Clients with a subscription.
    pub subscribers: usize,
}

/// What changes while it runs.
#[derive(Debug)]
struct Inner {
    running: Configuration,
    file: Configuration,
    started: Option<Timestamp>,
    base: Counters,
    peaks: Peaks,
}

/// The state of one NanoMQ.
#[derive(Debug)]
pub(crate) struct State {
    initial: Configuration,
    inner: Mutex<Inner>,
}

impl State {
    /// As the settings have it.
    pub(crate) fn new(settings: &Settings) -> Self {
        let initial = Configuration::new(settings);
        Self {
            inner: Mutex::new(Inner {
                running: initial.clone(),
                file: initial.clone(),
                started: None,
                base: Counters::default(),
                peaks: Peaks::default(),
            }),
            initial,
        }
    }

    /// Forgets everything that callers did; the time of the start and the counting stay.
    pub(crate) fn reset(&self) {
        let mut inner = self.inner.lock();
        inner.running = self.initial.clone();
        inner.file = self.initial.clone();
        inner.peaks = Peaks::default();
    }

    /// Counts from these figures of the broker on.
    pub(crate) fn count_from(&self, counters: Counters) {
        self.inner.lock().base = counters;
    }

    /// Notes the time of the start, unless it is known.
    pub(crate) fn start(&self, now: Timestamp) {
        self.inner.lock().started.get_or_insert(now);
    }

    /// Begins anew, as after a restart: the file is read, what was changed in memory is gone,
    /// counting starts at nought.
    pub(crate) fn restart(&self, now: Timestamp, counters: Counters) {
        let mut inner = self.inner.lock();
        inner.running = inner.file.clone();
        inner.started = Some(now);
        inner.base = counters;
        inner.peaks = Peaks::default();
    }

    /// Who may call now.
    pub(crate) fn login(&self) -> Login {
        self.inner.lock().running.login()
    }

    /// How many whole seconds it has run.
    pub(crate) fn uptime_s(&self, now: Timestamp) -> u64 {
        let started = self.inner.lock().started.unwrap_or(now);
        u64::try_from(now.duration_since(started).as_secs()).unwrap_or(0)
    }

    /// What it has counted since it began.
    pub(crate) fn counted(&self, now: Counters) -> Counters {
        let base = self.inner.lock().base;
        Counters {
            connects: now.connects.saturating_sub(base.connects),
            disconnects: now.disconnects.saturating_sub(base.disconnects),
            messages_in: now.messages_in.saturating_sub(base.messages_in),
            messages_out: now.messages_out.saturating_sub(base.messages_out),
            messages_dropped: now.messages_dropped.saturating_sub(base.messages_dropped),
        }
    }

    /// Raises the peaks to the figures of now and returns them.
    pub(crate) fn peaks(&self, now: Peaks) -> Peaks {
        let mut inner = self.inner.lock();
        let peaks = &mut inner.peaks;
        peaks.connections = peaks.connections.max(now.connections);
        peaks.sessions = peaks.sessions.max(now.sessions);
        peaks.topics = peaks.topics.max(now.topics);
        peaks.subscribers = peaks.subscribers.max(now.subscribers);
        *peaks
    }

    /// Looks at the running configuration.
    pub(crate) fn running<T>(&self, look: impl FnOnce(&Configuration) -> T) -> T {
        look(&self.inner.lock().running)
    }

    /// Changes the running configuration alone.
    pub(crate) fn change_running<T>(&self, change: impl FnOnce(&mut Configuration) -> T) -> T {
        change(&mut self.inner.lock().running)
    }

    /// Changes the running configuration and the one on file alike.
    pub(crate) fn change_both<T>(&self, mut change: impl FnMut(&mut Configuration) -> T) -> T {
        let mut inner = self.inner.lock();
        change(&mut inner.file);
        change(&mut inner.running)
    }

    /// Changes the configuration on file alone.
    pub(crate) fn change_file<T>(&self, change: impl FnOnce(&mut Configuration) -> T) -> T {
        change(&mut self.inner.lock().file)
    }
}
