//! The regular expressions of matchers. An expression is worked through byte by byte, so that a
//! costly one can be stopped anywhere; the usual search of the `regex` crate cannot.

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::looking::{Halt, Looking};

/// How many bytes all expressions of one pattern may have once compiled.
pub(super) const MAX_COMPILED: usize = 1 << 20;
/// How much one look remembers of one expression; what does not fit is worked out again.
const REMEMBERED: usize = 1 << 20;
/// After how many bytes of text a look may be stopped.
const PIECE: usize = 128;
/// States times bytes that the search may cost which cannot be stopped, the one for Unicode word
/// boundaries in a text that is not ASCII: less than a second.
const UNSTOPPABLE: usize = 50_000_000;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    dfa: DFA,
    /// Its number in the pattern, for what a look remembers of it; without, it remembers nothing.
    number: Option<usize>,
}

impl Expression {
    /// Compiles an expression that may take up `room` bytes.
    pub(super) fn new(text: &str, number: Option<usize>, room: usize) -> Result<Self, String> {
        let parsed = syntax::parse(text)
            .map_err(|error| format!("{text:?} is not a regular expression: {}", last(&error)))?;
        let config = thompson::Config::new()
            .nfa_size_limit(Some(room))
            .which_captures(WhichCaptures::None);
        let nfa = NFA::compiler()
            .configure(config)
            .build_from_hir(&parsed)
            .map_err(|error| {
                if error.size_limit().is_some() {
                    format!(
                        "the compiled expressions of one pattern may have {MAX_COMPILED} bytes, \
                         and these have more; write smaller repetitions, or (?-u) where ASCII is \
                         enough"
                    )
                } else {
                    format!("{text:?} is not a regular expression: {error}")
                }
            })?;
        let config = dfa::Config::new()
            .unicode_word_boundary(true)
            .cache_capacity(REMEMBERED)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa)
            .map_err(|error| format!("{text:?} cannot be searched for: {error}"))?;
        Ok(Self { dfa, number })
    }

    /// Compiles the only expression of a look.
    pub fn alone(text: &str) -> Result<Self, String> {
        Self::new(text, None, MAX_COMPILED)
    }

    /// How many bytes the compiled expression has.
    pub(super) fn size(&self) -> usize {
        self.dfa.get_nfa().memory_usage()
    }

    /// Whether the expression matches anywhere in the text of a field.
    pub fn is_match(&self, field: &str, text: &str, looking: &mut Looking) -> Result<bool, Halt> {
        let remembered = self
            .number
            .and_then(|number| looking.caches.remove(&number));
        let mut cache = remembered.unwrap_or_else(|| self.dfa.create_cache());
        let found = self.walk(&mut cache, text, looking);
        if let Some(number) = self.number {
            looking.caches.insert(number, cache);
        }
        match found? {
            Some(found) => Ok(found),
            None => self.whole(field, text),
        }
    }

    /// Goes along the text; `None` where the automaton cannot decide.
    fn walk(
        &self,
        cache: &mut dfa::Cache,
        text: &str,
        looking: &mut Looking,
    ) -> Result<Option<bool>, Halt> {
        let Ok(mut state) = self.dfa.start_state_forward(cache, &Input::new(text)) else {
            return Ok(None);
        };
        for piece in text.as_bytes().chunks(PIECE) {
            looking.step()?;
            for &byte in piece {
                let Ok(next) = self.dfa.next_state(cache, state, byte) else {
                    return Ok(None);
                };
                state = next;
                if !state.is_tagged() {
                    continue;
                }
                if state.is_match() {
                    return Ok(Some(true));
                }
                if state.is_dead() {
                    return Ok(Some(false));
                }
                if state.is_quit() {
                    return Ok(None);
                }
            }
        }
        let end = self.dfa.next_eoi_state(cache, state);
        Ok(end.ok().map(|state| state.is_match()))
    }

    /// The search that knows every word boundary and cannot be stopped.
    fn whole(&self, field: &str, text: &str) -> Result<bool, Halt> {
        let nfa = self.dfa.get_nfa();
        if nfa.states().len().saturating_mul(text.len()) > UNSTOPPABLE {
            return Err(Halt::Expression {
                field: field.to_owned(),
                length: text.len(),
            });
        }
        let machine =
            PikeVM::new_from_nfa(nfa.clone()).map_err(|error| Halt::Failed(error.to_string()))?;
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        Ok(machine.is_match(&mut machine.create_cache(), input))
    }
}

/// The last line of a syntax error; the lines before draw the expression and point at the place.
fn last(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::looking::Bounds;
    use super::*;

    const BOUNDS: Bounds = Bounds {
        time: Duration::from_mins(10),
        entry_bytes: usize::MAX,
        bytes: usize::MAX,
    };

    fn found(expression: &str, text: &str) -> Result<bool, Halt> {
        let expression = Expression::alone(expression).unwrap();
        expression.is_match("payload", text, &mut Looking::within(BOUNDS))
    }

    #[test]
    fn expressions_match_as_the_regex_crate_says() {
        for expression in [
            "",
            "b",
            "^b",
            "a$",
            "^$",
            r"\d+",
            r"\w{3}",
            "(?i)ABC",
            r"\bfoo\b",
            r"\Boo",
            "é.",
            "[^a]",
            "a|b|c",
            r"(?m)^x$",
            r"x*$",
            r"(?s)a.b",
            r"(?-u:\b)foo",
        ] {
            let judge = regex::Regex::new(expression).unwrap();
            for text in [
                "",
                "a",
                "b",
                "abc",
                "foo",
                "a foo b",
                "é!",
                "é foo é",
                "fooé",
                "12",
                "w\nx\ny",
                "a\nb",
            ] {
                assert_eq!(
                    found(expression, text),
                    Ok(judge.is_match(text)),
                    "{expression:?} in {text:?}"
                );
            }
        }
    }

    #[test]
    fn an_expression_that_compiles_to_too_much_is_refused() {
        let error = Expression::alone(r"\w{1000}").unwrap_err();
        assert!(error.contains("1048576 bytes"), "{error}");
        let error = Expression::alone("a(b").unwrap_err();
        assert_eq!(error, "\"a(b\" is not a regular expression: unclosed group");
    }

    #[test]
    fn a_costly_expression_ends_at_the_bound_on_time() {
        let costly = Expression::alone("(a{1,40}){1,40}b").unwrap();
        let bounds = Bounds {
            time: Duration::from_millis(1),
            ..BOUNDS
        };
        let text = "a".repeat(10_000_000);
        let ended = costly.is_match("payload", &text, &mut Looking::within(bounds));
        assert_eq!(ended, Err(Halt::Time(1)));
    }

    #[test]
    fn a_word_boundary_in_a_long_text_beyond_ascii_is_refused() {
        let text = "é".repeat(1_000_000);
        let refused = found(r"\bé{1,50}\b", &text);
        assert!(
            matches!(refused, Err(Halt::Expression { .. })),
            "{refused:?}"
        );
    }
}
