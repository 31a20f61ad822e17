//! How fast the broker is beside others, as tables: `cargo bench --bench broker`.
//!
//! The emulator's release binary and, if they are installed, mosquitto and NanoMQ run in turn
//! under the same load (`load.rs`), each one started afresh for each measurement (`brokers.rs`).
//! All figures are medians of three rounds, brokers interleaved. Load tool and broker share the
//! machine: only ratios of one run mean something on another one, and somebody else's work on it
//! is in all of them. `of mosquitto` is the emulator's figure divided by mosquitto's; where less
//! is better (time, bytes, descriptors), less than 1 is.
//!
//! - pairs 1/1, 10/10: so many publishers, each with a subscriber of its own; windows of 100 and 20
//!   messages. Messages received per second.
//! - fan-out: one publisher, 100 subscribers, QoS 0; each message received counts.
//! - shared group: one publisher, one group of ten, QoS 1; its members speak MQTT 5, everybody else
//!   MQTT 3.1.1.
//! - p50, p99: from the time at which a message was due to the `read` that brought it, in
//!   microseconds, at half of what mosquitto could do in the row above (of what the emulator could
//!   do, if mosquitto is not there), the same rate for each broker.
//! - connects: TCP connection, CONNECT, CONNACK, DISCONNECT, closed by the broker; 32 at a time.
//! - idle clients: what 10,000 connected clients with one subscription each add to resident memory
//!   and open descriptors; then connects per second while they are there.
//! - with others subscribed: connects, and messages of a pair that each go to another topic, while
//!   up to 1,000 other clients hold so many filters, none of which matches. Flat is good.
//! - `SendMessage`: signed requests over 64 connections, one QoS 1 subscriber, against our HTTP
//!   loop with a handler that does nothing (`--bench load` has more on this).
//! - processor time: microseconds of all cores for each message or connect, of the broker and of
//!   the load tool. It hardly changes while the machine is busy with something else, which
//!   throughput and waits do.
//!
//! After `--`: `--quick` (one round, for a first look), `--only pairs,idle`, `--seconds 3`,
//! `--rounds 5`, `--payload 256`, `--clients 1000`.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on ends, and needs no 16 digits"
)]

mod brokers;
mod load;
#[path = "../send_message/mod.rs"]
mod send_message;
mod table;

use std::io;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use brokers::{Broker, Kind};
use load::{Topics, Traffic};
use send_message::process::Process;
use table::{Samples, Table, Target};

/// One measurement must end within this time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Open files that 10,000 clients need where each takes several of the broker.
const FILES: u64 = 100_000;
/// Clients that connect before memory and descriptors are counted.
const WARM_UP_CLIENTS: usize = 100;
/// Filters of others, and how many clients hold them.
const CROWDS: [Crowd; 3] = [
    Crowd {
        filters: 10,
        clients: 10,
    },
    Crowd {
        filters: 1_000,
        clients: 1_000,
    },
    Crowd {
        filters: 100_000,
        clients: 1_000,
    },
];

#[derive(Parser)]
#[command(about = "Measures the broker beside mosquitto and NanoMQ, if they are installed")]
struct Options {
    /// Measure these alone.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Seconds of each measurement [default: 1.5, quick 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// Rounds of which the median is taken [default: 3, quick 1].
    #[arg(long)]
    rounds: Option<usize>,
    /// One short round.
    #[arg(long)]
    quick: bool,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// How many clients are idle.
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    Pairs,
    FanOut,
    Shared,
    Connects,
    Idle,
    Others,
    SendMessage,
}

#[derive(Clone, Copy)]
struct Crowd {
    filters: usize,
    clients: usize,
}

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(send_message::bare::serve());
        return;
    }
    let mut bench = Bench::new(Options::parse());
    bench.introduce();
    bench.compare();
    if bench.measures(Section::Others) {
        bench.with_others();
    }
    if bench.measures(Section::SendMessage) {
        bench.send_message();
    }
    for note in &bench.notes {
        println!("\n{note}");
    }
}

/// What one measurement of one broker found: figures, and messages that did not come.
type Found = io::Result<(Vec<f64>, u64)>;

struct Bench {
    options: Options,
    kinds: Vec<Kind>,
    seconds: Duration,
    rounds: usize,
    clients: usize,
    notes: Vec<String>,
}

impl Bench {
    fn new(options: Options) -> Self {
        let (seconds, rounds) = if options.quick { (1.0, 1) } else { (1.5, 3) };
        let wanted = options.clients;
        // The load tool needs one descriptor for each, and some more.
        let clients = wanted.min(raised_file_limit().saturating_sub(500) as usize);
        let mut notes = Vec::new();
        if clients < wanted {
            notes.push(format!(
                "idle clients: {clients}, the limit of open files allows no more"
            ));
        }
        Self {
            kinds: Kind::installed(),
            seconds: Duration::from_secs_f64(options.seconds.unwrap_or(seconds).clamp(0.1, 60.0)),
            rounds: options.rounds.unwrap_or(rounds).clamp(1, 100),
            clients,
            options,
            notes,
        }
    }

    fn measures(&self, section: Section) -> bool {
        self.options.only.is_empty() || self.options.only.contains(&section)
    }

    /// The machine, its load before the first measurement, the brokers and how soon they are ready.
    fn introduce(&mut self) {
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!(
            "{cores} cores of {}, load average {}; {} rounds of {:?}, {} bytes of payload",
            processor.map_or("an unknown processor", |(_, name)| name),
            load.split(' ').next().unwrap_or("unknown"),
            self.rounds,
            self.seconds,
            self.options.payload,
        );
        let notes = &mut self.notes;
        self.kinds.retain(|kind| match kind.start() {
            Ok(broker) => {
                let megabytes = broker.resident() as f64 / 1_048_576.0;
                let (name, version) = (kind.name, &kind.version);
                let ready = broker.started_in;
                println!("{name} {version}: ready in {ready:.1?}, {megabytes:.1} MB resident");
                true
            }
            Err(error) => {
                notes.push(format!("{} is left out: {error}", kind.name));
                false
            }
        });
    }

    /// The figures of one thing for all brokers, each in turn, as often as there are rounds.
    fn rounds(&mut self, what: &str, measure: impl Fn(&Broker) -> Found) -> Samples {
        let mut samples = Samples::new(self.kinds.len());
        for _ in 0..self.rounds {
            for broker in 0..self.kinds.len() {
                self.once(what, broker, &mut samples, &measure);
            }
        }
        samples
    }

    fn once(
        &mut self,
        what: &str,
        broker: usize,
        samples: &mut Samples,
        measure: impl Fn(&Broker) -> Found,
    ) {
        let kind = &self.kinds[broker];
        let found = kind.start().and_then(|broker| measure(&broker));
        let note = match found {
            Ok((figures, lost)) => {
                samples.add(broker, &figures);
                (lost > 0).then(|| format!("{lost} messages did not come"))
            }
            Err(error) => Some(error.to_string()),
        };
        let notes = note.map(|note| format!("{what}, {}: {note}", kind.name));
        self.note(notes);
    }

    fn note(&mut self, note: Option<String>) {
        self.notes
            .extend(note.filter(|note| !self.notes.contains(note)));
    }

    /// The table in which brokers stand side by side.
    fn compare(&mut self) {
        let mut titles = vec!["what".to_owned(), "unit".into()];
        for (index, kind) in self.kinds.iter().enumerate() {
            titles.push(kind.name.into());
            if index > 0 {
                titles.push(format!("of {}", kind.name));
            }
        }
        titles.push("target, of mosquitto".into());
        let table = Table::new(42, &titles);
        for (name, section, traffic) in traffics(self.options.payload) {
            if self.measures(section) {
                self.traffic(&table, name, &traffic);
            }
        }
        if self.measures(Section::Connects) {
            self.connects(&table);
        }
        if self.measures(Section::Idle) {
            self.idle(&table);
        }
    }

    /// Prints one of the figures that were measured together.
    fn row(
        &self,
        table: &Table,
        (samples, figure): (&Samples, usize),
        (what, unit): (&str, &str),
        target: Option<Target>,
    ) {
        let mut cells = vec![what.to_owned(), unit.to_owned()];
        let own = samples.median(0, figure);
        let mut of_mosquitto = None;
        for (index, kind) in self.kinds.iter().enumerate() {
            let median = samples.median(index, figure);
            cells.push(table::figure(median));
            if index > 0 {
                let ratio = own.zip(median).map(|(own, other)| own / other);
                cells.push(table::ratio(ratio));
                if kind.name == "mosquitto" {
                    of_mosquitto = ratio;
                }
            }
        }
        let verdict = target.map(|target| target.verdict(own, of_mosquitto));
        cells.push(verdict.unwrap_or_default());
        table.row(&cells);
    }

    /// Throughput of a pattern, and the waits at half of mosquitto's throughput.
    fn traffic(&mut self, table: &Table, name: &str, traffic: &Traffic) {
        let time = self.seconds;
        let flow = self.rounds(name, |broker| {
            let meter = || broker.processor_time();
            let flow = run(load::throughput(broker.mqtt, traffic, time, &meter))?;
            Ok((flow.figures(), flow.lost))
        });
        let at_least = Some(Target::AtLeast(1.0));
        self.row(table, (&flow, 0), (name, "messages/s"), at_least);
        self.processor(table, &flow, "us/message");
        let mosquitto = self.kinds.iter().position(|kind| kind.name == "mosquitto");
        let Some(most) = flow.median(mosquitto.unwrap_or(0), 0) else {
            return;
        };
        let rate = most / 2.0;
        let published = rate / traffic.copies() as f64;
        let waits = self.rounds(name, |broker| {
            let waits = run(load::latency(broker.mqtt, traffic, published, time))?;
            let microseconds = [waits.p50, waits.p99].map(|wait| wait.as_secs_f64() * 1e6);
            Ok((microseconds.to_vec(), waits.lost))
        });
        for (figure, rank, target) in [(0, 50, None), (1, 99, Some(Target::AtMost(1.0)))] {
            let what = format!("- p{rank} at {rate:.0}/s");
            self.row(table, (&waits, figure), (&what, "us"), target);
        }
    }

    /// The rows below a throughput: figures 1 and 2.
    fn processor(&self, table: &Table, flow: &Samples, unit: &str) {
        for (figure, what) in [(1, "- broker's processor time"), (2, "- load tool's")] {
            self.row(table, (flow, figure), (what, unit), None);
        }
    }

    fn connects(&mut self, table: &Table) {
        let time = self.seconds;
        let samples = self.rounds("connects", |broker| {
            let meter = || broker.processor_time();
            let flow = run(load::connects(broker.mqtt, time, &meter))?;
            Ok((flow.figures(), 0))
        });
        let target = Some(Target::AtLeast(0.9));
        self.row(table, (&samples, 0), ("connects", "1/s"), target);
        self.processor(table, &samples, "us/connect");
    }

    fn idle(&mut self, table: &Table) {
        let (count, time) = (self.clients, self.seconds);
        let samples = self.rounds("idle clients", |broker| run(idle(broker, count, time)));
        let connects = format!("connects, {count} others connected");
        for (figure, what, unit, target) in [
            (
                0,
                "idle client, memory",
                "bytes",
                Target::ValueAtMost(6_144.0),
            ),
            (
                1,
                "idle client, descriptors",
                "files",
                Target::ValueAtMost(1.0),
            ),
            (2, &connects, "1/s", Target::AtLeast(0.9)),
        ] {
            self.row(table, (&samples, figure), (what, unit), Some(target));
        }
    }

    /// The table that shows what others' subscriptions cost.
    fn with_others(&mut self) {
        let mut titles = vec!["with others subscribed".to_owned(), "broker".into()];
        titles.extend(CROWDS.map(|crowd| format!("{} filters", crowd.filters)));
        titles.push("last of first".into());
        let table = Table::new(42, &titles);
        let time = self.seconds;
        let mut samples = CROWDS.map(|_| Samples::new(self.kinds.len()));
        for _ in 0..self.rounds {
            for (crowd, samples) in CROWDS.iter().zip(&mut samples) {
                for broker in 0..self.kinds.len() {
                    let what = format!("with {} filters of others", crowd.filters);
                    self.once(&what, broker, samples, |broker| {
                        run(among_others(broker, *crowd, time))
                    });
                }
            }
        }
        let rows = [
            "connects, 1/s",
            "- broker's us/connect",
            "pair 1/1 QoS 0, messages/s",
            "- broker's us/message",
        ];
        for (figure, what) in rows.into_iter().enumerate() {
            for (index, kind) in self.kinds.iter().enumerate() {
                let medians = samples
                    .each_ref()
                    .map(|samples| samples.median(index, figure));
                let mut cells = vec![what.to_owned(), kind.name.into()];
                cells.extend(medians.map(table::figure));
                let [first, .., last] = medians;
                cells.push(table::ratio(
                    last.zip(first).map(|(last, first)| last / first),
                ));
                table.row(&cells);
            }
        }
    }

    /// The table of calls over HTTP, of which the emulator makes messages.
    fn send_message(&mut self) {
        let titles = [
            "what",
            "per second",
            "of the bare loop",
            "p99, ms",
            "target, of it",
        ];
        let table = Table::new(42, &titles.map(String::from));
        let each = (2_500.0 * self.seconds.as_secs_f64()) as usize;
        let requests = send_message::requests(each, 0);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut samples = Samples::new(2);
        for _ in 0..self.rounds {
            let bare = Process::bare();
            let load = send_message::load(bare.http, self.seconds, requests.clone());
            let load = runtime.block_on(load);
            samples.add(0, &[load.per_second, load.p99.as_secs_f64() * 1e3]);
            drop(bare);
            let found = runtime.block_on(heard(self.seconds, requests.clone()));
            match found {
                Ok((figures, 0)) => samples.add(1, &figures),
                Ok((_, lost)) => {
                    self.note(Some(format!("SendMessage: {lost} did not come, or twice")));
                }
                Err(error) => self.note(Some(format!("SendMessage: {error}"))),
            }
        }
        let bare = samples.median(0, 0);
        let rows = [
            ("bare loop", None),
            (
                "SendMessage, one QoS 1 subscriber",
                Some(Target::AtLeast(0.5)),
            ),
        ];
        for (index, (what, target)) in rows.into_iter().enumerate() {
            let rate = samples.median(index, 0);
            let ratio = rate.zip(bare).map(|(rate, bare)| rate / bare);
            table.row(&[
                what.into(),
                table::figure(rate),
                table::ratio(ratio),
                table::figure(samples.median(index, 1)),
                target.map_or_else(String::new, |target| target.verdict(rate, ratio)),
            ]);
        }
    }
}

/// The patterns, each with its name and section.
fn traffics(payload: usize) -> Vec<(&'static str, Section, Traffic)> {
    let pairs = |count: usize, qos, window| Traffic {
        publishers: count,
        subscribers: count,
        qos,
        window,
        payload,
        topics: Topics::Own,
    };
    let fan_out = Traffic {
        subscribers: 100,
        ..pairs(1, 0, 20)
    };
    let shared = Traffic {
        subscribers: 10,
        topics: Topics::Shared,
        ..pairs(1, 1, 100)
    };
    vec![
        ("pairs 1/1, QoS 0", Section::Pairs, pairs(1, 0, 100)),
        ("pairs 1/1, QoS 1", Section::Pairs, pairs(1, 1, 100)),
        ("pairs 10/10, QoS 0", Section::Pairs, pairs(10, 0, 20)),
        ("pairs 10/10, QoS 1", Section::Pairs, pairs(10, 1, 20)),
        ("fan-out 1 to 100, QoS 0", Section::FanOut, fan_out),
        ("shared group of 10, QoS 1", Section::Shared, shared),
    ]
}

/// Bytes and descriptors per client, connects per second beside them.
async fn idle(broker: &Broker, count: usize, time: Duration) -> Found {
    let filter = |index| vec![format!("idle/{index}")];
    let first = load::crowd(broker.mqtt, "first", WARM_UP_CLIENTS, filter).await;
    let (bytes, descriptors) = (broker.resident(), broker.descriptors());
    let crowd = load::crowd(broker.mqtt, "idle", count, filter).await;
    if let Some(error) = crowd.fault.or(first.fault) {
        let reached = crowd.clients.len();
        return Err(io::Error::other(format!(
            "{error}, after {reached} clients"
        )));
    }
    let bytes = broker.resident().saturating_sub(bytes) as f64;
    let descriptors = broker.descriptors().saturating_sub(descriptors) as f64;
    let count = count.max(1) as f64;
    let meter = || broker.processor_time();
    let connects = load::connects(broker.mqtt, time, &meter).await?;
    Ok((
        vec![bytes / count, descriptors / count, connects.per_second],
        0,
    ))
}

/// Connects and messages per second, each with the broker's microseconds.
async fn among_others(broker: &Broker, crowd: Crowd, time: Duration) -> Found {
    let filters: fn(usize) -> Vec<String> = if crowd.filters > crowd.clients {
        |client| {
            (client * 100..client * 100 + 100)
                .map(filter_of_others)
                .collect()
        }
    } else {
        |client| vec![filter_of_others(client)]
    };
    let others = load::crowd(broker.mqtt, "other", crowd.clients, filters).await;
    if let Some(error) = others.fault {
        return Err(error);
    }
    let meter = || broker.processor_time();
    let connects = load::connects(broker.mqtt, time, &meter).await?;
    let traffic = Traffic {
        publishers: 1,
        subscribers: 1,
        qos: 0,
        window: 100,
        payload: 64,
        topics: Topics::Scattered,
    };
    let flow = load::throughput(broker.mqtt, &traffic, time, &meter).await?;
    let lost = flow.lost;
    let figures = [connects, flow].map(|flow| [flow.per_second, flow.processor[0]]);
    Ok((figures.concat(), lost))
}

/// Three kinds of filters, close to what is published (`site/NUMBER/bench`), none of which
/// matches it.
fn filter_of_others(number: usize) -> String {
    match number % 3 {
        0 => format!("site/{number:06}/state"),
        1 => format!("site/{number:06}/state/#"),
        _ => format!("+/{number:06}/state"),
    }
}

/// Requests per second that one QoS 1 subscriber hears of, and their p99 in milliseconds.
async fn heard(time: Duration, requests: send_message::Requests) -> Found {
    let emulator = Process::emulator();
    let field = load::subscribe(emulator.mqtt.unwrap()).await?;
    let load = send_message::load(emulator.http, time, requests).await;
    let late = tokio::time::Instant::now() + Duration::from_secs(10);
    while field.received() < load.accepted && tokio::time::Instant::now() < late {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let figures = vec![load.per_second, load.p99.as_secs_f64() * 1e3];
    Ok((figures, load.accepted.abs_diff(field.received())))
}

/// On one thread, within bounded time.
fn run<T>(measurement: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async { tokio::time::timeout(PATIENCE, measurement).await? })
}

/// As many open files as allowed, for the brokers too, which inherit it.
fn raised_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES, |maximum| maximum.max(FILES));
    // The first is for a superuser alone.
    for limit in [most, limit.maximum.unwrap_or(most)] {
        let wanted = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            return limit;
        }
    }
    limit.current.unwrap_or(most)
}
