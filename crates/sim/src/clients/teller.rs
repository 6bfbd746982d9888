//! A teller of the bank: balances are records of a topic, a transfer writes two of them in a
//! transaction. Who is given the transactional id reads them all and may rely on what it read, because
//! nobody else can write any more. Lost updates and torn transfers make or destroy money.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::reading::READ_UNCOMMITTED;
use super::scan::{Found, Scan};
use super::session::{Session, Status};
use super::{Client, Cx};
use crate::Mutation;
use crate::model::{ACCOUNTS, BANK, Content, OPENING_BALANCE, Place, check_total, content};
use crate::plan::TxnClient;

/// A teller.
pub(crate) struct Teller {
    index: usize,
    who: TxnClient,
    session: Option<Session>,
    scan: Scan,
    load: Load,
    /// As they were read, or written since.
    balances: BTreeMap<i64, i64>,
    /// What the open transaction makes of them.
    transfers: BTreeMap<i64, i64>,
    /// The next commit proves that the balances were read as the only owner of the id.
    unproven: bool,
    restart_at: u64,
}

/// How much of the bank was read.
enum Load {
    Needed,
    /// Partitions to be read, the position in the last, and its end once it is known.
    Under {
        left: Vec<Place>,
        next: i64,
        end: Option<i64>,
    },
    Done,
}

impl Teller {
    pub(crate) fn new(index: usize, who: TxnClient) -> Self {
        Self {
            index,
            who,
            session: None,
            scan: Scan::default(),
            load: Load::Needed,
            balances: BTreeMap::new(),
            transfers: BTreeMap::new(),
            unproven: true,
            restart_at: 0,
        }
    }

    fn restart(&mut self, cx: &mut Cx<'_>, pause: u64) {
        if let Some(mut session) = self.session.take() {
            session.abandon(cx);
        }
        self.load = Load::Needed;
        self.transfers.clear();
        self.restart_at = cx.now + cx.rng.below(pause);
    }

    fn load(&mut self, cx: &mut Cx<'_>) {
        if self.scan.is_busy() {
            return;
        }
        match &mut self.load {
            Load::Needed => {
                let left = cx.model.places_of(BANK);
                self.balances.clear();
                self.unproven = true;
                if !left.is_empty() {
                    self.load = Load::Under { left, next: 0, end: None };
                }
            }
            Load::Under { left, next, end } => match (left.last(), *end) {
                (None, _) => self.load = Load::Done,
                (Some(&place), None) => self.scan.list(cx, place, READ_UNCOMMITTED),
                (Some(_), Some(last)) if *next >= last => {
                    left.pop();
                    (*next, *end) = (0, None);
                }
                (Some(&place), Some(_)) => self.scan.fetch(cx, place, *next),
            },
            Load::Done => {}
        }
    }

    fn loaded(&mut self, cx: &mut Cx<'_>, frame: Bytes) {
        let found = self.scan.answer(cx, frame);
        let Load::Under { left, next, end } = &mut self.load else { return };
        match found {
            Found::End(place, _, offset) if left.last() == Some(&place) => *end = Some(offset),
            Found::Items(place, items, then) if left.last() == Some(&place) => {
                for item in &items {
                    let sent = item.record().and_then(|id| content(&cx.model.sent, id));
                    if let Some(Content::Balance { account, amount }) = sent {
                        self.balances.insert(account, amount);
                    }
                }
                *next = then;
            }
            _ => {}
        }
    }

    fn balance(&self, account: i64) -> i64 {
        let known = self.transfers.get(&account).or_else(|| self.balances.get(&account));
        known.copied().unwrap_or(OPENING_BALANCE)
    }

    fn transfer(&mut self, cx: &mut Cx<'_>) {
        let places = cx.model.places_of(BANK);
        let from = cx.rng.below(ACCOUNTS as u64) as i64;
        let to = (from + 1 + cx.rng.below(ACCOUNTS as u64 - 1) as i64) % ACCOUNTS;
        let amount = cx.rng.between(1, 50) as i64;
        for (account, change) in [(from, -amount), (to, amount)] {
            let place = places[account as usize % places.len()];
            let amount = self.balance(account) + change;
            self.transfers.insert(account, amount);
            let half = *cx.mutation == Mutation::HalfTransfer && change > 0;
            if let Some(session) = self.session.as_mut().filter(|_| !half) {
                session.write(cx, place, &[Content::Balance { account, amount }]);
            }
        }
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        let Some(session) = &mut self.session else { return };
        let stopping = cx.model.stopping;
        match session.take_outcome() {
            Some(true) => {
                self.balances.append(&mut self.transfers);
                if std::mem::take(&mut self.unproven)
                    && let Err(what) = check_total(&self.balances)
                {
                    cx.model.violate(what);
                }
            }
            Some(false) => self.transfers.clear(),
            None => {}
        }
        match session.status() {
            Status::Ready if !matches!(self.load, Load::Done) => self.load(cx),
            Status::Ready if stopping => {}
            Status::Ready => {
                session.begin(cx);
                for _ in 0..cx.rng.between(1, 3) {
                    self.transfer(cx);
                }
            }
            Status::Open => match cx.rng.below(12) {
                0 => self.restart(cx, 800_000),
                1 | 2 => session.end(cx, false),
                3 => self.transfer(cx),
                _ => session.end(cx, true),
            },
            Status::Failed => session.end(cx, false),
            Status::Fenced => self.restart(cx, 2_500_000),
            Status::Starting | Status::Writing | Status::Ending => {}
        }
    }
}

impl Client for Teller {
    fn act(&mut self, cx: &mut Cx<'_>) {
        let idle = self.session.as_ref().is_none_or(|s| s.status() == Status::Ready);
        if cx.model.stopping && idle {
            return;
        }
        if cx.now >= self.restart_at && !cx.model.places_of(BANK).is_empty() {
            if self.session.is_none() {
                self.session = Some(Session::new(cx, &self.who));
            }
            self.next(cx);
            if let Some(session) = &mut self.session {
                session.pump(cx);
                match cx.rng.below(120) {
                    0 | 1 => session.cut(cx),
                    2 => self.scan.cut(cx),
                    3 => self.restart(cx, 800_000),
                    _ => {}
                }
            }
        }
        cx.act_in(500, 60_000);
    }

    fn answer(&mut self, cx: &mut Cx<'_>, correlation: i32, frame: Bytes) {
        if self.scan.owns(cx) {
            self.loaded(cx, frame);
        } else if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.answer(cx, correlation, frame);
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        if self.scan.owns(cx) {
            self.scan.closed();
        } else if let Some(session) = self.session.as_mut().filter(|session| session.owns(cx)) {
            session.closed();
        }
    }

    fn name(&self) -> String {
        format!("teller {} {:?}", self.index, self.who.style)
    }
}
