//! A bound on the memory of received frames (`queued.max.request.bytes`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that the frames of one or several listeners may hold together. A frame takes a share
/// before it is read and more as its bytes arrive, so that a claimed size alone takes little; it
/// waits in order of arrival if there is none, and gives all back when its last slice is dropped.
///
/// Frames that have begun could wait for each other forever, so one at a time may be completed
/// without a share: the bound is the budget and one frame.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
    total: usize,
}

/// A frame's share, given back when dropped.
#[derive(Default)]
pub(crate) struct Share {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

/// A place in the queue for more.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Granted> + Send>>;

/// What the wait was for.
pub(crate) enum Granted {
    Bytes(usize, OwnedSemaphorePermit),
    Overdraft(OwnedSemaphorePermit),
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        let (free, overdraft) = (Semaphore::new(total), Semaphore::new(1));
        Self { free: Arc::new(free), overdraft: Arc::new(overdraft), total }
    }

    /// A budget that is never exhausted (`queued.max.request.bytes=-1`).
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Semaphore::MAX_PERMITS)
    }

    /// Bytes taken now, without those of a frame completed beyond the budget.
    #[must_use]
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }

    /// The size of the budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// `more` bytes, or a place in the queue for them. Only a frame that has a share already
    /// (`has_begun`) may be completed beyond the budget.
    fn take(&self, more: usize, has_begun: bool) -> Result<Granted, Waiting> {
        let bytes = if has_begun { more } else { more.min(self.total) };
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.free.clone().try_acquire_many_owned(permits) {
            Ok(permit) => Ok(Granted::Bytes(more, permit)),
            Err(_) => {
                let free = (bytes <= self.total).then(|| self.free.clone());
                let overdraft = has_begun.then(|| self.overdraft.clone());
                Err(Box::pin(async move {
                    tokio::select! {
                        biased;
                        permit = acquire(free, permits) => Granted::Bytes(more, permit),
                        permit = acquire(overdraft, 1) => Granted::Overdraft(permit),
                    }
                }))
            }
        }
    }
}

impl Share {
    /// Bytes covered.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to `bytes`. `waiting` keeps the place in the queue while this is pending.
    pub(crate) fn poll_grow(
        &mut self,
        cx: &mut Context<'_>,
        (budget, bytes): (&MemoryBudget, usize),
        waiting: &mut Option<Waiting>,
    ) -> Poll<()> {
        if waiting.is_none() {
            match budget.take(bytes.saturating_sub(self.bytes), self.bytes > 0) {
                Ok(granted) => {
                    self.add(granted);
                    return Poll::Ready(());
                }
                Err(new) => *waiting = Some(new),
            }
        }
        if let Some(queued) = waiting {
            self.add(ready!(queued.as_mut().poll(cx)));
            *waiting = None;
        }
        Poll::Ready(())
    }

    fn add(&mut self, granted: Granted) {
        match granted {
            Granted::Overdraft(permit) => {
                self.bytes = usize::MAX;
                self.overdraft = Some(permit);
            }
            Granted::Bytes(bytes, permit) => {
                self.bytes = self.bytes.saturating_add(bytes);
                match &mut self.permit {
                    Some(held) => held.merge(permit),
                    None => self.permit = Some(permit),
                }
            }
        }
    }

    /// `frame`, which gives this share back when its last slice is dropped.
    pub(crate) fn attach(self, frame: Bytes) -> Bytes {
        Bytes::from_owner(Charged { frame, _share: self })
    }
}

struct Charged {
    frame: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// `permits` of `from`; never if there is none. The semaphores are private and never closed.
async fn acquire(from: Option<Arc<Semaphore>>, permits: u32) -> OwnedSemaphorePermit {
    if let Some(from) = from
        && let Ok(permit) = from.acquire_many_owned(permits).await
    {
        return permit;
    }
    std::future::pending().await
}
