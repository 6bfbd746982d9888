//! Incremental fetch sessions (KIP-227): the partitions a client fetches are remembered, so that
//! later requests name only what changed, and answers only what is new.
//!
//! Bounded by `max.incremental.fetch.session.cache.slots`. At the bound, a session that was idle for
//! two minutes (`min.incremental.fetch.session.eviction.ms`) makes room; without one the client is
//! told session id 0 and goes on with full requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use indexmap::IndexMap;
use ottla_protocol::ids::Monotonic;
use ottla_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;

/// Epoch of a request without a session.
pub const FINAL_EPOCH: i32 = -1;
/// Epoch of a request that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;

const IDLE_EVICTION: Duration = Duration::from_secs(120);

/// Names a partition in fetch requests: by topic id from version 13 on, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FetchKey {
    /// Zero in requests by name.
    pub topic_id: Uuid,
    /// Empty in requests by id.
    pub topic: ByteString,
    /// Partition index.
    pub partition: i32,
}

/// What a client wants of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchWant {
    /// First offset.
    pub offset: i64,
    /// Most bytes.
    pub bytes_max: i32,
    /// The leader epoch the client believes in; -1 if it says none.
    pub leader_epoch: i32,
    /// The epoch of the last record the client has; -1 if it says none (KIP-320).
    pub last_fetched_epoch: i32,
}

/// What the client was last told of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: i64,
    /// Log start offset.
    pub log_start: i64,
}

impl Told {
    /// Nothing yet, or an error, which is repeated in every answer.
    pub const NOTHING: Self = Self { high_watermark: -1, log_start: -1 };
}

/// One partition of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionPartition {
    /// What is wanted.
    pub want: FetchWant,
    /// What was answered last.
    pub told: Told,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// The epoch that the next request must carry.
    pub next_epoch: i32,
    /// Whether its requests are by topic id.
    pub by_id: bool,
    /// Its partitions, in the order of the client.
    pub partitions: IndexMap<FetchKey, SessionPartition, crate::Hasher>,
    /// Where the next answer starts: behind the last partition that filled an answer, so that each
    /// gets its turn.
    pub start: usize,
    last_used: Monotonic,
}

impl Session {
    /// Advances the epoch, skipping what has a meaning of its own.
    fn advance(&mut self) {
        self.next_epoch = if self.next_epoch == i32::MAX { 1 } else { self.next_epoch + 1 };
    }
}

/// All sessions of a broker.
pub struct FetchSessions {
    slots: usize,
    sessions: Mutex<BTreeMap<i32, Arc<Mutex<Session>>>>,
}

impl FetchSessions {
    /// At most `slots` sessions; 0 turns sessions off.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: Mutex::new(BTreeMap::new()) }
    }

    /// Number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a session over these partitions. `random` supplies ids. `None` when there is no room.
    pub fn create(
        &self,
        partitions: IndexMap<FetchKey, SessionPartition, crate::Hasher>,
        by_id: bool,
        now: Monotonic,
        random: impl Fn() -> u64,
    ) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots && !evict_idle(&mut sessions, now) {
            return None;
        }
        let id = loop {
            let id = (random() >> 33) as i32;
            if id != 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Session { next_epoch: 1, by_id, partitions, start: 0, last_used: now };
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, Arc::clone(&session));
        Some((id, session))
    }

    /// Ends a session; unknown ids are fine.
    pub fn remove(&self, id: i32) {
        self.sessions.lock().remove(&id);
    }

    /// The session of an incremental request, its epoch advanced.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub fn resume(
        &self,
        id: i32,
        epoch: i32,
        by_id: bool,
        now: Monotonic,
    ) -> Result<Arc<Mutex<Session>>, ErrorCode> {
        let session = self.sessions.lock().get(&id).cloned();
        let session = session.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        {
            let mut session = session.lock();
            if session.next_epoch != epoch {
                return Err(ErrorCode::InvalidFetchSessionEpoch);
            }
            if session.by_id != by_id {
                return Err(ErrorCode::FetchSessionTopicIdError);
            }
            session.advance();
            session.last_used = now;
        }
        Ok(session)
    }
}

fn evict_idle(sessions: &mut BTreeMap<i32, Arc<Mutex<Session>>>, now: Monotonic) -> bool {
    let idle = sessions
        .iter()
        .map(|(&id, session)| (session.lock().last_used, id))
        .min()
        .filter(|(last_used, _)| now.since(*last_used) >= IDLE_EVICTION);
    idle.is_some_and(|(_, id)| sessions.remove(&id).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(sessions: &FetchSessions, at: u64, id: u64) -> Option<i32> {
        let created = sessions.create(IndexMap::default(), true, Monotonic(at), || id << 33);
        created.map(|(id, _)| id)
    }

    #[test]
    fn a_session_follows_its_epochs_and_refuses_others() {
        let sessions = FetchSessions::new(2);
        let id = create(&sessions, 0, 7).unwrap();
        assert_eq!(id, 7);
        let resume = |epoch, by_id| sessions.resume(id, epoch, by_id, Monotonic(0)).map(|_| ());
        assert_eq!(resume(9, true), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(resume(1, false), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(resume(1, true), Ok(()));
        assert_eq!(resume(2, true), Ok(()));
        assert_eq!(resume(2, true), Err(ErrorCode::InvalidFetchSessionEpoch));
        sessions.remove(id);
        assert_eq!(resume(3, true), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn a_full_cache_gives_up_only_idle_sessions() {
        let sessions = FetchSessions::new(1);
        assert_eq!(create(&sessions, 0, 1), Some(1));
        assert_eq!(create(&sessions, 119_000_000, 2), None);
        assert_eq!(create(&sessions, 120_000_000, 2), Some(2));
        assert_eq!(sessions.len(), 1);
    }
}
