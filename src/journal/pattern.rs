//! What somebody looks for in the journal: a pattern over the fields of `field.rs`, read from
//! JSON. It says of each entry whether it matches and, if not, what agreed and what differed.

use regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::field::{Getter, Shown};
use crate::broker::message::TopicFilter;

/// A conjunction of clauses; without any, it matches everything.
pub struct Pattern<T> {
    clauses: Vec<Clause<T>>,
}

struct Clause<T> {
    field: String,
    getter: Getter<T>,
    /// What stands behind a field's `.*`.
    name: String,
    expected: Value,
    tests: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    Equals(Value),
    Filter(TopicFilter),
    Contains(String),
    Matches(Regex),
    Json(Value),
}

/// Why a pattern cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct PatternError {
    /// The dotted name of the field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// One field that is not as the pattern wants it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The dotted name of the field.
    pub field: String,
    /// What the pattern asks for.
    pub expected: Value,
    /// What the entry has.
    pub actual: Value,
}

/// How near an entry comes to a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// How many clauses hold.
    pub agreed: usize,
    /// The clauses that do not.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether the entry matches.
    pub fn matches(&self) -> bool {
        self.differences.is_empty()
    }
}

impl<T: Shown> Pattern<T> {
    /// Reads a pattern. Fields are named by nested objects or dotted names. A field is given a
    /// value (it must be equal; a topic with wildcards is a topic filter), or an object of
    /// `contains`, `matches` (a regular expression, unanchored), `json` (a subset of the field
    /// parsed as JSON), `text` and `base64`, all of which must hold.
    pub fn parse(wanted: &Map<String, Value>) -> Result<Self, PatternError> {
        let mut clauses = Vec::new();
        flatten("", wanted, &mut clauses)?;
        Ok(Self { clauses })
    }

    /// Adds a clause: the field must equal `value`.
    pub fn equal(&mut self, field: &str, value: &Value) -> Result<(), PatternError> {
        self.clauses
            .push(clause(field, value)?.ok_or_else(|| unknown::<T>(field))?);
        Ok(())
    }

    /// Whether the entry matches.
    pub fn matches(&self, entry: &T) -> bool {
        self.clauses
            .iter()
            .all(|clause| clause.holds(&clause.values(entry)))
    }

    /// What of the pattern holds for the entry and what does not.
    pub fn compare(&self, entry: &T) -> Comparison {
        let mut differences = Vec::new();
        for clause in &self.clauses {
            let mut values = clause.values(entry);
            if !clause.holds(&values) {
                let actual = if values.len() == 1 {
                    values.remove(0)
                } else {
                    Value::from(values)
                };
                differences.push(Difference {
                    field: clause.field.clone(),
                    expected: clause.expected.clone(),
                    actual: abridge(actual),
                });
            }
        }
        Comparison {
            agreed: self.clauses.len() - differences.len(),
            differences,
        }
    }
}

impl<T: Shown> Default for Pattern<T> {
    fn default() -> Self {
        Self {
            clauses: Vec::new(),
        }
    }
}

impl<T> Clause<T> {
    /// The entry's values of this field, `null` for none.
    fn values(&self, entry: &T) -> Vec<Value> {
        match self.getter {
            Getter::One(get) | Getter::Topic(get) => vec![get(entry)],
            Getter::Named(get) => {
                let values = get(entry, &self.name);
                if values.is_empty() {
                    vec![Value::Null]
                } else {
                    values
                }
            }
        }
    }

    fn holds(&self, values: &[Value]) -> bool {
        values
            .iter()
            .any(|value| self.tests.iter().all(|test| test.holds(value)))
    }
}

fn flatten<T: Shown>(
    prefix: &str,
    wanted: &Map<String, Value>,
    clauses: &mut Vec<Clause<T>>,
) -> Result<(), PatternError> {
    for (key, value) in wanted {
        let field = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        if let Some(clause) = clause(&field, value)? {
            clauses.push(clause);
        } else if is_group::<T>(&field) {
            let Value::Object(inner) = value else {
                return Err(error(&field, "it has fields of its own: give an object"));
            };
            flatten(&field, inner, clauses)?;
        } else {
            return Err(unknown::<T>(&field));
        }
    }
    Ok(())
}

fn is_group<T: Shown>(field: &str) -> bool {
    T::FIELDS.iter().any(|(name, _)| {
        name.strip_prefix(field)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The clause of one field; `None` if there is no such field.
fn clause<T: Shown>(field: &str, expected: &Value) -> Result<Option<Clause<T>>, PatternError> {
    let found = T::FIELDS.iter().find_map(|(name, getter)| {
        if let Some(group) = name.strip_suffix('*') {
            return Some((*getter, field.strip_prefix(group)?.to_owned()));
        }
        (*name == field).then(|| (*getter, String::new()))
    });
    let Some((getter, name)) = found else {
        return Ok(None);
    };
    let tests = tests(field, expected, matches!(getter, Getter::Topic(_)))?;
    Ok(Some(Clause {
        field: field.to_owned(),
        getter,
        name,
        expected: expected.clone(),
        tests,
    }))
}

fn tests(field: &str, expected: &Value, is_topic: bool) -> Result<Vec<Test>, PatternError> {
    match expected {
        Value::Object(operators) if operators.is_empty() => {
            Err(error(field, &format!("no matcher is given; {OPERATORS}")))
        }
        Value::Object(operators) => operators
            .iter()
            .map(|(name, operand)| operator(field, name, operand))
            .collect(),
        Value::Array(_) => Err(error(
            field,
            "an array cannot be compared; use {\"json\": [...]}",
        )),
        Value::String(text) if is_topic && text.contains(['+', '#']) => {
            let filter = TopicFilter::parse(text.as_str())
                .map_err(|why| error(field, &format!("not a topic filter: {why}")))?;
            Ok(vec![Test::Filter(filter)])
        }
        plain => Ok(vec![Test::Equals(plain.clone())]),
    }
}

const OPERATORS: &str =
    "a matcher is a value or an object of contains, matches, json, text, base64";

fn operator(field: &str, name: &str, operand: &Value) -> Result<Test, PatternError> {
    if name == "json" {
        return Ok(Test::Json(operand.clone()));
    }
    let text = || {
        operand
            .as_str()
            .ok_or_else(|| error(field, &format!("{name} takes a text")))
    };
    match name {
        "contains" => Ok(Test::Contains(text()?.to_owned())),
        "matches" => Regex::new(text()?)
            .map(Test::Matches)
            .map_err(|why| error(field, &format!("not a regular expression: {why}"))),
        "text" => Ok(Test::Equals(Value::from(text()?))),
        "base64" => Ok(Test::Equals(json!({ "base64": text()? }))),
        other => Err(error(
            field,
            &format!("unknown matcher {other:?}; {OPERATORS}"),
        )),
    }
}

fn error(field: &str, why: &str) -> PatternError {
    PatternError {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

fn unknown<T: Shown>(field: &str) -> PatternError {
    let known: Vec<_> = T::FIELDS.iter().map(|(name, _)| *name).collect();
    error(
        field,
        &format!("no such field; there are {}", known.join(", ")),
    )
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Equals(expected) => same(expected, value),
            Self::Filter(filter) => value.as_str().is_some_and(|topic| filter.matches(topic)),
            Self::Contains(part) => text_of(value).is_some_and(|text| text.contains(part)),
            Self::Matches(regex) => text_of(value).is_some_and(|text| regex.is_match(&text)),
            Self::Json(expected) => value
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
                .is_some_and(|parsed| is_subset(expected, &parsed)),
        }
    }
}

/// The text in which `contains` and `matches` look; `null` and bytes have none.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

/// Equality in which 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

/// Whether `actual` has everything that `expected` has: objects may have more members, arrays
/// must have the same length.
fn is_subset(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected
            .iter()
            .all(|(key, value)| actual.get(key).is_some_and(|other| is_subset(value, other))),
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .zip(actual)
                    .all(|(value, other)| is_subset(value, other))
        }
        _ => same(expected, actual),
    }
}

/// The longest text that an explanation quotes, in characters.
const QUOTED: usize = 200;

fn abridge(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > QUOTED => {
            let mut short: String = text.chars().take(QUOTED).collect();
            short.push_str("...");
            Value::from(short)
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
