//! Topic names, which messages are published to, and topic filters, which clients subscribe to.

use serde::Serialize;

/// The longest topic name or filter that MQTT can carry, in bytes of UTF-8.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// What a shared subscription begins with; the name of its group is the next level.
const SHARE: &str = "$share/";

/// How many levels a topic name or filter has. Those of a shared subscription are its filter's.
fn levels(topic: &str) -> usize {
    let filter = topic
        .strip_prefix(SHARE)
        .and_then(|rest| rest.split_once('/'))
        .map_or(topic, |(_, filter)| filter);
    1 + filter.bytes().filter(|&byte| byte == b'/').count()
}

/// Why a text is not a topic name or topic filter (MQTT 5.0 section 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It has no character.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_TOPIC_BYTES`].
    #[error("it is longer than 65535 bytes")]
    TooLong,
    /// It holds U+0000.
    #[error("it contains the null character")]
    Null,
    /// A topic name holds `+` or `#`.
    #[error("a topic name must not contain the wildcards + and #")]
    Wildcard,
    /// A wildcard of a filter does not stand alone in its level, or `#` is not last.
    #[error("a wildcard must stand alone in its level, and # must be last")]
    MisplacedWildcard,
    /// It has more levels than `mqtt.max_topic_levels`.
    #[error("it has {levels} levels, and mqtt.max_topic_levels allows {limit}")]
    TooDeep {
        /// How many it has.
        levels: usize,
        /// How many it may have.
        limit: usize,
    },
}

/// That a topic name or filter has no more levels than it may have.
pub fn check_depth(topic: &str, limit: usize) -> Result<(), TopicError> {
    let levels = levels(topic);
    if levels > limit {
        return Err(TopicError::TooDeep { levels, limit });
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::Null);
    }
    Ok(())
}

/// A topic name: what a message is published to. Never holds a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicName(String);

impl TopicName {
    /// Checks and wraps a topic name.
    pub fn parse(text: impl Into<String>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TopicName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic filter: what a client subscribes to. May hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Checks and wraps a topic filter.
    pub fn parse(text: impl Into<String>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            if (wild && level.len() > 1) || (level == "#" && levels.peek().is_some()) {
                return Err(TopicError::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic name matches this filter (MQTT 5.0 section 4.7; a leading wildcard
    /// does not match a name that starts with `$`).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        let mut filters = self.0.split('/');
        loop {
            match (filters.next(), names.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(filter), Some(name)) if filter == name => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_has_no_wildcard_and_no_null() {
        assert_eq!(TopicName::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicName::parse("a/+"), Err(TopicError::Wildcard));
        assert_eq!(TopicName::parse("a\0"), Err(TopicError::Null));
        assert_eq!(
            TopicName::parse("a".repeat(65_536)),
            Err(TopicError::TooLong)
        );
        assert!(TopicName::parse("/a//子 b/$x").is_ok());
    }

    #[test]
    fn levels_are_counted_without_the_share_of_a_subscription() {
        for (topic, count) in [
            ("a", 1),
            ("/", 2),
            ("a/b/#", 3),
            ("$share/group/a/b", 2),
            ("$share/group", 2),
        ] {
            assert_eq!(levels(topic), count, "{topic}");
        }
        assert_eq!(check_depth("a/b", 2), Ok(()));
        let refused = check_depth("a/b/c", 2).unwrap_err().to_string();
        assert_eq!(
            refused,
            "it has 3 levels, and mqtt.max_topic_levels allows 2"
        );
    }

    #[test]
    fn wildcards_of_a_filter_stand_alone() {
        for good in ["#", "+", "a/#", "+/+/b", "/", "$share/g/a", "a//+"] {
            assert!(TopicFilter::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a#", "#/a", "a+/b", "a/##"] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        let matches =
            |filter: &str, topic: &str| TopicFilter::parse(filter).unwrap().matches(topic);
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/#", "sport/a/b"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(!matches("+", "/finance"));
        assert!(!matches("#", "$SYS/x"));
        assert!(!matches("+/x", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
        assert!(!matches("a/b", "a/b/c"));
    }
}
