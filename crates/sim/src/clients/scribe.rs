//! A transactional producer without a purpose: writes to several partitions, commits, aborts, dies in
//! the middle, forgets its transaction, and fights with another instance for its id.

use bytes::Bytes;

use super::session::{Session, Status};
use super::{Client, Cx};
use crate::model::{Content, JOURNAL, Place, SOURCE};
use crate::plan::TxnClient;

/// A transactional producer.
pub(crate) struct Scribe {
    who: TxnClient,
    session: Option<Session>,
    /// Batches still to be written in this transaction.
    left: u64,
    /// What happens when they are.
    plan: Ending,
    restart_at: u64,
}

#[derive(Clone, Copy)]
enum Ending {
    Commit,
    Abort,
    /// The process ends.
    Die,
    /// It goes silent for longer than the transaction may take.
    Sleep,
}

impl Scribe {
    /// A producer with this transactional id.
    pub(crate) fn new(who: TxnClient) -> Self {
        Self { who, session: None, left: 0, plan: Ending::Commit, restart_at: 0 }
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        let Some(session) = &mut self.session else { return };
        session.begin(cx);
        self.left = cx.rng.between(1, 6);
        self.plan = match cx.rng.below(20) {
            0..=3 => Ending::Abort,
            4 => Ending::Die,
            5 => Ending::Sleep,
            _ => Ending::Commit,
        };
        self.write(cx);
    }

    /// Writes a batch or a few.
    fn write(&mut self, cx: &mut Cx<'_>) {
        let mut places: Vec<Place> = cx.model.places_of(JOURNAL);
        places.extend(cx.model.places_of(SOURCE));
        let Some(session) = self.session.as_mut().filter(|_| !places.is_empty()) else { return };
        for _ in 0..cx.rng.between(1, self.left.max(1)) {
            let place = *cx.rng.pick(&places);
            if self.left == 0 || !session.has_room(place) {
                return;
            }
            let count = if cx.rng.chance(1, 6) { cx.rng.between(2, 12) } else { 1 };
            session.write(cx, place, &vec![Content::Plain; count as usize]);
            self.left -= 1;
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        let Some(session) = &mut self.session else { return };
        match self.plan {
            Ending::Commit => session.end(cx, true),
            Ending::Abort => session.end(cx, false),
            Ending::Die => self.die(cx, 500_000),
            Ending::Sleep => {
                self.plan = Ending::Commit;
                self.restart_at = cx.now + self.who.timeout_ms as u64 * 1_300;
            }
        }
    }

    fn die(&mut self, cx: &mut Cx<'_>, pause: u64) {
        if let Some(mut session) = self.session.take() {
            session.abandon(cx);
        }
        self.restart_at = cx.now + cx.rng.below(pause);
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        let Some(session) = &mut self.session else { return };
        let stopping = cx.model.stopping;
        match session.status() {
            Status::Ready if stopping || cx.model.places_of(JOURNAL).is_empty() => {}
            Status::Ready => self.begin(cx),
            Status::Writing | Status::Open if self.left > 0 && cx.rng.chance(1, 2) => {
                self.write(cx);
            }
            Status::Writing | Status::Open if stopping && cx.rng.chance(1, 10) => {
                self.die(cx, 0);
            }
            Status::Writing if cx.rng.chance(1, 50) => session.end(cx, false),
            Status::Open if self.left == 0 || stopping => self.end(cx),
            Status::Failed => session.end(cx, false),
            Status::Fenced => self.die(cx, 2_000_000),
            Status::Writing | Status::Open | Status::Starting | Status::Ending => {}
        }
    }
}

impl Client for Scribe {
    fn act(&mut self, cx: &mut Cx<'_>) {
        let idle = self.session.as_ref().is_none_or(|s| s.status() == Status::Ready);
        if cx.now >= self.restart_at && !(cx.model.stopping && idle) {
            if self.session.is_none() {
                self.session = Some(Session::new(cx, &self.who));
            }
            self.next(cx);
            if let Some(session) = &mut self.session {
                session.pump(cx);
                if cx.rng.chance(1, 40) {
                    session.cut(cx);
                }
            }
            if cx.rng.chance(1, 150) {
                self.die(cx, 500_000);
            }
        }
        if !(cx.model.stopping && idle) {
            cx.act_in(500, 60_000);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.answer(cx, correlation, frame);
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.closed();
        }
    }

    fn name(&self) -> String {
        format!("scribe {} {:?}", self.who.id, self.who.style)
    }
}
