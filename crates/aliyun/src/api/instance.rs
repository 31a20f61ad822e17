//! `ListInstances`.

use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::Instance;
use crate::wire::{Field, Value};

/// `InstanceStatus` of one that runs (assumed: the figure of the vendor's sibling product).
const RUNNING: i64 = 5;

/// `InstanceType` (assumed; its figures are not documented).
const PROFESSIONAL: i64 = 2;

/// The oldest kernel that takes `SendMessage` (documented).
const KERNEL: &str = "3.3.0";

/// 100 years, which is how long an instance here is paid for, in milliseconds.
const PAID_MS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

/// `ListInstances`. No instance has tags.
#[derive(Debug)]
pub(crate) struct ListInstances {
    tagged: bool,
}

impl ListInstances {
    #[expect(clippy::unnecessary_wraps, reason = "every action is parsed alike")]
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            tagged: !matches!(parameters.get("Tags"), "" | "[]"),
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "every action is performed alike")]
    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        if self.tagged {
            walk.draft.note("hint: no instance here has tags");
        }
        let items = if self.tagged {
            Vec::new()
        } else {
            aliyun.store.each(item)
        };
        // Code and Success are texts in this action alone (documented: the SDK's model of it).
        Ok(vec![
            Field::new("Code", "200"),
            Field::new("Message", "operation success."),
            Field::new("Success", "true"),
            Field::list("Instances", items),
        ])
    }
}

fn item(id: &str, instance: &Instance) -> Value<'static> {
    Value::Object(vec![
        Field::new("InstanceId", id.to_owned()),
        Field::new("InstanceName", id.to_owned()),
        Field::new("InstanceStatus", RUNNING),
        Field::new("InstanceType", PROFESSIONAL),
        Field::new("RegionId", instance.region.clone()),
        Field::new("KernelVersion", KERNEL),
        Field::new("OrderId", ""),
        Field::new("Specific", ""),
        Field::new("CreateTime", instance.created_ms),
        Field::new("ExpireTime", instance.created_ms + PAID_MS),
        Field::list("MqttTags", Vec::<&str>::new()),
    ])
}
