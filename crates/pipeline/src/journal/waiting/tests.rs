//! Waits end when they can and say why when they cannot. Time is tokio's paused time: it moves
//! only when every task waits, so nothing here depends on the machine's speed.

use std::borrow::Cow;

use mqttstack_base::exchange::{Answer, Head, Headers, Receipt, Request, Scheme, Surface, Version};
use mqttstack_base::message::{Message, Origin, OriginKind, Properties, Qos};
use serde_json::{Value, json};

use super::*;
use crate::journal::{Entry, Journal, Opened, Settings};

fn journal() -> Journal {
    Journal::new(&Settings::default())
}

fn send(journal: &Journal, topic: &str, payload: &'static str) {
    journal.record(Arc::new(Message {
        id: topic.to_owned(),
        time: "2026-11-21T22:51:00Z".parse().unwrap(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: None,
            client_id: None,
            request: None,
        },
        topic: topic.to_owned(),
        qos: Qos::AtMostOnce,
        retain: false,
        payload: payload.into(),
        properties: Properties::default(),
        deliveries: parking_lot::Mutex::default(),
    }));
}

fn open(journal: &Journal, target: &'static str) -> Opened {
    let receipt = Receipt {
        id: target.to_owned(),
        now: "2026-11-21T22:51:00Z".parse().unwrap(),
    };
    let request = Request {
        head: Head {
            method: "GET".into(),
            target: target.into(),
            version: Version::Http11,
            headers: Headers::default(),
            size: 100,
        },
        body: bytes::Bytes::new(),
        malformed: None,
        peer: ([127, 0, 0, 1], 1).into(),
        local: ([127, 0, 0, 1], 2).into(),
        scheme: Scheme::Http,
        certificates: Arc::new([]),
    };
    journal.open(Some(Surface::Aliyun), &receipt, &request)
}

fn wanted<T: Shown>(
    pattern: &Value,
    at_least: usize,
    at_most: Option<usize>,
    quiet: u64,
) -> Wait<T> {
    Wait {
        pattern: Arc::new(Pattern::parse(pattern.as_object().unwrap()).unwrap()),
        count: Count { at_least, at_most },
        since: 0,
        timeout: Duration::from_secs(5),
        quiet: Duration::from_millis(quiet),
    }
}

async fn find<T: Record + Shown>(
    journal: &Journal,
    ring: &Arc<Ring<T>>,
    wanted: &Wait<T>,
) -> Found<T> {
    wait(journal.reading(), ring, wanted.clone()).await.unwrap()
}

fn topics(found: Found<Message>) -> Vec<String> {
    found
        .into_matched()
        .map(|(_, message)| message.topic.clone())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_found_at_once() {
    let journal = journal();
    send(&journal, "a/1", "");
    send(&journal, "b/1", "");
    let started = Instant::now();
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({"topic": "a/+"}), 1, None, 0),
    )
    .await;
    assert_eq!((found.end, found.cursor), (End::Satisfied, 2));
    assert_eq!(topics(found), ["a/1"]);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_match_that_completes_it() {
    let journal = journal();
    let writer = journal.clone();
    tokio::spawn(async move {
        for topic in ["a/1", "b/1", "a/2", "a/3"] {
            tokio::time::sleep(Duration::from_millis(100)).await;
            send(&writer, topic, "");
        }
    });
    let started = Instant::now();
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({"topic": "a/+"}), 2, None, 0),
    )
    .await;
    assert_eq!(topics(found), ["a/1", "a/2"]);
    assert_eq!(started.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_goes_on_at_the_cursor_sees_only_what_came_later() {
    let journal = journal();
    send(&journal, "a/1", "");
    let mut wait_for = wanted(&json!({}), 1, None, 0);
    wait_for.since = find(&journal, journal.messages(), &wait_for).await.cursor;
    let writer = journal.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        send(&writer, "a/2", "");
    });
    assert_eq!(
        topics(find(&journal, journal.messages(), &wait_for).await),
        ["a/2"]
    );
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_with_the_nearest_misses_first() {
    let journal = journal();
    send(&journal, "far", "x");
    send(&journal, "a", "near, old");
    send(&journal, "a", "near, new");
    let pattern = json!({"topic": "a", "payload": "exact", "qos": 0});
    let started = Instant::now();
    let found = find(&journal, journal.messages(), &wanted(&pattern, 1, None, 0)).await;
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(
        (found.end, found.missed, found.count),
        (End::TimedOut, 3, 0)
    );
    let told: Vec<_> = found
        .nearest
        .iter()
        .map(|miss| (miss.agreed, miss.cursor))
        .collect();
    assert_eq!(told, [(2, 3), (2, 2), (1, 1)]);
    assert_eq!(found.nearest[0].differences[0].actual, json!("near, new"));
}

#[tokio::test(start_paused = true)]
async fn exactly_none_holds_only_after_a_quiet_time() {
    let journal = journal();
    let started = Instant::now();
    let none = wanted(&json!({"topic": "a"}), 0, Some(0), 250);
    assert_eq!(
        find(&journal, journal.messages(), &none).await.end,
        End::Satisfied
    );
    assert_eq!(started.elapsed(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn one_too_many_fails_at_once() {
    let journal = journal();
    let writer = journal.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            send(&writer, "a", "");
        }
    });
    let started = Instant::now();
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({"topic": "a"}), 1, Some(1), 500),
    )
    .await;
    assert_eq!((found.end, found.count), (End::TooMany, 2));
    assert_eq!(started.elapsed(), Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn the_quiet_time_starts_anew_with_every_match_and_only_with_a_match() {
    let journal = journal();
    let writer = journal.clone();
    tokio::spawn(async move {
        for topic in ["a", "a", "other"] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            send(&writer, topic, "");
        }
    });
    let started = Instant::now();
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({"topic": "a"}), 1, None, 400),
    )
    .await;
    assert_eq!((found.end, found.count), (End::Satisfied, 2));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn matches_that_never_stop_time_out() {
    let journal = journal();
    let writer = journal.clone();
    let flood = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            send(&writer, "a", "");
        }
    });
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({"topic": "a"}), 1, None, 400),
    )
    .await;
    flood.abort();
    assert_eq!(found.end, End::TimedOut);
    assert!(found.count > 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_when_it_is_answered_not_when_it_comes() {
    let journal = journal();
    let opened = open(&journal, "/slow");
    open(&journal, "/fast").close(&Answer::new(200));
    let writer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut opened = opened;
        opened.draft.operation = Some("SendMessage".to_owned());
        opened.close(&Answer::new(403));
    });
    let found = find(
        &journal,
        journal.requests(),
        &wanted(&json!({"status": 403}), 1, None, 0),
    )
    .await;
    writer.await.unwrap();
    assert_eq!(found.end, End::Satisfied);
    let (_, entry): (_, Arc<Entry>) = found.into_matched().next().unwrap();
    assert_eq!(entry.id, "/slow");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_counts_as_aborted() {
    let journal = journal();
    drop(open(&journal, "/gone"));
    let pattern = json!({"status": null, "reason": {"contains": "aborted"}, "target": "/gone"});
    let found = find(&journal, journal.requests(), &wanted(&pattern, 1, None, 0)).await;
    assert_eq!(found.end, End::Satisfied);
}

#[tokio::test(start_paused = true)]
async fn a_matcher_sees_of_a_secret_no_more_than_a_reader_does() {
    let journal = journal();
    let mut answer = Answer::new(200).header("Set-Cookie", "0123456789");
    answer
        .headers
        .push((Cow::Borrowed("X-Plain"), "shown".to_owned()));
    open(&journal, "/?Signature=0123456789").close(&answer);
    let found = |pattern: Value| {
        let journal = journal.clone();
        async move {
            find(&journal, journal.requests(), &wanted(&pattern, 1, None, 0))
                .await
                .end
        }
    };
    assert_eq!(
        found(json!({"target": "/?Signature=0123..."})).await,
        End::Satisfied
    );
    assert_eq!(
        found(json!({"response": {"headers": {"x-plain": "shown"}}})).await,
        End::Satisfied
    );
    assert_eq!(
        found(json!({"target": {"contains": "456789"}})).await,
        End::TimedOut
    );
    assert_eq!(
        found(json!({"response.headers.set-cookie": {"contains": "456789"}})).await,
        End::TimedOut
    );
}

#[tokio::test(start_paused = true)]
async fn entries_that_leave_the_ring_unseen_are_reported() {
    let journal = Journal::new(&Settings {
        max_entries: 2,
        ..Settings::default()
    });
    let writer = journal.clone();
    tokio::spawn(async move {
        // Time moves only once the first look is over.
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..5 {
            send(&writer, "a", "");
        }
    });
    let found = find(
        &journal,
        journal.messages(),
        &wanted(&json!({}), 5, None, 0),
    )
    .await;
    assert_eq!((found.end, found.count, found.lost), (End::TimedOut, 2, 3));
}
