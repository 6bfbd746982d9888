//! What the configuration APIs share: which resources this broker answers for itself.

use std::collections::BTreeMap;

use bytestring::ByteString;
use ottla_metadata::ConfigResource;
use ottla_protocol::ErrorCode;

use crate::context::Context;

/// Resource type of the loggers of a broker.
pub(super) const BROKER_LOGGER: i8 = 8;

/// Why a resource is refused, with a sentence where Kafka has one.
pub(super) type Refused = (ErrorCode, Option<String>);

/// Whether `name` is this broker's id: nobody else knows its loggers and its file.
///
/// # Errors
/// INVALID_REQUEST.
pub(super) fn is_this_broker(ctx: &Context<'_>, name: &str) -> Result<(), Refused> {
    let me = ctx.broker.node_id();
    let message = match name.parse::<i32>() {
        Ok(id) if id == me.0 => return Ok(()),
        Ok(id) => format!("this is broker {me}; ask broker {id} about its configuration"),
        Err(_) => format!("{name:?} is not a broker id"),
    };
    Err((ErrorCode::InvalidRequest, Some(message)))
}

/// How often a request names each resource.
pub(super) type Counts = BTreeMap<(i8, ByteString), usize>;

/// Counts the resources of a request.
pub(super) fn count<'a>(resources: impl Iterator<Item = (i8, &'a ByteString)>) -> Counts {
    let mut counts = Counts::new();
    for (kind, name) in resources {
        *counts.entry((kind, name.clone())).or_default() += 1;
    }
    counts
}

/// Whether a resource of a request to alter may be altered here: each is named once, and a broker is
/// altered through itself, because the values are checked against its file.
///
/// # Errors
/// INVALID_REQUEST.
pub(super) fn may_alter(
    ctx: &Context<'_>,
    counts: &Counts,
    key: &(i8, ByteString),
) -> Result<(), Refused> {
    if counts.get(key).is_some_and(|count| *count > 1) {
        let message = "the request names the resource more than once".to_owned();
        return Err((ErrorCode::InvalidRequest, Some(message)));
    }
    let (kind, name) = key;
    match *kind {
        BROKER_LOGGER => is_this_broker(ctx, name),
        ConfigResource::BROKER if !name.is_empty() => is_this_broker(ctx, name),
        _ => Ok(()),
    }
}
