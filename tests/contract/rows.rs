//! What the rows of every vendor's tables have in common: files of `[[exchange]]` rows, long runs
//! of one character, JSON as it is written on the wire.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// `{x*300}` in a text of a table is 300 times `x`; a run repeats at most eight bytes.
fn run(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else {
        return text.to_owned();
    };
    let repeated = rest.split_once('*').and_then(|(unit, rest)| {
        let (count, rest) = rest.split_once('}')?;
        let plain = unit.len() <= 8 && !unit.contains(['{', '}']);
        Some((unit.repeat(count.parse().ok().filter(|_| plain)?), rest))
    });
    match repeated {
        Some((all, rest)) => format!("{before}{all}{}", run(rest)),
        None => format!("{before}{{{}", run(rest)),
    }
}

fn runs(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(run(&text)),
        Value::Array(items) => items.into_iter().map(runs).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, runs(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// The rows of a vendor's files, of which each name is one of `<folder>/<name>.toml`.
pub(crate) fn read<T: DeserializeOwned>(folder: &str, files: &[&str]) -> Vec<T> {
    #[derive(Deserialize)]
    struct File {
        exchange: Vec<Value>,
    }
    let mut rows = Vec::new();
    for file in files {
        let name = format!("{folder}/{file}.toml");
        for row in crate::table::<File>(&name).exchange {
            let shown = row["name"].to_string();
            let row = serde_json::from_value(runs(row));
            rows.push(row.unwrap_or_else(|error| panic!("{name}: {shown}: {error}")));
        }
    }
    rows
}

/// A text with what it is about in the places of `{}`.
pub(crate) fn about(text: &str, about: &[String]) -> String {
    about
        .iter()
        .fold(text.to_owned(), |text, one| text.replacen("{}", one, 1))
}

/// JSON fields in a table's text, which may hold `{Number}` in the place of a number.
pub(crate) fn object(text: &str) -> Map<String, Value> {
    let quoted = text.replace(":{Number}", ":\"{Number}\"");
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The same on the wire.
pub(crate) fn written(fields: &Value) -> String {
    fields.to_string().replace("\"{Number}\"", "{Number}")
}
