//! The SQL filter of a subscription: the user property `$where` of a SUBSCRIBE is a WHERE clause,
//! and the client gets the messages for which it holds.
//!
//! Source: "Configuring SQL Filtering", cloud.tencent.com/document/product/1778/122027
//! (2026-01-28), tencentcloud.com/document/product/1294/76454 (2026-04-01): the operators, the
//! functions, text in single quotes, the first `$where` counts, of several properties of one name
//! the last, a name that is not there is NULL. Its examples have the names `payload.temp`, `temp`,
//! `clientid`, `topic` and `qos`.
//!
//! Assumed, since the page does not say it: what is done with a clause that cannot be read (the
//! subscription is refused); that a user property comes before the message's own field of the same
//! name; that `payload.a.b` leads into a payload that is JSON; that numbers and texts are compared as
//! numbers; that an unknown condition (NULL) does not hold.
//!
//! A clause is read once, by `sql/tokens.rs` and `sql/reader.rs`, into steps for a stack machine,
//! which is here; values and what is done with them are in `sql/value.rs`. Nothing is recursive, and
//! [`MAX_BYTES`] and [`MAX_WORK`] bound what a clause can cost.

mod reader;
mod tokens;
mod value;

use std::borrow::Cow;
use std::cell::OnceCell;

use mqttstack_broker::dialect::{MessageFilter, Publish};
use serde_json::Value as Json;

use self::reader::read;
use self::value::{Budget, Value};

/// The user property that holds the clause.
const PROPERTY: &str = "$where";
/// The longest clause in bytes (assumed).
const MAX_BYTES: usize = 4_096;
/// How many bytes of text one message may cost a clause (assumed). A condition that costs more is
/// unknown.
const MAX_WORK: usize = 1 << 20;
/// The longest payload in bytes that is read as JSON (assumed); the fields of a longer one are NULL.
const MAX_JSON: usize = 64 << 10;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Upper,
    Lower,
    Length,
    Abs,
    Coalesce,
}

/// One step of a clause: what it takes from the stack it gives back as one value.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Text(String),
    Number(f64),
    Truth(bool),
    Null,
    Field(String),
    Not,
    Negate,
    And,
    Or,
    Compare(Comparison),
    Like,
    IsNull,
    /// A value and so many more that it may be equal to.
    In(usize),
    /// A function of so many values.
    Call(Function, usize),
    /// `CASE`: an operand, if it has one; so many pairs of condition and result; a result for
    /// everything else.
    Case {
        operand: bool,
        branches: usize,
    },
}

/// A clause that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Where(Vec<Step>);

impl Where {
    /// The clause among a SUBSCRIBE's user properties, if there is one; the error says what is not
    /// understood.
    pub(super) fn of(properties: &[(String, String)]) -> Option<Result<Self, String>> {
        let (_, clause) = properties.iter().find(|(name, _)| name == PROPERTY)?;
        Some(Self::parse(clause))
    }

    fn parse(clause: &str) -> Result<Self, String> {
        if clause.len() > MAX_BYTES {
            let length = clause.len();
            return Err(format!("it has {length} bytes, {MAX_BYTES} are allowed"));
        }
        read(clause).map(Self)
    }

    /// What comes out for a message; `None` where it costs too much.
    fn evaluate<'a>(&'a self, message: &Message<'a>) -> Option<Value<'a>> {
        let mut stack: Vec<Value<'a>> = Vec::new();
        let mut budget = Budget::new(MAX_WORK);
        for step in &self.0 {
            let value = match step {
                Step::Text(text) => Value::Text(Cow::Borrowed(text)),
                Step::Number(number) => Value::Number(*number),
                Step::Truth(truth) => Value::Truth(*truth),
                Step::Null => Value::Null,
                Step::Field(name) => message.field(name),
                Step::Not => stack.pop()?.not(),
                Step::Negate => stack.pop()?.negated(),
                Step::IsNull => Value::Truth(matches!(stack.pop()?, Value::Null)),
                Step::And | Step::Or => {
                    let (second, first) = (stack.pop()?, stack.pop()?);
                    first.joined(&second, *step == Step::Or)
                }
                Step::Compare(comparison) => {
                    let (second, first) = (stack.pop()?, stack.pop()?);
                    first.compared(*comparison, &second, &mut budget)?
                }
                Step::Like => {
                    let (pattern, text) = (stack.pop()?, stack.pop()?);
                    text.like(&pattern, &mut budget)?
                }
                Step::In(count) => {
                    let list = stack.split_off(stack.len().checked_sub(*count)?);
                    stack.pop()?.is_one_of(&list, &mut budget)?
                }
                Step::Call(function, count) => {
                    let arguments = stack.split_off(stack.len().checked_sub(*count)?);
                    value::call(*function, arguments, &mut budget)?
                }
                Step::Case { operand, branches } => {
                    let count = usize::from(*operand) + 2 * branches + 1;
                    let parts = stack.split_off(stack.len().checked_sub(count)?);
                    value::case(*operand, parts, &mut budget)?
                }
            };
            stack.push(value);
        }
        stack.pop()
    }
}

impl MessageFilter for Where {
    fn takes(&self, publish: &Publish<'_>) -> bool {
        let message = Message {
            publish,
            json: OnceCell::new(),
        };
        self.evaluate(&message)
            .is_some_and(|value| value.truth() == Some(true))
    }
}

/// What the names of a clause stand for.
struct Message<'a> {
    publish: &'a Publish<'a>,
    json: OnceCell<Option<Json>>,
}

impl<'a> Message<'a> {
    fn field(&self, name: &str) -> Value<'a> {
        let properties = &self.publish.properties.user_properties;
        if let Some((_, value)) = properties.iter().rev().find(|(known, _)| known == name) {
            return Value::Text(Cow::Borrowed(value));
        }
        match name {
            "clientid" => self.publish.client_id.map_or(Value::Null, Value::of_text),
            "topic" => Value::of_text(self.publish.topic),
            "qos" => Value::Number(self.publish.qos.level().into()),
            "payload" => {
                std::str::from_utf8(self.publish.payload).map_or(Value::Null, Value::of_text)
            }
            _ => name
                .strip_prefix("payload.")
                .map_or(Value::Null, |path| self.json_field(path)),
        }
    }

    fn json_field(&self, path: &str) -> Value<'a> {
        let payload = self.publish.payload;
        let read = || {
            (payload.len() <= MAX_JSON)
                .then(|| serde_json::from_slice(payload).ok())
                .flatten()
        };
        let whole = self.json.get_or_init(read).as_ref();
        let found = path
            .split('.')
            .try_fold(whole, |json, name| Some(json?.get(name)));
        match found.flatten() {
            Some(Json::String(text)) => Value::Text(Cow::Owned(text.clone())),
            Some(Json::Bool(truth)) => Value::Truth(*truth),
            Some(Json::Number(number)) => number.as_f64().map_or(Value::Null, Value::Number),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests;
