//! Groups: the first part of client ids.

use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::client_id;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::{Group, GroupProblem, instance_problem};
use crate::wire::{Field, Value};

/// The tags of a request: pairs of `Tags.N.Key` and `Tags.N.Value`, or `Tag.N.…` (the SDK and
/// the metadata differ); or one JSON text `Tags`, as the SDK sends it.
fn tags(parameters: &Parameters<'_>) -> Vec<(String, String)> {
    let named = parameters.all().iter().filter_map(|(name, key)| {
        let place = name.strip_suffix(".Key")?;
        let (list, index) = place.split_once('.')?;
        index.parse::<u16>().ok()?;
        matches!(list, "Tag" | "Tags").then(|| {
            let value = parameters.get(&format!("{place}.Value"));
            (key.to_string(), value.to_owned())
        })
    });
    let json: Option<Vec<serde_json::Map<String, serde_json::Value>>> =
        serde_json::from_str(parameters.get("Tags")).ok();
    let text = |object: &serde_json::Map<String, serde_json::Value>, names: [&str; 2]| {
        let found = names.iter().find_map(|name| object.get(*name)?.as_str());
        found.map(ToOwned::to_owned)
    };
    let from_json = json.iter().flatten().filter_map(|object| {
        let key = text(object, ["Key", "key"])?;
        Some((key, text(object, ["Value", "value"]).unwrap_or_default()))
    });
    named.chain(from_json).collect()
}

/// How many tags a group may have, and how long a key or value may be, in characters (documented
/// for tags of the vendor's resources in general).
const MAX_TAGS: usize = 20;
const MAX_TAG_CHARS: usize = 128;

/// What is wrong with the tags of a new group, if anything.
fn tag_problem(tags: &[(String, String)]) -> Option<String> {
    if tags.len() > MAX_TAGS {
        let count = tags.len();
        return Some(format!("there are {count} tags, {MAX_TAGS} are allowed"));
    }
    let long = |text: &str| text.chars().count() > MAX_TAG_CHARS;
    tags.iter()
        .any(|(key, value)| long(key) || long(value))
        .then(|| format!("a tag's key or value has more than {MAX_TAG_CHARS} characters"))
}

/// The instance of such an action. These have a code of their own for what has not the right form.
fn use_instance(aliyun: &Aliyun, id: &str, walk: &mut Walk<'_>) -> Result<(), Error> {
    if let Some(problem) = instance_problem(id) {
        walk.draft.note(problem);
        return Err(Error::ParameterFieldCheckFailed);
    }
    super::use_instance(aliyun, id, Error::InstanceNotFound, walk)
}

fn check_form(group: &str, walk: &mut Walk<'_>) -> Result<(), Error> {
    match client_id::group_problem(group) {
        None => Ok(()),
        Some(problem) => {
            walk.draft.note(problem);
            Err(Error::ParameterFieldCheckFailed)
        }
    }
}

/// `CreateGroupId`.
#[derive(Debug)]
pub(crate) struct CreateGroupId {
    group_id: String,
    instance_id: String,
    tags: Vec<(String, String)>,
}

impl CreateGroupId {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            group_id: parameters.required("GroupId")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
            tags: tags(parameters),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        check_form(&self.group_id, walk)?;
        if let Some(problem) = tag_problem(&self.tags) {
            walk.draft.note(problem);
            return Err(Error::ParameterFieldCheckFailed);
        }
        use_instance(aliyun, &self.instance_id, walk)?;
        let group = Group {
            created_ms: walk.receipt.now.as_millisecond(),
            tags: self.tags,
        };
        let made = aliyun
            .store
            .create_group(&self.instance_id, &self.group_id, group);
        match made {
            Ok(()) => Ok(Vec::new()),
            Err(GroupProblem::Exists) => Err(Error::GroupIdAlreadyExsited),
            Err(GroupProblem::TooMany) => {
                walk.draft.note("there are too many groups or instances");
                Err(Error::CreateGroupIdError)
            }
        }
    }
}

/// `DeleteGroupId`: clients of the group stay connected and are refused when they come again.
#[derive(Debug)]
pub(crate) struct DeleteGroupId {
    group_id: String,
    instance_id: String,
}

impl DeleteGroupId {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            group_id: parameters.required("GroupId")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        check_form(&self.group_id, walk)?;
        use_instance(aliyun, &self.instance_id, walk)?;
        if aliyun.store.delete_group(&self.instance_id, &self.group_id) {
            return Ok(Vec::new());
        }
        walk.draft.note(format!(
            "instance {:?} has no group {:?}",
            self.instance_id, self.group_id
        ));
        Err(Error::ResourcePermissionCheckFailed)
    }
}

/// `ListGroupId`, all of them or those that have the tags asked for.
#[derive(Debug)]
pub(crate) struct ListGroupId {
    instance_id: String,
    tags: Vec<(String, String)>,
}

impl ListGroupId {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            tags: tags(parameters),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        use_instance(aliyun, &self.instance_id, walk)?;
        let groups = aliyun
            .store
            .instance(&self.instance_id)
            .map(|instance| instance.groups)
            .unwrap_or_default();
        let wanted = |group: &Group| self.tags.iter().all(|tag| group.tags.contains(tag));
        let items = groups
            .into_iter()
            .filter(|(_, group)| wanted(group))
            .map(|(id, group)| item(id, group, &self.instance_id));
        Ok(vec![Field::list("Data", items)])
    }
}

fn item(id: String, group: Group, instance: &str) -> Value<'static> {
    let tag = |(key, value): (String, String)| {
        vec![Field::new("TagKey", key), Field::new("TagValue", value)]
    };
    Value::Object(vec![
        Field::new("GroupId", id),
        Field::new("InstanceId", instance.to_owned()),
        Field::new("CreateTime", group.created_ms),
        Field::new("UpdateTime", group.created_ms),
        // Names are an instance's own (assumed: the figure of newer instances).
        Field::new("IndependentNaming", true),
        Field::list("Tags", group.tags.into_iter().map(tag)),
    ])
}
