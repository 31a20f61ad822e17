//! Tests of the outbox: how a publish waits, and what is written of each delivery.

use super::super::message::{Delivery, Origin, OriginKind, Properties};
use super::*;
use crate::exchange::Refusal;
use bytes::Bytes;
use futures_util::FutureExt;
use std::time::Duration;

fn message(clock: &Clock) -> Arc<Message> {
    let delivery = Delivery {
        client_id: "dev".into(),
        topic: "t".into(),
        qos: Qos::AtLeastOnce,
        outcome: DeliveryOutcome::Queued,
        reason: None,
        time: clock.now(),
    };
    Arc::new(Message {
        id: "A".into(),
        time: clock.now(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: None,
            client_id: None,
            request: None,
        },
        topic: "t".into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        payload: Bytes::new(),
        properties: Properties::default(),
        deliveries: Mutex::new(vec![delivery]),
    })
}

fn connected(boxes: &Outboxes, id: &'static str) -> Arc<Outbox> {
    let outbox = boxes.of(&ByteString::from_static(id));
    outbox.connected(ConnectionKey(None, 1));
    outbox
}

fn outcome(message: &Message) -> DeliveryOutcome {
    message.deliveries.lock()[0].outcome
}

fn boxes(limit: usize) -> (Clock, Outboxes) {
    let clock = Clock::frozen("2026-11-21T22:51:00Z".parse().unwrap());
    (
        clock.clone(),
        Outboxes::new(clock, limit, Duration::from_secs(5)),
    )
}

#[tokio::test(start_paused = true)]
async fn a_publish_goes_on_as_soon_as_a_full_queue_has_room() {
    let (clock, boxes) = boxes(1);
    let outbox = connected(&boxes, "dev");
    outbox.queue(1, message(&clock), 0);
    let targets = [outbox.clone()];
    let waiting = boxes.wait_for_room(&targets, None);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    outbox.sent(1, Qos::AtLeastOnce);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_refused_when_a_queue_stays_full_and_the_client_is_named() {
    let (clock, boxes) = boxes(1);
    let outbox = connected(&boxes, "dev");
    outbox.queue(1, message(&clock), 0);
    let refusal = boxes.wait_for_room(&[outbox], None).await.unwrap_err();
    let expected = Refusal::Overloaded {
        client_id: "dev".into(),
        waited_ms: 5_000,
    };
    assert_eq!(refusal, expected);
}

#[tokio::test(start_paused = true)]
async fn two_clients_that_publish_to_each_other_do_not_block_each_other() {
    let (clock, boxes) = boxes(1);
    let (a, b) = (connected(&boxes, "a"), connected(&boxes, "b"));
    a.queue(1, message(&clock), 0);
    b.queue(2, message(&clock), 0);
    let (to_b, to_a) = ([b.clone()], [a.clone()]);
    let first = boxes.wait_for_room(&to_b, Some(&a));
    tokio::pin!(first);
    assert!(first.as_mut().now_or_never().is_none());
    // a waits for b; so b, publishing to a, need not wait.
    boxes.wait_for_room(&to_a, Some(&b)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_offline_client_or_for_itself() {
    let (clock, boxes) = boxes(1);
    let outbox = connected(&boxes, "dev");
    outbox.queue(1, message(&clock), 0);
    boxes
        .wait_for_room(std::slice::from_ref(&outbox), Some(&outbox))
        .await
        .unwrap();
    assert!(outbox.disconnected(&ConnectionKey(None, 1)));
    boxes
        .wait_for_room(std::slice::from_ref(&outbox), None)
        .await
        .unwrap();
    assert!(outbox.full(Qos::AtLeastOnce, 1).is_some());
}

#[test]
fn a_delivery_goes_from_queued_to_sent_to_acknowledged() {
    let (clock, boxes) = boxes(10);
    let outbox = connected(&boxes, "dev");
    let message = message(&clock);
    outbox.queue(7, message.clone(), 0);
    assert!(outbox.sent(7, Qos::AtLeastOnce));
    assert_eq!(
        (outcome(&message), outbox.lengths()),
        (DeliveryOutcome::Sent, (0, 1))
    );
    outbox.acknowledged(7);
    assert_eq!(outcome(&message), DeliveryOutcome::Acknowledged);
    assert_eq!(outbox.lengths(), (0, 0));
}

#[test]
fn what_a_session_leaves_behind_is_marked_as_dropped_with_the_reason() {
    let (clock, boxes) = boxes(10);
    let outbox = connected(&boxes, "dev");
    let message = message(&clock);
    outbox.queue(7, message.clone(), 0);
    assert_eq!(outbox.abandon("the session expired"), 1);
    let deliveries = message.deliveries.lock();
    assert_eq!(deliveries[0].outcome, DeliveryOutcome::Dropped);
    assert_eq!(deliveries[0].reason.as_deref(), Some("the session expired"));
}

#[test]
fn the_end_of_an_older_connection_does_not_end_the_newer_one() {
    let (_, boxes) = boxes(10);
    let outbox = connected(&boxes, "dev");
    outbox.connected(ConnectionKey(None, 2));
    assert!(!outbox.disconnected(&ConnectionKey(None, 1)));
    assert!(outbox.disconnected(&ConnectionKey(None, 2)));
}
