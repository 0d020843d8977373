use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autoodoo::dns::{Dns, Hickory};
use autoodoo::failure::Result;
use autoodoo::host::hook::{Change, HookCall, Hooks, HostHooks};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bind::{Bind, Zone};

const NAME: &str = "_acme-challenge.example.test";

/// A site directory with a hook's settings.
struct Site {
    directory: TempDir,
    hook: PathBuf,
    settings: PathBuf,
}

impl Site {
    fn new(hook: &str, settings: &str) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let secrets = directory.path().join("secrets");
        fs::create_dir(&secrets).unwrap();
        let file = secrets.join(format!("{hook}.env"));
        fs::write(&file, settings).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hooks").join(hook);
        Site { directory, hook, settings: file }
    }

    async fn run(&self, change: Change, value: &str) -> Result<()> {
        let call = HookCall {
            program: self.hook.clone(),
            site_dir: self.directory.path().to_owned(),
            change,
            name: NAME.to_owned(),
            value: value.to_owned(),
            deadline: Duration::from_secs(20),
        };
        HostHooks.run(&call).await
    }
}

fn bind() -> Bind {
    Bind::start(&[Zone { name: "example.test", records: &["@ NS ns1", "ns1 A 192.0.2.11"] }])
}

fn nsupdate(server: &Bind, key: &Path) -> Site {
    let (address, port, key) = (server.address.ip(), server.address.port(), key.display());
    let settings = format!("NSUPDATE_SERVER={address}\nNSUPDATE_PORT={port}\nNSUPDATE_KEY_FILE={key}\n");
    Site::new("nsupdate", &settings)
}

#[tokio::test]
async fn nsupdate_keeps_the_values_of_a_domain_and_its_wildcard() {
    let server = bind();
    let detours = [("192.0.2.11".parse().unwrap(), server.address)];
    let dns = Hickory::new(&[server.address]).unwrap().with_detours(detours.into());
    let site = nsupdate(&server, &server.key_file());
    let there = async |value: &str| dns.txt_everywhere(NAME, value, Duration::ZERO).await.is_ok();

    for value in ["one", "-two_", "one"] {
        site.run(Change::Present, value).await.unwrap();
    }
    assert!(there("one").await && there("-two_").await);

    for _ in 0..2 {
        site.run(Change::Cleanup, "one").await.unwrap();
        assert!(!there("one").await && there("-two_").await);
    }
    site.run(Change::Cleanup, "-two_").await.unwrap();
    assert!(!there("-two_").await);
}

#[tokio::test]
async fn nsupdate_with_a_wrong_key_or_careless_files_fails() {
    let (server, other) = (bind(), bind());
    let refused = nsupdate(&server, &other.key_file()).run(Change::Present, "one").await.unwrap_err();
    assert!(refused.evidence.iter().any(|line| line.contains("BADSIG")), "{refused:?}");

    let site = nsupdate(&server, &server.key_file());
    fs::set_permissions(server.key_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = site.run(Change::Present, "one").await.unwrap_err();
    assert!(open.evidence.join("\n").contains("can be read by every user"), "{open:?}");

    fs::set_permissions(&site.settings, fs::Permissions::from_mode(0o666)).unwrap();
    let open = site.run(Change::Present, "one").await.unwrap_err();
    assert!(open.evidence.join("\n").contains("can be changed by other users"), "{open:?}");

    let odd = site.run(Change::Present, "x\"\nupdate delete example.test.").await.unwrap_err();
    assert!(odd.evidence.join("\n").contains("is no value of a challenge"), "{odd:?}");
}

/// The hook with our own `aws` before everything else on the PATH.
struct Route53 {
    site: Site,
    state: PathBuf,
}

impl Route53 {
    fn new(further: &str) -> Route53 {
        let site = Site::new("route53", "");
        let programs = site.directory.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fake-aws");
        std::os::unix::fs::symlink(fake, programs.join("aws")).unwrap();
        let state = site.directory.path().join("state.json");
        let (path, file) = (programs.display(), state.display());
        fs::write(&site.settings, format!("PATH={path}:$PATH\nFAKE_AWS_STATE={file}\n{further}\n")).unwrap();
        Route53 { site, state }
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.state).unwrap()).unwrap()
    }

    fn values(&self) -> Vec<String> {
        let state = self.state();
        let records = state["sets"][0]["ResourceRecords"].as_array().cloned().unwrap_or_default();
        records.iter().map(|record| record["Value"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn route53_keeps_the_values_of_a_domain_and_its_wildcard() {
    let aws = Route53::new("");
    for value in ["one", "-two_", "one"] {
        aws.site.run(Change::Present, value).await.unwrap();
    }
    assert_eq!(aws.values(), ["\"-two_\"", "\"one\""]);
    let state = aws.state();
    let first = json!({"Changes": [{"Action": "CREATE", "ResourceRecordSet": {
        "Name": "_acme-challenge.example.test.", "Type": "TXT", "TTL": 60,
        "ResourceRecords": [{"Value": "\"one\""}],
    }}]});
    assert_eq!(state["batches"][0], first);
    assert_eq!(state["waited"], json!(["/change/C1", "/change/C2", "/change/C3"]));

    for _ in 0..2 {
        aws.site.run(Change::Cleanup, "one").await.unwrap();
        assert_eq!(aws.values(), ["\"-two_\""]);
    }
    aws.site.run(Change::Cleanup, "-two_").await.unwrap();
    assert_eq!(aws.state()["sets"], json!([]));
    // The repeated cleanup had nothing to change, and no cleanup waits.
    assert_eq!(aws.state()["batches"].as_array().unwrap().len(), 5);
    assert_eq!(aws.state()["waited"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn route53_loses_no_value_that_comes_in_between() {
    let aws = Route53::new("FAKE_AWS_INTERFERE=theirs");
    aws.site.run(Change::Present, "ours").await.unwrap();
    assert_eq!(aws.values(), ["\"theirs\"", "\"ours\""]);
}

#[tokio::test]
async fn route53_is_not_upset_by_warnings_nor_by_slow_servers() {
    let aws = Route53::new("FAKE_AWS_NOISE='{\"DeprecationWarning\"'\nFAKE_AWS_UNSYNCED=1");
    aws.site.run(Change::Present, "ours").await.unwrap();
    assert_eq!((aws.values(), &aws.state()["waited"]), (vec!["\"ours\"".to_owned()], &json!(["/change/C1"])));
}

#[tokio::test]
async fn route53_says_when_no_zone_holds_the_name() {
    let aws = Route53::new("ROUTE53_NAME=_acme-challenge.example.org");
    let failure = aws.site.run(Change::Present, "one").await.unwrap_err();
    assert_eq!(
        failure.evidence,
        ["error: no public hosted zone of this account holds _acme-challenge.example.org."]
    );
}
