//! What the ACL APIs say while no authorizer is configured.

use bytestring::ByteString;

/// The sentence beside SECURITY_DISABLED.
pub(super) fn no_authorizer() -> Option<ByteString> {
    Some(ByteString::from_static("no authorizer is configured on this broker"))
}
