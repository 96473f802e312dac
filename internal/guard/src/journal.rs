//! What the guard has to say.

use std::io::Write as _;

/// A line for the daemon's journal. There is nobody else to tell, and nobody who must listen.
pub(crate) fn say(text: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "jaco-guard: {text}");
}
