//! Finding, counting and waiting for entries by pattern.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mqttstack_pipeline::journal::Cursor;
use mqttstack_pipeline::journal::pattern::Pattern;
use mqttstack_pipeline::journal::waiting::{Count, End, Found, MAX_KEPT, Wait, wait};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::Panel;
use super::input::{Answered, JsonBody, NoParameters};
use super::inspect::{self, Selection};
use super::listing::Listing;
use super::problem::{MEDIA_TYPE, Problem};
use super::render::Kind;

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

/// How many entries must match, as it is written.
#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    at_least: Option<usize>,
    at_most: Option<usize>,
    exactly: Option<usize>,
}

/// What `count` may be, for its refusals.
const COUNTS: &str =
    "expected an object of at_least, at_most and exactly, such as {\"at_least\": 1}";

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let refused = |what: String| D::Error::custom(format!("{COUNTS}, got {what}"));
        let Value::Object(members) = &given else {
            return Err(refused(given.to_string()));
        };
        let mut wanted = Self::default();
        for (name, value) in members {
            let place = match name.as_str() {
                "at_least" => &mut wanted.at_least,
                "at_most" => &mut wanted.at_most,
                "exactly" => &mut wanted.exactly,
                _ => return Err(refused(format!("{name:?}"))),
            };
            let number = value.as_u64().and_then(|number| number.try_into().ok());
            *place = Some(number.ok_or_else(|| refused(format!("{name} {value}")))?);
        }
        Ok(wanted)
    }
}

impl Wanted {
    fn count(self) -> Answered<Count> {
        let (at_least, at_most) = match (self.exactly, self.at_least, self.at_most) {
            (Some(exactly), None, None) => (exactly, Some(exactly)),
            (Some(_), _, _) => {
                return Err(bad(
                    "count: expected exactly alone, without at_least and at_most",
                ));
            }
            (None, at_least, Some(at_most)) => (at_least.unwrap_or(0), Some(at_most)),
            (None, at_least, None) => (at_least.unwrap_or(1), None),
        };
        if at_most.is_some_and(|most| most < at_least) {
            return Err(bad("count: at_most is less than at_least"));
        }
        if at_least > MAX_KEPT {
            return Err(bad(&format!("count: expected at most {MAX_KEPT}")));
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
) -> Answered<Response> {
    inspect::list(&panel, move || selection::<T>(&query)).await
}

/// `POST requests/count` and `POST messages/count`
pub(super) async fn count<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(query): JsonBody<Query>,
) -> Answered<Json<Value>> {
    if query.limit.is_some() {
        return Err(bad("limit: unknown member; a count has no limit"));
    }
    let journal = &panel.app.journal;
    let ring = T::ring(journal).clone();
    let counted = journal
        .reading()
        .look(move |looking| match selection::<T>(&query) {
            Ok(all) => {
                let none = Selection { limit: 0, ..all };
                inspect::select(&ring, &none, looking).map(Ok)
            }
            Err(problem) => Ok(Err(problem)),
        })
        .await??;
    Ok(Json(
        json!({ "count": counted.total, "cursor": counted.cursor }),
    ))
}

/// `POST requests/wait` and `POST messages/wait`
pub(super) async fn wait_for<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(asked): JsonBody<Waiting>,
) -> Answered<Response> {
    let reading = panel.app.journal.reading();
    let wanted = reading.look(move |_| Ok(wanted::<T>(&asked))).await??;
    let ring = T::ring(&panel.app.journal);
    let found = wait(reading, ring, wanted.clone()).await?;
    let problem = match found.end {
        End::Satisfied => None,
        End::TooMany => Some(Problem::TooMany(format!(
            "{} {} match, {}",
            found.count,
            T::PLURAL,
            in_words(wanted.count)
        ))),
        End::TimedOut => Some(Problem::TimedOut(told(&found, &wanted))),
    };
    let (status, before) = problem
        .as_ref()
        .map_or_else(|| (StatusCode::OK, Map::new()), Problem::document);
    let mut after = Map::from_iter([("cursor".to_owned(), json!(found.cursor))]);
    if found.end == End::TimedOut {
        after.extend(misses(&found));
    }
    let matched = found
        .into_matched()
        .map(|(cursor, entry)| Some(entry.render(cursor)));
    let listing = Listing {
        status,
        media_type: if problem.is_some() {
            MEDIA_TYPE
        } else {
            "application/json"
        },
        before,
        name: "matched",
        items: Box::new(matched),
        after,
    };
    listing.answer(reading).await
}

/// What to wait for.
fn wanted<T: Kind>(asked: &Waiting) -> Answered<Wait<T>> {
    if asked.timeout_ms > MAX_TIMEOUT_MS {
        return Err(bad(&format!(
            "timeout_ms: expected at most {MAX_TIMEOUT_MS}"
        )));
    }
    if asked.quiet_ms > asked.timeout_ms {
        return Err(bad("quiet_ms: expected at most timeout_ms"));
    }
    Ok(Wait {
        pattern: Arc::new(Pattern::parse(&asked.pattern)?),
        count: asked.count.count()?,
        since: asked.since,
        timeout: Duration::from_millis(asked.timeout_ms),
        quiet: Duration::from_millis(asked.quiet_ms),
    })
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
