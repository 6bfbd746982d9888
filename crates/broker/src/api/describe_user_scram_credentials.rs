//! DescribeUserScramCredentials (KIP-554): who has a SCRAM password, without the password.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_metadata::Image;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use ottla_protocol::messages::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The DescribeUserScramCredentials API.
pub(super) struct DescribeUserScramCredentials;

impl Handler for DescribeUserScramCredentials {
    type Request = DescribeUserScramCredentialsRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=0;
    const RULE: Rule = Rule::Cluster(Operation::Describe);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeUserScramCredentialsRequest,
    ) -> Reply<DescribeUserScramCredentialsResponse> {
        let by_user = credentials(&ctx.image);
        let results = match request.users {
            // None and an empty list ask for everybody.
            Some(users) if !users.is_empty() => {
                let mut counts: BTreeMap<ByteString, usize> = BTreeMap::new();
                for user in users {
                    *counts.entry(user.name).or_default() += 1;
                }
                counts.into_iter().map(|(user, count)| one(&by_user, user, count)).collect()
            }
            _ => by_user.into_iter().map(|(user, infos)| found(user.into(), infos)).collect(),
        };
        Reply::Now(DescribeUserScramCredentialsResponse {
            error_message: None,
            results,
            ..DescribeUserScramCredentialsResponse::default()
        })
    }
}

fn credentials(image: &Image) -> BTreeMap<&str, Vec<CredentialInfo>> {
    let mut by_user: BTreeMap<&str, Vec<CredentialInfo>> = BTreeMap::new();
    for (mechanism, user, credential) in image.scram_credentials() {
        let iterations = credential.iterations;
        let info = CredentialInfo { mechanism, iterations, ..CredentialInfo::default() };
        by_user.entry(user).or_default().push(info);
    }
    by_user
}

fn one(
    by_user: &BTreeMap<&str, Vec<CredentialInfo>>,
    user: ByteString,
    count: usize,
) -> DescribeUserScramCredentialsResult {
    let refused =
        |error: ErrorCode, message: &'static str, user| DescribeUserScramCredentialsResult {
            user,
            error_code: error.code(),
            error_message: Some(message.into()),
            ..DescribeUserScramCredentialsResult::default()
        };
    if count > 1 {
        let message = "the request names the user more than once";
        return refused(ErrorCode::DuplicateResource, message, user);
    }
    match by_user.get(&*user) {
        Some(infos) => found(user, infos.clone()),
        None => refused(ErrorCode::ResourceNotFound, "the user has no SCRAM credential", user),
    }
}

fn found(
    user: ByteString,
    credential_infos: Vec<CredentialInfo>,
) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        user,
        error_message: None,
        credential_infos,
        ..DescribeUserScramCredentialsResult::default()
    }
}
