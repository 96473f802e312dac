//! The only dialer of JACO: whoever calls a daemon goes through [`Client`].
//!
//! What it adds to the generated stubs: the choice of the transport, a deadline on every call, errors as
//! [`jaco_types::UserError`], request ids that stay the same over all retries of one change, and patience while a leader is
//! being elected.
//!
//! Invariants: a change is never sent again without its request id; a call never outlives its deadline; a failure whose outcome
//! is not known is `outcome_unknown`, never a refusal. The crate starts no tasks of its own.

mod call;
mod connect;
mod deadline;
mod endpoint;
mod join;
mod members;
mod remote;
mod request_id;
mod retry;
mod rpc;
pub mod secrets;
mod staleness;

pub use call::Events;
pub use connect::Client;
pub use deadline::Deadline;
pub use endpoint::{Choice, DEFAULT_CA_CERT, DEFAULT_SOCKET, Endpoint, Remote, RemoteChoice};
pub use join::join;
pub use members::{MemberError, Members, MessageStream};
pub use staleness::Staleness;
