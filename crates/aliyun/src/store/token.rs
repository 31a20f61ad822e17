//! Tokens: what `ApplyToken` gave out, until when, for which topics, and whether it was revoked.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use mqttstack_base::message::TopicFilter;
use parking_lot::RwLock;

use crate::settings::{Settings, SettingsError, Token as TokenSettings};
use crate::topic;

/// How many bytes of tokens are remembered at a time; expired and revoked ones make room. Enough
/// for some 100,000 tokens of one topic.
const MAX_BYTES: usize = 64 << 20;

/// How many bytes a token is in Base64: 344 characters, as in the vendor's example.
pub(crate) const TOKEN_BYTES: usize = 256;

/// What a token allows, and as what it is presented: `R`, `W` or `RW`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub read: bool,
    pub write: bool,
}

impl Rights {
    /// The type of a token in a password or an upload.
    pub(crate) fn from_type(text: &str) -> Option<Self> {
        let (read, write) = match text {
            "R" => (true, false),
            "W" => (false, true),
            "RW" => (true, true),
            _ => return None,
        };
        Some(Self { read, write })
    }

    /// The `Actions` of `ApplyToken`: `R`, `W` or both with a comma between.
    pub(crate) fn from_actions(text: &str) -> Option<Self> {
        match text {
            "R,W" | "W,R" => Self::from_type("RW"),
            "RW" => None,
            other => Self::from_type(other),
        }
    }

    /// The spelling of a password and a notice.
    pub(crate) const fn as_str(self) -> &'static str {
        match (self.read, self.write) {
            (true, false) => "R",
            (false, true) => "W",
            _ => "RW",
        }
    }

    fn includes(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

/// One token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub instance: String,
    /// The access key id, or what else the caller of `ApplyToken` was.
    /// Empty for one that was configured.
    pub owner: String,
    pub resources: Vec<TopicFilter>,
    pub rights: Rights,
    pub expires: Timestamp,
    pub revoked: bool,
}

impl Token {
    /// About how many bytes it occupies, its text included.
    fn weight(&self, text: &str) -> usize {
        let resources = self.resources.iter();
        let resources: usize = resources.map(|filter| filter.as_str().len() + 24).sum();
        160 + text.len() + self.instance.len() + self.owner.len() + resources
    }

    /// Whether one of its resources covers a topic name or a filter.
    pub(crate) fn covers(&self, filter: &str) -> bool {
        let mut resources = self.resources.iter();
        resources.any(|resource| topic::covers(resource.as_str(), filter))
    }
}

/// Why a token is not good, with the code of `$SYS/tokenInvalidNotice` (documented on an older
/// English copy of the vendor's page on token client operations).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has not the form of a token.
    Unknown,
    /// It has the form of a token, and is none.
    Forged,
    Expired(Timestamp),
    Revoked,
    Instance(String),
    Rights {
        has: Rights,
        asked: Rights,
    },
    /// It is another account's.
    Account {
        owner: String,
        key_id: String,
    },
}

impl Fault {
    /// The code where the token is not for the topic.
    pub(crate) const RESOURCE: i8 = 4;

    /// The code where the token is not for what was done.
    pub(crate) const PERMISSION_TYPE: i8 = 5;

    /// The code in a notice. Which forgery has the signature's own code is assumed.
    pub(crate) const fn code(&self) -> i8 {
        match self {
            Self::Unknown => 1,
            Self::Expired(_) => 2,
            Self::Revoked => 3,
            Self::Instance(_) => Self::RESOURCE,
            Self::Rights { .. } => Self::PERMISSION_TYPE,
            Self::Forged => 8,
            Self::Account { .. } => -1,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => write!(f, "it is none that ApplyToken gave out here"),
            Self::Forged => write!(
                f,
                "it has the form of a token and is none that ApplyToken gave out here"
            ),
            Self::Expired(at) => write!(f, "it expired at {at}"),
            Self::Revoked => write!(f, "it was revoked"),
            Self::Instance(id) => write!(f, "it was applied for with instance {id:?}"),
            Self::Rights { has, asked } => write!(
                f,
                "it is presented as {} and allows {}",
                asked.as_str(),
                has.as_str()
            ),
            Self::Account { owner, key_id } => write!(
                f,
                "it was applied for by {owner:?}, the user name says {key_id:?}"
            ),
        }
    }
}

/// All tokens, by their text.
#[derive(Debug)]
pub(crate) struct Tokens {
    seeds: Known,
    all: RwLock<Known>,
}

/// Tokens, and how much they are together.
#[derive(Debug, Default, Clone)]
struct Known {
    by_text: HashMap<String, Token>,
    bytes: usize,
}

impl Known {
    fn insert(&mut self, text: &str, token: Token) {
        self.bytes += token.weight(text);
        if let Some(old) = self.by_text.insert(text.to_owned(), token) {
            self.bytes -= old.weight(text);
        }
    }

    /// Forgets those that are of no use to anybody any more.
    fn make_room(&mut self, now: Timestamp) {
        self.by_text
            .retain(|_, token| token.expires > now && !token.revoked);
        let left = self.by_text.iter();
        self.bytes = left.map(|(text, token)| token.weight(text)).sum();
    }
}

/// A configured token; the error says what is wrong with it.
fn seeded(
    instance: &str,
    settings: &Settings,
    seed: &TokenSettings,
) -> Result<(String, Token), String> {
    let text = seed.token.expose();
    if text.is_empty() || text.contains('|') {
        return Err("a token is not empty and has no |".to_owned());
    }
    let rights = Rights::from_actions(&seed.actions)
        .ok_or_else(|| format!("actions {:?} is none of R, W and R,W", seed.actions))?;
    let filter = |name: &String| {
        topic::parent_of_filter(name, settings)
            .and_then(|_| TopicFilter::parse(name).map_err(|problem| problem.to_string()))
            .map_err(|problem| format!("resource {name:?}: {problem}"))
    };
    let token = Token {
        instance: instance.to_owned(),
        owner: String::new(),
        resources: seed
            .resources
            .iter()
            .map(filter)
            .collect::<Result<_, _>>()?,
        rights,
        expires: seed.expires.unwrap_or(Timestamp::MAX),
        revoked: false,
    };
    Ok((text.to_owned(), token))
}

impl Tokens {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut seeds = Known::default();
        for (at, instance) in settings.instances.iter().enumerate() {
            for (index, seed) in instance.tokens.iter().enumerate() {
                let key = || format!("aliyun.instances[{at}].tokens[{index}]");
                let (text, token) = seeded(&instance.id, settings, seed)
                    .map_err(|problem| SettingsError::new(key(), problem))?;
                seeds.insert(&text, token);
            }
        }
        Ok(Self {
            all: RwLock::new(seeds.clone()),
            seeds,
        })
    }

    /// Remembers a token; false if there are too many.
    pub(crate) fn add(&self, text: &str, token: Token, now: Timestamp) -> bool {
        let mut tokens = self.all.write();
        let weight = token.weight(text);
        if tokens.bytes + weight > MAX_BYTES {
            tokens.make_room(now);
        }
        if tokens.bytes + weight > MAX_BYTES {
            return false;
        }
        tokens.insert(text, token);
        true
    }

    /// The token if it is good for an instance and a type.
    pub(crate) fn check(
        &self,
        text: &str,
        instance: &str,
        asked: Rights,
        now: Timestamp,
    ) -> Result<Token, Fault> {
        let tokens = self.all.read();
        let Some(token) = tokens.by_text.get(text) else {
            let formed = BASE64_STANDARD.decode(text).ok();
            let formed = formed.is_some_and(|bytes| bytes.len() == TOKEN_BYTES);
            return Err(if formed {
                Fault::Forged
            } else {
                Fault::Unknown
            });
        };
        if token.revoked {
            return Err(Fault::Revoked);
        }
        if token.expires <= now {
            return Err(Fault::Expired(token.expires));
        }
        if token.instance != instance {
            return Err(Fault::Instance(token.instance.clone()));
        }
        if !token.rights.includes(asked) {
            return Err(Fault::Rights {
                has: token.rights,
                asked,
            });
        }
        Ok(token.clone())
    }

    /// Revokes a token; false if the instance has no such token.
    pub(crate) fn revoke(&self, text: &str, instance: &str) -> bool {
        let mut tokens = self.all.write();
        let found = tokens
            .by_text
            .get_mut(text)
            .filter(|token| token.instance == instance);
        found.map(|token| token.revoked = true).is_some()
    }

    /// The token as it is; `None` if there is no such token.
    pub(crate) fn get(&self, text: &str) -> Option<Token> {
        self.all.read().by_text.get(text).cloned()
    }

    pub(super) fn reset(&self) {
        self.all.write().clone_from(&self.seeds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token of a hundred long topics.
    fn heavy(expires_s: i64) -> Token {
        let filter = TopicFilter::parse("x".repeat(128)).unwrap();
        Token {
            instance: "i".to_owned(),
            owner: "testid".to_owned(),
            resources: vec![filter; 100],
            rights: Rights::from_type("R").unwrap(),
            expires: Timestamp::from_second(expires_s).unwrap(),
            revoked: false,
        }
    }

    #[test]
    fn tokens_are_bounded_in_bytes_and_the_dead_make_room() {
        let tokens = Tokens::new(&Settings::default()).unwrap();
        let now = |second| Timestamp::from_second(second).unwrap();
        let mut added = 0;
        while tokens.add(&added.to_string(), heavy(100), now(0)) {
            added += 1;
        }
        assert!((1_000..10_000).contains(&added), "{added}");
        assert!(tokens.all.read().bytes <= MAX_BYTES);
        assert!(tokens.revoke("7", "i"));
        assert!(tokens.add("in the place of a revoked one", heavy(100), now(0)));
        assert!(!tokens.add("too many", heavy(200), now(99)));
        assert!(tokens.add("the first of the day after", heavy(200), now(100)));
        assert_eq!(tokens.all.read().by_text.len(), 1);
        tokens.reset();
        assert_eq!(tokens.all.read().bytes, 0);
    }
}
