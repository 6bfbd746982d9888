//! The brokers and the addresses they advertise.

use std::time::{Duration, Instant};

use super::Finding;
use crate::client::{Address, Cluster, Connection, Target};
use crate::failure::Outcome;

/// More than this between two machines of one site is odd.
const SLOW: Duration = Duration::from_millis(200);

const NOT_RUNNING: &str = "start the broker, or say where it is with -b HOST:PORT; a firewall or a \
    listener on another interface looks the same";
const NOT_ADVERTISED: &str = "clients are sent there after the first answer: set \
    advertised.listeners to what they can reach, or open the way";
const LOOPBACK: &str = "clients on other machines are sent to themselves: set \
    advertised.listeners to this machine's name";
const OTHER_CLUSTER: &str = "another cluster answers there: the address or a tunnel is mixed up";

/// Dials everything. Never fails itself: what fails is a finding.
pub(super) async fn look(target: Target) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reached = Vec::new();
    for address in &target.brokers {
        match dial(address, target.timeout).await {
            Ok(took) => {
                reached.push(address.clone());
                findings.push(answered("broker", address, took));
            }
            Err(failure) => {
                findings.push(Finding::failed("broker", failure.to_string(), NOT_RUNNING));
            }
        }
    }
    let Some(first) = reached.first().cloned() else { return findings };
    match advertised(&target, &first).await {
        Ok(more) => findings.extend(more),
        Err(failure) => {
            findings.push(Finding::failed("metadata", failure.to_string(), NOT_RUNNING));
        }
    }
    findings
}

/// Connects and asks for versions.
async fn dial(address: &Address, within: Duration) -> Outcome<Duration> {
    let started = Instant::now();
    Connection::open(address, within).await?;
    Ok(started.elapsed())
}

fn answered(check: &'static str, address: &Address, took: Duration) -> Finding {
    let found = format!("{address} answers in {:.1} ms", took.as_secs_f64() * 1000.0);
    if took < SLOW {
        Finding::ok(check, found)
    } else {
        Finding::warning(check, found, "slow: name resolution, the network, or a busy broker")
    }
}

/// Dials what the broker at `home` advertises of the cluster.
async fn advertised(target: &Target, home: &Address) -> Outcome<Vec<Finding>> {
    let one = |address: &Address| Target { brokers: vec![address.clone()], ..target.clone() };
    let mut cluster = Cluster::connect(one(home)).await?;
    let id = cluster.metadata(Some(&[])).await?.cluster_id;
    let mut findings = Vec::new();
    for (node, address) in cluster.nodes.clone() {
        let asked = async {
            let started = Instant::now();
            let mut there = Cluster::connect(one(&address)).await?;
            Ok((there.metadata(Some(&[])).await?.cluster_id, started.elapsed()))
        };
        findings.push(match asked.await {
            Err(failure) => {
                let failure: crate::failure::Failure = failure;
                let found = format!("broker {node} advertises {address}: {failure}");
                Finding::failed("advertised", found, NOT_ADVERTISED)
            }
            Ok((other, _)) if other != id => {
                let found = format!("broker {node} advertises {address}, which is not it");
                Finding::failed("advertised", found, OTHER_CLUSTER)
            }
            Ok(_) if is_loopback(&address) && !is_loopback(home) => {
                let found = format!("broker {node} advertises {address}");
                Finding::warning("advertised", found, LOOPBACK)
            }
            Ok((_, took)) => answered("advertised", &address, took),
        });
    }
    if findings.is_empty() {
        let found = "the cluster has no broker for clients";
        findings.push(Finding::failed("advertised", found, NOT_RUNNING));
    }
    Ok(findings)
}

fn is_loopback(address: &Address) -> bool {
    let host = address.host.as_str();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
