//! Keys of a client metrics subscription (KIP-714).

use crate::def::Default::Is;
use crate::def::KeyDef;

pub(super) const KEYS: &[KeyDef] = &[
    KeyDef::int(
        "interval.ms",
        Is("300000"),
        "How often clients of this subscription push metrics, from 100 ms to one hour.",
    )
    .per_resource()
    .read(),
    KeyDef::list(
        "match",
        Is(""),
        "Which clients the subscription is for, as `selector=pattern` pairs that must all match; \
         empty for all. Selectors: `client_id`, `client_instance_id`, `client_software_name`, \
         `client_software_version`, `client_source_address`, `client_source_port`.",
    )
    .per_resource()
    .read(),
    KeyDef::list(
        "metrics",
        Is(""),
        "Prefixes of the metrics clients push; `*` for all, empty for none.",
    )
    .per_resource()
    .read(),
];
