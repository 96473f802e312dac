//! `context list`, `use` and `import`.

use std::path::PathBuf;

use serde::Serialize;

use crate::contexts::Clusters;
use crate::printer::View;
use crate::table::Table;

/// A context, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Context {
    pub name: String,
    pub current: bool,
    pub server_addrs: Vec<String>,
    /// `token`, `certificate` or `none`.
    pub login: &'static str,
}

/// Every context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_context: Option<String>,
    pub contexts: Vec<Context>,
}

impl From<Clusters> for Contexts {
    fn from(clusters: Clusters) -> Self {
        let current = clusters.current_context;
        let contexts = clusters
            .contexts
            .into_iter()
            .map(|context| Context {
                current: current.as_ref() == Some(&context.name),
                login: context.login(),
                name: context.name,
                server_addrs: context.server_addrs,
            })
            .collect();
        Contexts { current_context: current, contexts }
    }
}

impl View for Contexts {
    fn table(&self) -> String {
        let mut table = Table::new(&["CONTEXT", "SERVERS", "LOGIN"]);
        for row in &self.contexts {
            let mark = if row.current { "*" } else { "" };
            table.row([format!("{}{mark}", row.name), row.server_addrs.join(","), row.login.to_owned()]);
        }
        table.render()
    }

    fn quiet(&self) -> String {
        self.contexts.iter().map(|row| format!("{}\n", row.name)).collect()
    }
}

/// The context that is used from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InUse {
    pub current_context: String,
}

impl View for InUse {
    fn table(&self) -> String {
        format!("Using context {}\n", self.current_context)
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.current_context)
    }
}

/// A context that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub name: String,
    /// Whether it is the one that is used when none is named.
    pub current: bool,
    pub clusters_file: PathBuf,
}

impl View for Imported {
    fn table(&self) -> String {
        let text = format!("Imported context {} into {}\n", self.name, self.clusters_file.display());
        if self.current { text } else { format!("{text}Use it with: jaco context use {}\n", self.name) }
    }

    fn quiet(&self) -> String {
        format!("{}\n", self.name)
    }
}
