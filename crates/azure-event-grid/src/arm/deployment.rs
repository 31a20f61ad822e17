//! Templates of the resource manager: one pasted resource, an array of them, or a whole exported
//! or compiled (Bicep) template. Expressions are evaluated as far as names and ids need it:
//! literals, `parameters`, `variables`, `concat`, `format`, `resourceId`; any other stays as
//! it is in a property and is an error in a name.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::children::{RESOURCE, check_members};
use crate::model::limits;

/// How deep expressions and nested resources may go.
const DEPTH: usize = 16;
/// How deep properties may nest once their expressions are evaluated: variables may name one another.
const NESTING: usize = 64;
/// Bytes, about, that variables and parameters may add to a document: the resource manager's limit
/// of a template.
const PRODUCED: usize = 4 << 20;
/// How many expressions of one document are evaluated: variables may name one another.
const BUDGET: u32 = 10_000;
/// The longest text that an expression gives.
const TEXT: usize = 16 * 1024;

/// One resource of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    /// Its whole type, `Microsoft.EventGrid/namespaces/topicSpaces`.
    pub resource_type: String,
    /// The parts of its name: the namespace's, its own, or more.
    pub name: Vec<String>,
    /// Its properties, expressions evaluated.
    pub properties: Value,
}

/// The resources of a document, parents before their children. `given` are the deployment's
/// parameters, `{"name": {"value": ...}}`.
pub(crate) fn resources(document: &Value, given: &Value) -> Result<Vec<Declared>, String> {
    let scope = Scope {
        given,
        template: document,
        evaluated: Cell::new(0),
        produced: Cell::new(0),
        fault: Cell::new(None),
    };
    let mut found = Vec::new();
    match document {
        Value::Array(items) => {
            for item in items {
                scope.collect(item, None, 0, &mut found)?;
            }
        }
        Value::Object(members) if members.contains_key("type") => {
            scope.collect(document, None, 0, &mut found)?;
        }
        Value::Object(members) if members.contains_key("resources") => {
            for item in items(&members["resources"]) {
                scope.collect(item, None, 0, &mut found)?;
            }
        }
        _ => {
            return Err(
                "it is no resource, no array of resources and no template with resources"
                    .to_owned(),
            );
        }
    }
    match scope.fault.get() {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(found),
    }
}

/// Resources in an array or, in newer templates, an object.
fn items(resources: &Value) -> Vec<&Value> {
    match resources {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

struct Scope<'a> {
    given: &'a Value,
    template: &'a Value,
    evaluated: Cell<u32>,
    produced: Cell<usize>,
    /// What makes the whole document one that is not taken.
    fault: Cell<Option<&'static str>>,
}

/// The value of an expression.
enum Found<'a> {
    /// As it is.
    Whole(Value),
    /// As it stands in the template, with expressions of its own.
    Raw(&'a Value),
}

impl Scope<'_> {
    fn collect(
        &self,
        resource: &Value,
        parent: Option<&Declared>,
        depth: usize,
        found: &mut Vec<Declared>,
    ) -> Result<(), String> {
        if depth > DEPTH {
            return Err("its resources are nested too deep".to_owned());
        }
        if found.len() >= limits::RESOURCES {
            return Err(format!("it has more than {} resources", limits::RESOURCES));
        }
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let own_type = text("type").ok_or("a resource has no type")?;
        check_members(resource, &RESOURCE).map_err(|why| format!("a {own_type}: {why}"))?;
        let own_name = text("name").ok_or_else(|| format!("a {own_type} has no name"))?;
        let own_name = self.evaluated(own_name)?;
        let mut name: Vec<String> = own_name.split('/').map(str::to_owned).collect();
        let mut resource_type = own_type.to_owned();
        if let Some(parent) = parent.filter(|_| !own_type.contains('.')) {
            resource_type = format!("{}/{own_type}", parent.resource_type);
            let mut whole = parent.name.clone();
            whole.append(&mut name);
            name = whole;
        }
        let properties = resource.get("properties").cloned();
        let declared = Declared {
            resource_type,
            name,
            properties: self.filled(properties.unwrap_or_else(|| Map::new().into()), 0),
        };
        found.push(declared.clone());
        for child in resource.get("resources").map(items).unwrap_or_default() {
            self.collect(child, Some(&declared), depth + 1, found)?;
        }
        Ok(())
    }

    /// A value with the expressions in it evaluated where that is possible.
    fn filled(&self, mut value: Value, depth: usize) -> Value {
        // Each place, how many variables and parameters lead to it, and how deep it is.
        let mut left = vec![(&mut value, depth, 0)];
        while let Some((place, depth, level)) = left.pop() {
            if level > NESTING {
                self.fault.set(Some("its properties are nested too deep"));
                break;
            }
            match place {
                Value::Array(items) => {
                    left.extend(items.iter_mut().map(|item| (item, depth, level + 1)));
                }
                Value::Object(members) => {
                    let members = members.values_mut();
                    left.extend(members.map(|member| (member, depth, level + 1)));
                }
                Value::String(text) => {
                    match inner(text).and_then(|expression| self.expression(expression, depth)) {
                        Some(Found::Whole(found)) => *place = found,
                        Some(Found::Raw(found)) => {
                            *place = found.clone();
                            left.push((place, depth + 1, level));
                        }
                        None => {}
                    }
                }
                _ => {}
            }
        }
        value
    }

    /// A name, evaluated if it is an expression.
    fn evaluated(&self, text: &str) -> Result<String, String> {
        let Some(expression) = inner(text) else {
            return Ok(text.to_owned());
        };
        self.text(expression, 0)
            .ok_or_else(|| format!("the name {text:?} cannot be evaluated"))
    }

    /// The value of an expression that is a text.
    fn text(&self, expression: &str, depth: usize) -> Option<String> {
        match self.expression(expression, depth)? {
            Found::Whole(Value::String(text)) => Some(text),
            Found::Raw(Value::String(text)) => match inner(text) {
                Some(expression) => self.text(expression, depth + 1),
                None => Some(text.clone()),
            },
            Found::Whole(_) | Found::Raw(_) => None,
        }
    }

    /// The value of an expression; `None` if it uses what is not known here. It calls itself no
    /// deeper than `DEPTH`.
    fn expression(&self, text: &str, depth: usize) -> Option<Found<'_>> {
        let text = text.trim();
        self.evaluated.set(self.evaluated.get() + 1);
        if depth > DEPTH || self.evaluated.get() > BUDGET || self.fault.get().is_some() {
            return None;
        }
        let whole = |text: String| Some(Found::Whole(Value::String(text)));
        if let Some(literal) = text.strip_prefix('\'') {
            let literal = literal.strip_suffix('\'')?;
            return whole(literal.replace("''", "'"));
        }
        let (function, rest) = text.split_once('(')?;
        let arguments = arguments(rest.strip_suffix(')')?)?;
        let texts: Option<Vec<String>> = arguments
            .into_iter()
            .map(|argument| self.text(argument, depth + 1))
            .collect();
        let texts = texts?;
        let text = match (function.trim(), texts.as_slice()) {
            ("parameters", [name]) => return self.parameter(name),
            ("variables", [name]) => return self.raw(self.template.get("variables")?.get(name)?),
            ("concat", parts) => parts.concat(),
            ("format", [pattern, values @ ..]) => format(pattern, values)?,
            ("resourceId", [kind, names @ ..]) => format!("/{kind}/{}", names.join("/")),
            _ => return None,
        };
        if text.len() > TEXT {
            return None;
        }
        whole(text)
    }

    /// What was given for a parameter, else its default.
    fn parameter(&self, name: &str) -> Option<Found<'_>> {
        if let Some(value) = self.given.get(name).and_then(|given| given.get("value")) {
            return match self.raw(value)? {
                Found::Raw(value) => Some(Found::Whole(value.clone())),
                whole @ Found::Whole(_) => Some(whole),
            };
        }
        let declared = self.template.get("parameters")?.get(name)?;
        self.raw(declared.get("defaultValue")?)
    }

    /// A part of the template that is to stand in another place too.
    fn raw<'a>(&'a self, value: &'a Value) -> Option<Found<'a>> {
        let produced = self.produced.get().saturating_add(size(value));
        self.produced.set(produced);
        if produced > PRODUCED {
            self.fault
                .set(Some("its variables and parameters make it too large"));
            return None;
        }
        Some(Found::Raw(value))
    }
}

/// `{0}`, `{1}` in a pattern replaced; `None` where that gets too long.
fn format(pattern: &str, values: &[String]) -> Option<String> {
    let mut text = pattern.to_owned();
    for (place, value) in values.iter().enumerate() {
        let mark = format!("{{{place}}}");
        let grows = text.matches(&mark).count().saturating_mul(value.len());
        if text.len().saturating_add(grows) > TEXT {
            return None;
        }
        text = text.replace(&mark, value);
    }
    Some(text)
}

/// About how many bytes a value has, and how many parts.
fn size(value: &Value) -> usize {
    let mut bytes = 0;
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        bytes += 8;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => left.extend(items),
            Value::Object(members) => {
                bytes += members.keys().map(String::len).sum::<usize>();
                left.extend(members.values());
            }
            _ => {}
        }
    }
    bytes
}

/// What stands in `[...]`; `[[` begins a text.
fn inner(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('[')?.strip_suffix(']')?;
    (!rest.starts_with('[')).then_some(rest)
}

/// Arguments divided by the commas that are in no literal and no parentheses.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut open, mut quoted) = (0, 0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            b'(' if !quoted => open += 1,
            b')' if !quoted => open = open.checked_sub(1)?,
            b',' if !quoted && open == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted || open > 0 {
        return None;
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_exported_template_names_its_resources_by_expressions() {
        let template = json!({
            "parameters": {"ns": {"defaultValue": "nsname"}, "topic": {"type": "string"}},
            "variables": {"space": "own"},
            "resources": [
                {"type": "Microsoft.EventGrid/namespaces", "name": "[parameters('ns')]", "properties": {
                    "topicSpacesConfiguration": {"routeTopicResourceId": "[resourceId('Microsoft.EventGrid/namespaces/topics', parameters('ns'), 'events')]"}
                }},
                {"type": "Microsoft.EventGrid/namespaces/topicSpaces", "name": "[concat(parameters('ns'), '/', variables('space'))]",
                 "properties": {"topicTemplates": ["a/${client.authenticationName}"], "when": "[utcNow()]"}},
                {"type": "Microsoft.EventGrid/namespaces/topics", "name": "[format('{0}/{1}', parameters('ns'), parameters('topic'))]",
                 "resources": [{"type": "eventSubscriptions", "name": "s1", "properties": {}}]},
            ],
        });
        let found = resources(&template, &json!({"topic": {"value": "t1"}})).unwrap();
        let names: Vec<_> = found.iter().map(|one| one.name.join("/")).collect();
        assert_eq!(names, ["nsname", "nsname/own", "nsname/t1", "nsname/t1/s1"]);
        assert_eq!(
            found[0].properties["topicSpacesConfiguration"]["routeTopicResourceId"],
            "/Microsoft.EventGrid/namespaces/topics/nsname/events"
        );
        assert_eq!(found[1].properties["when"], "[utcNow()]");
        assert_eq!(
            found[3].resource_type,
            "Microsoft.EventGrid/namespaces/topics/eventSubscriptions"
        );
    }

    #[test]
    fn what_cannot_be_a_template_is_refused() {
        for (document, why) in [
            (json!(1), "no resource"),
            (json!({"resources": [{"name": "a"}]}), "has no type"),
            (json!([{"type": "t"}]), "has no name"),
            (
                json!({"type": "t", "name": "[concat('a', copyIndex())]"}),
                "cannot be evaluated",
            ),
            (
                json!({"type": "t", "name": "[parameters('none')]"}),
                "cannot be evaluated",
            ),
            (
                json!({"type": "t", "name": "[concat('a]"}),
                "cannot be evaluated",
            ),
        ] {
            let error = resources(&document, &json!({})).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics(name in "[\\[\\]'(),a-z{0}é ]{0,40}") {
            let _ = resources(&json!({"type": "t", "name": name}), &json!({}));
            let _ = resources(&json!({"type": "t", "name": format!("[{name}]")}), &json!({}));
        }
    }

    #[test]
    fn what_a_template_unfolds_to_is_bounded() {
        let nested = |inner: Value| (0..40).fold(inner, |value, _| json!([value]));
        let variables = json!({"a": nested(json!("[variables('b')]")), "b": nested(json!("x"))});
        let many: Vec<_> = (0..900)
            .map(|n| json!({"type": "t", "name": n.to_string()}))
            .collect();
        let wide =
            json!({"type": "t", "name": "n", "properties": {"p": vec!["[variables('w')]"; 100]}});
        for (document, why) in [
            (
                json!({"variables": variables, "resources": [{"type": "t", "name": "n", "properties": "[variables('a')]"}]}),
                "nested too deep",
            ),
            (
                json!({"variables": {"w": vec!["x".repeat(100); 1_000]}, "resources": [wide]}),
                "too large",
            ),
            (json!(many), "more than 800 resources"),
        ] {
            assert!(resources(&document, &json!({})).unwrap_err().contains(why));
        }
        let long = format!("[format('{}', variables('v'))]", "{0}".repeat(5_000));
        let template = json!({"variables": {"v": "x".repeat(1_000_000)}, "resources": [{"type": "t", "name": "n", "properties": {"p": long}}]});
        assert_eq!(
            resources(&template, &json!({})).unwrap()[0].properties["p"],
            long
        );
    }

    #[test]
    fn an_expression_that_names_itself_ends() {
        let template = json!({
            "variables": {"a": "[variables('a')]"},
            "resources": [{"type": "t", "name": "[variables('a')]"}],
        });
        assert!(resources(&template, &json!({})).is_err());
    }
}
