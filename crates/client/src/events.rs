//! Server-sent events: what a node tells as it happens.

use reqwest::Response;

use crate::error::Error;

/// Most bytes of one event.
const MAX_EVENT: usize = 4 * 1_024 * 1_024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its number, if the node gives one.
    pub id: String,
    /// Its kind; empty for a plain message.
    pub kind: String,
    /// Its JSON.
    pub data: String,
}

/// A stream of events; it ends when the node closes it.
#[derive(Debug)]
pub struct EventStream {
    url: String,
    response: Response,
    parser: Parser,
}

impl EventStream {
    pub(crate) const fn new(url: String, response: Response) -> Self {
        Self { url, response, parser: Parser { buffer: Vec::new(), event: None } }
    }

    /// The next event; nothing when the node has closed the stream.
    ///
    /// # Errors
    /// [`Error::Transport`] when the connection broke, [`Error::TooLarge`].
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Ok(Some(event));
            }
            let chunk = self.response.chunk().await;
            match chunk.map_err(|error| Error::Transport {
                url: self.url.clone(),
                reason: error.to_string(),
                sent: true,
            })? {
                Some(chunk) => self.parser.feed(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    event: Option<Event>,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let held = self.event.as_ref().map_or(0, |event| event.data.len());
        if self.buffer.len().saturating_add(chunk.len()).saturating_add(held) > MAX_EVENT {
            return Err(Error::TooLarge { limit: MAX_EVENT });
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// Takes lines until an empty one ends an event.
    fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if !line.is_empty() {
                self.take_line(line);
            } else if let Some(event) = self.event.take() {
                return Some(event);
            }
        }
        None
    }

    fn take_line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        // A line that begins with a colon is a comment: it keeps the connection alive.
        let Some(slot) = ["id", "event", "data"].iter().position(|name| *name == field) else { return };
        let event = self.event.get_or_insert_default();
        match slot {
            0 => event.id = value.to_owned(),
            1 => event.kind = value.to_owned(),
            _ => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_across_chunks_and_comments_are_passed_over() {
        let text = b": hello\n\nid: 7\nevent: block\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\n";
        for size in [1, 5, text.len()] {
            let (mut parser, mut seen) = (Parser::default(), Vec::new());
            for chunk in text.chunks(size) {
                parser.feed(chunk).unwrap();
                seen.extend(std::iter::from_fn(|| parser.next_event()));
            }
            let first = Event { id: "7".to_owned(), kind: "block".to_owned(), data: "{\"a\":1}".to_owned() };
            let second = Event { data: "x\ny".to_owned(), ..Event::default() };
            assert_eq!(seen, [first, second]);
        }
    }

    #[test]
    fn an_event_without_end_is_cut_off() {
        let mut parser = Parser::default();
        parser.feed(&vec![b'x'; MAX_EVENT]).unwrap();
        assert!(parser.feed(b"x").is_err());
    }
}
