//! What every command gets: the global flags merged with the environment, the connection, the printer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jaco_client::{Choice, Client, Deadline, Endpoint, RemoteChoice, Staleness};
use jaco_types::{ErrorCode, UserError};
use tracing::Level;

use crate::contexts::{self, Clusters};
use crate::failure::{Failure, complain};
use crate::global::Global;
use crate::printer::{Format, Printer, StdoutPrinter};
use crate::terminal;
use crate::text::duration;

/// Looks up an environment variable; unset and empty are the same.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One run of the program.
pub struct Session<'a> {
    global: &'a Global,
    environment: Environment<'a>,
    /// What the daemon's last answer said of its age.
    staleness: Staleness,
}

impl<'a> Session<'a> {
    /// Merges flags and environment (a flag wins) and starts the log.
    pub fn new(global: &'a Global, environment: Environment<'a>) -> Result<Self, Failure> {
        start_log(log_level(global, environment)?);
        Ok(Session { global, environment, staleness: Staleness::default() })
    }

    /// A deadline: `--timeout`, else the command's own.
    pub fn deadline(&self, default: Duration) -> Deadline {
        Deadline::after(self.global.timeout.unwrap_or(default))
    }

    /// A deadline that is there only when `--timeout` is.
    pub fn deadline_if_given(&self) -> Deadline {
        self.global.timeout.map_or_else(Deadline::none, Deadline::after)
    }

    /// Connects to the daemon that flags, environment and clusters file name; not for longer than `--timeout`.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let endpoint = Endpoint::choose(&choice(self.global, self.environment)?)?;
        let shown = endpoint.to_string();
        let deadline = self.deadline_if_given();
        let connected = deadline.limit(Client::connect(endpoint)).await.ok_or_else(|| {
            let after = duration(deadline.length());
            UserError::new(ErrorCode::Unreachable, format!("no connection to {shown} within {after} (--timeout)"))
        })?;
        Ok(connected?.with_staleness(self.staleness.clone()))
    }

    /// Connects for a command that by its nature is local: only the control socket counts, and the environment's remote settings are not
    /// meant for it.
    pub async fn connect_locally(&self) -> Result<Client, Failure> {
        let flags = [("--server", self.global.server.is_some()), ("--context", self.global.context.is_some())];
        if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
            let text = format!("{flag} is not for this command: it works on the node itself, by its control socket");
            return Err(UserError::new(ErrorCode::Usage, text).into());
        }
        let socket = self.global.socket.clone().or_else(|| (self.environment)("JACO_SOCKET").map(Into::into));
        Ok(Client::connect(Endpoint::choose(&Choice { socket, remote: None })?).await?)
    }

    /// The join token: `--token`, else `JACO_JOIN_TOKEN`.
    pub fn join_token(&self) -> Result<String, Failure> {
        self.global.token.clone().or_else(|| (self.environment)("JACO_JOIN_TOKEN")).ok_or_else(|| {
            let text = "the join token is missing: give it with --token or JACO_JOIN_TOKEN; `jaco node issue-join-token` on a member makes one";
            UserError::new(ErrorCode::Usage, text).into()
        })
    }

    /// Where the clusters file is.
    pub fn clusters_file(&self) -> Result<PathBuf, Failure> {
        Ok(clusters_file(self.environment)?)
    }

    /// The printer of this command's results.
    pub fn printer(&self) -> StdoutPrinter {
        Printer::new(io::stdout(), self.global.output, self.global.quiet, terminal::stdout_size())
            .with_staleness(self.staleness.clone())
    }

    /// Path of the daemon's configuration, when the environment names one.
    pub fn daemon_config(&self) -> Option<PathBuf> {
        (self.environment)("JACO_CONFIG").map(PathBuf::from)
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

fn clusters_file(environment: Environment<'_>) -> Result<PathBuf, UserError> {
    contexts::default_path(environment).ok_or_else(|| {
        UserError::new(
            ErrorCode::Usage,
            "there is no place for the clusters file: neither XDG_CONFIG_HOME nor HOME is set",
        )
    })
}

/// The transport: what flags say, else what the environment says, else the clusters file's current context, else the default socket.
/// `--server` goes before `--context`, and either before `--socket`.
fn choice(global: &Global, environment: Environment<'_>) -> Result<Choice, UserError> {
    let socket = |path: PathBuf| Ok(Choice { socket: Some(path), remote: None });
    let remote = |choice: RemoteChoice| Choice { remote: Some(with_login(choice, global, environment)), socket: None };
    let server = |servers: String| Ok(remote(RemoteChoice { servers, ..RemoteChoice::default() }));
    let context = |name: &str, path: &Path, clusters: &Clusters| Ok(remote(clusters.find(name, path)?.choice()));
    let named = |name: &str| {
        let path = clusters_file(environment)?;
        context(name, &path, &Clusters::read(&path)?)
    };
    if let Some(servers) = &global.server {
        return server(servers.clone());
    }
    if let Some(name) = &global.context {
        return named(name);
    }
    if let Some(path) = &global.socket {
        refuse_token(global)?;
        return socket(path.clone());
    }
    if let Some(servers) = environment("JACO_SERVER") {
        return server(servers);
    }
    if let Some(name) = environment("JACO_CONTEXT") {
        return named(&name);
    }
    if let Some(path) = environment("JACO_SOCKET") {
        refuse_token(global)?;
        return socket(path.into());
    }
    if let Some(path) = contexts::default_path(environment) {
        let clusters = Clusters::read(&path)?;
        if let Some(name) = &clusters.current_context {
            return context(name, &path, &clusters);
        }
    }
    refuse_token(global)?;
    Ok(Choice::default())
}

/// A token on the command line is meant for a remote node: over the socket it would be the wider rights of the socket that count.
fn refuse_token(global: &Global) -> Result<(), UserError> {
    match &global.token {
        None => Ok(()),
        Some(_) => Err(UserError::new(
            ErrorCode::Usage,
            "--token is for remote nodes: add --server or --context; the control socket needs no token",
        )),
    }
}

/// Token and trust: what flags and environment say goes before what the context says.
fn with_login(choice: RemoteChoice, global: &Global, environment: Environment<'_>) -> RemoteChoice {
    let token = global.token.clone().or_else(|| environment("JACO_TOKEN"));
    let (ca_cert, ca_fingerprint) = match (&global.ca_cert, &global.ca_fingerprint) {
        (None, None) => (environment("JACO_CA_CERT"), environment("JACO_CA_FINGERPRINT")),
        (file, fingerprint) => (file.clone(), fingerprint.clone()),
    };
    let given = ca_cert.is_some() || ca_fingerprint.is_some();
    RemoteChoice {
        token: token.or(choice.token),
        ca_cert: if given { ca_cert.map(PathBuf::from) } else { choice.ca_cert },
        ca_fingerprint,
        ..choice
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

    /// What is chosen, as text: `socket <path>`, `remote <servers> <token> <ca> <fingerprint>`, or the error's code.
    fn chosen(arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let environment =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        match choice(&global(arguments), &environment) {
            Err(error) => error.code.to_string(),
            Ok(Choice { remote: Some(remote), .. }) => format!(
                "remote {} {} {} {}",
                remote.servers,
                text(remote.token),
                text(remote.ca_cert.map(|path| path.display().to_string())),
                text(remote.ca_fingerprint)
            ),
            Ok(Choice { socket, remote: None }) => {
                format!("socket {}", text(socket.map(|path| path.display().to_string())))
            }
        }
    }

    #[test]
    fn the_transport_is_what_is_said_most_plainly() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().to_str().unwrap();
        let cluster = |current: Option<&str>| {
            let context = |name: &str| contexts::Context {
                name: name.into(),
                server_addrs: vec![format!("{name}:7000")],
                ca_cert_path: Some("/context.crt".into()),
                token: Some("ct".into()),
                client_cert_path: None,
                client_key_path: None,
            };
            let clusters = Clusters {
                current_context: current.map(str::to_owned),
                contexts: vec![context("prod"), context("test")],
            };
            clusters.write(&directory.path().join("jaco/clusters.yaml")).unwrap();
        };
        cluster(None);
        let xdg = ("XDG_CONFIG_HOME", config);
        assert_eq!(chosen(&[], &[]), "socket -");
        assert_eq!(chosen(&[], &[xdg]), "socket -");
        assert_eq!(chosen(&["--socket", "/f"], &[("JACO_SOCKET", "/e")]), "socket /f");
        assert_eq!(chosen(&[], &[("JACO_SOCKET", "/e")]), "socket /e");
        assert_eq!(chosen(&["--server", "a:1", "--socket", "/f"], &[]), "remote a:1 - - -");
        assert_eq!(chosen(&[], &[("JACO_SERVER", "a:1"), ("JACO_SOCKET", "/e")]), "remote a:1 - - -");
        assert_eq!(chosen(&["--socket", "/f"], &[("JACO_SERVER", "a:1")]), "socket /f");
        assert_eq!(chosen(&["--context", "test"], &[xdg]), "remote test:7000 ct /context.crt -");
        assert_eq!(chosen(&[], &[xdg, ("JACO_CONTEXT", "test")]), "remote test:7000 ct /context.crt -");
        assert_eq!(chosen(&["--context", "none"], &[xdg]), "usage");
        assert_eq!(chosen(&["--context", "test"], &[]), "usage", "no home");
        cluster(Some("prod"));
        assert_eq!(chosen(&[], &[xdg]), "remote prod:7000 ct /context.crt -");
        assert_eq!(chosen(&[], &[xdg, ("JACO_SOCKET", "/e")]), "socket /e");
    }

    #[test]
    fn token_and_trust_come_from_flag_environment_context_in_this_order() {
        let env = [("JACO_SERVER", "a:1"), ("JACO_TOKEN", "et"), ("JACO_CA_CERT", "/e.crt")];
        assert_eq!(chosen(&[], &env), "remote a:1 et /e.crt -");
        assert_eq!(chosen(&["--token", "ft", "--ca-cert", "/f.crt"], &env), "remote a:1 ft /f.crt -");
        assert_eq!(chosen(&["--ca-fingerprint", "ff"], &env), "remote a:1 et - ff");
        assert_eq!(chosen(&["--ca-cert", ""], &env), "remote a:1 et  -", "an empty path stays one");
    }

    #[test]
    fn a_token_in_the_environment_does_not_ask_for_a_remote_daemon_and_one_on_the_command_line_wants_one() {
        assert_eq!(chosen(&[], &[("JACO_TOKEN", "secret")]), "socket -");
        assert_eq!(chosen(&["--token", "t"], &[]), "usage");
        assert_eq!(chosen(&["--token", "t", "--socket", "/s"], &[]), "usage");
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
