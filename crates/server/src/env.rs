//! The broker's environment: real clocks, the system's randomness, threads and a timer.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use ottla_broker::jobs::Job;
use ottla_broker::quotas::IpRates;
use ottla_broker::{Broker, Env};
use ottla_config::BrokerConfig;
use ottla_net::NetServer;
use ottla_protocol::ids::{Monotonic, Now};

use crate::clock::Clock;
use crate::lanes::{Lanes, die};
use crate::timer::Timer;

/// See the module.
pub struct RealEnv {
    clock: Clock,
    lanes: Lanes,
    timer: Arc<Timer>,
    net: NetServer,
    controller: NetServer,
    /// Connections that the process has descriptors for.
    connections_max: u32,
}

impl RealEnv {
    /// An environment that does not run anything yet. `net` and `controller`, the listeners of the two
    /// roles, are told the limits on connections, and never more than `connections_max`.
    #[must_use]
    pub fn new(
        clock: Clock,
        (net, controller): (NetServer, NetServer),
        connections_max: u32,
    ) -> Self {
        let (lanes, timer) = (Lanes::new(), Arc::new(Timer::new(clock)));
        Self { clock, lanes, timer, net, controller, connections_max }
    }

    /// Starts to run `broker`'s jobs and timers.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn attach(&self, broker: &Arc<Broker>) -> io::Result<()> {
        self.lanes.attach(broker);
        self.timer.start(broker)
    }

    /// Ends the timers, runs the jobs that are queued, and ends the threads.
    pub fn stop(&self) {
        self.timer.stop();
        self.lanes.stop();
    }

    /// The clocks.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

impl Env for RealEnv {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.clock.monotonic(Instant::now())
    }

    fn random(&self) -> u64 {
        u64::from_ne_bytes(random_bytes())
    }

    fn submit(&self, job: Job) {
        self.lanes.submit(job);
    }

    fn schedule(&self, at: Monotonic) {
        self.timer.schedule(at);
    }

    fn limit_connections(&self, config: &BrokerConfig, rates: &IpRates) {
        use crate::listen::limits;
        let within = |mut limits: ottla_net::ConnectionLimits| {
            limits.max = limits.max.min(self.connections_max);
            limits
        };
        self.net.set_limits(within(limits(config, rates, config.broker_listeners())));
        // Quotas of addresses are for clients.
        let none = IpRates::default();
        let of_controller = limits(config, &none, config.controller_listeners());
        self.controller.set_limits(within(of_controller));
    }

    fn set_log_levels(&self, directives: &str) {
        crate::logging::set_levels(directives);
    }
}

/// Unpredictable bytes of the system.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Ids that are not unique would mix up directories and producers.
            Err(error) => die(&format!("the system gives no random numbers: {error}")),
        }
    }
    bytes
}
