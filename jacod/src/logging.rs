//! Structured logs: journald fields under systemd, JSON lines where nobody reads along, text on a terminal.
//!
//! The level can be changed while the daemon runs. The newest lines are kept in memory, and what libraries repeat is left out.

mod recent;
mod repeats;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use jaco_api::LogLevels;
use jaco_types::{ErrorCode, UserError};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::LogLevel;

pub(crate) use recent::Recent;
use repeats::Repeats;

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Journal,
    Json,
    Text,
}

/// The level in force, and the way to change it.
#[derive(Clone)]
pub(crate) struct Logging {
    level: Arc<Mutex<LogLevel>>,
    filter: reload::Handle<EnvFilter, Registry>,
    recent: Recent,
}

impl Logging {
    /// Starts logging for the whole process; called once, first of all.
    pub(crate) fn start(level: LogLevel) -> Result<Logging, anyhow::Error> {
        let (filter, handle) = reload::Layer::new(filter(level));
        let recent = Recent::default();
        let kept = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(recent.clone());
        let kept = kept.with_filter(LevelFilter::TRACE);
        let registry = tracing_subscriber::registry().with(filter).with(Repeats::default()).with(kept);
        match target(std::env::var_os("JOURNAL_STREAM").is_some(), std::io::stderr().is_terminal()) {
            Target::Journal => {
                let journal =
                    tracing_journald::layer()?.with_syslog_identifier("jacod".to_owned()).with_field_prefix(None);
                registry.with(journal).try_init()?;
            }
            Target::Json => {
                let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
                registry.with(json.with_filter(LevelFilter::TRACE)).try_init()?;
            }
            Target::Text => {
                let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
                registry.with(text.with_filter(LevelFilter::TRACE)).try_init()?;
            }
        }
        Ok(Logging { level: Arc::new(Mutex::new(level)), filter: handle, recent })
    }

    /// The newest lines.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }
}

/// Under systemd stderr leads to the journal, so its fields are used; a terminal gets text; everything else JSON.
fn target(journal: bool, terminal: bool) -> Target {
    match (journal, terminal) {
        (true, _) => Target::Journal,
        (false, true) => Target::Text,
        (false, false) => Target::Json,
    }
}

/// Our own crates at the level asked for; libraries no louder than `warn`, as their debug output drowns ours.
fn filter(level: LogLevel) -> EnvFilter {
    let own = [
        "jacod",
        "jaco_api",
        "jaco_controlplane",
        "jaco_ingress",
        "jaco_runtime",
        "jaco_scheduler",
        "jaco_state",
        "jaco_task",
    ];
    let level = level.as_str();
    let outside = if level == "error" { "error" } else { "warn" };
    let directives = own.iter().fold(outside.to_owned(), |text, name| format!("{text},{name}={level}"));
    EnvFilter::new(directives)
}

impl LogLevels for Logging {
    fn level(&self) -> String {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).as_str().to_owned()
    }

    fn set_level(&self, text: &str) -> Result<(), UserError> {
        let level = LogLevel::parse(text).ok_or_else(|| {
            UserError::new(
                ErrorCode::ValidationFailed,
                format!("{text:?} is no log level; it is one of debug, info, warn, error"),
            )
            .with("field", "level")
        })?;
        self.filter
            .reload(filter(level))
            .map_err(|error| UserError::internal("the log level could not be changed", error))?;
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_comes_first_then_the_terminal() {
        assert_eq!(target(true, true), Target::Journal);
        assert_eq!(target(false, true), Target::Text);
        assert_eq!(target(false, false), Target::Json);
    }

    #[test]
    fn libraries_are_quieter_than_our_own_crates() {
        let text = filter(LogLevel::Debug).to_string();
        assert!(text.contains("jacod=debug") && text.contains("warn"), "{text}");
        assert!(!text.contains("h2=debug"), "{text}");
    }
}
