//! One connection's bytes: reading and writing with time limits, and the ways to leave.
//! One timer and one cancellation waiter serve the whole connection, and neither is touched while
//! data is at hand: what the fast path costs is one read and one write.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The size of a fresh read buffer, and the least room that a read is given.
const READ: usize = 8 << 10;
/// A buffer that has grown beyond this is given back once it is empty.
const KEEP: usize = 64 << 10;
/// How much a closing connection still takes from a peer that has not finished sending, so that
/// the peer sees the answer and not a reset.
const LINGER_BYTES: usize = 64 << 20;
/// How long a closing connection waits for that peer.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// Longer than any program runs.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Why no byte came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The peer closed, or the connection broke.
    Closed,
    /// The time limit passed.
    Elapsed,
    /// The program is stopping, or another connection wants the place of this idle one.
    Stopped,
}

/// What ends the wait for a peer, beside the peer and the time limit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait<'a> {
    /// Nothing.
    Busy,
    /// A stop of the program.
    Over,
    /// A stop, or the wish for this connection's place.
    Idle(&'a Notify),
}

/// What is seen of a peer while its answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// The connection is broken.
    Gone,
    /// It sends no more: it has closed the connection, or its sending side alone.
    Finished,
    /// It has sent so much of its next requests that no more is read.
    Full,
}

/// A stream with its read buffer.
pub(super) struct Wire<S> {
    stream: S,
    /// Bytes that have been read and not yet been used.
    pub(super) buf: BytesMut,
    /// Room for the next answer, kept between answers.
    pub(super) out: Vec<u8>,
    /// The peer sends no more.
    finished: bool,
    write_timeout: Duration,
    timer: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, write_timeout: Duration, shutdown: CancellationToken) -> Self {
        Self {
            stream,
            buf: BytesMut::with_capacity(READ),
            out: Vec::new(),
            finished: false,
            write_timeout,
            timer: Box::pin(sleep(Duration::ZERO)),
            stop: Box::pin(shutdown.clone().cancelled_owned()),
            shutdown,
        }
    }

    /// Whether the program is stopping.
    pub(super) fn stopping(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Reads more into `buf`.
    pub(super) async fn fill(&mut self, deadline: Instant, until: Wait<'_>) -> Result<(), Gap> {
        if self.buf.is_empty() && self.buf.capacity() > KEEP {
            self.buf = BytesMut::with_capacity(READ);
        }
        if self.buf.capacity() - self.buf.len() < READ / 4 {
            self.buf.reserve(READ.max(self.buf.len()));
        }
        let read = self.stream.read_buf(&mut self.buf);
        let stop = (!matches!(until, Wait::Busy)).then_some(&mut self.stop);
        let wanted = match until {
            Wait::Idle(wanted) => Some(wanted),
            Wait::Busy | Wait::Over => None,
        };
        wait(read, &mut self.timer, deadline, stop, wanted).await
    }

    /// Reads at most `most` bytes straight into `body`.
    pub(super) async fn fill_body(
        &mut self,
        body: &mut Vec<u8>,
        most: usize,
        deadline: Instant,
    ) -> Result<(), Gap> {
        let mut limited = body.limit(most);
        let read = self.stream.read_buf(&mut limited);
        wait(read, &mut self.timer, deadline, None, None).await
    }

    /// Looks after the peer while its answer is made, taking in what it sends meanwhile.
    pub(super) async fn watch(&mut self) -> Sight {
        while !self.finished {
            if self.buf.len() >= KEEP {
                return Sight::Full;
            }
            self.buf.reserve(READ / 4);
            match self.stream.read_buf(&mut self.buf).await {
                Ok(0) => self.finished = true,
                // TLS calls it so where the peer did not say that it closes.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.finished = true,
                Err(_) => return Sight::Gone,
                Ok(_) => {}
            }
        }
        Sight::Finished
    }

    /// The stream, for what only its owner can tell.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// Writes all of `bytes`; fails when the peer takes nothing for the time limit.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = pin!(self.stream.write(bytes));
            let count = in_time(written, &mut self.timer, self.write_timeout).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        let flushed = pin!(self.stream.flush());
        in_time(flushed, &mut self.timer, self.write_timeout).await
    }

    /// Whether the peer has been seen to send no more.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// What is cancelled when the program stops.
    pub(super) fn stop(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Reads and forgets until the peer leaves or the program stops.
    pub(super) async fn stall(&mut self) {
        self.drain(usize::MAX, Instant::now() + FOREVER).await;
    }

    /// Ends the connection. With `linger`, what the peer is still sending is taken first, since
    /// closing over unread bytes resets the connection and may destroy the answer.
    pub(super) async fn close(mut self, linger: bool) {
        let shut = pin!(self.stream.shutdown());
        let shut = in_time(shut, &mut self.timer, LINGER_TIME).await;
        if linger && shut.is_ok() {
            self.drain(LINGER_BYTES, Instant::now() + LINGER_TIME).await;
        }
    }

    async fn drain(&mut self, mut most: usize, until: Instant) {
        while most > 0 {
            self.buf.clear();
            if self.fill(until, Wait::Over).await.is_err() {
                return;
            }
            most = most.saturating_sub(self.buf.len());
        }
    }

    /// Gives the stream back, for what only its owner can do.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Takes the answer buffer, empty.
    pub(super) fn take_out(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out
    }

    /// Puts the answer buffer back for the next answer.
    pub(super) fn put_out(&mut self, out: Vec<u8>) {
        if out.capacity() <= KEEP {
            self.out = out;
        }
    }
}

/// Waits for a read; the timer is set only if the bytes are not there yet.
async fn wait(
    read: impl Future<Output = io::Result<usize>>,
    timer: &mut Pin<Box<Sleep>>,
    deadline: Instant,
    mut stop: Option<&mut Pin<Box<WaitForCancellationFutureOwned>>>,
    wanted: Option<&Notify>,
) -> Result<(), Gap> {
    let mut read = pin!(read);
    let mut wanted = pin!(async {
        match wanted {
            Some(wanted) => wanted.notified().await,
            None => pending().await,
        }
    });
    let mut armed = false;
    poll_fn(|context| {
        if let Poll::Ready(read) = read.as_mut().poll(context) {
            return Poll::Ready(match read {
                Ok(0) | Err(_) => Err(Gap::Closed),
                Ok(_) => Ok(()),
            });
        }
        if let Some(stop) = &mut stop
            && stop.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(Gap::Stopped));
        }
        if wanted.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Gap::Stopped));
        }
        if !std::mem::replace(&mut armed, true) {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context).map(|()| Err(Gap::Elapsed))
    })
    .await
}

/// Waits for a write, at most `limit`; the timer is set only if it does not go through at once.
async fn in_time<T>(
    mut write: Pin<&mut impl Future<Output = io::Result<T>>>,
    timer: &mut Pin<Box<Sleep>>,
    limit: Duration,
) -> io::Result<T> {
    let mut armed = false;
    poll_fn(|context| {
        if let Poll::Ready(done) = write.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if !std::mem::replace(&mut armed, true) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}
