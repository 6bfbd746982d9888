//! `ottla txn`: transactions, and what holds a partition back.

use std::collections::BTreeMap;

use clap::{Args as ClapArgs, Subcommand};
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::describe_producers_request::TopicRequest;
use ottla_protocol::messages::describe_producers_response::ProducerState;
use ottla_protocol::messages::describe_transactions_response::TransactionState;
use ottla_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use ottla_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};
use serde_json::{Value, json};

use super::group::reset::Scope;
use super::{Common, run as with_cluster};
use crate::client::offsets::by_topic;
use crate::client::{Cluster, Coordinator, TopicPartition};
use crate::failure::{Failure, Outcome, check};
use crate::output::Out;
use crate::time::{now_millis, show_duration, show_millis};

const EXAMPLES: &str = "A consumer with isolation.level=read_committed reads up to the first open
transaction of a partition. `producers` shows who that is, since when, and when its coordinator
will abort it. A transaction that its coordinator does not know of (any more) hangs: nobody
will end it but `abort`. Examples:
  ottla txn list
  ottla txn list --hanging
  ottla txn producers orders:0
  ottla txn describe orders-writer-1
  ottla txn abort orders:0 --start-offset 4711";

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TxnArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List transactional ids, or transactions that hang
    List {
        /// Only those in this state, such as Ongoing
        #[arg(short, long, conflicts_with = "hanging")]
        state: Option<String>,
        /// Transactions open in a partition that no coordinator will end
        #[arg(long)]
        hanging: bool,
        /// With --hanging: the topics to look at, all if not given
        #[arg(short, long = "topic", value_name = "TOPIC", requires = "hanging")]
        topics: Vec<String>,
    },
    /// Show transactions by their transactional ids
    Describe {
        /// The transactional ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Show who writes to partitions, and which open transaction holds one back
    Producers {
        /// A topic, or some of its partitions
        #[arg(required = true, value_name = "TOPIC[:0,1]")]
        topics: Vec<Scope>,
    },
    /// Abort a transaction that hangs in a partition
    ///
    /// Writes the abort marker to the one partition, as the coordinator would have done.
    Abort {
        /// The partition
        #[arg(value_name = "TOPIC:PARTITION")]
        partition: Scope,
        /// The first offset of the transaction, as `ottla txn list --hanging` shows it
        #[arg(long, value_name = "OFFSET")]
        start_offset: i64,
    },
}

/// A producer of a partition, with the transaction that it belongs to.
#[derive(Debug)]
struct Found {
    partition: TopicPartition,
    producer: ProducerState,
    /// Of the open transaction: its transactional id, if a coordinator knows one.
    transaction: Option<TransactionState>,
}

pub(crate) fn run(args: TxnArgs) -> Outcome {
    with_cluster(&args.common, async |cluster, out| match args.command {
        Command::List { hanging: true, topics, .. } => hanging(&topics, cluster, out).await,
        Command::List { state, .. } => list(state, cluster, out).await,
        Command::Describe { ids } => describe(&ids, cluster, out).await,
        Command::Producers { topics } => producers(&topics, cluster, out).await,
        Command::Abort { partition, start_offset } => {
            abort(&partition, start_offset, cluster, out).await
        }
    })
}

async fn list(state: Option<String>, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let rows = list_all(cluster, state, Vec::new()).await?.into_iter().map(|(broker, found)| {
        json!({
            "transactional_id": &*found.transactional_id,
            "coordinator": broker,
            "producer_id": found.producer_id,
            "state": &*found.transaction_state,
        })
    });
    out.rows(&["transactional_id", "coordinator", "producer_id", "state"], rows.collect())
}

/// What every coordinator knows, with the coordinator's id.
async fn list_all(
    cluster: &mut Cluster,
    state: Option<String>,
    producers: Vec<i64>,
) -> Outcome<Vec<(i32, ListedTransaction)>> {
    let ids: Vec<i32> = cluster.nodes.keys().copied().collect();
    let request = ListTransactionsRequest {
        state_filters: state.iter().map(|state| state.as_str().into()).collect(),
        producer_id_filters: producers,
        ..Default::default()
    };
    let mut all = Vec::new();
    for id in ids {
        let deadline = cluster.deadline();
        let answer = crate::client::until(deadline, async || {
            let answer = cluster.broker(id, &request, i16::MAX).await?;
            check(format_args!("ListTransactions at broker {id}"), answer.error_code, None)?;
            Ok(answer)
        });
        let answer = answer.await?;
        if let (Some(state), false) = (&state, answer.unknown_state_filters.is_empty()) {
            return Err(Failure::Usage(format!(
                "{state} is no state of a transaction: Empty, Ongoing, PrepareCommit, \
                 PrepareAbort, CompleteCommit, CompleteAbort are"
            )));
        }
        all.extend(answer.transaction_states.into_iter().map(|found| (id, found)));
    }
    all.sort_by(|a, b| a.1.transactional_id.cmp(&b.1.transactional_id));
    Ok(all)
}

async fn describe(ids: &[String], cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let mut rows = Vec::new();
    for id in ids {
        let found = describe_one(cluster, id).await?;
        let partitions: Vec<_> = found
            .topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|index| format!("{}:{index}", topic.topic))
            })
            .collect();
        rows.push(json!({
            "transactional_id": id,
            "state": &*found.transaction_state,
            "producer_id": found.producer_id,
            "epoch": found.producer_epoch,
            "timeout": show_duration(found.transaction_timeout_ms.into()),
            "since": since(&found),
            "until": until(&found),
            "partitions": partitions,
        }));
    }
    let columns = [
        "transactional_id",
        "state",
        "producer_id",
        "epoch",
        "timeout",
        "since",
        "until",
        "partitions",
    ];
    out.rows(&columns, rows)
}

fn since(found: &TransactionState) -> Option<String> {
    let start = found.transaction_start_time_ms;
    (start >= 0).then(|| show_millis(start))
}

/// When the coordinator will abort the transaction by itself.
fn until(found: &TransactionState) -> Option<String> {
    let start = found.transaction_start_time_ms;
    (start >= 0).then(|| show_millis(start + i64::from(found.transaction_timeout_ms)))
}

async fn describe_one(cluster: &mut Cluster, id: &str) -> Outcome<TransactionState> {
    let request =
        DescribeTransactionsRequest { transactional_ids: vec![id.into()], ..Default::default() };
    let place = (Coordinator::Transaction, id);
    let code = |answer: &ottla_protocol::messages::DescribeTransactionsResponse| {
        answer.transaction_states.first().map_or(0, |state| state.error_code)
    };
    let answer = cluster.coordinated(place, &request, i16::MAX, code).await?;
    let found = answer.transaction_states.into_iter().next();
    let found = found.ok_or_else(|| Failure::NotFound(format!("no transactional id {id}")))?;
    check(format_args!("transactional id {id}"), found.error_code, None)?;
    Ok(found)
}

async fn producers(scopes: &[Scope], cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let partitions = super::group::reset::partitions(cluster, "", scopes).await?;
    let rows = find(cluster, &partitions, false).await?;
    let columns = [
        "topic",
        "partition",
        "producer_id",
        "epoch",
        "last_sequence",
        "last_write",
        "start_offset",
        "transactional_id",
        "since",
        "until",
    ];
    out.rows(&columns, rows.iter().map(row).collect())
}

fn row(found: &Found) -> Value {
    let producer = &found.producer;
    let open = producer.current_txn_start_offset;
    json!({
        "topic": found.partition.topic,
        "partition": found.partition.partition,
        "producer_id": producer.producer_id,
        "epoch": producer.producer_epoch,
        "last_sequence": producer.last_sequence,
        "last_write": show_millis(producer.last_timestamp),
        "start_offset": (open >= 0).then_some(open),
        "transactional_id": found.transaction.as_ref().map(|txn| txn.transactional_id.to_string()),
        "since": found.transaction.as_ref().and_then(since),
        "until": found.transaction.as_ref().and_then(until),
    })
}

/// The producers of partitions; with `open`, only those inside a transaction.
async fn find(
    cluster: &mut Cluster,
    partitions: &[TopicPartition],
    open: bool,
) -> Outcome<Vec<Found>> {
    let mut found = Vec::new();
    for (leader, partitions) in cluster.leaders(partitions).await? {
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())));
        let topic = |(name, parts): (&str, Vec<(i32, ())>)| TopicRequest {
            name: name.into(),
            partition_indexes: parts.into_iter().map(|(index, ())| index).collect(),
            ..Default::default()
        };
        let request = DescribeProducersRequest {
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let answer = cluster.broker(leader, &request, i16::MAX).await?;
        for topic in answer.topics {
            for part in topic.partitions {
                let partition = TopicPartition::new(&*topic.name, part.partition_index);
                let message = part.error_message.as_deref();
                check(format_args!("producers of {partition}"), part.error_code, message)?;
                for producer in part.active_producers {
                    if open && producer.current_txn_start_offset < 0 {
                        continue;
                    }
                    let partition = partition.clone();
                    found.push(Found { partition, producer, transaction: None });
                }
            }
        }
    }
    name_transactions(cluster, &mut found).await?;
    found.sort_by(|a, b| {
        (&a.partition, a.producer.producer_id).cmp(&(&b.partition, b.producer.producer_id))
    });
    Ok(found)
}

/// Finds out which transactional ids the open transactions belong to.
async fn name_transactions(cluster: &mut Cluster, found: &mut [Found]) -> Outcome {
    let open = |found: &Found| found.producer.current_txn_start_offset >= 0;
    let mut ids: Vec<i64> =
        found.iter().filter(|f| open(f)).map(|f| f.producer.producer_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    let mut transactions = BTreeMap::new();
    for (_, listed) in list_all(cluster, None, ids).await? {
        match describe_one(cluster, &listed.transactional_id).await {
            Ok(state) => {
                transactions.insert(listed.producer_id, state);
            }
            // It ended in the meantime.
            Err(failure) if failure.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(failure) => return Err(failure),
        }
    }
    for one in found.iter_mut().filter(|found| open(found)) {
        one.transaction = transactions.get(&one.producer.producer_id).cloned();
    }
    Ok(())
}

async fn hanging(topics: &[String], cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let topics = if topics.is_empty() {
        let all = cluster.all_topics().await?;
        all.iter().filter_map(|topic| topic.name.as_ref().map(ToString::to_string)).collect()
    } else {
        topics.to_vec()
    };
    let partitions = cluster.partitions_of(&topics).await?;
    let open = find(cluster, &partitions, true).await?;
    let rows = open.iter().filter(|found| hangs(found)).map(row).collect();
    let columns = [
        "topic",
        "partition",
        "producer_id",
        "epoch",
        "start_offset",
        "last_write",
        "transactional_id",
    ];
    out.rows(&columns, rows)
}

/// Whether no coordinator will end an open transaction: none knows its producer, or the one that does
/// has no transaction with this partition open.
fn hangs(found: &Found) -> bool {
    let Some(transaction) = &found.transaction else { return true };
    let epoch = i32::from(transaction.producer_epoch);
    let here = transaction.topics.iter().any(|topic| {
        *topic.topic == *found.partition.topic
            && topic.partitions.contains(&found.partition.partition)
    });
    let ending = matches!(&*transaction.transaction_state, "PrepareCommit" | "PrepareAbort");
    let ongoing =
        &*transaction.transaction_state == "Ongoing" && epoch >= found.producer.producer_epoch;
    !(here && (ongoing || ending))
}

async fn abort(scope: &Scope, start_offset: i64, cluster: &mut Cluster, out: &mut Out) -> Outcome {
    let partition = scope
        .one()
        .ok_or_else(|| Failure::Usage("one partition is expected, such as orders:0".to_owned()))?;
    let open = find(cluster, std::slice::from_ref(&partition), true).await?;
    let found = open.iter().find(|found| found.producer.current_txn_start_offset == start_offset);
    let found = found.ok_or_else(|| {
        Failure::NotFound(format!(
            "{partition} has no open transaction that began at {start_offset}; \
             `ottla txn producers {}:{}` shows what it has",
            partition.topic, partition.partition
        ))
    })?;
    if !hangs(found) {
        let id = found.transaction.as_ref().map(|txn| txn.transactional_id.to_string());
        return Err(Failure::Failed(format!(
            "the transaction belongs to {} and does not hang: its coordinator ends it by {}",
            id.unwrap_or_default(),
            found.transaction.as_ref().and_then(until).unwrap_or_default()
        )));
    }
    write_abort(cluster, found).await?;
    let value = json!({
        "topic": partition.topic,
        "partition": partition.partition,
        "producer_id": found.producer.producer_id,
        "start_offset": start_offset,
        "aborted": show_millis(now_millis()),
    });
    out.report(&value, || {
        format!(
            "Aborted the transaction of producer {} in {partition}.",
            found.producer.producer_id
        )
    })
}

/// Writes the marker that the coordinator did not.
async fn write_abort(cluster: &mut Cluster, found: &Found) -> Outcome {
    let (partition, producer) = (&found.partition, &found.producer);
    let epoch = i16::try_from(producer.producer_epoch)
        .map_err(|_| Failure::Failed(format!("epoch {} is none", producer.producer_epoch)))?;
    let request = WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.producer_id,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: partition.topic.as_str().into(),
                partition_indexes: vec![partition.partition],
                ..Default::default()
            }],
            coordinator_epoch: producer.coordinator_epoch.max(0),
            ..Default::default()
        }],
        ..Default::default()
    };
    let leaders = cluster.leaders(std::slice::from_ref(partition)).await?;
    for leader in leaders.into_keys() {
        let answer = cluster.broker(leader, &request, i16::MAX).await?;
        for marker in &answer.markers {
            for part in marker.topics.iter().flat_map(|topic| &topic.partitions) {
                check(format_args!("aborting in {partition}"), part.error_code, None)?;
            }
        }
    }
    Ok(())
}
