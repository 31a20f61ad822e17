//! The configuration document that NanoMQ shows and lets callers set. It is a document of its
//! own: it names threads, queues and listeners that only NanoMQ's process has, and changing it
//! changes nothing else here but the login. V1's half (requests 11 and 12) is in `v1.rs`, V4's
//! (`/configuration`, `/reload`) in `v4.rs`.

pub(crate) mod v1;
pub(crate) mod v4;

use mqttstack_kit::wording::nearest;

use super::cjson::{Json, to_int, to_u64, until_nul};

/// A document: objects within objects, reached by dotted paths. It holds passwords, so its
/// `Debug` shows nothing of it.
#[derive(Clone, PartialEq)]
pub(crate) struct Document(Json);

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}

/// What a value must be to be taken, and what it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Bool,
    /// A number, cut to an `int`.
    Int,
    /// A number, cut to an unsigned integer of so many bits.
    Unsigned(u32),
    /// A number, cut to a C `float`.
    Real,
    /// A string, `basic` or `jwt`.
    AuthType,
}

/// One setting that a caller may change: where it stands in what is sent, where it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The dotted path in the request's `data`.
    pub from: &'static str,
    /// The dotted path in the document.
    pub to: &'static str,
    /// What is taken.
    pub kind: Kind,
}

/// A setting that is kept where it is sent.
const fn same(path: &'static str, kind: Kind) -> Setting {
    Setting {
        from: path,
        to: path,
        kind,
    }
}

impl Kind {
    /// The value as it is kept; `None` where it is of another type, which NanoMQ passes over
    /// without a word.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "C's conversions to float and back are what is wanted"
    )]
    pub(crate) fn take(self, value: &Json) -> Option<Json> {
        match self {
            Self::Text => value
                .text()
                .map(|text| Json::Text(until_nul(text).to_vec())),
            Self::Bool => value.bool().map(Json::Bool),
            Self::Int => value.number().map(|n| Json::from(f64::from(to_int(n)))),
            Self::Unsigned(bits) => value
                .number()
                .map(|n| Json::from(to_u64(n) & (u64::MAX >> (64 - bits)))),
            Self::Real => value.number().map(|n| Json::from(f64::from(n as f32))),
            Self::AuthType => value
                .text()
                .and_then(super::auth::AuthType::from_text)
                .map(|kind| Json::from(kind.as_str())),
        }
    }
}

impl Document {
    /// A document from JSON text of ours.
    fn parse(text: &str) -> Self {
        Self(super::cjson::read::text(text.as_bytes()).unwrap_or(Json::Object(Vec::new())))
    }

    /// The value at a dotted path.
    pub(crate) fn get(&self, path: &str) -> Option<&Json> {
        at(&self.0, path)
    }

    /// Puts a value at a dotted path, making the objects on the way.
    pub(crate) fn put(&mut self, path: &str, value: Json) {
        let mut place = &mut self.0;
        for key in path.split('.') {
            place = member(place, key);
        }
        *place = value;
    }

    /// Takes those of `settings` that `data` holds with the right type and `allowed` lets
    /// through. Returns the paths that changed.
    pub(crate) fn take(
        &mut self,
        data: &Json,
        settings: &[Setting],
        allowed: impl Fn(Kind) -> bool,
    ) -> Vec<&'static str> {
        let mut taken = Vec::new();
        for setting in settings.iter().filter(|setting| allowed(setting.kind)) {
            let given = at(data, setting.from);
            if let Some(value) = given.and_then(|value| setting.kind.take(value)) {
                self.put(setting.to, value);
                taken.push(setting.to);
            }
        }
        taken
    }

    /// A key of `over` that this document does not have, with the key that is likely meant. What is
    /// like no key here is an addition of the user's.
    pub(crate) fn misspelt(
        &self,
        over: &serde_json::Map<String, serde_json::Value>,
    ) -> Option<(String, String)> {
        let mut rest = vec![(String::new(), &self.0, over)];
        while let Some((prefix, own, over)) = rest.pop() {
            let Json::Object(members) = own else { continue };
            let names: Vec<_> = members
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name))
                .collect();
            for (key, value) in over {
                let path = format!("{prefix}{key}");
                match (own.get(key), value) {
                    (Some(own), serde_json::Value::Object(inner)) => {
                        rest.push((format!("{path}."), own, inner));
                    }
                    (Some(_), _) => {}
                    (None, _) => {
                        if let Some(near) = nearest(key, names.iter().map(AsRef::as_ref)) {
                            return Some((path, near.to_owned()));
                        }
                    }
                }
            }
        }
        None
    }

    /// Lays `over`, a configured document of the same shape, over this one.
    pub(crate) fn overlay(&mut self, over: &serde_json::Map<String, serde_json::Value>) {
        self.overlay_at("", over);
    }

    fn overlay_at(&mut self, prefix: &str, over: &serde_json::Map<String, serde_json::Value>) {
        for (key, value) in over {
            let path = format!("{prefix}{key}");
            match value {
                serde_json::Value::Object(inner) => self.overlay_at(&format!("{path}."), inner),
                other => self.put(&path, other.clone().into()),
            }
        }
    }
}

fn at<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(json, |json, key| json.get(key))
}

/// The member `key` of an object, made if need be.
fn member<'a>(json: &'a mut Json, key: &str) -> &'a mut Json {
    if !json.is_object() {
        *json = Json::Object(Vec::new());
    }
    let Json::Object(members) = json else {
        return json;
    };
    let index = members
        .iter()
        .position(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes()))
        .unwrap_or_else(|| {
            members.push((key.as_bytes().to_vec(), Json::Null));
            members.len() - 1
        });
    &mut members[index].1
}
