//! The cluster grows and shrinks under continuous writes.

use std::time::Duration;

use anyhow::{Context, ensure};
use jaco_e2e::announce;

use crate::Rig;
use crate::writers::{time_passes, while_writing};

/// No change of the members may hold writes up for longer.
const BAR: Duration = Duration::from_secs(5);

/// One node, three, five, and three again, of which one led before: nothing acknowledged is lost.
pub(crate) fn one_three_five_three_under_writes(rig: &mut Rig) -> anyhow::Result<()> {
    let cluster = rig.cluster(1)?;
    let writers = cluster.hosts(&[1, 1, 1]);
    let pause = || time_passes(Duration::from_secs(1));
    let ((), report) = while_writing(&writers, || {
        pause();
        for number in 2..=5 {
            cluster.add(number, number - 1)?;
            if number % 2 == 1 {
                cluster.settled(&(1..=number).collect::<Vec<_>>())?;
                pause();
            }
        }
        for number in [4, 2] {
            let name = format!("host{number}");
            let answer = cluster.host(1).jaco(&["node", "remove", &name])?.ok();
            answer.with_context(|| format!("{name} is removed"))?;
            pause();
        }
        cluster.settled(&[1, 3, 5])?;
        pause();
        Ok(())
    })?;
    announce(&report.summary());
    report.check(&cluster.hosts(&[1, 3, 5]))?;
    let gap = report.longest_gap();
    ensure!(gap <= BAR, "no write was accepted for {gap:.2?}");
    Ok(())
}
