//! A view of the store as the messages of the API. Pure.

mod deployment;
mod replica;
mod route;

pub(crate) use deployment::{deployment, history, services};
pub use replica::SoftReplica;
pub(crate) use replica::{ReplicaFilter, replicas};
pub(crate) use route::{plain_http_remark, routes};
