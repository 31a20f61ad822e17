//! Client group queries (mqtt-client-groups page): comparisons of attributes and of the
//! authentication name, joined by `and` (binds tighter) and `or`, with parentheses.

use super::attribute::{Attribute, Identity, is_key};
use super::limits;
use super::parsed::Language;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Nobody: the query is empty.
    Nobody,
    /// All hold. A list: a query of thousands of terms must not nest.
    And(Vec<Query>),
    /// One holds.
    Or(Vec<Query>),
    /// A comparison.
    Compare(Field, Operator, Attribute),
    /// One of several values.
    In(Field, Vec<Attribute>),
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// `authenticationName`.
    AuthenticationName,
    /// `attributes.x`.
    Attribute(String),
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `<>` and `!=`
    Different,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Lexeme {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 11] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]"];

/// Parentheses may not nest deeper: the parser recurses.
const MAX_DEPTH: usize = 32;

impl Language for Query {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > limits::QUERY {
            return Err(format!(
                "the query has {} bytes, the limit is {}",
                text.len(),
                limits::QUERY
            ));
        }
        let broken = |why: String| format!("the query {text:?} is invalid: {why}");
        let lexemes = lex(text).map_err(broken)?;
        if lexemes.is_empty() {
            return Ok(Self::Nobody);
        }
        let mut parser = Parser {
            lexemes: &lexemes,
            at: 0,
            depth: 0,
        };
        let query = parser.or().map_err(broken)?;
        match parser.peek() {
            None => Ok(query),
            Some(other) => Err(broken(format!("{other:?} is unexpected"))),
        }
    }
}

impl Query {
    /// Whether a client belongs to the group.
    pub(crate) fn holds(&self, identity: Identity<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::And(all) => all.iter().all(|one| one.holds(identity)),
            Self::Or(all) => all.iter().any(|one| one.holds(identity)),
            Self::Compare(field, operator, wanted) => field.holds(identity, *operator, wanted),
            Self::In(field, wanted) => wanted
                .iter()
                .any(|one| field.holds(identity, Operator::Equal, one)),
        }
    }
}

impl Field {
    /// Whether a client's value compares like this. Authentication names have no case (CLIENTS).
    fn holds(&self, identity: Identity<'_>, operator: Operator, wanted: &Attribute) -> bool {
        let Self::Attribute(key) = self else {
            let Attribute::Text(wanted) = wanted else {
                return false;
            };
            let same = identity.authentication_name.eq_ignore_ascii_case(wanted);
            return match operator {
                Operator::Equal => same,
                Operator::Different => !same,
                _ => false,
            };
        };
        let value = identity.attributes.and_then(|all| all.get(key));
        value.is_some_and(|value| compare(value, operator, wanted))
    }
}

/// A list is equal to a value that it contains.
fn compare(value: &Attribute, operator: Operator, wanted: &Attribute) -> bool {
    use Operator::{Different, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    if let Attribute::List(values) = value {
        let has = values
            .iter()
            .any(|one| Attribute::Text(one.clone()) == *wanted);
        return match operator {
            Equal => has,
            Different => !has,
            _ => false,
        };
    }
    match (operator, value, wanted) {
        (Equal, a, b) => a == b,
        (Different, a, b) => a != b,
        (Less, Attribute::Integer(a), Attribute::Integer(b)) => a < b,
        (LessOrEqual, Attribute::Integer(a), Attribute::Integer(b)) => a <= b,
        (Greater, Attribute::Integer(a), Attribute::Integer(b)) => a > b,
        (GreaterOrEqual, Attribute::Integer(a), Attribute::Integer(b)) => a >= b,
        _ => false,
    }
}

fn lex(text: &str) -> Result<Vec<Lexeme>, String> {
    let mut lexemes = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            lexemes.push(Lexeme::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else if first == ',' {
            lexemes.push(Lexeme::Symbol(","));
            rest = &rest[1..];
        } else if matches!(first, '\'' | '"') {
            let (text, behind) = quoted(&rest[1..], first).ok_or("a quote is not closed")?;
            lexemes.push(Lexeme::Text(text));
            rest = behind;
        } else {
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("{first:?} is unexpected"));
            }
            lexemes.push(Lexeme::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(lexemes)
}

/// A text up to its closing quote, and what comes behind; a quote within it is doubled (assumed).
fn quoted(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut rest = rest;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        text.push_str(part);
        match behind.strip_prefix(quote) {
            Some(more) => {
                text.push(quote);
                rest = more;
            }
            None => return Some((text, behind)),
        }
    }
}

struct Parser<'a> {
    lexemes: &'a [Lexeme],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Lexeme> {
        self.lexemes.get(self.at)
    }

    fn next(&mut self) -> Result<Lexeme, String> {
        let lexeme = self.peek().cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(lexeme)
    }

    fn take(&mut self, wanted: impl Fn(&Lexeme) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, wanted: &str) -> bool {
        self.take(|l| matches!(l, Lexeme::Word(word) if word.eq_ignore_ascii_case(wanted)))
    }

    fn symbol(&mut self, wanted: &str) -> bool {
        self.take(|l| matches!(l, Lexeme::Symbol(symbol) if *symbol == wanted))
    }

    fn or(&mut self) -> Result<Query, String> {
        let mut all = vec![self.and()?];
        while self.word("or") {
            all.push(self.and()?);
        }
        Ok(Query::Or(all))
    }

    fn and(&mut self) -> Result<Query, String> {
        let mut all = vec![self.term()?];
        while self.word("and") {
            all.push(self.term()?);
        }
        Ok(Query::And(all))
    }

    fn term(&mut self) -> Result<Query, String> {
        if self.symbol("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err("its parentheses nest too deep".to_owned());
            }
            let query = self.or()?;
            self.depth -= 1;
            return if self.symbol(")") {
                Ok(query)
            } else {
                Err("a parenthesis is not closed".to_owned())
            };
        }
        let field = match self.next()? {
            Lexeme::Word(word) if word.eq_ignore_ascii_case("authenticationName") => {
                Field::AuthenticationName
            }
            Lexeme::Word(word) => match word.strip_prefix("attributes.") {
                Some(key) if is_key(key) => Field::Attribute(key.to_owned()),
                _ => {
                    return Err(format!(
                        "{word:?} is neither attributes.x nor authenticationName"
                    ));
                }
            },
            other => return Err(format!("{other:?} is unexpected")),
        };
        if self.word("in") {
            return self.list().map(|values| Query::In(field, values));
        }
        let operator = match self.next()? {
            Lexeme::Symbol("=") => Operator::Equal,
            Lexeme::Symbol("<>" | "!=") => Operator::Different,
            Lexeme::Symbol("<") => Operator::Less,
            Lexeme::Symbol("<=") => Operator::LessOrEqual,
            Lexeme::Symbol(">") => Operator::Greater,
            Lexeme::Symbol(">=") => Operator::GreaterOrEqual,
            other => return Err(format!("{other:?} is not an operator")),
        };
        Ok(Query::Compare(field, operator, self.value()?))
    }

    fn list(&mut self) -> Result<Vec<Attribute>, String> {
        let close = if self.symbol("[") {
            "]"
        } else if self.symbol("(") {
            ")"
        } else {
            return Err("IN needs a list in brackets".to_owned());
        };
        let mut values = vec![self.value()?];
        while self.symbol(",") {
            values.push(self.value()?);
        }
        if self.symbol(close) {
            Ok(values)
        } else {
            Err("the list of IN is not closed".to_owned())
        }
    }

    fn value(&mut self) -> Result<Attribute, String> {
        match self.next()? {
            Lexeme::Text(text) => Ok(Attribute::Text(text)),
            Lexeme::Word(word) => word
                .parse()
                .map(Attribute::Integer)
                .map_err(|_| format!("{word:?} is neither an integer nor in quotes")),
            Lexeme::Symbol(symbol) => Err(format!("{symbol:?} is unexpected")),
        }
    }
}

#[cfg(test)]
mod tests;
