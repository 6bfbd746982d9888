//! DescribeGroups (KIP-1043): classic groups with their members.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_coordinator::{Command, Response};
use ottla_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::{Handler, Operation, Reply, Rule, group};
use crate::context::Context;

/// The DescribeGroups API.
pub(super) struct DescribeGroups;

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=6;
    const RULE: Rule = Rule::Group(Operation::Describe);

    fn handle(ctx: &Context<'_>, request: DescribeGroupsRequest) -> Reply<DescribeGroupsResponse> {
        let operations = request.include_authorized_operations;
        let promises = submit_each(ctx, request.groups, Command::DescribeGroups);
        group::gather(ctx, promises, move |responses| {
            let groups = responses.into_iter().flat_map(|response| match response {
                Response::DescribeGroups(groups) => groups,
                _ => Vec::new(),
            });
            let mut groups: Vec<_> = groups.collect();
            if operations {
                for group in groups.iter_mut().filter(|group| group.error_code == 0) {
                    group.authorized_operations = super::operations::GROUP;
                }
            }
            DescribeGroupsResponse { groups, ..Default::default() }
        })
    }
}

/// Hands each shard the groups that belong to it. Without a group topic each group is refused.
pub(super) fn submit_each(
    ctx: &Context<'_>,
    groups: Vec<ByteString>,
    command: fn(Vec<ByteString>) -> Command,
) -> Vec<std::sync::Arc<crate::wait::Promise<Response>>> {
    let mut by_shard: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for group in groups {
        by_shard.entry(group::shard_of(ctx, &group)).or_default().push(group);
    }
    let submit = |(shard, groups)| match shard {
        Ok(index) => ctx.broker.groups.submit(ctx, index, command(groups)),
        Err(error) => crate::wait::Promise::kept(command(groups).refuse(error)),
    };
    by_shard.into_iter().map(submit).collect()
}
