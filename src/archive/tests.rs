use std::collections::BTreeMap;
use std::io::{Cursor, ErrorKind};
use std::sync::Mutex;

use super::*;
use crate::backup::source::Entry;
use crate::failure::Kind;
use readme::tests::subject;
use tarball::PART;

const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const MANIFEST: &str = r#"{
    "format": 1, "autoodoo": "0.1.0", "site": "acme", "site_id": "1", "kind": "hot",
    "began": "2026-11-22T09:30:00Z", "images": [], "odoo_release": 19, "postgres_version": "17.2",
    "databases": [], "bytes": 0, "files": 0, "left_out": []
}"#;

type Reader = Box<dyn Read + Send>;

/// Entries that can be gone through once.
struct Made(Mutex<Vec<io::Result<Entry>>>);

impl Source for Made {
    fn entries(&self) -> Box<dyn Iterator<Item = io::Result<Entry>> + Send> {
        Box::new(std::mem::take(&mut *self.0.lock().unwrap()).into_iter())
    }

    fn size(&self) -> u64 {
        0
    }
}

fn made(entries: impl IntoIterator<Item = io::Result<Entry>>) -> Made {
    let manifest = entry("manifest.json", None, Cursor::new(MANIFEST));
    Made(Mutex::new(entries.into_iter().chain([manifest]).collect()))
}

#[expect(clippy::unnecessary_wraps, reason = "as a source gives it")]
fn entry(path: &str, size: Option<usize>, content: impl Read + Send + 'static) -> io::Result<Entry> {
    let size = size.map(|size| size as u64);
    let open = Box::new(|| Ok(Box::new(content) as Reader));
    Ok(Entry { path: path.into(), size, stamp: None, open })
}

/// Fails after so many bytes.
fn failing(after: u64) -> impl Read + Send {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("pg_dump ended with code 1"))
        }
    }
    io::repeat(7).take(after).chain(Fails)
}

fn for_age() -> Recipients {
    Recipients::Age(vec![age_key::AgeKey::parse(AGE).unwrap()])
}

fn export(source: &Made, recipients: &Recipients, sink: impl Write) -> Result<Written> {
    Export { source, subject: &subject(), recipients, watch: &|_| Ok(()) }.write_to("acme.tar.zst", sink)
}

/// The members of an export of these that anyone can open.
fn members(entries: impl IntoIterator<Item = io::Result<Entry>>) -> BTreeMap<String, usize> {
    let mut exported = Vec::new();
    export(&made(entries), &Recipients::Anyone, &mut exported).unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(exported.as_slice()).unwrap());
    let members = archive.entries().unwrap().map(|member| {
        let mut member = member.unwrap();
        let name = member.path().unwrap().to_str().unwrap().to_owned();
        (name, usize::try_from(io::copy(&mut member, &mut io::sink()).unwrap()).unwrap())
    });
    members
        .filter(|(name, _)| !["README.txt", "SHA256SUMS", "manifest.json"].contains(&name.as_str()))
        .collect()
}

fn sizes(members: &BTreeMap<String, usize>) -> Vec<(&str, usize)> {
    members.iter().map(|(name, size)| (name.as_str(), *size)).collect()
}

type Parts = &'static [(&'static str, usize)];

#[test]
fn only_what_is_longer_than_a_part_and_of_unknown_length_is_divided() {
    let zeros = |size: usize| io::repeat(0).take(size as u64);
    let table: [(Option<usize>, usize, Parts); 6] = [
        (None, 0, &[("a", 0)]),
        (None, PART - 1, &[("a", PART - 1)]),
        (None, PART, &[("a.00000", PART)]),
        (None, PART + 5, &[("a.00000", PART), ("a.00001", 5)]),
        (Some(PART + 5), PART + 5, &[("a", PART + 5)]),
        // A short file has the size that it has when it is read.
        (Some(3), 5, &[("a", 5)]),
    ];
    for (told, size, expected) in table {
        let members = members([entry("a", told, zeros(size))]);
        assert_eq!(sizes(&members), expected, "{told:?} {size}");
    }
}

#[test]
fn what_is_not_sealed_holds_no_secrets() {
    let paths = [
        "configuration/autoodoo.yaml",
        "configuration/generated/odoo/1/odoo.conf",
        "configuration/secrets/password",
    ];
    let entries = || paths.map(|path| entry(path, None, io::empty()));
    assert_eq!(sizes(&members(entries())), [("configuration/autoodoo.yaml", 0)]);
    assert_eq!(export(&made(entries()), &for_age(), io::sink()).unwrap().files, 4);
}

#[test]
fn what_could_not_be_read_fails_the_export() {
    let gone = || io::Error::new(ErrorKind::NotFound, "there is no such file");
    let table: [(&dyn Fn() -> io::Result<Entry>, &str); 4] = [
        (&|| entry("a", None, failing(10)), "a: pg_dump ended with code 1"),
        (&|| entry("a", None, failing(PART as u64 + 9)), "a: pg_dump ended with code 1"),
        (
            &|| entry("a", Some(PART + 9), io::repeat(7).take(PART as u64 + 8)),
            "a: it changed while it was read",
        ),
        (&|| Err(gone()), "there is no such file"),
    ];
    for recipients in [Recipients::Anyone, for_age()] {
        for (entry, why) in table {
            let failure = export(&made([entry()]), &recipients, io::sink()).unwrap_err();
            assert_eq!(
                failure.to_string(),
                format!("the export failed: not everything could be read: {why}")
            );
        }
    }
}

#[test]
fn an_export_without_a_manifest_is_not_whole() {
    let source = Made(Mutex::new(vec![entry("a", None, io::empty())]));
    let failure = export(&source, &Recipients::Anyone, io::sink()).unwrap_err();
    assert!(failure.to_string().contains("manifest.json"), "{failure}");
}

#[test]
fn a_place_that_fails_is_named() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for recipients in [Recipients::Anyone, for_age()] {
        for room in [0, 1000] {
            let source = made([entry("a", None, io::repeat(0).take(90 << 20))]);
            let failure = export(&source, &recipients, Full(room)).unwrap_err();
            assert_eq!(failure.to_string(), "cannot write acme.tar.zst: no storage space");
        }
    }
}

#[test]
fn whoever_watches_can_end_it() {
    let source = made([entry("a", None, io::repeat(0))]);
    let watch = |_| Err(io::Error::new(ErrorKind::Interrupted, "interrupted"));
    let export =
        Export { source: &source, subject: &subject(), recipients: &Recipients::Anyone, watch: &watch };
    let failure = export.write_to("acme.tar.zst", io::sink()).unwrap_err();
    assert!(failure.to_string().ends_with("a: interrupted"), "{failure}");
}

#[test]
fn a_reader_ends_only_where_the_export_is_whole() {
    let subject = subject();
    let read = |source: &Made, consume: &dyn Fn(&mut dyn Read) -> Result<usize>| {
        let recipients = Recipients::Anyone;
        Export { source, subject: &subject, recipients: &recipients, watch: &|_| Ok(()) }.read_by(consume)
    };
    let all = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|error| Failure::failed("upload").because(error))
    };
    let (written, bytes) = read(&made([entry("a", None, io::empty())]), &all).unwrap();
    assert_eq!(written.files, 2);
    assert!(bytes > 500, "{bytes}");

    let failure = read(&made([entry("a", None, failing(9 << 20))]), &all).unwrap_err();
    assert!(failure.to_string().contains("pg_dump ended"), "{failure}");
    let failure = read(&made([entry("a", None, io::repeat(0).take(9 << 20))]), &|_| {
        Err(Failure::failed("the server went away"))
    });
    assert_eq!(failure.unwrap_err().to_string(), "the server went away");
    let noise = Cursor::new((0..40_000_000_u64).map(|i| ((i * i) >> 7).to_le_bytes()[0]).collect::<Vec<_>>());
    let failure = read(&made([entry("a", None, noise)]), &|_| Ok(0)).unwrap_err();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (Kind::Failed, "the export was not read to its end")
    );
}
