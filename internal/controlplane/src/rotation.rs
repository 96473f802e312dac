//! Changing the cluster's data key: a new one with copies for those who are members now, everything sealed with it, the old ones dropped.
//!
//! Each of these is a step of its own, so that whoever leads goes on where another one stopped. [`plan_rotation`] says which is next; it
//! is due by itself when somebody who is no member has a copy of the newest key.
//!
//! Invariants:
//! - A data key goes only when nothing is sealed with it.
//! - A join and a new key exclude each other: both write the newest data key's record and check that it is unchanged.

use jaco_identity::{DataKey, DataKeyCopy, SealPublicKey, Sealed};
use jaco_state::{Leadership, ProposeError, RequestId, Retry, Transaction, UpdateError, View, update};
use jaco_types::{Authority, ErrorCode, Node, RecoveryRecipient, UserError};

use crate::enrolment::Enrolment;
use crate::sealing::{AUTHORITY_PLACE, Sealing};

type Record = jaco_types::DataKey;

/// Most steps of a pass: each one follows from the commit of the one before.
const PASSES: usize = 16;

fn failed(reason: impl std::fmt::Display) -> UserError {
    UserError::new(ErrorCode::Internal, "the cluster's data key cannot be changed").with("reason", reason)
}

fn newest(view: &View) -> Option<&Record> {
    view.list::<Record>().last()
}

/// Whether the newest data key has to be replaced: a node that is no member has a copy of it.
pub fn rotation_due(view: &View) -> bool {
    newest(view).is_some_and(|record| record.copies.keys().any(|node| view.get::<Node>(node).is_none()))
}

/// The next step of a rotation that is due or under way; `None` when there is none. For the leader's loop, which adds a check of its
/// term, and runs it after every change of [`Node`], [`jaco_types::DataKey`] and [`Authority`] records.
///
/// Pure but for the random numbers of keys and nonces.
///
/// # Errors
/// `internal` when this node has no copy of a key, or something does not open.
pub fn plan_rotation(view: &View, sealing: &Sealing) -> Result<Option<Transaction>, UserError> {
    if rotation_due(view) {
        return rotate(view, sealing, "system").map(Some);
    }
    let Some(newest) = newest(view) else { return Ok(None) };
    match seal_again(view, sealing, newest.epoch)? {
        Some(transaction) => Ok(Some(transaction)),
        None => Ok(drop_unused(view, newest.epoch)),
    }
}

/// Makes the next data key, with a copy for each member and for the recovery key. It seals from its commit on; [`plan_rotation`] has
/// what follows.
///
/// # Errors
/// `cluster_uninitialized` before there is a first key; `internal` when the system gives no random numbers.
pub fn rotate(view: &View, sealing: &Sealing, actor: &str) -> Result<Transaction, UserError> {
    let none = || UserError::new(ErrorCode::ClusterUninitialized, "this node does not belong to a cluster");
    let cluster = view.cluster().ok_or_else(none)?;
    let present = newest(view).ok_or_else(none)?;
    let recovery = view.list::<RecoveryRecipient>().next().ok_or_else(none)?;
    // Whoever cannot open what there is cannot seal it again either: said here, before there is a key more.
    if sealing.keyring(view)?.get(present.epoch).is_none() {
        return Err(failed(format!("this node has no copy of data key {}", present.epoch)));
    }
    let key = DataKey::generate(present.epoch.saturating_add(1)).map_err(failed)?;
    let copy = |recipient: &str| {
        let recipient: SealPublicKey = recipient.parse().map_err(failed)?;
        DataKeyCopy::seal(&key, &recipient, &cluster.cluster_id).map(|copy| copy.to_text()).map_err(failed)
    };
    let members = view.list::<Node>().filter(|node| !node.seal_key.is_empty());
    let copies = members.map(|node| Ok((node.id.to_string(), copy(&node.seal_key)?)));
    let record = Record {
        epoch: key.epoch(),
        copies: copies.collect::<Result<_, UserError>>()?,
        recovery: copy(&recovery.public_key)?,
    };
    let (old, new) = (Record::key_of(present.epoch), Record::key_of(record.epoch));
    let mut transaction = Transaction::new(actor);
    transaction.check_unchanged::<Record>(old.clone(), view.version::<Record>(&old)).check_absent::<Record>(new);
    transaction.audit("key_rotated", [("epoch", record.epoch.to_string())]);
    // Written again as it is, so that a join that began before is refused and looks again.
    transaction.put(present.clone()).put(record);
    Ok(transaction)
}

/// Seals with the newest key what is sealed with an older one. A kind of record that gets a sealed field is added here and in
/// [`oldest_in_use`]; whoever writes such a record checks that the newest data key is unchanged.
fn seal_again(view: &View, sealing: &Sealing, newest: u64) -> Result<Option<Transaction>, UserError> {
    let stale: Vec<&Authority> = view.list::<Authority>().filter(|record| record.key.epoch < newest).collect();
    if stale.is_empty() {
        return Ok(None);
    }
    let keyring = sealing.keyring(view)?;
    if keyring.newest_epoch() != Some(newest) {
        return Err(failed(format!("this node has no copy of data key {newest}")));
    }
    let mut transaction = Transaction::new("system");
    for record in stale {
        let sealed = Sealed::from_record(&record.key).map_err(failed)?;
        let opened = keyring.open(AUTHORITY_PLACE, &sealed).map_err(failed)?;
        let key = keyring.seal(AUTHORITY_PLACE, &opened).map_err(failed)?.to_record();
        check_authority(&mut transaction, view);
        transaction.put(Authority { key, certificate: record.certificate.clone() });
    }
    Ok(Some(transaction))
}

/// The oldest data key that something is sealed with.
fn oldest_in_use(view: &View) -> Option<u64> {
    view.list::<Authority>().map(|record| record.key.epoch).min()
}

fn drop_unused(view: &View, newest: u64) -> Option<Transaction> {
    let needed = oldest_in_use(view).unwrap_or(newest).min(newest);
    let unused: Vec<u64> = view.list::<Record>().map(|record| record.epoch).filter(|epoch| *epoch < needed).collect();
    if unused.is_empty() {
        return None;
    }
    let mut transaction = Transaction::new("system");
    check_authority(&mut transaction, view);
    for epoch in unused {
        let key = Record::key_of(epoch);
        transaction.check_unchanged::<Record>(key.clone(), view.version::<Record>(&key)).delete::<Record>(key);
    }
    Some(transaction)
}

fn check_authority(transaction: &mut Transaction, view: &View) {
    // Its key: the only record of its kind.
    transaction.check_unchanged::<Authority>("authority", view.version::<Authority>("authority"));
}

impl Enrolment {
    /// One pass of the leader's loop about the data key: carries out what [`plan_rotation`] says, each step with a check of the term.
    /// Does nothing on a node that does not lead.
    ///
    /// # Errors
    /// Those of [`plan_rotation`], and of the write path.
    pub async fn keep_key(&self) -> Result<(), UserError> {
        for _ in 0..PASSES {
            let Leadership::Leader { term } = self.store.leadership() else { return Ok(()) };
            let Some(mut step) = plan_rotation(&self.store.view(), &self.sealing)? else { return Ok(()) };
            step.check_term(term);
            let index = match self.store.propose(step).await {
                Ok(commit) => commit.index,
                // Overtaken by a newer state, which the next round looks at.
                Err(ProposeError::Refused { index, .. }) => index,
                Err(error) => return Err(error.user_error()),
            };
            self.store.reached(index).await.map_err(|error| error.user_error())?;
        }
        Ok(())
    }

    /// Makes a new data key, seals everything with it and drops the old ones. Gives the new key's epoch. What a failure interrupts is
    /// carried on by the leader's loop. The same request makes one key only.
    ///
    /// # Errors
    /// Those of [`rotate`], and of the write path.
    pub async fn rotate_key(&self, actor: &str, request_id: Option<RequestId>) -> Result<u64, UserError> {
        let plan = |view: &View| {
            if request_id.as_ref().is_some_and(|id| view.commit_of(id).is_some()) {
                return Ok(None);
            }
            let mut transaction = rotate(view, &self.sealing, actor)?;
            if let Some(id) = request_id {
                transaction.request_id(id);
            }
            Ok(Some(transaction))
        };
        update(&*self.store, Retry::default(), plan).await.map_err(UpdateError::<UserError>::into_user_error)?;
        let follow = |view: &View| plan_rotation(view, &self.sealing);
        while update(&*self.store, Retry::default(), follow)
            .await
            .map_err(UpdateError::<UserError>::into_user_error)?
            .is_some()
        {}
        newest(&self.store.view()).map(|record| record.epoch).ok_or_else(|| failed("the new key was not stored"))
    }
}

#[cfg(test)]
mod tests;
