//! What every place has to hold to.

use autoodoo::repository::store::{FileKind, Store, StoreError, Trouble};
use bytes::Bytes;

/// A name such as the format has them: 64 hexadecimal digits.
pub fn name(number: u64) -> String {
    format!("{number:064x}")
}

/// Bytes that differ everywhere, so that a piece in the wrong place is seen.
pub fn content(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| next()).collect()
}

pub fn trouble<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Trouble {
    result.unwrap_err().trouble
}

/// All of it, on a place where nothing is and everything may be done.
pub fn holds(store: &dyn Store) {
    store.create().unwrap();
    files_are_added_and_read(store);
    ranges_are_exact(store);
    large_files_come_back_as_they_were(store);
    threads_share_it(store);
    files_are_removed(store);
}

/// A place that was made by `create`. Leaves files of every kind.
pub fn files_are_added_and_read(store: &dyn Store) {
    for kind in FileKind::ALL {
        assert_eq!(store.list(kind).unwrap(), [], "{kind:?}");
        let name = if kind == FileKind::Config { "config".to_owned() } else { name(7) };
        assert_eq!(trouble(store.read(kind, &name)), Trouble::Absent, "{kind:?}");
        store
            .write(kind, &name, &[Bytes::from_static(b"con"), Bytes::new(), Bytes::from_static(b"tent")])
            .unwrap();
        assert_eq!(store.read(kind, &name).unwrap(), "content");
        assert_eq!(store.read_range(kind, &name, 3, 2).unwrap(), "te");
        assert_eq!(store.list(kind).unwrap(), [(name.clone(), 7)]);
        // A retry after a cut finds its own work; anything else is not replaced.
        store.write(kind, &name, &[Bytes::from_static(b"content")]).unwrap();
        assert_eq!(trouble(store.write(kind, &name, &[Bytes::from_static(b"other")])), Trouble::Exists);
        assert_eq!(store.read(kind, &name).unwrap(), "content");
        assert!(store.read_range(kind, &name, 3, 100).is_err(), "bytes that are not there");
    }
    assert!(store.free().unwrap().is_none_or(|free| free > 0));
}

pub fn ranges_are_exact(store: &dyn Store) {
    let (kind, name, whole) = (FileKind::Index, name(2), content(100_000));
    store.write(kind, &name, std::slice::from_ref(&whole)).unwrap();
    for (offset, length) in [(0, 1), (70_000, 20_000), (99_999, 1), (0, 100_000), (5, 0)] {
        let range = store.read_range(kind, &name, offset, length).unwrap();
        let (start, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset + length).unwrap());
        assert!(range == whole[start..end], "{length} bytes from {offset}");
    }
    for (offset, length) in [(99_999, 2), (200_000, 1)] {
        assert!(store.read_range(kind, &name, offset, length).is_err(), "{length} bytes from {offset}");
    }
    assert_eq!(trouble(store.read_range(kind, &self::name(3), 0, 1)), Trouble::Absent);
}

pub fn large_files_come_back_as_they_were(store: &dyn Store) {
    let whole = content(9 * 1024 * 1024 + 77);
    let parts = [whole.slice(..5), whole.slice(5..4_000_000), whole.slice(4_000_000..)];
    store.write(FileKind::Pack, &name(1), &parts).unwrap();
    assert!(store.read(FileKind::Pack, &name(1)).unwrap() == whole);
    let range = store.read_range(FileKind::Pack, &name(1), 1_000_001, 3_000_003).unwrap();
    assert!(range == whole.slice(1_000_001..4_000_004));
}

pub fn threads_share_it(store: &dyn Store) {
    std::thread::scope(|scope| {
        for number in 100..108_u64 {
            scope.spawn(move || {
                let data = content(700_000 + usize::try_from(number).unwrap());
                let name = format!("{number:02x}{}", name(number)[2..].to_owned());
                store.write(FileKind::Pack, &name, std::slice::from_ref(&data)).unwrap();
                assert!(store.read(FileKind::Pack, &name).unwrap() == data);
            });
        }
    });
    let packs = store.list(FileKind::Pack).unwrap();
    assert_eq!(packs.iter().filter(|(_, size)| *size > 700_000 && *size < 800_000).count(), 8);
}

pub fn files_are_removed(store: &dyn Store) {
    store.remove(FileKind::Lock, &name(7)).unwrap();
    assert_eq!(store.list(FileKind::Lock).unwrap(), []);
    store.remove(FileKind::Lock, &name(7)).unwrap();
}
