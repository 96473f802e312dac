//! `context`: the clusters file.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::contexts::{Clusters, ContextFile};
use crate::failure::Failure;
use crate::session::Session;
use crate::view::context::{Contexts, Imported, InUse};

/// Commands about the clusters file. No daemon is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The contexts there are.
    List,
    /// Use a context when none is named.
    Use {
        /// The context.
        name: String,
    },
    /// Take in a context that `jaco cluster init --context-file` wrote.
    Import {
        /// The file.
        file: PathBuf,
    },
}

pub fn run(command: &Command, session: &Session<'_>) -> Result<(), Failure> {
    let path = session.clusters_file()?;
    match command {
        Command::List => session.printer().show(&Contexts::from(Clusters::read(&path)?)),
        Command::Use { name } => {
            let mut clusters = Clusters::read(&path)?;
            clusters.find(name, &path)?;
            clusters.current_context = Some(name.clone());
            clusters.write(&path)?;
            session.printer().show(&InUse { current_context: name.clone() })
        }
        Command::Import { file } => {
            let mut clusters = Clusters::read(&path)?;
            let directory = path.parent().unwrap_or(Path::new("."));
            let context = ContextFile::read(file)?.unpack(directory)?;
            let name = context.name.clone();
            // The only one is the one that is meant.
            if clusters.contexts.is_empty() {
                clusters.current_context = Some(name.clone());
            }
            clusters.put(context);
            clusters.write(&path)?;
            let current = clusters.current_context.as_ref() == Some(&name);
            session.printer().show(&Imported { name, current, clusters_file: path })
        }
    }
}
