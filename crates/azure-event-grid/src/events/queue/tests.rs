//! Tests of one event subscription's queue.

use super::super::budget::Budget;
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn event(id: &str) -> Arc<Event> {
    Event::new(json!({"id": id}).to_string(), &Budget::new(usize::MAX))
}

fn queue(max: u32) -> (Queue, Ids) {
    let mut resource = EventSubscription {
        dead_letter_topic: Some("dead".to_owned()),
        ..EventSubscription::default()
    };
    resource
        .properties
        .delivery_configuration
        .queue
        .max_delivery_count = max;
    let mut queue = Queue::new(Arc::new(Terms::of(&resource)));
    queue.push(&event("1"), at(0));
    (queue, Ids::new(Some(1)))
}

#[test]
fn a_locked_event_comes_back_when_its_lock_runs_out() {
    let (mut queue, ids) = queue(10);
    let first = queue.receive(5, at(0), &ids).pop().unwrap();
    assert_eq!(first.delivery_count, 1);
    assert!(queue.receive(5, at(59), &ids).is_empty());
    assert_eq!(queue.next_change(), Some(at(60)));
    let second = queue.receive(5, at(60), &ids).pop().unwrap();
    assert_eq!(second.delivery_count, 2);
    assert_eq!(
        queue.settle(&first.lock_token, Settlement::Acknowledge, at(61)),
        Err(TokenError::Lost)
    );
    assert_eq!(
        queue.settle(&second.lock_token, Settlement::Acknowledge, at(61)),
        Ok(())
    );
    assert_eq!(queue.next_change(), None);
}

#[test]
fn a_released_event_waits_for_its_delay() {
    let (mut queue, ids) = queue(10);
    let event = queue.receive(1, at(0), &ids).pop().unwrap();
    queue
        .settle(&event.lock_token, Settlement::Release(10), at(1))
        .unwrap();
    assert!(queue.receive(1, at(10), &ids).is_empty());
    assert_eq!(queue.next_change(), Some(at(11)));
    assert_eq!(queue.receive(1, at(11), &ids).len(), 1);
}

#[test]
fn an_event_handed_out_too_often_is_dead_lettered_with_its_history() {
    let (mut queue, ids) = queue(2);
    queue.receive(1, at(0), &ids);
    queue.receive(1, at(60), &ids);
    assert!(queue.receive(1, at(120), &ids).is_empty());
    let dead = queue.take_dead().pop().unwrap();
    assert_eq!(
        dead["deadletterreason"],
        "Maximum delivery attempts was exceeded."
    );
    assert_eq!(
        (&dead["deliveryattempts"], &dead["id"]),
        (&json!(2), &json!("1"))
    );
}

#[test]
fn a_rejected_and_an_old_event_are_dead_lettered() {
    let (mut queue, ids) = queue(10);
    let received = queue.receive(1, at(0), &ids).pop().unwrap();
    queue
        .settle(&received.lock_token, Settlement::Reject, at(1))
        .unwrap();
    assert_eq!(queue.take_dead().len(), 1);
    queue.push(&event("2"), at(0));
    assert!(queue.receive(1, at(7 * 86_400), &ids).is_empty());
    assert_eq!(
        queue.take_dead()[0]["deadletterreason"],
        "Event time to live expired."
    );
}

#[test]
fn a_lock_is_renewed_for_at_most_an_hour() {
    let (mut queue, ids) = queue(10);
    let event = queue.receive(1, at(0), &ids).pop().unwrap();
    for seconds in (50..=3600).step_by(50) {
        queue
            .settle(&event.lock_token, Settlement::RenewLock, at(seconds))
            .unwrap();
    }
    assert_eq!(
        queue.settle(&event.lock_token, Settlement::RenewLock, at(3601)),
        Err(TokenError::NotRenewable)
    );
}

#[test]
fn a_made_up_token_is_bad() {
    let (mut queue, _) = queue(10);
    for token in ["", "L1", "AAAA", "////////////////////////////////"] {
        let error = queue
            .settle(token, Settlement::Acknowledge, at(0))
            .unwrap_err();
        assert!(
            matches!(error, TokenError::Bad | TokenError::Lost),
            "{token}"
        );
    }
}

#[test]
fn an_event_that_is_given_back_is_as_if_it_had_not_been_handed_out() {
    let (mut queue, ids) = queue(1);
    let lost = queue.receive(1, at(0), &ids).pop().unwrap();
    queue.give_back(&lost.lock_token, at(1));
    let got = queue.receive(1, at(1), &ids).pop().unwrap();
    assert_eq!(got.delivery_count, 1);
    // Another's lock is not touched.
    queue.give_back(&lost.lock_token, at(2));
    queue.give_back("AAAA", at(2));
    assert!(queue.receive(1, at(2), &ids).is_empty());
    assert_eq!(
        queue.settle(&got.lock_token, Settlement::Acknowledge, at(3)),
        Ok(())
    );
}

#[test]
fn events_are_handed_out_in_the_order_in_which_they_came() {
    let (mut queue, ids) = queue(10);
    for id in ["2", "3"] {
        queue.push(&event(id), at(0));
    }
    let first = queue.receive(1, at(0), &ids).pop().unwrap();
    queue
        .settle(&first.lock_token, Settlement::Release(0), at(1))
        .unwrap();
    let received = queue.receive(3, at(1), &ids);
    let texts: Vec<_> = received.iter().map(|one| one.event.text()).collect();
    assert_eq!(texts, [r#"{"id":"1"}"#, r#"{"id":"2"}"#, r#"{"id":"3"}"#]);
}

#[test]
fn a_shorter_life_reaches_what_waits_already() {
    let (mut queue, ids) = queue(10);
    let mut resource = EventSubscription::default();
    let settings = &mut resource.properties.delivery_configuration.queue;
    settings.event_time_to_live = "PT1M".to_owned();
    queue.configure(Arc::new(Terms::of(&resource)));
    assert_eq!(queue.next_change(), Some(at(60)));
    assert!(queue.receive(1, at(60), &ids).is_empty());
    assert_eq!(queue.next_change(), None);
}
