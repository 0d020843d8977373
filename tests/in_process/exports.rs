//! `backup export`: what is refused before anything is asked of the site.

use crate::world::World;

const KEY: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// Names in the site directory that an export could have left.
fn left(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.file(".")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".tar")).collect()
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing() {
    let world = World::with_site();
    let (file, taken) = (world.file("acme.tar.zst"), world.file("taken.tar.zst"));
    std::fs::write(&taken, "an older export").unwrap();
    let (file, taken) = (file.display(), taken.display());
    let private = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    let table = [
        (format!("backup export {taken}"), "exists; an export overwrites nothing"),
        (format!("backup export {file} --age {KEY} --openpgp key.asc"), "make two exports"),
        (format!("backup export {file} --age {private}"), "given a private key"),
        (format!("backup export {file} --openpgp /nonexistent.asc"), "there is no file /nonexistent.asc"),
        ("--json backup export -".to_owned(), "standard output has no place for the export"),
    ];
    for (command, why) in table {
        let run = world.run(&command);
        let said = format!("{}{}", run.data, run.talk);
        assert_eq!(run.code, 2, "{command}: {said}");
        assert!(said.contains(why), "{command}: {said}");
        assert!(!said.contains("GQ9778"), "{said}");
    }
    assert_eq!(left(&world), ["taken.tar.zst"]);
    assert_eq!(std::fs::read_to_string(world.file("taken.tar.zst")).unwrap(), "an older export");
}

#[test]
fn a_site_that_was_never_up_has_nothing_to_export() {
    let world = World::with_site();
    let run = world.run(&format!("backup export {}", world.file("acme.tar").display()));
    assert_ne!(run.code, 0);
    assert!(run.talk.contains("this export is not sealed"), "{}", run.talk);
    assert!(run.talk.contains("by a name in .tar.zst"), "{}", run.talk);
    assert_eq!(left(&world), <[String; 0]>::default());
}
