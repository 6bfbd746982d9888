//! Who may connect, and who is connected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::connection::{ConnectionId, Refusal};
use crate::rates::{Addresses, Buckets, ConnectionRate};
use crate::wake::Waker;

/// Limits on connections. They can change while listeners run.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionLimits {
    /// `max.connections`: beyond it listeners wait before they accept.
    pub max: u32,
    /// `max.connections.per.ip`: beyond it a connection is closed at once.
    pub per_ip: u32,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: BTreeMap<IpAddr, u32>,
    /// `max.connection.creation.rate`: beyond it listeners wait.
    pub rate: Option<ConnectionRate>,
    /// `connection_creation_rate` of addresses without one of their own: beyond it a connection is
    /// closed after a pause.
    pub ip_rate: Option<ConnectionRate>,
    /// `connection_creation_rate` by address.
    pub ip_rates: BTreeMap<IpAddr, ConnectionRate>,
    /// Limits of single listeners by name.
    pub listeners: BTreeMap<String, ListenerLimits>,
}

/// Limits on the connections of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ListenerLimits {
    /// `listener.name.<name>.max.connections`: beyond it the listener waits before it accepts.
    pub max: Option<u32>,
    /// `listener.name.<name>.max.connection.creation.rate`: beyond it the listener waits.
    pub rate: Option<ConnectionRate>,
}

/// The connections of all listeners.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) stopping: Arc<AtomicBool>,
    state: Mutex<State>,
    /// A connection has gone or the limits have changed.
    changed: Notify,
}

/// A connection's entry, removed when dropped.
pub(crate) struct Slot {
    pub(crate) id: ConnectionId,
    ip: IpAddr,
    listener: usize,
    registry: Arc<Registry>,
}

#[derive(Default)]
struct State {
    limits: ConnectionLimits,
    last_id: ConnectionId,
    open: BTreeMap<ConnectionId, Entry>,
    /// Bounded by the number of connections.
    per_ip: BTreeMap<IpAddr, u32>,
    /// Connections by listener number.
    per_listener: BTreeMap<usize, u32>,
    /// How fast they came: by listener number, `usize::MAX` for all.
    came: Buckets<usize>,
    came_from: Addresses,
}

/// All listeners together, among the buckets of listeners.
const ALL: usize = usize::MAX;

/// A listener as the registry knows it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    /// The limits of the broker as a whole do not hold it back: brokers reach each other by it.
    pub(crate) is_exempt: bool,
}

struct Entry {
    waker: Waker,
    abort: Option<AbortHandle>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max: u32::MAX,
            per_ip: u32::MAX,
            per_ip_overrides: BTreeMap::new(),
            rate: None,
            ip_rate: None,
            ip_rates: BTreeMap::new(),
            listeners: BTreeMap::new(),
        }
    }
}

impl ConnectionLimits {
    fn for_ip(&self, ip: IpAddr) -> u32 {
        self.per_ip_overrides.get(&ip).copied().unwrap_or(self.per_ip)
    }

    fn rate_for_ip(&self, ip: IpAddr) -> Option<ConnectionRate> {
        self.ip_rates.get(&ip).copied().or(self.ip_rate)
    }

    fn of_listener(&self, name: &str) -> ListenerLimits {
        self.listeners.get(name).copied().unwrap_or_default()
    }
}

impl Registry {
    pub(crate) fn set_limits(&self, limits: ConnectionLimits) {
        self.state.lock().limits = limits;
        self.changed.notify_waiters();
    }

    /// Number of connections.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().open.len()
    }

    /// Whether a listener may accept one more.
    pub(crate) fn has_room(&self, listener: &Place) -> bool {
        let state = self.state.lock();
        let of_listener = state.per_listener.get(&listener.number).copied().unwrap_or(0);
        let own_max = state.limits.of_listener(&listener.name).max;
        own_max.is_none_or(|max| of_listener < max)
            && (listener.is_exempt || state.open.len() < state.limits.max as usize)
    }

    /// Counts a connection towards the rates of its listener and of the broker.
    ///
    /// # Errors
    /// It has to wait this long, and then ask again.
    pub(crate) fn pace(&self, listener: &Place, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock();
        let State { limits, came, .. } = &mut *state;
        let own = limits.of_listener(&listener.name).rate.map(|rate| (listener.number, rate));
        let all = limits.rate.filter(|_| !listener.is_exempt).map(|rate| (ALL, rate));
        for (key, rate) in own.into_iter().chain(all) {
            came.take(key, rate, now)?;
        }
        Ok(())
    }

    /// Resolves after `pause`, or earlier when the limits or the connections change.
    pub(crate) async fn changed_within(&self, pause: Duration) {
        // An error is the end of the pause.
        let _ = tokio::time::timeout(pause, self.changed.notified()).await;
    }

    /// Resolves once `ready` is true; it is asked again whenever a connection has gone.
    pub(crate) async fn until(&self, ready: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            if ready() {
                return;
            }
            changed.await;
        }
    }

    /// Enters a connection from `ip`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        (listener, ip): (usize, IpAddr),
        waker: &Waker,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        let mut state = self.state.lock();
        if let Some(rate) = state.limits.rate_for_ip(ip) {
            state.came_from.take(ip, rate, now).map_err(|pause| Refusal::TooFast { pause })?;
        }
        let limit = state.limits.for_ip(ip);
        let count = state.per_ip.get(&ip).copied().unwrap_or(0);
        if count >= limit {
            return Err(Refusal::PerIp { limit });
        }
        state.per_ip.insert(ip, count + 1);
        *state.per_listener.entry(listener).or_default() += 1;
        state.last_id += 1;
        let id = state.last_id;
        state.open.insert(id, Entry { waker: waker.clone(), abort: None });
        Ok(Slot { id, ip, listener, registry: self.clone() })
    }

    /// Remembers how to abort a connection, unless it is gone already.
    pub(crate) fn set_abort(&self, id: ConnectionId, abort: AbortHandle) {
        if let Some(entry) = self.state.lock().open.get_mut(&id) {
            entry.abort = Some(abort);
        }
    }

    /// Runs all tasks, so that they see a changed flag.
    pub(crate) fn wake_all(&self) {
        let wakers: Vec<Waker> =
            self.state.lock().open.values().map(|entry| entry.waker.clone()).collect();
        wakers.iter().for_each(Waker::wake_task);
    }

    /// Ends all tasks where they stand. Returns their number.
    pub(crate) fn abort_all(&self) -> usize {
        let aborts: Vec<AbortHandle> =
            self.state.lock().open.values().filter_map(|entry| entry.abort.clone()).collect();
        aborts.iter().for_each(AbortHandle::abort);
        aborts.len()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.registry.state.lock();
        state.open.remove(&self.id);
        decrement(&mut state.per_ip, self.ip);
        decrement(&mut state.per_listener, self.listener);
        drop(state);
        self.registry.changed.notify_waiters();
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_address_limit_counts_open_connections_and_honours_overrides() {
        let registry = Arc::new(Registry::default());
        let [a, b]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        registry.set_limits(ConnectionLimits {
            per_ip: 1,
            per_ip_overrides: BTreeMap::from([(b, 2)]),
            ..ConnectionLimits::default()
        });
        let admit = |ip| registry.admit((0, ip), &Waker::detached(), Instant::now());
        let first = admit(a);
        assert!(first.is_ok());
        assert_eq!(admit(a).err(), Some(Refusal::PerIp { limit: 1 }));
        let others = [admit(b), admit(b)];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(admit(b).err(), Some(Refusal::PerIp { limit: 2 }));
        drop(first);
        assert!(admit(a).is_ok(), "the place of a gone connection is free");
        drop(others);
        assert!(registry.state.lock().per_ip.is_empty(), "no entry without a connection");
    }
}
