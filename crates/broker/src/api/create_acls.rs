//! CreateAcls (KIP-140, 290). There is no authorizer that would have rules.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::create_acls_response::AclCreationResult;
use ottla_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::{Handler, Operation, Reply, Rule, acls};
use crate::context::Context;

/// The CreateAcls API.
pub(super) struct CreateAcls;

impl Handler for CreateAcls {
    type Request = CreateAclsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;
    const RULE: Rule = Rule::Cluster(Operation::Alter);

    fn handle(_: &Context<'_>, request: CreateAclsRequest) -> Reply<CreateAclsResponse> {
        let refused = |_| AclCreationResult {
            error_code: ErrorCode::SecurityDisabled.code(),
            error_message: acls::no_authorizer(),
            ..AclCreationResult::default()
        };
        Reply::Now(CreateAclsResponse {
            results: request.creations.into_iter().map(refused).collect(),
            ..CreateAclsResponse::default()
        })
    }
}
