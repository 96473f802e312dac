//! What every command gets: the global flags merged with the environment, the connection, the printer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jaco_client::{Choice, Client, Deadline, Endpoint};
use jaco_types::{ErrorCode, UserError};
use tracing::Level;

use crate::cli::Global;
use crate::failure::{Failure, complain};
use crate::printer::{Format, Printer, StdoutPrinter};
use crate::terminal;

/// Looks up an environment variable; unset and empty are the same.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One run of the program.
pub struct Session<'a> {
    global: &'a Global,
    choice: Choice,
    daemon_config: Option<PathBuf>,
}

impl<'a> Session<'a> {
    /// Merges flags and environment (a flag wins) and starts the log.
    pub fn new(global: &'a Global, environment: Environment<'_>) -> Result<Self, Failure> {
        start_log(log_level(global, environment)?);
        let daemon_config = environment("JACO_CONFIG").map(PathBuf::from);
        Ok(Session { global, choice: choice(global, environment), daemon_config })
    }

    /// A deadline: `--timeout`, else the command's own.
    pub fn deadline(&self, default: Duration) -> Deadline {
        Deadline::after(self.global.timeout.unwrap_or(default))
    }

    /// A deadline that is there only when `--timeout` is.
    pub fn deadline_if_given(&self) -> Deadline {
        self.global.timeout.map_or_else(Deadline::none, Deadline::after)
    }

    /// Connects to the daemon that the flags name.
    pub async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(Endpoint::choose(&self.choice)?).await?)
    }

    /// Connects for a command that by its nature is local: the environment's remote settings are not meant for it.
    pub async fn connect_locally(&self) -> Result<Client, Failure> {
        let choice =
            Choice { server: self.global.server.clone(), context: self.global.context.clone(), ..self.choice.clone() };
        Ok(Client::connect(Endpoint::choose(&choice)?).await?)
    }

    /// The printer of this command's results.
    pub fn printer(&self) -> StdoutPrinter {
        Printer::new(io::stdout(), self.global.output, self.global.quiet, terminal::stdout_size())
    }

    /// Path of the daemon's configuration, when the environment names one.
    pub fn daemon_config(&self) -> Option<PathBuf> {
        self.daemon_config.clone()
    }

    /// The chosen format.
    pub fn format(&self) -> Format {
        self.global.output
    }

    /// Whether only the essential is wanted.
    pub fn is_quiet(&self) -> bool {
        self.global.quiet
    }

    /// Whether remarks go to standard error as text; with `-o json` they are part of the result.
    pub fn speaks_text(&self) -> bool {
        self.global.output != Format::Json
    }

    /// A warning on standard error; with `-o json` one object.
    pub fn warn(&self, text: &str) {
        if self.speaks_text() {
            complain(&format!("Warning: {text}"));
        } else {
            complain(&serde_json::json!({ "warning": { "message": text } }).to_string());
        }
    }

    /// A line on standard error for people, left out with `--quiet` and in JSON, where standard error carries objects only.
    pub fn note(&self, text: &str) {
        if self.speaks_text() && !self.global.quiet {
            complain(text);
        }
    }
}

fn choice(global: &Global, environment: Environment<'_>) -> Choice {
    let flags = [("--ca-cert", global.ca_cert.is_some()), ("--ca-fingerprint", global.ca_fingerprint.is_some())];
    Choice {
        socket: global.socket.clone().or_else(|| environment("JACO_SOCKET").map(Into::into)),
        server: global.server.clone().or_else(|| environment("JACO_SERVER")),
        context: global.context.clone().or_else(|| environment("JACO_CONTEXT")),
        token: global.token.clone(),
        trust_flag: flags.into_iter().find_map(|(flag, given)| given.then_some(flag)),
    }
}

/// The order of contract 1.1: flag, `-v`, environment, `warn`.
fn log_level(global: &Global, environment: Environment<'_>) -> Result<Level, UserError> {
    let (source, word) = match (&global.log_level, global.verbose) {
        (Some(level), _) => ("--log-level", level.clone()),
        (None, true) => ("-v", "debug".to_owned()),
        (None, false) => ("JACO_LOG", environment("JACO_LOG").unwrap_or_else(|| "warn".to_owned())),
    };
    parse_level(&word).ok_or_else(|| {
        UserError::new(
            ErrorCode::Usage,
            format!("{source}: {word:?} is not a log level: use debug, info, warn or error"),
        )
    })
}

/// A log level by its word.
pub fn parse_level(word: &str) -> Option<Level> {
    match word {
        "debug" => Some(Level::DEBUG),
        "info" => Some(Level::INFO),
        "warn" => Some(Level::WARN),
        "error" => Some(Level::ERROR),
        _ => None,
    }
}

fn start_log(level: Level) {
    // Fails only when there is a log already, which is as good.
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_ansi(false).try_init().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn global(arguments: &[&str]) -> Global {
        let words: Vec<_> = ["jaco", "version"].iter().chain(arguments).map(Into::into).collect();
        cli::parse(&words).map(|cli| cli.global).unwrap_or_else(|end| panic!("{end:?}"))
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let environment = |name: &str| (name == "JACO_SOCKET").then(|| "/env.sock".to_owned());
        let given = choice(&global(&["--socket", "/flag.sock"]), &environment);
        assert_eq!(given.socket, Some("/flag.sock".into()));
        assert_eq!(choice(&global(&[]), &environment).socket, Some("/env.sock".into()));
        assert_eq!(choice(&global(&[]), &|_| None).socket, None);
    }

    #[test]
    fn a_token_in_the_environment_does_not_ask_for_a_remote_daemon() {
        let environment = |name: &str| (name == "JACO_TOKEN").then(|| "secret".to_owned());
        assert!(Endpoint::choose(&choice(&global(&[]), &environment)).is_ok());
        let environment = |name: &str| (name == "JACO_SERVER").then(|| "a:7000".to_owned());
        assert!(Endpoint::choose(&choice(&global(&[]), &environment)).is_err());
    }

    #[test]
    fn log_level_order_is_flag_verbose_environment_default() {
        let info = |name: &str| (name == "JACO_LOG").then(|| "info".to_owned());
        assert_eq!(log_level(&global(&["-v", "--log-level", "error"]), &info).unwrap(), Level::ERROR);
        assert_eq!(log_level(&global(&["-v"]), &info).unwrap(), Level::DEBUG);
        assert_eq!(log_level(&global(&[]), &info).unwrap(), Level::INFO);
        assert_eq!(log_level(&global(&[]), &|_| None).unwrap(), Level::WARN);
        let loud = |name: &str| (name == "JACO_LOG").then(|| "loud".to_owned());
        assert_eq!(log_level(&global(&[]), &loud).unwrap_err().code, ErrorCode::Usage);
    }
}
