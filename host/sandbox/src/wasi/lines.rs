//! Makes log lines of what a guest writes piece by piece.

/// The line that is being written to a stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// One more than is shown: it tells the log that the line was cut.
    bytes_max: usize,
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max: line_bytes_max + 1 }
    }

    /// Takes what was written, and hands over every line that it ends.
    pub(super) fn write(&mut self, mut written: &[u8], mut line: impl FnMut(&str)) {
        while let Some(end) = written.iter().position(|byte| *byte == b'\n') {
            self.keep(&written[..end]);
            let bytes = self.bytes.strip_suffix(b"\r").unwrap_or(&self.bytes);
            line(&String::from_utf8_lossy(bytes));
            self.bytes.clear();
            written = &written[end + 1..];
        }
        self.keep(written);
    }

    /// What was written since the last line ended. The next line is empty.
    pub(super) fn take_rest(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() { None } else { Some(String::from_utf8_lossy(&bytes).into_owned()) }
    }

    /// Keeps as much as a line may have.
    fn keep(&mut self, written: &[u8]) {
        let room = self.bytes_max - self.bytes.len();
        self.bytes.extend_from_slice(&written[..written.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str], bytes_max: usize) -> Vec<String> {
        let (mut lines, mut found) = (Lines::new(bytes_max), Vec::new());
        for piece in pieces {
            lines.write(piece.as_bytes(), |line| found.push(line.to_owned()));
        }
        found.extend(lines.take_rest().map(|rest| format!("{rest} …")));
        found
    }

    #[test]
    fn a_line_ends_where_its_guest_ends_it_however_it_was_written() {
        assert_eq!(lines(&["one\ntw", "o\r\n\nth", "ree"], 100), ["one", "two", "", "three …"]);
        assert_eq!(lines(&["", "one\n"], 100), ["one"]);
    }

    #[test]
    fn of_a_long_line_one_byte_too_many_is_kept() {
        assert_eq!(lines(&["12345", "6789\nab"], 4), ["12345", "ab …"]);
    }
}
