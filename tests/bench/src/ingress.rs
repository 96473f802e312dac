//! (c) The ingress of a real daemon, beside the upstream itself and the same upstream behind nginx and haproxy.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jaco_e2e::{Engine, eventually, try_get};
use serde_json::{Value, json};

use crate::image::{ANSWER, UPSTREAM_IMAGE, UPSTREAM_PORT};
use crate::node::{Node, free_addresses};
use crate::process::Process;
use crate::report::{Bar, Figure, Measure, Report};
use crate::stats::{Load, median, micros, paired_ratio};
use crate::{Settings, image, peers, say};

const CONNECTIONS: &str = "64";
const DOMAIN: &str = "bench.test";
const NOTE: &str = "ours is the ingress of a released jacod with a route to the upstream's container; wrk with 2 threads and 64 kept \
                    connections, 256-byte answers; the order changes with every round; ratios are medians of the rounds' ratios; the \
                    load generator and the upstream share the cores with whoever is measured";

/// One way to the upstream.
struct Way {
    name: &'static str,
    address: SocketAddr,
    rounds: Vec<Load>,
}

pub(crate) fn run(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    if !jaco_e2e::can_run("(c) ingress") {
        report.skip("(c) ingress", "it needs root and dockerd");
        return Ok(());
    }
    for program in ["wrk", "nginx", "haproxy"] {
        if Command::new(program).arg("-v").output().is_err() {
            report.skip("(c) ingress", format!("{program} is not installed: .ci/install bench"));
            return Ok(());
        }
    }
    let engine = Engine::start(false)?;
    image::build(&engine)?;
    let node = Node::start(&engine.socket())?;
    let upstream = publish(&node, &engine)?;
    let folder = tempfile::Builder::new().prefix("peers-").tempdir()?;
    let [nginx_address, haproxy_address] = free_addresses::<2>()?;
    let _nginx: Process = peers::nginx(folder.path(), nginx_address, upstream)?;
    let _haproxy: Process = peers::haproxy(folder.path(), haproxy_address, upstream)?;
    let way = |name, address| Way { name, address, rounds: Vec::new() };
    let mut ways = vec![
        way("jaco", node.http()),
        way("nginx", nginx_address),
        way("haproxy", haproxy_address),
        way("direct", upstream),
    ];
    for way in &ways {
        answers(way)?;
    }
    let length = settings.seconds(6.0, 2.0);
    // The first round opens connections and fills caches, and is not counted.
    for round in 0..=settings.rounds(7, 2) {
        let count = ways.len();
        for turn in 0..count {
            let Some(way) = ways.get_mut((turn + round) % count) else { continue };
            let load = wrk(way.address, if round == 0 { Duration::from_secs(1) } else { length })
                .with_context(|| way.name.to_owned())?;
            if round > 0 {
                way.rounds.push(load);
            }
        }
        let latest: Vec<String> = ways
            .iter()
            .filter_map(|way| way.rounds.last().map(|load| format!("{} {:.0}", way.name, load.per_second)))
            .collect();
        if round > 0 {
            say(&format!("  round {round}: requests/s {}", latest.join(", ")));
        }
    }
    add_figures(report, &ways);
    Ok(())
}

/// Applies the deployment with its route; the address of the upstream's container.
fn publish(node: &Node, engine: &Engine) -> anyhow::Result<SocketAddr> {
    let jaco_yaml = format!(
        "deployment: bench\nservices:\n  - name: upstream\n    replicas: 1\nroutes:\n  - domain: {DOMAIN}\n    service: upstream\n    \
         port: {UPSTREAM_PORT}\n    tls: off\n"
    );
    let compose_yaml = format!("services:\n  upstream:\n    image: {UPSTREAM_IMAGE}\n    pull_policy: never\n");
    let project = node.project(&jaco_yaml, &compose_yaml)?;
    node.cli().run(&["apply", &project, "--wait", "--timeout", "2m"])?;
    let names = engine.containers("jaco.deployment=bench")?;
    let name = names.first().context("the upstream has no container")?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = engine.docker(&["inspect", "--format", format, name])?;
    Ok(SocketAddr::new(address.trim().parse()?, UPSTREAM_PORT))
}

/// Waits until the way is open, and checks that it gives the upstream's answer.
fn answers(way: &Way) -> anyhow::Result<()> {
    let reply = eventually(Duration::from_secs(15), way.name, || try_get(way.address, DOMAIN, "/", 200))?;
    ensure!(reply.body.len() == ANSWER, "{} answers with {} bytes", way.name, reply.body.len());
    Ok(())
}

fn wrk(address: SocketAddr, length: Duration) -> anyhow::Result<Load> {
    let output = Command::new("wrk")
        .args(["-t2", "-c", CONNECTIONS, "--latency"])
        .arg(format!("-d{}s", length.as_secs().max(1)))
        .args(["-H", &format!("Host: {DOMAIN}")])
        .arg(format!("http://{address}/"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    load_of(&text)
}

/// Reads wrk's report. Errors and answers other than 2xx and 3xx spoil a round.
fn load_of(text: &str) -> anyhow::Result<Load> {
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    for spoiled in ["Non-2xx or 3xx responses:", "Socket errors:"] {
        if let Some(rest) = after(spoiled) {
            bail!("wrk counted errors: {spoiled} {rest}");
        }
    }
    let field = |key: &str| after(key).with_context(|| format!("wrk said no {key}: {text}"));
    Ok(Load {
        per_second: field("Requests/sec:")?.parse()?,
        p50: wrk_micros(field("50%")?)?,
        p99: wrk_micros(field("99%")?)?,
    })
}

fn wrk_micros(text: &str) -> anyhow::Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("{text:?} is no time of wrk's")
}

fn add_figures(report: &mut Report, ways: &[Way]) {
    let [jaco, nginx, haproxy, direct] = ways else { return };
    let rates = |way: &Way| way.rounds.iter().map(|load| load.per_second).collect::<Vec<_>>();
    let tails = |way: &Way| way.rounds.iter().map(|load| load.p99).collect::<Vec<_>>();
    for (peer, bar) in [(nginx, Some(Bar::RatioAtLeast(0.9))), (haproxy, None), (direct, None)] {
        report.add(Figure {
            part: 'c',
            name: format!("ingress, beside {}", peer.name),
            unit: "req/s",
            ours: measure(jaco),
            floor: Some((peer.name.to_owned(), measure(peer))),
            ratio: Some(paired_ratio(&rates(jaco), &rates(peer))),
            bar,
            note: NOTE.to_owned(),
        });
    }
    for peer in [nginx, haproxy] {
        let milliseconds = |way: &Way| Measure::of(median(&tails(way)) / 1e3);
        report.add(Figure {
            part: 'c',
            name: format!("ingress p99, beside {}", peer.name),
            unit: "ms",
            ours: milliseconds(jaco),
            floor: Some((peer.name.to_owned(), milliseconds(peer))),
            ratio: Some(paired_ratio(&tails(jaco), &tails(peer))),
            bar: None,
            note: String::new(),
        });
    }
}

fn measure(way: &Way) -> Measure {
    let over = Load::over(&way.rounds);
    let rounds: Vec<Value> = way.rounds.iter().map(Load::json).collect();
    Measure::of(over.per_second)
        .detail(format!("p99 {}", micros(over.p99)))
        .numbers(json!({ "p50_us": over.p50, "p99_us": over.p99, "rounds": rounds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 5s test @ http://127.0.0.1:1/\n  2 threads and 64 connections\n  Latency Distribution\n     50%  642.00us\n     75%    1.01ms\n     90%    1.51ms\n     99%    3.54ms\n  321 requests in 5.00s, 1.00MB read\nRequests/sec:  62012.34\nTransfer/sec:     11.22MB\n";

    #[test]
    fn a_report_of_wrk_is_read() {
        let load = load_of(GOOD).unwrap();
        assert_eq!((load.per_second, load.p50, load.p99), (62012.34, 642.0, 3540.0));
        assert_eq!(wrk_micros("1.50s").unwrap(), 1.5e6);
    }

    #[test]
    fn a_round_with_errors_is_none() {
        for line in ["  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"] {
            assert!(load_of(&format!("{GOOD}{line}")).is_err());
        }
        assert!(load_of("unable to connect").is_err());
    }
}
