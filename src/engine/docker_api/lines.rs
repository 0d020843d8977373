//! From chunks of bytes to lines, and to the end of a text.

/// Beyond this a line is delivered in pieces, so that output without line ends needs no unbounded
/// memory.
const LONGEST_LINE: usize = 64 * 1024;

/// Cuts a stream into lines. Bytes that are not UTF-8 become U+FFFD.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Delivers each line that `chunk` completes, without its line end.
    pub(super) fn feed(&mut self, chunk: &[u8], line: &mut dyn FnMut(&str)) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LONGEST_LINE {
                self.finish(line);
            }
        }
    }

    /// Delivers what is left, as at the end of the stream.
    pub(super) fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.partial.is_empty() {
            let text = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            line(&String::from_utf8_lossy(text));
            self.partial.clear();
        }
    }
}

/// Bytes of output that are kept a stream.
const KEPT: usize = 1024 * 1024;

/// The last [`KEPT`] bytes of a stream.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        // Cutting only at twice the size moves each byte once on average.
        if self.bytes.len() > 2 * KEPT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..surplus);
    }

    pub(super) fn into_text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, &mut |line| seen.push(line.to_owned()));
        }
        lines.finish(&mut |line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn lines_do_not_depend_on_the_chunks() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n", b"\n", b"d"]), ["a", "bc", "", "d"]);
        assert_eq!(lines(&["ü\n".as_bytes(), &[0xc3], &[0xbc, b'\n', 0xff]]), ["ü", "ü", "\u{fffd}"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn an_endless_line_comes_in_pieces() {
        let chunk = vec![b'x'; 40 * 1024];
        let seen = lines(&[&chunk, &chunk, &chunk]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [80 * 1024, 40 * 1024]);
    }

    #[test]
    fn a_tail_is_cut_at_the_front() {
        let mut tail = Tail::default();
        for _ in 0..5 {
            tail.push(&vec![b'a'; KEPT / 2]);
        }
        tail.push(b"end");
        let text = tail.into_text();
        assert_eq!(text.len(), KEPT);
        assert!(text.ends_with("aend"));
    }
}
