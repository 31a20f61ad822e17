//! The types of single configuration values: a port, the clock's start, the seed, the log's format
//! and level. Each reads the same text from a flag, the environment and the file.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use jiff::Timestamp;
use mqttstack_base::clock::Clock;
use mqttstack_kit::wording::one_of;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a listener opens: nowhere, at a free port (0), or at the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The listener is not opened.
    Off,
    /// The port's number; 0 lets the machine choose a free one.
    Number(u16),
}

/// Why a text is not a [`Port`].
#[derive(Debug, thiserror::Error)]
#[error("expected a port number up to 65535, 0 for a free port, or off")]
pub struct NotAPort;

impl FromStr for Port {
    type Err = NotAPort;

    fn from_str(text: &str) -> Result<Self, NotAPort> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Number).map_err(|_| NotAPort)
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Number(number) => serializer.serialize_u16(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_plain_value(deserializer)
    }
}

/// Where the emulator's clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockStart {
    /// It follows the machine's clock.
    Real,
    /// It stands still at this instant until it is moved.
    Frozen(Timestamp),
}

/// Why a text is not a [`ClockStart`].
#[derive(Debug, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2026-11-21T22:51:00Z, or real")]
pub struct NotAClockStart;

impl ClockStart {
    /// Puts a clock (back) to this start.
    pub fn set(self, clock: &Clock) {
        match self {
            Self::Real => clock.follow(),
            Self::Frozen(at) => clock.freeze(at),
        }
    }
}

impl FromStr for ClockStart {
    type Err = NotAClockStart;

    fn from_str(text: &str) -> Result<Self, NotAClockStart> {
        if text == "real" {
            return Ok(Self::Real);
        }
        text.parse().map(Self::Frozen).map_err(|_| NotAClockStart)
    }
}

impl Serialize for ClockStart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Real => serializer.serialize_str("real"),
            Self::Frozen(at) => at.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClockStart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_plain_value(deserializer)
    }
}

/// What ids, nonces and keys are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// The machine's randomness: every run differs.
    Random,
    /// This number: every run repeats.
    Fixed(u64),
}

/// Why a text is not a [`Seed`].
#[derive(Debug, thiserror::Error)]
#[error("expected a whole number from 0 to 18446744073709551615, or random")]
pub struct NotASeed;

impl Seed {
    /// The number, if there is one.
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Random => None,
            Self::Fixed(number) => Some(number),
        }
    }
}

impl FromStr for Seed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Self, NotASeed> {
        if text == "random" {
            return Ok(Self::Random);
        }
        text.parse().map(Self::Fixed).map_err(|_| NotASeed)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Random => serializer.serialize_str("random"),
            // TOML's integers end at i64::MAX; a greater seed is written as text.
            Self::Fixed(number) => match i64::try_from(*number) {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.serialize_str(&number.to_string()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_plain_value(deserializer)
    }
}

/// How log lines are written to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For reading.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// None.
    Off,
    /// What went wrong in the emulator itself.
    Error,
    /// What an operator should know.
    Warn,
    /// One line per request.
    Info,
    /// The emulator's steps.
    Debug,
    /// Everything, the libraries' steps included.
    Trace,
}

/// Why a text is none of a few words.
#[derive(Debug, thiserror::Error)]
#[error("expected {}, got {got:?}", one_of(.words))]
pub struct NotAWord {
    words: Vec<String>,
    got: String,
}

/// One of a few words, in any case.
fn word<T: ValueEnum>(text: &str) -> Result<T, NotAWord> {
    T::from_str(text, true).map_err(|_| {
        let values = T::value_variants().iter();
        let names = values.filter_map(ValueEnum::to_possible_value);
        NotAWord {
            words: names.map(|one| one.get_name().to_owned()).collect(),
            got: text.to_owned(),
        }
    })
}

impl FromStr for LogFormat {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        word(text)
    }
}

impl FromStr for LogLevel {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        word(text)
    }
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_plain_value(deserializer)
    }
}

impl<'de> Deserialize<'de> for LogLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_plain_value(deserializer)
    }
}

/// Reads a string, an integer or a TOML date-time as the text that a flag would give.
fn from_plain_value<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Datetime(time) => time.to_string(),
        // Never a valid value; T's own words say what is.
        other => other.type_str().to_owned(),
    };
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_zero_or_off() {
        assert_eq!("off".parse::<Port>().unwrap(), Port::Off);
        assert_eq!("0".parse::<Port>().unwrap(), Port::Number(0));
        assert_eq!("65535".parse::<Port>().unwrap(), Port::Number(65_535));
        for bad in ["", "65536", "-1", "http", "Off", "80 "] {
            assert!(bad.parse::<Port>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_clock_starts_at_an_instant_or_follows_the_machine() {
        let at = "2026-11-21T22:51:00Z".parse().unwrap();
        let start: ClockStart = "2026-11-21T23:51:00+01:00".parse().unwrap();
        assert_eq!(start, ClockStart::Frozen(at));
        let clock = Clock::real();
        start.set(&clock);
        assert_eq!(clock.now(), at);
        assert!("2026-11-21".parse::<ClockStart>().is_err());
    }
}
