//! Texts in one of the model's small languages, read once: when they come into the model.

use serde::{Deserialize, Serialize};

/// What can be read from a text.
pub trait Language: Sized {
    /// Reads it; the error says what is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A text with what it means. A text that means nothing is kept as well, so that the rules can say
/// which it is and why; no namespace with such a text is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String", bound = "T: Language + Clone")]
pub struct Parsed<T> {
    text: String,
    meaning: Result<T, String>,
}

impl<T> Parsed<T> {
    /// What it means; `None` if it means nothing.
    pub(crate) fn meaning(&self) -> Option<&T> {
        self.meaning.as_ref().ok()
    }

    /// That it means something; the error says why it does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.meaning.as_ref().map(|_| ()).map_err(Clone::clone)
    }
}

impl<T: Language> From<String> for Parsed<T> {
    fn from(text: String) -> Self {
        Self {
            meaning: T::parse(&text),
            text,
        }
    }
}

impl<T> From<Parsed<T>> for String {
    fn from(parsed: Parsed<T>) -> Self {
        parsed.text
    }
}

impl<T: Language> Default for Parsed<T> {
    fn default() -> Self {
        String::new().into()
    }
}
