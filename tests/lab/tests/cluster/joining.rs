//! Joins that are refused: a typed error, nothing spent, nothing changed.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_lab::Host;

use crate::Rig;
use crate::cluster::{Cluster, cluster_status, join, nodes, options, refusal, refused};
use crate::writers::time_passes;

/// A token with its first digit changed, its fingerprint kept.
fn other_secret(token: &str) -> String {
    let first = if token.starts_with('0') { "1" } else { "0" };
    token.get(1..).map(|rest| format!("{first}{rest}")).unwrap_or_default()
}

/// A token with another authority's fingerprint, its secret kept.
fn other_fingerprint(token: &str) -> String {
    let (secret, _) = token.split_once('.').unwrap_or_default();
    format!("{secret}.{}", "ab".repeat(32))
}

/// Each in turn on the same joiner, which joins at last with the token that all of them did not spend.
pub(crate) fn a_refused_join_leaves_everything_as_it_was(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(1)?;
    let (member, joiner, third) = (cluster.host(1), cluster.host(2), cluster.host(3));
    for host in [joiner, third] {
        host.start_jacod(&options())?;
    }
    let token = cluster.token(1, &[])?;
    let wrong = |token: &str, codes: &[&str]| -> anyhow::Result<()> {
        refusal(&join(joiner, member, token)?, 5, codes).with_context(|| format!("with the token {token}"))?;
        untouched(&cluster, joiner)
    };
    wrong(&other_secret(&token), &["join_token_invalid"])?;
    wrong(&other_fingerprint(&token), &["ca_fingerprint_mismatch"])?;
    wrong(token.get(..100).context("a short token")?, &["join_token_invalid"])?;
    wrong(token.split_once('.').context("a token in one part")?.0, &["join_token_invalid"])?;
    wrong("", &["join_token_invalid", "usage"]).or_else(|_| usage(joiner, member))?;

    let short = cluster.token(1, &["--ttl", "1s"])?;
    time_passes(Duration::from_millis(1200));
    wrong(&short, &["join_token_expired"])?;

    unreachable(&cluster, joiner, &token)?;
    nothing_secret_is_sent(&cluster, joiner, &token)?;
    untouched(&cluster, joiner)?;

    // Nothing of all this spent the token.
    join(joiner, member, &token)?.ok()?;
    cluster.settled(&[1, 2])?;
    // Used by a key it is no good for another one, and of no use for a member.
    refusal(&join(third, member, &token)?, 5, &["join_token_consumed"])?;
    untouched_of(&cluster, third, &["host1", "host2"])?;
    let fresh = cluster.token(2, &[])?;
    refusal(&join(joiner, member, &fresh)?, 7, &["cluster_already_initialized"])?;
    join(third, joiner, &fresh)?.ok()?;
    cluster.settled(&[1, 2, 3])
}

fn usage(joiner: &Host, member: &Host) -> anyhow::Result<()> {
    refusal(&join(joiner, member, "")?, 2, &["usage"]).map(|_| ())
}

fn untouched(cluster: &Cluster<'_>, joiner: &Host) -> anyhow::Result<()> {
    untouched_of(cluster, joiner, &["host1"])
}

fn untouched_of(cluster: &Cluster<'_>, joiner: &Host, members: &[&str]) -> anyhow::Result<()> {
    let own = cluster_status(joiner)?;
    ensure!(own["initialized"] == false, "the joiner is no longer uninitialised: {own}");
    let status = cluster_status(cluster.host(1))?;
    let mut names: Vec<&str> = nodes(&status).iter().filter_map(|node| node["hostname"].as_str()).collect();
    names.sort_unstable();
    ensure!(names == members, "the members changed: {status}");
    Ok(())
}

/// Nobody there, and nobody who answers.
fn unreachable(cluster: &Cluster<'_>, joiner: &Host, token: &str) -> anyhow::Result<()> {
    let nobody = cluster.host(4);
    refusal(&join(joiner, nobody, token)?, 6, &["unreachable"]).context("a peer that refuses connections")?;
    let silent = nobody.inside(|| TcpListener::bind((nobody.address(), 7000)))??;
    let begin = std::time::Instant::now();
    refusal(&join(joiner, nobody, token)?, 6, &["unreachable"]).context("a peer that says nothing")?;
    ensure!(begin.elapsed() < Duration::from_secs(30), "a silent peer held the join up for {:?}", begin.elapsed());
    drop(silent);
    untouched(cluster, joiner)
}

/// A peer of another authority, here one that is no peer at all, sees no part of the token.
fn nothing_secret_is_sent(cluster: &Cluster<'_>, joiner: &Host, token: &str) -> anyhow::Result<()> {
    let nobody = cluster.host(4);
    let listener = nobody.inside(|| TcpListener::bind((nobody.address(), 7000)))??;
    let listener_end = listener.try_clone()?;
    let seen = std::thread::scope(|scope| {
        let server = scope.spawn(move || -> std::io::Result<Vec<u8>> {
            let (mut stream, _) = listener_end.accept()?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut seen = vec![0; 1 << 16];
            let length = stream.read(&mut seen)?;
            seen.truncate(length);
            Ok(seen)
        });
        let answer = join(joiner, nobody, token);
        let seen = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answer.and_then(|answer| refusal(&answer, 6, &["unreachable"])).and(Ok(seen?))
    })?;
    drop(listener);
    let (secret, _) = token.split_once('.').unwrap_or_default();
    let raw: Vec<u8> = (0..32).filter_map(|at| u8::from_str_radix(secret.get(at * 2..at * 2 + 2)?, 16).ok()).collect();
    let holds = |needle: &[u8]| seen.windows(needle.len()).any(|window| window == needle);
    ensure!(!seen.is_empty(), "the joiner did not even begin a handshake");
    ensure!(!holds(secret.as_bytes()) && !holds(&raw), "the secret went to a stranger");
    Ok(())
}

/// The member of that name is untouched, and the token is good for the same host under another name.
pub(crate) fn a_host_name_that_is_taken_is_refused(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(2)?;
    let (member, joiner) = (cluster.host(1), cluster.host(3));
    let before = member.jaco_json(&["node", "list"])?;
    joiner.start_jacod(&options().set("hostname", "host2"))?;
    let token = cluster.token(1, &[])?;
    refusal(&join(joiner, member, &token)?, 7, &["node_already_member"])?;
    let after = member.jaco_json(&["node", "list"])?;
    for field in ["hostname", "address", "status"] {
        ensure!(before["nodes"][1][field] == after["nodes"][1][field], "the record changed: {before} {after}");
    }
    refused(joiner, &["node", "list"], 6, &["cluster_uninitialized"])?;
    joiner.jacod().stop()?;
    joiner.start_jacod(&options())?;
    join(joiner, member, &token)?.ok()?;
    cluster.settled(&[1, 2, 3])
}
