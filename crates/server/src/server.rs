//! A node: started in order, served, stopped in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla_broker::{Broker, StartBroker};
use ottla_config::{BrokerConfig, keys};
use ottla_net::{MemoryBudget, NetMetrics, NetServer};
use ottla_protocol::ids::BrokerId;
use ottla_storage::dirs::{DirsError, LogDirs, OpenDirs};
use ottla_storage::{Disk, OpenFiles};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use crate::adapter::BrokerAcceptor;
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::descriptors::Descriptors;
use crate::disk::RealDisk;
use crate::env::RealEnv;
use crate::error::StartError;
use crate::format::{self, Format, all_dirs, random_uuid};
use crate::lanes::die;
use crate::latency::Recent;
use crate::listen::{self, Bound};
use crate::load::{Loaded, Options};
use crate::logging;
use crate::opening::open_logs;
use crate::signals::Signals;

/// How long connections may take to write their last answers when the node stops.
const GRACE: Duration = Duration::from_secs(5);

/// Most threads that read cold file ranges for connections.
const BLOCKING_THREADS_MAX: usize = 16;

/// A node that serves clients.
pub struct Node {
    broker: Arc<Broker>,
    env: Arc<RealEnv>,
    net: NetServer,
    controller: ControllerSide,
    addresses: Vec<(String, SocketAddr)>,
    admin: Option<Admin>,
}

/// The controller's listeners, with connections of their own number and on a thread of their own: what
/// clients do to this node keeps no broker from its heartbeats.
struct ControllerSide {
    net: NetServer,
    runtime: Runtime,
}

/// What the admin listener reads.
pub(crate) struct Observed {
    pub(crate) broker: Arc<Broker>,
    pub(crate) listeners: Vec<(String, Arc<NetMetrics>)>,
    pub(crate) connections: NetServer,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) is_ready: Arc<AtomicBool>,
}

/// Runs a node until SIGTERM or SIGINT. `started` is when the process began.
///
/// # Errors
/// The node cannot start; see [`StartError`].
pub fn run(options: &Options, started: Instant) -> Result<(), StartError> {
    let loaded = options.load()?;
    logging::init(&loaded.config);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime()?;
    let is_ready = Arc::new(AtomicBool::new(false));
    let stop = runtime
        .block_on(async { Ok::<_, StartError>(Signals::new()?.stop(Arc::clone(&is_ready))) })?;
    let node = Node::start(&loaded, &runtime, Arc::clone(&is_ready))?;
    let addresses: Vec<_> =
        node.addresses.iter().map(|(name, at)| format!("{name} {at}")).collect();
    tracing::info!(
        "ready after {} ms: node {} of cluster {} listens on {}",
        started.elapsed().as_millis(),
        node.broker.node_id(),
        node.broker.cluster_id(),
        addresses.join(", ")
    );
    // An error is the sender's end, which is the process's.
    let _ = runtime.block_on(stop);
    node.stop(&runtime);
    Ok(())
}

/// The runtime of the connections: one thread per core.
///
/// # Errors
/// Threads cannot be started.
pub fn runtime() -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("ottla-net")
        .thread_stack_size(1 << 20)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(StartError::system("start threads"))
}

/// The runtime of the controller's connections: one thread.
fn controller_runtime() -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ottla-ctl")
        .thread_stack_size(1 << 20)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .map_err(StartError::system("start threads"))
}

impl Node {
    /// Starts a node whose connections run on `runtime`; `is_ready` is set once it serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        loaded: &Loaded,
        runtime: &Runtime,
        is_ready: Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(loaded.config.clone());
        supported(&config)?;
        let clock = Clock::start();
        let bound = listen::bind(&config, loaded.advertises_reached)?;
        let descriptors = Descriptors::claim(&config);
        let advertised_controller = bound.advertised_controller(&config);
        if loaded.formats {
            format_missing(&RealDisk::default(), &config, &advertised_controller)?;
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&all_dirs(&config)));
        let dirs = open_dirs(&disk, &config)?;
        let net = NetServer::new();
        let controller = ControllerSide { net: NetServer::new(), runtime: controller_runtime()? };
        let listeners = (net.clone(), controller.net.clone());
        let env = Arc::new(RealEnv::new(clock, listeners, descriptors.connections()));
        let start = StartBroker {
            env: Arc::clone(&env) as _,
            disk,
            open_files: OpenFiles::new(
                usize::try_from(descriptors.log_files).unwrap_or(usize::MAX),
            ),
            config: Arc::clone(&config),
            dirs,
            advertised: bound.advertised(&config),
            advertised_controller,
        };
        let (broker, tasks) = Broker::open(start)?;
        let per_dir = broker.config().get(keys::NUM_RECOVERY_THREADS_PER_DATA_DIR);
        let per_dir = usize::try_from(per_dir).unwrap_or(1);
        open_logs(&broker, &tasks, per_dir * config.log_dirs().len());
        env.attach(&broker).map_err(StartError::system("start threads"))?;
        broker.serve()?;
        let all = bound.broker.iter().chain(&bound.controller);
        let addresses = all.map(|b| (b.listener.name.clone(), b.socket.local_addr())).collect();
        let mut listeners = Vec::new();
        for (net, bound, budget, runtime) in [
            (&net, bound.broker, listen::budget(&config), runtime),
            (
                &controller.net,
                bound.controller,
                listen::controller_budget(&config),
                &controller.runtime,
            ),
        ] {
            listeners.append(&mut serve(&broker, net, (bound, budget), (runtime, clock))?);
        }
        is_ready.store(true, Ordering::Release);
        let observed = Observed {
            broker: Arc::clone(&broker),
            listeners,
            connections: net.clone(),
            recent: Mutex::default(),
            is_ready,
        };
        let admin = admin::start(&config, observed)?;
        Ok(Self { broker, env, net, controller, addresses, admin })
    }

    /// The listeners by name, with the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The admin listener's address, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Stops: accepts nothing more, lets connections write what is answered, closes the logs and
    /// marks them clean.
    pub fn stop(self, runtime: &Runtime) {
        tracing::info!("stopping");
        let begun = Instant::now();
        let ControllerSide { net: controller, runtime: controller_runtime } = self.controller;
        let aborted = runtime.block_on(async {
            let (ours, others) = tokio::join!(self.net.shutdown(GRACE), controller.shutdown(GRACE));
            ours + others
        });
        controller_runtime.shutdown_background();
        if aborted > 0 {
            tracing::warn!("{aborted} connections did not end in time and were cut");
        }
        // Timers and jobs first: none may touch a log that is closed.
        self.env.stop();
        let broker = &self.broker;
        let closed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broker.shut_down()));
        if closed.is_err() {
            die("a defect in this program ended the stop; the next start recovers the logs");
        }
        tracing::info!("stopped in {} ms", begun.elapsed().as_millis());
    }
}

/// Roles and quorums that do not run yet.
fn supported(config: &BrokerConfig) -> Result<(), StartError> {
    let refuse = |sentence: &str| Err(StartError::Unsupported(sentence.to_owned()));
    if !config.is_broker() || !config.is_controller() {
        return refuse(
            "process.roles must be broker,controller: separate roles are not available yet",
        );
    }
    if config.quorum_voters().len() > 1 {
        return refuse(
            "controller.quorum.voters names more than this node: a quorum of several controllers \
             is not available yet",
        );
    }
    Ok(())
}

/// Opens the node's directories.
fn open_dirs(disk: &Arc<dyn Disk>, config: &BrokerConfig) -> Result<LogDirs, StartError> {
    let paths = all_dirs(config);
    let plan = OpenDirs {
        paths: &paths,
        metadata_dir: Path::new(config.metadata_log_dir()),
        node_id: BrokerId(config.node_id()),
        cluster_id: None,
    };
    let opened = LogDirs::open(Arc::clone(disk), &plan, &mut random_uuid);
    let dirs = opened.map_err(|error| match error {
        DirsError::Unformatted { path } => StartError::Unformatted { path },
        error => StartError::Dirs(error),
    })?;
    for path in &paths {
        tracing::info!("data directory {}", path.display());
    }
    Ok(dirs)
}

/// Formats the directories that are not formatted, in the cluster of those that are.
fn format_missing(
    disk: &dyn Disk,
    config: &BrokerConfig,
    controller: &[ottla_config::Listener],
) -> Result<(), StartError> {
    let cluster_id = format::known_cluster_id(disk, &all_dirs(config))?;
    let format = Format {
        cluster_id,
        standalone: config.quorum_voters().is_empty(),
        ignore_formatted: true,
        levels: Vec::new(),
        controller: Some(controller.to_vec()),
    };
    let (cluster_id, formatted) = format::format(disk, config, &format)?;
    for path in &formatted.new {
        tracing::info!("formatted {} for cluster {cluster_id}", path.display());
    }
    Ok(())
}

/// Lets clients in.
fn serve(
    broker: &Arc<Broker>,
    net: &NetServer,
    (bound, budget): (Vec<Bound>, MemoryBudget),
    (runtime, clock): (&Runtime, Clock),
) -> Result<Vec<(String, Arc<NetMetrics>)>, StartError> {
    let _in_runtime = runtime.enter();
    let mut metrics = Vec::new();
    for Bound { listener, socket, settings } in bound {
        let name = listener.name.clone();
        let acceptor = Arc::new(BrokerAcceptor { broker: Arc::clone(broker), listener, clock });
        let counters = net
            .serve(&name, socket, (settings, budget.clone()), acceptor)
            .map_err(|error| StartError::Listen { listener: name.clone(), error })?;
        metrics.push((name, counters));
    }
    Ok(metrics)
}
