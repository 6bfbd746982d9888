//! DescribeClientQuotas (KIP-546): the quotas that match a filter.

use std::collections::BTreeMap;

use ottla_metadata::{Image, QuotaEntity};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_client_quotas_request::ComponentData;
use ottla_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use ottla_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::{Handler, Operation, Reply, Rule};
use crate::context::Context;

/// The DescribeClientQuotas API.
pub(super) struct DescribeClientQuotas;

impl Handler for DescribeClientQuotas {
    type Request = DescribeClientQuotasRequest;
    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
    const RULE: Rule = Rule::Cluster(Operation::DescribeConfigs);

    fn handle(
        ctx: &Context<'_>,
        request: DescribeClientQuotasRequest,
    ) -> Reply<DescribeClientQuotasResponse> {
        Reply::Now(match filter(&request.components) {
            Ok(filter) => DescribeClientQuotasResponse {
                error_message: None,
                entries: Some(find(&ctx.image, &filter, request.strict)),
                ..DescribeClientQuotasResponse::default()
            },
            Err((error, message)) => DescribeClientQuotasResponse {
                error_code: error.code(),
                error_message: Some(message.into()),
                entries: None,
                ..DescribeClientQuotasResponse::default()
            },
        })
    }
}

/// What an entity type's name must be.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    Exactly(String),
    Default,
    Any,
}

type Filter = BTreeMap<String, Match>;

fn filter(components: &[ComponentData]) -> Result<Filter, (ErrorCode, String)> {
    let mut filter = Filter::new();
    for component in components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return Err((ErrorCode::InvalidRequest, "an entity type is empty".to_owned()));
        }
        if filter.contains_key(kind) {
            let message = format!("the filter names the entity type {kind:?} more than once");
            return Err((ErrorCode::InvalidRequest, message));
        }
        if !matches!(kind, "user" | "client-id" | "ip") {
            let message = format!("there is no entity type {kind:?}: user, client-id and ip are");
            return Err((ErrorCode::UnsupportedVersion, message));
        }
        let wanted = match (component.match_type, component.match_.as_deref()) {
            (0, Some(name)) => Match::Exactly(name.to_owned()),
            (1, None) => Match::Default,
            (2, None) => Match::Any,
            (kind @ 0..=2, _) => {
                let message = if kind == 0 {
                    "an exact match needs a name"
                } else {
                    "only an exact match has a name"
                };
                return Err((ErrorCode::InvalidRequest, message.to_owned()));
            }
            (kind, _) => {
                return Err((ErrorCode::InvalidRequest, format!("there is no match type {kind}")));
            }
        };
        filter.insert(kind.to_owned(), wanted);
    }
    if filter.contains_key("ip") && filter.len() > 1 {
        let message = "an ip cannot be combined with a user or client-id".to_owned();
        return Err((ErrorCode::InvalidRequest, message));
    }
    Ok(filter)
}

fn find(image: &Image, filter: &Filter, strict: bool) -> Vec<EntryData> {
    let found = image.quotas().filter(|(entity, _)| matches(entity, filter, strict));
    let entry = |(entity, values): (&QuotaEntity, &BTreeMap<String, f64>)| {
        let part = |(kind, name): (&String, &Option<String>)| EntityData {
            entity_type: kind.as_str().into(),
            entity_name: name.as_deref().map(Into::into),
            ..EntityData::default()
        };
        let value = |(key, value): (&String, &f64)| ValueData {
            key: key.as_str().into(),
            value: *value,
            ..ValueData::default()
        };
        EntryData {
            entity: entity.0.iter().map(part).collect(),
            values: values.iter().map(value).collect(),
            ..EntryData::default()
        }
    };
    found.map(entry).collect()
}

/// Every component must match; `strict` says that the entity has no other parts.
fn matches(entity: &QuotaEntity, filter: &Filter, strict: bool) -> bool {
    let part = |(kind, wanted): (&String, &Match)| {
        entity.0.get(kind).is_some_and(|name| match wanted {
            Match::Exactly(wanted) => name.as_ref() == Some(wanted),
            Match::Default => name.is_none(),
            Match::Any => true,
        })
    };
    filter.iter().all(part) && (!strict || entity.0.len() == filter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        ComponentData {
            entity_type: kind.into(),
            match_type,
            match_: name.map(Into::into),
            ..ComponentData::default()
        }
    }

    fn entity(parts: &[(&str, Option<&str>)]) -> QuotaEntity {
        let part =
            |(kind, name): &(&str, Option<&str>)| ((*kind).to_owned(), name.map(ToOwned::to_owned));
        QuotaEntity(parts.iter().map(part).collect())
    }

    #[test]
    fn a_filter_must_make_sense() {
        use ErrorCode::{InvalidRequest, UnsupportedVersion};
        for (components, want) in [
            (vec![component("", 0, Some("a"))], InvalidRequest),
            (vec![component("user", 2, None), component("user", 2, None)], InvalidRequest),
            (vec![component("team", 2, None)], UnsupportedVersion),
            (vec![component("user", 0, None)], InvalidRequest),
            (vec![component("user", 1, Some("a"))], InvalidRequest),
            (vec![component("user", 2, Some("a"))], InvalidRequest),
            (vec![component("user", 3, None)], InvalidRequest),
            (vec![component("ip", 2, None), component("user", 2, None)], InvalidRequest),
        ] {
            assert_eq!(
                filter(&components).map_err(|(error, _)| error),
                Err(want),
                "{components:?}"
            );
        }
    }

    #[test]
    fn a_strict_filter_takes_no_entity_with_more_parts() {
        let alice = entity(&[("user", Some("alice"))]);
        let alices_app = entity(&[("user", Some("alice")), ("client-id", Some("app"))]);
        let default = entity(&[("user", None)]);
        for (components, strict, want) in [
            (vec![], false, [true, true, true]),
            (vec![], true, [false, false, false]),
            (vec![component("user", 0, Some("alice"))], false, [true, true, false]),
            (vec![component("user", 0, Some("alice"))], true, [true, false, false]),
            (vec![component("user", 1, None)], false, [false, false, true]),
            (vec![component("user", 2, None)], false, [true, true, true]),
            (vec![component("client-id", 2, None)], false, [false, true, false]),
        ] {
            let filter = filter(&components).unwrap();
            let got = [&alice, &alices_app, &default].map(|e| matches(e, &filter, strict));
            assert_eq!(got, want, "{components:?} strict {strict}");
        }
    }
}
