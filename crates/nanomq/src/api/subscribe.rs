//! `mqtt/subscribe` and `mqtt/unsubscribe`: switched off in the real program since 2022, and
//! here unless `nanomq.subscribe_enabled` is set. Then they work for a connected client, in the
//! shape that the manual gives them (documented; the codes for what fails are assumed).

use mqttstack_base::message::{Qos, TopicFilter, check_depth};
use mqttstack_pipeline::Walk;

use super::super::cjson::{Json, to_u64};
use super::super::error::{Error, Problem};
use super::publish::topics_of;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// `mqtt/subscribe`
    Subscribe,
    /// `mqtt/unsubscribe`
    Unsubscribe,
}

/// Changes the subscriptions that one object names.
pub(crate) async fn change(item: &Json, change: Change, walk: &mut Walk<'_>) -> Result<(), Error> {
    let bad = |why: &str| Error::new(Problem::BadParameters, why);
    let client_id = item
        .get("clientid")
        .and_then(Json::text)
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| bad("clientid is not a string"))?;
    let filters = topics_of(item)
        .ok_or_else(|| bad("neither topic nor topics is a string"))?
        .into_iter()
        .map(|topic| {
            let topic = std::str::from_utf8(topic).map_err(|_| bad("a topic is not UTF-8"))?;
            let filter = TopicFilter::parse(topic).and_then(|filter| {
                check_depth(filter.as_str(), walk.app.broker.max_topic_levels()).map(|()| filter)
            });
            filter.map_err(|why| bad(&format!("the filter {topic:?}: {why}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let level = item.get("qos").and_then(Json::number).map_or(0, to_u64);
    let qos = u8::try_from(level)
        .ok()
        .and_then(Qos::from_level)
        .ok_or_else(|| bad("qos is none of 0, 1, 2"))?;
    for filter in filters {
        let broker = &walk.app.broker;
        let done = match change {
            Change::Subscribe => broker.subscribe(client_id, &filter, qos).await,
            Change::Unsubscribe => broker.unsubscribe(client_id, &filter).await,
        };
        if !done {
            let why = format!("client {client_id:?} is not connected, or may not have {filter:?}");
            return Err(Error::new(Problem::ClientOffline, why));
        }
    }
    Ok(())
}
