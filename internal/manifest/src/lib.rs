//! Reads what a user wrote: `jaco.yaml`, the compose file with everything it refers to, and dotenv files; and turns it into
//! the deployment the rest of the program works with.
//!
//! The client reads a project with [`check`] (or [`read_project`]) and sends two texts that refer to nothing outside of them; the
//! daemon turns the texts into a deployment with [`resolve`]. Both end in the same [`model`].
//!
//! Nothing here touches a socket or the process environment, and the disk only through [`Disk`], an implementation of [`Files`].
//! Variables come from the `environment:` file alone. No input makes it panic, and time and memory are bounded.

mod diagnostic;
pub mod diff;
#[cfg(test)]
mod effort;
pub mod envfile;
pub mod interpolate;
pub mod jaco_yaml;
mod merge;
pub mod model;
pub mod reading;
mod resolve;
mod source;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use resolve::{Checked, Resolution, SourceNames, check, resolve};
pub use source::{Disk, Files, MAX_TEXT_BYTES, MapFiles, Project, ProjectRequest, ReadError, read_project};
pub use yaml::{Entry, MergeTag, Node, Position, Scalar, Value};
