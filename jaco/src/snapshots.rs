//! The state of deployments again and again: read at once, and anew after every change that the daemon tells of.

use std::time::Duration;

use jaco_client::{Client, Deadline, Events};
use jaco_proto::v1::{StatusRequest, StatusResponse, SubscribeRequest, SubscribeResponse, subscribe_response};
use jaco_types::{ErrorCode, UserError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::follow::{PATIENCE, PAUSE, is_lost};

/// Changes that come within this time of each other lead to one snapshot: a start of thirty replicas is a burst, and nobody sees
/// frames faster than this.
const GATHER: Duration = Duration::from_millis(50);

/// Deadline of each single call.
const CALL: Duration = Duration::from_secs(10);

/// An endless series of snapshots.
pub struct Snapshots<'a> {
    client: &'a Client,
    request: StatusRequest,
    watch: SubscribeRequest,
    events: Option<Events<SubscribeResponse>>,
    begun: bool,
    interrupted: bool,
    last_heard: Instant,
}

impl<'a> Snapshots<'a> {
    /// Snapshots of what `request` asks for, after changes to `deployment` (empty: to anything).
    pub fn new(client: &'a Client, request: StatusRequest, deployment: &str) -> Self {
        let watch = SubscribeRequest { deployment: deployment.to_owned(), ..SubscribeRequest::default() };
        Snapshots { client, request, watch, events: None, begun: false, interrupted: false, last_heard: Instant::now() }
    }

    /// Whether the daemon was there when it was last looked for.
    pub fn is_connected(&self) -> bool {
        self.events.is_some()
    }

    /// Whether the connection was lost since this was last asked, and a warning written about it.
    pub fn take_interruption(&mut self) -> bool {
        std::mem::take(&mut self.interrupted)
    }

    /// The first snapshot at once; each later one after a change, or after `tick` without one. It may equal the one before.
    ///
    /// Errors: what the daemon refuses; `unreachable` when it has been away for 15 s. Dropping the future loses nothing.
    pub async fn next(&mut self, tick: Option<Duration>) -> Result<StatusResponse, UserError> {
        if self.begun {
            self.wait_for_change(tick).await?;
        }
        loop {
            if self.events.is_none() {
                self.connect().await?;
            }
            match self.client.status(self.request.clone(), Deadline::after(CALL)).await {
                Err(error) if is_lost(&error) && self.begun => self.lost(&error),
                Err(error) => return Err(error),
                Ok(status) => {
                    self.begun = true;
                    self.last_heard = Instant::now();
                    return Ok(status);
                }
            }
        }
    }

    async fn wait_for_change(&mut self, tick: Option<Duration>) -> Result<(), UserError> {
        match tick {
            Some(tick) => match timeout(tick, self.change()).await {
                Ok(result) => result?,
                Err(_) => return Ok(()),
            },
            None => self.change().await?,
        }
        let end = Instant::now() + GATHER;
        while let Ok(result) = timeout_at(end, self.change()).await {
            result?;
        }
        Ok(())
    }

    /// Waits for one change; a lost connection counts as one, as anything may have changed meanwhile.
    async fn change(&mut self) -> Result<(), UserError> {
        loop {
            let Some(events) = &mut self.events else { return self.connect().await };
            match events.next().await {
                Ok(Some(event)) => {
                    self.last_heard = Instant::now();
                    if is_whole(&event) {
                        return Ok(());
                    }
                }
                Ok(None) => self.lost(&UserError::new(ErrorCode::Unreachable, "the daemon ended the watch")),
                Err(error) if is_lost(&error) => self.lost(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn lost(&mut self, error: &UserError) {
        if self.events.take().is_some() {
            self.interrupted = true;
            tracing::warn!(reason = error.message, "lost the daemon, trying to reach it again");
        }
    }

    async fn connect(&mut self) -> Result<(), UserError> {
        loop {
            let again = self.begun;
            if again {
                tokio::time::sleep(PAUSE).await;
            }
            match self.client.subscribe(self.watch.clone(), Deadline::after(CALL)).await {
                Ok(events) => {
                    self.events = Some(events);
                    return Ok(());
                }
                Err(error) if again && is_lost(&error) && self.last_heard.elapsed() < PATIENCE => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether this completes a change: a resync comes in parts.
fn is_whole(event: &SubscribeResponse) -> bool {
    match &event.event {
        Some(subscribe_response::Event::Resync(resync)) => !resync.more,
        Some(subscribe_response::Event::Changes(_)) => true,
        None => false,
    }
}
