//! Guesses which name was meant.

/// Longer names are not compared: the work grows with the product of the lengths.
const NAME_BYTES_MAX: usize = 64;

/// The known name that `name` most likely stands for, if any is close enough.
///
/// Case and the kind of dash do not count. A third of the name may be wrong.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    known
        .iter()
        .filter(|candidate| candidate.len() <= NAME_BYTES_MAX)
        .map(|candidate| (distance(&folded(name), &folded(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn folded(name: &str) -> Vec<u8> {
    name.bytes().filter(|byte| !b"-_ ".contains(byte)).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// How many insertions, deletions, replacements and swaps of neighbours turn `a` into `b`
/// (Damerau–Levenshtein, where what was swapped is not edited again).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut two_above = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(from != to);
            let mut least = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                least = least.min(two_above[j - 1] + 1);
            }
            row.push(least);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_behind_a_slip() {
        let known = ["ADD_TODO", "REMOVE_TODO", "RESET"];
        let cases = [
            ("ADD_TODOS", Some("ADD_TODO")),
            ("addTodo", Some("ADD_TODO")),
            ("remove-todo", Some("REMOVE_TODO")),
            ("RESTE", Some("RESET")),
            ("ERSTE", None),
            ("REST", Some("RESET")),
            ("PUBLISH", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert_eq!(nearest(&"RESET".repeat(20), &known), None);
        for name in ["VTOE", "VOET", "OVTE", "VOT", "VOTES", "BOTE"] {
            assert_eq!(nearest(name, &["OPEN", "VOTE"]), Some("VOTE"), "{name}");
        }
        assert_eq!(nearest("TOVE", &["OPEN", "VOTE"]), None);
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b"abc"), 0);
        assert_eq!(distance(b"abcd", b"badc"), 2);
        assert_eq!(distance(b"ca", b"abc"), 3);
    }
}
