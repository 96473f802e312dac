//! `cluster rotate-key`.

use std::time::Duration;

use crate::failure::Failure;
use crate::session::Session;
use crate::view::backup::RotatedKey;

/// Default deadline: everything is sealed again.
const ROTATE: Duration = Duration::from_secs(60);

pub async fn run(session: &Session<'_>) -> Result<(), Failure> {
    let client = session.connect().await?;
    let answer = client.rotate_key(session.deadline(ROTATE)).await?;
    session.printer().show(&RotatedKey { epoch: answer.epoch })
}
