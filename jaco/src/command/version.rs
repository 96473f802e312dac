//! `version`.

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::printer::View;
use crate::session::Session;

/// The bare version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `version` has no arguments.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Which build this is.
#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    commit: &'static str,
    built_at: &'static str,
}

impl View for Version {
    fn table(&self) -> String {
        format!("{}\n", self.version)
    }

    fn quiet(&self) -> String {
        self.table()
    }
}

pub fn run(session: &Session<'_>) -> Result<(), Failure> {
    let version = Version { version: VERSION, commit: env!("JACO_COMMIT"), built_at: env!("JACO_BUILT_AT") };
    session.printer().show(&version)
}
