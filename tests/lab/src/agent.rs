//! What this crate's program does behind the scenes: keeper, launcher, init and enter (see the crate's page). Each of them begins with
//! one thread, as namespaces are per thread.

mod enter;
mod init;
mod keeper;
mod launch;

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::state::{LockError, Record};

pub(crate) use enter::FOREIGN;
pub use enter::{enter, enter_switch};
pub(crate) use init::engine_arguments;
pub use init::init;
pub use keeper::keep;
pub(crate) use keeper::{Request, end_host, sweep};
pub use launch::launch;

/// One line of JSON on standard output: what became of the start of a keeper or a host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The switch is there.
    Switch(Box<Record>),
    /// The host is there.
    Host,
    /// Another lab is up.
    Taken(LockError),
    /// It failed, with the reason.
    Failed(String),
}

/// Sends the answer. Whoever asked may be gone; then there is nobody to tell.
pub(crate) fn answer(answer: &Answer) {
    if let Ok(mut text) = serde_json::to_vec(answer) {
        text.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&text).and_then(|()| stdout.flush());
    }
}
