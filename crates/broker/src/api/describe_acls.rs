//! DescribeAcls (KIP-140, 290). There is no authorizer that would have rules.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::{Handler, Operation, Reply, Rule, acls};
use crate::context::Context;

/// The DescribeAcls API.
pub(super) struct DescribeAcls;

impl Handler for DescribeAcls {
    type Request = DescribeAclsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(_: &Context<'_>, _: DescribeAclsRequest) -> Reply<DescribeAclsResponse> {
        Reply::Now(DescribeAclsResponse {
            error_code: ErrorCode::SecurityDisabled.code(),
            error_message: acls::no_authorizer(),
            ..DescribeAclsResponse::default()
        })
    }
}
