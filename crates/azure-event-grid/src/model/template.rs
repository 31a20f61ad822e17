//! Topic templates: MQTT topic filters with variables of the client (mqtt-topic-spaces page).
//! `${client.authenticationName}`, `${client.attributes.x}`, either with `|literal` behind it.

use std::borrow::Cow;

use super::attribute::{Attribute, Identity, is_key};
use super::limits;
use super::parsed::Language;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    Variable { source: Source, suffix: String },
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    AuthenticationName,
    Attribute(String),
}

/// A parsed topic template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

impl Language for Template {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::TEMPLATE {
            return Err(format!(
                "the topic template has {} bytes, the limit is {}",
                text.len(),
                limits::TEMPLATE
            ));
        }
        let broken = |why: &str| Err(format!("the topic template {text:?} is invalid: {why}"));
        if text.is_empty() {
            return broken("it is empty");
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if start > 0 {
                parts.push(Part::Literal(rest[..start].to_owned()));
            }
            let Some(length) = rest[start..].find('}') else {
                return broken("a variable has no closing brace");
            };
            let inner = &rest[start + 2..start + length];
            let (name, suffix) = inner.split_once('|').unwrap_or((inner, ""));
            if suffix.contains(['+', '#', '$', '{']) {
                return broken("the literal text of a variable has a wildcard or variable in it");
            }
            let source = match name.strip_prefix("client.") {
                Some("authenticationName") => Source::AuthenticationName,
                Some(other) => match other.strip_prefix("attributes.") {
                    Some(key) if is_key(key) => Source::Attribute(key.to_owned()),
                    _ => {
                        return broken(
                            "its variable is neither client.authenticationName nor client.attributes.x",
                        );
                    }
                },
                None => return broken("a variable must begin with client."),
            };
            parts.push(Part::Variable {
                source,
                suffix: suffix.to_owned(),
            });
            rest = &rest[start + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self(parts);
        mqttstack_base::message::TopicFilter::parse(template.sample())
            .map_err(|why| format!("the topic template {text:?} is invalid: {why}"))?;
        Ok(template)
    }
}

impl Template {
    /// The topic filter for one client; `None` where it lacks an attribute.
    pub(crate) fn fill(&self, identity: Identity<'_>) -> Option<Cow<'_, str>> {
        if let [Part::Literal(text)] = &*self.0 {
            return Some(Cow::Borrowed(text));
        }
        let mut filter = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => filter.push_str(text),
                Part::Variable { source, suffix } => {
                    filter.push_str(&source.value(identity)?);
                    filter.push_str(suffix);
                }
            }
        }
        Some(Cow::Owned(filter))
    }

    fn sample(&self) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Variable { .. } => "x",
            })
            .collect()
    }
}

impl Source {
    fn value(&self, identity: Identity<'_>) -> Option<String> {
        let value = match self {
            Self::AuthenticationName => identity.authentication_name.to_owned(),
            Self::Attribute(key) => match identity.attributes?.get(key)? {
                Attribute::Text(text) => text.clone(),
                Attribute::Integer(number) => number.to_string(),
                // An array names no single segment.
                Attribute::List(_) => return None,
            },
        };
        // A name with a separator or wildcard in it must not widen the filter.
        (!value.contains(['/', '+', '#'])).then_some(value)
    }
}

/// Whether everything that `wanted` (a topic name or filter) can match is matched by `granted`.
pub(crate) fn covers(granted: &str, wanted: &str) -> bool {
    if wanted.starts_with('$') && granted.starts_with(['+', '#']) {
        return false;
    }
    let (mut granted, mut wanted) = (granted.split('/'), wanted.split('/'));
    loop {
        match (granted.next(), wanted.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn filled(template: &str, name: &str) -> Option<String> {
        let attributes = BTreeMap::from([
            ("area".to_owned(), Attribute::Text("west".to_owned())),
            ("floor".to_owned(), Attribute::Integer(7)),
            ("tags".to_owned(), Attribute::List(vec!["a".to_owned()])),
        ]);
        let template = Template::parse(template).unwrap();
        let filter = template.fill(Identity {
            authentication_name: name,
            attributes: Some(&attributes),
        });
        filter.map(Cow::into_owned)
    }

    #[test]
    fn variables_are_filled_in_from_the_client() {
        assert_eq!(
            filled("a/${client.authenticationName}/#", "dev1").as_deref(),
            Some("a/dev1/#")
        );
        assert_eq!(
            filled("${client.authenticationName|.factory1}/+", "dev1").as_deref(),
            Some("dev1.factory1/+")
        );
        assert_eq!(
            filled(
                "x-${client.attributes.area}/${client.attributes.floor}",
                "d"
            )
            .as_deref(),
            Some("x-west/7")
        );
        assert_eq!(filled("${client.attributes.none}", "d"), None);
        assert_eq!(filled("${client.attributes.tags}", "d"), None);
    }

    #[test]
    fn a_name_with_a_wildcard_widens_nothing() {
        assert_eq!(filled("a/${client.authenticationName}", "#"), None);
        assert_eq!(filled("a/${client.authenticationName}/b", "x/y"), None);
    }

    #[test]
    fn a_broken_template_says_what_is_wrong() {
        for (text, why) in [
            ("", "empty"),
            ("a/${client.x", "closing"),
            ("a/${user.x}", "client."),
            ("a/${client.attributes.}", "neither"),
            ("a/#/b", "wildcard"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_filter_is_covered_only_if_all_it_matches_is() {
        assert!(covers("a/#", "a/b/c") && covers("a/#", "a/#") && covers("a/#", "a"));
        assert!(covers("a/+/c", "a/+/c") && covers("a/+", "a/b"));
        assert!(!covers("a/+", "a/#") && !covers("a/b", "a/+") && !covers("a/+", "a/b/c"));
        assert!(!covers("#", "$SYS/x") && covers("#", "a"));
        assert!(!covers("testtopics/#", "testtopic/#"));
    }
}
