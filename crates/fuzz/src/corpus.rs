//! What is kept: one file a target, one input a line, written as Rust writes byte strings. Those above
//! the mark were chosen by people, or have failed once; those below it the fuzzer has found, and finds
//! smaller ones for.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// Stands between the two.
const FOUND: &str = "# found by the fuzzer: rewritten by `cargo xtask fuzz`";

/// The inputs of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// The lines above the mark, comments among them.
    chosen: Vec<Line>,
    /// What the fuzzer has found.
    pub found: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Comment(String),
    Input(Vec<u8>),
}

impl Corpus {
    /// The file of a target.
    pub fn path(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.txt"))
    }

    /// Reads a target's file. One that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is no byte string: a sentence for people.
    pub fn read(target: &str) -> Result<Self, String> {
        let path = Self::path(target);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|why| format!("{}:{why}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Writes a target's file.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, target: &str) -> io::Result<()> {
        fs::write(Self::path(target), self.text())
    }

    /// All of them.
    pub fn inputs(&self) -> impl Iterator<Item = &[u8]> {
        let chosen = self.chosen.iter().filter_map(|line| match line {
            Line::Input(input) => Some(input.as_slice()),
            Line::Comment(_) => None,
        });
        chosen.chain(self.found.iter().map(Vec::as_slice))
    }

    /// Adds one that is to stay, unless it is there.
    pub fn keep(&mut self, input: &[u8]) {
        let line = Line::Input(input.to_owned());
        if !self.chosen.contains(&line) {
            self.chosen.push(line);
        }
    }

    /// Puts these in the place of what was found before, ordered, and without what is there already.
    pub fn find(&mut self, found: impl IntoIterator<Item = Vec<u8>>) {
        let is_new = |input: &Vec<u8>| !self.chosen.contains(&Line::Input(input.clone()));
        self.found = found.into_iter().filter(is_new).collect();
        self.found.sort_unstable_by(|one, other| {
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        });
        self.found.dedup();
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut corpus = Self::default();
        let mut is_found = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line == FOUND {
                is_found = true;
            } else if line.starts_with('#') || (line.is_empty() && !is_found) {
                corpus.chosen.push(Line::Comment(line.to_owned()));
            } else {
                let input = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
                let input = input.and_then(unescaped);
                let input = input.ok_or_else(|| format!("{number}: `{line}` is no byte string"))?;
                if is_found {
                    corpus.found.push(input);
                } else {
                    corpus.chosen.push(Line::Input(input));
                }
            }
        }
        Ok(corpus)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{line}");
        };
        for chosen in &self.chosen {
            match chosen {
                Line::Comment(comment) => line(format_args!("{comment}")),
                Line::Input(input) => line(format_args!("\"{}\"", input.escape_ascii())),
            }
        }
        if !self.found.is_empty() {
            line(format_args!("{FOUND}"));
        }
        for found in &self.found {
            line(format_args!("\"{}\"", found.escape_ascii()));
        }
        text
    }
}

/// The bytes of what [`slice::escape_ascii`] has written, with other characters as they are.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'0' => b'\0',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other @ (b'\\' | b'"' | b'\'') => other,
                _ => return None,
            },
            b'"' => return None,
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let mut corpus = Corpus::default();
        corpus.chosen.push(Line::Comment("# by hand".to_owned()));
        corpus.keep(b"PROXY \r\n\"\\\x00\xff");
        corpus.keep(b"");
        corpus.keep(b"");
        corpus.find([b"bb".to_vec(), b"a".to_vec(), b"a".to_vec(), Vec::new()]);
        let text = corpus.text();
        assert_eq!(text.lines().count(), 6, "{text}");
        assert_eq!(Corpus::parse(&text), Ok(corpus));
    }

    #[test]
    fn a_line_that_is_no_byte_string_is_named() {
        for wrong in ["abc", "\"a", "\"\\q\"", "\"a\"b\"", "\"\\x1\""] {
            let why = Corpus::parse(&format!("# a\n{wrong}\n")).unwrap_err();
            assert_eq!(why, format!("2: `{wrong}` is no byte string"));
        }
    }
}
