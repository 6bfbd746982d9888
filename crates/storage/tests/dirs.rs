//! Data directories: identity, lock, checkpoints and names, against files that Kafka 4.4.0 wrote,
//! and under crashes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Uuid;
use ottla_protocol::ids::{BrokerId, Offset, PartitionIndex};
use ottla_storage::checkpoint::{self, Checkpoint, RECOVERY_POINT};
use ottla_storage::dirs::{
    CleanShutdown, DirState, DirsError, FormatParams, LogDirs, LogKind, MetaProperties,
    MetadataDir, OpenDirs, PartitionMetadata, QUORUM_STATE, delete_dir_name, files, format_dirs,
    future_dir_name, list_logs, log_dir_name, parse_dir_name, remove_log, rename_log,
    stray_dir_name,
};
use ottla_testkit::{Errno, Fault, MemDisk, OpKind};

const CLUSTER: &str = "7HcGcveGRnSjCwKLIZhUFg";
const NODE: BrokerId = BrokerId(1);
const KAFKA_META: &str = "#\n#Sat Nov 21 04:52:25 UTC 2026\nnode.id=1\ndirectory.id=\
    CaLfIWgeTNCyHtvYJENWOg\nversion=1\ncluster.id=7HcGcveGRnSjCwKLIZhUFg\n";

fn id(n: u128) -> Uuid {
    Uuid::from_u128(1000 + n)
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

/// Formats `/a`, `/b`, … with the metadata log in `/a`.
fn format(disk: &MemDisk, names: &[&str], ignore_formatted: bool) -> Result<usize, DirsError> {
    let dirs: Vec<_> =
        names.iter().enumerate().map(|(i, name)| (PathBuf::from(name), id(i as u128))).collect();
    let params = FormatParams {
        cluster_id: CLUSTER,
        node_id: NODE,
        dirs: &dirs,
        metadata: Some(MetadataDir { path: Path::new("/a"), snapshot: b"snapshot" }),
        ignore_formatted,
    };
    format_dirs(disk, &params).map(|done| done.new.len())
}

fn open(disk: &MemDisk, names: &[&str]) -> Result<LogDirs, DirsError> {
    let paths = paths(names);
    let plan =
        OpenDirs { paths: &paths, metadata_dir: Path::new("/a"), node_id: NODE, cluster_id: None };
    LogDirs::open(Arc::new(disk.clone()), &plan, &mut || id(99))
}

fn open_error(disk: &MemDisk, names: &[&str]) -> String {
    open(disk, names).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn meta_properties_are_kafkas() {
    let disk = MemDisk::new();
    disk.put("/a/meta.properties", KAFKA_META.as_bytes());
    let meta = MetaProperties::read(&disk, Path::new("/a")).unwrap().unwrap();
    let want = MetaProperties {
        cluster_id: CLUSTER.into(),
        node_id: NODE,
        directory_id: Some("CaLfIWgeTNCyHtvYJENWOg".parse().unwrap()),
        unknown: vec![],
    };
    assert_eq!(meta, want);
    meta.write(&disk, Path::new("/a")).unwrap();
    let written = String::from_utf8(disk.get("/a/meta.properties").unwrap()).unwrap();
    assert_eq!(written, KAFKA_META.replace("#Sat Nov 21 04:52:25 UTC 2026\n", ""));
}

#[test]
fn meta_properties_keep_unknown_keys_and_escapes() {
    let disk = MemDisk::new();
    let text = "version=1\nnode.id = 1\ncluster.id:a\\:b\\=c\\\\\nfuture.key=x y\n";
    disk.put("/a/meta.properties", text.as_bytes());
    let meta = MetaProperties::read(&disk, Path::new("/a")).unwrap().unwrap();
    assert_eq!(meta.cluster_id, "a:b=c\\");
    assert_eq!(meta.unknown, [("future.key".into(), "x y".into())]);
    meta.write(&disk, Path::new("/a")).unwrap();
    assert_eq!(MetaProperties::read(&disk, Path::new("/a")).unwrap(), Some(meta));
}

#[test]
fn unusable_meta_properties_say_what_is_wrong() {
    for (text, want) in [
        ("", "version is missing"),
        ("version=0\nbroker.id=1\n", "ZooKeeper"),
        ("version=2\n", "\"2\" is not known"),
        ("version=1\nnode.id=1\n", "cluster.id is missing"),
        ("version=1\ncluster.id=x\n", "node.id is missing"),
        ("version=1\ncluster.id=x\nnode.id=-1\n", "\"-1\""),
        ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=q\n", "\"q\""),
        ("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n", "reserved"),
        ("version=1\nnode.id=\\u12\n", "line 2"),
    ] {
        let disk = MemDisk::new();
        disk.put("/a/meta.properties", text.as_bytes());
        let error = MetaProperties::read(&disk, Path::new("/a")).unwrap_err().to_string();
        assert!(error.contains(want), "{text:?}: {error}");
        assert!(error.starts_with("/a/meta.properties is not usable"), "{error}");
    }
}

#[test]
fn formatted_directories_open() {
    let disk = MemDisk::new();
    assert_eq!(format(&disk, &["/a", "/b/c"], false).unwrap(), 2);
    let disk = disk.crash_drop_all();
    let want = [
        "/a/",
        "/a/__cluster_metadata-0/",
        "/a/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint",
        "/a/meta.properties",
        "/b/",
        "/b/c/",
        "/b/c/meta.properties",
    ];
    assert_eq!(disk.tree(), want);
    let dirs = open(&disk, &["/a", "/b/c"]).unwrap();
    assert_eq!((dirs.cluster_id(), dirs.node_id()), (CLUSTER, NODE));
    assert_eq!(dirs.by_path(Path::new("/b/c")).unwrap().directory_id(), Some(id(1)));
    assert_eq!(dirs.by_id(id(0)).unwrap().path(), Path::new("/a"));
    assert_eq!(dirs.online().count(), 2);
    assert!(dirs.close(CleanShutdown { broker_epoch: Some(13) }).is_empty());
    let clean = disk.get("/a/.kafka_cleanshutdown").unwrap();
    assert_eq!(clean, br#"{"version":0,"brokerEpoch":13}"#);
    assert_eq!(disk.get("/a/.lock"), None);
}

#[test]
fn formatting_refuses_what_kafka_refuses() {
    let disk = MemDisk::new();
    format(&disk, &["/b"], false).unwrap();
    let error = format(&disk, &["/b"], false).unwrap_err();
    assert!(matches!(error, DirsError::AlreadyFormatted { .. }), "{error}");
    // The mixture: only the others are formatted.
    let error = format(&disk, &["/a", "/b"], false).unwrap_err();
    assert!(matches!(error, DirsError::AlreadyFormatted { .. }), "{error}");
    assert_eq!(disk.get("/a/meta.properties"), None);
    let error = format(&disk, &["/b", "/c"], true).map(|n| n.to_string());
    assert_eq!(error.unwrap(), "1");
    assert_eq!(format(&disk, &["/b", "/c"], true).unwrap(), 0);

    let other = KAFKA_META.replace(CLUSTER, "8HcGcveGRnSjCwKLIZhUFg");
    disk.put("/d/meta.properties", other.as_bytes());
    let error = format(&disk, &["/b", "/d", "/e"], true).unwrap_err();
    assert!(matches!(error, DirsError::ClusterId { .. }), "{error}");
    disk.put("/d/meta.properties", KAFKA_META.replace("node.id=1", "node.id=2").as_bytes());
    let error = format(&disk, &["/b", "/d", "/e"], true).unwrap_err();
    assert!(matches!(error, DirsError::NodeId { .. }), "{error}");
    assert_eq!(disk.get("/e/meta.properties"), None);
}

#[test]
fn formatting_checks_its_ids() {
    let dirs = |ids: [Uuid; 2]| [(PathBuf::from("/a"), ids[0]), (PathBuf::from("/b"), ids[1])];
    for (cluster_id, ids, want) in [
        ("x", [id(1), id(2)], "22 characters"),
        (CLUSTER, [id(1), id(1)], "same directory.id"),
        (CLUSTER, [id(1), Uuid::LOST_DIRECTORY], "reserved"),
    ] {
        let disk = MemDisk::new();
        let dirs = dirs(ids);
        let params = FormatParams {
            cluster_id,
            node_id: NODE,
            dirs: &dirs,
            metadata: None,
            ignore_formatted: false,
        };
        let error = format_dirs(&disk, &params).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert_eq!(disk.tree(), [""; 0]);
    }
}

#[test]
fn a_crash_in_formatting_leaves_formatted_or_formattable() {
    let disk = MemDisk::new();
    format(&disk, &["/a", "/b"], false).unwrap();
    let total = disk.mutations();
    for at in 0..total {
        for seed in 0..20 {
            let disk = MemDisk::new();
            disk.crash_after_ops(at);
            format(&disk, &["/a", "/b"], false).unwrap_err();
            let disk = disk.crash(seed);
            format(&disk, &["/a", "/b"], true)
                .unwrap_or_else(|error| panic!("op {at}, seed {seed}: {error}"));
            let disk = disk.crash_drop_all();
            let dirs = open(&disk, &["/a", "/b"]);
            let dirs = dirs.unwrap_or_else(|error| panic!("op {at}, seed {seed}: {error}"));
            assert_eq!(dirs.online().count(), 2);
            let snapshot =
                disk.get("/a/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint");
            assert_eq!(snapshot.unwrap(), b"snapshot", "op {at}, seed {seed}");
        }
    }
}

#[test]
fn directories_that_do_not_belong_here_are_refused() {
    let disk = MemDisk::new();
    format(&disk, &["/a", "/b"], false).unwrap();
    assert!(open_error(&disk, &["/a", "/c"]).starts_with("/c is not formatted"));
    disk.put("/c/meta.properties", &disk.get("/b/meta.properties").unwrap());
    assert!(open_error(&disk, &["/a", "/b", "/c"]).contains("one is a copy"));
    disk.put("/c/meta.properties", KAFKA_META.replace(CLUSTER, "other").as_bytes());
    assert!(open_error(&disk, &["/a", "/c"]).contains("belongs to cluster other"));
    disk.put("/c/meta.properties", KAFKA_META.replace("node.id=1", "node.id=2").as_bytes());
    assert!(open_error(&disk, &["/a", "/c"]).contains("belongs to node 2"));
    disk.put("/b/__cluster_metadata-0/x", b"");
    assert!(open_error(&disk, &["/a", "/b"]).contains("metadata.log.dir is /a"));
    disk.put("/b/meta.properties", b"\xff");
    assert!(open_error(&disk, &["/a", "/b"]).contains("byte 0 is not UTF-8"));
}

#[test]
fn a_directory_in_use_is_refused_and_free_after_a_crash() {
    let disk = MemDisk::new();
    format(&disk, &["/a"], false).unwrap();
    let held = open(&disk, &["/a"]).unwrap();
    assert!(open_error(&disk, &["/a"]).contains("used by another process"));
    open(&disk.crash_keep_all(), &["/a"]).unwrap();
    drop(held);
    open(&disk, &["/a"]).unwrap();
}

#[test]
fn a_directory_that_cannot_be_read_is_offline_unless_it_is_needed() {
    let disk = MemDisk::new();
    format(&disk, &["/a", "/b"], false).unwrap();
    disk.fail(Fault::on(OpKind::Read).path("/b/*"));
    let mut dirs = open(&disk, &["/a", "/b"]).unwrap();
    let state = dirs.by_path(Path::new("/b")).unwrap().state().clone();
    assert!(matches!(&state, DirState::Offline(why) if why.contains("/b/meta.properties")));
    assert!(dirs.set_offline(Path::new("/a"), "test".into()));
    assert!(!dirs.set_offline(Path::new("/a"), "later".into()));
    assert!(dirs.close(CleanShutdown { broker_epoch: None }).is_empty());
    assert_eq!(disk.get("/a/.kafka_cleanshutdown"), None);

    disk.fail(Fault::on(OpKind::Lock).path("/a/*"));
    assert!(open_error(&disk, &["/a", "/b"]).contains("/a/.lock"));
}

#[test]
fn a_directory_without_an_id_gets_one() {
    let disk = MemDisk::new();
    let old = KAFKA_META.replace("directory.id=CaLfIWgeTNCyHtvYJENWOg\n", "");
    disk.put("/a/meta.properties", old.as_bytes());
    let dirs = open(&disk, &["/a"]).unwrap();
    assert_eq!(dirs.dirs()[0].directory_id(), Some(id(99)));
    let disk = disk.crash_drop_all();
    assert_eq!(open(&disk, &["/a"]).unwrap().dirs()[0].directory_id(), Some(id(99)));
}

#[test]
fn a_clean_stop_is_forgotten_durably_before_the_logs_change() {
    let disk = MemDisk::new();
    format(&disk, &["/a", "/b"], false).unwrap();
    let clean = CleanShutdown { broker_epoch: Some(5) };
    assert!(open(&disk, &["/a", "/b"]).unwrap().close(clean).is_empty());
    let disk = disk.crash_drop_all();
    let dirs = open(&disk, &["/a", "/b"]).unwrap();
    assert_eq!(dirs.previous_broker_epoch(), Some(5));
    assert_eq!(dirs.take_clean_shutdown(Path::new("/a")).unwrap(), Some(clean));
    assert_eq!(disk.crash_drop_all().get("/a/.kafka_cleanshutdown"), None);
    assert_eq!(dirs.take_clean_shutdown(Path::new("/a")).unwrap(), None);
    // One directory was not closed cleanly: the epoch does not count.
    assert_eq!(dirs.previous_broker_epoch(), None);
    // Kafka before 3.7 wrote an empty file.
    disk.put("/a/.kafka_cleanshutdown", b"");
    let old = dirs.take_clean_shutdown(Path::new("/a")).unwrap();
    assert_eq!(old, Some(CleanShutdown { broker_epoch: None }));
}

#[test]
fn checkpoints_are_kafkas() {
    let text = "0\n2\na.b-c 0 3\na.b-c 1 0\n";
    let disk = MemDisk::new();
    disk.put("/a/recovery-point-offset-checkpoint", text.as_bytes());
    let read = checkpoint::read(&disk, Path::new("/a"), RECOVERY_POINT).unwrap();
    let entry = |p, o| (("a.b-c".to_owned(), PartitionIndex(p)), Offset(o));
    assert_eq!(read.damage, None);
    assert_eq!(read.offsets, [entry(0, 3), entry(1, 0)].into());
    let entries = read.offsets.iter().map(|((t, p), o)| (t.as_str(), *p, *o));
    checkpoint::write(&disk, Path::new("/a"), RECOVERY_POINT, entries).unwrap();
    let disk = disk.crash_drop_all();
    assert_eq!(disk.get("/a/recovery-point-offset-checkpoint").unwrap(), text.as_bytes());
    assert_eq!(disk.tree(), ["/a/", "/a/recovery-point-offset-checkpoint"]);
    assert_eq!(checkpoint::render([]), "0\n0\n");
    assert!(checkpoint::parse("").unwrap().is_empty());
}

#[test]
fn a_damaged_checkpoint_counts_as_absent_and_says_so() {
    for (text, want) in [
        ("1\n0\n", "version"),
        ("0\n", "line 2"),
        ("0\nx\n", "line 2"),
        ("0\n1\na 0\n", "line 3"),
        ("0\n1\na 0 x\n", "line 3"),
        ("0\n1\na -1 5\n", "line 3"),
        ("0\n1\na 0 5 6\n", "line 3"),
        ("0\n1\na 0 123", "cut"),
        ("0\n2\na 0 123\n", "1 entries, line 2 says 2"),
        ("0\n0\na 0 123\n", "1 entries, line 2 says 0"),
        ("\0\0\0\0", "version"),
        ("\u{fffd}", "version"),
    ] {
        let disk = MemDisk::new();
        disk.put("/a/recovery-point-offset-checkpoint", text.as_bytes());
        let Checkpoint { offsets, damage } =
            checkpoint::read(&disk, Path::new("/a"), RECOVERY_POINT).unwrap();
        assert!(offsets.is_empty(), "{text:?}");
        let damage = damage.unwrap_or_else(|| panic!("{text:?} passed"));
        assert!(damage.contains(want), "{text:?}: {damage}");
    }
    // Every strict prefix of a good file, but the empty one.
    let good = checkpoint::render([("topic", PartitionIndex(3), Offset(1234))]);
    for end in 1..good.len() {
        assert!(checkpoint::parse(&good[..end]).is_err(), "{:?}", &good[..end]);
    }
}

#[test]
fn a_crash_leaves_the_old_or_the_new_file() {
    let write = |disk: &MemDisk| files::replace(disk, Path::new("/a/quorum-state"), &[2; 9000]);
    let start = || {
        let disk = MemDisk::new();
        disk.put("/a/quorum-state", &[1; 5000]);
        disk.put("/a/quorum-state.tmp", &[3; 20_000]); // An earlier crash left it.
        disk
    };
    let disk = start();
    write(&disk).unwrap();
    for at in 0..=disk.mutations() {
        for seed in 0..50 {
            let disk = start();
            disk.crash_after_ops(at);
            let written = write(&disk).is_ok();
            let found = disk.crash(seed).get("/a/quorum-state").unwrap();
            let (old, new) = (found == [1; 5000], found == [2; 9000]);
            assert!(new || (old && !written), "op {at}, seed {seed}");
        }
    }
}

#[test]
fn each_sync_of_a_replacement_is_needed() {
    let survives = |prepare: fn(&MemDisk)| {
        (0..100).all(|seed| {
            let disk = MemDisk::new();
            disk.put("/a/f", b"old");
            prepare(&disk);
            files::replace(&disk, Path::new("/a/f"), b"new").unwrap();
            disk.crash(seed).get("/a/f").unwrap() == b"new"
        })
    };
    assert!(survives(|_| {}));
    assert!(!survives(|disk| disk.ignore_file_syncs("*.tmp")));
    assert!(!survives(|disk| disk.ignore_dir_syncs("/a")));
}

#[test]
fn a_full_disk_keeps_the_old_file_and_is_told_apart() {
    let disk = MemDisk::new();
    disk.put("/a/quorum-state", b"old");
    let path = Path::new("/a").join(QUORUM_STATE);
    disk.fail(Fault::on(OpKind::Write).error(Errno::NoSpace).short(1).times(1));
    assert!(files::replace(&disk, &path, b"new").unwrap_err().is_full());
    assert_eq!(disk.get(&path).unwrap(), b"old");
    disk.fail(Fault::on(OpKind::Sync).times(1));
    assert!(!files::replace(&disk, &path, b"new").unwrap_err().is_full());
    assert_eq!(disk.get(&path).unwrap(), b"old");
    files::replace(&disk, &path, b"new").unwrap();
    assert_eq!(disk.crash_drop_all().get(&path).unwrap(), b"new");
}

#[test]
fn partition_metadata_is_kafkas() {
    let disk = MemDisk::new();
    let text = "version: 0\ntopic_id: Ig8byFx1SNqhfcDjTA5gPw";
    disk.put("/a/t-0/partition.metadata", text.as_bytes());
    let dir = Path::new("/a/t-0");
    let read = PartitionMetadata::read(&disk, dir).unwrap().unwrap();
    assert_eq!(read.topic_id.to_string(), "Ig8byFx1SNqhfcDjTA5gPw");
    read.write(&disk, dir).unwrap();
    assert_eq!(disk.get("/a/t-0/partition.metadata").unwrap(), text.as_bytes());
    assert_eq!(PartitionMetadata::read(&disk, Path::new("/a")).unwrap(), None);
    for bad in [
        "",
        "version: 1\n",
        "version: 0\n",
        "version: 0\ntopic_id: x",
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
    ] {
        disk.put("/a/t-0/partition.metadata", bad.as_bytes());
        PartitionMetadata::read(&disk, dir).expect_err(bad);
    }
}

#[test]
fn directory_names_tell_topic_partition_and_purpose() {
    let hex = "d997501ab5c948e4ac1f65196b7a4ecb";
    for (name, want) in [
        ("t-0".to_owned(), Some(("t", 0, LogKind::Normal))),
        ("a.b-c-12".to_owned(), Some(("a.b-c", 12, LogKind::Normal))),
        ("t--1".to_owned(), Some(("t-", 1, LogKind::Normal))),
        (format!("d-0.{hex}-delete"), Some(("d", 0, LogKind::Delete))),
        (format!("d-0.{hex}-future"), Some(("d", 0, LogKind::Future))),
        (format!("d-0.{hex}-stray"), Some(("d", 0, LogKind::Stray))),
        ("x-delete-3".to_owned(), Some(("x-delete", 3, LogKind::Normal))),
        (format!("d-0.{}-delete", &hex[1..]), None),
        ("lost+found".to_owned(), None),
        ("t".to_owned(), None),
        ("-0".to_owned(), None),
        ("t-".to_owned(), None),
        ("t-x".to_owned(), None),
        ("t-+1".to_owned(), None),
        ("t-99999999999".to_owned(), None),
        ("ä-0".to_owned(), None),
    ] {
        let found = parse_dir_name(&name);
        let found = found.as_ref().map(|log| (log.topic.as_str(), log.partition.0, log.kind));
        assert_eq!(found, want, "{name}");
    }
}

#[test]
fn names_are_kafkas_and_not_too_long() {
    let unique = Uuid(*b"\xd9\x97\x50\x1a\xb5\xc9\x48\xe4\xac\x1f\x65\x19\x6b\x7a\x4e\xcb");
    let p = PartitionIndex(7);
    assert_eq!(log_dir_name("d", p), "d-7");
    assert_eq!(delete_dir_name("d", p, unique), "d-7.d997501ab5c948e4ac1f65196b7a4ecb-delete");
    let long = "x".repeat(249);
    for name in [delete_dir_name, future_dir_name, stray_dir_name] {
        let name = name(&long, p, unique);
        assert_eq!(name.len(), 255);
        assert_eq!(parse_dir_name(&name).unwrap().partition, p, "{name}");
    }
}

#[test]
fn a_deleted_log_stays_deleted() {
    let disk = MemDisk::new();
    for name in ["t-0/x", "t-1/x", "__cluster_metadata-0/x", "lost+found/x", "meta.properties"] {
        disk.put(Path::new("/a").join(name), b"x");
    }
    let dir = Path::new("/a");
    let listing = list_logs(&disk, dir).unwrap();
    assert_eq!(listing.logs.iter().map(|l| &*l.dir_name).collect::<Vec<_>>(), ["t-0", "t-1"]);
    assert_eq!((listing.has_metadata_log, listing.odd), (true, vec!["lost+found".to_owned()]));

    let marked = delete_dir_name("t", PartitionIndex(0), id(5));
    rename_log(&disk, dir, "t-0", &marked).unwrap();
    let disk = disk.crash_drop_all();
    let kinds: Vec<_> = list_logs(&disk, dir).unwrap().logs.iter().map(|log| log.kind).collect();
    assert_eq!(kinds, [LogKind::Delete, LogKind::Normal]);
    assert!(matches!(remove_log(&disk, dir, "t-1"), Err(DirsError::NotMarked(_))));
    remove_log(&disk, dir, &marked).unwrap();
    assert_eq!(list_logs(&disk.crash_drop_all(), dir).unwrap().logs.len(), 1);
}
