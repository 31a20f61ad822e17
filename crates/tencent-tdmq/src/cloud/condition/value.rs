//! What a condition makes of a value, as jq 1.6 has it (jqlang.org/manual/v1.6).

use std::cmp::Ordering;

use mqttstack_pipeline::journal::{Expression, Halt, Looking};
use serde_json::Value;

use super::Term;

/// A function that yields at most one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Not,
    Length,
    Type,
    AsciiDowncase,
    AsciiUpcase,
    ToNumber,
    ToString,
    Select,
    Has,
    Contains,
    StartsWith,
    EndsWith,
    Test,
}

const NAMES: [(&str, Function); 13] = [
    ("not", Function::Not),
    ("length", Function::Length),
    ("type", Function::Type),
    ("ascii_downcase", Function::AsciiDowncase),
    ("ascii_upcase", Function::AsciiUpcase),
    ("tonumber", Function::ToNumber),
    ("tostring", Function::ToString),
    ("select", Function::Select),
    ("has", Function::Has),
    ("contains", Function::Contains),
    ("startswith", Function::StartsWith),
    ("endswith", Function::EndsWith),
    ("test", Function::Test),
];

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, function)| *function)
    }

    pub(super) const fn takes_argument(self) -> bool {
        matches!(
            self,
            Self::Select
                | Self::Has
                | Self::Contains
                | Self::StartsWith
                | Self::EndsWith
                | Self::Test
        )
    }
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// The evaluation of one condition.
pub(super) struct Evaluation<'a> {
    looking: &'a mut Looking,
    /// Why it ended early.
    halt: Option<Halt>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(looking: &'a mut Looking) -> Self {
        Self {
            looking,
            halt: None,
        }
    }

    /// Whether what comes out of a term is a value that counts as true.
    pub(super) fn holds(mut self, term: &Term, input: &Value) -> Result<bool, Halt> {
        let value = self.evaluate(term, input);
        match self.halt {
            Some(halt) => Err(halt),
            None => Ok(value.is_some_and(|value| is_true(&value))),
        }
    }

    /// The value; `None` after an error, and where `select` has none.
    fn evaluate(&mut self, term: &Term, input: &Value) -> Option<Value> {
        match term {
            Term::Input => Some(input.clone()),
            Term::Literal(value) => Some(value.clone()),
            Term::Index(of, index) => at(&self.evaluate(of, input)?, index),
            Term::Try(term) => self.evaluate(term, input),
            Term::Pipe(first, second) => {
                let value = self.evaluate(first, input)?;
                self.evaluate(second, &value)
            }
            Term::Alternative(first, second) => match self.evaluate(first, input) {
                Some(value) if is_true(&value) => Some(value),
                _ => self.evaluate(second, input),
            },
            Term::Or(first, second) => {
                let holds = is_true(&self.evaluate(first, input)?)
                    || is_true(&self.evaluate(second, input)?);
                Some(holds.into())
            }
            Term::And(first, second) => {
                let holds = is_true(&self.evaluate(first, input)?)
                    && is_true(&self.evaluate(second, input)?);
                Some(holds.into())
            }
            Term::Compare(first, operator, second) => {
                let first = self.evaluate(first, input)?;
                let order = order(&first, &self.evaluate(second, input)?);
                Some(stands(operator, order).into())
            }
            Term::Call(function, argument) => self.call(*function, argument.as_deref(), input),
        }
    }

    fn call(
        &mut self,
        function: Function,
        argument: Option<&Term>,
        input: &Value,
    ) -> Option<Value> {
        let Some(argument) = argument else {
            return plain(function, input);
        };
        let argument = self.evaluate(argument, input)?;
        let texts = match (input, &argument) {
            (Value::String(text), Value::String(part)) => Some((text.as_str(), part.as_str())),
            _ => None,
        };
        match function {
            Function::Select => is_true(&argument).then(|| input.clone()),
            Function::Contains => contains(input, &argument).map(Value::from),
            Function::StartsWith => texts.map(|(text, part)| text.starts_with(part).into()),
            Function::EndsWith => texts.map(|(text, part)| text.ends_with(part).into()),
            Function::Test => {
                let (text, part) = texts?;
                self.matches(text, part).map(Value::from)
            }
            Function::Has => match (input, argument) {
                (Value::Object(fields), Value::String(name)) => {
                    Some(fields.contains_key(&name).into())
                }
                (Value::Array(items), Value::Number(at)) => {
                    let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                    Some(at.is_some_and(|at| at < items.len()).into())
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn matches(&mut self, text: &str, expression: &str) -> Option<bool> {
        let expression = Expression::alone(expression).ok()?;
        let found = expression.is_match("FilterExpression", text, self.looking);
        match found {
            Ok(found) => Some(found),
            Err(halt) => {
                self.halt = Some(halt);
                None
            }
        }
    }
}

fn stands(operator: &str, order: Ordering) -> bool {
    match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn at(value: &Value, index: &Value) -> Option<Value> {
    match (value, index) {
        (Value::Null, _) => Some(Value::Null),
        (Value::Object(fields), Value::String(name)) => {
            Some(fields.get(name).cloned().unwrap_or_default())
        }
        (Value::Array(items), Value::Number(number)) => {
            let at = number.as_i64()?;
            let length = i64::try_from(items.len()).ok()?;
            let at = usize::try_from(if at < 0 { at + length } else { at });
            let item = at.ok().and_then(|at| items.get(at));
            Some(item.cloned().unwrap_or_default())
        }
        _ => None,
    }
}

/// null, false, true, numbers, strings, arrays, objects.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a.total_cmp(&b)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => all(a.iter(), b.iter()),
        (Value::Object(a), Value::Object(b)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = object.keys().cloned().collect();
                names.sort();
                names
            };
            let (in_a, in_b) = (names(a), names(b));
            let values = || {
                all(
                    in_a.iter().map(|name| &a[name]),
                    in_b.iter().map(|name| &b[name]),
                )
            };
            in_a.cmp(&in_b).then_with(values)
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn all<'a>(
    mut a: impl Iterator<Item = &'a Value>,
    mut b: impl Iterator<Item = &'a Value>,
) -> Ordering {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match order(a, b) {
                Ordering::Equal => {}
                other => return other,
            },
        }
    }
}

fn contains(whole: &Value, part: &Value) -> Option<bool> {
    match (whole, part) {
        (Value::String(whole), Value::String(part)) => Some(whole.contains(part.as_str())),
        (Value::Array(whole), Value::Array(parts)) => Some(
            parts
                .iter()
                .all(|part| whole.iter().any(|one| contains(one, part).unwrap_or(false))),
        ),
        (Value::Object(whole), Value::Object(parts)) => Some(parts.iter().all(|(name, part)| {
            let one = whole.get(name);
            one.is_some_and(|one| contains(one, part).unwrap_or(false))
        })),
        _ if rank(whole) == rank(part) => Some(order(whole, part).is_eq()),
        _ => None,
    }
}

/// The functions without an argument.
fn plain(function: Function, input: &Value) -> Option<Value> {
    let kinds = [
        "null", "boolean", "boolean", "number", "string", "array", "object",
    ];
    match (function, input) {
        (Function::Not, _) => Some((!is_true(input)).into()),
        (Function::Type, _) => Some(kinds[usize::from(rank(input))].into()),
        (Function::ToString, Value::String(_)) | (Function::ToNumber, Value::Number(_)) => {
            Some(input.clone())
        }
        (Function::ToString, _) => Some(input.to_string().into()),
        (Function::ToNumber, Value::String(text)) => {
            let number: serde_json::Number = text.trim().parse().ok()?;
            Some(number.into())
        }
        (Function::AsciiDowncase, Value::String(text)) => Some(text.to_ascii_lowercase().into()),
        (Function::AsciiUpcase, Value::String(text)) => Some(text.to_ascii_uppercase().into()),
        (Function::Length, Value::Null) => Some(0.into()),
        (Function::Length, Value::String(text)) => Some(text.chars().count().into()),
        (Function::Length, Value::Array(items)) => Some(items.len().into()),
        (Function::Length, Value::Object(fields)) => Some(fields.len().into()),
        (Function::Length, Value::Number(number)) => Some(number.as_f64().map(f64::abs)?.into()),
        _ => None,
    }
}
