//! The product's rules for topics: the first level is the parent topic, made in the console;
//! lower levels are free. `{parent}/p2p/{client id}` reaches one client without a subscription.

use mqttstack_base::message::{TopicFilter, TopicName};

use super::client_id::MAX_CHARS;
use super::settings::Settings;

/// A topic that a message may be published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic(TopicName);

impl Topic {
    /// Checks a topic; the error says what is wrong with it.
    pub(super) fn parse(text: &str, settings: &Settings) -> Result<Self, String> {
        let name = TopicName::parse(text).map_err(|problem| problem.to_string())?;
        check_length(text, settings)?;
        let topic = Self(name);
        let parent = topic.parent();
        if parent.is_empty() {
            return Err("its first level, the parent topic, is empty".to_owned());
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !parent.bytes().all(allowed) {
            return Err(
                "its first level, the parent topic, may hold letters, digits, - and _ only"
                    .to_owned(),
            );
        }
        if parent.len() > settings.max_parent_topic_chars {
            return Err(format!(
                "its first level, the parent topic, has {} characters, {} are allowed",
                parent.len(),
                settings.max_parent_topic_chars
            ));
        }
        Ok(topic)
    }

    /// The first level.
    pub(super) fn parent(&self) -> &str {
        self.0.as_str().split('/').next().unwrap_or_default()
    }

    /// The client id that a P2P topic names.
    pub(super) fn target(&self) -> Option<&str> {
        p2p(self.0.as_str()).map(|(_, client)| client)
    }

    /// The name as MQTT carries it.
    pub(super) fn into_name(self) -> TopicName {
        self.0
    }
}

/// A P2P topic without its client id, and that client id.
fn p2p(text: &str) -> Option<(&str, &str)> {
    let (topic, client) = text.rsplit_once('/')?;
    let (parent, middle) = topic.split_once('/')?;
    (!parent.is_empty() && middle == "p2p" && !client.is_empty()).then_some((topic, client))
}

/// Refuses a topic or filter that is too long. A P2P topic is counted without its client id,
/// which has a length of its own (assumed: else a long parent topic could not reach every client).
fn check_length(text: &str, settings: &Settings) -> Result<(), String> {
    let (topic, client) = p2p(text).unwrap_or((text, ""));
    let (chars, of_client) = (topic.chars().count(), client.chars().count());
    let allowed = settings.max_topic_chars;
    if chars > allowed {
        return Err(format!("it has {chars} characters, {allowed} are allowed"));
    }
    if of_client > MAX_CHARS {
        return Err(format!(
            "the client id of its P2P topic has {of_client} characters, {MAX_CHARS} are allowed"
        ));
    }
    Ok(())
}

/// The parent topic of a filter if it may be one: its first level must be plain.
pub(super) fn parent_of_filter<'f>(
    filter: &'f str,
    settings: &Settings,
) -> Result<&'f str, String> {
    TopicFilter::parse(filter).map_err(|problem| problem.to_string())?;
    let parent = filter.split('/').next().unwrap_or_default();
    Topic::parse(parent, settings)
        .map_err(|_| "its first level must be a parent topic, without a wildcard".to_owned())?;
    check_length(filter, settings)?;
    Ok(parent)
}

/// The parent topic of a P2P topic: permission on it is what counts (documented).
pub(super) fn p2p_parent(filter: &str) -> Option<&str> {
    let (parent, rest) = filter.split_once('/')?;
    (rest.split('/').next() == Some("p2p")).then_some(parent)
}

/// Whether every topic name that `narrow` matches is matched by `wide`. Either may be a name or
/// a filter.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow.next()) {
            ("#", _) => return true,
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

/// Whether there is a topic name that both match.
pub(super) fn meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == "+" || b == "+" || a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Topic, String> {
        Topic::parse(text, &Settings::default())
    }

    #[test]
    fn the_parent_topic_is_narrow_and_the_rest_is_free() {
        for good in ["a", "Topic-A_1/子 b/$x//", &"a".repeat(64)] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "/a", "a b/c", "主题/a", "$SYS/a", "a/+", "a/x+y", "#", "a/\0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(parse(&"a".repeat(65)).is_err());
        assert!(parse(&format!("a/{}", "子".repeat(126))).is_ok());
        assert!(parse(&format!("a/{}", "子".repeat(127))).is_err());
    }

    #[test]
    fn a_p2p_topic_is_counted_without_its_client_id() {
        let parent = "a".repeat(64);
        let client = format!("GID_test@@@{}", "设".repeat(53));
        let topic = format!("{parent}/p2p/{client}");
        assert_eq!(topic.chars().count(), 133);
        assert_eq!(parse(&topic).unwrap().target(), Some(&*client));
        let settings = Settings::default();
        assert_eq!(parent_of_filter(&topic, &settings), Ok(&*parent));
        for long in [
            format!("{topic}x"),
            format!("{parent}/p2p/{client}/x"),
            format!("{parent}/P2P/{client}"),
            format!("a/p2p/{}", "x".repeat(65)),
        ] {
            assert!(parse(&long).is_err(), "{long}");
            assert!(parent_of_filter(&long, &settings).is_err(), "{long}");
        }
        let short = Settings {
            max_topic_chars: 64,
            ..Settings::default()
        };
        let topic = format!("{}/p2p/{client}", "a".repeat(60));
        assert!(Topic::parse(&topic, &short).is_ok());
        assert!(Topic::parse(&format!("a{topic}"), &short).is_err());
        assert!(Topic::parse(&"a".repeat(64), &short).is_ok());
        assert!(Topic::parse(&format!("{}/b", "a".repeat(63)), &short).is_err());
    }

    #[test]
    fn only_three_levels_with_p2p_in_the_middle_name_a_client() {
        let target = |text: &str| parse(text).unwrap().target().map(ToOwned::to_owned);
        assert_eq!(
            target("a/p2p/GID_test@@@d1"),
            Some("GID_test@@@d1".to_owned())
        );
        for text in ["a/p2p", "a/p2p/", "a/p2p/x/y", "a/b/x", "p2p/x", "a/P2P/x"] {
            assert_eq!(target(text), None, "{text}");
        }
    }

    #[test]
    fn a_filter_covers_what_it_matches_and_no_wider_filter() {
        for (wide, narrow) in [
            ("a/#", "a"),
            ("a/#", "a/b/+"),
            ("a/+", "a/b"),
            ("a/+", "a/+"),
            ("a/b", "a/b"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
            assert!(meet(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("a/+", "a/#"),
            ("a/b", "a/+"),
            ("a/+", "a/b/c"),
            ("a", "a/#"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
        assert!(meet("a/b", "a/+"));
        assert!(!meet("a/b", "a/c"));
        assert!(!meet("a/b/c", "a/+"));
    }
}
