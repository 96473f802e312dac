//! `jacod`: one daemon per node. It holds the control plane, the scheduler, the engine's driver and the ingress.

mod adapt;
mod config;
mod contact;
mod daemon;
mod departure;
mod diagnostics;
mod fencing;
mod founding;
mod listeners;
mod logging;
mod members;
mod metrics;
mod names;
mod node_id;
mod record;
mod recover;
mod renewal;
mod restore;
mod sessions;
mod sockets;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use jaco_controlplane::FEATURE_LEVEL;
use jaco_types::UserError;

use crate::config::{Config, Surroundings, interfaces};
use crate::daemon::Loaded;
use crate::logging::Logging;

/// Commits and proxied requests are many small allocations, freed on other threads than made on (docs/adr/0007).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The daemon's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One JACO node.
#[derive(Debug, Parser)]
#[command(name = "jacod", version, disable_version_flag = true)]
struct Arguments {
    /// Configuration file; a missing one means the defaults.
    #[arg(long, env = "JACO_CONFIG", default_value_os_t = config::default_path().to_owned())]
    config: PathBuf,
    /// Print the version and end.
    #[arg(long, short = 'V')]
    version: bool,
    /// Pass for a version whose newest feature level is this one: for rehearsals of upgrades.
    #[arg(long, hide = true, default_value_t = FEATURE_LEVEL, value_parser = clap::value_parser!(u32).range(1..))]
    feature_level: u32,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the configuration in force, defaults included, and end.
    Config,
    /// Make this node the only member of a cluster again, from a backup. jacod is stopped meanwhile.
    Restore(restore::RestoreArguments),
    /// Make this node the only member of its cluster, whose majority is lost for good. jacod is stopped meanwhile.
    Recover(recover::RecoverArguments),
    /// Watches over exclusive containers apart from the daemon, which starts it.
    #[command(hide = true)]
    Guard(fencing::GuardArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.version {
        return print(VERSION);
    }
    match start(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have begun: the reason goes to stderr in any case, with its whole chain.
            report(&format!("jacod: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(Command::Guard(arguments)) = &arguments.command {
        fencing::guard(arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut config = Config::load(&arguments.config, &surroundings()?)?;
    config.feature_level = arguments.feature_level;
    match &arguments.command {
        Some(Command::Config) => Ok(print(config.to_yaml().trim_end())),
        Some(Command::Restore(arguments)) => {
            config.override_data_dir();
            Ok(finish(restore::run(arguments, &config), arguments.json))
        }
        Some(Command::Recover(arguments)) => {
            config.override_data_dir();
            Ok(finish(recover::run(arguments, &config), arguments.json))
        }
        Some(Command::Guard(_)) | None => {
            let logging = Logging::start(config.log_level)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("jacod").build()?;
            runtime.block_on(daemon::run(Loaded { config, logging }))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn surroundings() -> anyhow::Result<Surroundings> {
    let hostname = nix::unistd::gethostname().context("the system's host name cannot be read")?;
    Ok(Surroundings {
        system_hostname: hostname.to_string_lossy().into_owned(),
        interfaces: interfaces().context("the machine's addresses cannot be read")?,
        log_override: std::env::var("JACO_LOG").ok().filter(|level| !level.is_empty()),
    })
}

/// Says what a command came to: text, or one JSON object for the command line client, which shows it in its own way.
fn finish<T: std::fmt::Display + serde::Serialize>(result: Result<T, UserError>, json: bool) -> ExitCode {
    match result {
        Ok(done) if json => print(&serde_json::json!({ "result": done }).to_string()),
        Ok(done) => print(&done.to_string()),
        Err(error) => {
            if json {
                let UserError { code, message, details } = &error;
                let object = serde_json::json!({ "code": code.as_str(), "message": message, "details": details });
                print(&serde_json::json!({ "error": object }).to_string());
            } else {
                let reason = error.details.get("reason").map(|reason| format!(": {reason}")).unwrap_or_default();
                report(&format!("Error: {}: {}{reason}", error.code, error.message));
            }
            ExitCode::from(error.code.exit_code())
        }
    }
}

#[allow(clippy::print_stdout)] // What was asked for on the command line.
fn print(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)] // The last words of a daemon that cannot log.
fn report(text: &str) {
    eprintln!("{text}");
}
