//! Transactions: what may, what must and what must not be seen of each.

use std::collections::{BTreeMap, BTreeSet};

use super::Sent;
use crate::records::RecordId;

/// Number of a transaction in the run.
pub(crate) type TxnNumber = usize;

/// Number of an instance of a producer: each start of a client is one.
pub(crate) type Instance = u64;

/// Money in the bank at the start, for each account.
pub(crate) const OPENING_BALANCE: i64 = 100;
pub(crate) const ACCOUNTS: i64 = 6;

/// What a record of a transaction means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing else.
    Plain,
    /// The balance of an account of the bank.
    Balance { account: i64, amount: i64 },
    /// What became of the input at a partition and offset.
    Output { partition: i32, offset: i64 },
}

/// What can become of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nobody asked for its commit: it may only be aborted.
    NotAsked,
    /// Its commit was asked for: either.
    Asked,
    /// Its commit was acknowledged.
    Committed,
    /// Its commit was refused, and not asked for before: it must be aborted.
    Refused,
}

struct Transaction {
    owner: String,
    fate: Fate,
    records: Vec<RecordId>,
    /// What a reader learnt of it.
    seen: Option<bool>,
}

/// Who used a transactional id last.
#[derive(Default)]
struct Owner {
    /// When each instance last asked for a producer id.
    asked: BTreeMap<Instance, u64>,
}

/// What is known of transactions and their owners.
#[derive(Default)]
pub(crate) struct Transactions {
    all: Vec<Transaction>,
    owners: BTreeMap<String, Owner>,
    /// Which instance an id and epoch belong to.
    epochs: BTreeMap<(i64, i16), Instance>,
    instances: Instance,
    /// Those whose producers live and have not heard of their end.
    open: BTreeSet<TxnNumber>,
    /// When the wall clock last jumped.
    pub(crate) clock_jumped: Option<u64>,
}

/// What is visible of everything at the end, from a reader that saw all.
pub(crate) struct Verdict<'a> {
    pub(crate) sent: &'a [Sent],
    /// Record and its offset, in the order of each partition.
    pub(crate) visible: &'a [(RecordId, i64)],
    /// Topic partitions that workers read: index, and position of their group.
    pub(crate) positions: &'a BTreeMap<i32, i64>,
    /// Visible records of these partitions.
    pub(crate) inputs: &'a [(i32, i64)],
}

impl Transactions {
    /// Another instance of a producer.
    pub(crate) fn new_instance(&mut self) -> Instance {
        self.instances += 1;
        self.instances
    }

    /// An instance asks for the transactional id.
    pub(crate) fn initialising(&mut self, owner: &str, instance: Instance, now: u64) {
        self.owners.entry(owner.to_owned()).or_default().asked.insert(instance, now);
    }

    /// The transactional ids in use.
    pub(crate) fn owners(&self) -> Vec<String> {
        self.owners.keys().cloned().collect()
    }

    /// Whether another instance asked for the id since a time: it may have fenced this one.
    pub(crate) fn may_be_fenced(&self, owner: &str, instance: Instance, since: u64) -> bool {
        self.owners.get(owner).is_some_and(|owner| {
            owner.asked.iter().any(|(other, at)| *other != instance && *at >= since)
        })
    }

    /// An instance was given an id and an epoch.
    ///
    /// # Errors
    /// Another one has them.
    pub(crate) fn given(
        &mut self,
        (id, epoch): (i64, i16),
        instance: Instance,
    ) -> Result<(), String> {
        let holder = *self.epochs.entry((id, epoch)).or_insert(instance);
        if holder != instance {
            return Err(format!("producer {id} epoch {epoch} was given to two instances"));
        }
        Ok(())
    }

    pub(crate) fn begin(&mut self, owner: &str) -> TxnNumber {
        self.all.push(Transaction {
            owner: owner.to_owned(),
            fate: Fate::NotAsked,
            records: Vec::new(),
            seen: None,
        });
        let number = self.all.len() - 1;
        self.open.insert(number);
        number
    }

    /// Its producer does nothing more for it.
    pub(crate) fn close(&mut self, number: TxnNumber) {
        self.open.remove(&number);
    }

    /// Whether some producer may still write or end a transaction.
    pub(crate) fn any_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn add(&mut self, number: TxnNumber, record: RecordId) {
        self.all[number].records.push(record);
    }

    pub(crate) fn commit_asked(&mut self, number: TxnNumber) {
        if self.all[number].fate == Fate::NotAsked {
            self.all[number].fate = Fate::Asked;
        }
    }

    /// Its commit was acknowledged.
    ///
    /// # Errors
    /// A reader saw it aborted.
    pub(crate) fn committed(&mut self, number: TxnNumber) -> Result<(), String> {
        self.all[number].fate = Fate::Committed;
        self.check(number)
    }

    /// Its only commit was refused for good.
    ///
    /// # Errors
    /// A reader saw it committed.
    pub(crate) fn refused(&mut self, number: TxnNumber) -> Result<(), String> {
        self.all[number].fate = Fate::Refused;
        self.check(number)
    }

    /// A reader of committed records was shown a record of it, or was told that it is aborted.
    ///
    /// # Errors
    /// That cannot be, or somebody saw the contrary.
    pub(crate) fn seen(&mut self, number: TxnNumber, visible: bool) -> Result<(), String> {
        let transaction = &mut self.all[number];
        if transaction.seen.is_some_and(|before| before != visible) {
            let owner = &transaction.owner;
            return Err(format!("transaction {number} of {owner} is torn: in part visible"));
        }
        transaction.seen = Some(visible);
        self.check(number)
    }

    fn check(&self, number: TxnNumber) -> Result<(), String> {
        let Transaction { owner, fate, seen, .. } = &self.all[number];
        match (fate, seen) {
            (Fate::NotAsked, Some(true)) => Err(format!(
                "a record of transaction {number} of {owner} is visible: nobody committed it"
            )),
            (Fate::Refused, Some(true)) => Err(format!(
                "a record of transaction {number} of {owner} is visible: its commit was refused"
            )),
            (Fate::Committed, Some(false)) => Err(format!(
                "transaction {number} of {owner} is aborted: its commit was acknowledged"
            )),
            _ => Ok(()),
        }
    }

    /// Compares what is visible at the end with everything that was asked and answered.
    ///
    /// # Errors
    /// What is lost, torn, there twice, or does not add up.
    pub(crate) fn judge(&mut self, verdict: &Verdict<'_>) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (record, offset) in verdict.visible {
            if !seen.insert(*record) {
                return Err(format!("record {record} is visible twice, also at offset {offset}"));
            }
        }
        for number in 0..self.all.len() {
            let transaction = &self.all[number];
            let there = transaction.records.iter().filter(|id| seen.contains(id)).count();
            let (owner, all) = (&transaction.owner, transaction.records.len());
            if there != 0 && there != all {
                return Err(format!(
                    "transaction {number} of {owner} is torn: {there} of {all} records are visible"
                ));
            }
            if all != 0 {
                self.seen(number, there != 0)?;
            }
        }
        balance(verdict)?;
        processed(verdict)
    }
}

/// The money in the bank, from the last balance of each account.
pub(crate) fn total(balances: &BTreeMap<i64, i64>) -> i64 {
    (0..ACCOUNTS).map(|account| balances.get(&account).copied().unwrap_or(OPENING_BALANCE)).sum()
}

/// Whether no money was made or lost.
///
/// # Errors
/// How much there is.
pub(crate) fn check_total(balances: &BTreeMap<i64, i64>) -> Result<(), String> {
    let (total, opening) = (total(balances), ACCOUNTS * OPENING_BALANCE);
    if total == opening {
        return Ok(());
    }
    Err(format!("the bank holds {total}, and {opening} was paid in: {balances:?}"))
}

fn balance(verdict: &Verdict<'_>) -> Result<(), String> {
    let mut balances = BTreeMap::new();
    for (record, _) in verdict.visible {
        if let Some(Content::Balance { account, amount }) = content(verdict.sent, *record) {
            balances.insert(account, amount);
        }
    }
    check_total(&balances)
}

/// Every input below the group's position has one output, and no other has.
fn processed(verdict: &Verdict<'_>) -> Result<(), String> {
    let mut outputs: BTreeMap<(i32, i64), u32> = BTreeMap::new();
    for (record, _) in verdict.visible {
        if let Some(Content::Output { partition, offset }) = content(verdict.sent, *record) {
            *outputs.entry((partition, offset)).or_default() += 1;
        }
    }
    for &(partition, offset) in verdict.inputs {
        let position = verdict.positions.get(&partition).copied().unwrap_or(0);
        let found = outputs.remove(&(partition, offset)).unwrap_or(0);
        let want = u32::from(offset < position);
        if found != want {
            return Err(format!(
                "input {offset} of partition {partition} has {found} outputs, and the group is at \
                 {position}"
            ));
        }
    }
    match outputs.first_key_value() {
        None => Ok(()),
        Some(((partition, offset), _)) => Err(format!(
            "an output is of offset {offset} of partition {partition}, which is not visible"
        )),
    }
}

/// What a record was sent as.
pub(crate) fn content(sent: &[Sent], record: RecordId) -> Option<Content> {
    sent.get(usize::try_from(record).ok()?).map(|sent| sent.content)
}
