//! The daemon goes and comes back.

use std::time::{Duration, Instant};

use anyhow::ensure;
use jaco_e2e::{Project, WEB_IMAGE, eventually, get, web_compose, web_jaco};

use crate::{Lab, until_ready};

pub(crate) fn the_daemon_restarts_under_running_replicas(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        let project = Project::new(&web_jaco("stays", 2), &web_compose("one"))?;
        node.apply(&project)?;
        let names = ["stays-web-0", "stays-web-1"];
        let ids = node.engine.container_ids(&names)?;
        let started = node.engine.inspect("stays-web-0", "{{.State.StartedAt}}")?;
        let log_index = node.daemon.cli().json(&["cluster", "status"])?["raft_index"].clone();
        for signal in ["SIGTERM", "SIGKILL"] {
            if signal == "SIGTERM" {
                let took = node.daemon.stop()?;
                ensure!(took < Duration::from_secs(5), "a clean stop took {took:?}");
            } else {
                node.daemon.kill()?;
            }
            ensure!(node.engine.container_ids(&names)? == ids, "{signal} touched containers");
            node.daemon.boot()?;
            let up = Instant::now();
            let reply = eventually(Duration::from_secs(2), "the ingress serves at once", || {
                jaco_e2e::try_get(node.daemon.http(), "stays.test", "/cgi-bin/show", 200)
            })?;
            ensure!(reply.body.ends_with("one\n"), "{reply:?} after {:?}", up.elapsed());
            until_ready(&node.daemon)?;
            node.apply(&project)?;
            ensure!(node.engine.container_ids(&names)? == ids, "containers were replaced after {signal}");
            let replica = node.replica("stays-web-0")?;
            ensure!(replica["state"] == "running" && replica["restart_count"] == 0, "{replica}");
        }
        ensure!(node.engine.inspect("stays-web-0", "{{.State.StartedAt}}")? == started, "a container was restarted");
        let after = node.daemon.cli().json(&["cluster", "status"])?["raft_index"].clone();
        ensure!(after.as_u64() > log_index.as_u64(), "{log_index} {after}");
        Ok(())
    })
}

pub(crate) fn what_happens_while_the_daemon_is_away_is_made_good(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        let project = Project::new(&web_jaco("away", 3), &web_compose("one"))?;
        node.apply(&project)?;
        node.daemon.stop()?;
        node.engine.docker(&["rm", "--force", "away-web-0"])?;
        node.engine.docker(&["kill", "away-web-1"])?;
        let untouched = node.engine.container_id("away-web-2")?;
        node.daemon.boot()?;
        for id in ["away-web-0", "away-web-1"] {
            eventually(Duration::from_secs(30), &format!("{id} is back"), || {
                let state = node.engine.inspect(id, "{{.State.Running}}").map_err(|error| error.to_string())?;
                if state == "true" { Ok(()) } else { Err(state) }
            })?;
            node.replica_when(id, "runs", |replica| replica["state"] == "running")?;
        }
        ensure!(node.engine.container_id("away-web-2")? == untouched);
        Ok(())
    })
}

pub(crate) fn orphans_of_this_cluster_go_and_foreign_containers_stay(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        let own = node.cluster_id()?;
        let run = |node: &jaco_e2e::Node, name: &str, labels: &[String]| -> anyhow::Result<String> {
            let mut arguments = vec!["run", "--detach", "--network", "none", "--name", name];
            for label in labels {
                arguments.extend(["--label", label]);
            }
            arguments.extend([WEB_IMAGE, "/bin/start"]);
            node.engine.docker(&arguments)
        };
        let labels = |cluster: &str, replica: &str| {
            vec![
                format!("jaco.cluster_id={cluster}"),
                "jaco.deployment=left".to_owned(),
                "jaco.service=web".to_owned(),
                format!("jaco.replica_id={replica}"),
                "jaco.replica_index=0".to_owned(),
                "jaco.spec_hash=0".to_owned(),
            ]
        };
        run(node, "nobodys", &[])?;
        run(node, "anothers", &labels("00000000-0000-4000-8000-000000000000", "left-web-0"))?;
        node.daemon.stop()?;
        run(node, "left-web-0", &labels(&own, "left-web-0"))?;
        node.daemon.boot()?;
        eventually(Duration::from_secs(30), "the orphan is removed", || {
            let names =
                node.engine.docker(&["ps", "--all", "--format", "{{.Names}}"]).map_err(|error| error.to_string())?;
            if names.lines().any(|name| name == "left-web-0") { Err(names) } else { Ok(()) }
        })?;
        // One that appears while the daemon runs goes, too; and a new deployment comes up beside the foreign ones.
        if let Err(error) = run(node, "left-web-1", &labels(&own, "left-web-1")) {
            // It may be on its way out before its start.
            let text = format!("{error:#}");
            ensure!(text.contains("marked for removal") || text.contains("No such container"), "{text}");
        }
        eventually(Duration::from_secs(40), "the second orphan is removed", || {
            let names =
                node.engine.docker(&["ps", "--all", "--format", "{{.Names}}"]).map_err(|error| error.to_string())?;
            if names.lines().any(|name| name == "left-web-1") { Err(names) } else { Ok(()) }
        })?;
        let project = Project::new(&web_jaco("own", 1), &web_compose("one"))?;
        node.apply(&project)?;
        node.daemon.cli().run(&["delete", "own", "--wait", "--timeout", "60s"])?;
        for name in ["nobodys", "anothers"] {
            ensure!(node.engine.inspect(name, "{{.State.Running}}")? == "true", "{name} was touched");
        }
        Ok(())
    })
}

pub(crate) fn a_foreign_container_in_the_way_is_told_and_kept(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        node.engine.docker(&["run", "--detach", "--network", "none", "--name", "taken-web-0", WEB_IMAGE])?;
        let foreign = node.engine.container_id("taken-web-0")?;
        let project = Project::new(&web_jaco("taken", 1), &web_compose("one"))?;
        node.daemon.cli().run(&["apply", &project.jaco()])?;
        let replica =
            node.replica_when("taken-web-0", "tells of the name that is taken", |r| r["code"] == "docker_error")?;
        ensure!(replica["message"].as_str().is_some_and(|text| text.contains("taken-web-0")), "{replica}");
        ensure!(node.engine.container_id("taken-web-0")? == foreign, "the foreign container was removed");
        node.engine.docker(&["rm", "--force", "taken-web-0"])?;
        node.apply(&project)?;
        ensure!(node.get_when("taken.test", "/", 200)?.status == 200);
        Ok(())
    })
}

pub(crate) fn a_request_in_flight_ends_when_its_replica_is_replaced(lab: &mut Lab) -> anyhow::Result<()> {
    lab.with_node(|node| {
        let project = Project::new(&web_jaco("slow", 1), &web_compose("one"))?;
        node.apply(&project)?;
        let address = node.daemon.http();
        let old = node.engine.container_id("slow-web-0")?;
        // One request after the other, each two seconds long: one of them is under way whenever the old container is to stop.
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let stop = std::sync::Arc::clone(&stop);
                std::thread::spawn(move || {
                    let mut answers = Vec::new();
                    while !stop.load(std::sync::atomic::Ordering::Acquire) {
                        answers.push(get(address, "slow.test", "/cgi-bin/slow").map_err(|error| format!("{error:#}")));
                    }
                    answers
                })
            })
            .collect();
        project.write("compose.yml", &web_compose("two"))?;
        node.apply(&project)?;
        eventually(Duration::from_secs(20), "the old container is gone", || {
            match node.engine.inspect(&old, "{{.Id}}") {
                Err(_) => Ok(()),
                Ok(id) => Err(id),
            }
        })?;
        stop.store(true, std::sync::atomic::Ordering::Release);
        let mut bodies = Vec::new();
        for client in clients {
            for answer in client.join().map_err(|_| anyhow::anyhow!("a client panicked"))? {
                let reply = answer.map_err(anyhow::Error::msg)?;
                ensure!(reply.status == 200, "{reply:?}");
                bodies.push(reply.body);
            }
        }
        ensure!(bodies.iter().any(|body| body == "slow one\n"), "no request was with the old replica: {bodies:?}");
        ensure!(bodies.iter().all(|body| body == "slow one\n" || body == "slow two\n"), "{bodies:?}");
        Ok(())
    })
}
