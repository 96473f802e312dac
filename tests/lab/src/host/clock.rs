//! A wall clock of its own for one daemon, by libfaketime: the kernel has one for all hosts. Monotonic clocks stay as they are.

use std::process::Command;

use anyhow::Context;

use super::Host;
use crate::capabilities::{Capability, check, faketime};

/// Where the daemon's library looks for the shift, in the host.
const FILE: &str = "/run/lab/clock";

impl Host {
    /// Shifts the wall clock of a daemon that was started with [`crate::JacodOptions::with_own_clock`] to so many seconds from the
    /// machine's, at once.
    ///
    /// # Errors
    /// "not available here" where libfaketime is missing: ask [`crate::Capabilities`] first.
    pub fn shift_clock(&self, seconds: i64) -> anyhow::Result<()> {
        available()?;
        let path = self.path(FILE)?;
        // Renamed, as the daemon must not see an empty one.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n")).context(FILE)?;
        std::fs::rename(&fresh, &path).context(FILE)
    }

    pub(super) fn prepare_clock(&self, daemon: &mut Command) -> anyhow::Result<()> {
        let library = available()?;
        self.shift_clock(0)?;
        // The helper that starts the daemon gets the library as well, which does it no harm.
        daemon
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", FILE)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        Ok(())
    }
}

fn available() -> anyhow::Result<std::path::PathBuf> {
    let reason = check(Capability::Faketime).err().unwrap_or_default();
    faketime().with_context(|| format!("a shifted clock is not available here: {reason}"))
}
