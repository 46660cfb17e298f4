//! *Did you mean …?*

/// `; did you mean …?` with the nearest of the known names, or nothing when none is near.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = (name.chars().count() / 3).clamp(1, 4);
    let nearest = known.into_iter().map(|candidate| (distance(name, candidate), candidate)).min();
    match nearest {
        Some((far, candidate)) if far <= near => format!("; did you mean `{candidate}`?"),
        _ => String::new(),
    }
}

/// How many characters are put in, taken out or changed to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(suggestion("erp/qurey", ["erp/query", "jira/delete"]), "; did you mean `erp/query`?");
        assert_eq!(suggestion("Erp/query", ["erp/query"]), "; did you mean `erp/query`?");
        assert_eq!(suggestion("weather", ["erp/query"]), "");
        assert_eq!(suggestion("x", []), "");
    }
}
