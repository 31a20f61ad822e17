//! Waiting for something to appear in the journal, without polling and without guessing: until
//! enough entries match, until nothing more comes, or until time is up, and then with the
//! nearest misses.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::field::Shown;
use super::follower::{Follower, Record};
use super::looking::{Halt, Looking, Reading};
use super::pattern::{Difference, Pattern};
use super::ring::{Cursor, Ring};

/// How many matches a wait keeps, whatever comes.
pub const MAX_KEPT: usize = 10_000;
/// How many bytes of them it keeps although they have left the journal.
const MAX_HELD: usize = 16 << 20;

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
    pub pattern: Arc<Pattern<T>>,
    /// How many of them.
    pub count: Count,
    /// Only entries completed after this cursor count (0: all in the ring).
    pub since: Cursor,
    /// When to give up.
    pub timeout: Duration,
    /// How long no further match may come before the wait ends well.
    pub quiet: Duration,
}

impl<T> Clone for Wait<T> {
    fn clone(&self) -> Self {
        Self {
            pattern: self.pattern.clone(),
            ..*self
        }
    }
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

/// An entry that matches: whole, or, once many are kept, as long as the journal has it.
#[derive(Debug)]
enum Kept<T> {
    Held(Arc<T>),
    Known(Weak<T>),
}

/// What a wait found.
#[derive(Debug)]
pub struct Found<T> {
    /// How it ended.
    pub end: End,
    /// The entries that match, oldest first, at most [`MAX_KEPT`].
    matched: Vec<(Cursor, Kept<T>)>,
    /// How many bytes of them are held.
    held: usize,
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
            held: 0,
            count: 0,
            missed: 0,
            nearest: Vec::new(),
            cursor: 0,
            incomplete: 0,
            lost: 0,
        }
    }

    /// The entries that match with the cursors of their completion, oldest first; without those
    /// of very many that have left the journal since.
    pub fn into_matched(self) -> impl Iterator<Item = (Cursor, Arc<T>)> + Send {
        self.matched.into_iter().filter_map(|(cursor, kept)| {
            let entry = match kept {
                Kept::Held(entry) => entry,
                Kept::Known(entry) => entry.upgrade()?,
            };
            Some((cursor, entry))
        })
    }

    /// Looks at what is new.
    fn look(
        &mut self,
        follower: &mut Follower<T>,
        pattern: &Pattern<T>,
        looking: &mut Looking,
    ) -> Result<(), Halt> {
        let batch = follower.take();
        for (cursor, entry) in batch.entries {
            looking.step()?;
            let agreed = pattern.agreed(&entry, looking)?;
            if agreed == pattern.clauses() {
                self.count += 1;
                self.keep(cursor, entry);
            } else {
                self.missed += 1;
                self.keep_if_near(cursor, entry, agreed, pattern, looking)?;
            }
        }
        self.cursor = follower.cursor();
        self.incomplete = follower.incomplete();
        self.lost += batch.lost;
        Ok(())
    }

    fn keep(&mut self, cursor: Cursor, entry: Arc<T>) {
        if self.matched.len() >= MAX_KEPT {
            return;
        }
        let held = self.held + entry.weight();
        let kept = if held <= MAX_HELD {
            self.held = held;
            Kept::Held(entry)
        } else {
            Kept::Known(Arc::downgrade(&entry))
        };
        self.matched.push((cursor, kept));
    }

    fn keep_if_near(
        &mut self,
        cursor: Cursor,
        entry: Arc<T>,
        agreed: usize,
        pattern: &Pattern<T>,
        looking: &mut Looking,
    ) -> Result<(), Halt> {
        let place = self.nearest.partition_point(|miss| miss.agreed > agreed);
        if place < NEAREST {
            let miss = Miss {
                differences: pattern.differences(&entry, looking)?,
                entry,
                cursor,
                agreed,
            };
            self.nearest.insert(place, miss);
            self.nearest.truncate(NEAREST);
        }
        Ok(())
    }
}

/// Waits for entries of `ring`. Dropping the future ends the wait.
pub async fn wait<T: Record + Shown>(
    reading: &Reading,
    ring: &Arc<Ring<T>>,
    wait: Wait<T>,
) -> Result<Found<T>, Halt> {
    let mut follower = Follower::new(ring, wait.since);
    let mut found = Found::new();
    let mut quiet_since = Instant::now();
    let deadline = quiet_since + wait.timeout;
    loop {
        let before = found.count;
        let pattern = wait.pattern.clone();
        (follower, found) = reading
            .look(move |looking| {
                found.look(&mut follower, &pattern, looking)?;
                Ok((follower, found))
            })
            .await?;
        if found.count > before {
            quiet_since = Instant::now();
        }
        if wait.count.at_most.is_some_and(|most| found.count > most) {
            found.end = End::TooMany;
            return Ok(found);
        }
        let enough = found.count >= wait.count.at_least;
        let quiet_until = quiet_since + wait.quiet;
        let now = Instant::now();
        if enough && now >= quiet_until {
            found.end = End::Satisfied;
            return Ok(found);
        }
        if now >= deadline {
            return Ok(found);
        }
        let next = if enough {
            quiet_until.min(deadline)
        } else {
            deadline
        };
        tokio::select! {
            () = follower.changed() => {}
            () = tokio::time::sleep_until(next) => {}
            () = reading.stopped() => return Err(Halt::Stopped),
        }
    }
}

#[cfg(test)]
mod tests;
