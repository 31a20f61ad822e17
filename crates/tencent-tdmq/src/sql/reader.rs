//! Reads a clause into steps. Operators wait on a stack of their own until one that binds less
//! tightly comes (the shunting yard), so that no nesting of brackets is one of calls.
//!
//! From loose to tight: `OR`, `AND`, `NOT`, comparisons (with `IS NULL`, `LIKE`, `IN`), the sign of
//! a number.

use super::tokens::{Keyword, Token, shown, split};
use super::{Comparison, Function, Step};

/// What waits for its operands or its end.
#[derive(Debug, Clone, PartialEq)]
enum Waiting {
    /// An operator, with how tightly it binds.
    Operator(u8, Step),
    /// The same, and what comes out is turned round: `NOT LIKE`.
    Turned(u8, Step),
    Bracket,
    /// A function and how many arguments are complete.
    Call(Function, usize),
    /// `IN (` and how many of the list are complete.
    In {
        turned: bool,
        complete: usize,
    },
    Case {
        operand: bool,
        branches: usize,
        part: Part,
    },
}

/// Which part of a `CASE` is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Operand,
    Condition,
    Result,
    Else,
}

const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const SIGN: u8 = 5;

const FUNCTIONS: [(&str, Function); 5] = [
    ("UPPER", Function::Upper),
    ("LOWER", Function::Lower),
    ("LENGTH", Function::Length),
    ("ABS", Function::Abs),
    ("COALESCE", Function::Coalesce),
];

/// The steps of a clause.
pub(super) fn read(clause: &str) -> Result<Vec<Step>, String> {
    let tokens = split(clause)?;
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        steps: Vec::new(),
        waiting: Vec::new(),
    };
    reader.take(&Token::Keyword(Keyword::Where));
    if reader.peek().is_none() {
        return Err("it is empty".to_owned());
    }
    reader.whole()?;
    Ok(reader.steps)
}

struct Reader<'a> {
    tokens: &'a [(Token<'a>, &'a str)],
    at: usize,
    steps: Vec<Step>,
    waiting: Vec<Waiting>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<&'a Token<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    fn take(&mut self, token: &Token<'_>) -> bool {
        let there = self.peek() == Some(token);
        self.at += usize::from(there);
        there
    }

    fn take_word(&mut self, word: Keyword) -> bool {
        self.take(&Token::Keyword(word))
    }

    /// "expected X, got Y", of the token that was taken last.
    fn unexpected<T>(&self, expected: &str) -> Result<T, String> {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        Err(match last.filter(|_| self.at <= self.tokens.len()) {
            Some((_, rest)) => format!("expected {expected}, got {:?}", shown(rest)),
            None => format!("expected {expected}, got the end"),
        })
    }

    fn ended<T>(expected: &str) -> Result<T, String> {
        Err(format!("expected {expected}, got the end"))
    }

    /// Operand and operator take turns until the end.
    fn whole(&mut self) -> Result<(), String> {
        loop {
            while self.before_operand()? {}
            while self.behind_operand()? {}
            if self.peek().is_none() {
                self.release(0);
                return match self.waiting.pop() {
                    None => Ok(()),
                    Some(Waiting::Case { .. }) => Self::ended("END"),
                    Some(_) => Self::ended("\")\""),
                };
            }
            self.operator()?;
        }
    }

    /// What opens or stands before an operand; false once an operand was taken.
    fn before_operand(&mut self) -> Result<bool, String> {
        const WANTED: &str = "a name or a value";
        let step = match self.next() {
            None => return Self::ended(WANTED),
            Some(Token::Open) => return Ok(self.wait(Waiting::Bracket)),
            Some(Token::Minus) => return Ok(self.wait(Waiting::Operator(SIGN, Step::Negate))),
            Some(Token::Keyword(Keyword::Not)) => {
                return Ok(self.wait(Waiting::Operator(NOT, Step::Not)));
            }
            Some(Token::Keyword(Keyword::Case)) => {
                let operand = !self.take_word(Keyword::When);
                let part = if operand {
                    Part::Operand
                } else {
                    Part::Condition
                };
                return Ok(self.wait(Waiting::Case {
                    operand,
                    branches: 0,
                    part,
                }));
            }
            Some(Token::Name(name)) if self.take(&Token::Open) => {
                let function = function(name)?;
                return Ok(self.wait(Waiting::Call(function, 0)));
            }
            Some(Token::Name(name)) => Step::Field((*name).to_owned()),
            Some(Token::Text(text)) => Step::Text(text.clone()),
            Some(Token::Number(number)) => Step::Number(*number),
            Some(Token::Keyword(Keyword::Null)) => Step::Null,
            Some(Token::Keyword(Keyword::True)) => Step::Truth(true),
            Some(Token::Keyword(Keyword::False)) => Step::Truth(false),
            Some(_) => return self.unexpected(WANTED),
        };
        self.steps.push(step);
        Ok(false)
    }

    fn wait(&mut self, waiting: Waiting) -> bool {
        self.waiting.push(waiting);
        true
    }

    /// What closes an operand or stands behind it and leaves another operand; false if the next
    /// token does neither.
    fn behind_operand(&mut self) -> Result<bool, String> {
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                self.release(0);
                self.closed()?;
            }
            Some(Token::Keyword(Keyword::Is)) => {
                self.at += 1;
                let turned = self.take_word(Keyword::Not);
                if !self.take_word(Keyword::Null) {
                    self.at += 1;
                    return self.unexpected("NULL behind IS");
                }
                self.release(COMPARISON);
                self.steps.push(Step::IsNull);
                self.turn(turned);
            }
            Some(Token::Keyword(Keyword::End)) => {
                self.at += 1;
                self.release(0);
                self.case_ended()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn turn(&mut self, turned: bool) {
        if turned {
            self.steps.push(Step::Not);
        }
    }

    /// What stands between two operands.
    fn operator(&mut self) -> Result<(), String> {
        match self.next() {
            Some(Token::Keyword(Keyword::And)) => self.binary(AND, Step::And),
            Some(Token::Keyword(Keyword::Or)) => self.binary(OR, Step::Or),
            Some(Token::Compare(comparison)) => {
                self.binary(COMPARISON, Step::Compare(*comparison));
            }
            Some(Token::Keyword(Keyword::Like)) => self.binary(COMPARISON, Step::Like),
            Some(Token::Keyword(Keyword::In)) => self.list(false)?,
            Some(Token::Keyword(Keyword::Not)) => match self.next() {
                Some(Token::Keyword(Keyword::In)) => self.list(true)?,
                Some(Token::Keyword(Keyword::Like)) => {
                    self.release(COMPARISON);
                    self.waiting.push(Waiting::Turned(COMPARISON, Step::Like));
                }
                _ => return self.unexpected("IN or LIKE behind NOT"),
            },
            Some(Token::Comma) => {
                self.release(0);
                match self.waiting.last_mut() {
                    Some(Waiting::Call(_, complete) | Waiting::In { complete, .. }) => {
                        *complete += 1;
                    }
                    _ => return self.unexpected("no comma outside a list"),
                }
            }
            Some(Token::Keyword(Keyword::When | Keyword::Then | Keyword::Else)) => {
                self.release(0);
                self.case_goes_on()?;
            }
            _ => {
                return self.unexpected("an operator (AND, OR, =, !=, >, >=, <, <=, IN, IS, LIKE)");
            }
        }
        Ok(())
    }

    fn binary(&mut self, binds: u8, step: Step) {
        self.release(binds);
        self.waiting.push(Waiting::Operator(binds, step));
    }

    fn list(&mut self, turned: bool) -> Result<(), String> {
        self.release(COMPARISON);
        if !self.take(&Token::Open) {
            self.at += 1;
            return self.unexpected("\"(\" behind IN");
        }
        self.waiting.push(Waiting::In {
            turned,
            complete: 0,
        });
        Ok(())
    }

    /// Lets go the operators on top that bind at least as tightly.
    fn release(&mut self, binds: u8) {
        while let Some(Waiting::Operator(own, _) | Waiting::Turned(own, _)) = self.waiting.last()
            && *own >= binds
        {
            match self.waiting.pop() {
                Some(Waiting::Operator(_, step)) => self.steps.push(step),
                Some(Waiting::Turned(_, step)) => self.steps.extend([step, Step::Not]),
                _ => return,
            }
        }
    }

    /// A closing bracket has come.
    fn closed(&mut self) -> Result<(), String> {
        match self.waiting.pop() {
            Some(Waiting::Bracket) => {}
            Some(Waiting::Call(function, complete)) => {
                let count = complete + 1;
                check_arguments(function, count)?;
                self.steps.push(Step::Call(function, count));
            }
            Some(Waiting::In { turned, complete }) => {
                self.steps.push(Step::In(complete + 1));
                self.turn(turned);
            }
            _ => return self.unexpected("no \")\" without \"(\""),
        }
        Ok(())
    }

    /// `WHEN`, `THEN` or `ELSE` has come.
    fn case_goes_on(&mut self) -> Result<(), String> {
        let word = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let word = word.map(|(token, _)| token);
        let Some(Waiting::Case { branches, part, .. }) = self.waiting.last_mut() else {
            return self.unexpected("WHEN, THEN and ELSE inside a CASE alone");
        };
        *part = match (&part, word) {
            (Part::Operand | Part::Result, Some(Token::Keyword(Keyword::When))) => Part::Condition,
            (Part::Condition, Some(Token::Keyword(Keyword::Then))) => {
                *branches += 1;
                Part::Result
            }
            (Part::Result, Some(Token::Keyword(Keyword::Else))) => Part::Else,
            _ => return self.unexpected("CASE .. WHEN .. THEN .. ELSE .. END in this order"),
        };
        Ok(())
    }

    fn case_ended(&mut self) -> Result<(), String> {
        let Some(Waiting::Case {
            operand,
            branches,
            part: part @ (Part::Result | Part::Else),
        }) = self.waiting.pop()
        else {
            return self.unexpected("END behind a THEN or ELSE of its CASE");
        };
        if part == Part::Result {
            self.steps.push(Step::Null);
        }
        self.steps.push(Step::Case { operand, branches });
        Ok(())
    }
}

fn function(name: &str) -> Result<Function, String> {
    FUNCTIONS
        .iter()
        .find(|(spelling, _)| name.eq_ignore_ascii_case(spelling))
        .map(|(_, function)| *function)
        .ok_or_else(|| {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            format!(
                "there is no function {name:?}; there are {}",
                known.join(", ")
            )
        })
}

fn check_arguments(function: Function, count: usize) -> Result<(), String> {
    if count == 1 || function == Function::Coalesce {
        return Ok(());
    }
    Err(format!("{function:?} takes one argument, not {count}"))
}

impl Comparison {
    /// Whether an order is one that it asks for.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
