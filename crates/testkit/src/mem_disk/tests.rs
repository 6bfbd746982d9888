use super::*;

fn write(disk: &MemDisk, path: &str, position: u64, bytes: &[u8]) -> io::Result<()> {
    disk.open(Path::new(path), OpenMode::Create)?.write_at(&[IoSlice::new(bytes)], position)
}

fn sync(disk: &MemDisk, path: &str) {
    disk.open(Path::new(path), OpenMode::Read).unwrap().sync().unwrap();
}

fn sync_dir(disk: &MemDisk, path: &str) {
    disk.sync_dir(Path::new(path)).unwrap();
}

#[test]
fn a_file_needs_both_syncs_to_survive() {
    for (file, dir, want) in [
        (false, false, None),
        (true, false, None),
        (false, true, Some(Vec::new())),
        (true, true, Some(b"abc".to_vec())),
    ] {
        let disk = MemDisk::with_dirs(&["/d"]);
        write(&disk, "/d/f", 0, b"abc").unwrap();
        if file {
            sync(&disk, "/d/f");
        }
        if dir {
            sync_dir(&disk, "/d");
        }
        assert_eq!(disk.crash_drop_all().get("/d/f"), want, "file {file}, dir {dir}");
        assert_eq!(disk.crash_keep_all().get("/d/f"), Some(b"abc".to_vec()));
    }
}

#[test]
fn a_directory_needs_its_parent_synced() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.create_dir_all(Path::new("/d/t-0")).unwrap();
    write(&disk, "/d/t-0/f", 0, b"abc").unwrap();
    sync(&disk, "/d/t-0/f");
    sync_dir(&disk, "/d/t-0");
    assert_eq!(disk.crash_drop_all().tree(), ["/d/"]);
    sync_dir(&disk, "/d");
    assert_eq!(disk.crash_drop_all().tree(), ["/d/", "/d/t-0/", "/d/t-0/f"]);
}

#[test]
fn a_rename_happens_as_a_whole_or_not_at_all() {
    let disk = MemDisk::new();
    disk.put("/d/f", b"old");
    write(&disk, "/d/f.tmp", 0, b"new").unwrap();
    sync(&disk, "/d/f.tmp");
    disk.rename(Path::new("/d/f.tmp"), Path::new("/d/f")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let after = disk.crash(seed);
        let names = after.list(Path::new("/d")).unwrap().into_iter().map(|e| e.name);
        seen.insert((names.collect::<Vec<_>>().join(" "), after.get("/d/f").unwrap()));
    }
    let want = [("f", "new"), ("f", "old"), ("f f.tmp", "old")];
    assert_eq!(seen, want.map(|(names, text)| (names.into(), text.into())).into());
    sync_dir(&disk, "/d");
    for seed in 0..20 {
        assert_eq!(disk.crash(seed).get("/d/f"), Some(b"new".to_vec()), "seed {seed}");
    }
}

#[test]
fn a_directory_keeps_its_content_when_its_rename_is_lost() {
    let disk = MemDisk::new();
    disk.put("/d/t-0/f", b"abc");
    disk.rename(Path::new("/d/t-0"), Path::new("/d/t-0.x-delete")).unwrap();
    assert_eq!(disk.tree(), ["/d/", "/d/t-0.x-delete/", "/d/t-0.x-delete/f"]);
    assert_eq!(disk.crash_drop_all().tree(), ["/d/", "/d/t-0/", "/d/t-0/f"]);
    sync_dir(&disk, "/d");
    assert_eq!(disk.crash_drop_all().tree(), disk.tree());
}

#[test]
fn an_unsynced_removal_may_come_back() {
    let disk = MemDisk::new();
    disk.put("/d/a/f", b"abc");
    disk.put("/d/a/g", b"abc");
    disk.remove_dir_all(Path::new("/d/a")).unwrap();
    let trees: BTreeSet<_> = (0..200).map(|seed| disk.crash(seed).tree().join(" ")).collect();
    let want =
        ["/d/", "/d/ /d/a/", "/d/ /d/a/ /d/a/f", "/d/ /d/a/ /d/a/f /d/a/g", "/d/ /d/a/ /d/a/g"];
    assert_eq!(trees, want.map(String::from).into());
    sync_dir(&disk, "/d");
    assert_eq!(disk.crash_drop_all().tree(), ["/d/"]);
}

#[test]
fn a_crash_reaches_every_mixture_of_pages_and_tears_them() {
    let disk = MemDisk::new();
    disk.put("/f", &[1; 3 * 4096]);
    write(&disk, "/f", 0, &[2; 3 * 4096]).unwrap();
    let (mut whole, mut torn) = (BTreeSet::new(), 0);
    for seed in 0..400 {
        let bytes = disk.crash(seed).get("/f").unwrap();
        assert_eq!(bytes.len(), 3 * 4096);
        let pages: Vec<_> = bytes.chunks(4096).collect();
        if pages.iter().all(|page| page.iter().all(|b| b == &page[0])) {
            whole.insert(pages.iter().map(|page| page[0]).collect::<Vec<_>>());
        } else {
            torn += 1;
        }
    }
    assert_eq!(whole.len(), 8);
    assert!(torn > 50, "{torn}");
}

#[test]
fn a_truncation_may_be_lost_while_a_later_write_is_kept() {
    let disk = MemDisk::new();
    disk.put("/f", b"0123456789");
    let file = disk.open(Path::new("/f"), OpenMode::ReadWrite).unwrap();
    file.set_len(4).unwrap();
    file.write_at(&[IoSlice::new(b"ab")], 4).unwrap();
    let seen: BTreeSet<_> = (0..200).map(|seed| disk.crash(seed).get("/f").unwrap()).collect();
    for want in ["0123456789", "0123", "0123ab", "0123ab6789"] {
        assert!(seen.contains(want.as_bytes()), "{want}");
    }
    file.sync().unwrap();
    for seed in 0..20 {
        assert_eq!(disk.crash(seed).get("/f"), Some(b"0123ab".to_vec()), "seed {seed}");
    }
}

#[test]
fn after_a_failed_sync_only_rewritten_data_becomes_durable() {
    let disk = MemDisk::new();
    disk.put("/f", b"......");
    let file = disk.open(Path::new("/f"), OpenMode::ReadWrite).unwrap();
    file.write_at(&[IoSlice::new(b"ab")], 0).unwrap();
    disk.fail(Fault::on(OpKind::Sync).path("/f").times(1));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.write_at(&[IoSlice::new(b"cd")], 4).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.get("/f").unwrap(), b"ab..cd");
    assert_eq!(disk.crash_drop_all().get("/f").unwrap(), b"....cd");
    file.write_at(&[IoSlice::new(b"xy")], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.crash_drop_all().get("/f").unwrap(), b"xy..cd");
}

#[test]
fn faults_hit_the_named_operation_only() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.fail(Fault::on(OpKind::Write).path("*.log").after(1).times(1).short(2));
    write(&disk, "/d/a.log", 0, b"1234").unwrap();
    write(&disk, "/d/a.index", 0, b"1234").unwrap();
    let error = write(&disk, "/d/a.log", 4, b"5678").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
    assert_eq!(disk.get("/d/a.log").unwrap(), b"123456");
    write(&disk, "/d/a.log", 4, b"5678").unwrap();
    assert_eq!(disk.count(OpKind::Write), 4);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.set_capacity(Some(2 * 4096));
    let error = write(&disk, "/d/f", 100, &[7; 10_000]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.get("/d/f").unwrap().len(), 8192);
    assert_eq!(disk.space(Path::new("/d")).unwrap(), Space { total: 8192, available: 0 });
    write(&disk, "/d/f", 0, &[7; 8192]).unwrap();
    disk.remove_file(Path::new("/d/f")).unwrap();
    write(&disk, "/d/g", 0, b"x").unwrap();
}

#[test]
fn a_disk_dies_in_the_named_operation_and_its_files_with_it() {
    let disk = MemDisk::with_dirs(&["/d"]);
    let file = disk.open(Path::new("/d/f"), OpenMode::Create).unwrap();
    disk.crash_after_ops(1);
    file.write_at(&[IoSlice::new(b"a")], 0).unwrap();
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    file.write_at(&[IoSlice::new(b"b")], 1).unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    disk.open(Path::new("/d/f"), OpenMode::Read).err().unwrap();
    assert!(disk.is_dead());
    assert_eq!(disk.crash_keep_all().get("/d/f").unwrap(), b"ab");
}

#[test]
fn ignored_syncs_have_no_effect() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.ignore_file_syncs("*.tmp");
    disk.ignore_dir_syncs("/e*");
    for name in ["/d/a", "/d/a.tmp"] {
        write(&disk, name, 0, b"x").unwrap();
        sync(&disk, name);
    }
    sync_dir(&disk, "/d");
    disk.create_dir_all(Path::new("/e/f")).unwrap();
    sync_dir(&disk, "/e");
    sync_dir(&disk, "/");
    let after = disk.crash_drop_all();
    assert_eq!(after.get("/d/a").unwrap(), b"x");
    assert_eq!(after.get("/d/a.tmp").unwrap(), b"");
    assert_eq!(after.tree(), ["/d/", "/d/a", "/d/a.tmp", "/e/"]);
}

#[test]
fn a_lock_is_held_until_dropped_and_not_after_a_crash() {
    let disk = MemDisk::with_dirs(&["/d"]);
    let path = Path::new("/d/.lock");
    let held = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    disk.crash_keep_all().lock(path).unwrap();
    drop(held);
    disk.lock(path).unwrap();
}

#[test]
fn an_open_file_is_readable_after_its_removal() {
    let disk = MemDisk::new();
    disk.put("/d/f", b"abc");
    let file = disk.open(Path::new("/d/f"), OpenMode::Read).unwrap();
    disk.remove_file(Path::new("/d/f")).unwrap();
    sync_dir(&disk, "/d");
    let mut buf = [0; 4];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    assert_eq!(&buf, b"abc\0");
    assert_eq!(file.write_at(&[], 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let disk = MemDisk::with_dirs(&["/d"]);
    for i in 0..20u64 {
        write(&disk, &format!("/d/{}", i % 5), i * 1000, &[i as u8; 3000]).unwrap();
    }
    for seed in 0..10 {
        let (a, b) = (disk.crash(seed), disk.crash(seed));
        assert_eq!(a.tree(), b.tree());
        for path in a.tree() {
            assert_eq!(a.get(&path), b.get(&path), "{path}, seed {seed}");
        }
    }
}

#[test]
fn operations_are_told_in_order() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.record_ops();
    write(&disk, "/d/f", 3, b"abc").unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
    let told: Vec<String> = disk.take_ops().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["Create /d/f", "Write /d/f 3+3", "Rename /d/f /d/g"]);
    assert_eq!(disk.mutations(), 3);
}

#[test]
fn a_sync_is_ignored_at_one_place_only() {
    let disk = MemDisk::with_dirs(&["/d"]);
    disk.ignore_syncs_after((OpKind::RemoveFile, "*.log"), (OpKind::SyncDir, "/d"));
    for name in ["/d/a.log", "/d/b"] {
        write(&disk, name, 0, b"x").unwrap();
    }
    sync_dir(&disk, "/d");
    disk.remove_file(Path::new("/d/a.log")).unwrap();
    sync_dir(&disk, "/d");
    assert_eq!(disk.crash_drop_all().tree(), ["/d/", "/d/a.log", "/d/b"]);
    disk.remove_file(Path::new("/d/b")).unwrap();
    sync_dir(&disk, "/d");
    assert_eq!(disk.crash_drop_all().tree(), ["/d/"]);
}
