//! Which events an event subscription takes: event types, subject prefix and suffix, and the
//! advanced filters of the resource template, read on the `CloudEvent`'s attributes and `data`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits;

/// `filtersConfiguration`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FiltersConfiguration {
    /// Event types that are taken; empty takes all.
    pub included_event_types: Vec<String>,
    /// Conditions that must all hold.
    pub filters: Vec<AdvancedFilter>,
    /// What `subject` must begin with.
    pub subject_begins_with: String,
    /// What `subject` must end with.
    pub subject_ends_with: String,
}

/// One advanced filter: an operator, a key and one or more values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdvancedFilter {
    /// How the value is compared.
    pub operator_type: Operator,
    /// An attribute's name, or a path into the data (`data.a.b`).
    pub key: String,
    /// The value of operators that take one.
    #[serde(default)]
    pub value: Value,
    /// The values of operators that take several.
    #[serde(default)]
    pub values: Vec<Value>,
}

/// The operators of the resource template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the vendor's and say it all")]
pub enum Operator {
    NumberIn,
    NumberNotIn,
    NumberLessThan,
    NumberGreaterThan,
    NumberLessThanOrEquals,
    NumberGreaterThanOrEquals,
    NumberInRange,
    NumberNotInRange,
    BoolEquals,
    StringContains,
    StringNotContains,
    StringBeginsWith,
    StringNotBeginsWith,
    StringEndsWith,
    StringNotEndsWith,
    StringIn,
    StringNotIn,
    IsNullOrUndefined,
    IsNotNull,
}

impl FiltersConfiguration {
    /// Checks how many there are and how long: each event is put to all of them.
    pub(crate) fn check(&self) -> Result<(), String> {
        let at_most = |what: &str, count: usize| {
            let limit = limits::FILTERS_OF_EVENTS;
            if count <= limit {
                return Ok(());
            }
            Err(format!("there are {count} {what}, the limit is {limit}"))
        };
        at_most("includedEventTypes", self.included_event_types.len())?;
        at_most("advanced filters", self.filters.len())?;
        for filter in &self.filters {
            at_most("values of a filter", filter.values.len())?;
        }
        let own = [&self.subject_begins_with, &self.subject_ends_with];
        let values = self.filters.iter().flat_map(AdvancedFilter::texts);
        let mut texts = own
            .into_iter()
            .chain(&self.included_event_types)
            .map(String::as_str)
            .chain(values);
        match texts.find(|text| text.chars().count() > limits::FILTER_TEXT) {
            None => Ok(()),
            Some(text) => Err(format!(
                "a text of a filter has {} characters, the limit is {}",
                text.chars().count(),
                limits::FILTER_TEXT
            )),
        }
    }
}

impl AdvancedFilter {
    /// Its key and the texts that it compares with.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().chain([&self.value]);
        values.filter_map(Value::as_str).chain([self.key.as_str()])
    }
}

/// The conditions of an event subscription, ready to be asked: texts in lower case, paths in steps.
#[derive(Debug)]
pub(crate) struct Filter {
    types: Box<[String]>,
    begins_with: String,
    ends_with: String,
    conditions: Box<[Condition]>,
}

#[derive(Debug)]
struct Condition {
    /// Where the value is.
    path: Box<[String]>,
    test: Test,
    /// Whether the test must fail.
    negated: bool,
}

#[derive(Debug)]
enum Test {
    /// One number against another.
    Compare(fn(&f64, &f64) -> bool, Option<f64>),
    /// One of these numbers.
    NumberIn(Box<[f64]>),
    /// Within one of these pairs.
    InRange(Box<[(f64, f64)]>),
    /// This value.
    Bool(Value),
    /// Compares with one of these texts.
    Text(fn(&str, &str) -> bool, Box<[String]>),
    /// Nothing is there.
    Missing,
}

impl Filter {
    /// Reads the resource.
    pub(crate) fn of(configuration: &FiltersConfiguration) -> Self {
        Self {
            types: configuration.included_event_types.clone().into(),
            // Subjects are compared without case, and so are types (the vendor's default).
            begins_with: configuration.subject_begins_with.to_lowercase(),
            ends_with: configuration.subject_ends_with.to_lowercase(),
            conditions: configuration.filters.iter().map(Condition::of).collect(),
        }
    }

    /// Whether a `CloudEvent` is taken.
    pub(crate) fn takes(&self, event: &Value) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
        let has_type = || {
            let kind = text("type");
            let mut types = self.types.iter();
            self.types.is_empty() || types.any(|known| known.eq_ignore_ascii_case(kind))
        };
        let has_subject = || {
            if self.begins_with.is_empty() && self.ends_with.is_empty() {
                return true;
            }
            let subject = text("subject").to_lowercase();
            subject.starts_with(&self.begins_with) && subject.ends_with(&self.ends_with)
        };
        has_type() && has_subject() && self.conditions.iter().all(|one| one.holds(event))
    }
}

impl Condition {
    fn of(filter: &AdvancedFilter) -> Self {
        use Operator as O;
        let numbers = || filter.values.iter().filter_map(Value::as_f64).collect();
        let pairs = || {
            let bound = |pair: &Value, at: usize| pair.get(at).and_then(Value::as_f64);
            let values = filter.values.iter();
            values
                .filter_map(|pair| Some((bound(pair, 0)?, bound(pair, 1)?)))
                .collect()
        };
        let compare = |holds| Test::Compare(holds, filter.value.as_f64());
        let text = |holds| {
            let texts = filter.values.iter().filter_map(Value::as_str);
            Test::Text(holds, texts.map(str::to_lowercase).collect())
        };
        let test = match filter.operator_type {
            O::NumberIn | O::NumberNotIn => Test::NumberIn(numbers()),
            O::NumberLessThan => compare(f64::lt),
            O::NumberGreaterThan => compare(f64::gt),
            O::NumberLessThanOrEquals => compare(f64::le),
            O::NumberGreaterThanOrEquals => compare(f64::ge),
            O::NumberInRange | O::NumberNotInRange => Test::InRange(pairs()),
            O::BoolEquals => Test::Bool(filter.value.clone()),
            O::StringContains | O::StringNotContains => text(|text, part| text.contains(part)),
            O::StringBeginsWith | O::StringNotBeginsWith => {
                text(|text, part| text.starts_with(part))
            }
            O::StringEndsWith | O::StringNotEndsWith => text(|text, part| text.ends_with(part)),
            O::StringIn | O::StringNotIn => text(|text, part| text == part),
            O::IsNullOrUndefined | O::IsNotNull => Test::Missing,
        };
        Self {
            path: filter.key.split('.').map(str::to_owned).collect(),
            test,
            negated: matches!(
                filter.operator_type,
                O::NumberNotIn
                    | O::NumberNotInRange
                    | O::StringNotContains
                    | O::StringNotBeginsWith
                    | O::StringNotEndsWith
                    | O::StringNotIn
                    | O::IsNotNull
            ),
        }
    }

    fn holds(&self, event: &Value) -> bool {
        let mut found = event;
        for step in &self.path {
            found = found.get(step).unwrap_or(&Value::Null);
        }
        self.test.holds(found) != self.negated
    }
}

impl Test {
    fn holds(&self, found: &Value) -> bool {
        match self {
            Self::Compare(holds, value) => {
                let pair = found.as_f64().zip(*value);
                pair.is_some_and(|(a, b)| holds(&a, &b))
            }
            Self::NumberIn(values) => {
                let number = found.as_f64();
                number.is_some_and(|number| values.contains(&number))
            }
            Self::InRange(pairs) => found.as_f64().is_some_and(|number| {
                let mut pairs = pairs.iter();
                pairs.any(|(low, high)| (*low..=*high).contains(&number))
            }),
            Self::Bool(value) => found.is_boolean() && found == value,
            Self::Text(holds, texts) => found.as_str().is_some_and(|text| {
                let text = text.to_lowercase();
                texts.iter().any(|one| holds(&text, one))
            }),
            Self::Missing => found.is_null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(filters: Value) -> bool {
        let configuration: FiltersConfiguration = serde_json::from_value(filters).unwrap();
        Filter::of(&configuration).takes(&json!({
            "type": "MQTT.EventPublished",
            "subject": "dev/1/temp",
            "area": "west",
            "data": {"t": 21.5, "on": true, "nested": {"s": "Hello"}},
        }))
    }

    #[test]
    fn types_and_subjects_are_compared_without_case() {
        assert!(takes(json!({})));
        assert!(takes(
            json!({"includedEventTypes": ["mqtt.eventpublished"]})
        ));
        assert!(!takes(json!({"includedEventTypes": ["other"]})));
        assert!(takes(
            json!({"subjectBeginsWith": "DEV/", "subjectEndsWith": "/temp"})
        ));
        assert!(!takes(json!({"subjectEndsWith": "/hum"})));
    }

    #[test]
    fn advanced_filters_reach_into_data_and_must_all_hold() {
        let one = |operator: &str, key: &str, value: Value| {
            let name = if value.is_array() { "values" } else { "value" };
            takes(json!({"filters": [{"operatorType": operator, "key": key, name: value}]}))
        };
        assert!(one("NumberGreaterThan", "data.t", json!(20)));
        assert!(!one("NumberLessThan", "data.t", json!(20)));
        assert!(one("NumberInRange", "data.t", json!([[0, 5], [20, 22]])));
        assert!(one("BoolEquals", "data.on", json!(true)));
        assert!(one("StringContains", "data.nested.s", json!(["ELL"])));
        assert!(one("StringIn", "area", json!(["west", "east"])));
        assert!(one("StringNotIn", "area", json!(["north"])));
        assert!(one("IsNullOrUndefined", "data.none", Value::Null));
        assert!(!one("IsNotNull", "data.none.deeper", Value::Null));
        assert!(!takes(json!({"filters": [
            {"operatorType": "IsNotNull", "key": "area"},
            {"operatorType": "StringIn", "key": "area", "values": ["north"]},
        ]})));
    }
}
