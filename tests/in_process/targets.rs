//! Targets of backups: made ready, remembered, missed; the recovery kit; what status says.

use std::os::unix::fs::PermissionsExt;

use autoodoo::ui::prompt::Answer::{No, Say, Yes};
use autoodoo::ui::prompt::Scripted;
use serde_json::Value;

use crate::world::{HOST_KEY, Ran, World};

const SFTP: &str = "sftp://b@backup.example.com/odoo";
const S3: &str = "s3://s3.example.com/acme-backup";

/// A site with these targets; one that begins with `./` lies below the site directory.
fn with_targets(urls: &[&str]) -> World {
    let world = World::with_site();
    let root = world.root().display().to_string();
    let line = |url: &&str| format!("    - {}\n", url.replace("./", &format!("{root}/")));
    let lines = urls.iter().map(line).collect::<Vec<_>>().concat();
    world.edit("  # to:\n", &format!("  to:\n{lines}  # to:\n"));
    world
}

fn good(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

fn repository_of(world: &World, target: &str) -> String {
    let memory: Value = serde_json::from_str(&world.text("state/backups.json")).unwrap();
    memory["targets"][target]["repository"].as_str().expect("a repository").to_owned()
}

#[test]
fn a_directory_becomes_a_target_once() {
    let world = with_targets(&["./disk"]);
    let plan = good(world.run("backup setup --dry-run")).data;
    assert_eq!(plan.lines().count(), 2, "{plan}");
    assert!(plan.contains("[1] disk: make the password secrets/backup/password"), "{plan}");
    assert!(!world.file("secrets/backup").exists() && !world.file("disk").exists());

    let first = good(world.run("backup setup")).data;
    assert!(first.contains("ready, its repository was made"), "{first}");
    assert!(first.contains("next: make the first backup"), "{first}");
    let (id, password) = (repository_of(&world, "disk"), world.text("secrets/backup/password"));
    let mode = std::fs::metadata(world.file("secrets/backup/password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(world.file("disk/config").exists());

    let again = good(world.run("backup setup disk")).data;
    assert!(again.contains("disk: ready\n"), "{again}");
    assert_eq!((repository_of(&world, "disk"), world.text("secrets/backup/password")), (id, password));
    assert!(
        good(world.run("backup setup --dry-run")).data.contains("to see that it is the one that was there")
    );
}

#[test]
fn a_disk_that_is_not_mounted_is_told_from_an_empty_one() {
    let world = with_targets(&["./disk", "./spare"]);
    good(world.run("backup setup"));
    std::fs::rename(world.file("disk"), world.file("away")).unwrap();
    let absent = world.run("backup setup");
    assert_eq!(absent.code, 1);
    assert!(absent.data.contains("a disk that is not mounted looks like this"), "{}", absent.data);
    assert!(
        absent.data.contains("spare: ready\n") && absent.talk.contains("target disk is not ready"),
        "{absent:?}"
    );
    assert!(!world.file("disk/config").exists());

    std::fs::rename(world.file("spare"), world.file("disk")).unwrap();
    let other = world.run("backup setup disk");
    assert_eq!(other.code, 1);
    assert!(other.data.contains("holds another repository than target disk had"), "{}", other.data);
}

#[test]
fn a_repository_made_before_is_taken_with_its_password_only() {
    let world = with_targets(&["./disk"]);
    good(world.run("backup setup"));
    let id = repository_of(&world, "disk");
    std::fs::remove_file(world.file("state/backups.json")).unwrap();
    assert!(good(world.run("backup setup")).data.contains("disk: ready\n"));
    assert_eq!(repository_of(&world, "disk"), id);

    std::fs::remove_file(world.file("state/backups.json")).unwrap();
    std::fs::write(world.file("secrets/backup/password"), "another\n").unwrap();
    let refused = world.run("backup setup");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.data.contains("NOT READY"), "{refused:?}");

    std::fs::remove_file(world.file("secrets/backup/password")).unwrap();
    good_memory(&world, &id);
    let lost = world.run("backup setup");
    assert!(lost.data.contains("password is missing"), "{lost:?}");
    assert!(!world.file("secrets/backup/password").exists());
    world.edit("  # to:\n", &format!("    - {}/spare\n  # to:\n", world.root().display()));
    let spare = world.run("backup setup spare");
    assert!(spare.code == 2 && spare.data.contains("password is missing"), "{spare:?}");
    assert!(!world.file("secrets/backup/password").exists());
}

/// The repository is remembered again.
fn good_memory(world: &World, id: &str) {
    let place = world.file("disk").display().to_string();
    let target = serde_json::json!({
        "location": place, "repository": id, "last_success": null, "last_failure": null, "last_verified": null,
    });
    let memory = serde_json::json!({
        "version": 1, "targets": { "disk": target }, "last_export": null, "kit": null,
    });
    std::fs::write(world.file("state/backups.json"), memory.to_string()).unwrap();
}

#[test]
fn no_ssh_server_is_trusted_at_first_sight() {
    let world = with_targets(&[SFTP]);
    for line in ["backup setup", "backup setup --yes"] {
        let unknown = world.run(line);
        assert_eq!(unknown.code, 2, "{unknown:?}");
        assert!(unknown.data.contains(&format!("ssh-ed25519 {HOST_KEY}")), "{unknown:?}");
        assert!(unknown.data.contains("authorized_keys of b needs this line"), "{unknown:?}");
        assert!(unknown.data.contains("restrict,command=\"internal-sftp -u 0277 -p "), "{unknown:?}");
    }
    assert!(!world.file("secrets/backup/ssh/known_hosts-backup-example-com").exists());
    let wrong = world.run(&format!("backup setup --host-key SHA256:{}", "A".repeat(43)));
    assert_eq!(wrong.code, 1);
    assert!(wrong.data.contains("does not show the key"), "{wrong:?}");

    let right = good(world.run(&format!("backup setup --host-key {HOST_KEY}"))).data;
    assert!(right.contains("ready, its repository was made"), "{right}");
    let pinned = world.text("secrets/backup/ssh/known_hosts-backup-example-com");
    assert_eq!(pinned, "gate.example.com ssh-ed25519 AAAA\n");
    good(world.run("backup setup"));
}

#[test]
fn a_person_confirms_the_key_of_a_server_and_is_warned_of_another() {
    let mut world = with_targets(&[SFTP]);
    world.prompter = Scripted::new([No]);
    let refused = world.run("backup setup");
    assert_eq!(
        (refused.code, world.prompter.heard()),
        (1, vec!["Is this the key of backup.example.com?".to_owned()])
    );
    world.prompter = Scripted::new([Yes]);
    good(world.run("backup setup"));
    world.prompter = Scripted::new([]);
    good(world.run("backup setup"));

    world.prompter = Scripted::absent();
    let pinned = world.file("secrets/backup/ssh/known_hosts-backup-example-com");
    std::fs::write(&pinned, "gate.example.com ssh-ed25519 BBBB\n").unwrap();
    let changed = world.run("backup setup");
    assert_eq!(changed.code, 2);
    assert!(changed.data.contains("shows another key than the one that was confirmed"), "{changed:?}");
}

#[test]
fn credentials_are_asked_hidden_or_their_file_is_named() {
    let mut world = with_targets(&[S3]);
    let nobody = world.run("backup setup");
    assert_eq!(nobody.code, 2);
    assert!(nobody.data.contains("secrets/backup/acme-backup.credentials"), "{nobody:?}");

    world.prompter = Scripted::new([Say("AKIA"), Say("s3cret")]);
    let asked = good(world.run("--verbose backup setup"));
    assert!(!asked.data.contains("s3cret") && !asked.talk.contains("s3cret"), "{asked:?}");
    assert_eq!(world.text("secrets/backup/acme-backup.credentials"), "AKIA\ns3cret\n");
    world.prompter = Scripted::absent();
    good(world.run("backup setup"));
}

#[test]
fn a_host_key_is_for_one_target() {
    let world = with_targets(&["./disk", SFTP, "drop+sftp://b@drop.example.com/in"]);
    let ran = world.run(&format!("backup setup --host-key {HOST_KEY}"));
    assert_eq!(ran.code, 2);
    assert!(ran.talk.contains("--host-key is for one ssh target, and 2 are meant"), "{ran:?}");
    let unknown = world.run("backup setup dusk");
    assert!(unknown.code == 2 && unknown.talk.contains("did you mean `disk`?"), "{unknown:?}");
    let setup = format!("backup setup drop-example-com --host-key {HOST_KEY} --recipient {RECIPIENT}");
    let drop = good(world.run(&setup)).data;
    assert!(drop.contains("takes sealed exports") && drop.contains("restrict,command="), "{drop}");
}

const DROP: &str = "drop+sftp://b@drop.example.com/in";
const RECIPIENTS: &str = "secrets/backup/drop-example-com.recipients";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

#[test]
fn a_drop_target_is_not_ready_while_nobody_can_open_what_it_takes() {
    let world = with_targets(&["./disk", DROP]);
    let setup = format!("backup setup drop-example-com --host-key {HOST_KEY}");
    assert!(good(world.run(&format!("{setup} --dry-run"))).data.contains("ask for whom exports are sealed"));
    let nobody = world.run(&setup);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(nobody.data.contains("NOT READY") && nobody.data.contains("nobody is named in "), "{nobody:?}");
    assert!(nobody.data.contains("backup setup drop-example-com --recipient"), "{nobody:?}");

    let said = good(world.run(&format!("{setup} --recipient {RECIPIENT}"))).data;
    assert!(said.contains("takes sealed exports"), "{said}");
    assert_eq!(world.text(RECIPIENTS), format!("{RECIPIENT}\n"));
    assert!(!good(world.run(&format!("{setup} --dry-run"))).data.contains("for whom exports"));
    let wrong = world.run(&format!("{setup} --recipient AGE-SECRET-KEY-1GQ9778V"));
    assert!(wrong.code == 2 && wrong.data.contains("a private key stands where"), "{wrong:?}");
    assert!(!wrong.data.contains("GQ9778V"), "{wrong:?}");
    good(world.run(&setup));
    assert_eq!(world.text(RECIPIENTS), format!("{RECIPIENT}\n"), "what is in force stays");

    let disk = world.run(&format!("backup setup disk --recipient {RECIPIENT}"));
    assert_eq!(disk.code, 2);
    assert!(disk.talk.contains("--recipient is for one drop target, and 0 are meant"), "{disk:?}");
}

#[test]
fn a_person_is_asked_for_whom_exports_are_sealed() {
    let mut world = with_targets(&[DROP]);
    world.prompter = Scripted::new([Yes, Say(RECIPIENT), Say(OTHER), Say("none")]);
    good(world.run("backup setup"));
    let questions =
        ["Is this the key of drop.example.com?", "Recipient", "One more recipient", "One more recipient"];
    assert_eq!(world.prompter.heard(), questions);
    assert_eq!(world.text(RECIPIENTS), format!("{RECIPIENT}\n{OTHER}\n"));
    world.prompter = Scripted::new([]);
    good(world.run("backup setup"));
}

#[test]
fn the_recovery_kit_is_shown_and_asked_for_until_it_is_kept() {
    let world = with_targets(&["./disk", S3]).brought_up();
    std::fs::create_dir_all(world.file("secrets/backup")).unwrap();
    let credentials = world.file("secrets/backup/acme-backup.credentials");
    std::fs::write(&credentials, "AKIA\ns3cret\n").unwrap();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    let early = world.run("backup key show");
    assert!(early.code == 2 && early.talk.contains("has no password yet"), "{early:?}");
    good(world.run("backup setup"));

    let password = world.text("secrets/backup/password");
    let password = password.trim();
    let kit = good(world.run("backup key show"));
    assert!(
        kit.data.contains(password) && kit.data.contains("AWS_SECRET_ACCESS_KEY='s3cret'"),
        "{}",
        kit.data
    );
    assert!(kit.talk.is_empty(), "{}", kit.talk);
    let fields: Value = serde_json::from_str(&good(world.run("--json backup key show")).data).unwrap();
    assert_eq!(fields["targets"][0]["password"], password);
    assert_eq!(fields["targets"][1]["restic_repository"], "s3:https://s3.example.com/acme-backup");

    let told = |world: &World| good(world.run("status")).data.contains("recovery kit is kept elsewhere");
    assert!(told(&world));
    good(world.run("backup key kept"));
    assert!(!told(&world));
    std::fs::write(&credentials, "AKIA\nanother\n").unwrap();
    assert!(told(&world), "another secret makes another kit");

    let everything =
        ["state/backups.json", "state/state.json", "state/journal.jsonl"].map(|path| world.text(path));
    let said = [good(world.run("--verbose status")).data, good(world.run("--json backup setup")).data];
    assert!(everything.iter().chain(&said).all(|text| !text.contains(password) && !text.contains("s3cret")));
}

#[test]
fn status_tells_how_backups_stand() {
    let bare = World::up();
    let told = good(bare.run("status")).data;
    assert!(told.contains("backup  PROBLEM: nothing is backed up: autoodoo.yaml names no place"), "{told}");

    let world = with_targets(&["./disk"]).brought_up();
    good(world.run("backup setup"));
    let text = world.text("state/backups.json").replace(
        "\"last_success\": null",
        "\"last_success\": { \"time\": \"2026-05-25T20:26:40Z\", \"snapshot\": \"ab\", \"bytes\": 1200000000, \
         \"added\": 1, \"seconds\": 1, \"damaged\": false }",
    );
    std::fs::write(world.file("state/backups.json"), text).unwrap();
    let told = good(world.run("status")).data;
    assert!(told.contains("backup  disk: 3 days ago, 1.2 GB, at /"), "{told}");
    assert!(told.contains("        PROBLEM: the last backup at target disk was made 3 days ago\n"), "{told}");
    let fields: Value = serde_json::from_str(&good(world.run("--json status")).data).unwrap();
    assert_eq!(fields["backup"]["targets"][0]["last_success"]["bytes"], 1_200_000_000);
    assert_eq!(fields["backup"]["problems"].as_array().unwrap().len(), 5, "{}", fields["backup"]);

    std::fs::write(world.file("state/backups.json"), "{").unwrap();
    let told = good(world.run("status")).data;
    assert!(told.contains("PROBLEM: what is known of the backups cannot be read: "), "{told}");
}

#[test]
fn init_says_that_nothing_is_backed_up_yet() {
    let none = World::new();
    let ran = good(none.run("init --yes --name acme"));
    assert!(ran.data.contains("nothing is backed up yet: name a place under `backup:`"), "{ran:?}");
    assert!(ran.data.contains("then set backups up with `autoodoo backup setup`"), "{ran:?}");
    let some = World::new();
    let ran = good(some.run("init --yes --name acme --backup-to /srv/b --backup-to sftp://b@h/x"));
    assert!(
        ran.data.contains("nothing is backed up yet: set backups up with `autoodoo backup setup`"),
        "{ran:?}"
    );
    assert!(ran.data.contains("keep the kit of `autoodoo backup key show` elsewhere"), "{ran:?}");
    assert!(
        some.text("autoodoo.yaml").contains("url: \"sftp://b@h/x\"")
            || some.text("autoodoo.yaml").contains("url: sftp://b@h/x")
    );
}
