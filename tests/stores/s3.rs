//! Repositories in a real S3 server, which checks signatures and policies and keeps locks.

use std::sync::Arc;
use std::time::Duration;

use autoodoo::repository::store::http::Limits;
use autoodoo::repository::store::patience::Patient;
use autoodoo::repository::store::s3::{Bucket, S3};
use autoodoo::repository::store::{Access, FileKind, Store, Trouble};
use autoodoo::secret::Secret;

use crate::contract::{self, content, name, trouble};
use crate::daemon::free_address;
use crate::fault::{Fault, Proxy, cuts_are_survived};
use crate::repository::{self, Restic};
use crate::s3_server::Server;

impl Server {
    fn access(&self, user: &str) -> Access {
        let (id, secret) = &self.keys[user];
        access(id, secret)
    }

    fn store(&self, bucket: &str, prefix: &str) -> S3 {
        self.store_of("owner", bucket, prefix)
    }

    fn store_of(&self, user: &str, bucket: &str, prefix: &str) -> S3 {
        store(&format!("http://{}", self.address), bucket, prefix, &self.access(user)).unwrap()
    }

    /// Through something that may break.
    fn store_by(&self, proxy: &Proxy, limits: Limits) -> S3 {
        let endpoint = format!("http://{}", proxy.address);
        let bucket = Bucket { endpoint: &endpoint, name: "plain", prefix: "p", region: "us-east-1" };
        S3::new(bucket, &self.access("owner"), limits).unwrap()
    }
}

fn access(id: &str, secret: &str) -> Access {
    Access { credentials: Some((id.to_owned(), Secret::new(secret))), ..Access::default() }
}

fn store(endpoint: &str, bucket: &str, prefix: &str, access: &Access) -> autoodoo::failure::Result<S3> {
    S3::new(Bucket { endpoint, name: bucket, prefix, region: "us-east-1" }, access, Limits::default())
}

#[test]
fn buckets_hold_repositories() {
    let server = Server::start();
    contract::holds(&server.store("plain", ""));
    contract::holds(&server.store("plain", "Kunden & Läden/a+b=100%"));
    contract::holds(&server.store("kept", "p"));
    assert_eq!(server.store("plain", "p").location(), format!("s3+http://{}/plain/p", server.address));

    // What others put beside our files is not ours; a key that only begins so is another one.
    server.store("plain", "p/keys").write(FileKind::Config, "config", &[content(5)]).unwrap();
    server.store("plain", "p/config").write(FileKind::Config, "config", &[content(5)]).unwrap();
    assert_eq!(server.store("plain", "p").list(FileKind::Key).unwrap(), []);
    assert_eq!(server.store("plain", "p").list(FileKind::Config).unwrap(), []);

    let many = server.store("many", "").list(FileKind::Snapshot).unwrap();
    let wanted: Vec<_> = (0..1100_u64).map(|number| (format!("{number:064x}"), number % 7)).collect();
    assert_eq!(many, wanted, "more than one page");
}

#[test]
fn what_may_not_be_removed_stays_in_sight() {
    let server = Server::start();
    for (user, bucket) in [("owner", "locked"), ("adder", "plain"), ("adder", "kept")] {
        let store = server.store_of(user, bucket, "p");
        store.write(FileKind::Pack, &name(1), &[content(1000)]).unwrap();
        let error = store.remove(FileKind::Pack, &name(1)).unwrap_err();
        assert_eq!(error.trouble, Trouble::Denied, "{user} {bucket}: {error}");
        assert!(error.message.contains("refuses to remove `data/00/0000"), "{error}");
        assert_eq!(store.list(FileKind::Pack).unwrap(), [(name(1), 1000)], "{user} {bucket}");
        assert_eq!(store.read(FileKind::Pack, &name(1)).unwrap(), content(1000));
    }
}

#[test]
fn whoever_is_not_let_in_is_told_why() {
    let server = Server::start();
    let endpoint = format!("http://{}", server.address);
    let (id, secret) = &server.keys["owner"];
    let said = |bucket: &str, access: &Access| {
        let store = store(&endpoint, bucket, "", access).unwrap();
        let error = store.create().unwrap_err();
        let same = store.write(FileKind::Config, "config", &[content(5)]).unwrap_err();
        assert_eq!((same.trouble, &same.message), (error.trouble, &error.message));
        (error.trouble, error.message.replace(&server.address.to_string(), "s3.example"))
    };
    let denied = |message: &str| (Trouble::Denied, message.to_owned());
    assert_eq!(
        said("plain", &access("nobody", secret)),
        denied("s3+http://s3.example/plain does not know the access key in the target's credentials")
    );
    assert_eq!(
        said("plain", &access(id, "wrong")),
        denied(
            "s3+http://s3.example/plain refuses the secret key in the target's credentials: it is not the access key's"
        )
    );
    let missing =
        "the bucket of s3+http://s3.example/missing does not exist: make it, or mend the target's URL";
    assert_eq!(said("missing", &access(id, secret)), (Trouble::Other, missing.to_owned()));

    let failure = store(&endpoint, "plain", "", &Access::default()).err().unwrap();
    assert_eq!(failure.message, "there is no access key for the bucket `plain`");
    let failure = store(&endpoint, "plain", "a/../b", &access(id, secret)).err().unwrap();
    assert_eq!(failure.message, "`a/../b` cannot be the prefix of a repository in a bucket");
}

#[test]
fn certificates_are_judged() {
    let server = Server::start();
    let endpoint = format!("https://{}", server.tls);
    let stranger = store(&endpoint, "plain", "", &server.access("owner")).unwrap();
    let error = stranger.create().unwrap_err();
    assert_eq!(error.trouble, Trouble::Other);
    let wanted =
        format!("the certificate of {endpoint} is not trusted (invalid peer certificate: UnknownIssuer)");
    assert!(error.message.starts_with(&wanted), "{error}");

    let access = Access { roots_pem: Some(server.root.clone()), ..server.access("owner") };
    contract::holds(&store(&endpoint, "plain", "p", &access).unwrap());
}

#[test]
fn connections_break() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let store = server.store_by(&proxy, Limits::default());
    proxy.then([Fault::CutSending(1_000_000)]);
    assert_eq!(trouble(store.write(FileKind::Pack, &name(1), &[content(3_000_000)])), Trouble::Connection);
    assert_eq!(store.list(FileKind::Pack).unwrap(), [], "an object is there whole or not at all");
    cuts_are_survived(store, &proxy);
}

/// The server itself refuses what is there already, whatever it said a moment ago.
#[test]
fn files_that_appear_meanwhile_are_not_replaced() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let store = server.store_by(&proxy, Limits::default());
    store.write(FileKind::Config, "config", &[content(1000)]).unwrap();
    let nothing = Fault::answer("200 OK", "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>");
    proxy.then([nothing.clone()]);
    let error = store.write(FileKind::Config, "config", &[content(999)]).unwrap_err();
    assert_eq!(error.trouble, Trouble::Exists, "{error}");
    proxy.then([nothing]);
    store.write(FileKind::Config, "config", &[content(1000)]).unwrap();
    assert!(proxy.is_done());
    assert!(store.read(FileKind::Config, "config").unwrap() == content(1000));

    // One that knows no conditions gets none, from then on.
    let unknown = "<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>";
    let empty = || Fault::answer("200 OK", "<ListBucketResult></ListBucketResult>");
    proxy.then([empty(), Fault::answer("501 Not Implemented", unknown)]);
    store.write(FileKind::Pack, &name(1), &[content(3000)]).unwrap();
    store.write(FileKind::Pack, &name(2), &[content(3000)]).unwrap();
    assert_eq!(store.list(FileKind::Pack).unwrap(), [(name(1), 3000), (name(2), 3000)]);
}

#[test]
fn servers_are_slow_or_busy_or_full() {
    let server = Server::start();
    let proxy = Proxy::start(server.address);
    let limits = Limits { silence: Duration::from_secs(1), ..Limits::default() };
    let store = server.store_by(&proxy, limits);
    let write = |store: &dyn Store| store.write(FileKind::Pack, &name(1), &[content(3_000_000)]);
    let refusal = |status: &str, code: &str| {
        Fault::answer(status, &format!("<Error><Code>{code}</Code><Message>says the test.</Message></Error>"))
    };
    let late = format!("http://{} is too slow: nothing happens for 1 s", proxy.address);
    let busy = refusal("503 Slow Down", "SlowDown");
    let faults = [
        (Fault::Silence, Trouble::Connection, late.as_str()),
        (busy.clone(), Trouble::Connection, "now: says the test (SlowDown)"),
        (refusal("507 Insufficient Storage", "XMinioStorageFull"), Trouble::Full, "says the test"),
        (refusal("403 Forbidden", "RequestTimeTooSkewed"), Trouble::Other, " ahead of the server's: set it"),
    ];
    for (fault, trouble, words) in faults {
        proxy.then([fault]);
        let error = write(&store).unwrap_err();
        assert_eq!(error.trouble, trouble, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(store.list(FileKind::Pack).unwrap(), []);

    proxy.then([busy.clone(), Fault::Silence, busy]);
    write(&Patient::new(store)).unwrap();
    assert!(proxy.is_done());
    let read = server.store("plain", "p").read(FileKind::Pack, &name(1)).unwrap();
    assert!(read == content(3_000_000));
}

#[test]
fn nobody_answers() {
    let address = free_address();
    let store = store(&format!("http://{address}"), "plain", "", &access("id", "secret")).unwrap();
    let error = store.create().unwrap_err();
    assert_eq!(error.trouble, Trouble::Connection);
    assert!(error.message.starts_with(&format!("http://{address} cannot be reached: ")), "{error}");
    assert!(error.message.contains("refused"), "{error}");
}

#[test]
fn whole_repositories() {
    let server = Server::start();
    let (id, secret) = &server.keys["owner"];
    for bucket in ["plain", "kept"] {
        let restic = Restic::at(format!("s3:http://{}/{bucket}/Büro 1", server.address))
            .with("AWS_ACCESS_KEY_ID", id)
            .with("AWS_SECRET_ACCESS_KEY", secret);
        repository::works(&(Arc::new(server.store(bucket, "Büro 1")) as _), &restic);
    }
    repository::only_grows(&(Arc::new(server.store("locked", "p")) as _));
    repository::only_grows(&(Arc::new(server.store_of("adder", "plain", "p")) as _));
}
