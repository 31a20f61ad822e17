//! Tokens: temporary rights on topics, for clients that connect in token mode.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::message::TopicFilter;
use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::token::{Rights, TOKEN_BYTES, Token};
use crate::topic;
use crate::wire::Field;

/// The shortest life that may be asked for (documented).
const MIN_LIFE: SignedDuration = SignedDuration::from_secs(60);

/// The longest life; more is cut to this without an error (documented).
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many topics a token may name (documented).
const MAX_RESOURCES: usize = 100;

/// `ApplyToken`: `ExpireTime` is an absolute time in milliseconds, `Actions` is `R`, `W` or
/// `R,W`, `Resources` up to 100 topics or filters with commas between.
#[derive(Debug)]
pub(crate) struct ApplyToken {
    resources: String,
    instance_id: String,
    expire_time: String,
    actions: String,
}

impl ApplyToken {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            resources: parameters.required("Resources")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
            expire_time: parameters.required("ExpireTime")?.to_owned(),
            actions: parameters.required("Actions")?.to_owned(),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let rights = Rights::from_actions(&self.actions).ok_or_else(|| {
            walk.draft.note(format!(
                "Actions {:?} is none of R, W and R,W",
                self.actions
            ));
            Error::InvalidParameter("Actions")
        })?;
        let expires = self.expires(walk)?;
        super::use_instance(
            aliyun,
            &self.instance_id,
            Error::InstancePermissionCheckFailed,
            walk,
        )?;
        let resources = self.resources(aliyun, walk)?;
        let text = BASE64_STANDARD.encode(walk.app.ids.bytes::<TOKEN_BYTES>());
        let token = Token {
            instance: self.instance_id,
            owner: walk.draft.caller.clone().unwrap_or_default(),
            resources,
            rights,
            expires,
            revoked: false,
        };
        if !aliyun.store.tokens.add(&text, token, walk.receipt.now) {
            walk.draft.note("too many tokens are alive");
            return Err(Error::ApplyTokenOverFlow);
        }
        Ok(vec![Field::new("Token", text)])
    }

    fn expires(&self, walk: &mut Walk<'_>) -> Result<Timestamp, Error> {
        let text = &self.expire_time;
        let at = super::number("ExpireTime", text, 0..=i64::MAX, walk.draft)?;
        let now = walk.receipt.now;
        let latest = now.checked_add(MAX_LIFE).unwrap_or(Timestamp::MAX);
        let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX);
        if at.duration_since(now) < MIN_LIFE {
            walk.draft.note(format!(
                "ExpireTime is {at}, a token lives 60 s at least and it is {now}; it is an \
                 absolute time in milliseconds"
            ));
            return Err(Error::ParameterCheckFailed);
        }
        if at > latest {
            walk.draft.note("hint: the life was cut to 30 days");
        }
        Ok(at.min(latest))
    }

    fn resources(&self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Vec<TopicFilter>, Error> {
        let names: Vec<_> = self.resources.split(',').collect();
        if names.len() > MAX_RESOURCES {
            walk.draft.note(format!(
                "Resources names {} topics, {MAX_RESOURCES} are allowed",
                names.len()
            ));
            return Err(Error::ParameterCheckFailed);
        }
        if !names.is_sorted() {
            walk.draft
                .note("hint: the vendor wants Resources in alphabetical order");
        }
        let mut filters = Vec::with_capacity(names.len());
        for name in names {
            let checked = topic::parent_of_filter(name, &aliyun.settings).and_then(|parent| {
                Ok((parent, TopicFilter::parse(name).map_err(|e| e.to_string())?))
            });
            let (parent, filter) = checked.map_err(|problem| {
                walk.draft.note(format!("resource {name:?}: {problem}"));
                Error::ParameterCheckFailed
            })?;
            super::use_topic(aliyun, &self.instance_id, parent, walk)?;
            filters.push(filter);
        }
        Ok(filters)
    }
}

/// `QueryToken`: whether a token is good now.
#[derive(Debug)]
pub(crate) struct QueryToken {
    token: String,
    instance_id: String,
}

impl QueryToken {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            token: parameters.required("Token")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        super::use_instance(
            aliyun,
            &self.instance_id,
            Error::InstancePermissionCheckFailed,
            walk,
        )?;
        let tokens = &aliyun.store.tokens;
        let rights = tokens.get(&self.token).map(|token| token.rights);
        let rights = rights.unwrap_or(Rights {
            read: true,
            write: true,
        });
        let good = tokens.check(&self.token, &self.instance_id, rights, walk.receipt.now);
        if let Err(fault) = &good {
            walk.draft.note(format!("the token is not good: {fault}"));
        }
        Ok(vec![Field::new("TokenStatus", good.is_ok())])
    }
}

/// `RevokeToken`: the token loses its rights; clients that are connected with it are told and
/// disconnected. A token that is not there is no error (assumed).
#[derive(Debug)]
pub(crate) struct RevokeToken(QueryToken);

impl RevokeToken {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        QueryToken::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let QueryToken { token, instance_id } = self.0;
        super::use_instance(
            aliyun,
            &instance_id,
            Error::InstancePermissionCheckFailed,
            walk,
        )?;
        if aliyun.store.tokens.revoke(&token, &instance_id) {
            aliyun.look_at_tokens();
        } else {
            walk.draft.note("hint: the instance has no such token");
        }
        Ok(Vec::new())
    }
}
