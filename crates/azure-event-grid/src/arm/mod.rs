//! The resource manager's way into the model: children that are put and removed, templates, and the
//! rules that a namespace must keep.

pub(super) mod children;
pub(super) mod deployment;
pub(super) mod edit;
pub(super) mod rules;
