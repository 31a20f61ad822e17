//! The bytes of one connection: what has been read and not looked at, and what is to be written.
//! Both buffers exist only while there is something in them, so that an idle client costs none.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// One connection's bytes.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    input: Vec<u8>,
    /// How much of `input` has been looked at.
    used: usize,
    pub(crate) out: Vec<u8>,
    /// How much of `out` has been written.
    gone: usize,
    /// How many bytes were written before those in `out`.
    before: u64,
    /// Whether something has been written and not flushed.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            used: 0,
            out: Vec::new(),
            gone: 0,
            before: 0,
            unflushed: false,
        }
    }

    /// What has been read and not looked at.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// So many bytes have been looked at.
    pub(crate) fn use_up(&mut self, length: usize) {
        self.used += length;
        if self.used >= self.input.len() {
            self.used = 0;
            self.input.clear();
        }
    }

    /// Gives the memory back that holds nothing, or little of what it could.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        } else if self.used > 0 {
            self.input = self.input.split_off(self.used);
            self.used = 0;
        }
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }

    /// Reads once; 0 at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; CHUNK];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        self.input.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    }

    /// Whether something is to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty() || self.unflushed
    }

    /// How many bytes are to be written.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() - self.gone
    }

    /// How many bytes have been written in all.
    pub(crate) fn written(&self) -> u64 {
        self.before + self.gone as u64
    }

    /// The place behind the last byte that is to be written, counted as [`Wire::written`] is.
    pub(crate) fn end(&self) -> u64 {
        self.before + self.out.len() as u64
    }

    /// Takes bytes out again of which none has been written, by their places.
    pub(crate) fn cut(&mut self, from: u64, to: u64) {
        let place = |at: u64| usize::try_from(at - self.before).unwrap_or(usize::MAX);
        let (from, to) = (place(from).max(self.gone), place(to));
        if from < to && to <= self.out.len() {
            self.out.drain(from..to);
        }
    }

    /// Writes all there is. Pending while the peer takes no more; [`Wire::written`] tells how far
    /// it has come.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.gone < self.out.len() {
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write(cx, &self.out[self.gone..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gone += count;
            self.unflushed = true;
        }
        self.before += self.gone as u64;
        self.gone = 0;
        self.out.clear();
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}
