//! Pulls: one at a time per image, however many replicas wait for it; a local copy stands in where the policy allows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use jaco_types::PullPolicy;
use tokio::time::Instant;

use crate::engine::{Engine, EngineError, ProgressSink, PullProgress};

/// How long a registry may take to say its first word when there is a local copy. Engines without internet wait for their
/// resolvers for much longer than a user would.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// The longest a pull may take in all.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// A pull that ended this recently answers for a replica that asks now: replicas of one change do not ask at the same instant.
const FRESH: Duration = Duration::from_secs(5);

/// Why an image is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PullError {
    /// The policy forbids pulling, and there is no local copy.
    #[error("image {image:?} is not on this node and pull_policy is never; load it here or change the policy")]
    Absent {
        /// Reference.
        image: String,
    },
    /// The registry or the engine refused.
    #[error("image {image:?} cannot be pulled: {source}")]
    Failed {
        /// Reference.
        image: String,
        /// Cause.
        source: EngineError,
    },
}

/// A pull that failed this recently answers for a replica that asks now.
const JUST_NOW: Duration = Duration::from_millis(500);

type Outcome = Result<(), PullError>;

#[derive(Clone)]
struct Flight {
    result: Shared<BoxFuture<'static, Outcome>>,
    progress: Arc<Mutex<PullProgress>>,
    begun: Instant,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PullRequest {
    pub(crate) image: String,
    pub(crate) platform: Option<String>,
    pub(crate) policy: PullKind,
}

/// The policies as a hashable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PullKind {
    PreferRemote,
    Always,
    Missing,
    Never,
}

impl From<PullPolicy> for PullKind {
    fn from(policy: PullPolicy) -> Self {
        match policy {
            PullPolicy::PreferRemote => PullKind::PreferRemote,
            PullPolicy::Always => PullKind::Always,
            PullPolicy::Missing => PullKind::Missing,
            PullPolicy::Never => PullKind::Never,
        }
    }
}

/// All pulls under way.
pub(crate) struct Pulls {
    engine: Arc<dyn Engine>,
    flights: Mutex<HashMap<PullRequest, Flight>>,
}

impl Pulls {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        Pulls { engine, flights: Mutex::new(HashMap::new()) }
    }

    /// Makes sure that the image is here; joins a pull that is under way or ended just now. `begun` is called when this call began one.
    pub(crate) async fn ensure(
        &self,
        request: PullRequest,
        watch: impl Fn(PullProgress),
        begun: impl FnOnce(),
    ) -> Outcome {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.retain(|_, flight| match flight.result.peek() {
                None => true,
                Some(Ok(())) => flight.begun.elapsed() < FRESH,
                // The retry of whoever waited for a failure comes after a second and is to ask anew.
                Some(Err(_)) => flight.begun.elapsed() < JUST_NOW,
            });
            flights
                .entry(request.clone())
                .or_insert_with(|| {
                    begun();
                    self.begin(request)
                })
                .clone()
        };
        let mut result = flight.result;
        let mut every = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                outcome = &mut result => return outcome,
                _ = every.tick() => watch(*flight.progress.lock().unwrap_or_else(PoisonError::into_inner)),
            }
        }
    }

    fn begin(&self, request: PullRequest) -> Flight {
        let progress = Arc::new(Mutex::new(PullProgress::default()));
        let heard = Arc::new(tokio::sync::Notify::new());
        let sink: ProgressSink = {
            let (progress, heard) = (Arc::clone(&progress), Arc::clone(&heard));
            Arc::new(move |now| {
                *progress.lock().unwrap_or_else(PoisonError::into_inner) = now;
                heard.notify_one();
            })
        };
        let result = ensure(Arc::clone(&self.engine), request, sink, heard).boxed().shared();
        Flight { result, progress, begun: Instant::now() }
    }
}

async fn ensure(
    engine: Arc<dyn Engine>,
    request: PullRequest,
    sink: ProgressSink,
    heard: Arc<tokio::sync::Notify>,
) -> Outcome {
    let image = request.image.clone();
    let failed = |source| PullError::Failed { image: image.clone(), source };
    let local = match request.policy {
        PullKind::Always => false,
        PullKind::PreferRemote | PullKind::Missing | PullKind::Never => {
            engine.image(&request.image).await.map_err(failed)?.is_some()
        }
    };
    match (request.policy, local) {
        (PullKind::Missing | PullKind::Never, true) => return Ok(()),
        (PullKind::Never, false) => return Err(PullError::Absent { image }),
        (PullKind::Always | PullKind::PreferRemote, _) | (PullKind::Missing, false) => {}
    }
    let reference = with_tag(&request.image);
    let pull = tokio::time::timeout(LONGEST, engine.pull(&reference, request.platform.as_deref(), sink));
    let too_slow = |bound: Duration| EngineError::Timeout {
        operation: format!("pull {}", request.image),
        seconds: bound.as_secs(),
    };
    let silence = async {
        if tokio::time::timeout(FIRST_WORD, heard.notified()).await.is_ok() || !local {
            std::future::pending::<()>().await;
        }
    };
    let result = tokio::select! {
        result = pull => result.unwrap_or_else(|_| Err(too_slow(LONGEST))),
        () = silence => Err(too_slow(FIRST_WORD)),
    };
    match result {
        Err(error) if local && !error.is_unreachable() => {
            tracing::warn!(image = %request.image, %error, "the image was not pulled; the local copy is used");
            Ok(())
        }
        other => other.map_err(failed),
    }
}

/// Without a tag or digest the engine would pull every tag of the repository.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
