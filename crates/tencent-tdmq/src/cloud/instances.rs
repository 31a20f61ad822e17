//! `DescribeInstance` and `DescribeInstanceList`. What nothing here depends on (prices, renewal,
//! expiry, quotas of features that are not there) is left out of the answer rather than made up.

use serde_json::{Value, json};

use super::parameters::Parameters;
use super::{Fields, fields};
use crate::TencentTdmq;
use crate::error::Error;
use crate::store::Instance;

fn describe(vendor: &TencentTdmq, instance: &Instance) -> Value {
    let settings = &vendor.settings;
    let name = if instance.id == settings.instance.id {
        &settings.instance.name
    } else {
        &instance.id
    };
    json!({
        "InstanceId": instance.id,
        "InstanceName": name,
        "InstanceType": "PRO",
        "InstanceStatus": "RUNNING",
        "PayMode": "POSTPAID",
        "TopicNum": instance.resources.read().topics.len(),
        "TopicNumLimit": settings.instance.topic_limit,
        "MaxSubscriptionPerClient": settings.instance.filters_per_client,
        "ClientNumLimit": settings.instance.client_limit,
        "Remark": "",
    })
}

pub(super) fn describe_instance(vendor: &TencentTdmq, instance: &Instance) -> Fields {
    let mut answer = fields(describe(vendor, instance));
    let byoc = !vendor.settings.ca_certificates.is_empty();
    answer.insert("X509Mode".into(), if byoc { "BYOC" } else { "TLS" }.into());
    answer.insert("AuthorizationPolicy".into(), true.into());
    answer
}

pub(super) fn describe_instance_list(
    vendor: &TencentTdmq,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let page = parameters.page(100)?;
    let known = [
        "InstanceName",
        "InstanceId",
        "InstanceStatus",
        "PayMode",
        "ExpiredBefore",
    ];
    let mut filters = parameters.filters(&known)?;
    // Tags come before all other filters, and no instance here has one.
    let tagged = !parameters.objects("TagFilters")?.is_empty();
    if tagged {
        filters.clear();
    }
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let found: Vec<Value> = vendor
        .store
        .all()
        .iter()
        .map(|instance| describe(vendor, instance))
        .filter(|item| {
            !tagged
                && filters.iter().all(|filter| match filter.name.as_str() {
                    "InstanceName" => filter.is_contained_in(&text(item, "InstanceName")),
                    // Only prepaid instances expire.
                    "ExpiredBefore" => false,
                    field => filter.is_one_of(&text(item, field)),
                })
        })
        .collect();
    let total = found.len();
    Ok(fields(json!({"TotalCount": total, "Data": page.of(found)})))
}
