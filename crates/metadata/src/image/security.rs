//! Quotas, credentials and access rules.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::Uuid;

/// Whom a quota limits: entity type (`user`, `client-id`, `ip`) to name; `None` is the default entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

/// What a server keeps of a SCRAM password (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Random.
    pub salt: Bytes,
    /// Hash of the client key.
    pub stored_key: Bytes,
    /// Key of the server's signature.
    pub server_key: Bytes,
    /// Rounds of the key derivation.
    pub iterations: i32,
}

/// One access rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Its id.
    pub id: Uuid,
    /// Kind of resource.
    pub resource_type: i8,
    /// Name or prefix of the resource.
    pub resource_name: String,
    /// Literal or prefixed.
    pub pattern_type: i8,
    /// Such as `User:alice`.
    pub principal: String,
    /// Address, `*`, or from metadata.version 32 a CIDR block.
    pub host: String,
    /// What it is about.
    pub operation: i8,
    /// Allow or deny.
    pub permission: i8,
}

/// A delegation token (KIP-48), without its secret: that is derived from the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationToken {
    /// Who it stands for, such as `User:alice`.
    pub owner: String,
    /// Who asked for it.
    pub requester: String,
    /// Who may renew it.
    pub renewers: Vec<String>,
    /// Milliseconds of the wall clock.
    pub issued: i64,
    /// It cannot be renewed past this.
    pub max: i64,
    /// It is valid until this.
    pub expires: i64,
}

/// Keys do not belong in logs.
impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}
