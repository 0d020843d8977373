//! Exports against the programs that are to open them: tar, zstd, age, gpg and sha256sum.

mod gpg;
mod made;
mod size;

use std::fs;
use std::path::Path;

use autoodoo::archive::age_key::AgeKey;
use autoodoo::archive::file::Unfinished;
use autoodoo::archive::openpgp::Certificate;
use autoodoo::archive::seal::Recipients;
use autoodoo::archive::{Export, Readme};
use gpg::Gpg;
use jiff::Timestamp;
use made::{Made, shell, subject};
use tempfile::TempDir;

struct Exported {
    dir: TempDir,
    source: Made,
    recipients: Recipients,
}

/// Those that open and check: the indented lines before what is in it.
fn commands(readme: &str) -> String {
    let (_, opening) = readme.split_once("Open it").unwrap();
    let (opening, _) = opening.split_once("What is in it").unwrap();
    let commands: Vec<&str> = opening.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(commands.len(), 4, "{readme}");
    commands.join("; ")
}

/// An export of a made-up site, as `acme.tar.zst` whatever it is sealed for.
fn exported(recipients: Recipients) -> Exported {
    let dir = tempfile::tempdir().unwrap();
    let source = Made::site();
    let mut file = Unfinished::create(&dir.path().join("acme.tar.zst")).unwrap();
    let export = Export { source: &source, subject: &subject(), recipients: &recipients, watch: &|_| Ok(()) };
    export.write_to("acme.tar.zst", &mut file).unwrap();
    file.keep().unwrap();
    Exported { dir, source, recipients }
}

impl Exported {
    /// Opens it with the commands of its own README, and compares everything with the source. `key`
    /// is what these need: a file of age, or a home of GnuPG.
    fn assert_opens(&self, key: &Path) {
        let readme = Readme { subject: &subject(), recipients: &self.recipients }.to_string();
        let key = key.display();
        let commands = commands(&readme).replace("KEYFILE", &key.to_string());
        let said = self.run(&format!("set -e; export GNUPGHOME={key}; {commands}")).unwrap();
        assert_eq!(said, "", "sha256sum is content");
        assert_eq!(fs::read_to_string(self.dir.path().join("export/README.txt")).unwrap(), readme);
        let listed = self.run("cat export/SHA256SUMS* | wc -l").unwrap().trim().parse::<usize>().unwrap();
        let files = self.run("find export -type f | grep -v SHA256SUMS | wc -l").unwrap();
        assert_eq!(listed, files.trim().parse::<usize>().unwrap());
        for (path, content) in self.source.contents() {
            let joined =
                self.run(&format!("cat 'export/{}'* | sha256sum", path.replace('\'', r"'\''"))).unwrap();
            let bytes = content.sha256();
            assert!(joined.starts_with(&bytes), "{path}: {joined} is not {bytes}");
        }
        self.run("rm -r export").unwrap();
    }

    fn assert_does_not_open(&self, open: &str) {
        self.run(&format!("{open} < acme.tar.zst > /dev/null")).unwrap_err();
    }

    /// Without its last bytes it opens with no success.
    fn assert_notices_a_cut(&self, open: &str) {
        let size = self.dir.path().join("acme.tar.zst").metadata().unwrap().len();
        for cut in [1, 40, 100_000, size - 2000] {
            let command = format!("head -c -{cut} acme.tar.zst | {open} | zstd -q -d > /dev/null");
            self.run(&command).unwrap_err();
        }
    }

    fn run(&self, command: &str) -> Result<String, String> {
        shell(self.dir.path(), command)
    }
}

fn age_key(dir: &Path, name: &str) -> AgeKey {
    shell(dir, &format!("age-keygen -o {name} 2>/dev/null")).unwrap();
    AgeKey::parse(&shell(dir, &format!("age-keygen -y {name}")).unwrap()).unwrap()
}

fn ssh_key(dir: &Path, kind: &str) -> AgeKey {
    shell(dir, &format!("ssh-keygen -q -t {kind} -N '' -f {kind}")).unwrap();
    AgeKey::parse(&fs::read_to_string(dir.join(format!("{kind}.pub"))).unwrap()).unwrap()
}

#[test]
fn without_recipients_tar_and_zstd_open_it() {
    let exported = exported(Recipients::Anyone);
    exported.assert_opens(Path::new("none"));
    exported.assert_notices_a_cut("cat");
}

#[test]
fn every_age_recipient_opens_it_and_nobody_else() {
    let keys = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("age -d -i {}", keys.path().join(name).display());
    let recipients =
        vec![age_key(keys.path(), "one"), ssh_key(keys.path(), "ed25519"), ssh_key(keys.path(), "rsa")];
    age_key(keys.path(), "stranger");
    let exported = exported(Recipients::Age(recipients));
    for name in ["one", "ed25519", "rsa"] {
        exported.assert_opens(&keys.path().join(name));
    }
    exported.assert_does_not_open(&at("stranger"));
    exported.assert_notices_a_cut(&at("one"));
}

#[test]
fn every_openpgp_recipient_opens_it_and_nobody_else() {
    let people = [Gpg::with_key("rsa3072"), Gpg::with_key("future-default")];
    let certificates = people.iter().flat_map(|person| person.certificates().unwrap()).collect();
    let stranger = Gpg::with_key("future-default");
    let exported = exported(Recipients::OpenPgp(certificates));
    for person in &people {
        exported.assert_opens(person.home());
    }
    exported.assert_does_not_open(&stranger.decrypt());
    exported.assert_notices_a_cut(&people[0].decrypt());
}

#[test]
fn a_flipped_byte_is_noticed() {
    let keys = tempfile::tempdir().unwrap();
    let age = Recipients::Age(vec![age_key(keys.path(), "one")]);
    let person = Gpg::with_key("future-default");
    let openpgp = Recipients::OpenPgp(person.certificates().unwrap());
    let with_age = format!("age -d -i {}", keys.path().join("one").display());
    for (recipients, open) in [(Recipients::Anyone, "cat"), (age, &with_age), (openpgp, &person.decrypt())] {
        let exported = exported(recipients);
        let path = exported.dir.path().join("acme.tar.zst");
        let whole = fs::read(&path).unwrap();
        for at in [whole.len() / 3, whole.len() / 2, whole.len() - 3000] {
            let mut altered = whole.clone();
            altered[at] ^= 0x10;
            fs::write(&path, altered).unwrap();
            exported.run(&format!("{open} < acme.tar.zst | zstd -q -d > /dev/null")).unwrap_err();
        }
    }
}

/// The text that GnuPG makes of it is what the program understands, and what it does not understand
/// is told in words.
#[test]
fn certificates_that_are_no_use_are_refused_with_the_reason() {
    let now = Timestamp::now();
    let later: Timestamp = "2040-01-01T00:00:00Z".parse().unwrap();
    let refused = |name: &str, bytes: &[u8], now| Certificate::parse(name, bytes, now).unwrap_err().message;

    let person = Gpg::with_key("future-default");
    let public = person.public();
    let fingerprint = person.fingerprint();
    let shown = Certificate::parse("acme.asc", &public, now).unwrap()[0].to_string();
    assert_eq!(shown, format!("{fingerprint} (Export Test <test@example.com>)"));
    let expired = refused("acme.asc", &public, later);
    assert!(expired.starts_with(&format!("the OpenPGP certificate {fingerprint} (")), "{expired}");
    assert!(expired.contains("expired on 20"), "{expired}");

    assert_eq!(refused("empty", b"", now), "empty holds no OpenPGP certificate");
    assert_eq!(refused("acme.pub", b"ssh-ed25519 AAAA", now), "acme.pub holds no OpenPGP certificate");
    let noise: Vec<u8> = (0..2000_u32).map(|i| (i * i % 251) as u8 | 0x80).collect();
    assert_eq!(refused("noise", &noise, now), "noise holds no OpenPGP certificate");
    assert!(refused("half", &public[..public.len() / 2], now).contains("half"));

    let private = refused("secret.asc", &person.private(), now);
    assert!(private.starts_with("secret.asc holds a private OpenPGP key"), "{private}");

    let signing = Gpg::with_key("ed25519/cert,sign");
    assert!(refused("sign.asc", &signing.public(), now).ends_with("has no key for encryption"));

    let subkey = Gpg::with_key("future-default");
    subkey.expire_subkeys();
    let expired = refused("sub.asc", &subkey.public(), now + jiff::SignedDuration::from_hours(49));
    assert!(expired.contains("has a key for encryption that expired on"), "{expired}");
    subkey.revoke_subkey();
    let revoked = refused("sub.asc", &subkey.public(), now);
    assert!(revoked.ends_with("has a key for encryption that is revoked"), "{revoked}");

    person.revoke();
    assert!(refused("acme.asc", &person.public(), now).ends_with("in acme.asc is revoked"));
}

#[test]
fn a_key_ring_is_all_of_its_certificates() {
    let (one, two) = (Gpg::with_key("future-default"), Gpg::with_key("rsa2048"));
    one.import(&two.public());
    assert_eq!(one.certificates().unwrap().len(), 2);
}

/// As `backup setup` keeps those that were named one by one.
#[test]
fn armored_certificates_follow_each_other_once_the_armor_is_off() {
    let (one, two) = (Gpg::with_key("future-default"), Gpg::with_key("rsa2048"));
    let packets =
        [one.public(), two.public()].map(|armored| Certificate::unarmored("a.asc", &armored).unwrap());
    let together = packets.concat();
    assert_eq!(Certificate::parse("both", &together, Timestamp::now()).unwrap().len(), 2);
    assert_eq!(Certificate::unarmored("both", &together).unwrap(), together);
}
