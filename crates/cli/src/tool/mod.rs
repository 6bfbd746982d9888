//! The commands for people: one file each.

pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod quota;
pub(crate) mod stop;
pub(crate) mod topic;
pub(crate) mod txn;

use std::pin::Pin;
use std::time::Duration;

use clap::Args as ClapArgs;

use crate::client::{Cluster, Target};
use crate::failure::{Failure, Outcome};
use crate::output::{Format, Out};

/// What every command for people takes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Common {
    /// Brokers to begin with; the first that answers tells the others
    #[arg(
        short,
        long,
        global = true,
        env = "OTTLA_BROKERS",
        default_value = "localhost:9092",
        alias = "bootstrap-server",
        value_name = "HOST:PORT,...",
        help_heading = "Everywhere"
    )]
    pub(crate) brokers: String,
    /// The form of the output
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Everywhere"
    )]
    pub(crate) output: Format,
    /// How long one thing may take, in milliseconds, retries included
    #[arg(
        long,
        global = true,
        default_value_t = 30_000,
        value_name = "MS",
        help_heading = "Everywhere"
    )]
    pub(crate) timeout_ms: u64,
}

impl Common {
    /// Where to connect.
    pub(crate) fn target(&self) -> Outcome<Target> {
        Target::parse(&self.brokers, Duration::from_millis(self.timeout_ms)).map_err(Failure::Usage)
    }
}

/// Works to the end, on a runtime of one thread. The work is boxed: each kind would bring its own copy
/// of the runtime's loop with it.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let work: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(work);
    Ok(runtime.block_on(work))
}

/// Connects, works, and hands out what was printed, also after a failure.
pub(crate) fn run(
    common: &Common,
    work: impl AsyncFnOnce(&mut Cluster, &mut Out) -> Outcome,
) -> Outcome {
    let target = common.target()?;
    let mut out = Out::new(common.output);
    block_on(async {
        let mut cluster = Cluster::connect(target).await?;
        let done = work(&mut cluster, &mut out).await;
        out.flush()?;
        done
    })?
}

/// Reads `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    if key.trim().is_empty() {
        return Err("KEY=VALUE is expected, and the key is empty".to_owned());
    }
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The first failure, after all were told on standard error where there are several.
pub(crate) fn first_of(failures: Vec<Failure>) -> Outcome {
    let several = failures.len() > 1;
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    if several {
        for failure in failures {
            eprintln!("ottla: {failure}");
        }
    }
    Err(first)
}
