//! A look ends when nobody wants it any more, and looks take turns.

use std::sync::mpsc;

use super::*;

fn reading(time: Duration) -> Reading {
    Reading::new(Bounds {
        time,
        entry_bytes: 1 << 20,
        bytes: 1 << 20,
    })
}

/// Work without an end, which tells how it was ended.
fn endless(
    begun: mpsc::Sender<()>,
    ended: mpsc::Sender<Halt>,
) -> impl FnOnce(&mut Looking) -> Result<(), Halt> + Send + 'static {
    move |looking| {
        begun.send(()).ok();
        loop {
            if let Err(halt) = looking.step() {
                ended.send(halt.clone()).ok();
                return Err(halt);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_when_whoever_asked_has_left() {
    let reading = reading(Duration::from_mins(10));
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let look = tokio::spawn(async move { reading.look(endless(begun, ended)).await });
    has_begun.recv().unwrap();
    look.abort();
    assert_eq!(has_ended.recv(), Ok(Halt::Left));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_when_the_program_stops() {
    let reading = reading(Duration::from_mins(10));
    let (begun, has_begun) = mpsc::channel();
    let (ended, _) = mpsc::channel();
    let same = reading.clone();
    let look = tokio::spawn(async move { same.look(endless(begun, ended)).await });
    has_begun.recv().unwrap();
    reading.stop();
    assert_eq!(look.await.unwrap(), Err(Halt::Stopped));
    assert_eq!(reading.look(|_| Ok(())).await, Err(Halt::Stopped));
}

#[tokio::test]
async fn work_ends_when_its_time_is_up() {
    let (begun, _) = mpsc::channel();
    let (ended, _) = mpsc::channel();
    let reading = reading(Duration::from_millis(1));
    let halt = reading.look(endless(begun, ended)).await.unwrap_err();
    assert_eq!(halt.setting(), Some("journal.search_timeout_ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_look_has_its_turn_beside_endless_ones() {
    let reading = reading(Duration::from_mins(10));
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    for _ in 0..PLACES - 1 {
        let (reading, begun, ended) = (reading.clone(), begun.clone(), ended.clone());
        tokio::spawn(async move { reading.look(endless(begun, ended)).await });
    }
    for _ in 0..PLACES - 1 {
        has_begun.recv().unwrap();
    }
    assert_eq!(
        reading.look(|looking| looking.step().map(|()| 7)).await,
        Ok(7)
    );
    assert!(has_ended.try_recv().is_err());
    reading.stop();
}

#[tokio::test]
async fn a_look_that_panics_is_an_error_of_its_own() {
    let reading = reading(Duration::from_mins(10));
    let failed = reading.look(|_| -> Result<(), Halt> { panic!("oh") }).await;
    assert!(matches!(failed, Err(Halt::Failed(_))), "{failed:?}");
    assert_eq!(reading.look(|_| Ok(())).await, Ok(()));
}
