//! Which quota a client is under: the quotas of the metadata image, looked up in Kafka's order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ottla_metadata::{Image, QuotaEntity};

/// What a client quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Bytes of Produce requests per second.
    Produce,
    /// Bytes of Fetch responses per second.
    Fetch,
    /// Time in handlers, in percent of one thread.
    Request,
    /// Partitions created and deleted per second.
    Mutation,
}

impl Quota {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Produce, Self::Fetch, Self::Request, Self::Mutation];

    /// The quota's key.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::Mutation => "controller_mutation_rate",
        }
    }

    /// The name that Kafka's metrics have for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Fetch => "Fetch",
            Self::Request => "Request",
            Self::Mutation => "ControllerMutation",
        }
    }
}

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    /// The principal's name.
    pub user: &'a str,
    /// `client.id`; empty for none, to which no quota of clients applies.
    pub client: &'a str,
}

/// What shares one quota: a user, a client id, or a client id of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sharing {
    /// Requests of one user.
    pub user: bool,
    /// Requests with one client id.
    pub client: bool,
}

type Values = [Option<f64>; Quota::ALL.len()];

/// The quotas of one user, of other users, or of anybody.
#[derive(Debug, Default, PartialEq)]
struct Level {
    own: Values,
    clients: BTreeMap<String, Values>,
    default_client: Values,
}

/// All quotas of an image.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    users: BTreeMap<String, Level>,
    default_user: Level,
    anybody: Level,
    /// Connections per second by address.
    pub(crate) ips: BTreeMap<IpAddr, f64>,
    /// Of addresses without a quota of their own.
    pub(crate) default_ip: Option<f64>,
}

impl Limits {
    /// The quotas of an image.
    pub(crate) fn of(image: &Image) -> Self {
        let mut limits = Self::default();
        for (entity, values) in image.quotas() {
            limits.add(entity, values);
        }
        limits
    }

    /// The quotas that are set for anybody, as bits by number.
    pub(crate) fn set(&self) -> u8 {
        let levels = self.users.values().chain([&self.default_user, &self.anybody]);
        let values = levels
            .flat_map(|level| level.clients.values().chain([&level.own, &level.default_client]));
        let bits = values.flat_map(|values| {
            values.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(bit, _)| 1 << bit)
        });
        bits.fold(0, |all, bit: u8| all | bit)
    }

    /// The quota that applies, and who shares it: the closest one, as Kafka looks them up.
    pub(crate) fn find(&self, quota: Quota, who: Who<'_>) -> Option<(Sharing, f64)> {
        let user = self.users.get(who.user).and_then(|level| level.find(quota, who.client));
        let user = user.or_else(|| self.default_user.find(quota, who.client));
        let found = user.map(|(client, bound)| (Sharing { user: true, client }, bound));
        found.or_else(|| {
            let (client, bound) = self.anybody.find(quota, who.client)?;
            Some((Sharing { user: false, client }, bound))
        })
    }

    fn add(&mut self, QuotaEntity(parts): &QuotaEntity, values: &BTreeMap<String, f64>) {
        if let Some(ip) = parts.get("ip") {
            let rate = values.get("connection_creation_rate").copied();
            match (ip.as_ref().map(|ip| ip.parse::<IpAddr>()), rate) {
                (None, rate) => self.default_ip = rate,
                (Some(Ok(ip)), Some(rate)) => drop(self.ips.insert(ip.to_canonical(), rate)),
                (Some(_), _) => {}
            }
            return;
        }
        let level = match parts.get("user") {
            Some(Some(user)) => self.users.entry(user.clone()).or_default(),
            Some(None) => &mut self.default_user,
            None => &mut self.anybody,
        };
        let slot = match parts.get("client-id") {
            Some(Some(client)) => level.clients.entry(client.clone()).or_default(),
            Some(None) => &mut level.default_client,
            None => &mut level.own,
        };
        *slot = Quota::ALL.map(|quota| values.get(quota.key()).copied().filter(|v| *v > 0.0));
    }
}

impl Level {
    /// Whether the quota found is of one client id, and its value.
    fn find(&self, quota: Quota, client: &str) -> Option<(bool, f64)> {
        let of_client = match client {
            "" => None,
            client => {
                let exact = self.clients.get(client).and_then(|values| value(values, quota));
                exact.or_else(|| value(&self.default_client, quota))
            }
        };
        of_client.map(|bound| (true, bound)).or_else(|| Some((false, value(&self.own, quota)?)))
    }
}

fn value(values: &Values, quota: Quota) -> Option<f64> {
    values.get(quota as usize).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and name; no name for the default.
    type Part = (&'static str, Option<&'static str>);

    fn limits(entities: &[(&[Part], f64)]) -> Limits {
        let mut limits = Limits::default();
        for (parts, rate) in entities {
            let own = |(kind, name): &Part| ((*kind).to_owned(), name.map(str::to_owned));
            let entity = QuotaEntity(parts.iter().map(own).collect());
            limits.add(&entity, &BTreeMap::from([("producer_byte_rate".to_owned(), *rate)]));
        }
        limits
    }

    #[test]
    fn the_closest_quota_applies_in_kafkas_order() {
        const USER: (&str, Option<&str>) = ("user", Some("u"));
        const ANY_USER: (&str, Option<&str>) = ("user", None);
        const CLIENT: (&str, Option<&str>) = ("client-id", Some("c"));
        const ANY_CLIENT: (&str, Option<&str>) = ("client-id", None);
        let order: [(&[_], f64); 8] = [
            (&[USER, CLIENT], 1.0),
            (&[USER, ANY_CLIENT], 2.0),
            (&[USER], 3.0),
            (&[ANY_USER, CLIENT], 4.0),
            (&[ANY_USER, ANY_CLIENT], 5.0),
            (&[ANY_USER], 6.0),
            (&[CLIENT], 7.0),
            (&[ANY_CLIENT], 8.0),
        ];
        let find = |limits: &Limits, user, client| {
            let found = limits.find(Quota::Produce, Who { user, client });
            found.map(|(sharing, bound)| (sharing.user, sharing.client, bound))
        };
        // Without the first n, the next one applies.
        let want = [
            (true, true, 1.0),
            (true, true, 2.0),
            (true, false, 3.0),
            (true, true, 4.0),
            (true, true, 5.0),
            (true, false, 6.0),
            (false, true, 7.0),
            (false, true, 8.0),
        ];
        for (skip, want) in want.into_iter().enumerate() {
            let limits = limits(&order[skip..]);
            assert_eq!(find(&limits, "u", "c"), Some(want), "without the first {skip}");
        }
        let all = limits(&order);
        for (user, client, want) in [
            ("u", "x", Some((true, true, 2.0))),
            ("x", "c", Some((true, true, 4.0))),
            ("x", "x", Some((true, true, 5.0))),
            // Who gives no client id is under the quotas of users alone.
            ("u", "", Some((true, false, 3.0))),
            ("x", "", Some((true, false, 6.0))),
        ] {
            assert_eq!(find(&all, user, client), want, "{user:?} {client:?}");
        }
        assert_eq!(find(&limits(&order[6..]), "u", ""), None);
    }

    #[test]
    fn a_quota_of_another_kind_does_not_hide_one_further_off() {
        let mut limits = limits(&[(&[("user", None)], 6.0)]);
        let user = QuotaEntity([("user".to_owned(), Some("u".to_owned()))].into());
        limits.add(&user, &BTreeMap::from([("request_percentage".to_owned(), 1.0)]));
        let who = Who { user: "u", client: "c" };
        assert_eq!(limits.find(Quota::Produce, who).map(|(_, bound)| bound), Some(6.0));
        assert_eq!(limits.find(Quota::Request, who).map(|(_, bound)| bound), Some(1.0));
        assert_eq!(limits.find(Quota::Fetch, who), None);
        assert_eq!(limits.set(), 1 << Quota::Produce as u8 | 1 << Quota::Request as u8);
    }

    #[test]
    fn quotas_of_addresses_are_kept_apart() {
        let mut limits = Limits::default();
        let rate = |rate| BTreeMap::from([("connection_creation_rate".to_owned(), rate)]);
        for (name, value) in [(Some("::ffff:10.0.0.1"), 3.0), (None, 7.0)] {
            let entity = QuotaEntity([("ip".to_owned(), name.map(str::to_owned))].into());
            limits.add(&entity, &rate(value));
        }
        assert_eq!(limits.ips, BTreeMap::from([(IpAddr::from([10, 0, 0, 1]), 3.0)]));
        assert_eq!((limits.default_ip, limits.set()), (Some(7.0), 0));
    }
}
