//! The log and the bootstrap snapshot that Kafka 4.4.0 wrote, read and written again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use ottla_metadata::batch::{BATCH_BYTES_MAX, BatchPlace, decode_batch, encode_batches};
use ottla_metadata::snapshot::{image_records, read_image};
use ottla_metadata::{ConfigResource, Image, Loader, VersionedRecord, bootstrap};
use ottla_protocol::MetadataRecord;
use ottla_protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use ottla_protocol::records::{BatchView, WalkLimits, batches, records};

const FORMAT: &[u8] = include_bytes!("../testdata/format-4.4.0.checkpoint");
const LOG: &[u8] = include_bytes!("../testdata/single-node-4.4.0.log");

fn data_batches(file: &[u8]) -> Vec<BatchView<'_>> {
    let all: Vec<_> = batches(file).collect::<Result<_, _>>().unwrap();
    all.into_iter().filter(|batch| !batch.header().is_control()).collect()
}

fn place_of(batch: &BatchView<'_>) -> BatchPlace {
    let header = batch.header();
    let (base, epoch) = (header.base_offset, header.partition_leader_epoch);
    BatchPlace { base, epoch, timestamp: header.max_timestamp }
}

/// The records with their versions, which replaying does not need.
fn versioned(batch: &BatchView<'_>) -> Vec<VersionedRecord> {
    let limits = WalkLimits { inflated_bytes_max: 1 << 20 };
    let decode = |value: &[u8]| {
        let (record, version) = MetadataRecord::decode(value.to_vec().into()).unwrap();
        VersionedRecord { record, version }
    };
    records(batch, &limits).unwrap().map(|record| decode(&record.unwrap().value.unwrap())).collect()
}

fn load(file: &[u8]) -> Loader {
    let mut loader = Loader::default();
    for batch in batches(file) {
        let (at, records) = decode_batch(&batch.unwrap()).unwrap();
        loader.apply_batch(at, &records).unwrap();
    }
    loader
}

#[test]
fn every_data_batch_is_written_as_kafka_wrote_it() {
    for batch in data_batches(FORMAT).into_iter().chain(data_batches(LOG)) {
        let records = versioned(&batch);
        let ours = encode_batches(&records, place_of(&batch), BATCH_BYTES_MAX).unwrap();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].bytes, batch.bytes(), "at offset {}", batch.header().base_offset);
    }
}

#[test]
fn format_writes_the_feature_levels_of_kafka() {
    let [batch] = data_batches(FORMAT)[..] else { panic!("one data batch") };
    assert_eq!(bootstrap::format_records(&[]), versioned(&batch));
    let older = bootstrap::format_records(&[("metadata.version", 21), ("share.version", 0)]);
    assert_eq!(older.len(), 5, "level 0 is left out");
}

#[test]
fn the_first_activation_writes_what_kafka_writes() {
    let theirs = versioned(&data_batches(LOG)[0]);
    assert_eq!(bootstrap::activation_records(&bootstrap::format_records(&[])), theirs);
}

#[test]
fn kafkas_log_gives_the_image_of_that_cluster() {
    let loader = load(LOG);
    assert!(!loader.in_transaction());
    let image = loader.image();
    assert_eq!(image.metadata_version().name(), "4.4-IV2");
    assert_eq!(
        image.config_value(&ConfigResource::default_broker(), "min.insync.replicas"),
        Some("1")
    );
    let broker = image.broker(BrokerId(1)).unwrap();
    assert_eq!((broker.epoch, broker.fenced, broker.in_controlled_shutdown), (14, true, true));
    assert_eq!(broker.cordoned_dirs.as_deref(), Some(&[][..]));
    assert_eq!(image.controller(BrokerId(1)).unwrap().listeners[0].name, "CONTROLLER");
    let topic = image.topic("a.b").unwrap();
    assert_eq!(topic.partition_count(), 3);
    assert_eq!(image.config_value(&ConfigResource::topic("a.b"), "retention.ms"), Some("1000"));
    assert_eq!(image.colliding_topic("a_b"), Some("a.b"));
    let partition = topic.partition(PartitionIndex(2)).unwrap();
    assert_eq!(
        (partition.leader(), partition.leader_epoch, partition.partition_epoch),
        (None, LeaderEpoch(1), 1)
    );
    assert_eq!((partition.isr.as_slice(), partition.elr.as_slice()), (&[][..], &[BrokerId(1)][..]));
    assert_eq!(partition.last_known_elr, [BrokerId(1)]);
    assert_eq!(image.provenance().epoch, LeaderEpoch(1));
    assert!(image.provenance().timestamp > Timestamp(1_700_000_000_000));
}

#[test]
fn a_snapshot_gives_the_same_image_after_every_batch() {
    let mut loader = Loader::default();
    for batch in batches(LOG) {
        let (at, records) = decode_batch(&batch.unwrap()).unwrap();
        loader.apply_batch(at, &records).unwrap();
        let written = image_records(loader.image());
        let read = read_image(at, written.iter().map(|record| &record.record)).unwrap();
        assert_eq!(&read, loader.image(), "after offset {}", at.offset);
    }
}

#[test]
fn an_open_transaction_is_not_shown() {
    let batch = data_batches(LOG)[0];
    let records: Vec<_> = versioned(&batch).into_iter().map(|record| record.record).collect();
    let (_, open) = records.split_last().unwrap();
    let (at, _) = decode_batch(&batch).unwrap();
    let mut loader = Loader::default();
    loader.apply_batch(at, open).unwrap();
    assert!(loader.in_transaction());
    assert_eq!(loader.image().features().count(), 0);
    assert_eq!(loader.image().provenance(), at);
    assert_eq!(loader.working().features().count(), 6);
    let mut aborted = loader.clone();
    aborted.apply_batch(at, [&bootstrap::abort_record("test").record]).unwrap();
    assert_eq!(aborted.image().features().count(), 0);
    assert_eq!(aborted.working(), aborted.image());
    loader.apply_batch(at, records.last()).unwrap();
    assert_eq!(loader.image().features().count(), 6);
    loader.apply_batch(at, records.last()).unwrap_err();
}

#[test]
fn batches_are_split_by_size() {
    let records = image_records(load(LOG).image());
    let place = BatchPlace { base: Offset(7), epoch: LeaderEpoch(3), timestamp: Timestamp(9) };
    let batches = encode_batches(&records, place, 200).unwrap();
    assert!(batches.len() > 3);
    let mut next = Offset(7);
    for batch in &batches {
        assert_eq!(batch.base, next);
        next = next.plus(i64::from(batch.count));
    }
    assert_eq!(next, Offset(7).plus(records.len() as i64));
    let decoded: Vec<MetadataRecord> = batches
        .iter()
        .flat_map(|batch| decode_batch(&BatchView::parse(&batch.bytes).unwrap()).unwrap().1)
        .collect();
    let image = read_image(load(LOG).image().provenance(), &decoded).unwrap();
    assert_eq!(&image, load(LOG).image());
    assert_ne!(image, Image::default());
}
