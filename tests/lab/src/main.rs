//! `jaco-lab`: a lab to play with, and the processes that make a lab.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "jaco-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
