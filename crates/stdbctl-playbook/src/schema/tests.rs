use std::path::Path;
use std::slice;

use proptest::prelude::*;

use super::*;
use crate::module::Module;

pub(crate) fn demo(name: &str) -> Definition {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/modules");
    Module::read(&modules.join(name)).unwrap().definition
}

const V1_OF_2_8_VERSION_9: &str = include_str!("fixtures/demo_v1-2.8.3-version-9.json");
const V1_OF_2_8_VERSION_10: &str = include_str!("fixtures/demo_v1-2.8.3-version-10.json");
const V2_OF_1_3: &str = include_str!("fixtures/demo_v2-1.3.0-version-9.json");

#[test]
fn a_module_says_of_itself_what_the_server_says_of_it() {
    assert_eq!(Definition::from_json(V1_OF_2_8_VERSION_9).unwrap(), demo("demo_v1.wasm"));
    assert_eq!(Definition::from_json(V1_OF_2_8_VERSION_10).unwrap(), demo("demo_v1.wasm"));
    assert_eq!(Definition::from_json(V2_OF_1_3).unwrap(), demo("demo_v2_addtable.wasm"));
}

/// Descriptions in BSATN, put together by hand.
mod bytes {
    pub(super) fn text(text: &str) -> Vec<u8> {
        [&u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
    }

    pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
        [u32::try_from(items.len()).unwrap().to_le_bytes().to_vec(), items.concat()].concat()
    }

    pub(super) fn tagged(tag: u8, payload: &[u8]) -> Vec<u8> {
        [&[tag], payload].concat()
    }

    pub(super) fn some(value: &[u8]) -> Vec<u8> {
        tagged(0, value)
    }

    pub(super) const NONE: &[u8] = &[1];
    pub(super) const STRING: &[u8] = &[4];
    pub(super) const U32: &[u8] = &[11];
    pub(super) const U64: &[u8] = &[13];

    pub(super) fn reference(number: u32) -> Vec<u8> {
        tagged(0, &number.to_le_bytes())
    }

    pub(super) fn member(name: &str, ty: &[u8]) -> Vec<u8> {
        [some(&text(name)), ty.to_vec()].concat()
    }

    pub(super) fn sum(variants: &[Vec<u8>]) -> Vec<u8> {
        tagged(1, &list(variants))
    }

    pub(super) fn product(fields: &[Vec<u8>]) -> Vec<u8> {
        tagged(2, &list(fields))
    }

    pub(super) fn type_name(name: &str, number: u32) -> Vec<u8> {
        [list(&[]), text(name), number.to_le_bytes().to_vec(), vec![1]].concat()
    }

    /// Version 9 with types and nothing else.
    pub(super) fn only_types(types: &[Vec<u8>], names: &[Vec<u8>]) -> Vec<u8> {
        let nothing = list(&[]);
        [vec![1], list(types), nothing.clone(), nothing.clone(), list(names), nothing.clone(), nothing]
            .concat()
    }
}

/// As the bindings of 2.x describe a module whose author writes C#: names in its case, schedules and lifecycles in
/// sections of their own.
fn version_10_module() -> Vec<u8> {
    use bytes::*;
    let columns = [
        member("UserId", U64),
        member("displayName", STRING),
        member("State", &reference(1)),
        member(
            "At",
            &sum(&[
                member("Interval", &product(&[member("__time_duration_micros__", &[12])])),
                member("Time", &product(&[member("__timestamp_micros_since_unix_epoch__", &[12])])),
            ]),
        ),
    ];
    let states = [member("Idle", &product(&[])), member("RunningFast", U32)];
    let zero = 0_u16.to_le_bytes().to_vec();
    let index = [
        some(&text("PlayerState_UserId_idx_btree")),
        some(&text("UserId")),
        tagged(0, &list(slice::from_ref(&zero))),
    ];
    let unique = [NONE.to_vec(), tagged(0, &list(slice::from_ref(&zero)))];
    let sequence = [
        NONE.to_vec(),
        zero.clone(),
        NONE.to_vec(),
        NONE.to_vec(),
        NONE.to_vec(),
        1_i128.to_le_bytes().to_vec(),
    ];
    let default = [1_u16.to_le_bytes().to_vec(), text("abc")];
    let table = [
        text("PlayerState"),
        0_u32.to_le_bytes().to_vec(),
        list(&[zero]),
        list(&[index.concat()]),
        list(&[unique.concat()]),
        list(&[sequence.concat()]),
        vec![1, 0],
        list(&[default.concat()]),
        vec![0],
    ];
    let reducer = |name: &str, params: &[Vec<u8>], visibility: u8| {
        [text(name), list(params), vec![visibility], product(&[]), STRING.to_vec()].concat()
    };
    let reducers = [
        reducer("SetName", &[member("newName", STRING), member("to", &reference(1))], 1),
        reducer("Init", &[], 0),
        reducer("Tick", &[member("arg", &reference(0))], 0),
    ];
    let procedure = [text("FetchIt"), list(&[]), STRING.to_vec(), vec![1]].concat();
    let view =
        [text("MyView"), 0_u32.to_le_bytes().to_vec(), vec![1, 0], list(&[]), tagged(3, &reference(0))]
            .concat();
    let schedule = [NONE.to_vec(), text("PlayerState"), 3_u16.to_le_bytes().to_vec(), text("Tick")].concat();
    let explicit = tagged(1, &[text("FetchIt"), text("get")].concat());
    let route = [text("Hook"), vec![1, 2], text("/hook")].concat();
    let sections = [
        tagged(0, &list(&[product(&columns), sum(&states)])),
        tagged(1, &list(&[type_name("PlayerState", 0), type_name("State", 1)])),
        tagged(2, &list(&[table.concat()])),
        tagged(3, &list(&reducers)),
        tagged(4, &list(&[procedure])),
        tagged(5, &list(&[view])),
        tagged(6, &list(&[schedule])),
        tagged(7, &list(&[tagged(0, &text("Init"))])),
        tagged(8, &list(&[text("select * from player_state")])),
        tagged(10, &list(&[explicit])),
        tagged(11, &list(&[text("Hook")])),
        tagged(12, &list(&[route])),
        tagged(14, &list(&[[text("inner"), list(&[tagged(8, &list(&[text("select 1")]))])].concat()])),
    ];
    tagged(2, &list(&sections))
}

#[test]
fn names_of_version_10_become_the_databases() {
    let definition = Definition::from_bsatn(&version_10_module()).unwrap();
    insta::assert_json_snapshot!(definition);
}

#[test]
fn a_server_of_2_x_says_the_same_of_a_version_10_module() {
    let answer = include_str!("fixtures/version-10.json");
    let served = Definition::from_json(answer).unwrap();
    assert_eq!(served, Definition::from_bsatn(&version_10_module()).unwrap());
}

#[test]
fn old_and_unknown_descriptions_are_named() {
    let said = |bytes: &[u8]| Definition::from_bsatn(bytes).unwrap_err().to_string();
    assert_eq!(said(&[0, 1, 2]), "it describes itself in the way of before 1.0");
    assert_eq!(said(&[7]), "it describes itself in a way that is not known here (number 7)");
    assert_eq!(said(&[]), "its description is broken: it is empty");
    let cause = |bytes: &[u8]| match Definition::from_bsatn(bytes).unwrap_err() {
        SchemaError::Bsatn(error) => error.to_string(),
        other => other.to_string(),
    };
    assert_eq!(cause(&[1, 1, 0]), "it ends 2 bytes too early at byte 0");
    assert_eq!(cause(&[1, 9, 0, 0, 0]), "an array of 9 elements does not fit into what is left at byte 4");
    assert_eq!(
        cause(&[2, 1, 0, 0, 0, 99]),
        "invalid value: integer `99`, expected variant index 0 <= i < 15 at byte 5"
    );
    assert_eq!(cause(&[2, 0, 0, 0, 0, 0]), "1 bytes too many at byte 4");
}

#[test]
fn hostile_types_come_to_an_end() {
    use bytes::*;
    // Every type twice the one before it: 2 to the power of 40 parts.
    let doubling: Vec<Vec<u8>> = (0..40)
        .map(|n| product(&[member("a", &reference(n + 1)), member("b", &reference(n + 1))]))
        .chain([U32.to_vec()])
        .collect();
    let names = [type_name("T", 0)];
    assert!(matches!(Definition::from_bsatn(&only_types(&doubling, &names)), Err(SchemaError::TooLarge)));
    // A long chain of references, and deep nesting without any.
    let chain: Vec<Vec<u8>> =
        (0..5000).map(|n| product(&[member("a", &reference(n + 1))])).chain([U32.to_vec()]).collect();
    assert!(matches!(Definition::from_bsatn(&only_types(&chain, &names)), Err(SchemaError::TooLarge)));
    let nested = [vec![3; 100_000], U32.to_vec()].concat();
    assert!(matches!(Definition::from_bsatn(&only_types(&[nested], &names)), Err(SchemaError::Bsatn(_))));
    // Nothing there.
    let broken = Definition::from_bsatn(&only_types(&[reference(9)], &names)).unwrap_err();
    assert_eq!(broken.to_string(), "its description is broken: there is no type number 9");
    let deep = format!("{}{}", r#"{"sections":"#, "[".repeat(100_000));
    assert!(matches!(Definition::from_json(&deep), Err(SchemaError::Json(_))));
}

#[test]
fn recursive_types_are_shown_by_their_names() {
    use bytes::*;
    let tree = product(&[member("value", U32), member("children", &tagged(3, &reference(0)))]);
    let definition = Definition::from_bsatn(&only_types(&[tree], &[type_name("Tree", 0)])).unwrap();
    assert_eq!(definition.types[0].definition, "Tree(value: u32, children: array<Tree>)");
}

#[test]
fn what_a_newer_server_says_besides_is_let_be() {
    let answer =
        V1_OF_2_8_VERSION_10.replacen(r#"{"sections":["#, r#"{"sections":[{"Dreams":[1,{"a":[]}]},"#, 1);
    assert_ne!(answer, V1_OF_2_8_VERSION_10);
    assert_eq!(Definition::from_json(&answer).unwrap(), demo("demo_v1.wasm"));
    for wrong in ["", "[]", "{}", "null", r#"{"sections":7}"#, r#"{"sections":[{"Tables":[1]}]}"#] {
        assert!(matches!(Definition::from_json(wrong), Err(SchemaError::Json(_))), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(form in 0_u8..4, body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _answer = Definition::from_bsatn(&bytes::tagged(form, &body));
    }

    #[test]
    fn no_change_to_a_description_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = version_10_module();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _answer = Definition::from_bsatn(&bytes);
        let _answer = Definition::from_bsatn(&bytes[..keep.index(bytes.len())]);
    }
}
