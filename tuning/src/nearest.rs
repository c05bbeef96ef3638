//! "Did you mean": the known word closest to a mistyped one.

/// The word of `known` that `word` most likely stands for.
///
/// Case, `-` and `_` do not count. A word more than half of whose letters would have to change is
/// not offered: a wrong guess helps nobody. Of equally close words the first wins.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|&(distance, candidate)| distance * 2 <= candidate.chars().count().max(word.len()))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "x"?` when there is a close word, else nothing: ready to end an error message.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(candidate) => format!("; did you mean {candidate:?}?"),
        None => String::new(),
    }
}

fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Optimal string alignment distance: insertions, deletions, changes and swaps of neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row + 1);
        for (column, r) in right.iter().enumerate() {
            let changed = above[column] + usize::from(l != r);
            let mut best = changed.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *l == right[column - 1] && left[row - 1] == *r {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["listen-min", "listen-max", "net-ticktime", "cookie"];

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("lisetn-min", KNOWN), Some("listen-min"));
        assert_eq!(nearest("listen_max", KNOWN), Some("listen-max"));
        assert_eq!(nearest("ticktime", KNOWN), Some("net-ticktime"));
        assert_eq!(nearest("Cokie", KNOWN), Some("cookie"));
        assert_eq!(suggestion("cooky", KNOWN), "; did you mean \"cookie\"?");
    }

    #[test]
    fn offers_nothing_far_away() {
        assert_eq!(nearest("zzz", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
        assert_eq!(suggestion("xyzzy-plugh", KNOWN), "");
    }

    #[test]
    fn counts_a_swap_once() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("ab"), &chars("ba")), 1);
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(distance(&chars(""), &chars("abc")), 3);
    }
}
