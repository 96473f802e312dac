//! The command line: every flag and argument, and what a wrong one leads to.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use jaco_types::{ErrorCode, UserError};

use crate::command::version::VERSION;
use crate::command::{
    apply, audit, backup, cluster, completions, context, debug, delete, doctor, get, history, logs, node, restore,
    rollback, status, token, validate, version,
};
use crate::global::Global;

/// Runs containers on a cluster of machines, as jaco.yaml and compose files say.
#[derive(Debug, Parser)]
#[command(name = "jaco", version = VERSION, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a cluster, and see it as a whole.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Nodes and their daemons.
    #[command(subcommand)]
    Node(node::Command),
    /// Operators: their tokens and client certificates.
    #[command(subcommand)]
    Token(token::Command),
    /// Remote clusters by name, in the clusters file.
    #[command(subcommand)]
    Context(context::Command),
    /// Bring a deployment to what its files say.
    Apply(apply::Arguments),
    /// Deployments, replicas and routes at a glance.
    Status(status::Arguments),
    /// One kind of thing in detail.
    #[command(subcommand)]
    Get(get::Command),
    /// The stored revisions of a deployment.
    History(history::Arguments),
    /// Go back to a stored revision.
    Rollback(rollback::Arguments),
    /// Delete a deployment; its volumes stay.
    Delete(delete::Arguments),
    /// What the containers of a service print.
    Logs(logs::Arguments),
    /// Who changed what, and what happened by itself.
    Audit(audit::Arguments),
    /// Write everything the cluster keeps to a file.
    Backup(backup::Arguments),
    /// Make this node the only member of a cluster again, from a backup; jacod is stopped meanwhile.
    Restore(restore::Arguments),
    /// Check manifests on this machine, without a cluster.
    Validate(validate::Arguments),
    /// Check that this machine has what a node needs.
    Doctor(doctor::Arguments),
    /// Write a file that shows what is wrong, without secrets: states, figures and logs of all nodes that answer.
    Debug(debug::Arguments),
    /// Print the version.
    Version(version::Arguments),
    /// Print the completion script of a shell.
    Completions(completions::Arguments),
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum ParseEnd {
    /// Help or version was asked for.
    Print(String),
    /// A wrong command line; with the help text when no command was given.
    Usage {
        /// The error, code `usage`.
        error: UserError,
        /// Help to print before it.
        help: Option<String>,
    },
}

/// Parses a whole command line, the program's name first.
pub fn parse(arguments: &[OsString]) -> Result<Cli, ParseEnd> {
    Cli::try_parse_from(backup::destination_as_file(arguments)).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => ParseEnd::Print(error.render().to_string()),
        ErrorKind::DisplayVersion => ParseEnd::Print(format!("{VERSION}\n")),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ParseEnd::Usage {
            error: UserError::new(ErrorCode::Usage, "a command is missing; jaco --help lists them"),
            help: (!asks_for_json(arguments)).then(|| error.render().to_string()),
        },
        _ => ParseEnd::Usage {
            error: UserError::new(ErrorCode::Usage, usage_line(&error.render().to_string())),
            help: None,
        },
    })
}

/// Whether a command line that did not parse asks for JSON: its error comes as JSON, too.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let spellings = ["-ojson", "-o=json", "--output=json", "--format=json"];
    words.iter().any(|word| spellings.contains(word))
        || words.windows(2).any(|pair| matches!(pair, ["-o" | "--output" | "--format", "json"]))
}

/// The parser's text in one line: what is wrong and the tip, without the usage block.
fn usage_line(rendered: &str) -> String {
    rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
