//! What a namespace is: its resources in the shapes of the vendor's templates, the small languages
//! in them (topic templates, group queries, event filters), who may do what, and how much.

pub(super) mod access;
pub(super) mod attribute;
pub(super) mod authentication;
pub(super) mod enrichment;
pub(super) mod filter;
pub(super) mod limits;
mod parsed;
pub(super) mod query;
pub(super) mod rates;
pub(super) mod resource;
pub(super) mod resources;
pub(super) mod roles;
pub(super) mod template;
pub(super) mod topic;
