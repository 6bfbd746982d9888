//! The shapes of OffsetFetch: one group before version 8, several from then on (KIP-709).

use ottla_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use ottla_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

/// From this version on a request names several groups.
const GROUPS_FROM: i16 = 8;
/// From this version on there is an error for the whole request.
const TOP_LEVEL_ERROR_FROM: i16 = 2;

/// The groups that a request of `version` asks for, in the form of version 8.
#[must_use]
pub fn offset_fetch_groups(
    request: &OffsetFetchRequest,
    version: i16,
) -> Vec<OffsetFetchRequestGroup> {
    if version >= GROUPS_FROM {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let wanted = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
            ..Default::default()
        });
        wanted.collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics,
        ..Default::default()
    }]
}

/// The response of `version` to `request`, from the answers for its groups in their order.
#[must_use]
pub fn offset_fetch_response(
    request: &OffsetFetchRequest,
    version: i16,
    mut groups: Vec<OffsetFetchResponseGroup>,
) -> OffsetFetchResponse {
    if version >= GROUPS_FROM {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let topics = if group.error_code != 0 && version < TOP_LEVEL_ERROR_FROM {
        failed_topics(request, group.error_code)
    } else {
        let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic
                .partitions
                .into_iter()
                .map(|partition| OffsetFetchResponsePartition {
                    partition_index: partition.partition_index,
                    committed_offset: partition.committed_offset,
                    committed_leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.metadata,
                    error_code: partition.error_code,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        topics.collect()
    };
    OffsetFetchResponse { topics, error_code: group.error_code, ..Default::default() }
}

fn failed_topics(request: &OffsetFetchRequest, code: i16) -> Vec<OffsetFetchResponseTopic> {
    let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| OffsetFetchResponsePartition {
                partition_index: *index,
                committed_offset: -1,
                metadata: Some(Default::default()),
                error_code: code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;

    use super::*;

    fn single() -> OffsetFetchRequest {
        let topic = OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: vec![4],
            ..Default::default()
        };
        OffsetFetchRequest { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() }
    }

    #[test]
    fn a_request_for_one_group_is_one_of_several() {
        let groups = offset_fetch_groups(&single(), 7);
        assert_eq!(groups.len(), 1);
        assert_eq!(&*groups[0].group_id, "g");
        assert_eq!(groups[0].topics.as_ref().unwrap()[0].partition_indexes, [4]);
        let all = OffsetFetchRequest { topics: None, ..single() };
        assert_eq!(offset_fetch_groups(&all, 2)[0].topics, None);
    }

    #[test]
    fn an_error_is_where_the_version_has_a_place_for_it() {
        for (version, top, partition, group) in [
            (1, 16, Some(16), None),
            (2, 16, None, None),
            (7, 16, None, None),
            (8, 0, None, Some(16)),
        ] {
            let failed = OffsetFetchResponseGroup { error_code: 16, ..Default::default() };
            let response = offset_fetch_response(&single(), version, vec![failed]);
            assert_eq!(response.error_code, top, "v{version}");
            let found = response.topics.first().map(|t| t.partitions[0].error_code);
            assert_eq!(found, partition, "v{version}");
            assert_eq!(response.groups.first().map(|g| g.error_code), group, "v{version}");
        }
    }
}
