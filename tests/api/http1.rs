//! The HTTP/1 loop over streams of bytes: what requests come out of them, and what goes back.
//! Sockets, TLS and real clients are in `listeners.rs`.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use mqttstack_base::exchange::{
    Answer, Body, BodyPolicy, Connection, Head, Malformed, Request, Scheme, Version,
};
use mqttstack_http1::{End, Handler, House, Limits, Origin, Presence, Unseen, serve};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::Notify;

type Answering = dyn Fn(&Request) -> Answer + Send + Sync;

/// Keeps what it was asked and answers by a closure.
pub(crate) struct Recorder {
    pub(crate) policy: BodyPolicy,
    /// Whether heads are read as NanoMQ's server reads them.
    pub(crate) loose: bool,
    pub(crate) seen: Mutex<Vec<Request>>,
    pub(crate) answering: Box<Answering>,
}

impl Recorder {
    pub(crate) fn new(answering: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            policy: BodyPolicy::default(),
            loose: false,
            seen: Mutex::default(),
            answering: Box::new(answering),
        }
    }

    /// Answers every request with what it held.
    pub(crate) fn echo() -> Self {
        Self::new(|request| {
            if let Some(problem) = &request.malformed {
                return Answer::new(400).body(problem.to_string());
            }
            let (method, target) = (&request.head.method, &request.head.target);
            let body = String::from_utf8_lossy(&request.body);
            Answer::new(200).body(format!("{method} {target} {body}"))
        })
    }

    pub(crate) fn problems(&self) -> Vec<Malformed> {
        let seen = self.seen.lock();
        seen.iter().filter_map(|r| r.malformed.clone()).collect()
    }

    fn targets(&self) -> Vec<String> {
        let seen = self.seen.lock();
        seen.iter().map(|r| r.head.target.to_string()).collect()
    }
}

impl Handler for Recorder {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn reads_loosely(&self, (): &()) -> bool {
        self.loose
    }

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        self.policy
    }

    async fn handle(&self, (): (), request: Request) -> Answer {
        let answer = (self.answering)(&request);
        self.seen.lock().push(request);
        answer
    }
}

/// A peer that sends its pieces one per read, closes, and takes everything.
struct Script {
    pieces: VecDeque<Bytes>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop_front() {
            buf.put_slice(&piece.split_to(piece.len().min(buf.remaining())));
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn origin() -> Origin {
    let address = ([127, 0, 0, 1], 1).into();
    Origin {
        peer: address,
        local: address,
        scheme: Scheme::Http,
        certificates: Arc::default(),
    }
}

/// What a handler sees and a peer gets when the peer sends `pieces` and closes.
fn exchange(
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    handler: &Recorder,
    limits: &Limits,
) -> String {
    let written = Arc::new(Mutex::default());
    let script = Script {
        pieces: pieces
            .into_iter()
            .filter(|piece| !piece.as_ref().is_empty())
            .map(|piece| Bytes::copy_from_slice(piece.as_ref()))
            .collect(),
        written: Arc::clone(&written),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let house = House::new(limits.clone(), 1 << 20);
        let served = serve(script, origin(), &Unseen, handler, &house);
        let minute = Duration::from_mins(1);
        let _ = tokio::time::timeout(minute, served).await.expect("hangs");
    });
    String::from_utf8_lossy(&written.lock()).into_owned()
}

fn talk(input: &str) -> (String, Recorder) {
    let recorder = Recorder::echo();
    let output = exchange([input], &recorder, &Limits::default());
    (output, recorder)
}

/// The only problem that `input` leads to.
fn problem(input: &str) -> Malformed {
    let (output, recorder) = talk(input);
    assert!(
        output.ends_with(&recorder.problems()[0].to_string()),
        "{output}"
    );
    assert!(output.contains("Connection: close\r\n"), "{output}");
    recorder.problems().pop().unwrap()
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let (output, _) = talk(
        "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi\r\n\
         PUT /3 HTTP/1.1\nTransfer-Encoding: chunked\n\n1\r\na\r\n1\r\nb\r\n0\r\nX: y\r\n\r\n\
         get http://h/4 HTTP/1.1\r\n\r\n",
    );
    assert_eq!(
        output,
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /1 \
         HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nPOST /2 hi\
         HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPUT /3 ab\
         HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nget http://h/4 "
    );
}

#[test]
fn a_connection_without_a_byte_asks_nothing_and_gets_nothing() {
    for input in ["", "\r\n\n\r\n"] {
        let (output, recorder) = talk(input);
        assert_eq!((output.as_str(), recorder.seen.lock().len()), ("", 0));
    }
}

#[test]
fn the_connection_stays_open_as_the_version_and_the_request_say() {
    let next = "GET /next HTTP/1.1\r\n\r\n";
    for (request, stays, field) in [
        ("GET / HTTP/1.1\r\n\r\n", true, ""),
        (
            "GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n",
            false,
            "Connection: close\r\n",
        ),
        ("GET / HTTP/1.0\r\n\r\n", false, "Connection: close\r\n"),
        (
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            true,
            "Connection: keep-alive\r\n",
        ),
    ] {
        let (output, recorder) = talk(&format!("{request}{next}"));
        let old = recorder.seen.lock()[0].head.version == Version::Http10;
        assert_eq!(old, request.contains("HTTP/1.0"));
        assert_eq!(
            recorder.seen.lock().len(),
            if stays { 2 } else { 1 },
            "{request}"
        );
        let expected = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n{field}\r\nGET / ");
        assert!(output.starts_with(&expected), "{request}: {output}");
    }
}

#[test]
fn head_gets_the_length_that_get_would_have_and_no_body() {
    let (output, _) = talk("HEAD / HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n");
    assert_eq!(
        output,
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /x "
    );
}

#[test]
fn a_request_line_of_200_kb_is_read_byte_for_byte() {
    let target = format!("/?Payload={}", "x".repeat(200 << 10));
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let recorder = Recorder::echo();
    // In packets as small as they come.
    exchange(
        request.as_bytes().chunks(1_400),
        &recorder,
        &Limits::default(),
    );
    assert_eq!(recorder.targets(), [target]);
    assert_eq!(recorder.seen.lock()[0].head.size, request.len());
}

#[test]
fn what_cannot_be_read_is_handed_on_with_its_reason_and_ends_the_connection() {
    let next = "GET /next HTTP/1.1\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nContent-Length: ";
    for (input, expected) in [
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), Malformed::Version),
        (format!("{length}x\r\n\r\n"), Malformed::ContentLength),
        (
            format!("{length}1\r\nContent-Length: 2\r\n\r\n"),
            Malformed::ContentLength,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_owned(),
            Malformed::Chunk,
        ),
        (
            format!("{length}1048577\r\n\r\n"),
            Malformed::BodyTooLarge { limit: 1 << 20 },
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n".to_owned(),
            Malformed::BodyTooLarge { limit: 1 << 20 },
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(256 << 10)),
            Malformed::TargetTooLong { limit: 256 << 10 },
        ),
        (
            format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(320 << 10)),
            Malformed::HeadTooLarge { limit: 320 << 10 },
        ),
    ] {
        assert_eq!(problem(&format!("{input}{next}")), expected, "{input:.60}");
    }
    for input in [
        format!("{length}3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02".to_owned(),
    ] {
        assert!(
            matches!(problem(&format!("{input}{next}")), Malformed::Head(_)),
            "{input}"
        );
    }
}

#[test]
fn a_peer_that_leaves_in_mid_request_is_handed_on_too() {
    for input in [
        "GET",
        "GET /x HTTP/1.1\r\nHost: h\r\n",
        "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhalf",
        "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    ] {
        assert_eq!(problem(input), Malformed::Truncated, "{input}");
    }
    let (_, recorder) = talk("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhalf");
    let request = recorder.seen.lock().pop().unwrap();
    assert_eq!(
        (&*request.head.target, &request.body[..]),
        ("/x", &b"half"[..])
    );
}

#[test]
fn a_surface_that_knows_no_chunks_reads_such_a_body_as_the_next_request() {
    let mut recorder = Recorder::echo();
    recorder.policy.chunked = false;
    let input = "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET /2 HTTP/1.1\r\n\r\n";
    exchange([input], &recorder, &Limits::default());
    assert_eq!(recorder.targets(), ["/1", "/2"]);
    assert!(recorder.seen.lock()[0].body.is_empty());
}

#[test]
fn a_request_keeps_no_more_memory_than_its_own_bytes() {
    let input = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    let (_, recorder) = talk(&input.repeat(2));
    let seen = recorder.seen.lock();
    let starts: Vec<_> = seen
        .iter()
        .map(|r| r.head.method.as_bytes().as_ptr())
        .collect();
    // Were the head a slice of the read buffer, the two would be one request apart.
    assert_ne!(starts[0] as usize + input.len(), starts[1] as usize);
}

// ---- answers on purpose broken, streams ----

fn cut(connection: Connection) -> String {
    let recorder =
        Recorder::new(move |_| Answer::new(200).body("0123456789").connection(connection));
    let request = "GET / HTTP/1.1\r\n\r\n";
    let output = exchange([request, request], &recorder, &Limits::default());
    assert_eq!(
        recorder.seen.lock().len(),
        1,
        "nothing is read after the end"
    );
    output
}

#[test]
fn an_answer_can_be_cut_dropped_or_closed_behind() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    for length in [0, 1, 20, whole.len() - 1, whole.len(), usize::MAX] {
        let expected = &whole[..length.min(whole.len())];
        assert_eq!(cut(Connection::Truncate(length)), expected);
    }
    assert_eq!(cut(Connection::Drop), "");
    assert_eq!(cut(Connection::Stall), "");
    assert!(cut(Connection::Close).ends_with("Connection: close\r\n\r\n0123456789"));
}

#[test]
fn a_handler_that_panics_costs_its_client_a_500() {
    let recorder = Recorder::new(|_| panic!("on purpose"));
    let output = exchange(["GET / HTTP/1.1\r\n\r\n"], &recorder, &Limits::default());
    assert!(
        output.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{output}"
    );
}

fn streaming(connection: Connection) -> Recorder {
    Recorder::new(move |_| {
        let pieces = ["one", "", "two"].map(|piece| Bytes::from_static(piece.as_bytes()));
        let mut answer = Answer::new(200).connection(connection);
        answer.body = Body::Stream(futures_util::stream::iter(pieces).boxed());
        answer
    })
}

/// What a peer gets that stays until the close: one that has left would end the stream.
async fn streamed(request: &str, connection: Connection) -> String {
    let mut peer = start(streaming(connection));
    peer.send(request).await;
    peer.rest().await
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_in_chunks_and_to_old_clients_as_it_is() {
    let chunks = "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let request = "GET / HTTP/1.1\r\n\r\n";
    assert_eq!(
        streamed(request, Connection::Keep).await,
        format!("{head}\r\n{chunks}")
    );
    assert_eq!(
        streamed(request, Connection::Truncate(head.len() + 5)).await,
        format!("{head}\r\n{}", &chunks[..3])
    );
    assert_eq!(
        streamed(
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            Connection::Keep
        )
        .await,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo"
    );
    assert_eq!(
        streamed("HEAD / HTTP/1.1\r\n\r\n", Connection::Keep).await,
        format!("{head}\r\n")
    );
}

// ---- time ----

struct Peer<H = Recorder> {
    client: DuplexStream,
    recorder: Arc<H>,
    house: Arc<House>,
    served: tokio::task::JoinHandle<End<DuplexStream>>,
}

fn start<H: Handler>(handler: H) -> Peer<H> {
    start_with(handler, Unseen)
}

fn start_with<H: Handler>(
    handler: H,
    presence: impl Presence<DuplexStream> + Send + 'static,
) -> Peer<H> {
    let (client, ours) = tokio::io::duplex(1 << 10);
    let house = House::new(Limits::default(), 1 << 20);
    let (recorder, house) = (Arc::new(handler), Arc::new(house));
    let (handler, shared) = (Arc::clone(&recorder), Arc::clone(&house));
    let served =
        tokio::spawn(async move { serve(ours, origin(), &presence, &*handler, &shared).await });
    Peer {
        client,
        recorder,
        house,
        served,
    }
}

/// What is known of a peer that a test says itself.
#[derive(Clone, Default)]
struct Told {
    /// It has closed its socket.
    left: Arc<AtomicBool>,
    /// It has reset the connection.
    reset: Arc<Notify>,
}

impl Presence<DuplexStream> for Told {
    fn listens(&self) -> bool {
        !self.left.load(Ordering::Relaxed)
    }

    async fn broken(&self, _: &DuplexStream) {
        self.reset.notified().await;
    }
}

impl<H> Peer<H> {
    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything up to the close.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn expect(&mut self, text: &str) {
        let mut got = vec![0; text.len()];
        self.client.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_is_answered_and_closed_when_its_time_is_over() {
    for (input, expected, seconds) in [
        ("G", Malformed::HeadTimeout, 10),
        ("GET / HTTP/1.1\r\nHost: h\r\n", Malformed::HeadTimeout, 10),
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhalf",
            Malformed::BodyTimeout,
            30,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5",
            Malformed::BodyTimeout,
            30,
        ),
    ] {
        let begun = tokio::time::Instant::now();
        let mut peer = start(Recorder::echo());
        peer.send(input).await;
        assert!(
            peer.rest().await.ends_with(&expected.to_string()),
            "{input}"
        );
        assert_eq!(begun.elapsed().as_secs(), seconds, "{input}");
        assert_eq!(peer.recorder.problems(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_trickle_do_not_prolong_the_time() {
    let mut peer = start(Recorder::echo());
    let begun = tokio::time::Instant::now();
    peer.send("GET / HTTP/1.1\r\nA: ").await;
    let (mut read, mut write) = tokio::io::split(peer.client);
    let trickle = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::advance(Duration::from_millis(300)).await;
        }
    });
    let mut text = String::new();
    read.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with(&Malformed::HeadTimeout.to_string()));
    assert_eq!(begun.elapsed().as_secs(), 10);
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    for first in ["", "\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let mut peer = start(Recorder::echo());
        peer.send(first).await;
        let answer = peer.rest().await;
        assert_eq!(answer.is_empty(), !first.starts_with("GET"), "{answer}");
        assert!(peer.recorder.problems().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let mut peer = start(Recorder::new(|_| {
        Answer::new(200).body(vec![b'x'; 1 << 20])
    }));
    peer.send("GET / HTTP/1.1\r\n\r\n").await;
    let begun = tokio::time::Instant::now();
    assert!(matches!(peer.served.await, Ok(End::Closed)));
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_leave_to_send_gets_it_as_the_surface_says() {
    let head = "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPOST / hi";

    let mut peer = start(Recorder::echo());
    peer.send(head).await;
    peer.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    peer.send("hi").await;
    peer.expect(answer).await;

    let mut silent = Recorder::echo();
    silent.policy.expect_continue = false;
    let mut peer = start(silent);
    peer.send(head).await;
    peer.send("hi").await;
    peer.expect(answer).await;

    let mut strict = Recorder::echo();
    strict.policy.max_body = 1;
    let mut peer = start(strict);
    peer.send(head).await;
    peer.expect("HTTP/1.1 400 Bad Request\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_idle_connections_and_streams_at_once_and_busy_ones_after_their_answer() {
    let begun = tokio::time::Instant::now();
    let mut idle = start(Recorder::echo());
    idle.send("GET / HTTP/1.1\r\n\r\n").await;
    idle.expect("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nGET / ")
        .await;
    idle.house.stop.cancel();
    assert_eq!(idle.rest().await, "");

    let mut streaming = start(Recorder::new(|_| {
        let mut answer = Answer::new(200);
        answer.body = Body::Stream(futures_util::stream::pending().boxed());
        answer
    }));
    streaming.send("GET / HTTP/1.1\r\n\r\n").await;
    streaming.expect("HTTP/1.1 200 OK\r\n").await;
    streaming.house.stop.cancel();
    assert!(streaming.rest().await.ends_with("\r\n0\r\n\r\n"));

    let mut busy = start(Recorder::echo());
    busy.send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .await;
    busy.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    busy.house.stop.cancel();
    busy.send("hi").await;
    assert!(
        busy.rest()
            .await
            .ends_with("Connection: close\r\n\r\nPOST / hi")
    );
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_client_leaves() {
    let told = Told::default();
    told.left.store(true, Ordering::Relaxed);
    let streaming = Recorder::new(|_| {
        let mut answer = Answer::new(200);
        answer.body = Body::Stream(futures_util::stream::pending().boxed());
        answer
    });
    let mut peer = start_with(streaming, told);
    peer.send("GET / HTTP/1.1\r\n\r\n").await;
    peer.expect("HTTP/1.1 200 OK\r\n").await;
    drop(peer.client);
    assert!(matches!(peer.served.await, Ok(End::Closed)));
}

/// Tells of a request, waits to be told to answer, and tells whether it was dropped before.
#[derive(Default)]
struct Slow {
    asked: Notify,
    answer: Notify,
    answered: AtomicBool,
    dropped: Arc<Notify>,
    given_back: Arc<Notify>,
}

struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Handler for Slow {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn handle(&self, (): (), _request: Request) -> Answer {
        let _dropped = Dropped(self.dropped.clone());
        self.asked.notify_one();
        self.answer.notified().await;
        self.answered.store(true, Ordering::Relaxed);
        let given_back = self.given_back.clone();
        Answer::new(200)
            .body("late")
            .undelivered(move || given_back.notify_one())
    }
}

/// A client that has asked, and ended its sending, while its request is worked on.
async fn half_closed(told: Told) -> Peer<Slow> {
    let mut peer = start_with(Slow::default(), told);
    peer.send("GET / HTTP/1.1\r\n\r\n").await;
    peer.recorder.asked.notified().await;
    peer.client.shutdown().await.unwrap();
    peer
}

const LATE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";

#[tokio::test(start_paused = true)]
async fn a_walk_ends_when_its_client_resets_the_connection() {
    for finishes_first in [false, true] {
        let told = Told::default();
        let mut peer = start_with(Slow::default(), told.clone());
        peer.send("GET / HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n")
            .await;
        peer.recorder.asked.notified().await;
        if finishes_first {
            peer.client.shutdown().await.unwrap();
        } else {
            // So much of further requests that no more is read.
            peer.send(&"x".repeat(66_000)).await;
        }
        told.reset.notify_one();
        peer.recorder.dropped.notified().await;
        assert!(matches!((&mut peer.served).await, Ok(End::Closed)));
        assert!(!peer.recorder.answered.load(Ordering::Relaxed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_ends_when_its_client_closes_and_no_step_is_done_after_that() {
    let told = Told::default();
    let peer = half_closed(told.clone()).await;
    // It still listens; then it does not, and what it waited for comes.
    tokio::time::sleep(Duration::from_secs(10)).await;
    told.left.store(true, Ordering::Relaxed);
    peer.recorder.answer.notify_one();
    peer.recorder.dropped.notified().await;
    assert!(!peer.recorder.answered.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ended_its_sending_still_gets_its_answer_however_late() {
    let mut peer = half_closed(Told::default()).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    peer.recorder.answer.notify_one();
    assert_eq!(peer.rest().await, LATE);
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_hands_over_is_given_back_if_its_client_does_not_get_it() {
    let told = Told::default();
    let mut peer = half_closed(told.clone()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    peer.recorder.answer.notify_one();
    peer.expect(LATE).await;
    told.reset.notify_one();
    peer.recorder.given_back.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_body_waits_for_the_room_that_others_take() {
    let mut recorder = Recorder::echo();
    recorder.policy.max_body = 2 << 20;
    let handler = Arc::new(recorder);
    // Room for one piece of 64 KiB beyond the first that every body has.
    let house = Arc::new(House::new(Limits::default(), 64 << 10));
    let open = || {
        let (client, ours) = tokio::io::duplex(1 << 20);
        let (handler, house) = (handler.clone(), house.clone());
        tokio::spawn(async move { serve(ours, origin(), &Unseen, &*handler, &house).await });
        client
    };
    let head = "POST /x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n";
    let (mut first, mut second, mut short) = (open(), open(), open());
    first.write_all(head.as_bytes()).await.unwrap();
    first.write_all(&vec![b'x'; 99_999]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    second.write_all(head.as_bytes()).await.unwrap();
    second.write_all(&vec![b'x'; 100_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(handler.seen.lock().is_empty());
    let request = format!(
        "POST /y HTTP/1.1\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(60_000)
    );
    short.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(handler.targets(), ["/y"]);
    first.write_all(b"x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(handler.targets(), ["/y", "/x", "/x"]);
    assert!(handler.problems().is_empty());
    // One that stands still loses its room to one that waits.
    let (mut still, mut other) = (open(), open());
    still.write_all(head.as_bytes()).await.unwrap();
    still.write_all(&vec![b'x'; 99_999]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.write_all(head.as_bytes()).await.unwrap();
    other.write_all(&vec![b'x'; 100_000]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(handler.problems(), [Malformed::BodyTimeout]);
    assert_eq!(handler.targets().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_makes_room_for_one_that_wants_its_place() {
    let mut first = start(Recorder::echo());
    first.send("GET / HTTP/1.1\r\n\r\n").await;
    first
        .expect("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nGET / ")
        .await;
    // Half a request is not idle.
    let mut busy = start(Recorder::echo());
    busy.send("GET /1 HTTP").await;
    let begun = tokio::time::Instant::now();
    first.house.wanted.notify_one();
    assert_eq!(first.rest().await, "");
    busy.house.wanted.notify_one();
    busy.send("/1.1\r\n\r\n").await;
    busy.expect("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /1 ")
        .await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_answer_lasts_until_the_client_gives_up() {
    let mut peer = start(Recorder::new(|_| {
        Answer::new(200).connection(Connection::Stall)
    }));
    peer.send("GET / HTTP/1.1\r\n\r\n").await;
    let hour = Duration::from_hours(1);
    assert!(tokio::time::timeout(hour, peer.rest()).await.is_err());
    drop(peer.client);
    assert!(matches!(peer.served.await, Ok(End::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_gives_the_stream_back_without_a_byte() {
    let mut peer = start(Recorder::new(|_| {
        Answer::new(200).connection(Connection::Reset)
    }));
    peer.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!((&mut peer.served).await, Ok(End::Reset(_))));
    assert_eq!(peer.rest().await, "");
}

// ---- any bytes at all ----

fn small() -> Limits {
    Limits {
        max_target: 40,
        max_head: 120,
        ..Limits::default()
    }
}

fn small_recorder() -> Recorder {
    let mut recorder = Recorder::echo();
    recorder.policy.max_body = 30;
    recorder
}

/// A request that fits the small limits, or does not.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 0..4);
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        chunks.prop_map(|chunks| {
            let mut body = Vec::new();
            for chunk in chunks {
                body.extend_from_slice(format!("{:X};e\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(&chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nT: t\r\n\r\n");
            ("transfer-encoding: chunked\r\n".to_owned(), body)
        }),
    ];
    let line = ("[A-Z]{1,6}", "/[a-z?=%]{0,45}", "(\r?\n){0,2}");
    (line, "([A-Za-z-]{1,8}: ?[ -~]{0,30}\r?\n){0,3}", body).prop_filter_map(
        "fields that frame the body or end the connection are chosen above",
        |((method, target, blank), fields, (framing, body))| {
            let fields = fields.replace("Connection", "X").replace("Expect", "X");
            let head = format!("{blank}{method} {target} HTTP/1.1\r\n{fields}{framing}\r\n");
            Some([head.as_bytes(), &body].concat())
        },
    )
}

/// Everything of a request that its bytes decide.
fn facts(recorder: &Recorder) -> Vec<String> {
    let seen = recorder.seen.lock();
    seen.iter()
        .map(|request| match &request.malformed {
            Some(problem) => format!("{problem:?}"),
            None => format!("{:?} {:?}", request.head, request.body),
        })
        .collect()
}

fn split(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}

/// What holds for whatever bytes come.
fn survives(pieces: Vec<Vec<u8>>) {
    let recorder = small_recorder();
    let length: usize = pieces.iter().map(Vec::len).sum();
    let output = exchange(pieces, &recorder, &small());
    let seen = recorder.seen.lock();
    for (index, request) in seen.iter().enumerate() {
        let last = index + 1 == seen.len();
        assert!(
            request.malformed.is_none() || last,
            "read on after a broken request"
        );
        assert!(request.body.len() <= 30);
        assert!(request.head.target.len() <= 40 || request.malformed.is_some());
        assert!(request.head.size <= 120 || request.malformed.is_some());
    }
    assert!(seen.len() <= length);
    assert!(output.is_empty() == seen.is_empty());
    let used: usize = seen.iter().map(|r| r.head.size + r.body.len()).sum();
    assert!(used <= length, "read more than came");
}

proptest! {
    #[test]
    fn the_same_bytes_give_the_same_requests_however_they_are_split(
        requests in prop::collection::vec(request(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let bytes = requests.concat();
        let (whole, pieces) = (small_recorder(), small_recorder());
        exchange([&bytes], &whole, &small());
        exchange(split(&bytes, &cuts), &pieces, &small());
        prop_assert_eq!(facts(&whole), facts(&pieces));
        let each = small_recorder();
        exchange(bytes.chunks(1), &each, &small());
        prop_assert_eq!(facts(&whole), facts(&each));
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        survives(split(&bytes, &cuts));
    }

    #[test]
    fn requests_with_bytes_changed_are_survived_and_read_alike_however_split(
        requests in prop::collection::vec(request(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            // Half of the changes to bytes that mean something.
            bytes[at] = if byte < 128 { b"\r\n :;,0\x00"[usize::from(byte) % 8] } else { byte };
        }
        let (whole, each) = (small_recorder(), small_recorder());
        exchange([&bytes], &whole, &small());
        exchange(bytes.chunks(1), &each, &small());
        prop_assert_eq!(facts(&whole), facts(&each));
        survives(split(&bytes, &cuts));
    }
}
