//! The small text files of a data directory: what is read is written back the same.

use std::path::Path;

use ottla_protocol::Uuid;
use ottla_raft::{QuorumState, VoterSet};
use ottla_storage::dirs::{CleanShutdown, MetaProperties, PartitionMetadata, parse_dir_name};
use ottla_storage::{EpochCache, checkpoint};
use ottla_testkit::MemDisk;

const KINDS: u8 = 8;

/// `kind, content`.
pub fn files(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let disk = MemDisk::with_dirs(&["/d"]);
    let dir = Path::new("/d");
    match kind % KINDS {
        0 => {
            if let Ok(epochs) = EpochCache::parse(&text) {
                assert_eq!(EpochCache::parse(&epochs.to_text()), Ok(epochs));
            }
        }
        1 => {
            if let Ok(offsets) = checkpoint::parse(&text) {
                let all = offsets.iter().map(|((topic, index), at)| (topic.as_str(), *index, *at));
                assert_eq!(checkpoint::parse(&checkpoint::render(all)), Ok(offsets.clone()));
            }
        }
        2 => {
            disk.put("/d/meta.properties", bytes);
            if let Ok(Some(meta)) = MetaProperties::read(&disk, dir) {
                meta.write(&disk, dir).expect("the disk works");
                let again = MetaProperties::read(&disk, dir).expect("it was just written");
                assert_eq!(again, Some(meta));
            }
        }
        3 => {
            if let Ok(state) = QuorumState::parse(&text) {
                for version in [0, 1] {
                    let again = QuorumState::parse(&state.to_text(version, &VoterSet::default()));
                    let again = again.expect("what was written is readable");
                    assert_eq!((again.epoch, again.leader), (state.epoch, state.leader));
                }
            }
        }
        4 => {
            disk.put("/d/partition.metadata", bytes);
            if let Ok(Some(metadata)) = PartitionMetadata::read(&disk, dir) {
                metadata.write(&disk, dir).expect("the disk works");
                let again = PartitionMetadata::read(&disk, dir).expect("it was just written");
                assert_eq!(again, Some(metadata));
            }
        }
        5 => {
            disk.put("/d/.kafka_cleanshutdown", bytes);
            let _ = CleanShutdown::read(&disk, dir);
        }
        6 => {
            if let Some(log) = parse_dir_name(&text) {
                assert_eq!(log.dir_name, text);
            }
        }
        _ => {
            if let Ok(id) = text.parse::<Uuid>() {
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let samples: [(u8, &str); 11] = [
        (0, "0\n3\n0 0\n2 10\n5 11\n"),
        (1, "0\n2\ntopic 0 17\nother.topic 12 9000000000\n"),
        (
            2,
            "#\n#Tue Jan 01 00:00:00 UTC 2026\ncluster.id=BkTIgbM1R8Kca0FJ7O2L0Q\ndirectory.id=AwMDAwMDQwODAwMDAwMDAw\nnode.id=1\nversion=1\nx\\u0041 = y\\\n  z\n",
        ),
        (
            3,
            r#"{"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#,
        ),
        (
            3,
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#,
        ),
        (4, "version: 0\ntopic_id: BkTIgbM1R8Kca0FJ7O2L0Q"),
        (5, r#"{"version":0,"brokerEpoch":17}"#),
        (6, "topic-with.dots-12"),
        (6, "t-0.0123456789abcdef0123456789abcdef-delete"),
        (6, "__consumer_offsets-49.0123456789abcdef0123456789abcdef-future"),
        (7, "BkTIgbM1R8Kca0FJ7O2L0Q"),
    ];
    samples.iter().map(|(kind, text)| [&[*kind][..], text.as_bytes()].concat()).collect()
}
