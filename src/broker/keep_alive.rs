//! A keep-alive that is changed while its client is connected. The engine's own timer knows the
//! one of the CONNECT alone, so the gate counts the client's silence itself and meanwhile keeps
//! the engine from counting. It follows the machine's time, as the engine's timer does.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What a client's keep-alive is, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeepAlive {
    /// As the CONNECT was granted it; 0 is never.
    pub(super) granted: u16,
    /// As it was changed to.
    pub(super) changed: Option<u16>,
}

/// What is due in a client's silence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The engine must hear something, or its own timer runs out.
    SignOfLife,
    /// The client has been silent for too long.
    End,
}

/// One client's silence since its keep-alive was changed.
pub(super) struct Silence {
    keep_alive: watch::Receiver<KeepAlive>,
    counting: Option<Counting>,
}

struct Counting {
    allowed: Duration,
    ends: Instant,
    every: Duration,
    sign: Instant,
}

impl Silence {
    pub(super) fn of(keep_alive: watch::Receiver<KeepAlive>) -> Self {
        Self {
            keep_alive,
            counting: None,
        }
    }

    /// The client has sent something.
    pub(super) fn broken(&mut self) {
        if let Some(counting) = &mut self.counting {
            counting.ends = Instant::now() + counting.allowed;
        }
    }

    /// Waits for what is due next; for ever while the keep-alive is the one of the CONNECT. Can be
    /// dropped and called again at any time.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            let Some(counting) = &mut self.counting else {
                self.changed().await;
                continue;
            };
            let next = counting.ends.min(counting.sign);
            tokio::select! {
                changed = self.keep_alive.changed() => match changed {
                    Ok(()) => self.begin(),
                    Err(_) => pending().await,
                },
                () = sleep_until(next) => {
                    if counting.ends <= next {
                        return Due::End;
                    }
                    counting.sign = next + counting.every;
                    return Due::SignOfLife;
                }
            }
        }
    }

    async fn changed(&mut self) {
        match self.keep_alive.changed().await {
            Ok(()) => self.begin(),
            Err(_) => pending().await,
        }
    }

    /// The change counts as a packet of the client.
    fn begin(&mut self) {
        let keep_alive = *self.keep_alive.borrow_and_update();
        let Some(seconds) = keep_alive.changed else {
            return;
        };
        let now = Instant::now();
        let allowed = Duration::from_millis(u64::from(seconds) * 1_500);
        self.counting = Some(Counting {
            allowed,
            ends: now + allowed,
            every: Duration::from_secs(keep_alive.granted.max(1).into()),
            sign: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(granted: u16) -> (watch::Sender<KeepAlive>, Silence) {
        let (sender, receiver) = watch::channel(KeepAlive {
            granted,
            changed: None,
        });
        (sender, Silence::of(receiver))
    }

    fn change(sender: &watch::Sender<KeepAlive>, seconds: u16) {
        sender.send_modify(|keep_alive| keep_alive.changed = Some(seconds));
    }

    /// When the silence ends, in seconds from now, and how many signs of life come before.
    async fn end(silence: &mut Silence) -> (u64, u32) {
        let (begun, mut signs) = (Instant::now(), 0);
        while silence.due().await == Due::SignOfLife {
            signs += 1;
        }
        (begun.elapsed().as_secs(), signs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_keep_alive_counts_from_the_change() {
        let (sender, mut silence) = client(10);
        tokio::time::advance(Duration::from_secs(9)).await;
        change(&sender, 40);
        assert_eq!(end(&mut silence).await, (60, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_packet_and_another_change_begin_anew() {
        let (sender, mut silence) = client(60);
        change(&sender, 40);
        assert_eq!(silence.due().await, Due::SignOfLife);
        tokio::time::advance(Duration::from_secs(59)).await;
        silence.broken();
        change(&sender, 30);
        assert_eq!(end(&mut silence).await.0, 45);
    }

    #[tokio::test(start_paused = true)]
    async fn a_keep_alive_that_was_never_changed_is_not_counted_here() {
        let (_sender, mut silence) = client(1);
        silence.broken();
        let waited = tokio::time::timeout(Duration::from_secs(10_000), silence.due()).await;
        assert!(waited.is_err());
    }
}
