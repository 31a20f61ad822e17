//! The log on stderr, which never holds anybody up: lines go into a bounded queue, one thread
//! writes them. While nobody reads stderr the queue fills up; then lines are dropped and counted,
//! and the next line that is written says how many.
//!
//! Our own and not `tracing-appender`: that one counts what it drops without saying so, and its
//! end may wait a second for a pipe that nobody reads.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::json;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};

/// How many bytes may wait to be written.
const CAPACITY: usize = 1 << 20;
/// How long the end of the program waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_millis(200);
/// How long to leave a stderr alone that does not block and takes nothing more now.
const BUSY: Duration = Duration::from_millis(5);

/// Starts the log. Below debug, only warnings of the libraries are shown beside the emulator's own
/// lines; what rustls warns of is said in the emulator's words where it matters.
pub(super) fn start(format: LogFormat, level: LogLevel) -> Log {
    let (own, libraries, tls) = match level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("rustls", tls)
        .with_target("mqttstack", own);
    let log = Log::over(io::stderr(), format);
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(log.0.clone()));
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let ansi = io::stderr().is_terminal();
            registry.with(lines.with_ansi(ansi)).init();
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    // The usual hook writes to stderr itself, which would block as the log must not.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    log
}

/// The running log.
#[derive(Debug)]
pub(super) struct Log(Arc<Queue>);

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something waits.
    news: Condvar,
    /// Everything has been written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    dropped: u64,
    /// The thread holds lines that it has not written yet.
    writing: bool,
}

impl Log {
    /// Starts the thread that writes to `out`. Without threads there is no log.
    fn over(out: impl Write + Send + 'static, format: LogFormat) -> Self {
        let queue = Arc::new(Queue::default());
        let shared = queue.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        // Nobody is left to tell if it cannot be started.
        let _ = thread.spawn(move || shared.run(out, format));
        Self(queue)
    }

    /// Waits a little for what has not been written, and no longer for a pipe that nobody reads.
    pub(super) fn finish(&self) {
        let deadline = Instant::now() + LAST_LINES;
        let mut waiting = self.0.waiting.lock();
        while waiting.writing || !waiting.text.is_empty() {
            if self
                .0
                .written
                .wait_until(&mut waiting, deadline)
                .timed_out()
            {
                return;
            }
        }
    }
}

impl Queue {
    /// Takes a line, or counts it as dropped.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.text.len() + line.len() > CAPACITY {
            waiting.dropped += 1;
            return;
        }
        waiting.text.extend_from_slice(line);
        drop(waiting);
        self.news.notify_one();
    }

    /// Everything that waits, and how many lines were dropped behind it.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut waiting = self.waiting.lock();
        waiting.writing = false;
        while waiting.text.is_empty() {
            self.written.notify_all();
            self.news.wait(&mut waiting);
        }
        waiting.writing = true;
        (
            std::mem::take(&mut waiting.text),
            std::mem::take(&mut waiting.dropped),
        )
    }

    fn run(&self, mut out: impl Write, format: LogFormat) {
        loop {
            let (text, dropped) = self.take();
            write_all(&mut out, &text);
            if dropped > 0 {
                write_all(&mut out, notice(dropped, format).as_bytes());
            }
        }
    }
}

/// The line that stands for those that were dropped, in the form of the others.
fn notice(dropped: u64, format: LogFormat) -> String {
    let mut time = String::new();
    // It fails only where the machine's time cannot be written; the line is good without.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let what = "log lines were dropped here, since stderr was not read fast enough";
    let target = "mqttstack::log";
    match format {
        LogFormat::Text => format!("{time}  WARN {target}: {dropped} {what}\n"),
        LogFormat::Json => {
            let line = json!({
                "timestamp": time,
                "level": "WARN",
                "message": format!("{dropped} {what}"),
                "dropped": dropped,
                "target": target,
            });
            format!("{line}\n")
        }
    }
}

/// Writes all of it, or gives up: with stderr closed there is nobody left to tell.
fn write_all(out: &mut impl Write, mut text: &[u8]) {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return,
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A parent may hand over a stderr that does not block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BUSY),
            Err(_) => return,
        }
    }
}

/// Makes the way into the queue for each line.
struct Lines(Arc<Queue>);

/// The way of one line into the queue.
struct Line<'a>(&'a Queue);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes nothing until it is told how many writes may go on.
    struct Pipe {
        readers: mpsc::Receiver<()>,
        read: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.readers.recv();
            let _ = self.read.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Pipe, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (reader, readers) = mpsc::channel();
        let (read, output) = mpsc::channel();
        (Pipe { readers, read }, reader, output)
    }

    #[test]
    fn lines_for_a_pipe_that_nobody_reads_are_dropped_and_counted() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (pipe, reader, output) = pipe();
            let log = Log::over(pipe, format);
            let lines = Lines(log.0.clone());
            let line = [b'x'; 999].into_iter().chain(*b"\n").collect::<Vec<u8>>();
            for _ in 0..5_000 {
                lines.make_writer().write_all(&line).unwrap();
            }
            // As long as the pipe is full, the end does not wait for it.
            let begun = Instant::now();
            log.finish();
            assert!(begun.elapsed() < 10 * LAST_LINES);
            drop(reader);
            let (mut whole, mut told) = (0, 0);
            while whole + told < 5_000 {
                let text = String::from_utf8(output.recv().unwrap()).unwrap();
                whole += text.lines().filter(|line| line.starts_with('x')).count();
                if let Some(dropped) = text.strip_suffix('\n').filter(|t| t.contains("dropped")) {
                    let digits = dropped.split_once(" log lines").unwrap().0;
                    let digits = digits.rsplit([' ', '"']).next().unwrap();
                    told += digits.parse::<usize>().unwrap();
                }
            }
            assert_eq!(whole + told, 5_000, "{format:?}");
            assert!(told > 0);
            log.finish();
        }
    }
}
