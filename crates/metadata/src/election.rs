//! Changes of a partition's replicas in sync and its leader (KIP-966 with ELR).

use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, PartitionIndex};
use ottla_protocol::messages as m;

use crate::image::convert::raw_ids;
use crate::image::replay::NO_LEADER_CHANGE;
use crate::image::{ConfigResource, Image, LeaderRecovery, PartitionImage, TopicImage};
use crate::record::VersionedRecord;

/// Who may be elected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// The current leader if possible, else any from ISR or ELR.
    Online,
    /// The first replica if possible.
    Preferred,
    /// Any live replica, if no other way is left: records may be lost.
    Unclean,
}

/// A change being made: set the targets, then [`PartitionChange::build`].
pub(crate) struct PartitionChange<'a> {
    pub(crate) image: &'a Image,
    pub(crate) topic: Uuid,
    pub(crate) index: PartitionIndex,
    pub(crate) old: &'a PartitionImage,
    /// Effective: not more than there are replicas.
    pub(crate) min_isr: usize,
    pub(crate) isr: Vec<BrokerId>,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) adding: Vec<BrokerId>,
    pub(crate) removing: Vec<BrokerId>,
    pub(crate) election: Election,
    /// A broker that is treated as if it were not there.
    pub(crate) without: Option<BrokerId>,
    /// A broker that is treated as unfenced.
    pub(crate) with: Option<BrokerId>,
    /// The broker lost what was not flushed: it may be in neither ISR nor ELR.
    pub(crate) unclean_shutdown: bool,
    pub(crate) recovery: Option<LeaderRecovery>,
}

impl<'a> PartitionChange<'a> {
    pub(crate) fn new(
        image: &'a Image,
        topic: &TopicImage,
        (index, old): (PartitionIndex, &'a PartitionImage),
        min_isr: usize,
    ) -> Self {
        Self {
            image,
            topic: topic.id,
            index,
            old,
            min_isr: min_isr.min(old.replicas.len()),
            isr: old.isr.clone(),
            replicas: old.replicas.clone(),
            adding: old.adding.clone(),
            removing: old.removing.clone(),
            election: Election::Online,
            without: None,
            with: None,
            unclean_shutdown: false,
            recovery: None,
        }
    }

    /// The record, or `None` if nothing changes.
    pub(crate) fn build(mut self) -> Option<VersionedRecord> {
        let elr_on = self.image.elr_enabled();
        self.complete_reassignment();
        if self.isr.is_empty() && !elr_on {
            // Without ELR the last in-sync replica stays, so that somebody is known to be complete.
            self.isr.clone_from(&self.old.isr);
        }
        let elr = self.target_elr(elr_on);
        let mut record = m::PartitionChangeRecord {
            partition_id: self.index.0,
            topic_id: self.topic,
            leader: NO_LEADER_CHANGE,
            leader_recovery_state: -1,
            ..Default::default()
        };
        self.elect(&elr, &mut record);
        let elr: Vec<BrokerId> = elr.into_iter().filter(|id| !self.isr.contains(id)).collect();
        let elr = if self.isr.len() >= self.min_isr { Vec::new() } else { elr };
        self.bump_epoch(&mut record);
        if self.isr != self.old.isr {
            record.isr = Some(raw_ids(&self.isr));
        }
        if elr_on {
            self.elr_fields(&elr, &mut record);
        }
        self.assignment_fields(&mut record);
        if let Some(recovery) =
            self.recovery.filter(|recovery| *recovery != self.old.leader_recovery)
        {
            record.leader_recovery_state = recovery.code();
        }
        let version = self.image.metadata_version().partition_record();
        is_change(&record).then(|| VersionedRecord::new(record, version))
    }

    /// A reassignment is done when all its target replicas are in sync (KIP-455).
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let keep = |id: &BrokerId| !self.removing.contains(id);
        let replicas: Vec<BrokerId> = self.replicas.iter().copied().filter(keep).collect();
        let isr: Vec<BrokerId> = self.isr.iter().copied().filter(keep).collect();
        let done = !replicas.is_empty() && replicas.iter().all(|id| isr.contains(id));
        if done {
            (self.replicas, self.isr) = (replicas, isr);
            self.adding.clear();
            self.removing.clear();
        }
    }

    /// Who leaves the ISR while it is too small stays eligible: it has everything below the high
    /// watermark, which does not move from then on.
    fn target_elr(&self, elr_on: bool) -> Vec<BrokerId> {
        if !elr_on || self.isr.len() >= self.min_isr {
            return Vec::new();
        }
        let lost = |id: &BrokerId| self.unclean_shutdown && self.without == Some(*id);
        let mut elr: Vec<BrokerId> = Vec::new();
        for id in self.old.elr.iter().chain(&self.old.isr) {
            let eligible = self.replicas.contains(id) && !self.isr.contains(id) && !lost(id);
            if eligible && !elr.contains(id) {
                elr.push(*id);
            }
        }
        elr
    }

    fn acceptable(&self, id: BrokerId) -> bool {
        let alive = self.with == Some(id)
            || self.image.broker(id).is_some_and(crate::image::BrokerRegistration::is_active);
        alive && self.without != Some(id)
    }

    fn elect(&mut self, elr: &[BrokerId], record: &mut m::PartitionChangeRecord) {
        let from_elr = !self.isr.iter().any(|id| self.acceptable(*id));
        let valid = |id: BrokerId| {
            self.acceptable(id) && (self.isr.contains(&id) || (from_elr && elr.contains(&id)))
        };
        let preferred =
            self.replicas.first().copied().filter(|_| self.election == Election::Preferred);
        let clean = preferred
            .filter(|id| valid(*id))
            .or_else(|| Some(self.old.leader).filter(|id| self.replicas.contains(id) && valid(*id)))
            .or_else(|| self.replicas.iter().copied().find(|id| valid(*id)));
        let last_known = || match self.old.last_known_elr.as_slice() {
            [only] if self.isr.is_empty() && elr.is_empty() => {
                Some(*only).filter(|id| self.acceptable(*id))
            }
            _ => None,
        };
        let any = || {
            let unclean = self.election == Election::Unclean;
            self.replicas.iter().copied().find(|id| unclean && self.acceptable(*id))
        };
        let unclean = || last_known().or_else(any);
        let (leader, is_clean) = match clean {
            Some(leader) => (leader, true),
            None => (unclean().unwrap_or(BrokerId::NONE), false),
        };
        if leader == self.old.leader {
            return;
        }
        record.leader = leader.0;
        if leader != BrokerId::NONE && !self.isr.contains(&leader) {
            self.isr = vec![leader];
            if !is_clean {
                self.recovery = Some(LeaderRecovery::Recovering);
            }
        }
    }

    /// Replicas that were taken out of the assignment must hear of it by a new leader epoch; older
    /// metadata.versions also bump it when the ISR shrinks.
    fn bump_epoch(&self, record: &mut m::PartitionChangeRecord) {
        if record.leader != NO_LEADER_CHANGE || self.old.leader == BrokerId::NONE {
            return;
        }
        let replica_gone = self.old.replicas.iter().any(|id| !self.replicas.contains(id));
        let isr_shrunk = self.old.isr.iter().any(|id| !self.isr.contains(id));
        let shrink_counts = !self.image.metadata_version().skips_leader_epoch_bump_on_shrink();
        if replica_gone || (isr_shrunk && shrink_counts) {
            record.leader = self.old.leader.0;
        }
    }

    /// The last leader is remembered once, when the ISR becomes empty.
    fn elr_fields(&self, elr: &[BrokerId], record: &mut m::PartitionChangeRecord) {
        if elr != self.old.elr {
            record.eligible_leader_replicas = Some(raw_ids(elr));
        }
        let last = &self.old.last_known_elr;
        if !self.isr.is_empty() && !last.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
        let became_empty = self.isr.is_empty() && record.isr.is_some();
        if became_empty && self.old.leader != BrokerId::NONE && last.as_slice() != [self.old.leader]
        {
            record.last_known_elr = Some(vec![self.old.leader.0]);
        }
    }

    fn assignment_fields(&self, record: &mut m::PartitionChangeRecord) {
        if self.replicas != self.old.replicas {
            record.replicas = Some(raw_ids(&self.replicas));
            if self.image.metadata_version().has_directories() {
                let known = |id: &BrokerId| {
                    let fresh = || crate::placement::default_directory(self.image.broker(*id));
                    self.old.directory_of(*id).unwrap_or_else(fresh)
                };
                record.directories = Some(self.replicas.iter().map(known).collect());
            }
        }
        if self.removing != self.old.removing {
            record.removing_replicas = Some(raw_ids(&self.removing));
        }
        if self.adding != self.old.adding {
            record.adding_replicas = Some(raw_ids(&self.adding));
        }
    }
}

/// The smallest ISR with which writes of `acks=all` are taken: of the topic, else the default of all
/// brokers, else the file.
pub(crate) fn min_isr(image: &Image, topic: &str, file: i32) -> usize {
    const KEY: &str = "min.insync.replicas";
    let value = image
        .config_value(&ConfigResource::topic(topic), KEY)
        .or_else(|| image.config_value(&ConfigResource::default_broker(), KEY))
        .and_then(|value| value.parse().ok())
        .unwrap_or(file);
    usize::try_from(value).unwrap_or(1)
}

/// Whether a leader may be elected at the price of lost records.
pub(crate) fn allows_unclean(image: &Image, topic: &str, file: bool) -> bool {
    const KEY: &str = "unclean.leader.election.enable";
    image
        .config_value(&ConfigResource::topic(topic), KEY)
        .or_else(|| image.config_value(&ConfigResource::default_broker(), KEY))
        .map_or(file, |value| value == "true")
}

fn is_change(record: &m::PartitionChangeRecord) -> bool {
    record.isr.is_some()
        || record.leader != NO_LEADER_CHANGE
        || record.replicas.is_some()
        || record.removing_replicas.is_some()
        || record.adding_replicas.is_some()
        || record.leader_recovery_state >= 0
        || record.directories.is_some()
        || record.eligible_leader_replicas.is_some()
        || record.last_known_elr.is_some()
}
