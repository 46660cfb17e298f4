use proptest::prelude::*;

use super::*;

/// Not SHA-256, but like it: every bit of the input counts.
fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut hash = [0; 32];
    for (place, out) in hash.iter_mut().enumerate() {
        for byte in bytes.iter().chain(&[u8::try_from(place).unwrap()]) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3).rotate_left(17);
        }
        *out = state.to_le_bytes()[3];
    }
    hash
}

fn names(prefix: Prefix, tools: &[(&str, &str)]) -> Result<Vec<String>, Collision> {
    let tools: Vec<Named<'_>> = tools.iter().map(|(alias, tool)| Named { alias, tool }).collect();
    expose(prefix, &tools, &hash).into_iter().collect()
}

#[test]
fn a_name_is_alias_and_tool_in_letters_that_models_take() {
    assert_eq!(
        names(Prefix::Always, &[("crm", "lookup"), ("git", "repo/list.all"), ("git", "größe")]).unwrap(),
        ["crm__lookup", "git__repo_list_all", "git__gr__e"]
    );
}

#[test]
fn a_long_name_is_cut_and_marked_by_a_hash() {
    let long = "a".repeat(43);
    let names = names(Prefix::Always, &[("crm", &long[..43]), ("crm", &"b".repeat(44))]).unwrap();
    assert_eq!(names[0], format!("crm__{}", "a".repeat(43)));
    assert_eq!(names[1].len(), LONGEST);
    assert!(names[1].starts_with(&format!("crm__{}_", "b".repeat(36))), "{}", names[1]);
}

#[test]
fn names_that_become_equal_are_all_marked_in_whatever_order_they_come() {
    let forward = names(Prefix::Always, &[("x", "a.b"), ("x", "a_b"), ("x", "c")]).unwrap();
    assert_ne!(forward[0], forward[1]);
    assert!(forward[..2].iter().all(|name| name.starts_with("x__a_b_") && name.len() == 13), "{forward:?}");
    assert_eq!(forward[2], "x__c");
    let backward = names(Prefix::Always, &[("x", "c"), ("x", "a_b"), ("x", "a.b")]).unwrap();
    assert_eq!(backward, [forward[2].clone(), forward[1].clone(), forward[0].clone()]);
}

#[test]
fn a_hash_that_collides_is_taken_longer() {
    // Differs only behind the first thirty bits.
    let close = |bytes: &[u8]| {
        let mut hash = [0; 32];
        hash[5] = bytes[bytes.len() - 1];
        hash
    };
    let tools = [Named { alias: "x", tool: "a." }, Named { alias: "x", tool: "a/" }];
    let names = expose(Prefix::Always, &tools, &close);
    assert_eq!(names, ["x__a__aaaaaaaafyaa", "x__a__aaaaaaaaf4aa"].map(|name| Ok(name.to_owned())));
    let tools = [Named { alias: "x", tool: "a.b" }, Named { alias: "x", tool: "a_b" }];
    assert!(expose(Prefix::Always, &tools, &|_| [0; 32]).iter().all(Result::is_err));
}

#[test]
fn a_prefix_only_where_two_servers_disagree() {
    assert_eq!(
        names(Prefix::OnConflict, &[("crm", "find"), ("git", "find"), ("git", "log")]).unwrap(),
        ["crm__find", "git__find", "log"]
    );
}

#[test]
fn without_prefix_names_stay_and_two_of_one_name_have_none() {
    assert_eq!(names(Prefix::None, &[("a", "test.simple_text"), ("b", "X")]).unwrap(), ["test.simple_text", "X"]);
    assert_eq!(names(Prefix::None, &[("a", "x"), ("b", "x")]).unwrap_err().name, "x");
    assert_eq!(names(Prefix::None, &[("a", "has space")]).unwrap(), ["has_space"]);
    let tools = [("a", "x"), ("a", "y"), ("b", "x")].map(|(alias, tool)| Named { alias, tool });
    let x = || Err(Collision { name: "x".to_owned() });
    assert_eq!(expose(Prefix::None, &tools, &hash), [x(), Ok("y".to_owned()), x()]);
}

#[test]
fn one_tool_twice_has_no_name() {
    assert!(names(Prefix::Always, &[("a", "x"), ("a", "x")]).is_err());
}

proptest! {
    #[test]
    fn names_are_unique_short_and_the_same_in_any_order(
        tools in prop::collection::btree_set(("[a-c]", "[ab._ é]{0,3}|[ab]{45,60}"), 0..24), turn in 0_usize..24,
    ) {
        let mut tools: Vec<(String, String)> = tools.into_iter().collect();
        let expose_all = |tools: &[(String, String)]| {
            let named: Vec<Named<'_>> = tools.iter().map(|(alias, tool)| Named { alias, tool }).collect();
            expose(Prefix::Always, &named, &hash).into_iter().collect::<Result<Vec<String>, _>>().unwrap()
        };
        let before = expose_all(&tools);
        let unique: std::collections::HashSet<&String> = before.iter().collect();
        prop_assert_eq!(unique.len(), before.len());
        prop_assert!(before.iter().all(|name| (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain)));
        let by = turn % tools.len().max(1);
        tools.rotate_left(by);
        let mut after = expose_all(&tools);
        after.rotate_right(by);
        prop_assert_eq!(before, after);
    }
}
