//! An engine's endless answers, however they are cut.

use drowse_fuzz::Input;

use super::*;

#[test]
fn engine_lines() {
    drowse_fuzz::target("engine_lines", |input| {
        let mut input = Input::new(input);
        let sizes: [u8; 4] = input.array();
        let mut text = input.rest();
        let expected: Vec<Line> = match text.iter().rposition(|byte| *byte == b'\n') {
            None => Vec::new(),
            Some(end) => {
                let lines = text[..end].split(|byte| *byte == b'\n');
                let lines = lines.filter(|line| !line.trim_ascii().is_empty());
                lines.map(|line| Line::Whole(Bytes::copy_from_slice(line))).collect()
            }
        };
        let mut splitter = Splitter::default();
        let mut read = Vec::new();
        for size in sizes.into_iter().cycle() {
            let (piece, rest) = text.split_at(text.len().min(1 + usize::from(size)));
            text = rest;
            splitter.push(piece);
            read.extend(std::iter::from_fn(|| splitter.next()));
            if text.is_empty() {
                break;
            }
        }
        assert_eq!(read, expected);
    });
}
