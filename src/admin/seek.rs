//! Finding, counting and waiting for entries by pattern.

use std::fmt::Write;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Panel;
use super::input::{Answered, JsonBody, NoParameters};
use super::inspect::{self, Selection};
use super::problem::Problem;
use super::render::Kind;
use crate::journal::Cursor;
use crate::journal::pattern::Pattern;
use crate::journal::waiting::{Count, End, Found, MAX_KEPT, Wait, wait};

/// The longest wait, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// The body of `find` and `count`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    #[serde(rename = "match")]
    pattern: Map<String, Value>,
    since: Cursor,
    limit: Option<usize>,
}

/// The body of `wait`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Waiting {
    #[serde(rename = "match")]
    pattern: Map<String, Value>,
    count: Wanted,
    since: Cursor,
    timeout_ms: u64,
    quiet_ms: u64,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            pattern: Map::new(),
            count: Wanted::default(),
            since: 0,
            timeout_ms: 5_000,
            quiet_ms: 0,
        }
    }
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    at_least: Option<usize>,
    at_most: Option<usize>,
    exactly: Option<usize>,
}

impl Wanted {
    fn count(self) -> Answered<Count> {
        let (at_least, at_most) = match (self.exactly, self.at_least, self.at_most) {
            (Some(exactly), None, None) => (exactly, Some(exactly)),
            (Some(_), _, _) => {
                return Err(bad("count: exactly excludes at_least and at_most"));
            }
            (None, at_least, Some(at_most)) => (at_least.unwrap_or(0), Some(at_most)),
            (None, at_least, None) => (at_least.unwrap_or(1), None),
        };
        if at_most.is_some_and(|most| most < at_least) {
            return Err(bad("count: at_most is less than at_least"));
        }
        if at_least > MAX_KEPT {
            return Err(bad(&format!("count: at most {MAX_KEPT} can be waited for")));
        }
        Ok(Count { at_least, at_most })
    }
}

fn bad(why: &str) -> Problem {
    Problem::BadBody(why.to_owned())
}

fn selection<T: Kind>(query: &Query) -> Answered<Selection<T>> {
    Ok(Selection {
        pattern: Pattern::parse(&query.pattern)?,
        since: query.since,
        limit: inspect::limit(query.limit),
        incomplete: false,
    })
}

/// `POST requests/find` and `POST messages/find`
pub(super) async fn find<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(query): JsonBody<Query>,
) -> Answered<Json<Value>> {
    let (found, total, cursor) = inspect::list::<T>(&panel.app.journal, &selection(&query)?);
    Ok(Json(
        json!({ T::PLURAL: found, "cursor": cursor, "total": total }),
    ))
}

/// `POST requests/count` and `POST messages/count`
pub(super) async fn count<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(query): JsonBody<Query>,
) -> Answered<Json<Value>> {
    if query.limit.is_some() {
        return Err(bad("limit: a count has none"));
    }
    let selection = Selection {
        limit: 0,
        ..selection::<T>(&query)?
    };
    let (_, total, cursor) = inspect::list(&panel.app.journal, &selection);
    Ok(Json(json!({ "count": total, "cursor": cursor })))
}

/// `POST requests/wait` and `POST messages/wait`
pub(super) async fn wait_for<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(asked): JsonBody<Waiting>,
) -> Answered<Json<Value>> {
    if asked.timeout_ms > MAX_TIMEOUT_MS {
        return Err(bad(&format!("timeout_ms: at most {MAX_TIMEOUT_MS}")));
    }
    if asked.quiet_ms > asked.timeout_ms {
        return Err(bad("quiet_ms: longer than timeout_ms, it could never pass"));
    }
    let wanted = Wait {
        pattern: Pattern::<T>::parse(&asked.pattern)?,
        count: asked.count.count()?,
        since: asked.since,
        timeout: Duration::from_millis(asked.timeout_ms),
        quiet: Duration::from_millis(asked.quiet_ms),
    };
    let found = wait(T::ring(&panel.app.journal), &wanted).await;
    let mut answer = matched(&found);
    match found.end {
        End::Satisfied => Ok(Json(Value::Object(answer))),
        End::TooMany => Err(Problem::TooMany {
            detail: format!(
                "{} {} match, {}",
                found.count,
                T::PLURAL,
                in_words(wanted.count)
            ),
            found: answer,
        }),
        End::TimedOut => {
            answer.extend(misses(&found));
            Err(Problem::TimedOut {
                detail: told(&found, &wanted),
                found: answer,
            })
        }
    }
}

fn in_words(count: Count) -> String {
    match (count.at_least, count.at_most) {
        (least, None) => format!("at least {least} wanted"),
        (least, Some(most)) if least == most => format!("exactly {least} wanted"),
        (0, Some(most)) => format!("at most {most} wanted"),
        (least, Some(most)) => format!("{least} to {most} wanted"),
    }
}

fn told<T: Kind>(found: &Found<T>, wanted: &Wait<T>) -> String {
    let mut text = format!(
        "after {} ms {} {} match, {}, and {} do not match",
        wanted.timeout.as_millis(),
        found.count,
        T::PLURAL,
        in_words(wanted.count),
        found.missed,
    );
    if found.count >= wanted.count.at_least {
        text.push_str("; matches kept coming, so there was no quiet time");
    }
    if found.incomplete > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {} are still being answered", found.incomplete);
    }
    if found.lost > 0 {
        let _ = write!(
            text,
            "; {} left the journal before they could be compared",
            found.lost
        );
    }
    text
}

fn matched<T: Kind>(found: &Found<T>) -> Map<String, Value> {
    let entries: Vec<_> = found
        .matched
        .iter()
        .map(|(cursor, entry)| entry.render(*cursor))
        .collect();
    Map::from_iter([
        ("matched".to_owned(), json!(entries)),
        ("cursor".to_owned(), json!(found.cursor)),
    ])
}

fn misses<T: Kind>(found: &Found<T>) -> Map<String, Value> {
    let nearest: Vec<_> = found
        .nearest
        .iter()
        .map(|miss| {
            json!({
                "id": miss.entry.id(),
                "cursor": miss.cursor,
                "agreed": miss.agreed,
                "differed": miss.differences,
            })
        })
        .collect();
    Map::from_iter([
        ("missed".to_owned(), json!(found.missed)),
        ("nearest".to_owned(), json!(nearest)),
        ("incomplete".to_owned(), json!(found.incomplete)),
        ("lost".to_owned(), json!(found.lost)),
    ])
}
