//! Client quotas: which keys an entity may have and which values (KIP-546, KIP-599, KIP-612).

use crate::def::Default::Is;
use crate::def::{KeyDef, Type, Valid};
use crate::error::AlterError;

/// What a quota is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QuotaEntity {
    /// A user, a client id, or both.
    UserOrClient,
    /// An address.
    Ip,
}

const USER_OR_CLIENT: &[KeyDef] = &[
    KeyDef::long(
        "producer_byte_rate",
        Is("9223372036854775807"),
        "Bytes per second a client may produce to one broker before its answers are held back.",
    )
    .per_resource()
    .read(),
    KeyDef::long(
        "consumer_byte_rate",
        Is("9223372036854775807"),
        "Bytes per second a client may fetch from one broker before its answers are held back.",
    )
    .per_resource()
    .read(),
    KeyDef::double(
        "request_percentage",
        Is("2.147483647E9"),
        "Share of handler time a client may use on one broker, in percent of one thread.",
    )
    .per_resource()
    .read(),
    KeyDef::double(
        "controller_mutation_rate",
        Is("2.147483647E9"),
        "Partitions per second a client may create or delete.",
    )
    .per_resource()
    .read(),
];

const IP: &[KeyDef] = &[KeyDef::int(
    "connection_creation_rate",
    Is("2147483647"),
    "Connections per second an address may open to one broker.",
)
.valid(Valid::AtLeast(0))
.per_resource()
.read()];

impl QuotaEntity {
    /// The rows of its quotas.
    pub const fn keys(self) -> &'static [KeyDef] {
        match self {
            Self::UserOrClient => USER_OR_CLIENT,
            Self::Ip => IP,
        }
    }

    /// Checks a quota to be set.
    ///
    /// # Errors
    /// `InvalidRequest` for a key the entity has not, and for values that are not positive, are
    /// fractions where whole numbers are expected, or are too large.
    pub fn validate(self, key: &str, value: f64) -> Result<(), AlterError> {
        const FRACTION_MAX: f64 = 1e-6;
        let refuse = |allowed: String| {
            Err(AlterError::InvalidRequest(format!("{key}={value}: {allowed} is expected")))
        };
        let Some(row) = self.keys().iter().find(|row| row.name == key) else {
            let names: Vec<&str> = self.keys().iter().map(|row| row.name).collect();
            return Err(AlterError::InvalidRequest(format!(
                "{key} is not a quota of this entity; it has {}",
                names.join(", ")
            )));
        };
        if value.is_nan() || value <= 0.0 {
            return refuse("a number above 0".to_owned());
        }
        let max = match row.ty {
            Type::Double => return Ok(()),
            Type::Int => f64::from(i32::MAX),
            _ => i64::MAX as f64,
        };
        if value > max || (value % 1.0).abs() > FRACTION_MAX {
            return refuse(format!("a whole number up to {max:.0}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_kafka_says() {
        let text = include_str!("../testdata/quota-configs.json");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        for (entity, name) in
            [(QuotaEntity::UserOrClient, "user_and_client_quota"), (QuotaEntity::Ip, "ip_quota")]
        {
            let facts = json[name].as_object().unwrap();
            assert_eq!(facts.len(), entity.keys().len());
            for row in entity.keys() {
                let fact = &facts[row.name];
                assert_eq!(fact["type"].as_str(), Some(row.ty.name()), "{}", row.name);
                assert_eq!(fact["default"].as_str(), row.default.text(), "{}", row.name);
                let valid = fact["valid"].as_str().unwrap_or("");
                assert_eq!(valid, row.valid.to_string(), "{}", row.name);
            }
        }
    }

    #[test]
    fn quotas_are_positive_and_whole_where_they_count_things() {
        use QuotaEntity::{Ip, UserOrClient};
        for (entity, key, value, accepted) in [
            (UserOrClient, "producer_byte_rate", 1024.0, true),
            (UserOrClient, "producer_byte_rate", 0.5, false),
            (UserOrClient, "producer_byte_rate", 0.0, false),
            (UserOrClient, "consumer_byte_rate", -1.0, false),
            (UserOrClient, "consumer_byte_rate", f64::NAN, false),
            (UserOrClient, "request_percentage", 0.5, true),
            (UserOrClient, "connection_creation_rate", 1.0, false),
            (Ip, "connection_creation_rate", 1.0, true),
            (Ip, "connection_creation_rate", 3e9, false),
            (Ip, "producer_byte_rate", 1.0, false),
        ] {
            let got = entity.validate(key, value);
            assert_eq!(got.is_ok(), accepted, "{entity:?} {key}={value}: {got:?}");
        }
    }
}
