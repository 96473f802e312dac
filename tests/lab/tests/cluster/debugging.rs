//! Looking at nodes from another one, and the debug bundle.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, announce, eventually, web_compose, web_jaco};
use jaco_lab::Host;

use crate::Rig;
use crate::cluster::{Cluster, refused};
use crate::workload::apply;

/// Texts that must be in no bundle, with the places they were planted in.
fn planted(cluster: &Cluster<'_>, join_token: &str, operator: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let founded = |field: &str| cluster.founded[field].as_str().map(str::to_owned).context("init tells it");
    let (secret, _) = join_token.split_once('.').context("a join token")?;
    let mut texts = vec![
        ("an environment variable", "planted-plain".to_owned()),
        ("a variable that is called a password", "planted-password".to_owned()),
        ("the environment file", "planted-file".to_owned()),
        ("a label", "planted-label".to_owned()),
        ("a command", "planted-argument".to_owned()),
        ("the first operator's token", founded("operator_token")?),
        ("the recovery key", founded("recovery_key")?),
        ("another operator's token", operator.to_owned()),
        ("a join token", secret.to_owned()),
    ];
    for number in 1..=3 {
        for file in ["node.key", "seal.key"] {
            let path = cluster.host(number).path(&format!("/var/lib/jaco/node/{file}"))?;
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let body =
                text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).max_by_key(|line| line.len());
            texts.push(("a key of a node", body.context("an empty key")?.to_owned()));
        }
    }
    ensure!(texts.iter().all(|(_, text)| text.len() >= 12), "too short to be looked for");
    Ok(texts)
}

fn secretive_project() -> anyhow::Result<Project> {
    let more =
        "      DB_PASSWORD: planted-password\n      FROM_FILE: ${FROM_FILE}\n    labels: {note: planted-label}\n";
    let value = "      VALUE: planted-plain\n";
    let compose = web_compose("planted-plain").replacen(value, &format!("{value}{more}"), 1)
        + "  job:\n    image: jaco.test/web:1\n    pull_policy: never\n    command: [sh, -c, \"exec sleep 3600\", planted-argument]\n";
    let project = Project::new(&web_jaco("secretive", 3), &compose)?;
    project.write(".env", "FROM_FILE=planted-file\n")?;
    Ok(project)
}

/// All files of a bundle as one text, each below its name.
fn unpacked(host: &Host, path: &str) -> anyhow::Result<String> {
    host.run(&["sh", "-ec", &format!("tar -xzf {path} --to-command='echo \"== $TAR_REALNAME\"; cat'")])?.ok()
}

/// One node tells of all, by way of the members' port; of one that is away it says so, and no bundle holds a secret.
pub(crate) fn a_bundle_shows_every_node_and_no_secret(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(3)?;
    let asked = cluster.host(1);
    let join_token = cluster.token(2, &[])?;
    let operator = asked.jaco_json(&["token", "issue", "--name", "ci"])?;
    let operator = operator["token"].as_str().context("a token")?.to_owned();
    let project = secretive_project()?;
    apply(asked, &project)?;

    for number in 1..=3 {
        let name = format!("host{number}");
        let status = asked.jaco_json(&["node", "status", &name])?;
        ensure!(status["hostname"] == name.as_str() && status["status"] == "ready", "{status}");
        ensure!(status["loops"].as_array().is_some_and(|loops| loops.len() > 5), "{status}");
    }
    let level = asked.jaco_json(&["node", "log-level", "info", "host2"])?;
    ensure!(level["hostname"] == "host2" && cluster.host(2).jaco_json(&["node", "status"])?["log_level"] == "info");
    ensure!(asked.jaco_json(&["node", "status"])?["log_level"] == "debug");
    asked.jaco(&["node", "log-level", "debug", "host2"])?.ok()?;

    // The hosts share this folder with the test.
    let bundle = |name: &str| project.path(&format!("{name}.tar.gz")).display().to_string();
    let begin = Instant::now();
    let all = bundle("all");
    let told = asked.jaco(&["debug", "--file", &all])?.ok()?;
    announce(&format!("a bundle of three nodes took {:.2?}: {}", begin.elapsed(), told.trim()));
    let text = unpacked(asked, &all)?;
    for (place, secret) in planted(&cluster, &join_token, &operator)? {
        ensure!(!text.contains(&secret), "{place} is in the bundle");
    }
    for number in 1..=3 {
        for file in ["config.yaml", "engine.json", "host.json", "log.jsonl", "metrics.txt", "raft.json", "status.json"]
        {
            let path = format!("/nodes/host{number}/{file}\n");
            ensure!(text.contains(&path), "{path} is not in the bundle");
        }
    }
    // It is worth something: the containers, the log and the events are there.
    for part in
        ["secretive-web-0", "secretive-web-2", "jacod is ready", "jaco_raft_commit_latency_seconds", "token_issue"]
    {
        ensure!(text.contains(part), "{part} is not in the bundle");
    }

    cluster.host(3).jacod().kill9()?;
    refused(asked, &["node", "status", "host3"], 6, &["unreachable"])?;
    let two = bundle("two");
    let told = asked.jaco_json(&["debug", "--file", &two])?;
    let collected: Vec<bool> =
        told["nodes"].as_array().into_iter().flatten().map(|node| node["collected"] == true).collect();
    ensure!(collected == [true, true, false], "{told}");
    let text = unpacked(asked, &two)?;
    ensure!(text.contains("host3 does not answer"), "about.json does not say why");

    cluster.host(2).jacod().kill9()?;
    alone(asked, &bundle("one"))
}

/// The last of three: reads are marked, changes are refused at once, and a bundle can be made.
fn alone(host: &Host, bundle: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    eventually(Duration::from_secs(15), "reads are marked as old", || {
        let read = host.jaco(&["-o", "json", "status"]).map_err(|error| format!("{error:#}"))?;
        let marked = read.stdout.contains("\"stale\": true") && read.stderr.contains("\"code\":\"stale\"");
        if read.is_success() && marked { Ok(()) } else { Err(format!("{read:?}")) }
    })?;
    announce(&format!("reads are marked {:.2?} after the majority was lost", begin.elapsed()));
    let begin = Instant::now();
    refused(host, &["delete", "secretive"], 6, &["quorum_lost"])?;
    refused(host, &["token", "issue", "--name", "late"], 6, &["quorum_lost"])?;
    ensure!(begin.elapsed() < Duration::from_secs(2), "two refusals took {:.2?}", begin.elapsed());
    let told = host.jaco_json(&["cluster", "status"])?;
    ensure!(told["quorum"] == false && told["leader"].is_null(), "{told}");
    let told = host.jaco_json(&["debug", "--file", bundle])?;
    ensure!(told["nodes"][0]["collected"] == true, "{told}");
    Ok(())
}
