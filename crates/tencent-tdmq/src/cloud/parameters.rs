//! The parameters of a cloud API call: a JSON object of which every action knows its names.
//! Typed getters, each with the refusal that the cloud has for it. A number written as text is
//! taken where there is nothing but text: in a query or form.

use serde_json::{Map, Value};

use crate::error::Error;

/// A number that the vendor's data type spells as text.
const NUMBER_AS_TEXT: &str = "Number";

/// The parameters of one call.
#[derive(Debug)]
pub(super) struct Parameters {
    fields: Map<String, Value>,
    /// Whether every value is text: in a query or form.
    are_text: bool,
}

impl Parameters {
    /// Refuses a name that is not among the `known`. `null` counts as absent.
    pub(super) fn new(
        mut fields: Map<String, Value>,
        are_text: bool,
        known: &[&str],
    ) -> Result<Self, Error> {
        // The common parameters of a GET stand among the action's own.
        for common in ["Action", "Version", "Region", "Language", "Token"] {
            fields.remove(common);
        }
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Error::Unknown(name.clone()));
        }
        fields.retain(|_, value| !value.is_null());
        Ok(Self { fields, are_text })
    }

    /// A text, if it is there.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        self.fields
            .get(name)
            .map(|value| value.as_str().ok_or(kind(name, "a string")))
            .transpose()
    }

    /// A text that must be there. An empty one is as bad as none.
    pub(super) fn needed_text(&self, name: &'static str) -> Result<&str, Error> {
        match self.text(name)? {
            None => Err(Error::Missing(name)),
            Some("") => Err(value(name, "it is empty")),
            Some(text) => Ok(text),
        }
    }

    /// A whole number, if it is there.
    pub(super) fn integer(&self, name: &'static str) -> Result<Option<i64>, Error> {
        let Some(value) = self.fields.get(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) if self.are_text || name == NUMBER_AS_TEXT => text.parse().ok(),
            _ => value.as_i64(),
        };
        number.map(Some).ok_or(kind(name, "an integer"))
    }

    /// A whole number that must be there.
    pub(super) fn needed_integer(&self, name: &'static str) -> Result<i64, Error> {
        self.integer(name)?.ok_or(Error::Missing(name))
    }

    /// A whole number within bounds, `default` where it is absent.
    pub(super) fn bounded(
        &self,
        name: &'static str,
        default: i64,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, Error> {
        let number = self.integer(name)?.unwrap_or(default);
        if bounds.contains(&number) {
            return Ok(number);
        }
        let (from, to) = (bounds.start(), bounds.end());
        Err(value(
            name,
            format!("{number} is not within {from} and {to}"),
        ))
    }

    /// A truth value, if it is there.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.fields.get(name) else {
            return Ok(None);
        };
        match value {
            Value::Bool(flag) => Ok(Some(*flag)),
            Value::String(text) if self.are_text && text == "true" => Ok(Some(true)),
            Value::String(text) if self.are_text && text == "false" => Ok(Some(false)),
            _ => Err(kind(name, "a boolean")),
        }
    }

    /// A list of objects; empty where it is absent.
    pub(super) fn objects(&self, name: &'static str) -> Result<Vec<&Map<String, Value>>, Error> {
        let Some(value) = self.fields.get(name) else {
            return Ok(Vec::new());
        };
        value
            .as_array()
            .and_then(|items| items.iter().map(Value::as_object).collect())
            .ok_or(kind(name, "a list of objects"))
    }

    /// `Filters` as name and values, each with a name that the action knows.
    pub(super) fn filters(&self, known: &[&str]) -> Result<Vec<Filter>, Error> {
        self.objects("Filters")?
            .into_iter()
            .map(|filter| Filter::read(filter, known))
            .collect()
    }

    /// `StartTime` and `EndTime`, which must be there.
    pub(super) fn period(&self) -> Result<(i64, i64), Error> {
        let from = self.needed_integer("StartTime")?;
        let to = self.needed_integer("EndTime")?;
        if from > to {
            return Err(value("StartTime", "it is after EndTime"));
        }
        Ok((from, to))
    }

    /// `Offset` (default 0) and `Limit` (default 20, at most `most`).
    pub(super) fn page(&self, most: i64) -> Result<Page, Error> {
        let offset = self.bounded("Offset", 0, 0..=i64::from(i32::MAX))?;
        let limit = self.bounded("Limit", 20, 1..=most)?;
        Ok(Page {
            offset: usize::try_from(offset).unwrap_or_default(),
            limit: usize::try_from(limit).unwrap_or_default(),
        })
    }
}

/// One of the `Filters`.
#[derive(Debug)]
pub(super) struct Filter {
    /// What is filtered.
    pub name: String,
    values: Vec<String>,
}

impl Filter {
    fn read(filter: &Map<String, Value>, known: &[&str]) -> Result<Self, Error> {
        let name = filter
            .get("Name")
            .and_then(Value::as_str)
            .ok_or(kind("Filters", "a list of objects with Name and Values"))?;
        if !known.contains(&name) {
            let problem = format!(
                "there is no filter {name:?}; there are {}",
                known.join(", ")
            );
            return Err(value("Filters", problem));
        }
        let values: Option<Vec<String>> =
            filter
                .get("Values")
                .and_then(Value::as_array)
                .and_then(|values| {
                    values
                        .iter()
                        .map(|v| v.as_str().map(str::to_owned))
                        .collect()
                });
        Ok(Self {
            name: name.to_owned(),
            values: values.ok_or(kind("Filters", "a list of objects with Name and Values"))?,
        })
    }

    /// Whether the text contains one of the values.
    pub(super) fn is_contained_in(&self, text: &str) -> bool {
        self.values.iter().any(|value| text.contains(value))
    }

    /// Whether the text is one of the values.
    pub(super) fn is_one_of(&self, text: &str) -> bool {
        self.values.iter().any(|value| text == value)
    }
}

/// A page of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    /// The items of this page.
    pub(super) fn of<T>(self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        items
            .into_iter()
            .skip(self.offset)
            .take(self.limit)
            .collect()
    }
}

/// The parameter has a value that it cannot have.
pub(super) fn value(name: &'static str, problem: impl Into<String>) -> Error {
    Error::Value {
        name,
        problem: problem.into(),
    }
}

fn kind(name: &'static str, wanted: &'static str) -> Error {
    Error::Kind { name, wanted }
}

/// Refuses a text that is longer than `most` characters.
pub(super) fn at_most(name: &'static str, text: &str, most: usize) -> Result<(), Error> {
    if text.chars().count() > most {
        return Err(value(name, format!("it is longer than {most} characters")));
    }
    Ok(())
}

/// Refuses a text with other characters than letters, digits, `-` and `_`, or of another length.
pub(super) fn plain_name(
    name: &'static str,
    text: &str,
    length: std::ops::RangeInclusive<usize>,
) -> Result<(), Error> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if plain && length.contains(&text.len()) {
        return Ok(());
    }
    let (from, to) = (length.start(), length.end());
    Err(value(
        name,
        format!("it must be {from} to {to} letters, digits, \"-\" and \"_\""),
    ))
}
