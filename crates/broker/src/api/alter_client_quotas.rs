//! AlterClientQuotas (KIP-546): sets and removes client quotas.

use ottla_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use ottla_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::{Handler, Operation, Reply, Rule, forward};
use crate::context::Context;

/// The AlterClientQuotas API.
pub(super) struct AlterClientQuotas;

impl Handler for AlterClientQuotas {
    type Request = AlterClientQuotasRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::AlterConfigs);

    fn handle(
        ctx: &Context<'_>,
        request: AlterClientQuotasRequest,
    ) -> Reply<AlterClientQuotasResponse> {
        let entities: Vec<Vec<_>> = request
            .entries
            .iter()
            .map(|entry| {
                let part =
                    |part: &ottla_protocol::messages::alter_client_quotas_request::EntityData| {
                        let (entity_type, entity_name) =
                            (part.entity_type.clone(), part.entity_name.clone());
                        EntityData { entity_type, entity_name, ..EntityData::default() }
                    };
                entry.entity.iter().map(part).collect()
            })
            .collect();
        forward::forward(ctx, request, forward::TIMEOUT_MS, move |error| {
            let entry =
                |entity| EntryData { error_code: error.code(), entity, ..EntryData::default() };
            AlterClientQuotasResponse {
                entries: entities.into_iter().map(entry).collect(),
                ..AlterClientQuotasResponse::default()
            }
        })
    }
}
