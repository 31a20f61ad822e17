//! The parameters of a request, from its query and its form body, decoded once, and the one
//! encoding in which they are signed. Both signature versions and every action read these.

use std::borrow::Cow;

use mqttstack_base::exchange::Request;
use mqttstack_kit::form::{self, Broken, encode_into};
use mqttstack_pipeline::journal::Draft;

use super::error::Error;

/// One decoded parameter.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters in the order in which they came: the query's first, then the body's.
#[derive(Debug, Default)]
pub(super) struct Parameters<'a> {
    pairs: Vec<Pair<'a>>,
    in_query: usize,
    malformed: Option<String>,
}

impl<'a> Parameters<'a> {
    /// Decodes them all. What cannot be decoded is kept as far as it goes, so that even the
    /// refusal of such a request knows the wanted format; [`Parameters::check`] refuses it.
    pub(super) fn read(request: &'a Request) -> Self {
        let mut parameters = Self {
            pairs: Vec::with_capacity(20),
            ..Self::default()
        };
        parameters.read_text(request.head.raw_query());
        parameters.in_query = parameters.pairs.len();
        if !request.body.is_empty() && has_form(request) {
            match std::str::from_utf8(&request.body) {
                Ok(text) => parameters.read_text(text),
                Err(_) => {
                    parameters.malformed = Some("the form body is not UTF-8".to_owned());
                }
            }
        }
        parameters
    }

    fn read_text(&mut self, text: &'a str) {
        for (name, value) in form::fields(text) {
            let name = self.decoded(name, "a parameter's name");
            let value = self.decoded(value, &name);
            self.pairs.push((name, value));
        }
    }

    fn decoded(&mut self, raw: &'a str, what: &str) -> Cow<'a, str> {
        form::decode_field(raw).unwrap_or_else(|broken| {
            let problem = match broken {
                Broken::Escape(_) => "a percent sign is not followed by two hexadecimal digits",
                Broken::Utf8 => "what is percent-encoded is not UTF-8",
            };
            self.malformed
                .get_or_insert_with(|| format!("{what}: {problem}"));
            Cow::Borrowed("")
        })
    }

    /// Refuses what could not be decoded and what came twice.
    pub(super) fn check(&self, draft: &mut Draft) -> Result<(), Error> {
        if let Some(problem) = &self.malformed {
            draft.note(problem.clone());
            return Err(Error::ParameterMalformed);
        }
        let mut names: Vec<&str> = self.pairs.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            draft.note(format!(
                "parameter {:?} came more than once (query and form body count together)",
                twice[0]
            ));
            return Err(Error::parameter_invalid(twice[0]));
        }
        Ok(())
    }

    /// The value of a parameter; an absent one is as good as an empty one.
    pub(super) fn get(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// The value of a parameter that must be there and not empty.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, Error> {
        match self.get(name) {
            "" => Err(Error::Missing(name)),
            value => Ok(value),
        }
    }

    /// All of them, in the order in which they came.
    pub(super) fn all(&self) -> &[Pair<'a>] {
        &self.pairs
    }

    /// Those of the query.
    pub(super) fn query(&self) -> &[Pair<'a>] {
        &self.pairs[..self.in_query]
    }
}

/// A body is a form if it says so or says nothing.
fn has_form(request: &Request) -> bool {
    let Some(content_type) = request.head.headers.text("content-type") else {
        return true;
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.is_empty() || media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The canonical query of both signature versions: `name=value` encoded, in byte order of the
/// names, joined by `&`. An empty value leaves `name=`.
pub(super) fn canonical_query<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    joined(pairs.into_iter())
}

/// The pairs encoded and joined in the order in which they are given.
pub(super) fn joined<'p>(pairs: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut text = String::with_capacity(512);
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode_into(name, &mut text);
        text.push('=');
        encode_into(value, &mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_query_is_sorted_by_bytes_and_keeps_empty_values() {
        let pairs = [("b", "*~ +"), ("a.2", ""), ("a.10", "你"), ("B", "/")];
        assert_eq!(
            canonical_query(pairs.into_iter()),
            "B=%2F&a.10=%E4%BD%A0&a.2=&b=%2A~%20%2B"
        );
    }
}
