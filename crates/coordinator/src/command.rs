//! What goes into a group shard and what comes out of it.

use bytestring::ByteString;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_groups_response::DeletableGroupResult;
use ottla_protocol::messages::describe_groups_response::DescribedGroup;
use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use ottla_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use crate::classic::Member;
use crate::machine::coordinator_error;
use crate::shard::GroupShard;

/// A request about groups of this shard, already authorized.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Waits until the rebalance it takes part in has gathered its members.
    JoinGroup(JoinGroupRequest),
    /// Waits for the leader's assignment.
    SyncGroup(SyncGroupRequest),
    /// Keeps a member alive.
    Heartbeat(HeartbeatRequest),
    /// Before version 3 `member_id` names the one member that leaves.
    LeaveGroup(LeaveGroupRequest),
    /// Unknown topics and partitions are taken out by the caller, names filled in for topic ids.
    OffsetCommit(OffsetCommitRequest),
    /// As `OffsetCommit`; the caller has verified the transaction with its coordinator.
    TxnOffsetCommit(TxnOffsetCommitRequest),
    /// One group of an OffsetFetch. `topics: None` asks for all; names filled in for topic ids.
    OffsetFetch {
        /// The group and its partitions.
        group: OffsetFetchRequestGroup,
        /// Whether an offset with an open transaction is an error (KIP-447).
        require_stable: bool,
    },
    /// Unknown topics and partitions are taken out by the caller.
    OffsetDelete(OffsetDeleteRequest),
    /// Those groups of a DescribeGroups that belong to this shard.
    DescribeGroups(Vec<ByteString>),
    /// This shard's part of a ListGroups. An empty filter lets all through.
    ListGroups {
        /// Group states, in any case (KIP-518).
        states: Vec<ByteString>,
        /// Group types, in any case (KIP-848).
        types: Vec<ByteString>,
    },
    /// Those groups of a DeleteGroups that belong to this shard.
    DeleteGroups(Vec<ByteString>),
}

/// The answer to a [`Command`], of the variant with the same name.
///
/// Fields that a version lacks or forbids are made fit by [`Response::for_version`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named after the commands they answer")]
pub enum Response {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetFetch(OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    DescribeGroups(Vec<DescribedGroup>),
    ListGroups(ListGroupsResponse),
    DeleteGroups(Vec<DeletableGroupResult>),
}

/// What a group shard wants done.
pub(crate) type Output = crate::machine::Output<GroupShard>;

/// How to put a group right whose records could not be appended.
#[derive(Debug)]
pub struct GroupUndo(pub(crate) Undo);

/// See [`GroupUndo`].
#[derive(Debug)]
pub(crate) enum Undo {
    /// The group was created by this step.
    NewGroup(ByteString),
    /// The leader's assignment was to be stored.
    Assignment(ByteString),
    /// A static member got a new member id.
    StaticMember {
        group: ByteString,
        old_id: ByteString,
        new_id: ByteString,
        /// The member as it was.
        old: Box<Member>,
    },
}

impl Command {
    /// The answer to this command when it cannot be handed to a shard: `error` at every place
    /// where the response has one, after [`coordinator_error`]. A Heartbeat is good while the shard
    /// is loading: its member is alive, and will hear later what has become of its group.
    #[must_use]
    pub fn refuse(&self, error: ErrorCode) -> Response {
        let code = coordinator_error(error).code();
        match self {
            Self::JoinGroup(request) => Response::JoinGroup(JoinGroupResponse {
                error_code: code,
                member_id: request.member_id.clone(),
                protocol_name: None,
                ..Default::default()
            }),
            Self::SyncGroup(_) => {
                Response::SyncGroup(SyncGroupResponse { error_code: code, ..Default::default() })
            }
            Self::Heartbeat(_) => {
                let loading = error == ErrorCode::CoordinatorLoadInProgress;
                let error_code = if loading { 0 } else { code };
                Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
            }
            Self::LeaveGroup(_) => {
                Response::LeaveGroup(LeaveGroupResponse { error_code: code, ..Default::default() })
            }
            Self::OffsetCommit(request) => {
                Response::OffsetCommit(crate::offsets::commit_response(request, code))
            }
            Self::TxnOffsetCommit(request) => {
                Response::TxnOffsetCommit(crate::offsets::txn_commit_response(request, code))
            }
            Self::OffsetFetch { group, .. } => Response::OffsetFetch(OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code: code,
                ..Default::default()
            }),
            Self::OffsetDelete(_) => Response::OffsetDelete(OffsetDeleteResponse {
                error_code: code,
                ..Default::default()
            }),
            Self::DescribeGroups(groups) => Response::DescribeGroups(
                groups.iter().map(|id| crate::admin::undescribed(id, code)).collect(),
            ),
            Self::ListGroups { .. } => {
                Response::ListGroups(ListGroupsResponse { error_code: code, ..Default::default() })
            }
            Self::DeleteGroups(groups) => Response::DeleteGroups(
                groups.iter().map(|id| crate::admin::deletion(id, code)).collect(),
            ),
        }
    }
}

impl Response {
    /// Turns the answer into one that says `error` (after [`coordinator_error`]) instead of success.
    /// Errors inside it stay.
    pub fn fail(&mut self, error: ErrorCode) {
        let code = coordinator_error(error).code();
        let set = |field: &mut i16| {
            if *field == 0 {
                *field = code;
            }
        };
        match self {
            Self::JoinGroup(r) => {
                if r.error_code == 0 {
                    let member_id = std::mem::take(&mut r.member_id);
                    *r = JoinGroupResponse {
                        error_code: code,
                        member_id,
                        protocol_name: None,
                        ..Default::default()
                    };
                }
            }
            Self::SyncGroup(r) => {
                if r.error_code == 0 {
                    *r = SyncGroupResponse { error_code: code, ..Default::default() };
                }
            }
            Self::Heartbeat(r) => set(&mut r.error_code),
            Self::LeaveGroup(r) => {
                r.members.clear();
                set(&mut r.error_code);
            }
            Self::OffsetCommit(r) => {
                r.topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| {
                    set(&mut p.error_code);
                });
            }
            Self::TxnOffsetCommit(r) => {
                r.topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| {
                    set(&mut p.error_code);
                });
            }
            Self::OffsetFetch(r) => {
                r.topics.clear();
                set(&mut r.error_code);
            }
            Self::OffsetDelete(r) => {
                r.topics.clear();
                set(&mut r.error_code);
            }
            Self::DescribeGroups(groups) => {
                for group in groups.iter_mut().filter(|group| group.error_code == 0) {
                    *group = crate::admin::undescribed(&group.group_id, code);
                }
            }
            Self::ListGroups(r) => {
                r.groups.clear();
                set(&mut r.error_code);
            }
            Self::DeleteGroups(results) => results.iter_mut().for_each(|r| set(&mut r.error_code)),
        }
    }

    /// Makes the answer fit a version of its API: what Kafka says differently in old versions.
    #[must_use]
    pub fn for_version(mut self, version: i16) -> Self {
        match &mut self {
            Self::JoinGroup(r) if version < 7 => {
                r.protocol_name.get_or_insert_default();
            }
            Self::LeaveGroup(r) if version < 3 => {
                let first = r.members.first().map_or(0, |m| m.error_code);
                r.error_code = if r.error_code == 0 { first } else { r.error_code };
                r.members.clear();
            }
            Self::DescribeGroups(groups) if version < 6 => {
                for group in groups {
                    if group.error_code == ErrorCode::GroupIdNotFound.code() {
                        group.error_code = 0;
                    }
                    group.error_message = None;
                }
            }
            Self::DeleteGroups(results) if version < 3 => {
                results.iter_mut().for_each(|r| r.error_message = None);
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };

    use super::*;

    fn code_in(response: &Response) -> Option<i16> {
        match response {
            Response::JoinGroup(r) => Some(r.error_code),
            Response::SyncGroup(r) => Some(r.error_code),
            Response::Heartbeat(r) => Some(r.error_code),
            Response::LeaveGroup(r) => Some(r.error_code),
            Response::OffsetCommit(r) => Some(r.topics[0].partitions[0].error_code),
            Response::TxnOffsetCommit(_) => None,
            Response::OffsetFetch(r) => Some(r.error_code),
            Response::OffsetDelete(r) => Some(r.error_code),
            Response::DescribeGroups(groups) => Some(groups[0].error_code),
            Response::ListGroups(r) => Some(r.error_code),
            Response::DeleteGroups(results) => Some(results[0].error_code),
        }
    }

    #[test]
    fn a_refusal_and_a_failure_say_why_in_every_answer() {
        let topic = OffsetCommitRequestTopic {
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..Default::default()
        };
        let commit = OffsetCommitRequest { topics: vec![topic], ..Default::default() };
        for command in [
            Command::JoinGroup(JoinGroupRequest::default()),
            Command::SyncGroup(SyncGroupRequest::default()),
            Command::Heartbeat(HeartbeatRequest::default()),
            Command::LeaveGroup(LeaveGroupRequest::default()),
            Command::OffsetCommit(commit),
            Command::OffsetFetch { group: Default::default(), require_stable: false },
            Command::OffsetDelete(OffsetDeleteRequest::default()),
            Command::DescribeGroups(vec!["g".into()]),
            Command::ListGroups { states: Vec::new(), types: Vec::new() },
            Command::DeleteGroups(vec!["g".into()]),
        ] {
            let refused = command.refuse(ErrorCode::NotLeaderOrFollower);
            assert_eq!(code_in(&refused), Some(16), "{command:?}");
            let mut failed = command.refuse(ErrorCode::None);
            assert_eq!(code_in(&failed), Some(0), "{command:?}");
            failed.fail(ErrorCode::NotEnoughReplicas);
            assert_eq!(code_in(&failed), Some(15), "{command:?}");
            failed.fail(ErrorCode::MessageTooLarge);
            assert_eq!(code_in(&failed), Some(15), "the first reason stays: {command:?}");
        }
    }
    #[test]
    fn a_loading_shard_takes_a_heartbeat_for_good_and_refuses_the_rest() {
        let loading = ErrorCode::CoordinatorLoadInProgress;
        let heartbeat = Command::Heartbeat(HeartbeatRequest::default()).refuse(loading);
        assert_eq!(code_in(&heartbeat), Some(0));
        let sync = Command::SyncGroup(SyncGroupRequest::default()).refuse(loading);
        assert_eq!(code_in(&sync), Some(loading.code()));
    }
}
