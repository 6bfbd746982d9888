//! Who may connect, and who is connected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::connection::{ConnectionId, Refusal};
use crate::wake::Waker;

/// Limits on the connections of all listeners together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`: beyond it listeners wait before they accept.
    pub max: u32,
    /// `max.connections.per.ip`: beyond it a connection is closed at once.
    pub per_ip: u32,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: BTreeMap<IpAddr, u32>,
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
}

struct Entry {
    waker: Waker,
    abort: Option<AbortHandle>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { max: u32::MAX, per_ip: u32::MAX, per_ip_overrides: BTreeMap::new() }
    }
}

impl ConnectionLimits {
    fn for_ip(&self, ip: IpAddr) -> u32 {
        self.per_ip_overrides.get(&ip).copied().unwrap_or(self.per_ip)
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

    /// Whether a listener may accept one more: `Err` names the limit that is reached.
    pub(crate) fn has_room(&self, listener: usize, own_max: Option<u32>) -> Result<(), u32> {
        let state = self.state.lock();
        let of_listener = state.per_listener.get(&listener).copied().unwrap_or(0);
        match own_max {
            Some(max) if of_listener >= max => Err(max),
            _ if state.open.len() >= state.limits.max as usize => Err(state.limits.max),
            _ => Ok(()),
        }
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
    ) -> Result<Slot, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        let mut state = self.state.lock();
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
        let admit = |ip| registry.admit((0, ip), &Waker::detached());
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
