//! A bound on the memory of received frames (`queued.max.request.bytes`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that the frames of one or several listeners may hold together. A frame takes its share
/// before it is read, waits in order of arrival if there is none, and gives it back when the last
/// slice of it is dropped. A frame larger than the whole budget takes all of it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    free: Arc<Semaphore>,
    total: usize,
}

/// A frame's share, given back when dropped.
pub(crate) struct Share(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// A place in the queue for a share.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Share> + Send>>;

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total }
    }

    /// A budget that is never exhausted (`queued.max.request.bytes=-1`).
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Semaphore::MAX_PERMITS)
    }

    /// Bytes taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }

    /// The size of the budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// A share of `len` bytes, or a place in the queue for it.
    pub(crate) fn take(&self, len: usize) -> Result<Share, Waiting> {
        let permits = u32::try_from(len.min(self.total)).unwrap_or(u32::MAX);
        match self.free.clone().try_acquire_many_owned(permits) {
            Ok(permit) => Ok(Share(permit)),
            Err(_) => Err(Box::pin(wait(self.free.clone(), permits))),
        }
    }
}

impl Share {
    /// `frame`, which gives this share back when its last slice is dropped.
    pub(crate) fn attach(self, frame: Bytes) -> Bytes {
        Bytes::from_owner(Charged { frame, _share: self })
    }
}

/// Polls a place in the queue.
pub(crate) fn poll_share(waiting: &mut Waiting, cx: &mut Context<'_>) -> Poll<Share> {
    waiting.as_mut().poll(cx)
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

async fn wait(free: Arc<Semaphore>, permits: u32) -> Share {
    match free.acquire_many_owned(permits).await {
        Ok(permit) => Share(permit),
        // The semaphore is private and never closed.
        Err(_) => std::future::pending().await,
    }
}
