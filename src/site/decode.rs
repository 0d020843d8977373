//! From a YAML tree to typed values. Everything wrong is noted and decoding goes on, so that one
//! look at the file tells all of it.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::name::Invalid;
use crate::site::draft::Given;
use crate::site::fault::{Position, Problem, What, clean, meant};
use crate::site::yaml::{Entry, Node, Value, join};

/// A group of keys in the file.
pub struct Section<'n> {
    path: String,
    /// `None` when there is no telling what it holds.
    entries: Option<&'n [Entry]>,
    /// Keys that were probably meant by unknown ones.
    meant: Vec<&'static str>,
}

/// Unknown keys of a group that are compared with the known ones; it bounds the work for a hostile
/// file.
const MOST_COMPARED: usize = 100;

impl<'n> Section<'n> {
    fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.unwrap_or_default().iter().find(|entry| entry.key == key)
    }
}

/// Collects problems, and remembers where each key stands for problems that are found later.
#[derive(Default)]
pub struct Decoder {
    problems: Vec<Problem>,
    places: BTreeMap<String, Position>,
}

impl Decoder {
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Notes a problem with the key at `path`; when it is not in the file, with what would hold it.
    pub fn note(&mut self, path: &str, message: &str) {
        let mut holder = path;
        while !self.places.contains_key(holder) && !holder.is_empty() {
            holder = &holder[..holder.rfind(['.', '[']).unwrap_or(0)];
        }
        let at = self.places.get(holder).copied().unwrap_or(Position::START);
        self.problems.push(Problem::new(at, path, message));
    }

    /// The whole file.
    pub fn root<'n>(&mut self, node: &'n Node, known: &'static [&'static str]) -> Section<'n> {
        self.group(node, node.at, String::new(), known)
    }

    /// The group under `key`. An absent one and one without any key are empty.
    pub fn section<'n>(
        &mut self,
        within: &Section<'n>,
        key: &str,
        known: &'static [&'static str],
    ) -> Section<'n> {
        let path = join(&within.path, key);
        match within.get(key) {
            Some(entry) => self.group(&entry.value, entry.key_at, path, known),
            None => Section { path, entries: within.entries.map(|_| &[][..]), meant: Vec::new() },
        }
    }

    /// The group under `key`, where the value of its first key may stand alone: `tls: acme` says no
    /// more than `tls: { mode: acme }`.
    pub fn section_or_value<'n, T: FromStr<Err = Invalid>>(
        &mut self,
        within: &Section<'n>,
        key: &str,
        known: &'static [&'static str],
    ) -> (Section<'n>, Given<T>) {
        let path = join(&within.path, key);
        if let Some(entry) = within.get(key) {
            return self.group_or_value(&entry.value, entry.key_at, path, known);
        }
        let section = self.section(within, key, known);
        let value = self.value(&section, known[0]);
        (section, value)
    }

    fn group_or_value<'n, T: FromStr<Err = Invalid>>(
        &mut self,
        node: &'n Node,
        at: Position,
        path: String,
        known: &'static [&'static str],
    ) -> (Section<'n>, Given<T>) {
        if matches!(node.value, Value::Scalar(_)) {
            self.places.insert(path.clone(), at);
            let value = self.scalar(node, at, &join(&path, known[0]));
            return (Section { path, entries: Some(&[]), meant: Vec::new() }, value);
        }
        let section = self.group(node, at, path, known);
        let value = self.value(&section, known[0]);
        (section, value)
    }

    fn group<'n>(
        &mut self,
        node: &'n Node,
        at: Position,
        path: String,
        known: &'static [&'static str],
    ) -> Section<'n> {
        self.places.insert(path.clone(), at);
        let entries = match &node.value {
            Value::Map(entries) => Some(entries.as_slice()),
            Value::Null => Some(&[][..]),
            Value::Refused => None,
            other => {
                self.note(&path, &format!("expected keys such as `{}:`, found {}", known[0], other.kind()));
                None
            }
        };
        let unknown: Vec<&Entry> =
            entries.unwrap_or_default().iter().filter(|entry| !known.contains(&entry.key.as_str())).collect();
        let meant = unknown.iter().take(MOST_COMPARED).filter_map(|entry| meant(&entry.key, known)).collect();
        self.problems.extend(unknown.into_iter().map(|entry| {
            let what = What::UnknownKey { key: entry.key.clone(), known };
            Problem { at: entry.key_at, path: join(&path, &entry.key), what }
        }));
        Section { path, entries, meant }
    }

    pub fn value<T: FromStr<Err = Invalid>>(&mut self, within: &Section, key: &str) -> Given<T> {
        match (within.entries, within.get(key)) {
            (None, _) => Given::Unknown,
            (_, None) if within.meant.contains(&key) => Given::Unknown,
            (_, None) => Given::Absent,
            (_, Some(entry)) => self.scalar(&entry.value, entry.key_at, &join(&within.path, key)),
        }
    }

    /// A list of values. Nothing after the key is an empty list.
    pub fn list<T: FromStr<Err = Invalid>>(&mut self, within: &Section, key: &str) -> Vec<Given<T>> {
        let items = self.items(within, key, "a list in brackets, such as `[a, b]`");
        items.into_iter().map(|(path, item)| self.scalar(item, item.at, &path)).collect()
    }

    /// The groups in the list under `key`.
    pub fn groups<'n>(
        &mut self,
        within: &Section<'n>,
        key: &str,
        known: &'static [&'static str],
    ) -> Vec<Section<'n>> {
        let items = self.items(within, key, &format!("a list whose items begin with `- {}:`", known[0]));
        items.into_iter().map(|(path, item)| self.group(item, item.at, path, known)).collect()
    }

    /// The items of the list under `key`: groups, or the value of their first key alone.
    pub fn groups_or_values<'n, T: FromStr<Err = Invalid>>(
        &mut self,
        within: &Section<'n>,
        key: &str,
        known: &'static [&'static str],
    ) -> Vec<(Section<'n>, Given<T>)> {
        let items = self.items(within, key, &format!("a list whose items begin with `- {}:`", known[0]));
        items.into_iter().map(|(path, item)| self.group_or_value(item, item.at, path, known)).collect()
    }

    /// What stands in the list under `key`, each with its path.
    fn items<'n>(&mut self, within: &Section<'n>, key: &str, expected: &str) -> Vec<(String, &'n Node)> {
        let path = join(&within.path, key);
        let Some(entry) = within.get(key) else { return Vec::new() };
        self.places.insert(path.clone(), entry.value.at);
        match &entry.value.value {
            Value::Null | Value::Refused => Vec::new(),
            Value::List(items) => {
                (0..).zip(items).map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
            }
            other => {
                self.note(&path, &format!("expected {expected}, found {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// Keys and values of a group whose keys are the user's own.
    pub fn entries<K: FromStr<Err = Invalid>, T: FromStr<Err = Invalid>>(
        &mut self,
        within: &Section,
        key: &str,
    ) -> Vec<(K, Given<T>)> {
        let path = join(&within.path, key);
        let Some(entry) = within.get(key) else { return Vec::new() };
        self.places.insert(path.clone(), entry.key_at);
        match &entry.value.value {
            Value::Null | Value::Refused => Vec::new(),
            Value::Map(entries) => entries.iter().filter_map(|entry| self.own_entry(entry, &path)).collect(),
            other => {
                self.note(&path, &format!("expected lines such as `key: value`, found {}", other.kind()));
                Vec::new()
            }
        }
    }

    fn own_entry<K: FromStr<Err = Invalid>, T: FromStr<Err = Invalid>>(
        &mut self,
        entry: &Entry,
        path: &str,
    ) -> Option<(K, Given<T>)> {
        let path = join(path, &entry.key);
        self.places.insert(path.clone(), entry.key_at);
        match entry.key.parse() {
            Ok(key) => Some((key, self.scalar(&entry.value, entry.key_at, &path))),
            Err(Invalid(expected)) => {
                self.note(&path, &with_found(&expected, &entry.key));
                None
            }
        }
    }

    fn scalar<T: FromStr<Err = Invalid>>(&mut self, node: &Node, holder: Position, path: &str) -> Given<T> {
        let at = if node.value == Value::Null { holder } else { node.at };
        self.places.insert(path.to_owned(), at);
        let message = match &node.value {
            Value::Scalar(text) => match text.parse() {
                Ok(value) => return Given::Value(value),
                Err(Invalid(expected)) => with_found(&expected, text),
            },
            Value::Refused => return Given::Unknown,
            Value::Null => "no value; give one or remove the key".to_owned(),
            other => format!("expected a single value, found {}", other.kind()),
        };
        self.note(path, &message);
        Given::Unknown
    }
}

/// Says what was found, unless the sentence already does.
fn with_found(expected: &str, text: &str) -> String {
    if expected.starts_with("expected") {
        format!("{expected}, found `{}`", clean(text))
    } else {
        expected.to_owned()
    }
}
