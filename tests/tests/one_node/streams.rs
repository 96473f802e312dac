//! Commands that go on: `logs -f` and `status -w`.

use std::time::Duration;

use anyhow::ensure;
use jaco_e2e::{Node, Project, Stream, WEB_IMAGE, web_compose, web_jaco};
use serde_json::Value;

fn talker(value: &str) -> String {
    format!(
        "services:\n  web:\n    image: {WEB_IMAGE}\n    pull_policy: never\n    environment:\n      VALUE: {value}\n    \
         command:\n      - sh\n      - -c\n      - trap 'exit 0' TERM; echo begin $$VALUE; echo oops >&2; while true; do usleep 100000; done\n"
    )
}

pub(crate) fn logs_are_read_and_followed_over_a_replacement(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    let project = Project::new(&web_jaco("talk", 1), &talker("one"))?;
    node.apply(&project)?;
    let text = cli.run(&["logs", "talk/web"])?;
    ensure!(text.lines().any(|line| line == "[talk-web-0@node-a] begin one"), "{text}");
    let json = cli.run(&["-o", "json", "logs", "talk/web"])?;
    let lines: Vec<Value> = json.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let error =
        lines.iter().find(|line| line["line"] == "oops").ok_or_else(|| anyhow::anyhow!("no stderr in {json}"))?;
    ensure!(error["stream"] == "stderr" && error["replica_id"] == "talk-web-0" && error["host"] == "node-a", "{error}");
    ensure!(error["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')), "{error}");
    ensure!(cli.run(&["logs", "talk/web", "--tail", "0"])?.is_empty());

    let follow = Stream::start(&cli, &["logs", "-f", "talk/web"])?;
    follow.wait_for(Duration::from_secs(10), "logs -f shows what was there", |text| text.contains("begin one"))?;
    project.write("compose.yml", &talker("two"))?;
    node.apply(&project)?;
    let text =
        follow.wait_for(Duration::from_secs(15), "logs -f shows the replacement", |text| text.contains("begin two"))?;
    ensure!(
        text.matches("begin one").count() == 1 && text.matches("begin two").count() == 1,
        "lines came twice:\n{text}"
    );
    Ok(())
}

pub(crate) fn a_watch_shows_every_change(node: &mut Node) -> anyhow::Result<()> {
    let cli = node.daemon.cli();
    let json = Stream::start(&cli, &["-o", "json", "status", "-w"])?;
    let table = Stream::start(&cli, &["status", "-w"])?;
    let project = Project::new(&web_jaco("watched", 1), &web_compose("one"))?;
    node.apply(&project)?;
    node.daemon.cli().run(&["delete", "watched", "--wait", "--timeout", "60s"])?;
    let snapshots = |text: &str| -> Vec<Value> {
        serde_json::Deserializer::from_str(text).into_iter::<Value>().map_while(Result::ok).collect()
    };
    let running =
        |value: &Value| value["replicas"][0]["state"] == "running" && value["deployments"][0]["status"] == "active";
    json.wait_for(Duration::from_secs(15), "the watch saw it come, run and go", |text| {
        let seen = snapshots(text);
        let ran = seen.iter().position(running);
        ran.is_some_and(|at| seen.iter().skip(at).any(|value| value["deployments"] == serde_json::json!([])))
    })?;
    let text = table.wait_for(Duration::from_secs(15), "the table was printed again and again", |text| {
        text.contains("RUNNING") && text.lines().filter(|line| *line == "---").count() > 2
    })?;
    ensure!(!text.contains('\u{1b}'), "a piped watch moves the cursor: {text:?}");
    Ok(())
}
