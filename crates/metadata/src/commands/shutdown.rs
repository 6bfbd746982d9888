//! Taking a broker out of leaderships and ISRs, and putting it back.

use ottla_protocol::ids::BrokerId;
use ottla_protocol::messages as m;

use super::Env;
use crate::election::{self, Election, PartitionChange};
use crate::image::{BrokerRegistration, PartitionImage};
use crate::record::VersionedRecord;

/// How a broker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What it wrote is on its disk, as far as known.
    Clean,
    /// It came back without having closed its logs.
    Unclean,
}

pub(super) fn fence_record(broker: &BrokerRegistration) -> VersionedRecord {
    VersionedRecord::v0(m::BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        fenced: 1,
        ..Default::default()
    })
}

/// The changes of all partitions that have the broker in their ISR, ELR or as leader.
pub(super) fn partitions_without(
    env: &Env<'_, '_>,
    id: BrokerId,
    kind: Kind,
) -> Vec<VersionedRecord> {
    let unclean = kind == Kind::Unclean;
    let concerned = |partition: &PartitionImage| {
        let in_elr = partition.elr.contains(&id) || partition.last_known_elr.contains(&id);
        partition.leader == id || partition.isr.contains(&id) || (unclean && in_elr)
    };
    let mut records = Vec::new();
    for topic in env.image.topics() {
        let min_isr = election::min_isr(env.image, &topic.name, env.config.min_insync_replicas);
        let unclean_election =
            election::allows_unclean(env.image, &topic.name, env.config.unclean_election);
        for (index, partition) in topic.partitions().filter(|(_, partition)| concerned(partition)) {
            let mut change = PartitionChange::new(env.image, topic, (index, partition), min_isr);
            change.isr.retain(|replica| *replica != id);
            change.without = Some(id);
            change.unclean_shutdown = unclean;
            if unclean_election {
                change.election = Election::Unclean;
            }
            records.extend(change.build());
        }
    }
    records
}

/// The leaderless partitions that can be led now that the broker is unfenced.
pub(super) fn partitions_with(env: &Env<'_, '_>, id: BrokerId) -> Vec<VersionedRecord> {
    let leaderless = |partition: &PartitionImage| {
        partition.leader == BrokerId::NONE && partition.replicas.contains(&id)
    };
    let mut records = Vec::new();
    for topic in env.image.topics() {
        let min_isr = election::min_isr(env.image, &topic.name, env.config.min_insync_replicas);
        let unclean_election =
            election::allows_unclean(env.image, &topic.name, env.config.unclean_election);
        for (index, partition) in topic.partitions().filter(|(_, partition)| leaderless(partition))
        {
            let mut change = PartitionChange::new(env.image, topic, (index, partition), min_isr);
            change.with = Some(id);
            if unclean_election {
                change.election = Election::Unclean;
            }
            records.extend(change.build());
        }
    }
    records
}

/// Whether the broker leads anything.
pub(super) fn leads(env: &Env<'_, '_>, id: BrokerId) -> bool {
    env.image
        .topics()
        .flat_map(|topic| topic.partitions())
        .any(|(_, partition)| partition.leader == id)
}
