//! The cloud API `mqtt`, version 2024-05-16: `POST /` with `X-TC-Action`. One file per noun;
//! every action is one function of the action's name. Users, policies and topics are the data
//! plane's own, clients are the broker's, messages are the instance's
//! own.
//!
//! Field names and required fields: tencentcloud-sdk-python-mqtt 3.1.195, models.py. The front
//! door (signature, headers, envelope) is the crate `tencent-cloud-api`.

mod authenticators;
mod clients;
mod condition;
mod instances;
mod messages;
mod parameters;
mod policies;
mod subscriptions;
mod topics;
mod users;

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::exchange::Answer;
use mqttstack_pipeline::Walk;
use mqttstack_tencent_cloud_api::{self as cloud_api, Invocation, Tc3Error};
use serde_json::{Map, Value};

use self::authenticators::Type;
use self::parameters::Parameters;
use super::error::{Error, Resource};
use super::store::Instance;
use super::{SERVICE, TencentTdmq, VERSION};

/// The fields of an answer.
type Fields = Map<String, Value>;

macro_rules! actions {
    ($($action:ident [$($parameter:literal)*])*) => {
        /// An action of the cloud API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action {
            $(#[doc = concat!("`", stringify!($action), "`")] $action,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// The vendor's name of it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)*
                }
            }

            const fn parameters(self) -> &'static [&'static str] {
                match self {
                    $(Self::$action => &[$($parameter,)*],)*
                }
            }
        }
    };
}

actions! {
    PublishMessage ["InstanceId" "Payload" "TargetTopic" "TargetClientId" "Encoding" "Qos" "Retain"]
    CreateUser ["InstanceId" "Username" "Password" "Remark"]
    ModifyUser ["InstanceId" "Username" "Remark"]
    DeleteUser ["InstanceId" "Username"]
    DescribeUserList ["InstanceId" "Filters" "Offset" "Limit"]
    CreateAuthorizationPolicy ["InstanceId" "PolicyName" "PolicyVersion" "Priority" "Effect" "Actions" "Retain" "Qos" "Resources" "Username" "ClientId" "Ip" "Remark"]
    ModifyAuthorizationPolicy ["Id" "InstanceId" "PolicyName" "PolicyVersion" "Priority" "Effect" "Actions" "Retain" "Qos" "Resources" "Username" "ClientId" "Ip" "Remark"]
    DeleteAuthorizationPolicy ["InstanceId" "Id"]
    DescribeAuthorizationPolicies ["InstanceId"]
    UpdateAuthorizationPolicyPriority ["InstanceId" "Priorities"]
    CreateTopic ["InstanceId" "Topic" "Remark"]
    ModifyTopic ["InstanceId" "Topic" "Remark"]
    DeleteTopic ["InstanceId" "Topic"]
    DescribeTopic ["InstanceId" "Topic"]
    DescribeTopicList ["InstanceId" "Filters" "Offset" "Limit"]
    DescribeInstance ["InstanceId"]
    DescribeInstanceList ["Filters" "Offset" "Limit" "TagFilters"]
    DescribeClientList ["InstanceId" "ClientId" "Number" "OnlineStatus" "MaxTimestamp"]
    KickOutClient ["InstanceId" "ClientId" "DeleteSession"]
    AddClientSubscription ["InstanceId" "ClientId" "TopicFilter" "Qos"]
    DeleteClientSubscription ["InstanceId" "ClientId" "TopicFilter"]
    DescribeClientEvents ["InstanceId" "StartTime" "EndTime" "ClientId"]
    DescribeWillMessage ["InstanceId" "ClientId"]
    DescribeMessageList ["InstanceId" "Topic" "StartTime" "EndTime" "TaskRequestId" "Offset" "Limit"]
    DescribeMessageByTopic ["InstanceId" "Topic" "StartTime" "MaxNumber" "FilterExpression"]
    DescribeMessageDetails ["InstanceId" "MessageId" "Subscription"]
    CreateJWTAuthenticator ["InstanceId" "Algorithm" "From" "Secret" "PublicKey" "Status" "Remark"]
    ModifyJWTAuthenticator ["InstanceId" "Algorithm" "From" "Secret" "PublicKey" "Status" "Remark" "Text"]
    CreateJWKSAuthenticator ["InstanceId" "Endpoint" "RefreshInterval" "Text" "Status" "Remark" "From"]
    ModifyJWKSAuthenticator ["InstanceId" "Endpoint" "RefreshInterval" "Text" "Status" "Remark" "From"]
    DescribeAuthenticator ["InstanceId" "Type"]
    DeleteAuthenticator ["InstanceId" "Type"]
}

/// A call that was signed well and asks for a known action.
#[derive(Debug)]
pub struct CloudCall {
    /// Who calls.
    pub secret_id: String,
    /// What is asked for.
    pub action: Action,
    parameters: Parameters,
}

/// Verifies the signature, then the version, the action and the parameters' names.
pub(super) fn admit(vendor: &TencentTdmq, walk: &mut Walk<'_>) -> Result<CloudCall, Error> {
    walk.draft.operation = cloud_api::action(walk.request);
    let asked = walk.draft.operation.as_deref();
    let mut names = Action::ALL.iter().map(|action| action.name());
    walk.draft.known = names.find(|name| Some(*name) == asked);
    let caller = cloud_api::verify(walk.request, &vendor.cloud, walk.receipt.now, SERVICE)?;
    walk.draft.caller = Some(caller.secret_id.clone());
    walk.draft.hints.extend(cloud_api::hint(&vendor.cloud));
    let invocation = caller.invocation;
    if invocation.version != VERSION {
        return Err(Tc3Error::NoSuchVersion(invocation.version).into());
    }
    let action = Action::ALL
        .iter()
        .copied()
        .find(|action| action.name() == invocation.action)
        .ok_or_else(|| Tc3Error::InvalidAction(invocation.action.clone()))?;
    check_region(&invocation, &vendor.settings.regions)?;
    let fields = cloud_api::parameters(walk.request)?;
    let are_text = cloud_api::are_text(walk.request);
    Ok(CloudCall {
        secret_id: caller.secret_id,
        action,
        parameters: Parameters::new(fields, are_text, action.parameters())?,
    })
}

/// Every action's page requires a region; which ones there are was not found.
fn check_region(invocation: &Invocation, regions: &[String]) -> Result<(), Tc3Error> {
    if !regions.is_empty() {
        return invocation.check_region(regions);
    }
    let named = invocation.region.clone().filter(|name| name.contains('-'));
    invocation.check_region(&[named.unwrap_or_else(|| "ap-guangzhou".to_owned())])
}

/// Performs the action and answers.
pub(super) async fn perform(
    vendor: &TencentTdmq,
    call: CloudCall,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    let fields = act(vendor, call.action, &call.parameters, walk).await?;
    Ok(cloud_api::success(walk.receipt, fields))
}

async fn act(
    vendor: &TencentTdmq,
    action: Action,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    let now = walk.receipt.now;
    if action == Action::DescribeInstanceList {
        return instances::describe_instance_list(vendor, parameters);
    }
    let instance = instance(vendor, parameters, walk)?;
    match action {
        Action::CreateUser => users::create_user(&instance, parameters, now, &walk.app.ids),
        Action::ModifyUser => users::modify_user(&instance, parameters, now),
        Action::DeleteUser => users::delete_user(&instance, parameters),
        Action::DescribeUserList => users::describe_user_list(&instance, parameters),
        Action::CreateAuthorizationPolicy => {
            policies::create_authorization_policy(&instance, parameters, now)
        }
        Action::ModifyAuthorizationPolicy => {
            policies::modify_authorization_policy(&instance, parameters, now)
        }
        Action::DeleteAuthorizationPolicy => {
            policies::delete_authorization_policy(&instance, parameters)
        }
        Action::DescribeAuthorizationPolicies => {
            Ok(policies::describe_authorization_policies(&instance))
        }
        Action::UpdateAuthorizationPolicyPriority => {
            policies::update_authorization_policy_priority(&instance, parameters, now)
        }
        Action::CreateTopic => topics::create_topic(vendor, &instance, parameters, now),
        Action::ModifyTopic => topics::modify_topic(&instance, parameters),
        Action::DeleteTopic => topics::delete_topic(&instance, parameters),
        Action::DescribeTopic => topics::describe_topic(&instance, parameters),
        Action::DescribeTopicList => topics::describe_topic_list(&instance, parameters),
        Action::DescribeInstance => Ok(instances::describe_instance(vendor, &instance)),
        Action::DescribeInstanceList => Ok(Fields::new()),
        Action::PublishMessage
        | Action::DescribeMessageList
        | Action::DescribeMessageByTopic
        | Action::DescribeMessageDetails => {
            act_on_messages(vendor, action, &instance, parameters, walk).await
        }
        Action::CreateJWTAuthenticator
        | Action::ModifyJWTAuthenticator
        | Action::CreateJWKSAuthenticator
        | Action::ModifyJWKSAuthenticator
        | Action::DescribeAuthenticator
        | Action::DeleteAuthenticator => act_on_authenticators(action, &instance, parameters, now),
        Action::DescribeClientList
        | Action::KickOutClient
        | Action::AddClientSubscription
        | Action::DeleteClientSubscription
        | Action::DescribeClientEvents
        | Action::DescribeWillMessage => {
            act_on_client(vendor, action, &instance, parameters, walk).await
        }
    }
}

async fn act_on_messages(
    vendor: &TencentTdmq,
    action: Action,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    match action {
        Action::DescribeMessageList => {
            messages::describe_message_list(vendor, instance, parameters, walk)
        }
        Action::DescribeMessageByTopic => {
            messages::describe_message_by_topic(vendor, instance, parameters, walk).await
        }
        Action::DescribeMessageDetails => {
            messages::describe_message_details(vendor, instance, parameters)
        }
        _ => messages::publish_message(vendor, instance, parameters, walk).await,
    }
}

fn act_on_authenticators(
    action: Action,
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    match action {
        Action::CreateJWTAuthenticator => {
            authenticators::create(instance, Type::Jwt, parameters, now)
        }
        Action::ModifyJWTAuthenticator => authenticators::modify(instance, Type::Jwt, parameters),
        Action::CreateJWKSAuthenticator => {
            authenticators::create(instance, Type::Jwks, parameters, now)
        }
        Action::ModifyJWKSAuthenticator => authenticators::modify(instance, Type::Jwks, parameters),
        Action::DeleteAuthenticator => authenticators::delete_authenticator(instance, parameters),
        _ => authenticators::describe_authenticator(instance, parameters),
    }
}

async fn act_on_client(
    vendor: &TencentTdmq,
    action: Action,
    instance: &Instance,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    match action {
        Action::KickOutClient => clients::kick_out_client(instance, parameters, walk).await,
        Action::AddClientSubscription => {
            subscriptions::add_client_subscription(instance, parameters, walk).await
        }
        Action::DeleteClientSubscription => {
            subscriptions::delete_client_subscription(instance, parameters, walk).await
        }
        Action::DescribeClientEvents => {
            clients::describe_client_events(vendor, instance, parameters)
        }
        Action::DescribeWillMessage => {
            clients::describe_will_message(instance, parameters, walk).await
        }
        _ => clients::describe_client_list(vendor, instance, parameters, walk).await,
    }
}

fn instance(
    vendor: &TencentTdmq,
    parameters: &Parameters,
    walk: &mut Walk<'_>,
) -> Result<Arc<Instance>, Error> {
    let id = parameters.needed_text("InstanceId")?;
    walk.draft.hints.extend(vendor.store.creates(id));
    vendor.store.find(id).ok_or_else(|| Error::NotFound {
        resource: Resource::Instance,
        name: id.to_owned(),
    })
}

/// The fields of a JSON object.
fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

/// Nothing but the request id.
fn nothing() -> Fields {
    Fields::new()
}
