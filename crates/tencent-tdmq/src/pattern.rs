//! The text conditions of an authorization policy: `*` for any characters, and variables such as
//! `${ClientId}` that stand for the asking client's own names. A variable's value is always
//! taken literally: a client that calls itself `*` gains nothing.
//!
//! Of Spring expressions `substring` is evaluated (`${clientId.substring(4)}`,
//! `${username.substring(0, 4)}`); a pattern with any other matches nothing, and so does one
//! whose substring is out of range (the expression would fail). That `*` also crosses `/`, and
//! that a resource may be an MQTT topic filter, is assumed.

use mqttstack_base::message::TopicFilter;
use regex::RegexBuilder;

use super::certificate::Identity;

/// The most bytes of a compiled expression, and of a text that is compared with it. It is asked at
/// every connect and publish: a larger one matches nothing.
const MAX_COMPILED: usize = 256 << 10;
const MAX_COMPARED: usize = 4 << 10;

/// The values of the variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// `${Username}`.
    pub username: Option<&'a str>,
    /// `${ClientId}`.
    pub client_id: &'a str,
    /// `${Certificate.Subject.*}`.
    pub certificate: Option<&'a Identity>,
}

impl<'a> Names<'a> {
    /// The value of a variable, or of `substring` of one.
    fn evaluate(self, expression: &str) -> Option<String> {
        let Some((name, bounds)) = expression.split_once(".substring(") else {
            return self.value(expression).map(str::to_owned);
        };
        let value = self.value(name)?;
        let bounds = bounds.strip_suffix(')')?;
        let (from, to) = match bounds.split_once(',') {
            Some((from, to)) => (from, Some(to)),
            None => (bounds, None),
        };
        // Java counts UTF-16 units.
        let units: Vec<u16> = value.encode_utf16().collect();
        let from: usize = from.trim().parse().ok()?;
        let to = match to {
            Some(to) => to.trim().parse().ok()?,
            None => units.len(),
        };
        String::from_utf16(units.get(from..to)?).ok()
    }

    /// Expressions spell the variables with a small letter, as the page's example does.
    fn value(self, name: &str) -> Option<&'a str> {
        match name {
            "Username" | "username" => self.username,
            "ClientId" | "clientId" => Some(self.client_id),
            _ => {
                let field = name.strip_prefix("Certificate.Subject.")?;
                self.certificate?.field(field)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// As written in the pattern.
    Written(String),
    /// A variable's value.
    Value(String),
}

/// A pattern with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    /// Fills in the variables; `None` where one has no value.
    pub(super) fn parse(text: &str, names: Names<'_>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let end = rest[start..].find('}')? + start;
            pieces.push(Piece::Written(rest[..start].to_owned()));
            pieces.push(Piece::Value(names.evaluate(&rest[start + 2..end])?));
            rest = &rest[end + 1..];
        }
        pieces.push(Piece::Written(rest.to_owned()));
        Some(Self(pieces))
    }

    /// Whether the whole text matches, `*` standing for any characters.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &*self.between_stars() {
            [] => text.is_empty(),
            [only] => text == only,
            [first, middle @ .., last] => {
                let Some(mut rest) = text.strip_prefix(&**first) else {
                    return false;
                };
                for part in middle {
                    let Some((_, behind)) = rest.split_once(&**part) else {
                        return false;
                    };
                    rest = behind;
                }
                rest.ends_with(&**last)
            }
        }
    }

    /// What stands before, between and behind the stars.
    fn between_stars(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let mut part = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Value(text) => part.push_str(text),
                Piece::Written(text) => {
                    let mut written = text.split('*');
                    part.push_str(written.next().unwrap_or_default());
                    for next in written {
                        parts.push(std::mem::replace(&mut part, next.to_owned()));
                    }
                }
            }
        }
        parts.push(part);
        parts
    }

    /// Whether the whole text matches what is written as a regular expression.
    pub(super) fn matches_as_regex(&self, text: &str) -> bool {
        let body: String = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Written(text) => text.clone(),
                Piece::Value(text) => regex::escape(text),
            })
            .collect();
        let regex = RegexBuilder::new(&format!("(?s)^(?:{body})$"))
            .size_limit(MAX_COMPILED)
            .build();
        text.len() <= MAX_COMPARED && regex.is_ok_and(|regex| regex.is_match(text))
    }

    /// Whether a topic name or filter is within the pattern: by its stars, or read as an MQTT
    /// topic filter. A client that calls itself `#` or `+` gains nothing by it.
    pub(super) fn covers(&self, topic: &str) -> bool {
        let wild = |piece: &Piece| matches!(piece, Piece::Value(text) if text.contains(['+', '#']));
        !self.0.iter().any(wild) && (self.matches(topic) || self.covers_as_filter(topic))
    }

    fn covers_as_filter(&self, topic: &str) -> bool {
        let filter: String = self
            .0
            .iter()
            .map(|(Piece::Written(text) | Piece::Value(text))| text.as_str())
            .collect();
        // One level is less than all that follow: `+` does not cover a subscription to `#`.
        let asks_for_more = filter
            .split('/')
            .zip(topic.split('/'))
            .any(|(own, asked)| own == "+" && asked == "#");
        filter.contains(['+', '#'])
            && !asks_for_more
            && TopicFilter::parse(filter).is_ok_and(|filter| filter.matches(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names {
        username: Some("user0"),
        client_id: "dev.1",
        certificate: None,
    };

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, NAMES).is_some_and(|pattern| pattern.matches(text))
    }

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        assert!(matches("sensor*", "sensor"));
        assert!(matches("home/room1/*", "home/room1/a/b"));
        assert!(matches("*root*", "a-root-b"));
        assert!(!matches("home/room1/*", "home/room2/a"));
        assert!(!matches("a.c", "abc"));
        assert!(!matches("sensor", "sensor1"));
        assert!(matches("*", "") && matches("**", "a") && matches("a*a*a", "aaa"));
        assert!(!matches("a*a", "a") && !matches("a*b*b", "ab") && !matches("", "a"));
    }

    #[test]
    fn a_variable_stands_for_the_clients_own_name() {
        assert!(matches("home/${ClientId}/*", "home/dev.1/x"));
        assert!(!matches("home/${ClientId}/*", "home/devX1/x"));
        assert!(matches("${Username}", "user0"));
        assert!(!matches("${Certificate.Subject.CommonName}", ""));
        assert!(!matches("a${ClientId", "a${ClientId"));
    }

    #[test]
    fn a_substring_is_javas_and_no_other_expression_is_evaluated() {
        assert!(matches("home/${clientId.substring(4)}", "home/1"));
        assert!(matches("${ClientId.substring(0, 3)}/*", "dev/x"));
        assert!(matches("${username.substring(5)}", ""));
        for never in [
            "${clientId.substring(7)}",
            "${clientId.substring(3, 2)}",
            "${clientId.substring(-1)}",
            "${clientId.substring()}",
            "${clientId.substring(1}",
            "${clientId.toUpperCase()}",
            "${nobody.substring(0)}",
        ] {
            assert!(!matches(never, "") && !matches(never, "*"), "{never}");
        }
        let names = Names {
            client_id: "值a*",
            ..NAMES
        };
        let pattern = Pattern::parse("${clientId.substring(1)}", names).unwrap();
        assert!(pattern.matches("a*") && !pattern.matches("ab"));
    }

    #[test]
    fn a_value_is_never_read_as_a_wildcard_or_expression() {
        let names = Names {
            client_id: "*",
            username: Some("#"),
            certificate: None,
        };
        let star = Pattern::parse("home/${ClientId}", names).unwrap();
        assert!(star.matches("home/*"));
        assert!(!star.matches("home/other"));
        let hash = Pattern::parse("home/${Username}", names).unwrap();
        assert!(!hash.covers("home/other"));
        assert!(!hash.covers("home/#"), "a subscription to everything");
        let names = Names {
            client_id: ".*",
            ..names
        };
        let any = Pattern::parse("${ClientId}x?", names).unwrap();
        assert!(!any.matches_as_regex("other"));
        assert!(any.matches_as_regex(".*x"));
    }

    #[test]
    fn a_resource_may_be_a_topic_filter() {
        let pattern = Pattern::parse("home/+/${ClientId}/#", NAMES).unwrap();
        assert!(pattern.covers("home/a/dev.1/b/c"));
        assert!(!pattern.covers("home/a/dev2/b"));
    }

    #[test]
    fn a_subscription_wider_than_the_resource_is_not_within_it() {
        let covers = |resource, filter| Pattern::parse(resource, NAMES).unwrap().covers(filter);
        assert!(covers("home/+", "home/+") && covers("home/+", "home/a"));
        assert!(covers("home/#", "home/#") && covers("home/#", "home/+/x"));
        assert!(covers("home/+/#", "home/+/#") && covers("home/*", "home/#"));
        assert!(!covers("home/+", "home/#"));
        assert!(!covers("home/+/#", "home/#"));
        assert!(!covers("home/+", "+/+") && !covers("home/#", "#") && !covers("+", "#"));
    }

    #[test]
    fn a_broken_regular_expression_matches_nothing() {
        let pattern = Pattern::parse("dev(", NAMES).unwrap();
        assert!(!pattern.matches_as_regex("dev("));
        assert!(pattern.matches("dev("));
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_breaks_the_matching(pattern in "([${}*()+#/\\[\\\\?]|ClientId|.)*", text in ".*") {
            if let Some(pattern) = Pattern::parse(&pattern, NAMES) {
                pattern.matches(&text);
                pattern.matches_as_regex(&text);
                pattern.covers(&text);
            }
        }
    }
}
