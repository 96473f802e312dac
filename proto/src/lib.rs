//! The gRPC API of JACO, package `jaco.v1`: generated messages and services, and their conversions to and from domain types.
//!
//! Conversions out of the wire fail on "unspecified" and on anything this version does not know: nothing falls back to a default.

mod convert;
mod error;

/// Generated code of package `jaco.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("jaco.v1");
}

pub use convert::{Unknown, remark_from_wire, remark_to_wire};
pub use error::{from_status, to_status};

/// Every call of the API by its path (`/jaco.v1.Cluster/Status`), and whether its answer is a stream.
pub const CALLS: &[(&str, bool)] = include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// Largest message either side accepts, bytes: two manifests of 1 MiB with room for framing, or a long list of replicas.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// The header of an answer that was read without a majority of the cluster, and may be old: for how long there has been none, in
/// milliseconds. Absent from all others.
pub const STALE_HEADER: &str = "jaco-stale-ms";

/// Largest manifest text the daemon accepts, bytes; a larger one is `request_too_large`.
pub const MAX_MANIFEST_BYTES: usize = 256 * 1024;
