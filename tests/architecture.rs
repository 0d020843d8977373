//! Holds the walls between the kinds of module, by reading the source: what a module may name is
//! decided here and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the pure core: values in, values out.
const CORE: &[&str] = &[
    "backup", "site", "stack", "render", "plan", "digest", "event", "failure", "name", "observed", "pins",
    "secret", "state",
];
const ADAPTERS: &[&str] = &["acme", "archive", "dns", "engine", "filestore", "host", "repository", "tls"];
const COMMANDS: &[&str] = &["command", "apply", "capture"];

/// Outside things that the core must not name.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::thread",
    "std::io::std",
    "Timestamp::now",
    "tokio",
    "bollard",
    "clap",
    "dialoguer",
    "indicatif",
    "hyper",
    "rustix",
    "getrandom",
    "hickory_resolver",
    "println!",
    "eprintln!",
    "print!(",
    "eprint!(",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a module's files, without comments and tests, with the file's name.
fn code(module: &str) -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = source.join(format!("{module}.rs"));
    let mut paths = if file.is_file() { vec![file] } else { Vec::new() };
    let directory = source.join(module);
    if directory.is_dir() {
        paths.extend(sources(&directory));
    }
    assert!(!paths.is_empty(), "module {module} has no file");
    let is_test = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "tests");
    paths.into_iter().filter(|path| !is_test(path)).map(|path| (path.clone(), without_tests(&path))).collect()
}

fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Lines that name one of `words`, as whole path segments.
fn offences(modules: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in modules.iter().flat_map(|module| code(module)) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in words.iter().filter(|word| names(line, word)) {
                found.push(format!("{}:{number}: {word}: {}", path.display(), line.trim()));
            }
        }
    }
    found
}

fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        let open = word.ends_with(|c: char| !inside(c)) || word.ends_with("Tcp") || word.ends_with("std");
        !before.is_some_and(inside) && (open || !after.is_some_and(inside))
    })
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "walls crossed:\n{}", offences.join("\n"));
}

#[test]
fn the_core_knows_nothing_outside() {
    assert_none(&offences(CORE, OUTSIDE));
}

#[test]
fn the_core_knows_no_adapter_no_command_and_no_ui() {
    assert_none(&offences(
        CORE,
        &[
            "crate::acme",
            "crate::dns",
            "crate::engine",
            "crate::host",
            "crate::tls",
            "crate::command",
            "crate::apply",
            "crate::cli",
            "crate::ui",
        ],
    ));
}

#[test]
fn adapters_know_no_other_adapter_no_command_and_no_terminal() {
    for adapter in ADAPTERS {
        let others: Vec<String> = ADAPTERS
            .iter()
            .filter(|other| *other != adapter)
            .map(|other| format!("crate::{other}"))
            .collect();
        let mut words: Vec<&str> = others.iter().map(String::as_str).collect();
        words.extend([
            "crate::command",
            "crate::apply",
            "crate::cli",
            "crate::ui",
            "clap",
            "dialoguer",
            "indicatif",
        ]);
        assert_none(&offences(&[adapter], &words));
    }
}

#[test]
fn only_one_module_knows_the_engine_library() {
    let others: Vec<&str> =
        CORE.iter().chain(COMMANDS).chain(&["acme", "dns", "host", "tls", "ui"]).copied().collect();
    assert_none(&offences(&others, &["bollard"]));
}

#[test]
fn commands_read_no_environment_and_print_nothing() {
    assert_none(&offences(
        COMMANDS,
        &["std::env", "println!", "eprintln!", "print!(", "eprint!(", "bollard"],
    ));
}

#[test]
fn the_ui_knows_no_adapter_and_no_command() {
    assert_none(&offences(
        &["ui"],
        &[
            "crate::acme",
            "crate::dns",
            "crate::engine",
            "crate::host",
            "crate::tls",
            "crate::command",
            "crate::apply",
            "crate::cli",
        ],
    ));
}

#[test]
fn the_test_can_see() {
    assert!(names("use std::fs::read;", "std::fs"));
    assert!(names("    println!(\"x\")", "println!"));
    assert!(names("use std::net::TcpStream;", "std::net::Tcp"));
    assert!(!names("use crate::host_name::X;", "crate::host"));
    assert!(!names("let tokio_free = 1;", "tokio"));
}
