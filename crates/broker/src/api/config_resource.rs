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

/// Type and name of a resource.
pub(super) type Key = (i8, ByteString);

/// What was decided here about a resource; `None`: the controller decides.
pub(super) type Slot = (Key, Option<Result<(), Refused>>);

/// Tells apart the resources of a request to alter: what is decided here (each is named once, and a
/// broker is altered through itself, because the values are checked against its file; then `here`
/// may decide), and those that are left for the controller, in their order.
pub(super) fn decide_here<R>(
    ctx: &Context<'_>,
    resources: Vec<R>,
    key: fn(&R) -> Key,
    here: impl Fn(&R) -> Option<Result<(), Refused>>,
) -> (Vec<Slot>, Vec<R>) {
    let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
    for resource in &resources {
        *counts.entry(key(resource)).or_default() += 1;
    }
    let mut slots = Vec::with_capacity(resources.len());
    let mut rest = Vec::new();
    for resource in resources {
        let key = key(&resource);
        let decided = match may_alter(ctx, &counts, &key) {
            Err(refused) => Some(Err(refused)),
            Ok(()) => here(&resource),
        };
        if decided.is_none() {
            rest.push(resource);
        }
        slots.push((key, decided));
    }
    (slots, rest)
}

/// The answers in the order of the request: `answer` makes one of what was decided here, the others
/// are the controller's, and `missing` is told for those that it does not give.
pub(super) fn merge<A>(
    slots: Vec<Slot>,
    forwarded: Vec<A>,
    missing: ErrorCode,
    answer: fn(Key, ErrorCode, Option<ByteString>) -> A,
) -> Vec<A> {
    let mut forwarded = forwarded.into_iter();
    let told = slots.into_iter().map(|(key, decided)| match decided {
        Some(Ok(())) => answer(key, ErrorCode::None, None),
        Some(Err((error, message))) => answer(key, error, message.map(ByteString::from)),
        None => forwarded.next().unwrap_or_else(|| answer(key, missing, None)),
    });
    told.collect()
}

fn may_alter(ctx: &Context<'_>, counts: &BTreeMap<Key, usize>, key: &Key) -> Result<(), Refused> {
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
