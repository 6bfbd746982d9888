//! What other nodes ask for or claim. The only voter never follows: nobody else can have been elected.
//! A larger epoch is adopted, as the protocol has it, and a larger one still is led at once.

use ottla_protocol::ErrorCode;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Now, Offset};

use super::{Quorum, Role};
use crate::action::Action;
use crate::control::ControlRecord;
use crate::quorum_state::QuorumState;
use crate::voters::ReplicaKey;

/// The largest epoch that is adopted from another node. Epochs are 32 bits wide and never go back: who
/// sends the largest one would otherwise end a cluster that can count no further.
pub const EPOCH_MAX: LeaderEpoch = LeaderEpoch(i32::MAX / 2);

/// A candidate asks for a vote (KIP-595, KIP-853, KIP-996).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteRequest {
    /// Who asks.
    pub candidate: ReplicaKey,
    /// The epoch it wants to lead; in a pre-vote, the one it is in.
    pub epoch: LeaderEpoch,
    /// The epoch of the candidate's last record.
    pub last_epoch: LeaderEpoch,
    /// The end of the candidate's log.
    pub log_end: Offset,
    /// Only whether it would be given the vote.
    pub pre_vote: bool,
    /// Whom the candidate means, if it says.
    pub voter: Option<ReplicaKey>,
}

/// The answer to a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteAnswer {
    /// Why the request makes no sense here.
    pub refused: Option<Refusal>,
    /// The leader of `epoch`, if there is one.
    pub leader: Option<BrokerId>,
    /// The epoch of this node.
    pub epoch: LeaderEpoch,
    /// Whether the candidate has this node's vote.
    pub granted: bool,
}

/// What to do with a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// Answer at once.
    Answer(VoteAnswer),
    /// Adopt the larger epoch of the answer ([`crate::Input::EpochSeen`]), then answer.
    Adopt(VoteAnswer),
}

/// Why a request of another node is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The sender is behind.
    #[error("the epoch of the request is over")]
    OldEpoch,
    /// The sender is ahead.
    #[error("the epoch of the request is not known here")]
    NewEpoch,
    /// This node leads no longer.
    #[error("this node does not lead the quorum")]
    NotLeader,
    /// Numbers that cannot be.
    #[error("the request contradicts itself")]
    Invalid,
    /// Meant for another node, or for this one with another disk.
    #[error("the request is for another voter")]
    OtherVoter,
    /// The sender claims to lead and is no voter.
    #[error("the sender is no voter")]
    NotVoter,
}

impl From<Refusal> for ErrorCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OldEpoch => Self::FencedLeaderEpoch,
            Refusal::NewEpoch => Self::UnknownLeaderEpoch,
            Refusal::NotLeader => Self::NotLeaderOrFollower,
            Refusal::Invalid => Self::InvalidRequest,
            Refusal::OtherVoter => Self::InvalidVoterKey,
            Refusal::NotVoter => Self::InconsistentVoterSet,
        }
    }
}

impl Quorum {
    /// Decides about a vote. Nothing is changed here.
    #[must_use]
    pub fn vote(&self, request: &VoteRequest) -> Vote {
        let refuse = |refusal| VoteAnswer { refused: Some(refusal), ..self.no_vote() };
        let impossible = match request.pre_vote {
            true => request.last_epoch > request.epoch,
            false => request.last_epoch >= request.epoch,
        };
        if impossible || request.epoch > EPOCH_MAX {
            return Vote::Answer(refuse(Refusal::Invalid));
        }
        if let Err(refusal) = self.check_voter(request.candidate.id, request.epoch) {
            return Vote::Answer(refuse(refusal));
        }
        if request.epoch <= self.state.epoch || !self.is_leading() {
            let refused = self.check_key(request.voter).err();
            return Vote::Answer(VoteAnswer { refused, ..self.no_vote() });
        }
        // In the new epoch nobody leads and this node has not voted.
        let refused = self.check_key(request.voter).err();
        let candidate = (request.last_epoch, request.log_end);
        let granted = refused.is_none() && candidate >= (self.last_epoch, self.log_end);
        Vote::Adopt(VoteAnswer { refused, leader: None, epoch: request.epoch, granted })
    }

    /// Whether `leader` may say that it leads `epoch`, or that it stops leading it, to the voter
    /// `meant`.
    ///
    /// # Errors
    /// It may not.
    pub fn check_claim(
        &self,
        (leader, epoch): (BrokerId, LeaderEpoch),
        meant: Option<ReplicaKey>,
    ) -> Result<(), Refusal> {
        self.check_voter(leader, epoch)?;
        if self.voters.voters().get(leader).is_none() {
            return Err(Refusal::NotVoter);
        }
        if epoch > self.state.epoch {
            // Nobody but this node can have been elected, and it was not.
            return Err(Refusal::Invalid);
        }
        self.check_key(meant)
    }

    /// Whether a request to the leader may be answered by this node in that epoch.
    ///
    /// # Errors
    /// It may not.
    pub fn check_leader(&self, epoch: LeaderEpoch) -> Result<(), Refusal> {
        match epoch.cmp(&self.state.epoch) {
            std::cmp::Ordering::Less => Err(Refusal::OldEpoch),
            std::cmp::Ordering::Greater => Err(Refusal::NewEpoch),
            std::cmp::Ordering::Equal if self.is_leading() => Ok(()),
            std::cmp::Ordering::Equal => Err(Refusal::NotLeader),
        }
    }

    /// The leader and its epoch, as answers to other nodes tell them.
    #[must_use]
    pub fn leader(&self) -> (Option<BrokerId>, LeaderEpoch) {
        (self.is_leading().then_some(self.config.replica.id), self.state.epoch)
    }

    fn no_vote(&self) -> VoteAnswer {
        let (leader, epoch) = self.leader();
        VoteAnswer { refused: None, leader, epoch, granted: false }
    }

    fn is_leading(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    fn check_voter(&self, sender: BrokerId, epoch: LeaderEpoch) -> Result<(), Refusal> {
        if epoch < self.state.epoch {
            Err(Refusal::OldEpoch)
        } else if sender.0 < 0 {
            Err(Refusal::Invalid)
        } else {
            Ok(())
        }
    }

    fn check_key(&self, meant: Option<ReplicaKey>) -> Result<(), Refusal> {
        let me = self.config.replica;
        let is_me = |key: ReplicaKey| {
            let any = key.directory_id.is_zero() || me.directory_id.is_zero();
            key.id == me.id && (any || key.directory_id == me.directory_id)
        };
        if meant.is_none_or(is_me) { Ok(()) } else { Err(Refusal::OtherVoter) }
    }

    /// The first step to an epoch above `seen`: it must be durable before anything is written in it.
    pub(super) fn stand(&mut self, seen: LeaderEpoch) -> Vec<Action> {
        if !self.is_leading() || seen <= self.state.epoch || seen > EPOCH_MAX {
            return Vec::new();
        }
        let above = seen.max(self.standing.unwrap_or(seen));
        let epoch = LeaderEpoch(above.0.saturating_add(1));
        self.standing = Some(epoch);
        let leader = Some(self.config.replica.id);
        vec![Action::PersistQuorumState(QuorumState { epoch, leader, voted: None })]
    }

    /// The first batch of the epoch that is stood for: where it goes and its records. Written before
    /// [`crate::Input::Persisted`], so that a full disk leaves the quorum as it is.
    #[must_use]
    pub fn next_epoch_start(&self) -> Option<(Offset, LeaderEpoch, Vec<ControlRecord>)> {
        let epoch = self.standing.filter(|epoch| self.is_leading() && *epoch > self.state.epoch)?;
        Some((self.log_end, epoch, self.epoch_start().0))
    }

    /// The second step. What was appended before and is not committed is committed by this epoch's
    /// first batch: the log is this node's alone, so that nothing of it is in doubt.
    pub(super) fn lead_next(&mut self, now: Now) -> Vec<Action> {
        let (records, voters) = self.epoch_start();
        let Role::Leader { active, .. } = self.role else { return Vec::new() };
        let Some(epoch) = self.standing.take().filter(|epoch| *epoch > self.state.epoch) else {
            return Vec::new();
        };
        let leader = Some(self.config.replica.id);
        self.state = QuorumState { epoch, leader, voted: None };
        self.role = Role::Leader { epoch_start: self.log_end, active };
        self.voters = voters;
        self.grow(records.len() as u64, 0, now);
        vec![Action::BecameLeader { epoch }, Action::Flush { through: self.log_end }]
    }
}
