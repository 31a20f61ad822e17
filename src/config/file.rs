//! Reads a configuration file: says key and line of what is wrong in it, and makes its relative
//! paths start at its own directory.

use std::borrow::Cow;
use std::path::Path;

use mqttstack_kit::wording::{self, Language};
use serde_path_to_error::{Path as KeyPath, Segment};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::variables::{Variable, nowhere};
use super::{Config, KeyError};

/// The keys whose values are paths, or lists of them.
const PATHS: [&[&str]; 8] = [
    &["ready_file"],
    &["data_dir"],
    &["tls", "certificate"],
    &["tls", "key"],
    &["tls", "client_ca"],
    &["azure", "trusted_ca"],
    &["nanomq", "jwt_public_keyfile"],
    &["tencent_tdmq", "ca_certificates"],
];

/// What a path of a certificate may be given as instead.
const PEM: &str = "-----BEGIN";

/// What a configuration is read from, later over earlier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a> {
    /// Values of keys at the top that stand in none of the others.
    pub(super) base: &'a [(&'static str, &'static str)],
    /// The text of the file.
    pub(super) text: &'a str,
    /// The file's own directory, at which relative paths in it start.
    pub(super) dir: Option<&'a Path>,
    /// The variables that set keys.
    pub(super) variables: &'a [Variable],
}

impl<'a> Layers<'a> {
    /// The text of a file alone.
    pub(super) const fn of(text: &'a str) -> Self {
        Self {
            base: &[],
            text,
            dir: None,
            variables: &[],
        }
    }

    /// Reads them all. A variable's value that is no text, where only a text will do, is read as
    /// one.
    pub(super) fn read(self) -> Result<Config, KeyError> {
        let mut as_text = vec![false; self.variables.len()];
        let mut retried: Option<(usize, KeyError)> = None;
        loop {
            let deserializer = toml::Deserializer::from(self.table(&as_text)?);
            let error = match serde_path_to_error::deserialize(deserializer) {
                Ok(config) => return Ok(config),
                Err(error) => error,
            };
            let told = self.tell(&error, &as_text);
            let Some(at) = self.setter(error.path()) else {
                return Err(told);
            };
            if let Some((_, first)) = retried.take_if(|(before, _)| *before == at) {
                return Err(first);
            }
            if as_text[at] || !self.variables[at].could_be_text() {
                return Err(told);
            }
            as_text[at] = true;
            retried = Some((at, told));
        }
    }

    fn table(self, as_text: &[bool]) -> Result<Spanned<DeTable<'a>>, KeyError> {
        let mut table = DeTable::parse(self.text).map_err(|error| KeyError {
            key: String::new(),
            line: line_of(self.text, &error),
            what: wording::plain(error.message(), Language::Toml),
            variable: None,
        })?;
        if let Some(dir) = self.dir {
            for keys in PATHS {
                anchor(&mut table, keys, dir);
            }
        }
        for (key, value) in self.base {
            let value = nowhere(DeValue::String(Cow::Borrowed(*value)));
            let place = table.get_mut().entry(nowhere(Cow::Borrowed(*key)));
            place.or_insert(value);
        }
        for (variable, as_text) in self.variables.iter().zip(as_text) {
            variable
                .set(&mut table, *as_text)
                .map_err(|what| KeyError {
                    key: variable.keys().join("."),
                    line: None,
                    what,
                    variable: Some(variable.name().to_owned()),
                })?;
        }
        Ok(table)
    }

    /// Says what is wrong, and where.
    fn tell(
        self,
        error: &serde_path_to_error::Error<toml::de::Error>,
        as_text: &[bool],
    ) -> KeyError {
        let path = error.path();
        let table = self.table(as_text).ok();
        let choices = table.and_then(|table| choices(table, path));
        let message = wording::plain(error.inner().message(), Language::Toml);
        let variable = self.setter(path).map(|at| &self.variables[at]);
        let known = message.strip_prefix("unknown key ").map(|rest| {
            let near = rest
                .split_once("did you mean \"")
                .and_then(|(_, rest)| rest.split_once("\"?"));
            (near.map(|(near, _)| near), &message)
        });
        let what = match (variable, known) {
            // The words of the file name a key; here it is a variable that is to be renamed.
            (Some(variable), Some((Some(near), _))) if names(path) == variable.keys() => {
                format!(
                    "there is no such key; did you mean {}?",
                    variable.renamed(near)
                )
            }
            _ => choices.unwrap_or(message),
        };
        KeyError {
            key: path.to_string(),
            line: variable
                .is_none()
                .then(|| line_of(self.text, error.inner()))
                .flatten(),
            what,
            variable: variable.map(|one| one.name().to_owned()),
        }
    }

    /// Which variable has set what is at this path: itself, a table around it or, where the
    /// table itself is unknown, a key in it.
    fn setter(self, path: &KeyPath) -> Option<usize> {
        let path = names(path);
        self.variables.iter().rposition(|variable| {
            let keys = variable.keys();
            path.starts_with(keys) || (!path.is_empty() && keys.starts_with(&path))
        })
    }
}

/// The names of the keys of a path; places in lists are no keys.
fn names(path: &KeyPath) -> Vec<String> {
    path.iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        })
        .collect()
}

fn anchor(table: &mut Spanned<DeTable<'_>>, keys: &[&str], dir: &Path) {
    let Some((last, tables)) = keys.split_last() else {
        return;
    };
    let mut place = table.get_mut();
    for key in tables {
        let Some(DeValue::Table(inner)) = place.get_mut(*key).map(Spanned::get_mut) else {
            return;
        };
        place = inner;
    }
    match place.get_mut(*last).map(Spanned::get_mut) {
        Some(DeValue::String(path)) => anchor_one(path, dir),
        Some(DeValue::Array(paths)) => {
            for path in paths.iter_mut() {
                if let DeValue::String(path) = path.get_mut() {
                    anchor_one(path, dir);
                }
            }
        }
        _ => {}
    }
}

fn anchor_one(path: &mut Cow<'_, str>, dir: &Path) {
    let is_path = !path.is_empty() && !path.contains(PEM);
    if is_path && Path::new(&**path).is_relative() {
        *path = Cow::Owned(dir.join(&**path).to_string_lossy().into_owned());
    }
}

/// The words that a key takes, told where its value has another type: the reader of a text would
/// have named them, so a text is put in its place.
fn choices(mut table: Spanned<DeTable<'_>>, path: &KeyPath) -> Option<String> {
    const NONE: &str = "?";
    let mut segments = path.iter();
    let Segment::Map { key } = segments.next()? else {
        return None;
    };
    let mut place = table.get_mut().get_mut(key.as_str())?;
    for segment in segments {
        place = match (segment, place.get_mut()) {
            (Segment::Map { key }, DeValue::Table(table)) => table.get_mut(key.as_str())?,
            (Segment::Seq { index }, DeValue::Array(items)) => items.get_mut(*index)?,
            _ => return None,
        };
    }
    let got = match place.get_mut() {
        DeValue::String(_) => return None,
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(word) => word.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Datetime(time) => time.to_string(),
    };
    *place.get_mut() = DeValue::String(Cow::Borrowed(NONE));
    let deserializer = toml::Deserializer::from(table);
    let error = serde_path_to_error::deserialize::<_, Config>(deserializer).err()?;
    let words = wording::plain(error.inner().message(), Language::Toml);
    let wanted = words.strip_suffix(&format!(", got {NONE:?}"))?;
    (error.path().to_string() == path.to_string() && wanted.contains('"'))
        .then(|| format!("{wanted}, got {got}"))
}

fn line_of(text: &str, error: &toml::de::Error) -> Option<usize> {
    let start = error.span()?.start;
    Some(1 + text.get(..start)?.matches('\n').count())
}
