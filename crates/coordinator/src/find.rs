//! FindCoordinator: what a key belongs to, without knowing who leads it.

use ottla_protocol::{ErrorCode, Uuid};

use crate::partitioner::partition_for;

/// Share coordinators (KIP-932) are asked for from this version of FindCoordinator on.
const SHARE_FROM: i16 = 6;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// Key type 0: a group id.
    Group,
    /// Key type 1: a transactional id.
    Transaction,
    /// Key type 2: `group:topicId:partition`.
    Share,
}

impl CoordinatorKind {
    /// The kind with this key type on the wire.
    ///
    /// # Errors
    /// INVALID_REQUEST: no such type, or not in this version of FindCoordinator.
    pub fn from_key_type(key_type: i8, api_version: i16) -> Result<Self, ErrorCode> {
        match key_type {
            0 => Ok(Self::Group),
            1 => Ok(Self::Transaction),
            2 if api_version >= SHARE_FROM => Ok(Self::Share),
            _ => Err(ErrorCode::InvalidRequest),
        }
    }

    /// The internal topic whose partition leaders are the coordinators.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Group => "__consumer_offsets",
            Self::Transaction => "__transaction_state",
            Self::Share => "__share_group_state",
        }
    }

    /// The partition of [`CoordinatorKind::topic`], which has `partitions`, whose leader
    /// coordinates `key`.
    ///
    /// # Errors
    /// INVALID_REQUEST: a share key that is not `group:topicId:partition`.
    pub fn partition(self, key: &str, partitions: i32) -> Result<i32, ErrorCode> {
        if self == Self::Share && !is_share_key(key) {
            return Err(ErrorCode::InvalidRequest);
        }
        Ok(partition_for(key, partitions))
    }
}

fn is_share_key(key: &str) -> bool {
    let mut parts = key.split(':');
    let (Some(group), Some(topic_id), Some(partition), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    !group.is_empty()
        && topic_id.parse::<Uuid>().is_ok()
        && partition.parse::<i32>().is_ok_and(|partition| partition >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_types_and_keys_are_checked_as_in_the_error_matrix() {
        let invalid = Err(ErrorCode::InvalidRequest);
        for (key_type, version, key, want) in [
            (0, 6, "a", Ok(47)),
            (0, 3, "", Ok(0)),
            (1, 6, "", Ok(0)),
            (9, 6, "a", invalid),
            (-1, 6, "a", invalid),
            (2, 6, "g1", invalid),
            (2, 6, "g1:x:0", invalid),
            (2, 6, "g1:AiTeuvKeRnmqODwOKfhf8w:x", invalid),
            (2, 6, "g1:AiTeuvKeRnmqODwOKfhf8w:0:0", invalid),
            (2, 5, "sg:AiTeuvKeRnmqODwOKfhf8w:0", invalid),
            (2, 6, "sg:AiTeuvKeRnmqODwOKfhf8w:0", Ok(15)),
        ] {
            let found = CoordinatorKind::from_key_type(key_type, version)
                .and_then(|kind| kind.partition(key, 50));
            assert_eq!(found, want, "type {key_type} v{version} {key:?}");
        }
    }
}
