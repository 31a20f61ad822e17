//! The five vendors, each a folder with the same files: `auth.rs` who calls, `api.rs` what can
//! be asked, `error.rs` how it refuses, `store.rs` its resources. No vendor knows another;
//! [`Vendors`] is the list of those that this version emulates.

pub mod aliyun;
pub mod azure_event_grid;
pub mod nanomq;
pub mod tencent_iot;
pub mod tencent_tc3;
pub mod tencent_tdmq;

use crate::app::App;
use crate::exchange::{Answer, BodyPolicy, Head, Request, Surface};

/// The vendors of one emulator. A new vendor is one more field and one more arm in each match.
#[derive(Debug, Clone, Default)]
pub struct Vendors {}

impl Vendors {
    /// Walks a request for one surface; `None` where that surface is not emulated.
    pub async fn answer(&self, app: &App, surface: Surface, request: &Request) -> Option<Answer> {
        let _ = (app, surface, request);
        None
    }

    /// How a surface wants a body read.
    pub fn body_policy(&self, surface: Surface, head: &Head) -> BodyPolicy {
        let _ = (surface, head);
        BodyPolicy::default()
    }

    /// Puts every vendor's resources back to the configured ones.
    pub fn reset(&self) {}
}
