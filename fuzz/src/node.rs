//! A node whose data directory was damaged: it starts or says why not, and what started starts
//! again.

use std::sync::OnceLock;

use ottla_testkit::MemDisk;

use crate::batches::Repair;
use crate::broker::used_disk;
use crate::input::{Input, chunk};
use crate::node_support::{DIR, Node};

/// `file, mode, repair, position, chunk`, again and again.
pub fn node(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = used_disk(data.len() % 2 == 0);
    while !input.is_empty() {
        damage(&disk, &mut input);
    }
    let Ok(node) = Node::start(&disk) else { return };
    node.pass(600_000);
    node.broker.shut_down();
    drop(node);
    // The second start finds what the first one made of it.
    if let Err(error) = Node::start(&disk) {
        panic!("a node that ran does not start again: {error}");
    }
}

fn damage(disk: &MemDisk, input: &mut Input<'_>) {
    let files = file_names();
    let path = &files[usize::from(input.u8()) % files.len()];
    let (mode, repair, at) = (input.u8(), input.u8(), usize::from(input.u16()));
    let bytes = input.chunk();
    let Some(mut content) = disk.get(path) else { return };
    let at = at % (content.len() + 1);
    match mode % 4 {
        0 => {
            let end = (at + bytes.len()).min(content.len());
            content[at..end].copy_from_slice(&bytes[..end - at]);
        }
        1 => {
            content.truncate(at);
            content.extend_from_slice(bytes);
        }
        2 => content = bytes.to_vec(),
        _ => drop(content.splice(at..at, bytes.iter().copied())),
    }
    if path.ends_with(".log") || path.ends_with(".checkpoint") {
        content = Repair::of(repair).run(&content);
    }
    disk.put(path, &content);
}

/// The files of an undamaged node; the index files are left alone, since they are large and rebuilt.
fn file_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = used_disk(true).tree();
        names.extend(used_disk(false).tree());
        names.retain(|name| name.starts_with(DIR) && !name.ends_with('/'));
        names.sort();
        names.dedup();
        names
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for file in 0..file_names().len() {
        for (mode, repair, at) in
            [(0, 0, 70), (0, 2, 90), (0, 3, 130), (1, 0, 50), (2, 0, 0), (3, 0, 8)]
        {
            let head = [file as u8, mode, repair, 0, at];
            seeds.push([&head[..], &chunk(b"\x01\x02\x03")].concat());
        }
    }
    seeds
}
