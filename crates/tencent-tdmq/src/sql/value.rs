//! The values of a clause, and what its operators and functions make of them. As in SQL, what has a
//! NULL in it is unknown, which is NULL again.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Comparison, Function};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Truth(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

/// How many bytes of text may still be looked at.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }

    fn compare(&mut self, first: &Value<'_>, second: &Value<'_>) -> Option<()> {
        self.spend(first.length().min(second.length()))
    }
}

/// A number as it is written: digits, a point, an exponent.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let written =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let number: f64 = text
        .bytes()
        .all(written)
        .then(|| text.parse().ok())
        .flatten()?;
    number.is_finite().then_some(number)
}

impl<'a> Value<'a> {
    pub(super) fn of_text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    fn of_truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Truth)
    }

    /// Whether it is true; `None` is unknown.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Truth(truth) => Some(*truth),
            Self::Number(number) => Some(*number != 0.0),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::Null | Self::Text(_) => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number(text),
            Self::Null | Self::Truth(_) => None,
        }
    }

    fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Null => None,
            Self::Truth(truth) => Some(truth.to_string().into()),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Text(text) => Some(text),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 1,
        }
    }

    pub(super) fn not(&self) -> Self {
        Self::of_truth(self.truth().map(|truth| !truth))
    }

    pub(super) fn negated(&self) -> Self {
        self.number()
            .map_or(Self::Null, |number| Self::Number(-number))
    }

    /// `OR`, else `AND`: known as soon as one side decides.
    pub(super) fn joined(&self, other: &Self, or: bool) -> Self {
        let (first, second) = (self.truth(), other.truth());
        if first == Some(or) || second == Some(or) {
            return Self::Truth(or);
        }
        Self::of_truth(first.zip(second).map(|_| !or))
    }

    /// Texts by their characters, everything else as numbers or truth values; what cannot be
    /// compared is unknown.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Text(first), Self::Text(second)) => Some(first.cmp(second)),
            (Self::Truth(_), _) | (_, Self::Truth(_)) => {
                let both = self.truth().zip(other.truth());
                both.map(|(first, second)| first.cmp(&second))
            }
            _ => {
                let both = self.number().zip(other.number());
                both.and_then(|(first, second)| first.partial_cmp(&second))
            }
        }
    }

    pub(super) fn compared(
        &self,
        comparison: Comparison,
        other: &Self,
        budget: &mut Budget,
    ) -> Option<Self> {
        budget.compare(self, other)?;
        let order = self.order(other);
        Some(Self::of_truth(order.map(|order| comparison.holds(order))))
    }

    /// True if it equals one of the list, else unknown if that holds of any.
    pub(super) fn is_one_of(&self, list: &[Self], budget: &mut Budget) -> Option<Self> {
        let mut unknown = matches!(self, Self::Null);
        for one in list {
            budget.compare(self, one)?;
            match self.order(one) {
                Some(Ordering::Equal) => return Some(Self::Truth(true)),
                Some(_) => {}
                None => unknown = true,
            }
        }
        Some(Self::of_truth((!unknown).then_some(false)))
    }

    /// `%` stands for any characters, `_` for one.
    pub(super) fn like(self, pattern: &Self, budget: &mut Budget) -> Option<Self> {
        let (Some(text), Some(pattern)) = (self.into_text(), pattern.clone().into_text()) else {
            return Some(Self::Null);
        };
        like(&text, &pattern, budget).map(Self::Truth)
    }
}

/// Goes back to the last `%` where the rest does not fit, and spends for each character it sees.
fn like(text: &str, pattern: &str, budget: &mut Budget) -> Option<bool> {
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    let mut last: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        budget.spend(1)?;
        let (mut text_behind, mut pattern_behind) = (text.clone(), pattern.clone());
        match (text_behind.next(), pattern_behind.next()) {
            (_, Some('%')) => {
                last = Some((text, pattern_behind.clone()));
                (text, pattern) = (last.as_ref()?.0.clone(), pattern_behind);
                continue;
            }
            (Some(letter), Some(wanted)) if wanted == '_' || wanted == letter => {
                (text, pattern) = (text_behind, pattern_behind);
                continue;
            }
            (None, None) => return Some(true),
            _ => {}
        }
        let Some((from, behind)) = &mut last else {
            return Some(false);
        };
        if from.next().is_none() {
            return Some(false);
        }
        (text, pattern) = (from.clone(), behind.clone());
    }
}

/// A function of its arguments; `None` where it costs too much.
pub(super) fn call<'a>(
    function: Function,
    arguments: Vec<Value<'a>>,
    budget: &mut Budget,
) -> Option<Value<'a>> {
    if function == Function::Coalesce {
        let found = arguments.into_iter().find(|one| *one != Value::Null);
        return Some(found.unwrap_or(Value::Null));
    }
    let argument = arguments.into_iter().next()?;
    budget.spend(argument.length())?;
    if function == Function::Abs {
        let number = argument.number();
        return Some(number.map_or(Value::Null, |number| Value::Number(number.abs())));
    }
    let Some(text) = argument.into_text() else {
        return Some(Value::Null);
    };
    Some(match function {
        Function::Upper => Value::Text(text.to_uppercase().into()),
        Function::Lower => Value::Text(text.to_lowercase().into()),
        // Nobody has a text of 2^53 characters.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        _ => Value::Number(text.chars().count() as f64),
    })
}

/// The result of the first branch whose condition holds, or that equals the operand.
pub(super) fn case<'a>(
    operand: bool,
    parts: Vec<Value<'a>>,
    budget: &mut Budget,
) -> Option<Value<'a>> {
    let mut parts = parts.into_iter();
    let operand = if operand { Some(parts.next()?) } else { None };
    loop {
        let condition = parts.next()?;
        // The last one stands alone: the result of ELSE.
        let Some(result) = parts.next() else {
            return Some(condition);
        };
        let holds = match &operand {
            Some(operand) => {
                budget.compare(operand, &condition)?;
                operand.order(&condition) == Some(Ordering::Equal)
            }
            None => condition.truth() == Some(true),
        };
        if holds {
            return Some(result);
        }
    }
}
