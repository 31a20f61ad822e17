//! What a cloud API call asks for: one JSON object, wherever it is written. Called by the
//! products once [`super::verify`] has let the request in.

use mqttstack_base::exchange::Request;
use mqttstack_kit::form;
use serde_json::{Map, Value, json};

use super::{Tc3Error, v1};

/// Whether [`parameters`] leaves every value a string.
pub fn are_text(request: &Request) -> bool {
    request.head.method == "GET" || v1::Parameters::of(request).is_some()
}

/// The parameters of a call: the JSON object of a POST's body, or a query or form with its
/// dotted names (`Filters.0.Name`) unfolded and its values left as strings.
pub fn parameters(request: &Request) -> Result<Map<String, Value>, Tc3Error> {
    if let Some(pairs) = v1::Parameters::of(request) {
        return unfolded(pairs.own());
    }
    if request.head.method == "GET" {
        return query_parameters(request.head.raw_query());
    }
    let content_type = request.head.headers.text("Content-Type").unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Tc3Error::ContentType(content_type.to_owned()));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(parameters)) => Ok(parameters),
        Ok(_) => Err(Tc3Error::Body("it is not a JSON object".to_owned())),
        Err(error) => Err(Tc3Error::Body(error.to_string())),
    }
}

fn query_parameters(query: &str) -> Result<Map<String, Value>, Tc3Error> {
    let decode = |text: &str| {
        form::decode_field_loosely(text)
            .ok_or_else(|| Tc3Error::Body("the query is not UTF-8".to_owned()))
    };
    let pairs: Vec<(String, String)> = form::fields(query)
        .map(|(name, value)| Ok((decode(name)?, decode(value)?)))
        .collect::<Result<_, Tc3Error>>()?;
    unfolded(pairs.iter().map(|(name, value)| (&**name, &**value)))
}

fn unfolded<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Map<String, Value>, Tc3Error> {
    let mut root = Value::Object(Map::new());
    for (name, value) in pairs {
        let mut place = &mut root;
        for step in name.split('.') {
            place = descend(place, step)
                .ok_or_else(|| Tc3Error::Body(format!("the name {name:?} cannot be unfolded")))?;
        }
        *place = Value::String(value.to_owned());
    }
    match root {
        Value::Object(parameters) => Ok(parameters),
        _ => Ok(Map::new()),
    }
}

/// One step down into `place`; a number steps into an array, which grows by one at most.
fn descend<'a>(place: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    if let Ok(index) = step.parse::<usize>() {
        if place.is_null() {
            *place = json!([]);
        }
        let array = place.as_array_mut()?;
        if index == array.len() {
            array.push(Value::Null);
        }
        return array.get_mut(index);
    }
    if place.is_null() {
        *place = json!({});
    }
    Some(place.as_object_mut()?.entry(step).or_insert(Value::Null))
}
