//! The decisions of the cluster, as pure functions from a view to transactions.
//!
//! - [`plan`], and [`Planner`] for one view after the other: what the leader does to bring the desired replicas in line with deployments, nodes and observations: placement,
//!   scaling, rolling changes, start gates, the deployments' status, retention of revisions.
//! - [`intent`]: what a user's `apply`, `rollback`, `delete` and `cluster init` write, and when they are refused.
//!
//! Nothing here reads a clock, draws a random number or waits: the same view gives the same transactions. What a transaction relied
//! on is among its checks, so one that was computed from an old view is refused and computed anew, never wrong.
//!
//! Invariants of the plan:
//! - a plan made from a converged view is empty;
//! - replica ids are unique, and a service that counts its replicas has the indexes `0..n`;
//! - a replica stays on its node while that node may keep it;
//! - a changed spec takes away at most one running replica of a service at a time;
//! - an unchanged spec never leads to a new generation on the same node;
//! - a replica that can have two containers at a time serves where it is until it runs where it goes: meanwhile what it leaves is a
//!   desired replica of its own under the id `<id>.old`. Any other is gone from a node that is alive before it is desired elsewhere;
//! - an exclusive replica is desired on a node only together with its slot ([`exclusive`]).

mod cluster;
mod departure;
mod deployment;
pub mod exclusive;
mod facts;
mod gate;
pub mod intent;
mod liveness;
mod order;
mod placement;
mod plan;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod voters;

pub use departure::{Departures, DeparturesPlan, MOVE_LIMIT, check_drain, has_vacated, unheard};
pub use facts::{Capacity, Facts, LeaseTerms, Leases};
pub use liveness::{RECONNECT, Sessions, UNREACHABLE_AFTER, judge};
pub use plan::{Plan, Planner, plan};
pub use voters::{Member, MembershipStep, Suffrage, membership_step, voters_for};
