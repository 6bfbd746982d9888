//! DeleteAcls (KIP-140, 290). There is no authorizer that would have rules.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use ottla_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::{Handler, Operation, Reply, Rule, acls};
use crate::context::Context;

/// The DeleteAcls API.
pub(super) struct DeleteAcls;

impl Handler for DeleteAcls {
    type Request = DeleteAclsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(_: &Context<'_>, request: DeleteAclsRequest) -> Reply<DeleteAclsResponse> {
        let refused = |_| DeleteAclsFilterResult {
            error_code: ErrorCode::SecurityDisabled.code(),
            error_message: acls::no_authorizer(),
            ..DeleteAclsFilterResult::default()
        };
        Reply::Now(DeleteAclsResponse {
            filter_results: request.filters.into_iter().map(refused).collect(),
            ..DeleteAclsResponse::default()
        })
    }
}
