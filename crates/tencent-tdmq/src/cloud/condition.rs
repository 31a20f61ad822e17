//! The filter of `DescribeMessageByTopic`: a condition in jq over a message's body. Of jq there is
//! what yields one value: paths, literals, comparisons, `and`, `or`, `not`, `//`, `|` and some
//! functions. What makes many values of one, or loops, is not there: a call would have no bound.
//!
//! Reading is here, evaluation in `condition/value.rs`.

mod value;

use mqttstack_pipeline::journal::{Halt, Looking};
use serde_json::Value;

use self::value::{Evaluation, Function};

/// How deep brackets may be nested, and how long a condition may be: it is read and evaluated on
/// the stack.
const MAX_DEPTH: usize = 32;
const MAX_BYTES: usize = 1_024;

/// A part of a condition.
#[derive(Debug, Clone, PartialEq)]
enum Term {
    /// `.`
    Input,
    /// A literal.
    Literal(Value),
    /// `a.name`, `a["name"]`, `a[0]`
    Index(Box<Term>, Value),
    /// `a?`
    Try(Box<Term>),
    /// `a | b`
    Pipe(Box<Term>, Box<Term>),
    /// `a // b`
    Alternative(Box<Term>, Box<Term>),
    /// `a or b`
    Or(Box<Term>, Box<Term>),
    /// `a and b`
    And(Box<Term>, Box<Term>),
    /// `a == b` and the like.
    Compare(Box<Term>, &'static str, Box<Term>),
    /// A function and its argument.
    Call(Function, Option<Box<Term>>),
}

/// A condition that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition(Term);

impl Condition {
    /// Reads a condition; the error says what is not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let mut reader = Reader {
            rest: text,
            depth: 0,
        };
        let term = reader.pipe()?;
        match reader.peek() {
            "" => Ok(Self(term)),
            rest => Err(format!("{rest:?} is not understood")),
        }
    }

    /// Whether a body meets it: it is JSON, and what comes out is neither `false` nor `null`.
    pub(super) fn is_met_by(&self, body: &[u8], looking: &mut Looking) -> Result<bool, Halt> {
        looking.step()?;
        looking.text("FilterExpression", body.len())?;
        let Ok(body) = serde_json::from_slice(body) else {
            return Ok(false);
        };
        Evaluation::new(looking).holds(&self.0, &body)
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

impl<'a> Reader<'a> {
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn take(&mut self, symbol: &str) -> bool {
        let Some(behind) = self.peek().strip_prefix(symbol) else {
            return false;
        };
        let word = symbol.ends_with(is_name);
        if word && behind.starts_with(is_name) {
            return false;
        }
        self.rest = behind;
        true
    }

    fn expect(&mut self, symbol: &str) -> Result<(), String> {
        if self.take(symbol) {
            return Ok(());
        }
        Err(format!("{symbol:?} is expected at {:?}", self.rest))
    }

    fn name(&mut self) -> &'a str {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, behind) = self.rest.split_at(end);
        self.rest = behind;
        name
    }

    fn pipe(&mut self) -> Result<Term, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let mut term = self.alternative()?;
        while self.take("|") {
            term = Term::Pipe(Box::new(term), Box::new(self.alternative()?));
        }
        self.depth -= 1;
        Ok(term)
    }

    /// `//` binds more loosely than `or`, and to the right.
    fn alternative(&mut self) -> Result<Term, String> {
        let mut all = vec![self.or()?];
        while self.take("//") {
            all.push(self.or()?);
        }
        let fold = |behind, term| Term::Alternative(Box::new(term), Box::new(behind));
        let last = all.pop().unwrap_or(Term::Input);
        Ok(all.into_iter().rev().fold(last, fold))
    }

    fn or(&mut self) -> Result<Term, String> {
        let mut term = self.and()?;
        while self.take("or") {
            term = Term::Or(Box::new(term), Box::new(self.and()?));
        }
        Ok(term)
    }

    fn and(&mut self) -> Result<Term, String> {
        let mut term = self.comparison()?;
        while self.take("and") {
            term = Term::And(Box::new(term), Box::new(self.comparison()?));
        }
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Term, String> {
        let term = self.postfix()?;
        for operator in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take(operator) {
                return Ok(Term::Compare(
                    Box::new(term),
                    operator,
                    Box::new(self.postfix()?),
                ));
            }
        }
        Ok(term)
    }

    fn postfix(&mut self) -> Result<Term, String> {
        let mut term = self.primary()?;
        loop {
            if self.rest.starts_with('[') {
                term = self.bracket(term)?;
            } else if self.rest.starts_with('?') {
                self.rest = &self.rest[1..];
                term = Term::Try(Box::new(term));
            } else if self.rest.starts_with('.') {
                self.rest = &self.rest[1..];
                term = self.field(term)?;
            } else {
                return Ok(term);
            }
        }
    }

    /// What stands behind a dot.
    fn field(&mut self, of: Term) -> Result<Term, String> {
        if self.rest.starts_with('[') {
            return self.bracket(of);
        }
        if self.rest.starts_with('"') {
            return Ok(Term::Index(Box::new(of), self.literal()?));
        }
        match self.name() {
            "" => Err(format!("a name is expected at {:?}", self.rest)),
            name => Ok(Term::Index(Box::new(of), name.into())),
        }
    }

    fn bracket(&mut self, of: Term) -> Result<Term, String> {
        self.expect("[")?;
        self.peek();
        let index = self.literal()?;
        self.expect("]")?;
        if index.is_string() || index.is_i64() {
            return Ok(Term::Index(Box::new(of), index));
        }
        Err(format!("{index} is no index"))
    }

    /// A string or number of JSON.
    fn literal(&mut self) -> Result<Value, String> {
        let text = self.rest;
        let wrong = || format!("{text:?} is not understood");
        let in_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = if text.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
            strings.next().and_then(Result::ok).ok_or_else(wrong)?;
            strings.byte_offset()
        } else {
            text.find(|c| !in_number(c)).unwrap_or(text.len())
        };
        self.rest = &text[end..];
        serde_json::from_str(&text[..end]).map_err(|_| wrong())
    }

    fn primary(&mut self) -> Result<Term, String> {
        let text = self.peek();
        if self.take("(") {
            let term = self.pipe()?;
            self.expect(")")?;
            return Ok(term);
        }
        if let Some(behind) = text.strip_prefix('.') {
            self.rest = behind;
            let path = behind.starts_with(|c| is_name(c) || c == '"' || c == '[');
            return if path {
                self.field(Term::Input)
            } else {
                Ok(Term::Input)
            };
        }
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.take(word) {
                return Ok(Term::Literal(value));
            }
        }
        if text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
            return self.literal().map(Term::Literal);
        }
        self.call()
    }

    fn call(&mut self) -> Result<Term, String> {
        let text = self.rest;
        let name = match self.name() {
            "" => text,
            name => name,
        };
        let function =
            Function::named(name).ok_or_else(|| format!("{name:?} is not understood"))?;
        if !function.takes_argument() {
            return Ok(Term::Call(function, None));
        }
        self.expect("(")?;
        let argument = self.pipe()?;
        self.expect(")")?;
        Ok(Term::Call(function, Some(Box::new(argument))))
    }
}

#[cfg(test)]
mod tests;
