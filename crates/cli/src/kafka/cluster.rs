//! `kafka-cluster`.

use ottla_protocol::messages::{DescribeClusterRequest, UnregisterBrokerRequest};

use super::options::{Options, Spec};
use super::{exit, usage, with_cluster};
use crate::failure::{Failure, check};

const SPEC: Spec = Spec {
    about: "usage: kafka-cluster {cluster-id,unregister,list-endpoints} ...",
    flags: &["include-fenced-brokers"],
    values: &["bootstrap-server", "bootstrap-controller", "command-config", "config", "id"],
    optional: &[],
};

pub(super) fn main(arguments: &[String]) -> u8 {
    let arguments: Vec<_> = arguments.iter().map(|word| long(word)).collect();
    let options = match super::parse(&SPEC, &arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let wrong = |text: &str| usage(&SPEC, &format!("kafka-cluster: error: {text}"));
    let Some(command) = options.words.first() else { return wrong("too few arguments") };
    if options.has("bootstrap-controller") {
        return wrong("this command speaks with brokers: use --bootstrap-server");
    }
    if !options.has("bootstrap-server") {
        return wrong(
            "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required",
        );
    }
    match command.as_str() {
        "cluster-id" => cluster_id(&options),
        "unregister" => match options.number::<i32>("id") {
            Ok(Some(id)) => unregister(&options, id),
            Ok(None) => wrong("argument --id/-i is required"),
            Err(error) => wrong(&error),
        },
        "list-endpoints" => list_endpoints(&options),
        other => wrong(&format!(
            "invalid choice: '{other}' (choose from cluster-id, unregister, list-endpoints)"
        )),
    }
}

/// The long name of a short option.
fn long(word: &str) -> String {
    match word {
        "-b" => "--bootstrap-server",
        "-C" => "--bootstrap-controller",
        "-c" => "--config",
        "-i" => "--id",
        "-h" => "--help",
        other => other,
    }
    .to_owned()
}

fn cluster_id(options: &Options) -> u8 {
    exit(with_cluster(options, async |cluster, out| {
        match cluster.metadata(Some(&[])).await?.cluster_id {
            Some(id) => out.line(&format!("Cluster ID: {id}")),
            None => out.line("No cluster ID found. The Kafka version is probably too old."),
        }
    }))
}

fn unregister(options: &Options, id: i32) -> u8 {
    exit(with_cluster(options, async |cluster, out| {
        let request = UnregisterBrokerRequest { broker_id: id, ..Default::default() };
        let answer = cluster.controller(&request, i16::MAX).await?;
        check(format_args!("broker {id}"), answer.error_code, answer.error_message.as_deref())?;
        out.line(&format!("Broker {id} is no longer registered."))
    }))
}

fn list_endpoints(options: &Options) -> u8 {
    let fenced = options.has("include-fenced-brokers");
    exit(with_cluster(options, async |cluster, out| {
        let request =
            DescribeClusterRequest { include_fenced_brokers: fenced, ..Default::default() };
        let answer = cluster.any(&request).await?;
        check("DescribeCluster", answer.error_code, answer.error_message.as_deref())?;
        let width = |texts: &mut dyn Iterator<Item = usize>, least: usize| {
            texts.max().unwrap_or(0).max(least)
        };
        let host = width(&mut answer.brokers.iter().map(|b| b.host.len()), 9);
        let rack = |rack: Option<&str>| rack.map_or_else(|| "null".to_owned(), str::to_owned);
        let racks = width(&mut answer.brokers.iter().map(|b| rack(b.rack.as_deref()).len()), 10);
        let mut line = |cells: [&str; 6]| {
            let [id, name, port, rack, state, kind] = cells;
            out.line(&format!(
                "{id:<10} {name:<host$} {port:<10} {rack:<racks$} {state:<10} {kind:<15}"
            ))
        };
        line(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"])?;
        for broker in &answer.brokers {
            let state = if broker.is_fenced { "fenced" } else { "unfenced" };
            let (id, port) = (broker.broker_id.to_string(), broker.port.to_string());
            let rack = rack(broker.rack.as_deref());
            line([&id, &broker.host, &port, &rack, state, "broker"])?;
        }
        Ok::<(), Failure>(())
    }))
}
