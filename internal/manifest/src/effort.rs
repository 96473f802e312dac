//! How much work a test made, told by the processor time of its thread: a busy machine does not change it.

use std::time::Duration;

/// A moment in the work of this thread.
pub(crate) struct Effort(Duration);

impl Effort {
    /// Now.
    pub(crate) fn begin() -> Effort {
        Effort(spent())
    }

    /// Processor time since then.
    pub(crate) fn spent(&self) -> Duration {
        spent() - self.0
    }
}

fn spent() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
