//! What can be asked: `v1.rs` and `v4.rs` read requests and walk them, the other files each
//! know one noun that both or one of them speak of.

pub(crate) mod clients;
pub(crate) mod control;
pub(crate) mod figures;
pub(crate) mod publish;
pub(crate) mod route;
pub(crate) mod subscribe;
pub(crate) mod topic_tree;
pub(crate) mod v1;
pub(crate) mod v4;
