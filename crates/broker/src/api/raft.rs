//! What the APIs of the metadata quorum share.

use bytestring::ByteString;

use crate::context::Context;
use crate::quorum::QuorumLeader;

/// The one topic that has a quorum.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether a request means this cluster; one that names none is taken.
pub(super) fn is_this_cluster(ctx: &Context<'_>, cluster_id: Option<&ByteString>) -> bool {
    cluster_id.is_none_or(|id| **id == *ctx.broker.cluster_id())
}

/// The leader, as nodes on the listener of the request reach it.
pub(super) fn leader(ctx: &Context<'_>) -> QuorumLeader {
    ctx.broker.quorum.leader(&ctx.connection.listener.name)
}
