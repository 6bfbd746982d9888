//! A log that is used while the names of a compacted segment change, without its lock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod common;
mod compaction;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use compaction::*;
use ottla_protocol::ids::Offset;
use ottla_storage::{
    CleanRules, CleanWork, Cleaning, DirEntry, Disk, DiskFile, Installing, Log, NamesWork,
    OpenMode, Space,
};
use ottla_testkit::MemDisk;
use parking_lot::Mutex;

const RULES: CleanRules = CleanRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: HOUR,
    buffer_bytes: 1 << 20,
    load_factor: 0.9,
};

type Hook = Box<dyn FnMut(&Path) + Send>;

/// A disk that calls a hook before and after every rename.
struct Hooked {
    disk: MemDisk,
    hook: Mutex<Option<Hook>>,
}

impl Hooked {
    fn call(&self, path: &Path) {
        // Not under the lock: what it does may use the disk.
        let hook = self.hook.lock().take();
        if let Some(mut hook) = hook {
            hook(path);
            *self.hook.lock() = Some(hook);
        }
    }
}

impl Disk for Hooked {
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(from);
        let renamed = self.disk.rename(from, to);
        self.call(to);
        renamed
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, mode)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn sync_tree(&self, path: &Path) -> io::Result<bool> {
        self.disk.sync_tree(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

/// A log of three sealed segments with transactions, some of them aborted.
fn written<D: Disk>(disk: Arc<D>) -> (Log, Model) {
    let options = unclean(Offset(0));
    let (mut log, _) = Log::open(disk, PathBuf::from(DIR), small_compacted(), options).unwrap();
    log.sync(at(0)).unwrap();
    let mut model = Model::default();
    for _ in 0..3 {
        for key in 0..6 {
            model.append(&mut log, (key, 2), false, 0);
        }
        for pid in 0..2 {
            model.transactional(&mut log, pid, 7);
            model.end(&mut log, pid, pid == 0);
        }
        log.roll(at(model.now)).unwrap();
        flush(&mut log);
    }
    model.append(&mut log, (9, 1), false, 0);
    (log, model)
}

/// A cleaning whose first new segment is complete.
fn ready(log: &mut Log, model: &Model) -> CleanWork {
    let mut work = start(log, &RULES, None, model.now).unwrap();
    while work.step(1 << 20).unwrap() == Cleaning::Working {}
    work
}

fn next_names(log: &mut Log, work: &mut CleanWork, model: &Model) -> Option<NamesWork> {
    match log.install_step(work, at(model.now)).unwrap() {
        Installing::Names(names) => Some(names),
        Installing::Done(replaced) => {
            replaced.run().unwrap();
            None
        }
        Installing::Abandoned => panic!("nothing else changed the log"),
    }
}

#[test]
fn a_reader_finds_every_record_between_any_two_renames() {
    let disk = Arc::new(Hooked { disk: MemDisk::with_dirs(&["/data"]), hook: Mutex::default() });
    let (mut log, model) = written(Arc::clone(&disk));
    let mut work = start(&mut log, &RULES, None, model.now).unwrap();
    let (log, model) = (Arc::new(Mutex::new(log)), Arc::new(model));
    let looks = Arc::new(Mutex::new(0));
    let (shared, expected, count) = (Arc::clone(&log), Arc::clone(&model), Arc::clone(&looks));
    *disk.hook.lock() = Some(Box::new(move |path| {
        let mut log = shared.lock();
        log.release_files();
        expected.check(&log, &path);
        *count.lock() += 1;
    }));
    loop {
        match work.step(1 << 20).unwrap() {
            Cleaning::Working => continue,
            Cleaning::Ready => {}
            Cleaning::Finished => break,
        }
        loop {
            let names = next_names(&mut log.lock(), &mut work, &model);
            let Some(names) = names else { break };
            names.run().unwrap();
        }
    }
    assert!(*looks.lock() >= 24, "three times four files, before and after: {looks:?}");
    log.lock().release_files();
    model.check(&log.lock(), &"at the end");
    let leftovers = |name: &String| name.ends_with(".swap") || name.ends_with(".deleted");
    assert!(!disk.disk.tree().iter().any(leftovers), "{:?}", disk.disk.tree());
}

#[test]
fn a_change_of_the_log_ends_a_swap_whose_names_were_not_changed() {
    type Change = fn(&mut Log);
    let changes: [Change; 4] = [
        |log| {
            let kept = log.segment_bases().nth(1).unwrap();
            log.increase_log_start_offset(kept);
            log.enforce_retention(log.log_end_offset(), at(0)).unwrap().unwrap();
        },
        |log| log.truncate_to(log.log_end_offset().plus(-1)).unwrap(),
        |log| {
            log.truncate_fully_and_start_at(Offset(1000), ottla_protocol::ids::Timestamp(T0))
                .unwrap()
        },
        |log| {
            log.close(at(0)).unwrap();
        },
    ];
    for steps in 1..=3 {
        for (which, change) in changes.iter().enumerate() {
            let disk = MemDisk::with_dirs(&["/data"]);
            let (mut log, model) = written(Arc::new(disk.clone()));
            let mut work = ready(&mut log, &model);
            let mut late = None;
            for _ in 0..steps {
                late = next_names(&mut log, &mut work, &model);
            }
            let context = format!("{steps} steps, change {which}");
            change(&mut log);
            let (names, start) = (disk.tree(), log.log_start_offset());
            // Whoever was to change them comes too late, and does nothing.
            late.unwrap().run().unwrap();
            assert_eq!(disk.tree(), names, "{context}");
            assert!(!names.iter().any(|name| name.ends_with(".swap")), "{context}: {names:?}");
            let before = raw_from(&log, start);
            drop(log);
            let (log, _) = open(&disk, &small_compacted(), unclean(start)).unwrap();
            assert_eq!(raw_from(&log, start), before, "{context}");
        }
    }
}
