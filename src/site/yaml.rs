//! YAML as a small tree that knows where everything stands and keeps scalars as they were written,
//! so that `17`, `19.0` and `no` are still text when a key says what they mean.
//!
//! Only the plain part of YAML is read. Anchors, tags and several documents are refused: in a file
//! of settings they hide what is set.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use crate::site::fault::{Position, Problem, clean};

/// Lists and groups within each other. The program's own file needs 3.
const DEEPEST: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A plain scalar that YAML reads as null, or nothing at all.
    Null,
    /// A problem has been noted; there is no telling what it holds.
    Refused,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

impl Value {
    /// What it is, in words for the user.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Value::Null | Value::Refused => "nothing".to_owned(),
            Value::Scalar(text) => format!("`{}`", clean(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a group of keys".to_owned(),
        }
    }
}

/// Reads a document. There is no tree when the text is not YAML; there may be problems beside a tree.
#[must_use]
pub fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
    let problems = refused_characters(text);
    if !problems.is_empty() {
        return (None, problems);
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), problems: Vec::new() };
    let tree = reader.document().ok();
    (tree, reader.problems)
}

/// Tabs that indent and characters that YAML does not allow (YAML 1.2.2, section 5.1). The parser
/// finds them too, but names other places and reasons.
fn refused_characters(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let mut note = |column: usize, message: &str| {
            problems.push(Problem::new(Position { line: index + 1, column: column + 1 }, "", message));
        };
        let indent = line.chars().take_while(|c| c.is_whitespace());
        let has_content = !line.trim_start().is_empty() && !line.trim_start().starts_with('#');
        if let Some(column) = indent.into_iter().position(|c| c == '\t').filter(|_| has_content) {
            note(column, "a tab cannot indent; use spaces");
        }
        if let Some(column) = line.chars().position(|c| c.is_control() && !"\t\r\u{85}".contains(c)) {
            note(column, "this character cannot be printed; the file is not plain text");
        }
    }
    problems
}

/// The problem has been noted and nothing can be read after it.
struct Stop;

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd, at) => {
                    return self.stop(at, "the file is empty; `autoodoo init` writes one");
                }
                (event, at) => break self.node(event, at, "", 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), at) => {
                    return self
                        .stop(at, "a second document starts here; a site file has one, without `---`");
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Position), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(span.start))),
            Some(Err(error)) => self.stop(position(*error.marker()), &plain_words(&error)),
            // Not reached: the callers stop at `StreamEnd`.
            None => Err(Stop),
        }
    }

    fn stop<T>(&mut self, at: Position, message: &str) -> Result<T, Stop> {
        self.note(at, "", message);
        Err(Stop)
    }

    fn note(&mut self, at: Position, path: &str, message: &str) {
        self.problems.push(Problem::new(at, path, message));
    }

    fn node(&mut self, event: Event<'a>, at: Position, path: &str, depth: usize) -> Result<Node, Stop> {
        if depth > DEEPEST {
            return self.stop(at, "lists and groups are nested too deeply");
        }
        let (anchor, tagged) = decorations(&event);
        if anchor {
            self.note(at, path, NO_ANCHORS);
        }
        if tagged {
            self.note(at, path, "tags such as `!!str` are not used here; write the plain value");
        }
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(text.into_owned(), style),
            Event::SequenceStart(..) => Value::List(self.list(path, depth)?),
            Event::MappingStart(..) => Value::Map(self.map(path, depth)?),
            // An alias; it has been noted. The parser sends nothing else where a node starts.
            _ => Value::Refused,
        };
        Ok(Node { at, value })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => {
                    let path = format!("{path}[{}]", items.len());
                    items.push(self.node(event, at, &path, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, key_at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                start => start,
            };
            let key = self.node(event, key_at, path, depth + 1)?;
            let name = self.key_name(&key, path);
            let value_path = join(path, name.as_deref().unwrap_or("?"));
            let (event, at) = self.next()?;
            let value = self.node(event, at, &value_path, depth + 1)?;
            let Some(key) = name else { continue };
            if let Some(line) = lines.get(&key) {
                self.note(key_at, &value_path, &format!("given twice; first on line {line}"));
            } else {
                lines.insert(key.clone(), key_at.line);
                entries.push(Entry { key, key_at, value });
            }
        }
    }

    fn key_name(&mut self, key: &Node, path: &str) -> Option<String> {
        match &key.value {
            Value::Scalar(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            Value::Refused => None,
            other => {
                let message = format!("expected a key such as `name:`, found {}", other.kind());
                self.note(key.at, path, &message);
                None
            }
        }
    }
}

const NO_ANCHORS: &str = "anchors and aliases (`&x`, `*x`) are not used here; write the value itself, and quote \
                          a value that starts with `&` or `*`";

/// Whether the node takes part in anchors and aliases, and whether it has a tag.
fn decorations(event: &Event) -> (bool, bool) {
    match event {
        Event::Alias(_) => (true, false),
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(anchor, tag)
        | Event::MappingStart(anchor, tag) => (*anchor > 0, tag.is_some()),
        _ => (false, false),
    }
}

/// YAML 1.2.2, section 10.3.2: what the core schema reads as null.
fn scalar(text: String, style: ScalarStyle) -> Value {
    let null = matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    if null && style == ScalarStyle::Plain { Value::Null } else { Value::Scalar(text) }
}

/// The path of a key below `path`.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    let key = clean(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The parser counts lines from 1 and columns from 0.
fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// The parser's error in words for somebody who does not know its grammar.
fn plain_words(error: &ScanError) -> String {
    let info = error.info();
    let has = |part: &str| info.contains(part);
    let words = if has("tab") {
        "a tab cannot stand here; use spaces"
    } else if has("anchor") {
        NO_ANCHORS
    } else if has("mapping values are not allowed") || has("illegal placement of ':'") {
        "this `:` does not belong here; check the indentation, or put the value in double quotes"
    } else if has("indentation") || has("indented") || has("did not find expected key") {
        "the indentation of this line does not fit the lines above"
    } else if has("unexpected character") {
        "a value cannot start with this character; put it in double quotes"
    } else if has("simple key expect") {
        "expected a key and its value, such as `name: acme`"
    } else if has("end of stream") || has("eof") {
        "the file ends inside a value; a closing quote or bracket is missing"
    } else if has("expected ','") {
        "a `,` or the closing bracket is missing"
    } else if has("recursion limit") {
        "lists and groups are nested too deeply"
    } else {
        return format!("this is not valid YAML: {info}");
    };
    words.to_owned()
}
