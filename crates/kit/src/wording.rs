//! Turns what the JSON and TOML readers say about a wrong document into words without Rust types.

use std::fmt::Write;

/// The language of a document, for what its parts are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Tables, keys and lists.
    Toml,
    /// Objects, members and lists.
    Json,
}

impl Language {
    const fn group(self) -> &'static str {
        match self {
            Self::Toml => "a table",
            Self::Json => "an object",
        }
    }

    const fn member(self) -> &'static str {
        match self {
            Self::Toml => "key",
            Self::Json => "member",
        }
    }
}

/// A message of serde's, such as "invalid type: map, expected u16", in plain words: "expected a
/// whole number from 0 to 65535, got a table". A place behind it (" at line 1 column 2") stays.
pub fn plain(message: &str, language: Language) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let (message, place) = match message.find(" at line ") {
        Some(at) => message.split_at(at),
        None => (&*message, ""),
    };
    let wrong = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| message.strip_prefix(start))
        .and_then(|rest| rest.split_once(", expected "));
    let mut text = if let Some((got, wanted)) = wrong {
        format!(
            "expected {}, got {}",
            wish(wanted, language),
            value(got, language)
        )
    } else if let Some((name, known)) = unknown(message, "unknown field ") {
        let mut text = format!("unknown {} {name:?}", language.member());
        if let Some(near) = nearest(&name, known.iter().map(String::as_str)) {
            let _ = write!(text, ", did you mean {near:?}?");
        }
        if known.is_empty() {
            text.push_str("; none is expected here");
        } else {
            let _ = write!(text, "; known are {}", known.join(", "));
        }
        text
    } else if let Some((name, known)) = unknown(message, "unknown variant ") {
        format!("expected {}, got {name:?}", one_of(&known))
    } else if let Some(name) = message.strip_prefix("missing field ") {
        format!("the {} {} is missing", language.member(), quoted(name))
    } else if let Some(name) = message.strip_prefix("duplicate field ") {
        format!("the {} {} is given twice", language.member(), quoted(name))
    } else if let Some(wanted) = message.strip_prefix("wanted ") {
        format!("expected {}", wish(wanted, language))
    } else {
        message.to_owned()
    };
    text.push_str(place);
    text
}

/// A name in the quotes of the house instead of serde's.
fn quoted(name: &str) -> String {
    format!("{:?}", name.trim_matches('`'))
}

/// The name and the known names of "unknown field `a`, expected one of `b`, `c`".
fn unknown(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(start)?;
    let (name, rest) = rest.strip_prefix('`')?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    Some((name.to_owned(), known.collect()))
}

/// Names as a choice: `"a" or "b"`.
pub fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            text.push_str(if at + 1 == names.len() { " or " } else { ", " });
        }
        let _ = write!(text, "{:?}", name.as_ref());
    }
    text
}

/// What a reader wishes for.
fn wish(wanted: &str, language: Language) -> String {
    let bare = wanted
        .trim_start_matches("a ")
        .trim_start_matches("an ")
        .trim_start_matches("internally tagged ");
    let words = match bare {
        "string" | "borrowed string" | "str" | "character" => "a text",
        "boolean" | "bool" => "true or false",
        "sequence" | "array" | "tuple" => "a list",
        "byte array" | "borrowed byte array" => "bytes",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" | "u128" => "a whole number of 0 or more",
        "nonzero u8" | "nonzero u16" | "nonzero u32" | "nonzero u64" | "nonzero usize" => {
            "a whole number of 1 or more"
        }
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" | "integer" => "a whole number",
        "f32" | "f64" | "float" => "a number",
        "map" | "table" => return language.group().to_owned(),
        "unit" | "null" => "null",
        "string or table" => "one of the texts that the documentation lists",
        _ if bare.starts_with("struct ")
            || bare.starts_with("enum ")
            || bare.contains("map with")
            || bare.starts_with("tuple ") =>
        {
            return language.group().to_owned();
        }
        _ => return wanted.to_owned(),
    };
    words.to_owned()
}

/// What is there instead.
fn value(got: &str, language: Language) -> String {
    let inner = |start: &str| {
        let rest = got.strip_prefix(start)?;
        rest.strip_prefix('`')?.strip_suffix('`')
    };
    if let Some(number) = ["integer ", "floating point ", "boolean ", "character "]
        .iter()
        .find_map(|start| inner(start))
    {
        return number.to_owned();
    }
    match got {
        "map" => language.group().to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" | "Option value" => "null".to_owned(),
        "datetime" => "a date and time".to_owned(),
        _ => got.strip_prefix("string ").unwrap_or(got).to_owned(),
    }
}

/// The name among `known` that a misspelt one most likely means.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    known
        .map(|one| (distance(&name, &one.to_ascii_lowercase()), one))
        .filter(|(distance, one)| *distance <= 1 + one.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, one)| one)
}

/// How many letters must be changed, added, taken out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde says, and what is said instead.
    const SAID: [(&str, &str); 13] = [
        (
            "invalid type: map, expected u16",
            "expected a whole number from 0 to 65535, got a table",
        ),
        (
            "invalid type: integer `1`, expected struct Wanted",
            "expected a table, got 1",
        ),
        (
            "invalid type: boolean `true`, expected a string",
            "expected a text, got true",
        ),
        (
            "invalid value: integer `-1`, expected usize",
            "expected a whole number of 0 or more, got -1",
        ),
        (
            "invalid type: string \"x\", expected a boolean",
            "expected true or false, got \"x\"",
        ),
        (
            "invalid type: string \"#\", expected a sequence",
            "expected a list, got \"#\"",
        ),
        (
            "unknown field `queue_limits`, expected one of `queue_limit`, `bind`",
            "unknown key \"queue_limits\", did you mean \"queue_limit\"?; known are queue_limit, bind",
        ),
        (
            "unknown field `zzz`, expected `a` or `b`",
            "unknown key \"zzz\"; known are a, b",
        ),
        (
            "unknown field `a`, there are no fields",
            "unknown key \"a\"; none is expected here",
        ),
        (
            "unknown variant `x`, expected `shared` or `tenant`",
            "expected \"shared\" or \"tenant\", got \"x\"",
        ),
        ("missing field `id`", "the key \"id\" is missing"),
        ("duplicate field `id`", "the key \"id\" is given twice"),
        ("expected an RFC 3339 time", "expected an RFC 3339 time"),
    ];

    #[test]
    fn what_serde_says_is_said_in_plain_words() {
        for (said, plain_words) in SAID {
            assert_eq!(plain(said, Language::Toml), plain_words);
        }
        assert_eq!(
            plain(
                "invalid type: map, expected f64 at line 1 column 9",
                Language::Json
            ),
            "expected a number, got an object at line 1 column 9"
        );
        assert_eq!(
            plain(
                "unknown field `x`, expected `y` at line 1 column 2",
                Language::Json
            ),
            "unknown member \"x\", did you mean \"y\"?; known are y at line 1 column 2"
        );
    }

    #[test]
    fn the_nearest_name_is_one_that_was_likely_meant() {
        let known = [
            "MQTTSTACK_HTTP_PORT",
            "MQTTSTACK_HTTPS_PORT",
            "MQTTSTACK_SEED",
        ];
        let found = |name: &str| nearest(name, known.into_iter());
        assert_eq!(found("MQTTSTACK_HTTP_PROT"), Some("MQTTSTACK_HTTP_PORT"));
        assert_eq!(found("mqttstack_seed"), Some("MQTTSTACK_SEED"));
        assert_eq!(found("MQTTSTACK_AZURE_AUTO_CREATE"), None);
    }
}
