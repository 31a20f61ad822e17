//! Templates of the resource manager: one pasted resource, an array of them, or a whole exported
//! or compiled (Bicep) template. Expressions are evaluated as far as names and ids need it:
//! literals, `parameters`, `variables`, `concat`, `format`, `resourceId`; any other stays as
//! it is in a property and is an error in a name.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::children::{RESOURCE, check_members};

/// How deep expressions and nested resources may go.
const DEPTH: usize = 16;
/// How many expressions of one document are evaluated: variables may name one another.
const BUDGET: u32 = 10_000;
/// The longest text that an expression gives.
const TEXT: usize = 16 * 1024;
/// How much all values of variables and parameters may come to, each counted wherever it is put
/// in, and how deep arrays and objects may be nested through them: one value may be named often.
const VALUES: usize = 4 << 20;
const LEVELS: usize = 200;

/// One resource of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    /// Its whole type, `Microsoft.EventGrid/namespaces/topicSpaces`.
    pub resource_type: String,
    /// The parts of its name: the namespace's, its own, or more.
    pub name: Vec<String>,
    /// Its properties, expressions evaluated.
    pub properties: Value,
}

/// The resources of a document, parents before their children. `given` are the deployment's
/// parameters, `{"name": {"value": ...}}`.
pub(super) fn resources(document: &Value, given: &Value) -> Result<Vec<Declared>, String> {
    let scope = Scope {
        given,
        template: document,
        evaluated: Cell::new(0),
        values: Cell::new(0),
        levels: Cell::new(0),
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
    Ok(found)
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
    values: Cell<usize>,
    levels: Cell<usize>,
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
    fn filled(&self, value: Value, depth: usize) -> Value {
        if self.levels.get() >= LEVELS {
            return value;
        }
        self.levels.set(self.levels.get() + 1);
        let filled = self.filled_at(value, depth);
        self.levels.set(self.levels.get() - 1);
        filled
    }

    fn filled_at(&self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => match inner(&text) {
                Some(expression) => self
                    .expression(expression, depth)
                    .unwrap_or(Value::String(text)),
                None => Value::String(text),
            },
            Value::Array(items) => items
                .into_iter()
                .map(|item| self.filled(item, depth))
                .collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| (name, self.filled(member, depth)))
                .collect(),
            other => other,
        }
    }

    /// A name, evaluated if it is an expression.
    fn evaluated(&self, text: &str) -> Result<String, String> {
        let Some(expression) = inner(text) else {
            return Ok(text.to_owned());
        };
        match self.expression(expression, 0) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(format!("the name {text:?} cannot be evaluated")),
        }
    }

    /// The value of an expression; `None` if it uses what is not known here.
    fn expression(&self, text: &str, depth: usize) -> Option<Value> {
        let text = text.trim();
        self.evaluated.set(self.evaluated.get() + 1);
        if depth > DEPTH || self.evaluated.get() > BUDGET {
            return None;
        }
        if let Some(literal) = text.strip_prefix('\'') {
            let literal = literal.strip_suffix('\'')?;
            return Some(Value::String(literal.replace("''", "'")));
        }
        let (function, rest) = text.split_once('(')?;
        let arguments = arguments(rest.strip_suffix(')')?)?;
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.expression(argument, depth + 1)?);
        }
        let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        if texts.len() < values.len() {
            return None;
        }
        let text = match (function.trim(), texts.as_slice()) {
            ("parameters", [name]) => return self.parameter(name, depth),
            ("variables", [name]) => {
                let variables = self.template.get("variables")?;
                let value = self.copied(variables.get(name)?)?;
                return Some(self.filled(value, depth + 1));
            }
            ("concat", parts) => parts.concat(),
            ("format", [pattern, values @ ..]) => {
                let mut text = (*pattern).to_owned();
                for (place, value) in values.iter().enumerate() {
                    text = text.replace(&format!("{{{place}}}"), value);
                }
                text
            }
            ("resourceId", [kind, names @ ..]) => format!("/{kind}/{}", names.join("/")),
            _ => return None,
        };
        (text.len() <= TEXT).then_some(Value::String(text))
    }

    /// What was given for a parameter, else its default.
    fn parameter(&self, name: &str, depth: usize) -> Option<Value> {
        if let Some(value) = self.given.get(name).and_then(|given| given.get("value")) {
            return self.copied(value);
        }
        let declared = self.template.get("parameters")?.get(name)?;
        let value = self.copied(declared.get("defaultValue")?)?;
        Some(self.filled(value, depth + 1))
    }

    /// A copy of a value; `None` once too much has been copied.
    fn copied(&self, value: &Value) -> Option<Value> {
        let total = self.values.get() + weight(value);
        self.values.set(total);
        (total <= VALUES).then(|| value.clone())
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    let mut total = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        total += 32;
        match value {
            Value::String(text) => total += text.len(),
            Value::Array(items) => rest.extend(items),
            Value::Object(members) => {
                total += members.keys().map(String::len).sum::<usize>();
                rest.extend(members.values());
            }
            _ => {}
        }
    }
    total
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
    fn an_expression_that_names_itself_ends() {
        let template = json!({
            "variables": {"a": "[variables('a')]"},
            "resources": [{"type": "t", "name": "[variables('a')]"}],
        });
        assert!(resources(&template, &json!({})).is_ok());
    }
}
