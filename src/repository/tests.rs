//! What rustic does not promise by itself, on a store in memory.

use std::io::{self, Cursor, Read};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::Duration;

use super::source::{Entry, Opener, Stamp};
use super::store::memory::Memory;
use super::*;

type Open = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// A file that can be offered again and again.
#[derive(Clone)]
struct Made {
    path: &'static str,
    size: Option<u64>,
    stamp: Option<Stamp>,
    open: Open,
    /// How often it was opened.
    opened: Arc<AtomicUsize>,
}

fn made(
    path: &'static str,
    open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
) -> Made {
    Made { path, size: None, stamp: None, open: Arc::new(open), opened: Arc::default() }
}

fn stream(path: &'static str, content: &'static [u8]) -> Made {
    made(path, move || Ok(Box::new(Cursor::new(content))))
}

fn file(path: &'static str, content: &'static [u8], inode: u64) -> Made {
    let stamp = Stamp { modified: Timestamp::UNIX_EPOCH, inode, mode: 0o640 };
    Made { size: Some(content.len() as u64), stamp: Some(stamp), ..stream(path, content) }
}

struct Offered(Vec<Made>);

impl Source for Offered {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let entries = self.0.clone().into_iter().map(|it| {
            let open: Opener = Box::new(move || {
                it.opened.fetch_add(1, SeqCst);
                (it.open)()
            });
            Ok(Entry { path: it.path.into(), size: it.size, stamp: it.stamp, open })
        });
        Box::new(entries)
    }

    fn size(&self) -> u64 {
        9
    }
}

/// Gives so many bytes, then fails.
struct Breaking(u64);

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("pg_dump ended with exit code 1"));
        }
        let given = buffer.len().min(usize::try_from(self.0).unwrap());
        buffer[..given].fill(7);
        self.0 -= given as u64;
        Ok(given)
    }
}

fn repository() -> (Arc<Memory>, Repository) {
    let memory = Arc::new(Memory::default());
    let repository =
        Repository::init(Arc::clone(&memory) as Arc<dyn Store>, &Secret::new("password")).unwrap();
    (memory, repository)
}

fn back_up(repository: &Repository, files: &[Made]) -> Result<Saved> {
    let label = Label { site: "acme".to_owned(), tags: Vec::new(), time: Timestamp::UNIX_EPOCH };
    repository.back_up(Arc::new(Offered(files.to_vec())), &label, &Arc::default())
}

fn saved(repository: &Repository) -> usize {
    repository.snapshots().unwrap().snapshots.len()
}

fn content(repository: &Repository, snapshot: &str, path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    repository.read(snapshot, path, &mut content).unwrap();
    content
}

#[test]
fn a_source_that_fails_is_no_backup() {
    let (_, repository) = repository();
    // At once, within the first chunk, and after several.
    for bytes in [0, 1000, 5 << 20] {
        let broken = made("databases/dump", move || Ok(Box::new(Breaking(bytes))));
        let failure = back_up(&repository, &[stream("a", b"a"), broken, stream("z", b"z")]).unwrap_err();
        assert_eq!(failure.message, "cannot read databases/dump: pg_dump ended with exit code 1");
        assert_eq!(saved(&repository), 0);
    }
}

#[test]
fn a_source_that_cannot_be_opened_is_no_backup() {
    let (_, repository) = repository();
    let closed = made("b", || Err(io::Error::other("no such container")));
    let failure = back_up(&repository, &[stream("a", b"a"), closed]).unwrap_err();
    assert_eq!(failure.message, "cannot read b: no such container");
    assert_eq!(saved(&repository), 0);
}

#[test]
fn entries_out_of_order_or_leading_elsewhere_are_no_backup() {
    let (_, repository) = repository();
    let wrong: [&[&str]; 6] = [&["b", "a"], &["a", "a"], &["a", "a/b"], &["/a"], &["../a"], &["a/../b"]];
    for paths in wrong {
        let files: Vec<Made> = paths.iter().map(|path| stream(path, b"x")).collect();
        let failure = back_up(&repository, &files).unwrap_err();
        assert!(failure.message.contains("cannot come after"), "{paths:?}: {failure}");
    }
    // By components: "a-b" sorts before "a/b" as text.
    back_up(&repository, &[stream("a/b", b"x"), stream("a-b", b"x")]).unwrap();
    assert_eq!(saved(&repository), 1);
}

#[test]
fn a_stream_is_read_anew_and_an_unchanged_file_is_not() {
    let (_, repository) = repository();
    let (attachment, first) = (file("b", b"attachment", 1), stream("a", b"one"));
    back_up(&repository, &[first, attachment.clone()]).unwrap();
    let second = back_up(&repository, &[stream("a", b"two"), attachment.clone()]).unwrap();
    assert_eq!(attachment.opened.load(SeqCst), 1);
    assert_eq!(content(&repository, &second.id, "a"), b"two");
    assert_eq!(content(&repository, &second.id, "b"), b"attachment");
    // The same path, size and time: another file took its place.
    let third = back_up(&repository, &[stream("a", b"two"), file("b", b"ATTACHMENT", 2)]).unwrap();
    assert_eq!(content(&repository, &third.id, "b"), b"ATTACHMENT");
}

/// An empty stream has the size 0 that is told of streams: nothing but time and inode set it apart.
#[test]
fn a_stream_that_was_empty_is_read_anew() {
    let (_, repository) = repository();
    let empty = stream("a", b"");
    for runs in 1..=3 {
        back_up(&repository, std::slice::from_ref(&empty)).unwrap();
        assert_eq!(empty.opened.load(SeqCst), runs);
    }
}

/// Gives a byte at a time, and is interrupted now and then.
struct Trickling(Cursor<Vec<u8>>, bool);

impl Read for Trickling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let short = buffer.len().min(1);
        self.0.read(&mut buffer[..short])
    }
}

/// rustic's chunker takes over whatever a short read gave as the size of its buffer.
#[test]
fn short_reads_are_joined() {
    let content: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let tally = Arc::default();
    let adapter = archive::Adapter {
        source: Arc::new(Offered(vec![made("a", move || {
            Ok(Box::new(Trickling(Cursor::new(content.clone()), false)))
        })])),
        gate: Gate::new(&Arc::default()),
        tally: Arc::clone(&tally),
    };
    let entry = rustic_core::ReadSource::entries(&adapter).next().unwrap().unwrap();
    let mut reader = rustic_core::ReadSourceOpen::open(entry.open.unwrap()).unwrap();
    let mut buffer = [0; 4096];
    let reads: Vec<usize> = std::iter::repeat_with(|| reader.read(&mut buffer).unwrap()).take(26).collect();
    assert_eq!(reads[..24], [4096; 24]);
    assert_eq!(reads[24..], [100_000 - 24 * 4096, 0]);
    drop(reader);
    adapter.gate.passed().unwrap();
}

#[test]
fn a_reader_that_is_dropped_before_its_end_is_no_backup() {
    let adapter = archive::Adapter {
        source: Arc::new(Offered(vec![stream("a", b"content")])),
        gate: Gate::new(&Arc::default()),
        tally: Arc::default(),
    };
    let entry = rustic_core::ReadSource::entries(&adapter).next().unwrap().unwrap();
    let mut reader = rustic_core::ReadSourceOpen::open(entry.open.unwrap()).unwrap();
    reader.read_exact(&mut [0; 3]).unwrap();
    drop(reader);
    let failure = adapter.gate.passed().unwrap_err();
    assert_eq!(failure.message, "a was not read to its end");
}

#[test]
fn a_write_that_fails_is_no_backup() {
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let (memory, repository) = repository();
        *memory.refuse_writes.lock().unwrap() = Some((kind, Trouble::Full));
        let big = made("a", || Ok(Box::new(io::repeat(1).take(3 << 20))));
        let failure = back_up(&repository, &[big, stream("b", b"b")]).unwrap_err();
        assert_eq!(failure.message, format!("{kind:?} files are refused"));
        assert_eq!(memory.list(FileKind::Snapshot).unwrap(), []);
        // What was written so far does not stand in the way.
        *memory.refuse_writes.lock().unwrap() = None;
        back_up(&repository, &[stream("b", b"b")]).unwrap();
        assert_eq!(repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().all(), [""; 0]);
    }
}

#[test]
fn who_stops_it_gets_no_backup() {
    let (_, repository) = repository();
    let progress = Arc::new(Progress::default());
    let stopping = {
        let progress = Arc::clone(&progress);
        made("a", move || {
            progress.stop.store(true, SeqCst);
            Ok(Box::new(io::repeat(1)))
        })
    };
    let label = Label { site: "acme".to_owned(), tags: Vec::new(), time: Timestamp::UNIX_EPOCH };
    let failure = repository.back_up(Arc::new(Offered(vec![stopping])), &label, &progress).unwrap_err();
    assert!(failure.message.contains("stopped"), "{failure}");
    assert_eq!(saved(&repository), 0);
}

/// rustic stores 0 for a stream, and the restic program makes an empty file of it.
#[test]
fn sizes_are_those_that_were_read() {
    let (_, repository) = repository();
    let grown = Made { size: Some(1), ..file("logs/odoo.log", b"grown", 1) };
    let files = [stream("a/b/dump", b"content"), stream("a/empty", b""), grown, stream("manifest", b"{}")];
    // The second time every directory but the streams' is there already.
    for _ in 0..2 {
        let id = back_up(&repository, &files).unwrap().id;
        let mut sizes = Vec::new();
        let walked = repository.walk(&id, "", &mut |node| {
            sizes.extend((!node.is_directory).then_some((node.path.display().to_string(), node.size)));
            Ok(())
        });
        walked.unwrap();
        let expected = [("a/b/dump", 7), ("a/empty", 0), ("logs/odoo.log", 5), ("manifest", 2)];
        assert_eq!(sizes, expected.map(|(path, size)| (path.to_owned(), size)));
    }
}

/// The manifest's opener waits until the readers of all entries before are gone. However many cores
/// there are: the archiver has a thread for each.
#[test]
fn the_last_entry_may_wait_for_all_others() {
    let (_, repository) = repository();
    let unchanged: Vec<Made> = vec![file("b", b"b", 1), file("c", b"c", 2), file("d", b"d", 3)];
    back_up(&repository, &unchanged).unwrap();
    let (done, waits) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let waiting = Waiting { before: unchanged, slow: 50 };
        let label = Label { site: "acme".to_owned(), tags: Vec::new(), time: Timestamp::UNIX_EPOCH };
        done.send(repository.back_up(Arc::new(waiting), &label, &Arc::default()).map(|saved| saved.files))
    });
    let files = waits.recv_timeout(Duration::from_mins(1)).expect("the backup hangs").unwrap();
    assert_eq!(files, 3 + 50 + 1);
    worker.join().unwrap().unwrap();
}

/// Unchanged files, slow streams, and a last entry that waits until their tokens are gone.
struct Waiting {
    before: Vec<Made>,
    slow: usize,
}

struct Held<R>(R, #[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

impl<R: Read> Read for Held<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(1));
        self.0.read(buffer)
    }
}

impl Source for Waiting {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        let token = Arc::new(());
        let held = |entry: io::Result<Entry>, token: Arc<()>| {
            entry.map(|entry| Entry {
                open: Box::new(move || Ok(Box::new(Held((entry.open)()?, token)) as Box<dyn Read + Send>)),
                ..entry
            })
        };
        let slow = (0..self.slow).map(|number| {
            let open: Opener = Box::new(|| Ok(Box::new(Cursor::new(b"slow"))));
            Ok(Entry { path: format!("e/{number:03}").into(), size: None, stamp: None, open })
        });
        let before = Offered(self.before.clone()).entries().chain(slow);
        let before: Vec<_> = before.map(|entry| held(entry, Arc::clone(&token))).collect();
        let last: Opener = Box::new(move || {
            while Arc::strong_count(&token) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Box::new(Cursor::new(b"{}")))
        });
        let last = Entry { path: "manifest.json".into(), size: None, stamp: None, open: last };
        Box::new(before.into_iter().chain([Ok(last)]))
    }

    fn size(&self) -> u64 {
        0
    }
}

#[test]
fn a_place_that_lets_nothing_be_removed_says_who_prunes() {
    let (memory, repository) = repository();
    let first = back_up(&repository, &[stream("a", b"one")]).unwrap();
    *memory.refuse_removals.lock().unwrap() = Some(Trouble::Denied);
    let failure = repository.prune(&[first.id], Removal::Marked, &Arc::default()).unwrap_err();
    assert_eq!(failure.message, "memory lets nothing be removed from here");
    assert!(failure.hints[0].contains("the server itself prunes"), "{failure:?}");
    assert_eq!(saved(&repository), 1);
}

#[test]
fn snapshots_that_cannot_be_read_are_told_beside_the_good_ones() {
    let (memory, repository) = repository();
    back_up(&repository, &[stream("a", b"one")]).unwrap();
    let half = "00".repeat(32);
    memory.plant(FileKind::Snapshot, &half, b"half written");
    let listing = repository.snapshots().unwrap();
    assert_eq!(listing.snapshots.len(), 1);
    assert_eq!(
        listing.unreadable,
        [format!("memory: snapshots/{half} is damaged: its content is not what its name says")]
    );
    // It does not stop backups, but pruning: what it needs is unknown.
    let second = back_up(&repository, &[stream("a", b"two")]).unwrap();
    let failure = repository.prune(&[second.id], Removal::Marked, &Arc::default()).unwrap_err();
    assert!(failure.to_string().contains(&half), "{failure}");
    assert_eq!(saved(&repository), 2);
}

#[test]
fn a_wrong_password_is_told_apart_from_a_damaged_key() {
    let (memory, _) = repository();
    let store = Arc::clone(&memory) as Arc<dyn Store>;
    let wrong = |store: &Arc<dyn Store>| {
        Repository::open(Arc::clone(store), &Secret::new("other"), None).err().unwrap()
    };
    assert_eq!(wrong(&store).message, "the password is not that of the repository at memory");
    // A damaged key beside the sound one: the sound one opens, and the check tells.
    memory.plant(FileKind::Key, &"00".repeat(32), b"{}");
    let repository = Repository::open(Arc::clone(&store), &Secret::new("password"), None).unwrap();
    let faults = repository.check(Depth::Structure, None, &Arc::default()).unwrap().all();
    assert!(matches!(&faults[..], [fault] if fault.contains("keys/0000")), "{faults:?}");
}

#[test]
fn a_damaged_cache_does_not_stand_in_the_way() {
    let (memory, repository) = repository();
    let store = memory as Arc<dyn Store>;
    let cache = tempfile::tempdir().unwrap();
    let cached =
        || Repository::open(Arc::clone(&store), &Secret::new("password"), Some(cache.path())).unwrap();
    let ruin = || {
        let mut left = vec![cache.path().join(repository.id())];
        let mut ruined = 0;
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let length = std::fs::metadata(&path).unwrap().len();
            std::fs::write(&path, vec![0; usize::try_from(length).unwrap()]).unwrap();
            ruined += 1;
        }
        assert!(ruined >= 2, "{ruined}");
    };
    let first = back_up(&cached(), &[stream("a", b"one")]).unwrap();
    cached().snapshots().unwrap();
    ruin();
    assert_eq!(cached().snapshots().unwrap().snapshots.len(), 1);
    assert_eq!(content(&cached(), &first.id, "a"), b"one");
    let second = back_up(&cached(), &[stream("a", b"two")]).unwrap();
    ruin();
    cached().prune(&[first.id], Removal::Marked, &Arc::default()).unwrap();
    assert_eq!(content(&cached(), &second.id, "a"), b"two");
}

#[test]
fn progress_counts_bytes() {
    let (_, repository) = repository();
    let label = Label { site: "acme".to_owned(), tags: Vec::new(), time: Timestamp::UNIX_EPOCH };
    let source: Arc<dyn Source> = Arc::new(Offered(vec![stream("a", b"12345"), file("b", b"678", 1)]));
    // Files that are not read again count as well.
    for _ in 0..2 {
        let progress = Arc::new(Progress::default());
        repository.back_up(Arc::clone(&source), &label, &progress).unwrap();
        assert_eq!((progress.done.load(SeqCst), progress.total.load(SeqCst)), (8, 9));
    }
    let progress = Arc::default();
    repository.check(Depth::Data(1.0), None, &progress).unwrap();
    assert_eq!(progress.done.load(SeqCst), progress.total.load(SeqCst));
}

#[test]
fn only_the_sites_own_backups_are_judged() {
    let (_, repository) = repository();
    for site in ["acme", "other", "acme"] {
        let label = Label { site: site.to_owned(), tags: Vec::new(), time: Timestamp::UNIX_EPOCH };
        repository.back_up(Arc::new(Offered(vec![stream("a", b"x")])), &label, &Arc::default()).unwrap();
    }
    let keep = Keep { last: 1, ..Keep::default() };
    let verdicts = repository.judge(&keep, "acme", Timestamp::UNIX_EPOCH).unwrap();
    assert!(verdicts.len() == 2 && verdicts.iter().all(|it| it.snapshot.host == "acme"), "{verdicts:?}");
}

/// Whoever made the repository: rustic's packs of 32 MiB and more would take 200 MB of memory.
#[test]
fn packs_have_a_fixed_size() {
    let (memory, repository) = repository();
    let big = made("a", || Ok(Box::new(Counting(0).take(60 << 20))));
    back_up(&repository, &[big]).unwrap();
    let mut sizes: Vec<u64> =
        memory.list(FileKind::Pack).unwrap().into_iter().map(|(_, size)| size).collect();
    sizes.sort_unstable();
    let largest = sizes.pop().unwrap();
    assert!((16 << 20..26 << 20).contains(&largest), "{largest} of {sizes:?}");
}

/// Numbers that do not repeat, and that nobody compresses by much.
struct Counting(u64);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in &mut *buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
        Ok(buffer.len())
    }
}

/// Content that does not compress, so that every file is a part of its own in a pack that several share.
fn noise(path: &'static str, seed: u64) -> Made {
    let mut content = Vec::new();
    Counting(seed).take(3_000).read_to_end(&mut content).unwrap();
    file(path, content.leak(), seed)
}

fn ruin(memory: &Memory, kind: FileKind, which: impl Fn(&str) -> bool) -> usize {
    let names: Vec<String> = memory.list(kind).unwrap().into_iter().map(|(name, _)| name).collect();
    let chosen: Vec<&String> = names.iter().filter(|name| which(name)).collect();
    for name in &chosen {
        let mut content = memory.read(kind, name).unwrap().to_vec();
        content[40] ^= 1;
        memory.plant(kind, name, content.leak());
    }
    chosen.len()
}

/// Whichever pack it is, with directories or with content: after it was set aside another backup has
/// everything again, although no file has changed.
#[test]
fn what_was_in_a_damaged_pack_is_stored_anew() {
    let files = [noise("a/b", 1), noise("a/c", 2), stream("z", b"text")];
    let packs = |memory: &Memory| memory.list(FileKind::Pack).unwrap().len();
    for number in 0..3 {
        let (memory, repository) = repository();
        back_up(&repository, &files).unwrap();
        assert_eq!(packs(&memory), 3, "content, directories, and those with corrected sizes");
        let pack = memory.list(FileKind::Pack).unwrap()[number].0.clone();
        assert_eq!(ruin(&memory, FileKind::Pack, |name| name == pack), 1);
        let checked = repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap();
        assert_eq!(checked.packs, [pack.clone()].into());
        let aside = repository.set_aside(&checked.packs).unwrap();
        assert_eq!(aside.packs, std::slice::from_ref(&pack));
        assert!(aside.saved + 1 == aside.parts, "one part is lost, whatever lies beside it: {aside:?}");
        assert!(memory.read(FileKind::Pack, &pack).is_ok(), "a later prune removes it");
        let second = back_up(&repository, &files).unwrap();
        assert_eq!(content(&repository, &second.id, "a/b"), content_of(&files[0]));
        assert_eq!(content(&repository, &second.id, "a/c"), content_of(&files[1]));
        let checked = repository.check(Depth::Data(1.0), Some(&second.id), &Arc::default()).unwrap();
        assert_eq!(checked.faults, [""; 0]);
        // Nothing is wrong any more: nothing is done.
        assert_eq!(repository.set_aside(&[pack].into()).unwrap().packs, [""; 0]);
    }
}

fn content_of(made: &Made) -> Vec<u8> {
    let mut content = Vec::new();
    (made.open)().unwrap().read_to_end(&mut content).unwrap();
    content
}

#[test]
fn a_pack_that_is_sound_is_never_set_aside() {
    let (memory, repository) = repository();
    back_up(&repository, &[noise("a", 1)]).unwrap();
    let packs = memory.list(FileKind::Pack).unwrap().into_iter().map(|(name, _)| name).collect();
    let before = memory.list(FileKind::Index).unwrap();
    assert_eq!(repository.set_aside(&packs).unwrap().packs, [""; 0]);
    assert_eq!(memory.list(FileKind::Index).unwrap(), before);
}

/// The old index files go last, and only when the new ones are there.
#[test]
fn setting_aside_may_break_off_anywhere() {
    let (memory, repository) = repository();
    back_up(&repository, &[noise("a", 1), noise("b", 2)]).unwrap();
    ruin(&memory, FileKind::Pack, |_| true);
    let packs = repository.check(Depth::Data(1.0), None, &Arc::default()).unwrap().packs;
    let before = memory.list(FileKind::Index).unwrap();
    for kind in [FileKind::Pack, FileKind::Index] {
        *memory.refuse_writes.lock().unwrap() = Some((kind, Trouble::Full));
        repository.set_aside(&packs).unwrap_err();
        let now = memory.list(FileKind::Index).unwrap();
        assert!(before.iter().all(|file| now.contains(file)), "{kind:?}");
    }
    *memory.refuse_writes.lock().unwrap() = None;
    *memory.refuse_removals.lock().unwrap() = Some(Trouble::Denied);
    let refused = repository.set_aside(&packs).unwrap_err();
    assert_eq!(refused.message, "memory lets nothing be removed from here");
    assert!(refused.hints[0].contains("restic repair index"), "{refused:?}");
    assert_eq!(memory.list(FileKind::Index).unwrap(), before, "nothing was written");
    *memory.refuse_removals.lock().unwrap() = None;
    assert_eq!(repository.set_aside(&packs).unwrap().packs.len(), packs.len());
    let second = back_up(&repository, &[noise("a", 1), noise("b", 2)]).unwrap();
    let checked = repository.check(Depth::Data(1.0), Some(&second.id), &Arc::default()).unwrap();
    assert_eq!(checked.faults, [""; 0]);
}
