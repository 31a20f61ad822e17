//! First-level topics: `CreateTopic`, `ModifyTopic`, `DeleteTopic`, `DescribeTopic`,
//! `DescribeTopicList`. A topic that is published to comes into being by itself.

use jiff::Timestamp;
use serde_json::json;

use super::parameters::{Parameters, at_most, plain_name};
use super::{Fields, fields, nothing};
use crate::TencentTdmq;
use crate::error::{Error, Resource};
use crate::store::{Instance, Topic};

fn not_found(name: &str) -> Error {
    Error::NotFound {
        resource: Resource::Topic,
        name: name.to_owned(),
    }
}

fn remark(parameters: &Parameters) -> Result<String, Error> {
    let remark = parameters.text("Remark")?.unwrap_or_default();
    at_most("Remark", remark, 128)?;
    Ok(remark.to_owned())
}

pub(super) fn create_topic(
    vendor: &TencentTdmq,
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    let name = parameters.needed_text("Topic")?;
    plain_name("Topic", name, 3..=100)?;
    let remark = remark(parameters)?;
    let limit = vendor.settings.instance.topic_limit;
    let topics = &mut instance.resources.write().topics;
    if topics.iter().any(|topic| topic.name == name) {
        return Err(Error::Exists {
            resource: Resource::Topic,
            name: name.to_owned(),
        });
    }
    if topics.len() >= limit {
        return Err(Error::TooManyTopics(limit));
    }
    topics.push(Topic {
        name: name.to_owned(),
        remark,
        created_s: now.as_second(),
    });
    Ok(fields(json!({"InstanceId": instance.id, "Topic": name})))
}

pub(super) fn modify_topic(instance: &Instance, parameters: &Parameters) -> Result<Fields, Error> {
    let name = parameters.needed_text("Topic")?;
    let remark = remark(parameters)?;
    let topics = &mut instance.resources.write().topics;
    let topic = topics
        .iter_mut()
        .find(|topic| topic.name == name)
        .ok_or_else(|| not_found(name))?;
    topic.remark = remark;
    Ok(nothing())
}

pub(super) fn delete_topic(instance: &Instance, parameters: &Parameters) -> Result<Fields, Error> {
    let name = parameters.needed_text("Topic")?;
    let topics = &mut instance.resources.write().topics;
    let at = topics
        .iter()
        .position(|topic| topic.name == name)
        .ok_or_else(|| not_found(name))?;
    topics.remove(at);
    Ok(nothing())
}

pub(super) fn describe_topic(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let name = parameters.needed_text("Topic")?;
    let resources = instance.resources.read();
    let topic = resources
        .topics
        .iter()
        .find(|topic| topic.name == name)
        .ok_or_else(|| not_found(name))?;
    Ok(fields(json!({
        "InstanceId": instance.id,
        "Topic": topic.name,
        "Remark": topic.remark,
        "CreatedTime": topic.created_s,
    })))
}

pub(super) fn describe_topic_list(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let page = parameters.page(20)?;
    let filters = parameters.filters(&["TopicName"])?;
    let resources = instance.resources.read();
    let found: Vec<&Topic> = resources
        .topics
        .iter()
        .filter(|topic| filters.iter().all(|it| it.is_contained_in(&topic.name)))
        .collect();
    let total = found.len();
    let data: Vec<_> = page
        .of(found)
        .into_iter()
        .map(|topic| {
            json!({
                "InstanceId": instance.id,
                "Topic": topic.name,
                "Remark": topic.remark,
            })
        })
        .collect();
    Ok(fields(json!({"TotalCount": total, "Data": data})))
}
