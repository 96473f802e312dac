//! `completions`.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;
use serde::Serialize;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::printer::View;
use crate::session::Session;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells with a script.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// Put it into /etc/bash_completion.d/jaco.
    Bash,
    /// Put it into a directory of $fpath as _jaco.
    Zsh,
    /// Put it into ~/.config/fish/completions/jaco.fish.
    Fish,
}

/// A shell's script.
#[derive(Debug, Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl View for Script {
    fn table(&self) -> String {
        self.script.clone()
    }

    fn quiet(&self) -> String {
        self.script.clone()
    }
}

pub fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    let generator = match arguments.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut Cli::command(), "jaco", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    session.printer().item(&Script { shell: generator.to_string(), script })
}
