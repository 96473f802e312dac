//! Making systemd start the daemon at boot.

use std::io;
use std::time::Duration;

use tokio::process::Command;

use crate::text::one_line;

/// The daemon's unit.
const UNIT: &str = "jaco.service";

/// systemd answers at once or hangs; the cluster is made either way.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabled {
    /// Whether systemd starts the daemon at boot from now on.
    pub enabled: bool,
    /// The same in words.
    pub text: String,
}

impl Enabled {
    /// `--no-systemd-enable`.
    pub fn not_wanted() -> Self {
        Enabled { enabled: false, text: format!("{UNIT} was left as it is (--no-systemd-enable).") }
    }
}

/// Enables the unit, without starting it. Never fails: the cluster exists already.
pub async fn enable() -> Enabled {
    let mut command = Command::new("systemctl");
    command.args(["enable", UNIT]).kill_on_drop(true);
    let no = |text: String| Enabled { enabled: false, text };
    let by_hand = format!("start jacod at boot yourself, or run: systemctl enable {UNIT}");
    match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            Enabled { enabled: true, text: format!("{UNIT} is enabled: systemd starts jacod at boot.") }
        }
        Ok(Ok(output)) => {
            let reason = one_line(String::from_utf8_lossy(&output.stderr).trim());
            no(format!("{UNIT} could not be enabled ({reason}); {by_hand}"))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            no("This machine has no systemctl: start jacod at boot by its own means.".to_owned())
        }
        Ok(Err(error)) => no(format!("{UNIT} could not be enabled ({error}); {by_hand}")),
        Err(_) => no(format!("{UNIT} could not be enabled (systemctl does not answer); {by_hand}")),
    }
}
