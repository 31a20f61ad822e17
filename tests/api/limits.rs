//! What a vendor's broker limits of how its clients get messages: how many wait for an offline
//! client and for how long, and at what pace they are delivered, all on the emulator's clock.

use std::sync::Arc;

use DeliveryOutcome::{Acknowledged, Dropped, Expired, Queued, Sent};
use async_trait::async_trait;
use jiff::SignedDuration;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Delivery, DeliveryOutcome, Publication, Qos};
use mqttstack_broker::Settings;
use mqttstack_broker::dialect::{Connect, ConnectRefusal, Dialect, Grant, Limits, Replay};

use crate::bench::Bench;
use crate::shared;
use crate::wire::{Connect as Opening, PUBACK, Wire, packet};

/// Claims every client, and gives each the same limits.
struct Limiting(Limits);

#[async_trait]
impl Dialect for Limiting {
    fn surface(&self) -> Surface {
        Surface::TencentIot
    }

    fn claims(&self, _connect: &Connect) -> bool {
        true
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        Ok(Grant {
            surface: Some(Surface::TencentIot),
            tenant: None,
            identity: connect.client_id.clone(),
            max_keep_alive: None,
            limits: self.0.clone(),

            ..Grant::default()
        })
    }
}

async fn bench(limits: Limits) -> Bench {
    let clock = Clock::frozen("2026-11-21T22:51:00Z".parse().unwrap());
    let bench = Bench::start(Settings::default(), clock).await;
    bench.broker.add_dialect(Arc::new(Limiting(limits)));
    bench
}

impl Bench {
    /// Connects the client of these tests with a session that outlives the connection.
    async fn connect(&self) -> Wire {
        let mut opening = Opening::new(4, "dev");
        opening.clean = false;
        let (wire, connack) = Wire::connect(self.address, &opening).await;
        assert_eq!(connack.code, 0);
        wire
    }

    /// A session that is subscribed and offline.
    async fn away(&self) {
        let mut wire = self.connect().await;
        assert_eq!(wire.subscribe("t", 1).await, 1);
        wire.leave().await;
        self.seen_offline().await;
    }

    async fn seen_offline(&self) {
        shared::all_offline(&self.broker).await;
    }

    async fn publish(&self, payload: impl ToString, qos: Qos) {
        let publication = Publication {
            qos,
            ..shared::publication("t", &payload.to_string(), None)
        };
        self.broker.publish(publication).await.unwrap();
    }

    async fn publish_all(&self, payloads: std::ops::RangeInclusive<u32>) {
        for payload in payloads {
            self.publish(payload, Qos::AtLeastOnce).await;
        }
    }

    /// The delivery of each message, in the order in which they were published.
    fn deliveries(&self) -> Vec<Delivery> {
        let messages = self.journal.messages().since(0);
        let rows = messages.iter().map(|(_, message)| {
            let rows = message.deliveries.lock();
            rows.first().cloned().expect("a delivery")
        });
        rows.collect()
    }

    fn outcomes(&self) -> Vec<DeliveryOutcome> {
        self.deliveries().iter().map(|row| row.outcome).collect()
    }

    async fn becomes(&self, wanted: &[DeliveryOutcome]) {
        shared::until(&self.broker, async || {
            (self.outcomes() == wanted).then_some(())
        })
        .await;
    }

    fn advance(&self, millis: i64) {
        let by = SignedDuration::from_millis(millis);
        self.clock.advance(by).unwrap();
    }
}

async fn payloads(wire: &mut Wire, count: usize) -> Vec<String> {
    let mut payloads = vec![];
    for _ in 0..count {
        payloads.push(wire.receive().await.payload);
    }
    payloads
}

#[tokio::test]
async fn the_oldest_of_too_many_messages_for_an_offline_client_go_and_the_journal_says_why() {
    let bench = bench(Limits {
        offline_queue: Some(2),
        ..Limits::default()
    })
    .await;
    bench.away().await;
    bench.publish_all(1..=1).await;
    bench.publish("unlimited", Qos::AtMostOnce).await;
    bench.publish_all(2..=4).await;
    assert_eq!(bench.outcomes(), [Dropped, Queued, Dropped, Queued, Queued]);
    let reason = bench.deliveries()[0].reason.clone().unwrap();
    assert_eq!(reason, "more than 2 messages wait for the offline client");
    assert_eq!(bench.broker.counters().messages_dropped, 2);
    let mut wire = bench.connect().await;
    assert_eq!(payloads(&mut wire, 3).await, ["unlimited", "3", "4"]);
    bench
        .becomes(&[Dropped, Sent, Dropped, Acknowledged, Acknowledged])
        .await;
    // A connected client may have more.
    bench.publish_all(5..=9).await;
    assert_eq!(payloads(&mut wire, 5).await, ["5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_queue_of_none_keeps_nothing_for_an_offline_client() {
    let bench = bench(Limits {
        offline_queue: Some(0),
        ..Limits::default()
    })
    .await;
    bench.away().await;
    bench.publish_all(1..=2).await;
    assert_eq!(bench.outcomes(), [Dropped, Dropped]);
    let mut wire = bench.connect().await;
    bench.publish_all(3..=3).await;
    assert_eq!(payloads(&mut wire, 1).await, ["3"]);
}

#[tokio::test]
async fn what_a_client_left_unread_counts_once_it_is_offline() {
    let bench = bench(Limits {
        offline_queue: Some(3),
        ..Limits::default()
    })
    .await;
    let mut wire = bench.connect().await;
    wire.subscribe("t", 1).await;
    // Sixteen are sent and not acknowledged; four wait in the engine.
    bench.publish_all(1..=20).await;
    for _ in 0..16 {
        wire.take().await;
    }
    wire.leave().await;
    bench.seen_offline().await;
    bench.publish_all(21..=21).await;
    let mut wire = bench.connect().await;
    let received = payloads(&mut wire, 19).await;
    let kept: Vec<String> = [1..=16, 19..=21]
        .into_iter()
        .flatten()
        .map(|payload: u32| payload.to_string())
        .collect();
    assert_eq!(received, kept);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes[16..18], [Dropped, Dropped]);
}

#[tokio::test]
async fn a_message_outlives_its_time_for_an_offline_client_and_is_given_up() {
    let bench = bench(Limits {
        offline_expiry_s: Some(3_600),
        ..Limits::default()
    })
    .await;
    bench.away().await;
    bench.publish_all(1..=1).await;
    bench.advance(1_800_000);
    bench.publish_all(2..=3).await;
    bench.advance(1_799_000);
    assert_eq!(bench.outcomes(), [Queued, Queued, Queued]);
    bench.advance(1_000);
    // Nobody has to come for it.
    bench.becomes(&[Expired, Queued, Queued]).await;
    let reason = bench.deliveries()[0].reason.clone().unwrap();
    let expected = "it has waited for the offline client for 3600 seconds";
    assert_eq!(reason, expected);
    let mut wire = bench.connect().await;
    assert_eq!(payloads(&mut wire, 2).await, ["2", "3"]);
}

#[tokio::test]
async fn a_client_that_comes_back_too_late_gets_nothing_of_what_it_missed() {
    let bench = bench(Limits {
        offline_expiry_s: Some(3_600),
        ..Limits::default()
    })
    .await;
    bench.away().await;
    bench.publish_all(1..=2).await;
    bench.advance(3_600_000);
    let mut wire = bench.connect().await;
    bench.publish_all(3..=3).await;
    assert_eq!(payloads(&mut wire, 1).await, ["3"]);
    bench.becomes(&[Expired, Expired, Acknowledged]).await;
}

#[tokio::test]
async fn deliveries_over_the_rate_wait_their_turn_in_order_and_none_is_lost() {
    let bench = bench(Limits {
        deliveries_per_second: Some(2),
        ..Limits::default()
    })
    .await;
    let start = bench.clock.now();
    let mut wire = bench.connect().await;
    wire.subscribe("t", 1).await;
    bench.publish_all(1..=5).await;
    for (second, expected) in [vec!["1", "2"], vec!["3", "4"], vec!["5"]]
        .iter()
        .enumerate()
    {
        assert_eq!(payloads(&mut wire, expected.len()).await, *expected);
        let done = 2 * second + expected.len();
        let wanted: Vec<_> = (0..5)
            .map(|index| if index < done { Acknowledged } else { Queued })
            .collect();
        bench.becomes(&wanted).await;
        bench.advance(1_000);
    }
    let seconds: Vec<_> = bench
        .deliveries()
        .iter()
        .map(|row| row.time.duration_since(start).as_secs())
        .collect();
    assert_eq!(seconds, [0, 0, 1, 1, 2]);
}

#[tokio::test]
async fn what_waits_for_its_turn_survives_a_lost_connection_in_order() {
    let bench = bench(Limits {
        deliveries_per_second: Some(1),
        ..Limits::default()
    })
    .await;
    let mut wire = bench.connect().await;
    wire.subscribe("t", 1).await;
    bench.publish_all(1..=3).await;
    assert_eq!(payloads(&mut wire, 1).await, ["1"]);
    bench.becomes(&[Acknowledged, Queued, Queued]).await;
    drop(wire);
    bench.seen_offline().await;
    bench.publish_all(4..=4).await;
    let mut wire = bench.connect().await;
    for expected in ["2", "3", "4"] {
        bench.advance(1_000);
        assert_eq!(payloads(&mut wire, 1).await, [expected]);
    }
}

#[tokio::test]
async fn what_was_missed_is_replayed_in_batches_and_new_messages_come_behind_it() {
    let bench = bench(Limits {
        offline_replay: Some(Replay {
            batch: 2,
            interval_ms: 500,
        }),
        ..Limits::default()
    })
    .await;
    bench.away().await;
    bench.publish_all(1..=5).await;
    let mut wire = bench.connect().await;
    assert_eq!(payloads(&mut wire, 2).await, ["1", "2"]);
    bench.publish_all(6..=8).await;
    let waiting = [Queued; 6];
    bench
        .becomes(&[&[Acknowledged; 2][..], &waiting].concat())
        .await;
    bench.advance(500);
    assert_eq!(payloads(&mut wire, 2).await, ["3", "4"]);
    bench.advance(500);
    // The last of the backlog, and at once what is no part of it.
    assert_eq!(payloads(&mut wire, 4).await, ["5", "6", "7", "8"]);
}

#[tokio::test]
async fn a_clean_start_gives_up_what_waited_for_its_turn() {
    let bench = bench(Limits {
        deliveries_per_second: Some(1),
        ..Limits::default()
    })
    .await;
    let mut wire = bench.connect().await;
    wire.subscribe("t", 1).await;
    bench.publish_all(1..=2).await;
    let taken = wire.take().await;
    wire.send(&packet(PUBACK, &[&taken.id.to_be_bytes()])).await;
    bench.becomes(&[Acknowledged, Queued]).await;
    let mut clean = Wire::open(bench.address, 4, "dev").await;
    bench.becomes(&[Acknowledged, Dropped]).await;
    clean.subscribe("t", 1).await;
    bench.advance(1_000);
    bench.publish_all(3..=3).await;
    assert_eq!(payloads(&mut clean, 1).await, ["3"]);
}

#[tokio::test]
async fn a_packet_that_is_refused_before_the_engine_keeps_its_client_alive() {
    let bench = bench(Limits {
        filters_per_subscribe: Some(1),
        ..Limits::default()
    })
    .await;
    let too_many = |version| {
        let own: &[u8] = if version == 5 { &[0] } else { &[] };
        let filters: &[u8] = &[0, 1, b'a', 0, 0, 1, b'b', 0];
        packet(0x82, &[&[0, 9], own, filters])
    };
    let mut busy = vec![];
    for version in [4, 5] {
        let mut opening = Opening::new(version, &format!("busy{version}"));
        opening.keep_alive = 1;
        busy.push((Wire::connect(bench.address, &opening).await.0, version));
    }
    let mut opening = Opening::new(4, "silent");
    opening.keep_alive = 1;
    let (mut silent, _) = Wire::connect(bench.address, &opening).await;
    // The others connected before this one, who is given up.
    let given_up = silent.ended();
    tokio::pin!(given_up);
    let mut over = false;
    while !over {
        // Each round waits for two answers, so nothing spins.
        for (wire, version) in &mut busy {
            wire.send(&too_many(*version)).await;
            assert_eq!(wire.answer().await.0, 0x90);
        }
        tokio::select! {
            biased;
            () = &mut given_up => over = true,
            () = std::future::ready(()) => {}
        }
    }
    for (wire, _) in &mut busy {
        wire.send(&[0xc0, 0]).await;
        assert_eq!(wire.answer().await.0, 0xd0);
    }
}
