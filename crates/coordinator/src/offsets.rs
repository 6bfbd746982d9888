//! Committed offsets: the store, which changes only in replay, and the shapes of its answers.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use ottla_protocol::Uuid;
use ottla_protocol::ids::{Offset, ProducerId};
use ottla_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};

use crate::machine::detach;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// -1: unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: ByteString,
    pub(crate) commit_timestamp: i64,
    /// Set only by commits of versions that carry a retention; -1: none.
    pub(crate) expire_timestamp: i64,
    /// Zero: unknown.
    pub(crate) topic_id: Uuid,
    /// Where its record stands in the log.
    pub(crate) at: Offset,
}

/// The offsets of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupOffsets {
    pub(crate) committed: BTreeMap<ByteString, BTreeMap<i32, Committed>>,
    /// Producers with an open transaction that commits here.
    pending: BTreeMap<ByteString, BTreeMap<i32, BTreeSet<ProducerId>>>,
}

/// The offsets of all groups of a shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    groups: BTreeMap<ByteString, GroupOffsets>,
    /// What each open transaction commits when it ends well.
    transactions: BTreeMap<ProducerId, BTreeMap<PartitionOf, Committed>>,
}

/// A partition of a topic as one group sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionOf {
    pub(crate) group: ByteString,
    pub(crate) topic: ByteString,
    pub(crate) partition: i32,
}

impl Committed {
    /// As its record says.
    pub(crate) fn from_value(value: &OffsetCommitValue, at: Offset) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: detach(&value.metadata),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: value.expire_timestamp,
            topic_id: value.topic_id,
            at,
        }
    }
}

impl GroupOffsets {
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(topic)?.get(&partition)
    }

    /// Whether an open transaction commits an offset for this partition.
    pub(crate) fn is_pending(&self, topic: &str, partition: i32) -> bool {
        self.pending.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Every partition with a committed or pending offset.
    pub(crate) fn partitions(&self) -> BTreeSet<(ByteString, i32)> {
        let of = |topic: &ByteString, partition: &i32| (topic.clone(), *partition);
        let committed = self.committed.iter().flat_map(|(t, ps)| ps.keys().map(move |p| of(t, p)));
        let pending = self.pending.iter().flat_map(|(t, ps)| ps.keys().map(move |p| of(t, p)));
        committed.chain(pending).collect()
    }
}

impl Offsets {
    pub(crate) fn group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// A committed offset is in the log, perhaps as part of a transaction.
    pub(crate) fn put(&mut self, key: PartitionOf, committed: Committed, producer: ProducerId) {
        if producer == ProducerId::NONE {
            self.commit(key, committed);
            return;
        }
        let group = self.groups.entry(key.group.clone()).or_default();
        let partitions = group.pending.entry(key.topic.clone()).or_default();
        partitions.entry(key.partition).or_default().insert(producer);
        self.transactions.entry(producer).or_default().insert(key, committed);
    }

    /// A tombstone is in the log: offsets of open transactions before it are void too.
    pub(crate) fn delete(&mut self, key: &PartitionOf) {
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        remove_nested(&mut group.committed, &key.topic, key.partition);
        let producers = remove_nested(&mut group.pending, &key.topic, key.partition);
        for producer in producers.into_iter().flatten() {
            if let Some(transaction) = self.transactions.get_mut(&producer) {
                transaction.remove(key);
                if transaction.is_empty() {
                    self.transactions.remove(&producer);
                }
            }
        }
        self.drop_if_unused(&key.group);
    }

    /// The marker that ends a producer's transaction is in the log. Returns the groups it touched.
    pub(crate) fn end_transaction(
        &mut self,
        producer: ProducerId,
        commit: bool,
    ) -> BTreeSet<ByteString> {
        let mut touched = BTreeSet::new();
        for (key, committed) in self.transactions.remove(&producer).unwrap_or_default() {
            touched.insert(key.group.clone());
            self.unpend(&key, producer);
            // Compaction keeps the later record per key; so do we.
            let newer = self
                .groups
                .get(&key.group)
                .and_then(|group| group.get(&key.topic, key.partition))
                .is_none_or(|existing| existing.at < committed.at);
            let group = key.group.clone();
            if commit && newer {
                self.commit(key, committed);
            }
            self.drop_if_unused(&group);
        }
        touched
    }

    fn commit(&mut self, key: PartitionOf, committed: Committed) {
        let group = self.groups.entry(key.group).or_default();
        group.committed.entry(key.topic).or_default().insert(key.partition, committed);
    }

    fn unpend(&mut self, key: &PartitionOf, producer: ProducerId) {
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        let Some(partitions) = group.pending.get_mut(&key.topic) else { return };
        if let Some(producers) = partitions.get_mut(&key.partition) {
            producers.remove(&producer);
            if producers.is_empty() {
                remove_nested(&mut group.pending, &key.topic, key.partition);
            }
        }
    }

    fn drop_if_unused(&mut self, group: &str) {
        let unused = |g: &GroupOffsets| g.committed.is_empty() && g.pending.is_empty();
        if self.groups.get(group).is_some_and(unused) {
            self.groups.remove(group);
        }
    }
}

/// The answer to `request` with `code` for every partition.
pub(crate) fn commit_response(request: &OffsetCommitRequest, code: i16) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// The answer to `request` with `code` for every partition.
pub(crate) fn txn_commit_response(
    request: &TxnOffsetCommitRequest,
    code: i16,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| TxnOffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn remove_nested<V>(
    map: &mut BTreeMap<ByteString, BTreeMap<i32, V>>,
    topic: &str,
    partition: i32,
) -> Option<V> {
    let partitions = map.get_mut(topic)?;
    let removed = partitions.remove(&partition);
    if partitions.is_empty() {
        map.remove(topic);
    }
    removed
}
