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

    /// Whether a `CloudEvent` is taken.
    pub(crate) fn takes(&self, event: &Value) -> bool {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
        let types = &self.included_event_types;
        // Types and subjects are compared without case (the vendor's default).
        let kind = text("type");
        let subject = text("subject").to_lowercase();
        (types.is_empty() || types.iter().any(|known| known.eq_ignore_ascii_case(kind)))
            && subject.starts_with(&self.subject_begins_with.to_lowercase())
            && subject.ends_with(&self.subject_ends_with.to_lowercase())
            && self.filters.iter().all(|filter| filter.takes(event))
    }
}

impl AdvancedFilter {
    /// Its key and the texts that it compares with.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let values = self.values.iter().chain([&self.value]);
        values.filter_map(Value::as_str).chain([self.key.as_str()])
    }

    fn takes(&self, event: &Value) -> bool {
        use Operator as O;
        let mut found = event;
        for step in self.key.split('.') {
            found = found.get(step).unwrap_or(&Value::Null);
        }
        let missing = found.is_null();
        let number = found.as_f64();
        let text = found.as_str().map(str::to_lowercase);
        let texts = || {
            self.values
                .iter()
                .filter_map(|value| value.as_str().map(str::to_lowercase))
        };
        let any_text = |holds: fn(&str, &str) -> bool| {
            text.as_deref()
                .is_some_and(|text| texts().any(|one| holds(text, &one)))
        };
        let against = |holds: fn(&f64, &f64) -> bool| {
            number
                .zip(self.value.as_f64())
                .is_some_and(|(a, b)| holds(&a, &b))
        };
        let number_in = || {
            self.values
                .iter()
                .any(|value| number.is_some() && value.as_f64() == number)
        };
        match self.operator_type {
            O::NumberIn => number_in(),
            O::NumberNotIn => !number_in(),
            O::NumberLessThan => against(f64::lt),
            O::NumberGreaterThan => against(f64::gt),
            O::NumberLessThanOrEquals => against(f64::le),
            O::NumberGreaterThanOrEquals => against(f64::ge),
            O::NumberInRange => self.in_range(number),
            O::NumberNotInRange => !self.in_range(number),
            O::BoolEquals => found.is_boolean() && *found == self.value,
            O::StringContains => any_text(|text, part| text.contains(part)),
            O::StringNotContains => !any_text(|text, part| text.contains(part)),
            O::StringBeginsWith => any_text(|text, part| text.starts_with(part)),
            O::StringNotBeginsWith => !any_text(|text, part| text.starts_with(part)),
            O::StringEndsWith => any_text(|text, part| text.ends_with(part)),
            O::StringNotEndsWith => !any_text(|text, part| text.ends_with(part)),
            O::StringIn => any_text(|text, part| text == part),
            O::StringNotIn => !any_text(|text, part| text == part),
            O::IsNullOrUndefined => missing,
            O::IsNotNull => !missing,
        }
    }

    /// Whether the number lies in one of the pairs `[low, high]`.
    fn in_range(&self, number: Option<f64>) -> bool {
        self.values.iter().any(|pair| {
            let bound = |at: usize| pair.get(at).and_then(Value::as_f64);
            match (number, bound(0), bound(1)) {
                (Some(number), Some(low), Some(high)) => (low..=high).contains(&number),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(filters: Value) -> bool {
        let configuration: FiltersConfiguration = serde_json::from_value(filters).unwrap();
        configuration.takes(&json!({
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
