//! Any key of the configuration as a variable: `MQTTSTACK__ALIYUN__AUTO_CREATE=false`. Which
//! variables there are is read from the environment in `cli/`; here is what such a name and such a
//! value mean. `file.rs` lays them over the file.

use std::borrow::Cow;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What the name of such a variable begins with.
pub const PREFIX: &str = "MQTTSTACK__";
/// What stands between a table and its key.
const SEPARATOR: &str = "__";

/// A variable that sets one key.
#[derive(Clone)]
pub struct Variable {
    name: String,
    keys: Vec<String>,
    text: String,
}

/// The value may be a secret.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

/// Why a variable with the prefix sets no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name}: expected {PREFIX}KEY or {PREFIX}TABLE__KEY, two underscores before each part of the key"
)]
pub struct NotAKey {
    name: String,
}

impl Variable {
    /// The variable of this name, which begins with [`PREFIX`]. A part of the name in capitals is
    /// a key in small letters; one with a small letter in it is the key as it stands.
    pub fn new(name: &str, value: &str) -> Result<Self, NotAKey> {
        let wrong = || NotAKey {
            name: name.to_owned(),
        };
        let path = name.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let keys: Vec<String> = path.split(SEPARATOR).map(key).collect();
        if keys.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            keys,
            text: value.to_owned(),
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The key that it sets, with its tables.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// What the variable would be called if the key had this name instead.
    pub(super) fn renamed(&self, key: &str) -> String {
        let tables = self.keys.split_last().map_or(&[][..], |(_, tables)| tables);
        let mut name = PREFIX.to_owned();
        for table in tables {
            name.push_str(&part(table));
            name.push_str(SEPARATOR);
        }
        name + &part(key)
    }

    /// The value: TOML, or a text where it is none.
    fn value(&self) -> Result<DeValue<'_>, String> {
        match DeValue::parse(self.text.trim()) {
            Ok(value) => Ok(value.into_inner()),
            // What begins as a TOML list, table or text was meant as one.
            Err(error) if self.text.trim_start().starts_with(['[', '{', '"', '\'']) => {
                Err(format!(
                    "expected a TOML value (false, 5, \"text\", [1, 2], {{ key = 1 }}) or a bare word; {}",
                    error.message()
                ))
            }
            Err(_) => Ok(self.as_text()),
        }
    }

    fn as_text(&self) -> DeValue<'_> {
        DeValue::String(Cow::Borrowed(&self.text))
    }

    /// Whether the value, read as TOML, is something else than a text and might have been meant as
    /// one: a password of digits.
    pub(super) fn could_be_text(&self) -> bool {
        matches!(
            self.value(),
            Ok(DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_))
        )
    }

    /// Sets the key in a table.
    pub(super) fn set<'a>(
        &'a self,
        table: &mut Spanned<DeTable<'a>>,
        as_text: bool,
    ) -> Result<(), String> {
        let value = if as_text {
            self.as_text()
        } else {
            self.value()?
        };
        let Some((last, tables)) = self.keys.split_last() else {
            return Ok(());
        };
        let mut place = table.get_mut();
        for key in tables {
            let inner = place
                .entry(nowhere(Cow::Borrowed(key.as_str())))
                .or_insert_with(|| nowhere(DeValue::Table(DeTable::new())));
            place = match inner.get_mut() {
                DeValue::Table(inner) => inner,
                DeValue::Array(_) => {
                    return Err(format!(
                        "{key} is a list in the file, and a variable sets a list as a whole"
                    ));
                }
                _ => return Err(format!("{key} is no table in the file")),
            };
        }
        place.insert(nowhere(Cow::Borrowed(last.as_str())), nowhere(value));
        Ok(())
    }
}

/// A value that stands in no file.
pub(super) fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn key(part: &str) -> String {
    if part.chars().any(char::is_lowercase) {
        part.to_owned()
    } else {
        part.to_lowercase()
    }
}

fn part(key: &str) -> String {
    if key.chars().any(char::is_uppercase) {
        key.to_owned()
    } else {
        key.to_uppercase()
    }
}
