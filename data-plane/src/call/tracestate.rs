//! W3C `tracestate`: what tracing systems on the way say to each other, checked and passed on as it is.

/// Most members of a list (W3C Trace Context, 3.3.1.1).
const MEMBERS_MAX: usize = 32;
/// Characters that are passed on; a longer list loses members (3.3.1.5).
const LENGTH_MAX: usize = 512;
/// Members longer than this go first.
const LONG: usize = 128;
const KEY_MAX: usize = 256;
const VALUE_MAX: usize = 256;

/// The list in its plain form; `None` when it breaks the grammar or is empty.
pub(super) fn read(text: &str) -> Option<String> {
    let members = text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    // Whoever sends more is not read to the end.
    let mut members: Vec<&str> = members.take(MEMBERS_MAX + 1).collect();
    if members.is_empty() || members.len() > MEMBERS_MAX || !are_members(&members) {
        return None;
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>() - 1;
    if length(&members) > LENGTH_MAX {
        members.retain(|member| member.len() <= LONG);
    }
    while !members.is_empty() && length(&members) > LENGTH_MAX {
        members.pop();
    }
    (!members.is_empty()).then(|| members.join(","))
}

/// Whether all are `key=value`, and no key is there twice.
fn are_members(members: &[&str]) -> bool {
    let mut keys = Vec::with_capacity(members.len());
    members.iter().all(|member| {
        let Some((key, value)) = member.split_once('=') else { return false };
        let is_new = !keys.contains(&key);
        keys.push(key);
        is_new && is_key(key) && is_value(value)
    })
}

fn is_key(key: &str) -> bool {
    let is_rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = key.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins && key.len() <= KEY_MAX && key.bytes().all(is_rest)
}

/// Printable ASCII without comma and equals sign; a space does not stand last, because members are trimmed.
fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    !value.is_empty() && value.len() <= VALUE_MAX && value.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_passed_on_in_order() {
        assert_eq!(read("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").unwrap(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        assert_eq!(read(" t1@sys = x,\t, b/*-_9=a b\t").as_deref(), None, "no space in a key");
        assert_eq!(read(" t1@sys=a x,\t, b/*-_9=:{\"}\t").unwrap(), "t1@sys=a x,b/*-_9=:{\"}");
    }

    #[test]
    fn what_breaks_the_grammar_is_dropped() {
        let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for wrong in ["", " , ", "a", "a=", "=b", "A=b", "@a=b", "a=b=c", "a=b,a=c", "a=é", "a=b\nc=d", "a=\u{7f}"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(read(&format!("a={}", "v".repeat(257))), None);
        assert_eq!(read(&format!("{}=v", "k".repeat(257))), None);
        assert!(read(&many(32)).is_some());
        assert_eq!(read(&many(33)), None);
    }

    #[test]
    fn over_512_characters_long_members_go_first_and_then_the_last_ones() {
        let member = |key: &str, length: usize| format!("{key}={}", "v".repeat(length - 2));
        let list = |members: &[String]| members.join(",");
        let just = list(&[member("a", 255), member("b", 256)]);
        assert_eq!((just.len(), read(&just).unwrap()), (512, just.clone()));
        let [long, most @ .., short] =
            [("a", 129), ("b", 128), ("c", 128), ("d", 128), ("e", 125), ("f", 3)].map(|(key, long)| member(key, long));
        let kept = read(&list(&[&[long], &most[..], &[short]].concat())).unwrap();
        assert_eq!(kept, list(&most));
        assert_eq!(kept.len(), 512);
        assert_eq!(read(&list(&[member("a", 258), member("b", 258)])), None);
    }
}
