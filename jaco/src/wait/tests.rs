use super::*;
use crate::view::fixtures::{deployment, failing, map, replica};
use jaco_proto::v1;

fn target() -> Target {
    Target { deployment: "shop".into(), revision: 4, attempt: 7, index: 90 }
}

fn status(replicas: Vec<v1::Replica>) -> StatusResponse {
    StatusResponse { deployments: vec![deployment()], replicas, index: 90, ..StatusResponse::default() }
}

fn pending(mut status: StatusResponse) -> StatusResponse {
    status.deployments[0].status = v1::DeploymentStatus::Pending.into();
    status
}

fn verdict(status: &StatusResponse) -> Verdict {
    judge(status, &target()).unwrap().0
}

fn abort_message(status: &StatusResponse) -> String {
    match verdict(status) {
        Verdict::Aborted(error) => {
            assert_eq!(error.code, ErrorCode::RolloutAborted);
            error.message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reached_when_active_and_everything_runs() {
    assert_eq!(verdict(&status(vec![replica("shop-web-0")])), Verdict::Reached);
    assert_eq!(verdict(&status(Vec::new())), Verdict::Reached, "replicas: 0");
}

#[test]
fn an_older_snapshot_says_nothing() {
    let mut old = status(vec![replica("shop-web-0")]);
    old.index = 89;
    assert_eq!(verdict(&old), Verdict::Waiting);
    old.deployments.clear();
    assert_eq!(verdict(&old), Verdict::Waiting, "not there yet is not deleted");
    let mut attempt = status(vec![replica("shop-web-0")]);
    attempt.deployments[0].attempt = 6;
    assert_eq!(verdict(&attempt), Verdict::Waiting);
}

#[test]
fn active_is_not_believed_while_a_replica_is_not_up_to_date() {
    let old_spec = v1::Replica { spec_current: false, ..replica("shop-web-0") };
    assert_eq!(verdict(&status(vec![old_spec])), Verdict::Waiting);
    let starting = v1::Replica { state: v1::ReplicaState::Pending.into(), ..replica("shop-web-0") };
    assert_eq!(verdict(&status(vec![starting])), Verdict::Waiting);
    let going = v1::Replica { state: v1::ReplicaState::Stopped.into(), ..replica("shop-web-1") };
    assert_eq!(verdict(&status(vec![replica("shop-web-0"), going])), Verdict::Reached);
}

#[test]
fn an_exhausted_replica_of_this_attempt_aborts() {
    let message = abort_message(&pending(status(vec![replica("shop-web-0"), failing("shop-web-1")])));
    assert!(
        message.contains("shop-web-1 failed: restart_exhausted: it ended three times in a row (exit 1)"),
        "{message}"
    );
}

#[test]
fn an_exhausted_replica_of_an_older_attempt_is_waited_for() {
    let before = v1::Replica { attempt: 6, ..failing("shop-web-1") };
    assert_eq!(verdict(&pending(status(vec![before]))), Verdict::Waiting);
    let other = v1::Replica { deployment: "other".into(), ..failing("other-web-0") };
    assert_eq!(verdict(&pending(status(vec![other]))), Verdict::Waiting);
    let once = v1::Replica { code: Some("container_exited".into()), ..failing("shop-web-1") };
    assert_eq!(verdict(&pending(status(vec![once]))), Verdict::Waiting, "it is started again");
}

#[test]
fn another_revision_or_a_delete_aborts() {
    let mut newer = status(Vec::new());
    newer.deployments[0].applied_revision = 5;
    newer.deployments[0].attempt = 8;
    assert!(abort_message(&newer).contains("revision 5 took its place"));
    let mut gone = status(Vec::new());
    gone.deployments.clear();
    assert!(abort_message(&gone).contains("deleted meanwhile"));
}

#[test]
fn a_rollout_that_the_cluster_aborted_aborts() {
    let mut aborted = pending(status(Vec::new()));
    aborted.deployments[0].status_details = map(&[("code", "rollout_aborted"), ("reason", "step 1 of 3 timed out")]);
    assert!(abort_message(&aborted).contains("step 1 of 3 timed out"));
}

#[test]
fn steps_say_what_each_replica_is_doing() {
    let wire = |state: v1::ReplicaState| v1::Replica { state: state.into(), ..replica("shop-web-0") };
    let pull = v1::PullProgress { layers_done: 1, layers_total: 3, ..v1::PullProgress::default() };
    let cases = [
        (wire(v1::ReplicaState::Running), "running", true),
        (v1::Replica { attempt: 6, ..wire(v1::ReplicaState::Running) }, "waiting to be replaced", false),
        (v1::Replica { pull: Some(pull), ..wire(v1::ReplicaState::Pulling) }, "pulling web:1 (layers 1/3)", false),
        (wire(v1::ReplicaState::Pulling), "pulling web:1", false),
        (
            v1::Replica { details: map(&[("waiting_on", "db")]), ..wire(v1::ReplicaState::Pending) },
            "waiting for db",
            false,
        ),
        (wire(v1::ReplicaState::Pending), "starting", false),
        (failing("shop-web-0"), "failed: restart_exhausted: it ended three times in a row (exit 1)", false),
    ];
    for (replica, doing, done) in cases {
        let steps = judge(&status(vec![replica]), &target()).unwrap().1;
        assert_eq!((steps[0].doing.as_str(), steps[0].done), (doing, done));
    }
}

#[test]
fn the_deadline_tells_what_each_replica_waits_for() {
    let waiting = v1::Replica {
        details: map(&[("waiting_on", "db")]),
        state: v1::ReplicaState::Pending.into(),
        ..replica("shop-web-0")
    };
    let steps = judge(&pending(status(vec![waiting, replica("shop-web-1")])), &target()).unwrap().1;
    let error = timed_out(&target(), Deadline::after(Duration::from_secs(90)), &steps);
    assert_eq!(error.code, ErrorCode::WaitTimeout);
    assert!(
        error.message.ends_with("is not running after 1m30s and goes on in the cluster: shop-web-0 waiting for db")
    );
    assert_eq!(error.details["shop-web-0"], "waiting for db");
    assert!(!error.details.contains_key("shop-web-1"));
}

#[test]
fn what_remains_of_a_deleted_deployment() {
    let mut status = status(vec![replica("shop-web-0")]);
    assert_eq!(remains(&status, "shop"), ["deployment/shop", "replica/shop-web-0"]);
    assert_eq!(remains(&status, "sho"), Vec::<String>::new());
    status.deployments.clear();
    status.replicas.clear();
    assert!(remains(&status, "shop").is_empty());
}

#[test]
fn only_verdicts_about_the_change_are_outcomes() {
    let failed = |code| Err(UserError::new(code, "m"));
    assert_eq!(outcome(&Ok(())), Some(Outcome::Active));
    assert_eq!(outcome(&failed(ErrorCode::RolloutAborted)), Some(Outcome::Aborted));
    assert_eq!(outcome(&failed(ErrorCode::WaitTimeout)), Some(Outcome::Timeout));
    assert_eq!(outcome(&failed(ErrorCode::Unreachable)), None);
}
