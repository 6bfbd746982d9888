//! Looks at everything when the others have stopped: every transaction is decided in bounded time, the
//! last stable offset reaches the end, nobody's transactional id is stuck, and what is visible is what
//! was committed.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::FindCoordinatorRequest;

use super::committer::refused;
use super::reading::{READ_COMMITTED, READ_UNCOMMITTED};
use super::scan::{Found, Scan};
use super::session::{Session, Status, Style};
use super::worker::{FIND, GROUP, OFFSETS, positions_in, positions_of};
use super::{Client, Cx, Link};
use crate::model::{Place, SOURCE, TRANSACTIONAL, Verdict};
use crate::plan::TxnClient;
use crate::records::RecordId;

/// Who looks last.
pub(crate) struct Examiner {
    scan: Scan,
    link: Link,
    asked: bool,
    /// The group's coordinator was asked for: it may not have been there.
    found: bool,
    /// Partitions that are not decided, with the ends that were found, or not read.
    places: Vec<Place>,
    ends: BTreeMap<i8, i64>,
    next: i64,
    step: Step,
    visible: Vec<(RecordId, i64)>,
    inputs: Vec<(i32, i64)>,
    positions: BTreeMap<i32, i64>,
    /// Transactional ids that were not given out again yet.
    owners: Vec<String>,
    session: Option<Session>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Waiting,
    /// Every partition's last stable offset is its end.
    Decided,
    Read,
    Positions,
    Initialise,
    Done,
}

impl Examiner {
    pub(crate) fn new() -> Self {
        Self {
            scan: Scan::default(),
            link: Link::default(),
            asked: false,
            found: false,
            places: Vec::new(),
            ends: BTreeMap::new(),
            next: 0,
            step: Step::Waiting,
            visible: Vec::new(),
            inputs: Vec::new(),
            positions: BTreeMap::new(),
            owners: Vec::new(),
            session: None,
        }
    }

    fn all(cx: &Cx<'_>) -> Vec<Place> {
        TRANSACTIONAL.iter().flat_map(|name| cx.model.places_of(name)).collect()
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        match self.step {
            Step::Waiting if cx.model.stopping && !cx.model.transactions.any_open() => {
                self.places = Self::all(cx);
                self.step = Step::Decided;
            }
            Step::Waiting => {}
            Step::Decided => self.decided(cx),
            Step::Read => self.read(cx),
            Step::Positions => self.ask_positions(cx),
            Step::Initialise => self.initialise(cx),
            Step::Done => {}
        }
        cx.model.awaited = match self.step {
            Step::Done => None,
            step => {
                let place = self.places.last();
                let place = place.and_then(|(topic, index)| {
                    cx.model.topics.get(topic).map(|topic| format!("{}-{index}", topic.name))
                });
                Some(format!(
                    "{step:?} at {place:?}, ends by isolation level {:?}, transactional id {:?}",
                    self.ends,
                    self.owners.last()
                ))
            }
        };
    }

    fn decided(&mut self, cx: &mut Cx<'_>) {
        let Some(&place) = self.places.last() else {
            self.places = Self::all(cx);
            self.step = Step::Read;
            return;
        };
        let ends = (self.ends.get(&READ_COMMITTED), self.ends.get(&READ_UNCOMMITTED));
        match ends {
            _ if self.scan.is_busy() => {}
            (None, _) => self.scan.list(cx, place, READ_COMMITTED),
            (_, None) => self.scan.list(cx, place, READ_UNCOMMITTED),
            (stable, end) => {
                if stable == end {
                    self.places.pop();
                }
                self.ends.clear();
            }
        }
    }

    /// Reads every partition up to the end that was just found to be decided.
    fn read(&mut self, cx: &mut Cx<'_>) {
        let Some(&place) = self.places.last() else {
            self.step = Step::Positions;
            return;
        };
        match self.ends.get(&READ_COMMITTED) {
            _ if self.scan.is_busy() => {}
            None => self.scan.list(cx, place, READ_COMMITTED),
            Some(end) if self.next >= *end => {
                self.places.pop();
                self.ends.clear();
                self.next = 0;
            }
            Some(_) => self.scan.fetch(cx, place, self.next),
        }
    }

    fn found(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        match self.scan.answer(cx, frame) {
            Found::End(_, isolation, offset) => drop(self.ends.insert(isolation, offset)),
            Found::Items(place, items, next) => {
                let source = cx.model.topics.get(&place.0).is_some_and(|t| t.name == SOURCE);
                for item in items {
                    let Some(record) = item.record() else { continue };
                    self.visible.push((record, item.offset));
                    if source {
                        self.inputs.push((place.1, item.offset));
                    }
                }
                self.next = next;
            }
            Found::Nothing => {}
        }
    }

    fn ask_positions(&mut self, cx: &mut Cx<'_>) {
        if self.asked {
            return;
        }
        self.asked = true;
        if self.found {
            let partitions = cx.model.places_of(SOURCE).iter().map(|(_, index)| *index).collect();
            self.link.send(cx, OFFSETS, &positions_of(partitions));
        } else {
            let coordinator_keys = vec![GROUP.into()];
            let request = FindCoordinatorRequest { coordinator_keys, ..Default::default() };
            self.link.send(cx, FIND, &request);
        }
    }

    fn coordinator_found(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let found = cx.decode::<FindCoordinatorRequest>(frame, FIND);
        match found.and_then(|found| found.coordinators.first().map(|first| first.error_code)) {
            Some(0) => self.found = true,
            Some(code) => refused(cx, "FindCoordinator", code),
            None => {}
        }
    }

    fn positions_read(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        match positions_in(cx, frame) {
            Ok(Some(found)) => {
                self.positions = found;
                self.judge(cx);
                self.owners = cx.model.transactions.owners();
                self.step = Step::Initialise;
            }
            Ok(None) => {}
            Err(code) => refused(cx, "OffsetFetch", code),
        }
    }

    fn judge(&self, cx: &mut Cx<'_>) {
        let verdict = Verdict {
            sent: &cx.model.sent,
            visible: &self.visible,
            positions: &self.positions,
            inputs: &self.inputs,
        };
        if let Err(what) = cx.model.transactions.judge(&verdict) {
            cx.model.violate(what);
        }
    }

    /// Every transactional id can be used again.
    fn initialise(&mut self, cx: &mut Cx<'_>) {
        let Some(owner) = self.owners.last() else {
            self.step = Step::Done;
            return;
        };
        if self.session.is_none() {
            let (id, style) = (owner.clone(), Style::Explicit);
            self.session = Some(Session::new(cx, &TxnClient { id, style, timeout_ms: 1000 }));
        }
        let Some(session) = &mut self.session else { return };
        session.pump(cx);
        if session.status() == Status::Ready {
            session.abandon(cx);
            self.session = None;
            self.owners.pop();
        }
    }
}

impl Client for Examiner {
    fn act(&mut self, cx: &mut Cx<'_>) {
        self.next(cx);
        if self.step != Step::Done {
            cx.act_in(500, if cx.model.stopping { 20_000 } else { 500_000 });
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        if self.scan.owns(cx) {
            self.found(cx, frame);
        } else if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.answer(cx, correlation, frame);
        } else if self.link.is(cx.connection) {
            self.asked = false;
            match self.found {
                true => self.positions_read(cx, frame),
                false => self.coordinator_found(cx, frame),
            }
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        if self.scan.owns(cx) {
            self.scan.closed();
        } else if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.closed();
        } else if self.link.is(cx.connection) {
            self.link.lost();
            self.asked = false;
        }
    }

    fn name(&self) -> String {
        "examiner".to_owned()
    }
}
