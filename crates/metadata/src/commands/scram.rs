//! AlterUserScramCredentials (KIP-554).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use ottla_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use ottla_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
    RemoveUserScramCredentialRecord,
};
use sha2::{Digest, Sha256, Sha512};

use super::{Env, Run};
use crate::command::ApiError;
use crate::image::ScramCredential;
use crate::image::convert::text;
use crate::record::VersionedRecord;

/// Mechanisms on the wire.
const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

/// Rounds of the key derivation: fewer are too easy to guess, more stall every login.
const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16384;

impl Run for AlterUserScramCredentialsRequest {
    type Response = AlterUserScramCredentialsResponse;

    /// One result for each user; a user with anything wrong is not changed at all. As in Kafka a
    /// request may alter one credential of a user: two mechanisms take two requests.
    fn run(
        &self,
        env: &mut Env<'_, '_>,
    ) -> (Vec<VersionedRecord>, AlterUserScramCredentialsResponse) {
        let mut users: BTreeMap<&str, Result<Vec<VersionedRecord>, ApiError>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let deletions = self.deletions.iter().map(|d| (&*d.name, d.mechanism, None));
        let upsertions = self.upsertions.iter().map(|u| (&*u.name, u.mechanism, Some(u)));
        for (user, mechanism, upsertion) in deletions.chain(upsertions) {
            let so_far = users.entry(user).or_insert_with(|| Ok(Vec::new()));
            let Ok(records) = so_far else { continue };
            let altered = if seen.insert(user) {
                alter(env, user, mechanism, upsertion)
            } else {
                let message = "the request alters more than one credential of the user";
                Err(ApiError::new(ErrorCode::DuplicateResource, message))
            };
            match altered {
                Ok(record) => records.push(record),
                Err(error) => *so_far = Err(error),
            }
        }
        let mut all = Vec::new();
        let mut results = Vec::new();
        for (user, altered) in users {
            let mut result = AlterUserScramCredentialsResult {
                user: text(user),
                error_message: None,
                ..Default::default()
            };
            match altered {
                Ok(mut records) => all.append(&mut records),
                Err(error) => {
                    result.error_code = error.code.code();
                    result.error_message = error.text();
                }
            }
            results.push(result);
        }
        (all, AlterUserScramCredentialsResponse { results, ..Default::default() })
    }
}

fn alter(
    env: &Env<'_, '_>,
    user: &str,
    mechanism: i8,
    upsertion: Option<&ScramCredentialUpsertion>,
) -> Result<VersionedRecord, ApiError> {
    let unacceptable =
        |message: &str| Err(ApiError::new(ErrorCode::UnacceptableCredential, message));
    if !env.image.metadata_version().has_scram() {
        let message = "SCRAM credentials need metadata.version 11 (3.5-IV2)";
        return Err(ApiError::new(ErrorCode::UnsupportedVersion, message));
    }
    if user.is_empty() {
        return unacceptable("the user name is empty");
    }
    if !matches!(mechanism, SHA_256 | SHA_512) {
        let message = format!("SCRAM mechanism {mechanism} is not known");
        return Err(ApiError::new(ErrorCode::UnsupportedSaslMechanism, message));
    }
    let Some(upsertion) = upsertion else {
        if env.image.scram_credential(mechanism, user).is_none() {
            let message = "the user has no such credential";
            return Err(ApiError::new(ErrorCode::ResourceNotFound, message));
        }
        let record =
            RemoveUserScramCredentialRecord { name: text(user), mechanism, ..Default::default() };
        return Ok(VersionedRecord::v0(record));
    };
    if !ITERATIONS.contains(&upsertion.iterations) {
        return unacceptable("the number of iterations must be from 4096 to 16384");
    }
    let (stored_key, server_key) = keys(mechanism, &upsertion.salted_password);
    let credential = ScramCredential {
        salt: Bytes::copy_from_slice(&upsertion.salt),
        stored_key,
        server_key,
        iterations: upsertion.iterations,
    };
    Ok(VersionedRecord::v0(credential.to_record(mechanism, user)))
}

/// StoredKey and ServerKey of RFC 5802, section 3.
fn keys(mechanism: i8, salted_password: &[u8]) -> (Bytes, Bytes) {
    if mechanism == SHA_512 {
        let mac = |label: &[u8]| mac::<Hmac<Sha512>>(salted_password, label);
        (Bytes::copy_from_slice(&Sha512::digest(mac(b"Client Key"))), mac(b"Server Key"))
    } else {
        let mac = |label: &[u8]| mac::<Hmac<Sha256>>(salted_password, label);
        (Bytes::copy_from_slice(&Sha256::digest(mac(b"Client Key"))), mac(b"Server Key"))
    }
}

fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], label: &[u8]) -> Bytes {
    // HMAC takes keys of every length.
    let Ok(mut mac) = <M as hmac::digest::KeyInit>::new_from_slice(key) else {
        return Bytes::new();
    };
    mac.update(label);
    Bytes::copy_from_slice(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_rfc() {
        // RFC 7677, section 3: password "pencil", 4096 iterations.
        let salted = [
            0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44,
            0x19, 0x39, 0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75,
            0x13, 0xdc, 0x61, 0x5d,
        ];
        let (stored, server) = keys(SHA_256, &salted);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(&stored),
            "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6"
        );
        assert_eq!(
            hex(&server),
            "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5"
        );
    }
}
