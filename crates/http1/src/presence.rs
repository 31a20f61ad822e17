//! Whether the client is still there while its answer is made: one that has left must not get, and
//! keep, what the answer hands over, nor hold a connection until a long wait is over. A client that
//! has only closed its sending side is still there; on the wire it looks like one that has left.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::wire::{Sight, Wire};

/// What is known of a client beside the bytes that it sends.
pub trait Presence<S>: Sync {
    /// Whether a client that sends no more still takes an answer, as far as can be told.
    fn listens(&self) -> bool;

    /// Returns once the connection is broken.
    fn broken(&self, stream: &S) -> impl Future<Output = ()> + Send;
}

/// Nothing is known: a client that sends no more counts as one that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Unseen;

impl<S: Sync> Presence<S> for Unseen {
    fn listens(&self) -> bool {
        true
    }

    async fn broken(&self, _stream: &S) {
        std::future::pending::<()>().await;
    }
}

/// How long after the client has ended its sending it is looked for again; each time twice as
/// long.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How many looks may follow on one another at once, and the least time between two of the
/// further ones: what wakes the work often must not make many of them.
const QUICK_LOOKS: u32 = 16;
const LEAST_LOOK: Duration = Duration::from_millis(250);
/// How long a client that sends no more gets to reset the connection on which its answer came.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// Does some work for the client, unless that leaves before it is done: then the work is dropped
/// at an await of its own.
pub(super) async fn attend<S, P, T>(
    wire: &mut Wire<S>,
    presence: &P,
    work: impl Future<Output = T>,
) -> Option<T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Presence<S>,
{
    let mut work = pin!(work);
    let sight = tokio::select! {
        biased;
        done = &mut work => return Some(done),
        sight = wire.watch() => sight,
    };
    if sight == Sight::Gone {
        return None;
    }
    let (mut pause, mut looks) = (FIRST_LOOK, 0_u32);
    loop {
        // Before every step, so that no step is done for a client that had left before it.
        if sight == Sight::Finished && !presence.listens() {
            return None;
        }
        let done = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(done) = done {
            return Some(done);
        }
        let looked = Instant::now();
        looks = looks.saturating_add(1);
        let next = async {
            tokio::select! {
                () = sleep_until(looked + pause) => pause = (pause * 2).min(LONGEST_LOOK),
                () = woken() => {
                    if sight == Sight::Finished && looks > QUICK_LOOKS {
                        sleep_until(looked + LEAST_LOOK).await;
                    }
                }
            }
        };
        tokio::select! {
            () = presence.broken(wire.stream()) => return None,
            () = next => {}
        }
    }
}

/// Whether a client to which an answer was written has turned out not to be there.
pub(super) async fn has_left<S, P>(wire: &Wire<S>, presence: &P) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Presence<S>,
{
    // One that still sends is there, or resets the connection while it is written to.
    wire.finished()
        && tokio::time::timeout(LAST_LOOK, presence.broken(wire.stream()))
            .await
            .is_ok()
}

/// Returns at the next wake of the task, whatever causes it.
async fn woken() {
    let mut first = true;
    poll_fn(|_| {
        if std::mem::take(&mut first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}
