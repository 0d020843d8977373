//! What is wrong in a site file, told the way a compiler tells it.

use std::fmt;

use crate::failure::Failure;
use crate::name::nearest;

/// A place in the file; line and column are counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    pub const START: Position = Position { line: 1, column: 1 };
}

/// Something wrong, before the file's text is put beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub at: Position,
    /// Such as `odoo.image`; empty for the file as a whole.
    pub path: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    UnknownKey { key: String, known: &'static [&'static str] },
    Other(String),
}

impl Problem {
    #[must_use]
    pub fn new(at: Position, path: &str, message: impl Into<String>) -> Self {
        Problem { at, path: path.to_owned(), what: What::Other(message.into()) }
    }
}

/// Something wrong in a site file, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: Position,
    /// The line that it is about, without its end; long lines are cut.
    pub excerpt: String,
    /// Such as `odoo.image`; empty for the file as a whole.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// More faults than these are counted, not told. It also bounds the work for a hostile file.
const MOST_FAULTS: usize = 100;
/// Characters of a line or of a value that are shown.
const LONGEST_EXCERPT: usize = 100;

impl Fault {
    /// Puts the file's lines beside the problems, in the order of the file.
    #[must_use]
    pub fn list(text: &str, mut problems: Vec<Problem>) -> Vec<Fault> {
        problems.sort_by_key(|problem| problem.at);
        let lines = lines(text);
        let more = problems.len().saturating_sub(MOST_FAULTS);
        problems.truncate(MOST_FAULTS);
        let mut faults: Vec<Fault> = problems.iter().map(|problem| Fault::of(problem, &lines)).collect();
        if let Some(last) = faults.last_mut().filter(|_| more > 0) {
            last.message = format!("{} (and {more} more faults after this one)", last.message);
        }
        faults
    }

    fn of(problem: &Problem, lines: &[&str]) -> Fault {
        let excerpt =
            lines.get(problem.at.line.saturating_sub(1)).map(|line| clean(line)).unwrap_or_default();
        Fault { at: problem.at, excerpt, path: problem.path.clone(), message: problem.message() }
    }
}

impl Problem {
    fn message(&self) -> String {
        match &self.what {
            What::UnknownKey { key, known } => unknown_key(key, known),
            What::Other(message) if self.path.is_empty() => message.clone(),
            What::Other(message) => format!("`{}`: {message}", self.path),
        }
    }
}

/// The known key that an unknown one was probably meant to be.
#[must_use]
pub fn meant(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // The distance takes time and memory of the product of both lengths.
    if key.len() <= 64 { nearest(key, known.iter().copied()) } else { None }
}

fn unknown_key(key: &str, known: &[&'static str]) -> String {
    let shown = clean(key);
    match meant(key, known) {
        Some(word) => format!("unknown key `{shown}`; did you mean `{word}`?"),
        None => format!("unknown key `{shown}`; known here: {}", known.join(", ")),
    }
}

/// Text from the file, safe for a terminal and a log: no control characters, no password of a URL, not
/// too long.
#[must_use]
pub fn clean(text: &str) -> String {
    let text = &without_password(text);
    let visible = |c: char| match c {
        '\t' => '→',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let mut shown: String = text.chars().take(LONGEST_EXCERPT).map(visible).collect();
    if text.chars().nth(LONGEST_EXCERPT).is_some() {
        shown.push('…');
    }
    shown
}

/// `scheme://user:…@host` in place of the password, which may have any character but spaces and quotes.
fn without_password(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(|c: char| c.is_whitespace() || "\"',".contains(c)).unwrap_or(rest.len());
    let (url, after) = rest.split_at(end);
    let masked = match (url.find(':'), url.rfind('@')) {
        (Some(colon), Some(at)) if colon < at => format!("{}…{}", &url[..=colon], &url[at..]),
        _ => url.to_owned(),
    };
    format!("{before}://{masked}{}", without_password(after))
}

/// Lines as YAML 1.2 counts them (section 5.4): ended by LF, CR or CR LF.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

impl fmt::Display for Fault {
    /// The place without the file's name, the message, and the line below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.message)?;
        if self.excerpt.trim().is_empty() {
            return Ok(());
        }
        write!(f, "\n{:>3} | {}", self.at.line, self.excerpt)
    }
}

/// The failure that tells all faults of `file`; each is a place `file:line:column` and its line.
#[must_use]
pub fn failure(file: &str, faults: &[Fault]) -> Failure {
    let message = match faults.len() {
        1 => format!("{file} has a fault"),
        count => format!("{file} has {count} faults"),
    };
    let told = faults.iter().map(|fault| format!("{file}:{fault}"));
    Failure::usage(message)
        .evidence(told.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()))
        .hint(format!("correct {file} and run the command again; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn faults_come_in_the_order_of_the_file_with_their_lines() {
        let problems = vec![Problem::new(at(2, 4), "b", "later"), Problem::new(at(1, 1), "", "first")];
        let faults = Fault::list("a: 1\r\nb: 2\r\n", problems);
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["1:1: first\n  1 | a: 1", "2:4: `b`: later\n  2 | b: 2"]);
    }

    #[test]
    fn control_characters_of_the_file_do_not_reach_the_terminal() {
        let faults = Fault::list("a: \u{1b}[2J", vec![Problem::new(at(1, 4), "", "no")]);
        assert!(!faults[0].to_string().contains('\u{1b}'));
    }

    #[test]
    fn passwords_of_urls_are_not_repeated() {
        let table = [
            ("a: [sftp://u:p/w@h/x, \"s3://k:s@h/b\"]", "a: [sftp://u:…@h/x, \"s3://k:…@h/b\"]"),
            ("a: rest:https://u:p@h:1/x # c", "a: rest:https://u:…@h:1/x # c"),
            ("a: sftp://u@h:22/x", "a: sftp://u@h:22/x"),
        ];
        for (text, shown) in table {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn very_many_faults_are_cut_and_counted() {
        let problems = (1..=250).map(|line| Problem::new(at(line, 1), "", "no")).collect();
        let faults = Fault::list("", problems);
        assert_eq!(faults.len(), 100);
        assert!(faults[99].message.ends_with("(and 150 more faults after this one)"));
    }

    #[test]
    fn a_line_beyond_the_end_has_no_excerpt() {
        let faults = Fault::list("a", vec![Problem::new(at(9, 1), "", "no")]);
        assert_eq!(faults[0].to_string(), "9:1: no");
    }
}
