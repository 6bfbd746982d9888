//! `ottla topic delete`.

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::DeleteTopicsRequest;
use serde_json::json;

use crate::client::{Cluster, no_topic};
use crate::failure::{Outcome, check};
use crate::output::Out;
use crate::tool::first_of;

/// The last version with a list of names.
const DELETE_MAX: i16 = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Succeed if a topic is not there
    #[arg(long)]
    if_exists: bool,
}

pub(crate) async fn run(args: &Args, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for (topic, done) in delete(cluster, &args.topics).await? {
        let missing = done
            .as_ref()
            .is_err_and(|error| error.code() == Some(ErrorCode::UnknownTopicOrPartition));
        match done {
            Ok(()) => rows.push(json!({"topic": topic, "state": "deleted"})),
            Err(_) if missing && args.if_exists => {
                rows.push(json!({"topic": topic, "state": "not there"}));
            }
            Err(_) if missing => failures.push(no_topic(&topic)),
            Err(failure) => failures.push(failure),
        }
    }
    if !rows.is_empty() {
        out.rows(&["topic", "state"], rows)?;
    }
    first_of(failures)
}

/// Deletes topics; what became of each.
pub(crate) async fn delete(
    cluster: &mut Cluster,
    topics: &[String],
) -> Outcome<Vec<(String, Outcome)>> {
    let request = DeleteTopicsRequest {
        topic_names: topics.iter().map(|topic| topic.as_str().into()).collect(),
        timeout_ms: cluster.timeout_ms(),
        ..Default::default()
    };
    let answer = cluster.controller(&request, DELETE_MAX).await?;
    let each = answer.responses.iter().map(|result| {
        let name = result.name.as_deref().unwrap_or_default();
        let what = format_args!("topic {name}");
        (name.to_owned(), check(what, result.error_code, result.error_message.as_deref()))
    });
    Ok(each.collect())
}
