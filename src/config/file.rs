//! Reads a configuration file: says key and line of what is wrong in it, and makes its relative
//! paths start at its own directory.

use std::borrow::Cow;
use std::path::Path;

use mqttstack_kit::wording::{self, Language};
use serde_path_to_error::{Path as KeyPath, Segment};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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

/// Reads the text of a file. With `dir`, the file's own directory, relative paths start there.
pub(super) fn read(text: &str, dir: Option<&Path>) -> Result<Config, KeyError> {
    let parse = || {
        DeTable::parse(text).map_err(|error| KeyError {
            key: String::new(),
            line: line_of(text, &error),
            what: wording::plain(error.message(), Language::Toml),
        })
    };
    let mut table = parse()?;
    if let Some(dir) = dir {
        for keys in PATHS {
            anchor(&mut table, keys, dir);
        }
    }
    let deserializer = toml::Deserializer::from(table);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let choices = parse().ok().and_then(|table| choices(table, error.path()));
        let message = wording::plain(error.inner().message(), Language::Toml);
        KeyError {
            key: error.path().to_string(),
            line: line_of(text, error.inner()),
            what: choices.unwrap_or(message),
        }
    })
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
