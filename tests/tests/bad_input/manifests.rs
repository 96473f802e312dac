//! Manifests that must be refused, and that leave no trace.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::{Project, eventually, web_compose, web_jaco};

use crate::Lab;

/// What is wrong, the two texts, the code, the exit code, and words that the error must have.
struct Wrong {
    what: &'static str,
    jaco: String,
    compose: String,
    code: &'static str,
    exit: i32,
    named: &'static [&'static str],
}

fn wrong(what: &'static str, jaco: &str, compose: &str, code: &'static str, named: &'static [&'static str]) -> Wrong {
    let exit = if code == "port_conflict" { 7 } else { 3 };
    Wrong { what, jaco: jaco.to_owned(), compose: compose.to_owned(), code, exit, named }
}

/// `web`'s compose text with more keys of the service.
fn web_with(keys: &str) -> String {
    web_compose("one") + keys
}

fn list(lab: &Lab) -> Vec<Wrong> {
    let jaco = web_jaco("wrong", 1);
    let compose = web_compose("one");
    let own_port = web_with(&format!("    ports: [\"{}:8080\"]\n", lab.daemon.http().port()));
    let unknown_service = jaco.replace("- name: web", "- name: nobody");
    let unknown_host = jaco.replace("replicas: 1", "replicas: 1\n    placement: hosts\n    hosts: [nowhere]");
    let unknown_network = web_with("    networks: [missing]\n");
    let route = "  - domain: wrong.test\n    service: web\n    port: 81\n    tls: off\n";
    let cycle = "services:\n  web: {image: a, depends_on: [b]}\n  b: {image: a, depends_on: [web]}\n";
    vec![
        wrong(
            "an unknown key of jaco.yaml",
            &(jaco.clone() + "colour: red\n"),
            &compose,
            "validation_failed",
            &["colour"],
        ),
        wrong("an unknown key of a route", &jaco.replace("tls:", "tsl:"), &compose, "validation_failed", &["tsl"]),
        wrong("a key twice", &(jaco.clone() + "deployment: again\n"), &compose, "validation_failed", &["deployment"]),
        wrong(
            "a wrong type",
            &jaco.replace("replicas: 1", "replicas: many"),
            &compose,
            "validation_failed",
            &["replicas", "many"],
        ),
        wrong(
            "a negative number",
            &jaco.replace("replicas: 1", "replicas: -1"),
            &compose,
            "validation_failed",
            &["replicas"],
        ),
        wrong(
            "a bad name",
            &jaco.replace("deployment: wrong", "deployment: \"../up\""),
            &compose,
            "validation_failed",
            &["deployment"],
        ),
        wrong("no YAML", "deployment: [\n", &compose, "parse_failed", &["jaco.yaml"]),
        wrong("binary garbage", "\u{1}\u{2}\u{7f}", &compose, "parse_failed", &["jaco.yaml"]),
        wrong(
            "an unknown key of compose",
            &jaco,
            &web_with("    imagee: x\n"),
            "validation_failed",
            &["imagee", "web"],
        ),
        wrong(
            "a compose key of another age",
            &jaco,
            &web_with("    log_driver: none\n"),
            "legacy_compose_field",
            &["log_driver"],
        ),
        wrong("compose that is no YAML", &jaco, "services: {web: [}\n", "parse_failed", &["compose.yml"]),
        wrong("no services", &jaco, "{}\n", "validation_failed", &["compose.yml", "web"]),
        wrong("an unknown service", &unknown_service, &compose, "unknown_service", &["nobody"]),
        wrong("an unknown host", &unknown_host, &compose, "unknown_host", &["nowhere"]),
        wrong("an unknown network", &jaco, &unknown_network, "unknown_network", &["missing"]),
        wrong("a reserved port", &jaco, &web_with("    ports: [\"443:8080\"]\n"), "reserved_port", &["443"]),
        wrong("the daemon's own port", &jaco, &own_port, "reserved_port", &[]),
        wrong("a port twice", &jaco, &web_with("    ports: [\"7777:1\", \"7777:2\"]\n"), "port_conflict", &["7777"]),
        wrong("a path twice", &(jaco.clone() + route), &compose, "route_multiple_catchall", &["wrong.test"]),
        wrong("a cycle", &jaco, cycle, "invalid_depends_on", &["web"]),
        wrong(
            "a dependency on nobody",
            &jaco,
            &web_with("    depends_on: [ghost]\n"),
            "unknown_depends_on_service",
            &["ghost"],
        ),
        wrong(
            "a required variable",
            &jaco,
            &compose.replace("VALUE: one", "VALUE: ${NEEDED:?set it}"),
            "validation_failed",
            &["NEEDED", "set it"],
        ),
    ]
}

pub(crate) fn every_wrong_manifest_is_refused_with_its_place(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    let index = |cli: &jaco_e2e::Cli| -> anyhow::Result<u64> {
        cli.json(&["cluster", "status"])?["raft_index"].as_u64().context("no index")
    };
    // What the node says of its missing engine is written once; after that an idle cluster writes nothing.
    eventually(Duration::from_secs(20), "the node tells of its engine", || {
        let status = cli.json(&["node", "status"]).map_err(|error| error.to_string())?;
        if status["status_details"]["docker"].is_string() { Ok(()) } else { Err(status.to_string()) }
    })?;
    let mut misses = Vec::new();
    for wrong in list(lab) {
        let project = Project::new(&wrong.jaco, &wrong.compose)?;
        for more in [&[][..], &["--dry-run"]] {
            let path = project.jaco();
            let mut arguments = vec!["apply", path.as_str()];
            arguments.extend(more);
            let before = index(&cli)?;
            let refused = cli.refused(&arguments, wrong.exit, wrong.code);
            if index(&cli)? != before {
                misses.push(format!("{}: the refusal wrote to the log", wrong.what));
            }
            match refused {
                Err(error) => misses.push(format!("{}: {error:#}", wrong.what)),
                Ok(error) => {
                    let text = error.to_string();
                    let missing: Vec<_> = wrong.named.iter().filter(|word| !text.contains(**word)).collect();
                    if !missing.is_empty() {
                        misses.push(format!("{}: {missing:?} is not in {text}", wrong.what));
                    }
                }
            }
        }
    }
    ensure!(misses.is_empty(), "{}", misses.join("\n"));
    ensure!(cli.json(&["get", "deployments"])? == serde_json::json!([]), "a refused manifest was applied");
    Ok(())
}

pub(crate) fn missing_and_unreadable_files_are_named(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    let named = |arguments: &[&str], word: &str| -> anyhow::Result<()> {
        let answer = cli.try_run(arguments);
        ensure!(answer.code == 3 && answer.stderr.contains(word), "{word} in {answer:?}");
        Ok(())
    };
    named(&["apply", "/nonexistent/jaco.yaml"], "/nonexistent/jaco.yaml")?;
    let project = Project::new(&web_jaco("files", 1), &web_compose("one"))?;
    let path = project.jaco();
    named(&["apply", &path, "--compose", "/nonexistent/compose.yml"], "/nonexistent/compose.yml")?;
    std::fs::remove_file(project.path("compose.yml"))?;
    named(&["apply", &path], "--compose")?;
    std::fs::create_dir(project.path("compose.yml"))?;
    named(&["apply", &path], "compose.yml")?;
    std::fs::remove_dir(project.path("compose.yml"))?;
    project.write("compose.yml", &(web_compose("one") + "    env_file: [absent.env]\n"))?;
    named(&["apply", &path], "absent.env")?;
    std::fs::write(project.path("compose.yml"), [b's', 0xff, 0xfe])?;
    named(&["apply", &path], "compose.yml")?;
    project.write("compose.yml", &web_compose("one"))?;
    project.write("jaco.yaml", &(web_jaco("files", 1) + "environment: absent.env\n"))?;
    named(&["apply", &path], "absent.env")?;
    ensure!(cli.json(&["get", "deployments"])? == serde_json::json!([]));
    Ok(())
}

pub(crate) fn too_large_a_manifest_is_refused_quickly(lab: &mut Lab) -> anyhow::Result<()> {
    let cli = lab.daemon.cli();
    let mut aliases = "x-a0: &a0 [1, 1]\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        aliases += &format!("x-a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n");
    }
    let aliases = aliases + &"# padding\n".repeat(1 << 14) + &web_compose("one");
    let many = (0..2000).map(|n| format!("      KEY{n}: {}\n", "v".repeat(200))).collect::<String>();
    let large = web_compose("one").replace("    environment:\n", &format!("    environment:\n{many}"));
    for (what, compose) in [("aliases", aliases), ("size", large), ("huge", "#".repeat(20 << 20))] {
        let project = Project::new(&web_jaco("large", 1), &compose)?;
        let begin = Instant::now();
        let answer = cli.try_run(&["apply", &project.jaco()]);
        ensure!(
            answer.code == 3,
            "{what}: code {} {}",
            answer.code,
            answer.stderr.chars().take(400).collect::<String>()
        );
        ensure!(begin.elapsed() < Duration::from_secs(10), "{what} took {:?}", begin.elapsed());
    }
    let many = Project::new(&web_jaco("many", 1).replace("replicas: 1", "replicas: 100000"), &web_compose("one"))?;
    let error = cli.refused(&["apply", &many.jaco()], 3, "request_too_large")?;
    ensure!(error["details"]["limit"].is_string(), "{error}");
    ensure!(cli.json(&["get", "deployments"])? == serde_json::json!([]));
    Ok(())
}
