//! What must hold: the checkers' memory of everything that was sent, acknowledged and seen.

mod groups;
mod partition;
mod transactions;

use std::collections::BTreeMap;

use ottla_protocol::Uuid;

pub(crate) use self::groups::{Commits, Generations};
pub(crate) use self::partition::{Audit, Durability, Partition, Survival};
pub(crate) use self::transactions::{
    ACCOUNTS, Content, Instance, OPENING_BALANCE, Transactions, TxnNumber, Verdict, check_total,
    content,
};
use crate::records::{Entry, RecordId};

/// Topics that only transactional clients write to: of nothing in particular, of the bank, and what
/// workers read and write.
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const BANK: &str = "bank";
pub(crate) const SOURCE: &str = "source";
pub(crate) const SINK: &str = "sink";
pub(crate) const TRANSACTIONAL: [&str; 4] = [JOURNAL, BANK, SOURCE, SINK];

/// A topic's partition in the model.
pub(crate) type Place = (Uuid, i32);

/// What is known about a topic's existence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existence {
    /// Its creation was acknowledged, or it was seen after a restart.
    Exists,
    /// Its deletion was asked for; nothing is known.
    Leaving,
    /// Its deletion was acknowledged, or it was gone after a restart.
    Gone,
}

/// A topic in the model.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) existence: Existence,
    /// Partitions that were acknowledged; more may exist.
    pub(crate) count: i32,
    /// Partitions that were asked for.
    pub(crate) count_max: i32,
    /// `retention.*` was set once: the log may start anywhere.
    pub(crate) retention: bool,
    /// What new partitions start with.
    pub(crate) durability: Durability,
    /// Only transactional clients write to it, and nobody deletes anything of it.
    pub(crate) transactional: bool,
    pub(crate) partitions: BTreeMap<i32, Partition>,
}

/// Who sent a record, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) place: Place,
    /// Producer session: within one, numbers ascend with offsets.
    pub(crate) session: Option<u64>,
    /// The transaction it is part of.
    pub(crate) transaction: Option<TxnNumber>,
    pub(crate) content: Content,
}

impl Sent {
    /// A record that is in no transaction.
    pub(crate) const fn plain(place: Place, session: Option<u64>) -> Self {
        Self { place, session, transaction: None, content: Content::Plain }
    }
}

/// The checkers' memory.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) topics: BTreeMap<Uuid, Topic>,
    /// Creations that were asked for and not answered: name, partitions, durability, retention.
    pub(crate) creating: BTreeMap<String, (i32, Durability, bool)>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) commits: Commits,
    pub(crate) generations: Generations,
    pub(crate) transactions: Transactions,
    /// What must come true before the end, and did not yet.
    pub(crate) awaited: Option<String>,
    /// Counts starts of the broker.
    pub(crate) incarnation: u64,
    /// A disk fault happened since the last start: storage errors are expected.
    pub(crate) disk_fault: bool,
    /// A sync failed since the last start.
    pub(crate) sync_failed: bool,
    /// Clients are to start nothing new.
    pub(crate) stopping: bool,
    pub(crate) counts: Counts,
    producer_ids: std::collections::BTreeSet<i64>,
    violation: Option<String>,
    next_session: u64,
}

/// How much happened: a run that does nothing proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records that consumers read.
    pub fetched: u64,
    /// Records read after restarts.
    pub audited: u64,
    /// Group commits acknowledged.
    pub commits: u64,
    /// Transactions whose commit was acknowledged.
    pub transactions: u64,
    /// Those of them that moved a group's offsets.
    pub processed: u64,
    /// Transactions that were aborted, given up, or left to their timeout.
    pub aborted: u64,
    /// Instances of transactional producers that were put out by another, or by a timeout.
    pub fenced: u64,
    /// Topics, partitions and configurations changed.
    pub changes: u64,
    /// Starts of the broker.
    pub starts: u64,
    /// Produce requests sent again.
    pub retries: u64,
}

impl Model {
    /// Notes that something which must hold does not. The first stays.
    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// A number for a new record.
    pub(crate) fn new_record(&mut self, sent: Sent) -> RecordId {
        self.sent.push(sent);
        self.sent.len() as u64 - 1
    }

    /// A producer was given this id.
    pub(crate) fn producer_id(&mut self, id: i64) {
        if !self.producer_ids.insert(id) {
            self.violate(format!("producer id {id} was given twice"));
        }
    }

    /// A number for a new producer session.
    pub(crate) fn new_session(&mut self) -> u64 {
        self.next_session += 1;
        self.next_session
    }

    /// Whether there are transactions in this run.
    pub(crate) fn transactional(&self) -> bool {
        self.topics.values().any(|topic| topic.transactional)
    }

    /// Partitions that exist.
    pub(crate) fn readable(&self) -> Vec<Place> {
        let topics = self.topics.iter().filter(|(_, t)| t.existence == Existence::Exists);
        topics.flat_map(|(id, topic)| (0..topic.count).map(|index| (*id, index))).collect()
    }

    /// Partitions that any client may write to.
    pub(crate) fn writable(&self) -> Vec<Place> {
        let mut places = self.readable();
        places.retain(|(id, _)| !self.topics[id].transactional);
        places
    }

    /// The partitions of a topic, once it exists.
    pub(crate) fn places_of(&self, name: &str) -> Vec<Place> {
        let mut places = self.readable();
        places.retain(|(id, _)| self.topics[id].name == name);
        places
    }

    /// A reader of committed records was shown these entries, or told that they are aborted.
    pub(crate) fn seen(&mut self, place: Place, entries: impl Iterator<Item = (i64, Entry, bool)>) {
        for (offset, entry, visible) in entries {
            let sent = entry.record().and_then(|id| self.sent.get(usize::try_from(id).ok()?));
            let seen = match sent.and_then(|sent| sent.transaction) {
                Some(number) => self.transactions.seen(number, visible),
                None if visible || entry.record().is_none() => Ok(()),
                None => Err(format!("{entry} is in no transaction, and is said to be aborted")),
            };
            if let Err(what) = seen {
                let name = self.topics.get(&place.0).map_or("", |topic| &topic.name);
                let what = format!("{name}-{}, {entry} at offset {offset}: {what}", place.1);
                self.violate(what);
            }
        }
    }

    pub(crate) fn is_usable(&self, (topic, index): Place) -> bool {
        self.topics.get(&topic).is_some_and(|t| t.existence == Existence::Exists && index < t.count)
    }

    /// Whether everything acknowledged in a partition survives everything, and nothing of it was
    /// deleted: what is known of its producers is complete then.
    pub(crate) fn survives(&self, (topic, index): Place) -> bool {
        let partition = self
            .topics
            .get(&topic)
            .and_then(|topic| topic.partitions.get(&index).filter(|_| !topic.retention));
        partition.is_some_and(|p| p.always_synced() && p.delete_asked == 0)
    }

    /// A topic whose creation was acknowledged.
    pub(crate) fn created(&mut self, name: &str, id: Uuid) {
        let Some((count, durability, retention)) = self.creating.remove(name) else { return };
        let partitions = (0..count).map(|index| (index, Partition::new(durability))).collect();
        let topic = Topic {
            name: name.to_owned(),
            transactional: TRANSACTIONAL.contains(&name),
            existence: Existence::Exists,
            count,
            count_max: count,
            retention,
            durability,
            partitions,
        };
        if self.topics.insert(id, topic).is_some() {
            self.violate(format!("two topics have the id {id}"));
        }
    }

    /// More partitions exist.
    pub(crate) fn grown(&mut self, id: Uuid, count: i32) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        topic.count = topic.count.max(count);
        for index in 0..count {
            let durability = topic.durability;
            topic.partitions.entry(index).or_insert_with(|| Partition::new(durability));
        }
    }

    /// Below it everything of a partition is on the disk.
    pub(crate) fn durable_end(&self, (id, index): Place) -> i64 {
        let partition = self.topics.get(&id).and_then(|topic| topic.partitions.get(&index));
        partition.map_or(0, Partition::durable_end)
    }

    /// Runs a check of a partition and keeps what it found.
    pub(crate) fn check(
        &mut self,
        place: Place,
        check: impl FnOnce(&mut Partition, &[Sent]) -> Result<(), String>,
    ) {
        let Some(topic) = self.topics.get_mut(&place.0) else {
            return self.violate(format!("topic {} was never created", place.0));
        };
        let name = topic.name.clone();
        let Some(partition) = topic.partitions.get_mut(&place.1) else {
            return self.violate(format!("{name}-{} was never created", place.1));
        };
        if let Err(what) = check(partition, &self.sent) {
            self.violate(format!("{name}-{}: {what}", place.1));
        }
    }

    /// Compares all topics of a node that just started with what must be there. `found` is name, id
    /// and number of partitions.
    pub(crate) fn audit_topics(&mut self, found: &[(String, Uuid, i32)]) {
        for (name, id, count) in found {
            if self.creating.contains_key(name) {
                self.created(name, *id);
            }
            let Some(topic) = self.topics.get_mut(id) else {
                self.violate(format!("topic {name} with id {id} was never created"));
                continue;
            };
            let (low, high) = (topic.count, topic.count_max);
            if topic.existence == Existence::Gone {
                self.violate(format!("topic {name} came back after its deletion"));
            } else if !(low..=high).contains(count) {
                self.violate(format!("topic {name} has {count} partitions, not {low} to {high}"));
            } else {
                topic.existence = Existence::Exists;
                topic.count_max = *count;
                self.grown(*id, *count);
            }
        }
        self.creating.clear();
        let mut lost = None;
        for (id, topic) in &mut self.topics {
            if found.iter().any(|(_, found, _)| found == id) {
                continue;
            }
            if topic.existence == Existence::Exists {
                lost = Some(format!("topic {} was acknowledged and is gone", topic.name));
            }
            topic.existence = Existence::Gone;
        }
        if let Some(what) = lost {
            self.violate(what);
        }
    }
}

impl Topic {
    /// What holds for all partitions, those to come included, from now on.
    pub(crate) fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
        for partition in self.partitions.values_mut() {
            partition.set_durability(durability);
        }
    }

    /// `flush.messages=1` was acknowledged.
    pub(crate) fn switch_to_synced(&mut self, now: u64) {
        self.durability = Durability::Synced;
        for partition in self.partitions.values_mut() {
            partition.switch_to_synced(now);
        }
    }
}
