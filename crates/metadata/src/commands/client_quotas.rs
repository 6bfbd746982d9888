//! AlterClientQuotas (KIP-546).

use std::net::IpAddr;

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::alter_client_quotas_request::EntryData;
use ottla_protocol::messages::alter_client_quotas_response as response;
use ottla_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::{Env, Run};
use crate::command::ApiError;
use crate::image::QuotaEntity;
use crate::record::VersionedRecord;

impl Run for AlterClientQuotasRequest {
    type Response = AlterClientQuotasResponse;

    fn run(&self, env: &mut Env<'_, '_>) -> (Vec<VersionedRecord>, AlterClientQuotasResponse) {
        let mut records = Vec::new();
        let mut entries = Vec::new();
        for entry in &self.entries {
            let part =
                |part: &ottla_protocol::messages::alter_client_quotas_request::EntityData| {
                    let (entity_type, entity_name) =
                        (part.entity_type.clone(), part.entity_name.clone());
                    response::EntityData { entity_type, entity_name, ..Default::default() }
                };
            let mut answer = response::EntryData {
                error_message: None,
                entity: entry.entity.iter().map(part).collect(),
                ..Default::default()
            };
            match alter(env, entry) {
                Ok(mut altered) => records.append(&mut altered),
                Err(error) => {
                    answer.error_code = error.code.code();
                    answer.error_message = error.text();
                }
            }
            entries.push(answer);
        }
        if self.validate_only {
            records.clear();
        }
        (records, AlterClientQuotasResponse { entries, ..Default::default() })
    }
}

fn invalid(message: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

fn alter(env: &Env<'_, '_>, entry: &EntryData) -> Result<Vec<VersionedRecord>, ApiError> {
    let (entity, kind) = entity(entry)?;
    let now = env.image.quota(&entity);
    let mut records = Vec::new();
    for op in &entry.ops {
        let known = now.and_then(|quotas| quotas.get(&*op.key)).copied();
        let wanted = (!op.remove).then_some(op.value);
        match wanted {
            Some(value) => kind.validate(&op.key, value)?,
            None if kind.keys().iter().all(|row| row.name != &*op.key) => {
                return Err(invalid(format!("{} is not a quota of this entity", op.key)));
            }
            None => {}
        }
        if known != wanted {
            records.push(VersionedRecord::v0(entity.to_record(&op.key, wanted)));
        }
    }
    Ok(records)
}

/// User, client id, both, or an address alone; a missing name is the default of the type.
fn entity(entry: &EntryData) -> Result<(QuotaEntity, ottla_config::QuotaEntity), ApiError> {
    let mut entity = QuotaEntity::default();
    for part in &entry.entity {
        let (kind, name) = (&*part.entity_type, part.entity_name.as_deref());
        if !matches!(kind, "user" | "client-id" | "ip") {
            return Err(invalid(format!(
                "quotas are for user, client-id and ip, not for {kind:?}"
            )));
        }
        if name == Some("") {
            return Err(invalid(format!(
                "the name of the {kind} is empty; leave it out for the default"
            )));
        }
        if entity.0.insert(kind.to_owned(), name.map(str::to_owned)).is_some() {
            return Err(invalid(format!("the entity has {kind} twice")));
        }
    }
    match (entity.0.get("ip"), entity.0.len()) {
        (_, 0) => Err(invalid("the entity is empty".to_owned())),
        (None, _) => Ok((entity, ottla_config::QuotaEntity::UserOrClient)),
        (Some(name), 1) => match name {
            // Names would have to be resolved, and mean another address tomorrow.
            Some(name) if name.parse::<IpAddr>().is_err() => {
                Err(invalid(format!("{name:?} is not an IP address")))
            }
            _ => Ok((entity, ottla_config::QuotaEntity::Ip)),
        },
        (Some(_), _) => Err(invalid("ip cannot be combined with other entity types".to_owned())),
    }
}
