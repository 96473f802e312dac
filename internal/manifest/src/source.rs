//! From the files of a project to the one compose text that is sent to the daemon.
//!
//! Order, per file: YAML, variables, `include`, `extends`, then the merge over the files before it; at the end profiles,
//! `env_file`, and environment keys without value. The daemon takes the text as final: nothing in it refers to a file or to a
//! variable any more. A text to which nothing of that happened is sent byte for byte.
//!
//! Files come through [`Files`] only. Everything is bounded: the size of each file, their number, the depth of `include` and
//! `extends`, and the size of what comes out.

mod documents;
mod environment;
mod extends;
mod files;
mod include;
mod paths;
mod profiles;
mod project;
mod render;

#[cfg(test)]
mod tests;

pub use files::{Disk, Files, MapFiles, ReadError};
pub(crate) use project::read;
pub use project::{MAX_TEXT_BYTES, Project, ProjectRequest, read_project};
pub(crate) use render::{finish_received, marked_service_keys};
