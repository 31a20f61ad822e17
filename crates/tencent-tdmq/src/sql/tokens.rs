//! The words and signs of a clause.

use super::Comparison;

/// A word that means something by itself, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Where,
    And,
    Or,
    Not,
    In,
    Is,
    Null,
    Like,
    Case,
    When,
    Then,
    Else,
    End,
    True,
    False,
}

const KEYWORDS: [(&str, Keyword); 15] = [
    ("WHERE", Keyword::Where),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("NOT", Keyword::Not),
    ("IN", Keyword::In),
    ("IS", Keyword::Is),
    ("NULL", Keyword::Null),
    ("LIKE", Keyword::Like),
    ("CASE", Keyword::Case),
    ("WHEN", Keyword::When),
    ("THEN", Keyword::Then),
    ("ELSE", Keyword::Else),
    ("END", Keyword::End),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
];

/// A word or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    Keyword(Keyword),
    /// A name that is no keyword, or any in back quotes.
    Name(&'a str),
    Text(String),
    Number(f64),
    Compare(Comparison),
    Open,
    Close,
    Comma,
    Minus,
}

/// The tokens of a clause, each with what is left from it on, for error texts.
pub(super) fn split(clause: &str) -> Result<Vec<(Token<'_>, &str)>, String> {
    let mut tokens = Vec::new();
    let mut rest = clause.trim_start();
    while !rest.is_empty() {
        let (token, behind) = next(rest)?;
        tokens.push((token, rest));
        rest = behind.trim_start();
    }
    Ok(tokens)
}

fn next(rest: &str) -> Result<(Token<'_>, &str), String> {
    // The longer ones first.
    let signs = [
        ("!=", Token::Compare(Comparison::Unequal)),
        ("<=", Token::Compare(Comparison::LessOrEqual)),
        (">=", Token::Compare(Comparison::GreaterOrEqual)),
        ("=", Token::Compare(Comparison::Equal)),
        ("<", Token::Compare(Comparison::Less)),
        (">", Token::Compare(Comparison::Greater)),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
        ("-", Token::Minus),
    ];
    for (sign, token) in signs {
        if let Some(behind) = rest.strip_prefix(sign) {
            return Ok((token, behind));
        }
    }
    match rest.chars().next() {
        Some('\'') => text(&rest[1..]),
        Some('`') => rest[1..]
            .split_once('`')
            .map(|(name, behind)| (Token::Name(name), behind))
            .ok_or_else(|| "a name in back quotes has no end".to_owned()),
        Some('"') => Err("a text stands in single quotes, not in double ones".to_owned()),
        Some(first) if first.is_ascii_digit() || first == '.' => number(rest),
        Some(first) if begins_name(first) => Ok(word(rest)),
        _ => Err(format!("{:?} is not understood", shown(rest))),
    }
}

fn begins_name(letter: char) -> bool {
    letter.is_alphabetic() || matches!(letter, '_' | '$')
}

fn word(rest: &str) -> (Token<'_>, &str) {
    let inside = |letter: char| begins_name(letter) || letter.is_numeric() || letter == '.';
    let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    let keyword = KEYWORDS
        .iter()
        .find(|(spelling, _)| word.eq_ignore_ascii_case(spelling));
    let token = keyword.map_or(Token::Name(word), |(_, keyword)| Token::Keyword(*keyword));
    (token, behind)
}

/// What stands behind an opening quote; two quotes are one of the text.
fn text(mut rest: &str) -> Result<(Token<'_>, &str), String> {
    let mut text = String::new();
    loop {
        let (part, behind) = rest
            .split_once('\'')
            .ok_or_else(|| "a text in single quotes has no end".to_owned())?;
        text.push_str(part);
        match behind.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Ok((Token::Text(text), behind)),
        }
    }
}

fn number(rest: &str) -> Result<(Token<'_>, &str), String> {
    let mut end = 0;
    let mut before = ' ';
    for letter in rest.chars() {
        let signed = matches!(letter, '+' | '-') && matches!(before, 'e' | 'E');
        if !(letter.is_ascii_alphanumeric() || letter == '.' || signed) {
            break;
        }
        end += letter.len_utf8();
        before = letter;
    }
    let (digits, behind) = rest.split_at(end);
    super::value::number(digits)
        .map(|number| (Token::Number(number), behind))
        .ok_or_else(|| format!("{digits:?} is no number"))
}

/// The beginning of what is not understood.
pub(super) fn shown(rest: &str) -> String {
    rest.chars().take(24).collect()
}
