//! The five vendors, each a folder with the same files: `auth.rs` who calls, `api.rs` what can
//! be asked, `error.rs` how it refuses, `store.rs` its resources. No vendor knows another.

pub mod aliyun;
pub mod azure_event_grid;
pub mod nanomq;
pub mod tencent_iot;
pub mod tencent_tc3;
pub mod tencent_tdmq;
