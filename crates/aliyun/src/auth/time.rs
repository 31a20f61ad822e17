//! The time of a request: its one spelling, and how far it may be off.

use jiff::Timestamp;

use crate::error::Error;

/// Why a request's time is refused.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) error: Error,
    pub(super) reason: String,
}

/// Refuses a text that is not `YYYY-MM-DDThh:mm:ssZ`, and a time more than `window_s` seconds
/// before or after `now`, unless that is 0.
pub(super) fn check(text: &str, now: Timestamp, window_s: u32) -> Result<(), Problem> {
    let Some(at) = parse(text) else {
        return Err(Problem {
            error: Error::TimestampFormat,
            reason: format!("the time {text:?} is not of the form 2026-11-21T22:51:00Z, in UTC"),
        });
    };
    let off = now.duration_since(at);
    let window = std::time::Duration::from_secs(u64::from(window_s));
    if window_s > 0 && off.unsigned_abs() > window {
        let side = if off.is_positive() {
            "behind"
        } else {
            "ahead of"
        };
        return Err(Problem {
            error: Error::TimestampExpired,
            reason: format!(
                "the time {text} is {} s {side} the emulator's ({now:.0}); \
                 aliyun.timestamp_window_s allows {window_s} s",
                off.as_secs().unsigned_abs(),
            ),
        });
    }
    Ok(())
}

fn parse(text: &str) -> Option<Timestamp> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00Z";
    let shaped = text.len() == SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, &shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    shaped.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str, window_s: u32) -> Option<Error> {
        let now = "2026-11-21T22:51:00Z".parse().unwrap();
        check(text, now, window_s)
            .err()
            .map(|problem| problem.error)
    }

    #[test]
    fn times_within_the_window_are_taken_on_both_sides() {
        for text in [
            "2026-11-21T22:36:00Z",
            "2026-11-21T23:06:00Z",
            "2026-11-21T22:51:00Z",
        ] {
            assert_eq!(error(text, 900), None, "{text}");
        }
        for text in ["2026-11-21T22:35:59Z", "2026-11-21T23:06:01Z"] {
            assert_eq!(error(text, 900), Some(Error::TimestampExpired), "{text}");
        }
    }

    #[test]
    fn a_window_of_0_allows_any_time_that_is_one() {
        assert_eq!(error("1999-12-31T23:59:59Z", 0), None);
        assert_eq!(error("9999-12-30T00:00:00Z", 0), None);
        assert_eq!(error("yesterday", 0), Some(Error::TimestampFormat));
    }

    #[test]
    fn only_one_spelling_is_a_time() {
        for text in [
            "2026-11-21 22:51:00",
            "2026-11-21T22:51:00",
            "2026-11-21T22:51:00.000Z",
            "2026-11-21T22:51:00+08:00",
            "2026-11-21t22:51:00z",
            "2026-13-21T22:51:00Z",
            "1795301460",
        ] {
            assert_eq!(error(text, 900), Some(Error::TimestampFormat), "{text}");
        }
    }
}
