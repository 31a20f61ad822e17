//! Waiting for something to appear in the journal, without polling and without guessing: until
//! enough entries match, until nothing more comes, or until time is up, and then with the
//! nearest misses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::field::Shown;
use super::follower::{Follower, Record};
use super::pattern::{Difference, Pattern};
use super::ring::{Cursor, Ring};

/// How many matches and misses a wait keeps, whatever comes.
pub const MAX_KEPT: usize = 10_000;

const NEAREST: usize = 3;

/// How many entries must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// At least so many.
    pub at_least: usize,
    /// At most so many; `None`: any number.
    pub at_most: Option<usize>,
}

/// What to wait for, and how long.
pub struct Wait<T> {
    /// Which entries count.
    pub pattern: Pattern<T>,
    /// How many of them.
    pub count: Count,
    /// Only entries completed after this cursor count (0: all in the ring).
    pub since: Cursor,
    /// When to give up.
    pub timeout: Duration,
    /// How long no further match may come before the wait ends well.
    pub quiet: Duration,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As wanted.
    Satisfied,
    /// Time was up: too few matches, or they never stopped coming.
    TimedOut,
    /// More matches than wanted; waiting on cannot mend that.
    TooMany,
}

/// An entry that did not match, and why.
#[derive(Debug)]
pub struct Miss<T> {
    /// The entry.
    pub entry: Arc<T>,
    /// The cursor of its completion.
    pub cursor: Cursor,
    /// How many clauses of the pattern hold for it.
    pub agreed: usize,
    /// The others.
    pub differences: Vec<Difference>,
}

/// What a wait found.
#[derive(Debug)]
pub struct Found<T> {
    /// How it ended.
    pub end: End,
    /// The entries that match, oldest first, at most [`MAX_KEPT`].
    pub matched: Vec<(Cursor, Arc<T>)>,
    /// How many entries match.
    pub count: usize,
    /// How many do not.
    pub missed: usize,
    /// The best few of those, nearest first, newest first among equals.
    pub nearest: Vec<Miss<T>>,
    /// Where the next wait can go on (`since`).
    pub cursor: Cursor,
    /// How many entries were still being answered.
    pub incomplete: usize,
    /// How many entries left the ring before they could be compared.
    pub lost: u64,
}

impl<T: Record + Shown> Found<T> {
    fn new() -> Self {
        Self {
            end: End::TimedOut,
            matched: Vec::new(),
            count: 0,
            missed: 0,
            nearest: Vec::new(),
            cursor: 0,
            incomplete: 0,
            lost: 0,
        }
    }

    /// Looks at what is new; true if something matched.
    fn look(&mut self, follower: &mut Follower<T>, pattern: &Pattern<T>) -> bool {
        let batch = follower.take();
        let before = self.count;
        for (cursor, entry) in batch.entries {
            if pattern.matches(&entry) {
                self.count += 1;
                if self.matched.len() < MAX_KEPT {
                    self.matched.push((cursor, entry));
                }
            } else {
                self.missed += 1;
                self.keep_if_near(cursor, entry, pattern);
            }
        }
        self.cursor = follower.cursor();
        self.incomplete = follower.incomplete();
        self.lost += batch.lost;
        self.count > before
    }

    fn keep_if_near(&mut self, cursor: Cursor, entry: Arc<T>, pattern: &Pattern<T>) {
        let comparison = pattern.compare(&entry);
        let place = self
            .nearest
            .partition_point(|miss| miss.agreed > comparison.agreed);
        if place < NEAREST {
            self.nearest.insert(
                place,
                Miss {
                    entry,
                    cursor,
                    agreed: comparison.agreed,
                    differences: comparison.differences,
                },
            );
            self.nearest.truncate(NEAREST);
        }
    }
}

/// Waits for entries of `ring`. Dropping the future ends the wait.
pub async fn wait<T: Record + Shown>(ring: &Arc<Ring<T>>, wait: &Wait<T>) -> Found<T> {
    let mut follower = Follower::new(ring, wait.since);
    let mut found = Found::new();
    let mut quiet_since = Instant::now();
    let deadline = quiet_since + wait.timeout;
    loop {
        if found.look(&mut follower, &wait.pattern) {
            quiet_since = Instant::now();
        }
        if wait.count.at_most.is_some_and(|most| found.count > most) {
            found.end = End::TooMany;
            return found;
        }
        let enough = found.count >= wait.count.at_least;
        let quiet_until = quiet_since + wait.quiet;
        let now = Instant::now();
        if enough && now >= quiet_until {
            found.end = End::Satisfied;
            return found;
        }
        if now >= deadline {
            return found;
        }
        let next = if enough {
            quiet_until.min(deadline)
        } else {
            deadline
        };
        tokio::select! {
            () = follower.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
