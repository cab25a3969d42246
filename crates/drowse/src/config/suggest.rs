//! What somebody probably meant.

/// The known word that is nearest to `given`, if one is near enough to be meant.
pub(crate) fn did_you_mean<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let given = given.to_lowercase();
    // A third of the letters may be wrong: more is another word.
    let bound = (given.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|word| (distance(&given, word), word))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let changed = usize::from(from[i - 1] != to[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["idle", "sleep", "stop_timeout", "wake_timeout", "host"];
        for (given, meant) in [
            ("idel", Some("idle")),
            ("Idle", Some("idle")),
            ("stop-timeout", Some("stop_timeout")),
            ("stoptimeout", Some("stop_timeout")),
            ("hots", Some("host")),
            ("needs", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(given, known), meant, "{given}");
        }
    }
}
