//! The files that rows of `ir_attachment` name, as lines of text.

use std::fmt;

use crate::failure::{Failure, Result};

/// A line of [`crate::backup::layout::ATTACHMENTS`]: a file that rows name. Lines are what PostgreSQL's
/// `COPY … TO STDOUT` writes (manual, COPY, "Text Format").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// `aa/SHA-1`, or whatever an old database has.
    pub name: String,
    /// Bytes, as the row tells; `None` where it does not.
    pub size: Option<u64>,
}

impl Named {
    /// Reads a line, without its end.
    pub fn parse(line: &str) -> Result<Named> {
        let fault = || Failure::failed(format!("`{line}` is no line of a list of attachments"));
        let (name, size) = line.split_once('\t').ok_or_else(fault)?;
        let size = match size {
            "\\N" => None,
            digits => Some(digits.parse().map_err(|_| fault())?),
        };
        Ok(Named { name: unescaped(name).ok_or_else(fault)?, size })
    }
}

/// The line, without its end.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.name.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\t' => f.write_str("\\t")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                other => write!(f, "{other}")?,
            }
        }
        match self.size {
            Some(size) => write!(f, "\t{size}"),
            None => f.write_str("\t\\N"),
        }
    }
}

/// `None` for a text that ends in the middle of an escape.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

/// The SHA-1 that a file's name says its content has: the last part of `aa/SHA-1`, in lower case as
/// Odoo writes it. `None` for a name of another shape, about whose content nothing is known.
#[must_use]
pub fn digest_in(name: &str) -> Option<[u8; 20]> {
    let digits = name.rsplit('/').next()?.as_bytes();
    if digits.len() != 40 {
        return None;
    }
    let mut digest = [0; 20];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(digest)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, size: Option<u64>) -> Named {
        Named { name: name.to_owned(), size }
    }

    #[test]
    fn lines_go_there_and_back() {
        let table = [
            (named("ab/abc", Some(12)), "ab/abc\t12"),
            (named("ab/abc", None), "ab/abc\t\\N"),
            (named("a\tb\\c\nd\r/ü", Some(0)), "a\\tb\\\\c\\nd\\r/ü\t0"),
        ];
        for (value, line) in table {
            assert_eq!(value.to_string(), line);
            assert_eq!(Named::parse(line).unwrap(), value);
        }
        assert_eq!(Named::parse("a\\v\\b\\f\\q\t1").unwrap().name, "a\u{b}\u{8}\u{c}q");
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "ab/abc", "ab/abc\tx", "ab/abc\t-1", "ab\\\t1", "ab/abc\t1\t2"] {
            let failure = Named::parse(line).unwrap_err();
            assert!(failure.message.contains(line), "{failure}");
        }
    }

    #[test]
    fn a_digest_is_read_from_odoos_names_only() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert_eq!(digest_in(&format!("da/{sha1}")).unwrap()[..2], [0xda, 0x39]);
        assert_eq!(digest_in(sha1).unwrap()[19], 0x09);
        for name in ["", "da/", "da/da39", &sha1.to_uppercase(), &format!("{sha1}0"), &sha1.replace('d', "g")]
        {
            assert_eq!(digest_in(name), None, "{name}");
        }
    }
}
