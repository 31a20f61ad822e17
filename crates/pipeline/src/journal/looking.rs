//! Looking through the journal beside the threads that serve everybody. A look runs on a thread
//! that may block, in turns with the other looks, and ends when whoever asked has left, when the
//! program stops, or when it reaches one of the [`Bounds`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex_automata::hybrid::dfa::Cache;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Settings;

/// How many looks are under way at a time; further ones wait for a place, as long as their time
/// allows.
const PLACES: usize = 128;
/// How many of them run at a time; the others wait for their turn.
const RUNNING: usize = 2;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(20);

/// How much one look may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How long it may take, waiting for its turn included.
    pub time: Duration,
    /// How many bytes one text may have.
    pub entry_bytes: usize,
    /// How many bytes of text are compared in all.
    pub bytes: usize,
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        Self {
            time: Duration::from_millis(settings.search_timeout_ms),
            entry_bytes: settings.search_entry_bytes,
            bytes: settings.search_bytes,
        }
    }
}

/// Why a look ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// It took too long.
    #[error(
        "the search took longer than {0} ms, the limit of journal.search_timeout_ms; ask for less \
         with since, another field or a simpler expression"
    )]
    Time(u128),
    /// One text is too long.
    #[error(
        "{field} has {length} bytes in one entry, and a search compares texts of up to {limit} \
         bytes, the limit of journal.search_entry_bytes; exclude the entry with since or another \
         field"
    )]
    Entry {
        /// The field that holds the text.
        field: String,
        /// How long the text is.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// All texts together are too long.
    #[error(
        "the search compared {0} bytes of text, the limit of journal.search_bytes; ask for less \
         with since or another field"
    )]
    Bytes(usize),
    /// An expression with a word boundary is too costly for a text that is not ASCII.
    #[error(
        "the expression of {field} needs more steps than a search may take for a text of {length} \
         bytes that is not ASCII; write \\b and \\B as (?-u:\\b) and (?-u:\\B), or shorten it"
    )]
    Expression {
        /// The field that it is compared with.
        field: String,
        /// How long the text is.
        length: usize,
    },
    /// The program stops.
    #[error("the emulator is stopping")]
    Stopped,
    /// Whoever asked has left.
    #[error("the client has left")]
    Left,
    /// The look itself failed.
    #[error("the search failed: {0}")]
    Failed(String),
}

impl Halt {
    /// The setting whose limit was reached.
    pub const fn setting(&self) -> Option<&'static str> {
        match self {
            Self::Time(_) => Some("journal.search_timeout_ms"),
            Self::Entry { .. } => Some("journal.search_entry_bytes"),
            Self::Bytes(_) => Some("journal.search_bytes"),
            Self::Expression { .. } | Self::Stopped | Self::Left | Self::Failed(_) => None,
        }
    }
}

/// Where looks are made: a shared handle.
#[derive(Debug, Clone)]
pub struct Reading {
    bounds: Bounds,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Reading {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            places: Arc::new(Semaphore::new(PLACES)),
            turns: Arc::new(Semaphore::new(RUNNING)),
            stop: CancellationToken::new(),
        }
    }

    /// Ends every look that is under way, and every later one.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Resolves when the looks have been stopped.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Does `work` on a thread of its own. Dropping the future ends the work at its next step.
    /// Must be called inside a tokio runtime.
    pub async fn look<R, W>(&self, work: W) -> Result<R, Halt>
    where
        R: Send + 'static,
        W: FnOnce(&mut Looking) -> Result<R, Halt> + Send + 'static,
    {
        let deadline = Instant::now() + self.bounds.time;
        let place = self.place(deadline).await?;
        let over = self.stop.child_token();
        let _left = over.clone().drop_guard();
        let mut looking = Looking {
            bounds: self.bounds,
            deadline,
            bytes_left: self.bounds.bytes,
            over,
            stop: self.stop.clone(),
            turns: Some(self.turns.clone()),
            turn: None,
            turn_ends: Instant::now(),
            caches: HashMap::new(),
        };
        let thread = tokio::task::spawn_blocking(move || {
            let result = looking.step().and_then(|()| work(&mut looking));
            drop::<OwnedSemaphorePermit>(place);
            result
        });
        thread
            .await
            .unwrap_or_else(|why| Err(Halt::Failed(why.to_string())))
    }

    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Halt> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Ok(place);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        tokio::select! {
            () = self.stopped() => Err(Halt::Stopped),
            place = tokio::time::timeout(left, places.acquire_owned()) => match place {
                Ok(Ok(place)) => Ok(place),
                // Nobody closes the semaphore.
                Ok(Err(_)) => Err(Halt::Stopped),
                Err(_) => Err(Halt::Time(self.bounds.time.as_millis())),
            },
        }
    }
}

/// A look that is under way.
pub struct Looking {
    bounds: Bounds,
    deadline: Instant,
    bytes_left: usize,
    /// Set when whoever asked has left, and when the program stops.
    over: CancellationToken,
    stop: CancellationToken,
    /// `None` for a look that shares its thread with nobody.
    turns: Option<Arc<Semaphore>>,
    turn: Option<OwnedSemaphorePermit>,
    turn_ends: Instant,
    /// What the expressions of the pattern have worked out so far, by their number. It goes with
    /// the look: a pattern that waits would keep megabytes otherwise.
    pub(super) caches: HashMap<usize, Cache>,
}

impl Looking {
    /// To be called before each entry and each further piece of a long text: ends the look if it
    /// must end, and lets the other looks have their turn.
    pub fn step(&mut self) -> Result<(), Halt> {
        if self.over.is_cancelled() {
            return Err(if self.stop.is_cancelled() {
                Halt::Stopped
            } else {
                Halt::Left
            });
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Halt::Time(self.bounds.time.as_millis()));
        }
        if now >= self.turn_ends {
            self.next_turn();
        }
        Ok(())
    }

    fn next_turn(&mut self) {
        if let Some(turns) = &self.turns {
            self.turn = None;
            // Nobody closes the semaphore; without a turn the work goes on all the same.
            self.turn = Handle::current()
                .block_on(Arc::clone(turns).acquire_owned())
                .ok();
        }
        self.turn_ends = Instant::now() + TURN;
    }

    /// To be called before a text is compared.
    pub fn text(&mut self, field: &str, length: usize) -> Result<(), Halt> {
        if length > self.bounds.entry_bytes {
            return Err(Halt::Entry {
                field: field.to_owned(),
                length,
                limit: self.bounds.entry_bytes,
            });
        }
        let Some(left) = self.bytes_left.checked_sub(length) else {
            return Err(Halt::Bytes(self.bounds.bytes));
        };
        self.bytes_left = left;
        Ok(())
    }

    /// A look with these bounds on the thread of a test.
    #[cfg(test)]
    pub(super) fn within(bounds: Bounds) -> Self {
        let stop = CancellationToken::new();
        Self {
            deadline: Instant::now() + bounds.time,
            bytes_left: bounds.bytes,
            bounds,
            over: stop.child_token(),
            stop,
            turns: None,
            turn: None,
            turn_ends: Instant::now(),
            caches: HashMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
