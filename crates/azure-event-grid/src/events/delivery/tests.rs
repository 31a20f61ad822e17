//! Tests of what waits for custom topics.

use mqttstack_base::ids::Ids;
use mqttstack_pipeline::journal::Journal;

use super::*;

fn deliveries() -> Deliveries {
    Deliveries::new(Arc::new(Outbound::new(None)))
}

const URL: &str = "http://127.0.0.1:9/t";

fn push(deliveries: &Deliveries, bytes: usize) -> Result<(), &'static str> {
    push_to(deliveries, URL, &json!("x".repeat(bytes)))
}

fn push_to(deliveries: &Deliveries, url: &str, event: &Value) -> Result<(), &'static str> {
    deliveries.push(url, None, event, source(), &failures())
}

fn source() -> Source {
    Source::new("1", "t")
}

fn failures() -> Failures {
    Failures {
        journal: Journal::new(&mqttstack_pipeline::journal::Settings::default()),
        clock: Clock::frozen(Timestamp::UNIX_EPOCH),
        ids: Ids::new(Some(1)),
    }
}

fn length(deliveries: &Deliveries, url: &str) -> usize {
    deliveries.waiting.lock().topics[url].events.len()
}

/// Books the oldest as tried once.
fn fail_one(deliveries: &Deliveries) {
    let mut one = deliveries.take_due(Timestamp::MIN).unwrap();
    deliveries.over(&one, false);
    one.attempts += 1;
    deliveries.waiting.lock().insert(Timestamp::MAX, one);
}

#[test]
fn what_has_failed_makes_room_for_what_is_new_and_nothing_else_does() {
    let deliveries = deliveries();
    for _ in 0..CAPACITY {
        push(&deliveries, 1).unwrap();
    }
    assert!(push(&deliveries, 1).is_err() && deliveries.check(URL, 1).is_err());
    fail_one(&deliveries);
    deliveries.check(URL, 1).unwrap();
    let told = failures();
    let pushed = deliveries.push(URL, None, &json!("x"), source(), &told);
    pushed.unwrap();
    assert_eq!(
        told.journal.requests().len(),
        1,
        "of the one that made room"
    );
    assert!(push(&deliveries, 1).is_err());
    assert_eq!(length(&deliveries, URL), CAPACITY);
    // Another topic has room of its own.
    push_to(&deliveries, "http://127.0.0.1:9/other", &json!("x")).unwrap();
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let deliveries = deliveries();
    let large = 1 << 20;
    let taken = (0..100).take_while(|_| push(&deliveries, large).is_ok());
    assert_eq!(taken.count(), CAPACITY_BYTES / large - 1);
    deliveries.clear();
    push(&deliveries, large).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_waits_for_a_topic_that_takes_some_and_not_for_one_that_takes_nothing() {
    let deliveries = Arc::new(deliveries());
    for _ in 0..FRESH + 100 {
        push(&deliveries, 1).unwrap();
    }
    let waited = async |by_then: Duration| {
        let started = tokio::time::Instant::now();
        deliveries.room(URL).await;
        assert_eq!(started.elapsed(), by_then);
    };
    // It has just begun; then it is known to take nothing.
    waited(STANDSTILL).await;
    waited(Duration::ZERO).await;
    deliveries.room("http://127.0.0.1:9/other").await;
    // It takes one every half second, which is never enough.
    let slow = async {
        loop {
            tokio::time::sleep(STANDSTILL / 2).await;
            let one = deliveries.take_due(Timestamp::MIN).unwrap();
            deliveries.over(&one, true);
        }
    };
    let one = deliveries.take_due(Timestamp::MIN).unwrap();
    deliveries.over(&one, true);
    tokio::select! {
        () = waited(PUBLISHER_PATIENCE) => {}
        () = slow => {}
    }
    let fast = async {
        for _ in 0..100 {
            let one = deliveries.take_due(Timestamp::MIN).unwrap();
            deliveries.over(&one, true);
        }
    };
    tokio::join!(waited(Duration::ZERO), fast);
}

#[test]
fn one_topic_has_so_many_attempts_at_a_time_whatever_waits_for_it() {
    let deliveries = deliveries();
    let other = "http://127.0.0.1:9/other";
    for _ in 0..100 {
        push(&deliveries, 1).unwrap();
    }
    push_to(&deliveries, other, &json!("x")).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| deliveries.take_due(Timestamp::MIN)).collect();
    assert_eq!(
        taken.iter().filter(|one| one.url == URL).count(),
        CONCURRENT
    );
    assert_eq!(taken.iter().filter(|one| one.url == other).count(), 1);
    assert_eq!(deliveries.next_due(), Timestamp::MAX);
    let over = taken.iter().find(|one| one.url == URL).unwrap();
    deliveries.over(over, false);
    assert_eq!(deliveries.next_due(), Timestamp::MIN);
}

#[test]
fn every_failure_is_sorted_as_the_routing_page_sorts_it() {
    for (status, wanted) in [
        (200, Outcome::Done),
        (202, Outcome::Done),
        (404, Outcome::Drop("TopicNotFoundError: 404".to_owned())),
        (401, Outcome::Drop("AuthenticationError: 401".to_owned())),
        (403, Outcome::Drop("AuthenticationError: 403".to_owned())),
        (400, Outcome::Drop("ClientError: 400".to_owned())),
        (413, Outcome::Drop("ClientError: 413".to_owned())),
        (429, Outcome::Retry("TooManyRequests: 429".to_owned())),
        (500, Outcome::Retry("ServiceError: 500".to_owned())),
        (503, Outcome::Retry("ServiceError: 503".to_owned())),
    ] {
        assert_eq!(judge(status), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_event_is_due_again_as_the_routing_page_says() {
    let deliveries = deliveries();
    // It takes connections and says nothing: every attempt runs out of time.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/t?key=secret", silent.local_addr().unwrap());
    push_to(&deliveries, &url, &json!({})).unwrap();
    let clock = Clock::frozen("2026-11-21T22:51:00Z".parse().unwrap());
    let minutes = [1, 5, 10, 30, 60, 180, 360, 720, 720, 720].map(|minutes| minutes * 60);
    for wait in [10, 30].into_iter().chain(minutes) {
        let event = deliveries.take_due(clock.now()).unwrap();
        assert_eq!(
            event.shown(),
            url.split('?').next().unwrap(),
            "no key is logged"
        );
        deliveries.attempt(event, &clock, &failures()).await;
        let just_before = SignedDuration::from_secs(wait - 1);
        clock.advance(just_before).unwrap();
        assert!(deliveries.take_due(clock.now()).is_none(), "{wait}");
        clock.advance(SignedDuration::from_secs(1)).unwrap();
    }
    assert_eq!(length(&deliveries, &url), 1);
}
