//! `jaco`, the command line client.
//!
//! Each command is one file under `command/`; what it prints are the types under `view/`, pure functions of the daemon's answers;
//! `printer` is the only way to standard output, and `failure` the only place that turns an error into text and an exit code.

// A program has no outside: `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

mod bundle;
mod cli;
mod command;
mod contexts;
mod doctor;
mod failure;
mod follow;
mod global;
mod printer;
mod private_file;
mod progress;
mod session;
mod snapshots;
mod table;
mod terminal;
mod text;
mod view;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use failure::{Failure, Reporting};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let compat = environment("JACO_EXIT_COMPAT").is_some_and(|value| value == "1");
    let reporting = |json| Reporting { json, compat };
    match cli::parse(&arguments) {
        Ok(cli) => {
            let json = cli.global.output == printer::Format::Json;
            reporting(json).exit(&run(&cli, &environment))
        }
        Err(cli::ParseEnd::Print(text)) => reporting(false).exit(&printer::print_plain(&text)),
        Err(cli::ParseEnd::Usage { error, help }) => {
            if let Some(help) = help {
                failure::complain(&help);
            }
            reporting(cli::asks_for_json(&arguments)).exit(&Err(Failure::from(error)))
        }
    }
}

fn run<'a>(cli: &'a cli::Cli, environment: session::Environment<'a>) -> Result<(), Failure> {
    let session = session::Session::new(&cli.global, environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| jaco_types::UserError::internal("the client's runtime cannot be started", error))?;
    runtime.block_on(async {
        tokio::select! {
            result = command::run(&cli.command, &session) => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        }
    })
}
