//! Long answers: an object with one list in it, rendered page by page on a thread of its own and
//! sent as it is rendered, so that a list of any length takes little memory.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use mqttstack_pipeline::journal::{Halt, Looking, Reading};
use serde_json::{Map, Value};

use super::problem::Problem;

/// How long a page is, in bytes, give or take one item.
const PAGE: usize = 256 << 10;

/// The items of a list, each rendered when it is its turn; one that is gone by then gives `None`.
pub(super) type Items = Box<dyn Iterator<Item = Option<Value>> + Send>;

/// An object with a list in it.
pub(super) struct Listing {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    /// The members before the list.
    pub(super) before: Map<String, Value>,
    /// The name of the list.
    pub(super) name: &'static str,
    pub(super) items: Items,
    /// The members behind the list.
    pub(super) after: Map<String, Value>,
}

impl Listing {
    /// A list with the status 200.
    pub(super) fn new(name: &'static str, items: Items) -> Self {
        Self {
            status: StatusCode::OK,
            media_type: "application/json",
            before: Map::new(),
            name,
            items,
            after: Map::new(),
        }
    }

    /// Renders the first page, and the others while the answer is sent. An answer that fits on
    /// one page has a length.
    pub(super) async fn answer(self, reading: &Reading) -> Result<Response, Problem> {
        let mut text = Vec::from(b"{");
        members(&mut text, &self.before);
        if !self.before.is_empty() {
            text.push(b',');
        }
        text.extend(Value::from(self.name).to_string().bytes());
        text.extend(b":[");
        let sheet = Sheet {
            items: self.items,
            text,
            first: true,
            after: self.after,
        };
        let (first, rest) = next(reading, sheet).await?;
        let body = match rest {
            None => Body::from(first),
            Some(rest) => {
                let sent = Some((Some(first), Some(rest), reading.clone()));
                Body::from_stream(stream::unfold(sent, |state| async {
                    let (ready, rest, reading) = state?;
                    if let Some(page) = ready {
                        return Some((Ok::<_, Infallible>(page), Some((None, rest, reading))));
                    }
                    // A page that cannot be rendered leaves the answer unfinished; its status
                    // has long been sent.
                    let (page, rest) = next(&reading, rest?).await.ok()?;
                    Some((Ok(page), Some((None, rest, reading))))
                }))
            }
        };
        Ok((self.status, [(header::CONTENT_TYPE, self.media_type)], body).into_response())
    }
}

/// A page that is being rendered, and what comes behind it.
struct Sheet {
    items: Items,
    text: Vec<u8>,
    /// Whether no item has been rendered yet.
    first: bool,
    after: Map<String, Value>,
}

async fn next(reading: &Reading, sheet: Sheet) -> Result<(Bytes, Option<Sheet>), Halt> {
    reading.look(move |looking| page(sheet, looking)).await
}

fn page(mut sheet: Sheet, looking: &mut Looking) -> Result<(Bytes, Option<Sheet>), Halt> {
    while sheet.text.len() < PAGE {
        looking.step()?;
        match sheet.items.next() {
            None => {
                sheet.text.push(b']');
                if !sheet.after.is_empty() {
                    sheet.text.push(b',');
                }
                members(&mut sheet.text, &sheet.after);
                sheet.text.push(b'}');
                return Ok((sheet.text.into(), None));
            }
            Some(None) => {}
            Some(Some(item)) => {
                if !std::mem::replace(&mut sheet.first, false) {
                    sheet.text.push(b',');
                }
                write(&mut sheet.text, &item);
            }
        }
    }
    let text = std::mem::take(&mut sheet.text);
    Ok((text.into(), Some(sheet)))
}

fn members(text: &mut Vec<u8>, members: &Map<String, Value>) {
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend(Value::from(name.as_str()).to_string().bytes());
        text.push(b':');
        write(text, value);
    }
}

fn write(text: &mut Vec<u8>, value: &Value) {
    // A value is always JSON, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(text, value);
}
