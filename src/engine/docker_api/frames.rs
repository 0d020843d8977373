//! The engine's multiplexed streams: each frame is one byte for the stream, three zeros, four bytes
//! for the length (big-endian), then that many bytes.
//! Source: Docker Engine API, "Attach to a container", stream format.

use std::io::ErrorKind;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::engine::Stream;

/// Output of a command: of which stream, and the bytes.
pub(super) type Chunk = (Stream, Bytes);

/// How a stream arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Standard output and error in frames.
    Framed,
    /// A terminal's bytes as they are; all count as standard output.
    Raw,
}

/// Takes frames apart. Hands out what has arrived without waiting for a frame's end.
struct Decoder {
    buffer: BytesMut,
    stream: Stream,
    /// Bytes of the current frame that have not been handed out.
    left: usize,
}

impl Decoder {
    fn next(&mut self) -> Option<Chunk> {
        while self.left == 0 {
            let header: [u8; 8] = self.buffer.get(..8)?.try_into().ok()?;
            self.buffer.advance(8);
            self.stream = if header[0] == 2 { Stream::Stderr } else { Stream::Stdout };
            self.left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        }
        let ready = self.left.min(self.buffer.len());
        if ready == 0 {
            return None;
        }
        self.left -= ready;
        Some((self.stream, self.buffer.split_to(ready).freeze()))
    }
}

/// Reads the output side of an upgraded connection.
pub(super) struct Output<R> {
    reader: R,
    format: Format,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Output<R> {
    pub(super) fn new(reader: R, format: Format) -> Self {
        let decoder = Decoder { buffer: BytesMut::new(), stream: Stream::Stdout, left: 0 };
        Output { reader, format, decoder }
    }

    /// The next output; `None` when the stream ended. May be cancelled without losing any.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Chunk>> {
        loop {
            if self.format == Format::Framed {
                if let Some(chunk) = self.decoder.next() {
                    return Ok(Some(chunk));
                }
            } else if !self.decoder.buffer.is_empty() {
                return Ok(Some((Stream::Stdout, self.decoder.buffer.split().freeze())));
            }
            self.decoder.buffer.reserve(32 * 1024);
            match self.reader.read_buf(&mut self.decoder.buffer).await {
                // So a stream ends whose command left input unread. What it wrote came before.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Ok(0) => return Ok(None),
                read => read?,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text.as_bytes()].concat()
    }

    async fn read(bytes: &[u8], format: Format) -> Vec<(Stream, String)> {
        let mut output = Output::new(bytes, format);
        let mut seen: Vec<(Stream, String)> = Vec::new();
        while let Some((stream, chunk)) = output.next().await.unwrap() {
            seen.push((stream, String::from_utf8(chunk.to_vec()).unwrap()));
        }
        seen
    }

    #[tokio::test(flavor = "current_thread")]
    async fn frames_are_told_apart() {
        let bytes = [frame(1, "out"), frame(2, "err"), frame(1, ""), frame(1, "end")].concat();
        let expected = [(Stream::Stdout, "out"), (Stream::Stderr, "err"), (Stream::Stdout, "end")];
        let seen = read(&bytes, Format::Framed).await;
        assert_eq!(seen, expected.map(|(stream, text)| (stream, text.to_owned())));
    }

    #[test]
    fn a_frame_is_handed_out_as_it_arrives() {
        let mut decoder = Decoder { buffer: BytesMut::new(), stream: Stream::Stdout, left: 0 };
        let bytes = frame(2, "slow");
        decoder.buffer.extend_from_slice(&bytes[..5]);
        assert_eq!(decoder.next(), None);
        decoder.buffer.extend_from_slice(&bytes[5..10]);
        assert_eq!(decoder.next(), Some((Stream::Stderr, Bytes::from_static(b"sl"))));
        assert_eq!(decoder.next(), None);
        decoder.buffer.extend_from_slice(&bytes[10..]);
        assert_eq!(decoder.next(), Some((Stream::Stderr, Bytes::from_static(b"ow"))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_terminal_may_send_any_byte_first() {
        let seen = read(b"\x01\x00prompt", Format::Raw).await;
        assert_eq!(seen, [(Stream::Stdout, "\x01\x00prompt".to_owned())]);
    }
}
