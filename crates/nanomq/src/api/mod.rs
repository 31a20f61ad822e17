//! What can be asked: `v1.rs` and `v4.rs` read requests and walk them, the other files each
//! know one noun that both or one of them speak of.

pub mod clients;
pub mod control;
pub mod figures;
pub mod publish;
pub mod route;
pub mod subscribe;
pub mod topic_tree;
pub mod v1;
pub mod v4;
