//! The runtime that raft runs on, as a parameter of [`ControlPlane`](crate::ControlPlane).
//!
//! Other crates name [`Runtime`] and the two runtimes here and need not know what library is below.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};

use crate::options::Randomness;

/// The runtime of a daemon: tokio's, with the system's random numbers.
#[allow(deprecated)] // The crate that the hint names is no dependency of ours; this is the same type.
pub type TokioRuntime = openraft::TokioRuntime;

/// What raft may run on.
pub trait Runtime: AsyncRuntime {
    /// Runs a future; where the runtime can, everything raft draws at random in it and in the tasks it starts comes from here.
    fn with_randomness<F>(_randomness: Arc<dyn Randomness>, future: F) -> impl Future<Output = F::Output> + Send
    where
        F: Future + Send,
    {
        future
    }
}

impl Runtime for TokioRuntime {}

/// Tokio's runtime with the random numbers of [`Options::randomness`](crate::Options::randomness), for simulations.
///
/// On a current-thread runtime with paused time, what raft does then depends on that source alone.
pub struct SeededRuntime(TokioRuntime);

tokio::task_local! {
    /// Where the tasks of one node draw from.
    static SOURCE: Arc<dyn Randomness>;
}

impl Runtime for SeededRuntime {
    fn with_randomness<F>(randomness: Arc<dyn Randomness>, future: F) -> impl Future<Output = F::Output> + Send
    where
        F: Future + Send,
    {
        SOURCE.scope(randomness, future)
    }
}

impl fmt::Debug for SeededRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededRuntime")
    }
}

/// A generator over the source of the running task.
pub struct TaskRandomness(Arc<dyn Randomness>);

impl rand::TryRng for TaskRandomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        for piece in buffer.chunks_mut(8) {
            let bytes = self.0.next_u64().to_le_bytes();
            piece.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// What draws outside of a node's tasks get: the same row of numbers on every thread. Raft draws only within its tasks.
struct Fixed(RefCell<u64>);

thread_local! {
    static FIXED: Fixed = const { Fixed(RefCell::new(0)) };
}

struct FixedSource;

impl Randomness for FixedSource {
    fn next_u64(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        FIXED.with(|fixed| {
            let mut state = fixed.0.borrow_mut();
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }
}

impl AsyncRuntime for SeededRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = TaskRandomness;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match SOURCE.try_with(Arc::clone) {
            Ok(source) => TokioRuntime::spawn(SOURCE.scope(source, future)),
            Err(_outside) => TokioRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TaskRandomness(SOURCE.try_with(Arc::clone).unwrap_or_else(|_outside| Arc::new(FixedSource)))
    }

    fn new(threads: usize) -> Self {
        SeededRuntime(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// On this thread: what blocks would make the order of events depend on the machine.
    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(work()))
    }
}

/// Runs what blocks apart from the runtime's threads, or at once when it does not block.
pub(crate) async fn blocking<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if !blocks {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
