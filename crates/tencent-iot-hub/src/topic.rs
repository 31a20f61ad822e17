//! Which topics a device may publish and subscribe to: the default classes, the product's
//! custom ones and the platform's own `$` topics. The gateway and the MQTT side ask the same
//! questions here. Sources: the MQTT access page, topic management page, limits page, and the
//! device SDKs for the `$` topics that no page lists.

use super::settings::TopicClass;

/// The longest topic name in bytes of UTF-8.
const MAX_BYTES: usize = 255;
/// The most slashes in a topic name.
const MAX_SLASHES: usize = 10;

/// What a device wants with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To publish to it.
    Publish,
    /// To subscribe to it.
    Subscribe,
}

impl Wish {
    const fn bit(self) -> u8 {
        match self {
            Self::Publish => 1,
            Self::Subscribe => 2,
        }
    }
}

/// The classes that every product has, below `{ProductId}/{DeviceName}/`.
pub(super) const DEFAULT_CLASSES: [(&str, u8); 3] = [("control", 2), ("event", 1), ("data", 3)];

/// The platform's topics; `{}` stands for `{ProductId}/{DeviceName}`.
const SYSTEM_TOPICS: [(&str, u8); 22] = [
    ("$shadow/operation/{}", 1),
    ("$shadow/operation/result/{}", 2),
    ("$ota/report/{}", 1),
    ("$ota/update/{}", 2),
    // The page on remote configuration (1105/41508, 2024-12-27); the newer C and Java SDKs publish to
    // the second.
    ("$config/operation/{}", 1),
    ("$config/report/{}", 1),
    ("$config/operation/result/{}", 2),
    ("$sys/operation/{}", 1),
    ("$sys/operation/result/{}", 2),
    ("$log/operation/{}", 1),
    ("$log/operation/result/{}", 2),
    ("$gateway/operation/{}", 1),
    ("$gateway/operation/result/{}", 2),
    ("$broadcast/rxd/{}", 2),
    ("$rrpc/rxd/{}/+", 2),
    ("$rrpc/txd/{}/+", 1),
    ("$resource/up/service/{}", 1),
    ("$resource/down/service/{}", 2),
    ("$thing/up/+/{}", 1),
    ("$thing/down/+/{}", 2),
    ("$template/operation/{}", 1),
    ("$template/operation/result/{}", 2),
];

/// What is wrong with a name as such; `None` if nothing is.
pub(super) fn name_fault(topic: &str) -> Option<String> {
    if topic.is_empty() {
        return Some("it is empty".to_owned());
    }
    if topic.len() > MAX_BYTES {
        return Some(format!(
            "it has {} bytes; {MAX_BYTES} are allowed",
            topic.len()
        ));
    }
    if topic.matches('/').count() > MAX_SLASHES {
        return Some(format!("it has more than {MAX_SLASHES} slashes"));
    }
    if topic.contains('\0') {
        return Some("it contains the null character".to_owned());
    }
    None
}

/// Whether a topic that is allowed is so by `auto_create` alone, in words.
pub(super) fn lenient(
    product: &str,
    device: &str,
    custom: &[TopicClass],
    topic: &str,
    wish: Wish,
) -> Option<String> {
    let denied = |own| denial(product, device, custom, own, topic, wish);
    (denied(false).is_some() && denied(true).is_none()).then(|| {
        format!(
            "topic {topic:?} is not a topic of product {product}: tencent_iot.auto_create is on"
        )
    })
}

/// Why the device may not do what it wishes with this topic name or filter; `None` if it may.
/// With `any_own`, every topic below `{ProductId}/{DeviceName}/` is allowed.
pub(super) fn denial(
    product: &str,
    device: &str,
    custom: &[TopicClass],
    any_own: bool,
    topic: &str,
    wish: Wish,
) -> Option<String> {
    let own = format!("{product}/{device}");
    if topic.starts_with('$') {
        return system_denial(&own, topic, wish);
    }
    let Some(rest) = topic
        .strip_prefix(&own)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return Some(format!(
            "the topic {topic:?} is not the device's own: it must begin with {own:?}"
        ));
    };
    let classes = DEFAULT_CLASSES
        .into_iter()
        .chain(custom.iter().map(|c| (c.name.as_str(), c.privilege)));
    let mut known = false;
    for (pattern, privilege) in classes {
        if covers(pattern, rest) {
            known = true;
            if privilege & wish.bit() != 0 {
                return None;
            }
        }
    }
    if known {
        let may_not = match wish {
            Wish::Publish => "publish to",
            Wish::Subscribe => "subscribe to",
        };
        return Some(format!(
            "the topic class {rest:?} does not let a device {may_not} it"
        ));
    }
    if any_own && !rest.is_empty() {
        return None;
    }
    Some(format!(
        "the product has no topic class {rest:?} (CreateTopicPolicy makes one)"
    ))
}

fn system_denial(own: &str, topic: &str, wish: Wish) -> Option<String> {
    for (pattern, privilege) in SYSTEM_TOPICS {
        if covers(&pattern.replace("{}", own), topic) {
            return (privilege & wish.bit() == 0).then(|| {
                format!("the platform's topic {topic:?} is for the other direction only")
            });
        }
    }
    Some(format!("the platform has no topic {topic:?} for {own:?}"))
}

/// Whether every topic that `asked` (a name or a filter) can stand for falls under `pattern`,
/// whose `+` stands for one whole level.
fn covers(pattern: &str, asked: &str) -> bool {
    let mut asked = asked.split('/');
    for level in pattern.split('/') {
        match asked.next() {
            Some("#") | None => return false,
            Some(_) if level == "+" => {}
            Some(other) if other == level => {}
            Some(_) => return false,
        }
    }
    asked.next().is_none()
}

/// What is wrong with the name of a custom topic class; `None` if nothing is: letters, digits
/// and underscores (and the `:` and `-` that `PublishMessage` allows), levels, whole-level `+`.
pub(super) fn class_fault(name: &str) -> Option<&'static str> {
    let fine = |level: &str| {
        level == "+"
            || (!level.is_empty()
                && level
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':')))
    };
    if name.is_empty() || name.len() > MAX_BYTES {
        return Some("is not 1 to 255 bytes long");
    }
    (!name.split('/').all(fine))
        .then_some("has a level that is neither + nor letters, digits and underscores")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(topic: &str, wish: Wish) -> Option<String> {
        let custom = [TopicClass {
            name: "room/+/set".to_owned(),
            privilege: 3,
        }];
        denial("ABCDE12345", "dev01", &custom, false, topic, wish)
    }

    #[test]
    fn the_default_classes_have_the_documented_directions() {
        for (topic, publish, subscribe) in [
            ("ABCDE12345/dev01/control", false, true),
            ("ABCDE12345/dev01/event", true, false),
            ("ABCDE12345/dev01/data", true, true),
            ("ABCDE12345/dev01/room/7/set", true, true),
            ("$shadow/operation/ABCDE12345/dev01", true, false),
            ("$shadow/operation/result/ABCDE12345/dev01", false, true),
            ("$config/operation/ABCDE12345/dev01", true, false),
            ("$config/report/ABCDE12345/dev01", true, false),
            ("$config/operation/result/ABCDE12345/dev01", false, true),
            ("$ota/report/ABCDE12345/dev01", true, false),
            ("$ota/update/ABCDE12345/dev01", false, true),
            ("$rrpc/txd/ABCDE12345/dev01/17", true, false),
            ("$rrpc/rxd/ABCDE12345/dev01/+", false, true),
            ("$thing/up/property/ABCDE12345/dev01", true, false),
        ] {
            assert_eq!(ask(topic, Wish::Publish).is_none(), publish, "{topic}");
            assert_eq!(ask(topic, Wish::Subscribe).is_none(), subscribe, "{topic}");
        }
    }

    #[test]
    fn nothing_outside_the_devices_own_topics_is_allowed() {
        for topic in [
            "data",
            "ABCDE12345/dev02/data",
            "ABCDE12345/dev011/data",
            "ABCDE12345/dev01",
            "ABCDE12345/dev01/",
            "ABCDE12345/dev01/other",
            "ABCDE12345/dev01/data/x",
            "ABCDE12345/dev01/#",
            "ABCDE12345/+/data",
            "#",
            "$SYS/#",
            "$shadow/operation/ABCDE12345/dev02",
            "$rrpc/rxd/ABCDE12345/dev01/#",
            "$thing/down/#",
        ] {
            assert!(ask(topic, Wish::Subscribe).is_some(), "{topic}");
            assert!(ask(topic, Wish::Publish).is_some(), "{topic}");
        }
    }

    #[test]
    fn with_auto_create_any_own_topic_is_allowed_but_the_default_directions_stay() {
        let ask = |topic| denial("P", "d", &[], true, topic, Wish::Publish);
        assert_eq!(ask("P/d/anything/at/all"), None);
        assert!(ask("P/d/control").is_some());
        assert!(ask("P/e/anything").is_some());
    }

    #[test]
    fn names_over_the_limits_are_named_as_such() {
        assert_eq!(name_fault(&"a".repeat(255)), None);
        assert!(name_fault(&"a".repeat(256)).is_some());
        assert_eq!(name_fault(&"/".repeat(10)), None);
        assert!(name_fault(&"/".repeat(11)).is_some());
        assert!(name_fault("").is_some());
        assert!(name_fault("a\0").is_some());
    }

    #[test]
    fn a_class_name_is_made_of_words_and_whole_level_wildcards() {
        for good in ["a", "a/b_1", "room/+/set", "+"] {
            assert_eq!(class_fault(good), None, "{good}");
        }
        for bad in ["", "/a", "a/", "a+", "a#", "#", "a b", "中"] {
            assert!(class_fault(bad).is_some(), "{bad}");
        }
    }
}
