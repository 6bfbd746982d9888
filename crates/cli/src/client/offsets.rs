//! Offsets of partitions: by time, ends, starts; and the way to the leaders.

use std::collections::BTreeMap;
use std::time::Instant;

use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::{Cluster, RETRY_PAUSE, TopicPartition, is_passing, is_passing_code};
use crate::failure::{Failure, Outcome, Refusal};

/// Which offset of a partition is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The log's first.
    Earliest,
    /// One past the last that consumers may read: the high watermark, or the last stable offset.
    Latest,
    /// The first whose timestamp is at least this, in milliseconds since 1970.
    Time(i64),
}

impl At {
    const fn wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::Time(millis) => millis,
        }
    }
}

/// Whether records of open and aborted transactions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Isolation {
    /// Every record below the high watermark.
    #[default]
    ReadUncommitted = 0,
    /// Records of committed transactions, below the last stable offset.
    ReadCommitted = 1,
}

/// What a leader says of one partition.
type Found = (TopicPartition, Result<Option<i64>, i16>);

impl Cluster {
    /// The leaders of partitions, as the metadata has them.
    ///
    /// # Errors
    /// A topic or partition does not exist.
    pub(crate) async fn leaders(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Outcome<BTreeMap<i32, Vec<TopicPartition>>> {
        let mut names: Vec<String> = partitions.iter().map(|p| p.topic.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let topics = self.topics(&names).await?;
        let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for wanted in partitions {
            let topic = topics.iter().find(|t| t.name.as_deref() == Some(&wanted.topic));
            let parts = topic.map_or(&[][..], |topic| &topic.partitions);
            let part = parts.iter().find(|part| part.partition_index == wanted.partition);
            let Some(part) = part else {
                return Err(Failure::NotFound(format!(
                    "topic {} has no partition {}; it has {}",
                    wanted.topic,
                    wanted.partition,
                    parts.len()
                )));
            };
            by_leader.entry(part.leader_id).or_default().push(wanted.clone());
        }
        Ok(by_leader)
    }

    /// Offsets of partitions. `None` for a time after the last record. Partitions without a leader
    /// are waited for until the deadline.
    pub(crate) async fn offsets(
        &mut self,
        wanted: &[(TopicPartition, At)],
        isolation: Isolation,
    ) -> Outcome<BTreeMap<TopicPartition, Option<i64>>> {
        let (found, refused) = self.offsets_each(wanted, isolation).await?;
        match refused.into_iter().next() {
            None => Ok(found),
            Some((partition, code)) => {
                let what = format!("the offset of {partition}");
                Err(Failure::Refused(Refusal { what, code, message: None }))
            }
        }
    }

    /// As [`Self::offsets`], but a partition that cannot be asked keeps its error code.
    pub(crate) async fn offsets_each(
        &mut self,
        wanted: &[(TopicPartition, At)],
        isolation: Isolation,
    ) -> Outcome<(BTreeMap<TopicPartition, Option<i64>>, BTreeMap<TopicPartition, i16>)> {
        let deadline = self.deadline();
        let mut open: BTreeMap<TopicPartition, At> = wanted.iter().cloned().collect();
        let mut found = BTreeMap::new();
        loop {
            let mut refused = BTreeMap::new();
            let partitions: Vec<_> = open.keys().cloned().collect();
            for (leader, partitions) in self.leaders(&partitions).await? {
                let ask = partitions.iter().filter_map(|p| Some((p, *open.get(p)?)));
                let request = list_offsets(ask, isolation);
                if leader < 0 {
                    // LEADER_NOT_AVAILABLE.
                    refused.extend(partitions.into_iter().map(|p| (p, 5)));
                    continue;
                }
                match self.broker(leader, &request, i16::MAX).await {
                    Ok(answer) => {
                        for (partition, offset) in read(&answer) {
                            match offset {
                                Ok(offset) => {
                                    open.remove(&partition);
                                    found.insert(partition, offset);
                                }
                                Err(code) => {
                                    refused.insert(partition, code);
                                }
                            }
                        }
                    }
                    Err(failure) if is_passing(&failure) && Instant::now() < deadline => {
                        refused.extend(partitions.into_iter().map(|p| (p, 5)));
                    }
                    Err(failure) => return Err(failure),
                }
            }
            let again = refused.values().any(|code| is_passing_code(*code));
            if !again || Instant::now() >= deadline {
                return Ok((found, refused));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The same offset of every partition.
    pub(crate) async fn offsets_at(
        &mut self,
        partitions: &[TopicPartition],
        at: At,
    ) -> Outcome<BTreeMap<TopicPartition, i64>> {
        let wanted: Vec<_> = partitions.iter().map(|p| (p.clone(), at)).collect();
        let found = self.offsets(&wanted, Isolation::default()).await?;
        Ok(found.into_iter().filter_map(|(p, offset)| Some((p, offset?))).collect())
    }

    /// Every partition of the topics.
    pub(crate) async fn partitions_of(
        &mut self,
        topics: &[String],
    ) -> Outcome<Vec<TopicPartition>> {
        let mut all = Vec::new();
        for topic in self.topics(topics).await? {
            let name = topic.name.as_deref().unwrap_or_default();
            let indexes = topic.partitions.iter().map(|part| part.partition_index);
            all.extend(indexes.map(|index| TopicPartition::new(name, index)));
        }
        Ok(all)
    }
}

/// Partitions with something each, grouped by their topics.
pub(crate) fn by_topic<'a, T>(
    items: impl Iterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&str, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, item) in items {
        topics.entry(&partition.topic).or_default().push((partition.partition, item));
    }
    topics
}

fn list_offsets<'a>(
    wanted: impl Iterator<Item = (&'a TopicPartition, At)>,
    isolation: Isolation,
) -> ListOffsetsRequest {
    let topics = by_topic(wanted).into_iter().map(|(name, parts)| ListOffsetsTopic {
        name: name.into(),
        partitions: parts
            .into_iter()
            .map(|(partition_index, at)| ListOffsetsPartition {
                partition_index,
                timestamp: at.wire(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation as i8,
        topics: topics.collect(),
        ..Default::default()
    }
}

fn read(answer: &ListOffsetsResponse) -> Vec<Found> {
    let parts = answer.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|part| {
            let partition = TopicPartition::new(&*topic.name, part.partition_index);
            let offset = match part.error_code {
                0 => Ok((part.offset >= 0).then_some(part.offset)),
                code => Err(code),
            };
            (partition, offset)
        })
    });
    parts.collect()
}
