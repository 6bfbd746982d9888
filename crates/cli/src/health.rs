//! `ottla health`: what a client does first, as a check.

use std::time::Duration;

use ottla_net::client::{Client, ClientOptions};
use ottla_protocol::frame::{decode_response, encode_request};
use ottla_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use ottla_protocol::{ErrorCode, codec::Request};

use crate::args::HealthArgs;
use crate::text;

/// Versions that every broker of the last years answers.
const API_VERSIONS: i16 = 0;
const METADATA: i16 = 1;

pub(crate) fn run(args: &HealthArgs) -> Result<(), String> {
    let (host, port) = host_port(&args.bootstrap_server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let timeout = Duration::from_millis(args.timeout_ms);
    let line = runtime.map_err(text)?.block_on(async {
        let asked = ask(&host, port, timeout);
        let late = |_| format!("{} did not answer within {timeout:?}", args.bootstrap_server);
        tokio::time::timeout(timeout, asked).await.map_err(late)?
    })?;
    println!("{line}");
    Ok(())
}

async fn ask(host: &str, port: u16, timeout: Duration) -> Result<String, String> {
    let options = ClientOptions {
        connect_timeout: timeout,
        request_timeout: timeout,
        ..ClientOptions::default()
    };
    let mut client = Client::connect(host, port, options).await.map_err(text)?;
    let versions = call(&mut client, API_VERSIONS, &ApiVersionsRequest::default()).await?;
    refuse("ApiVersions", versions.error_code)?;
    let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let metadata = call(&mut client, METADATA, &request).await?;
    match metadata.brokers.len() {
        0 => Err("it answers, but no broker of the cluster serves clients".to_owned()),
        count => Ok(format!("serving: {count} broker(s), controller {}", metadata.controller_id)),
    }
}

async fn call<R: Request>(
    client: &mut Client,
    version: i16,
    request: &R,
) -> Result<R::Response, String> {
    let name = R::NAME;
    let encoded = encode_request(version, 1, None, request).map_err(text)?;
    let bytes = encoded.bytes;
    // The client writes the size itself.
    let answer = client.request(bytes.get(4..).unwrap_or_default()).await.map_err(text)?;
    let (_, response) = decode_response::<R>(answer, version)
        .map_err(|error| format!("the answer to {name} is no Kafka broker's: {error}"))?;
    Ok(response)
}

fn refuse(name: &str, code: i16) -> Result<(), String> {
    match code {
        0 => Ok(()),
        code => match ErrorCode::from_code(code) {
            Some(code) => Err(format!("{name} is refused: {code}")),
            None => Err(format!("{name} is refused with error {code}")),
        },
    }
}

fn host_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
    });
    parsed.ok_or_else(|| format!("{text} is no address: HOST:PORT is expected"))
}
