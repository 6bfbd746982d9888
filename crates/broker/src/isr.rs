//! The in-sync replicas of the partitions that this broker leads. Other brokers may be given replicas,
//! but none can follow from here yet: each leaves the ISR at once, as a replica does that lags, and
//! until the controller has taken it out nothing is committed that only this broker has.

use ottla_metadata::{Command, PartitionImage, TopicImage};
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages::AlterPartitionRequest;
use ottla_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};

use crate::Broker;

/// The replicas of a partition, as far as its leader has to know them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replicas {
    /// How many there are.
    pub(crate) assigned: usize,
    /// How many of them are in sync.
    pub(crate) in_sync: usize,
    /// No other one than the leader is.
    pub(crate) alone: bool,
}

impl Default for Replicas {
    /// The leader alone.
    fn default() -> Self {
        Self { assigned: 1, in_sync: 1, alone: true }
    }
}

impl Replicas {
    /// What this broker has to know of a partition's replicas.
    pub(crate) fn of(partition: &PartitionImage, me: BrokerId) -> Self {
        Self {
            assigned: partition.replicas.len(),
            in_sync: partition.isr.len(),
            alone: partition.isr.iter().all(|id| *id == me),
        }
    }

    /// Whether as many are in sync as `min.insync.replicas` says, or as there are.
    pub(crate) fn suffice(self, min_isr: usize) -> bool {
        self.in_sync >= min_isr.min(self.assigned)
    }
}

impl Broker {
    /// Asks the controller to take all others out of the ISRs of these topics' partitions.
    pub(crate) fn shrink_isrs<'a>(&self, topics: impl Iterator<Item = &'a TopicImage>) {
        let me = self.node_id();
        let shared = |(_, partition): &(PartitionIndex, &PartitionImage)| {
            partition.leader == me && partition.isr.iter().any(|id| *id != me)
        };
        let mut wishes = Vec::new();
        for topic in topics {
            let found: Vec<_> = topic.partitions().filter(shared).collect();
            if found.is_empty() {
                continue;
            }
            wishes.push(TopicData {
                topic_id: topic.id,
                partitions: found.into_iter().map(|found| self.alone(found)).collect(),
                ..TopicData::default()
            });
        }
        if wishes.is_empty() {
            return;
        }
        let request = AlterPartitionRequest {
            broker_id: me.0,
            broker_epoch: self.epoch,
            topics: wishes,
            ..AlterPartitionRequest::default()
        };
        // Refused only if the partition changed meanwhile: that change comes here, too.
        drop(self.own_command(self.env().now(), Command::AlterPartition(request)));
    }

    /// The partition with this broker alone in sync.
    fn alone(&self, (index, partition): (PartitionIndex, &PartitionImage)) -> PartitionData {
        let state = BrokerState {
            broker_id: self.node_id().0,
            broker_epoch: self.epoch,
            ..BrokerState::default()
        };
        PartitionData {
            partition_index: index.0,
            leader_epoch: partition.leader_epoch.0,
            new_isr_with_epochs: vec![state],
            partition_epoch: partition.partition_epoch,
            ..PartitionData::default()
        }
    }
}
