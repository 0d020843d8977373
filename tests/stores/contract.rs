//! What every place owes to a repository.

use std::thread;

use autoodoo::repository::store::{FileKind, Store, Trouble};
use bytes::Bytes;

use crate::fault::{Fault, Proxy};

/// The name of a file: 64 times this digit.
pub fn name(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Content that no server can make up, in parts as a repository writes them.
pub fn parts(length: usize) -> Vec<Bytes> {
    let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    let bytes = Bytes::from(bytes);
    let (first, second) = (length / 3, length / 2);
    vec![bytes.slice(..first), Bytes::new(), bytes.slice(first..second), bytes.slice(second..)]
}

pub fn trouble<T: std::fmt::Debug>(result: Result<T, autoodoo::repository::store::StoreError>) -> Trouble {
    result.unwrap_err().trouble
}

/// On a place that is empty and lets everything be done; it is empty again afterwards.
pub fn holds(store: &dyn Store) {
    store.create().unwrap();
    for kind in FileKind::ALL {
        assert_eq!(store.list(kind).unwrap(), [], "{kind:?}");
        let name = if kind == FileKind::Config { "config".to_owned() } else { name('a') };
        a_file_is_written_once(store, kind, &name);
    }
    ranges_are_exact(store);
    threads_side_by_side(store);
    store.free().unwrap();
}

fn a_file_is_written_once(store: &dyn Store, kind: FileKind, name: &str) {
    assert_eq!(trouble(store.read(kind, name)), Trouble::Absent);
    let content = parts(300_001);
    store.write(kind, name, &content).unwrap();
    assert_eq!(store.list(kind).unwrap(), [(name.to_owned(), 300_001)]);
    assert_eq!(store.read(kind, name).unwrap(), content.concat());

    // An attempt whose answer was lost is made again; another content is not taken.
    store.write(kind, name, &content).unwrap();
    assert_eq!(trouble(store.write(kind, name, &parts(300_000))), Trouble::Exists);
    assert_eq!(store.read(kind, name).unwrap(), content.concat());

    store.remove(kind, name).unwrap();
    assert_eq!(store.list(kind).unwrap(), []);
    store.remove(kind, name).unwrap();
}

fn ranges_are_exact(store: &dyn Store) {
    let (kind, name, content) = (FileKind::Pack, name('b'), parts(100_000));
    store.write(kind, &name, &content).unwrap();
    let content = content.concat();
    for (offset, length) in [(0, 1), (70_000, 20_000), (99_999, 1), (0, 100_000)] {
        let range = store.read_range(kind, &name, offset, length).unwrap();
        let (start, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset + length).unwrap());
        assert!(range == content[start..end], "{offset} {length}");
    }
    assert_eq!(store.read_range(kind, &name, 5, 0).unwrap(), "");
    store.read_range(kind, &name, 99_999, 2).unwrap_err();
    store.read_range(kind, &name, 200_000, 1).unwrap_err();
    assert_eq!(trouble(store.read_range(kind, &self::name('c'), 0, 1)), Trouble::Absent);
    store.remove(kind, &name).unwrap();
}

fn threads_side_by_side(store: &dyn Store) {
    thread::scope(|scope| {
        for digit in '0'..='7' {
            scope.spawn(move || {
                let (name, content) = (name(digit), parts(50_000 + digit as usize));
                store.write(FileKind::Pack, &name, &content).unwrap();
                assert_eq!(store.read(FileKind::Pack, &name).unwrap(), content.concat());
            });
        }
    });
    let mut found = store.list(FileKind::Pack).unwrap();
    found.sort();
    let wanted: Vec<_> = ('0'..='7').map(|digit| (name(digit), 50_000 + digit as u64)).collect();
    assert_eq!(found, wanted);
    for digit in '0'..='7' {
        store.remove(FileKind::Pack, &name(digit)).unwrap();
    }
}

/// What is cut is not taken for whole, and the next attempt is good.
pub fn survives_cuts(store: &dyn Store, proxy: &Proxy) {
    let (kind, content) = (FileKind::Pack, parts(3_000_000));
    proxy.then([Fault::CutSending(1_000_000)]);
    let error = store.write(kind, &name('a'), &content).unwrap_err();
    assert_eq!(error.trouble, Trouble::Connection, "{error}");
    assert!(error.message.contains("broke: "), "{error}");
    assert_eq!(store.list(kind).unwrap(), []);
    store.write(kind, &name('a'), &content).unwrap();

    proxy.then([Fault::CutReceiving(1_000_000)]);
    assert_eq!(trouble(store.read(kind, &name('a'))), Trouble::Connection);
    assert_eq!(store.read(kind, &name('a')).unwrap(), content.concat());

    // Whether a file was written before its answer was lost is seen by its length.
    proxy.then([Fault::LoseAnswer(1_000_000)]);
    assert_eq!(trouble(store.write(kind, &name('b'), &content)), Trouble::Connection);
    assert_eq!(store.list(kind).unwrap().len(), 2);
    store.write(kind, &name('b'), &content).unwrap();
    assert!(proxy.is_done());
}
