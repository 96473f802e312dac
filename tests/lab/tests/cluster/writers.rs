//! Clients that write all the time, and what they know: every acknowledged write has to be there afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jaco_e2e::eventually;
use jaco_lab::Host;

use crate::workload::idle_project;

/// An acknowledged write: a deployment of its own, so that each one that is lost is missed.
#[derive(Debug, Clone)]
struct Ack {
    deployment: String,
    at: Instant,
}

/// What all writers saw.
#[derive(Debug)]
pub(crate) struct Report {
    begin: Instant,
    end: Instant,
    acknowledged: Vec<Ack>,
    /// What writes ended with that were not acknowledged.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The longest time without an acknowledged write.
    pub(crate) fn longest_gap(&self) -> Duration {
        self.gap_between(self.begin, self.end)
    }

    /// The longest time without one that ended after this moment.
    pub(crate) fn gap_after(&self, moment: Instant) -> Duration {
        self.gap_between(moment, self.end)
    }

    fn gap_between(&self, from: Instant, to: Instant) -> Duration {
        let last_before = self.acknowledged.iter().map(|ack| ack.at).rfind(|at| *at <= from).unwrap_or(self.begin);
        let mut moments = vec![last_before];
        moments.extend(self.acknowledged.iter().map(|ack| ack.at).filter(|at| *at > from && *at < to));
        moments.push(to);
        moments.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
    }

    /// Number of acknowledged writes.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Fails unless every acknowledged write is to be seen on each of these hosts.
    pub(crate) fn check(&self, hosts: &[&Host]) -> anyhow::Result<()> {
        ensure!(self.count() > 10, "only {} writes were acknowledged; failures: {:?}", self.count(), self.failures);
        for host in hosts {
            let what = format!("{} has all {} acknowledged writes", host.name(), self.count());
            eventually(Duration::from_secs(20), &what, || {
                let there = deployments(host).map_err(|error| format!("{error:#}"))?;
                let lost: Vec<&str> = self
                    .acknowledged
                    .iter()
                    .map(|ack| ack.deployment.as_str())
                    .filter(|name| !there.contains(*name))
                    .collect();
                if lost.is_empty() { Ok(()) } else { Err(format!("{} are lost: {lost:?}", lost.len())) }
            })?;
        }
        Ok(())
    }

    /// One line for whoever runs the tests.
    pub(crate) fn summary(&self) -> String {
        let kinds: BTreeSet<&str> = self.failures.iter().map(String::as_str).collect();
        format!(
            "{} writes acknowledged in {:.1} s, {} not ({kinds:?}), longest gap {:.2} s",
            self.count(),
            self.end.duration_since(self.begin).as_secs_f64(),
            self.failures.len(),
            self.longest_gap().as_secs_f64()
        )
    }
}

fn deployments(host: &Host) -> anyhow::Result<BTreeSet<String>> {
    let list = host.jaco_json(&["get", "deployments"])?;
    Ok(list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
}

/// Lets time pass that the case itself asks for: of faults, of a token's life, for writers to work in.
pub(crate) fn time_passes(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        jaco_e2e::pause();
    }
}

/// Writes from each of these hosts, one client each, while something is done. A client whose node does not answer goes to the next one.
pub(crate) fn while_writing<T>(
    hosts: &[&Host],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Report)> {
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..hosts.len())
            .map(|number| {
                let stop = &stop;
                scope.spawn(move || write(hosts, number, stop))
            })
            .collect();
        let done = work();
        let end = Instant::now();
        stop.store(true, Ordering::Release);
        let mut report = Report { begin, end, acknowledged: Vec::new(), failures: Vec::new() };
        let mut written = Ok(());
        for writer in writers {
            match writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok((acknowledged, failures)) => {
                    report.acknowledged.extend(acknowledged);
                    report.failures.extend(failures);
                }
                Err(error) => written = Err(error),
            }
        }
        report.acknowledged.sort_by_key(|ack| ack.at);
        let done = done?;
        written?;
        Ok((done, report))
    })
}

fn write(hosts: &[&Host], number: usize, stop: &AtomicBool) -> anyhow::Result<(Vec<Ack>, Vec<String>)> {
    let (mut acknowledged, mut failures) = (Vec::new(), Vec::new());
    let mut at = number;
    for count in 0.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let deployment = format!("write-{number}-{count}");
        let project = idle_project(&deployment)?;
        let host = hosts.get(at % hosts.len()).context("no host")?;
        // As long as a user would wait for one command while a leader is chosen.
        let output = host.jaco_within(Duration::from_secs(30), &["apply", &project.jaco(), "--timeout", "20s"]);
        match output {
            Ok(output) if output.is_success() => acknowledged.push(Ack { deployment, at: Instant::now() }),
            Ok(output) => {
                failures.push(code_of(&output.stderr));
                at += 1;
            }
            // Killed before or while the client was started on it.
            Err(_) if !host.is_running() => {
                failures.push("host off".to_owned());
                at += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((acknowledged, failures))
}

/// `no_leader` of `Error: no_leader: …`.
fn code_of(stderr: &str) -> String {
    // The host was killed while the client was started or ran.
    if stderr.is_empty() || stderr.starts_with("jaco-lab:") {
        return "host off".to_owned();
    }
    let line = stderr.lines().find_map(|line| line.strip_prefix("Error: "));
    line.and_then(|line| line.split(':').next()).unwrap_or(stderr).trim().to_owned()
}
