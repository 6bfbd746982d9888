//! `ottla health`: what a client does first, as a check.

use std::time::Duration;

use crate::args::HealthArgs;
use crate::client::{Cluster, Target};
use crate::failure::{Failure, Outcome};
use crate::tool::block_on;

pub(crate) fn run(args: &HealthArgs) -> Outcome {
    let within = Duration::from_millis(args.timeout_ms);
    let target = Target::parse(&args.brokers, within).map_err(Failure::Usage)?;
    let asked = async {
        let late = |_| Failure::Unreachable(format!("no answer within {within:?}"));
        tokio::time::timeout(within, Cluster::connect(target)).await.map_err(late)?
    };
    // The exit code says no more than that it does not serve.
    let cluster = block_on(asked)?.map_err(|failure| Failure::Failed(failure.to_string()))?;
    match cluster.nodes.len() {
        0 => {
            let text = "it answers, but no broker of the cluster serves clients";
            Err(Failure::Failed(text.to_owned()))
        }
        count => {
            println!("serving: {count} broker(s), controller {}", cluster.controller);
            Ok(())
        }
    }
}
