//! `cluster recover`: starts `jacod recover`, which does it, and shows what it says.

use clap::Args;

use super::restore::show;
use crate::failure::Failure;
use crate::session::Session;
use crate::view::backup::Recovered;

/// Arguments of `cluster recover`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Do it: the majority of the cluster is lost for good.
    #[arg(long)]
    yes: bool,
    /// No other node of the cluster runs, nor will before it has joined anew: exclusive replicas may start.
    #[arg(long)]
    old_nodes_are_off: bool,
}

/// What an operator has to know who said `--yes`.
const WARNING: &str = "this node becomes the only member of a new life of the cluster: what only the other nodes have is lost, and \
     they are refused until each has joined anew; make sure that none of them still runs";

pub async fn run(arguments: &Arguments, session: &Session<'_>) -> Result<(), Failure> {
    if arguments.yes {
        session.warn(WARNING);
    }
    let flags = [(arguments.yes, "--yes"), (arguments.old_nodes_are_off, "--old-nodes-are-off")];
    let given = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.into());
    show::<Recovered>(std::iter::once("recover".into()).chain(given).collect(), session).await
}
