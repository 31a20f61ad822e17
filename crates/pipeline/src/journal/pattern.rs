//! What somebody looks for in the journal: a pattern over the fields of `field.rs`, read from
//! JSON. It says of each entry whether it matches and, if not, what agreed and what differed.

use std::borrow::Cow;

use mqttstack_base::ids;
use mqttstack_base::message::TopicFilter;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::expression::{Expression, MAX_COMPILED};
use super::field::{Getter, Shown};
use super::looking::{Halt, Looking};

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
    /// Equal to one of the spellings of an id.
    Id(String),
    Contains(String),
    Matches(Box<Expression>),
    Json(Value),
}

/// How many matchers one pattern may have, all fields together.
const MAX_TESTS: usize = 100;
/// How many of them may be regular expressions.
const MAX_EXPRESSIONS: usize = 8;

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

impl<T: Shown> Pattern<T> {
    /// Reads a pattern. Fields are named by nested objects or dotted names. A field is given a
    /// value (it must be equal; a topic with wildcards is a topic filter), or an object of
    /// `contains`, `matches` (a regular expression, unanchored), `json` (a subset of the field
    /// parsed as JSON), `text` and `base64`, all of which must hold.
    pub fn parse(wanted: &Map<String, Value>) -> Result<Self, PatternError> {
        let mut reader = Reader::default();
        let mut clauses = Vec::new();
        // A group of fields may stand in an object of its own, and so on.
        let mut groups = vec![(String::new(), wanted.iter())];
        while let Some((prefix, members)) = groups.last_mut() {
            let Some((key, value)) = members.next() else {
                groups.pop();
                continue;
            };
            let field = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            if let Some(clause) = reader.clause(&field, value)? {
                clauses.push(clause);
            } else if is_group::<T>(&field) {
                let Value::Object(inner) = value else {
                    return Err(error(&field, "it has fields of its own: give an object"));
                };
                groups.push((field, inner.iter()));
            } else {
                return Err(unknown::<T>(&field));
            }
        }
        Ok(Self { clauses })
    }

    /// Adds a clause: the field must equal `value`.
    pub fn equal(&mut self, field: &str, value: &Value) -> Result<(), PatternError> {
        let clause = Reader::default().clause(field, value)?;
        self.clauses
            .push(clause.ok_or_else(|| unknown::<T>(field))?);
        Ok(())
    }

    /// Whether the entry matches.
    pub fn matches(&self, entry: &T, looking: &mut Looking) -> Result<bool, Halt> {
        for clause in &self.clauses {
            if !clause.holds(&clause.values(entry), looking)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many clauses there are.
    pub(crate) fn clauses(&self) -> usize {
        self.clauses.len()
    }

    /// How many clauses hold for the entry.
    pub fn agreed(&self, entry: &T, looking: &mut Looking) -> Result<usize, Halt> {
        let mut agreed = 0;
        for clause in &self.clauses {
            agreed += usize::from(clause.holds(&clause.values(entry), looking)?);
        }
        Ok(agreed)
    }

    /// What of the pattern does not hold for the entry.
    pub fn differences(&self, entry: &T, looking: &mut Looking) -> Result<Vec<Difference>, Halt> {
        let mut differences = Vec::new();
        for clause in &self.clauses {
            let mut values = clause.values(entry);
            if !clause.holds(&values, looking)? {
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
        Ok(differences)
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
            Getter::Many(get) | Getter::Ids(get) => {
                or_null(get(entry).into_iter().map(Value::from).collect())
            }
            Getter::Named(get) => or_null(get(entry, &self.name)),
        }
    }

    /// Whether one of the values passes every test.
    fn holds(&self, values: &[Value], looking: &mut Looking) -> Result<bool, Halt> {
        'values: for value in values {
            for test in &self.tests {
                if !test.holds(&self.field, value, looking)? {
                    continue 'values;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// What reading one pattern has used up of what a pattern may have.
#[derive(Default)]
struct Reader {
    tests: usize,
    expressions: usize,
    compiled: usize,
}

fn or_null(values: Vec<Value>) -> Vec<Value> {
    if values.is_empty() {
        vec![Value::Null]
    } else {
        values
    }
}

fn is_group<T: Shown>(field: &str) -> bool {
    T::FIELDS.iter().any(|(name, _)| {
        name.strip_prefix(field)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

const OPERATORS: &str =
    "a matcher is a value or an object of contains, matches, json, text, base64";

impl Reader {
    /// The clause of one field; `None` if there is no such field.
    fn clause<T: Shown>(
        &mut self,
        field: &str,
        expected: &Value,
    ) -> Result<Option<Clause<T>>, PatternError> {
        let found = T::FIELDS.iter().find_map(|(name, getter)| {
            if let Some(group) = name.strip_suffix('*') {
                return Some((*getter, field.strip_prefix(group)?.to_owned()));
            }
            (*name == field).then(|| (*getter, String::new()))
        });
        let Some((getter, name)) = found else {
            return Ok(None);
        };
        let tests = self.tests(field, expected, &getter)?;
        Ok(Some(Clause {
            field: field.to_owned(),
            getter,
            name,
            expected: expected.clone(),
            tests,
        }))
    }

    fn tests<T>(
        &mut self,
        field: &str,
        expected: &Value,
        getter: &Getter<T>,
    ) -> Result<Vec<Test>, PatternError> {
        self.tests += expected.as_object().map_or(1, Map::len);
        if self.tests > MAX_TESTS {
            let why = format!("a pattern may have {MAX_TESTS} matchers, and this has more");
            return Err(error(field, &why));
        }
        match expected {
            Value::Object(operators) if operators.is_empty() => {
                Err(error(field, &format!("no matcher is given; {OPERATORS}")))
            }
            Value::Object(operators) => operators
                .iter()
                .map(|(name, operand)| self.operator(field, name, operand))
                .collect(),
            Value::Array(_) => Err(error(
                field,
                "an array cannot be compared; use {\"json\": [...]}",
            )),
            Value::String(text)
                if matches!(getter, Getter::Topic(_)) && text.contains(['+', '#']) =>
            {
                let filter = TopicFilter::parse(text.as_str())
                    .map_err(|why| error(field, &format!("not a topic filter: {why}")))?;
                Ok(vec![Test::Filter(filter)])
            }
            Value::String(text) if matches!(getter, Getter::Ids(_)) => {
                Ok(vec![Test::Id(ids::bare(text))])
            }
            plain => Ok(vec![Test::Equals(plain.clone())]),
        }
    }

    fn operator(&mut self, field: &str, name: &str, operand: &Value) -> Result<Test, PatternError> {
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
            "matches" => self.expression(field, text()?),
            "text" => Ok(Test::Equals(Value::from(text()?))),
            "base64" => Ok(Test::Equals(json!({ "base64": text()? }))),
            other => Err(error(
                field,
                &format!("unknown matcher {other:?}; {OPERATORS}"),
            )),
        }
    }

    fn expression(&mut self, field: &str, text: &str) -> Result<Test, PatternError> {
        if self.expressions == MAX_EXPRESSIONS {
            let why = format!("a pattern may have {MAX_EXPRESSIONS} regular expressions");
            return Err(error(field, &why));
        }
        let room = MAX_COMPILED.saturating_sub(self.compiled);
        let expression = Expression::new(text, Some(self.expressions), room)
            .map_err(|why| error(field, &why))?;
        self.expressions += 1;
        self.compiled += expression.size();
        Ok(Test::Matches(Box::new(expression)))
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
    fn holds(&self, field: &str, value: &Value, looking: &mut Looking) -> Result<bool, Halt> {
        let Some(text) = text_of(value) else {
            return Ok(match self {
                Self::Equals(expected) => same(expected, value),
                Self::Filter(_)
                | Self::Id(_)
                | Self::Contains(_)
                | Self::Matches(_)
                | Self::Json(_) => false,
            });
        };
        looking.step()?;
        looking.text(field, text.len())?;
        Ok(match self {
            Self::Equals(expected) => same(expected, value),
            Self::Filter(filter) => filter.matches(&text),
            Self::Id(id) => ids::bare(&text) == *id,
            Self::Contains(part) => text.contains(part),
            Self::Matches(expression) => expression.is_match(field, &text, looking)?,
            Self::Json(expected) => value
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
                .is_some_and(|parsed| is_subset(expected, &parsed)),
        })
    }
}

/// The text in which matchers look; `null` and bytes have none.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(bool) => Some(Cow::Owned(bool.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Equality in which 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

/// Whether `actual` has everything that `expected` has: objects may have more members, arrays
/// must have the same length.
fn is_subset(expected: &Value, actual: &Value) -> bool {
    let mut pairs = vec![(expected, actual)];
    while let Some(pair) = pairs.pop() {
        match pair {
            (Value::Object(expected), Value::Object(actual)) => {
                for (key, value) in expected {
                    let Some(other) = actual.get(key) else {
                        return false;
                    };
                    pairs.push((value, other));
                }
            }
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                pairs.extend(expected.iter().zip(actual));
            }
            (expected, actual) => {
                if !same(expected, actual) {
                    return false;
                }
            }
        }
    }
    true
}

/// The longest text that an explanation quotes, in characters.
const QUOTED: usize = 200;

fn abridge(value: Value) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(QUOTED) {
            Some((end, _)) => Value::from(format!("{}...", &text[..end])),
            None => Value::from(text),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
