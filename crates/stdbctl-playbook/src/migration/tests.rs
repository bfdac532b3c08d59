use super::*;
use crate::schema::tests::demo;
use crate::schema::{
    Access, Column, Lifecycle, Member, Members, Param, Plain, Procedure, Reducer, Route, Schedule,
};
use crate::schema::{Sequence, Table, Type, Unique, View};

fn shown(migration: &Migration) -> String {
    let lines = migration.differences.iter().map(|difference| {
        let details: Vec<String> =
            difference.details.iter().map(|detail| format!("\n    {detail}")).collect();
        format!("{:?}: {}{}", difference.severity, difference.what, details.concat())
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

#[test]
fn the_demo_modules_differ_as_the_servers_say() {
    let v1 = demo("demo_v1.wasm");
    let v2 = demo("demo_v2_addtable.wasm");
    let v3 = demo("demo_v3_addcolumn.wasm");
    let v4 = demo("demo_v4_noreducer.wasm");
    let v5 = demo("demo_v5_initpanic.wasm");
    let steps = [
        ("v1 to v1", &v1, &v1),
        ("v1 to v2", &v1, &v2),
        ("v1 to v3", &v1, &v3),
        ("v1 to v4", &v1, &v4),
        ("v1 to v5", &v1, &v5),
        ("v2 to v1", &v2, &v1),
        ("v3 to v1", &v3, &v1),
        ("v4 to v1", &v4, &v1),
    ];
    let mut table = Vec::new();
    for rules in [Rules::V1Strict, Rules::V1, Rules::V2] {
        for (name, old, new) in steps {
            table.push(format!("{name}, {rules:?}\n{}\n", shown(&compare(old, new, rules))));
        }
    }
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn what_a_migration_is_asked_for() {
    let v1 = demo("demo_v1.wasm");
    let same = compare(&v1, &v1, Rules::V1);
    assert!(same.is_empty());
    assert_eq!(same.severity(), None);

    let added = compare(&v1, &demo("demo_v2_addtable.wasm"), Rules::V1);
    assert_eq!(added.severity(), Some(Severity::Compatible));
    assert_eq!(added.tables_touched(), ["score"]);
    assert_eq!(added.beyond_the_server().count(), 0);

    let reducer = compare(&v1, &demo("demo_v4_noreducer.wasm"), Rules::V2);
    assert_eq!(reducer.severity(), Some(Severity::BreaksClients));
    assert!(reducer.tables_touched().is_empty());
    assert_eq!(reducer.beyond_the_server().count(), 1);
    assert_eq!(reducer.of_severity(Severity::Manual).count(), 0);
}

#[test]
fn rules_are_those_of_the_servers_version() {
    assert_eq!(Rules::of_server(1, 2), Rules::V1Strict);
    assert_eq!(Rules::of_server(1, 3), Rules::V1);
    assert_eq!(Rules::of_server(1, 4), Rules::V1WithDefaults);
    assert_eq!(Rules::of_server(1, 12), Rules::V1WithDefaults);
    assert_eq!(Rules::of_server(2, 1), Rules::V1WithDefaults);
    assert_eq!(Rules::of_server(2, 2), Rules::V2);
    assert_eq!(Rules::of_server(3, 0), Rules::V2);
}

#[test]
fn a_column_with_a_default_may_be_added_from_1_4() {
    let (old, new) = changed(|t| t.columns.push(Column { name: "age".into(), ty: U32, has_default: true }));
    for (rules, expected) in [
        (Rules::V1Strict, Severity::Manual),
        (Rules::V1, Severity::Manual),
        (Rules::V1WithDefaults, Severity::BreaksClients),
        (Rules::V2, Severity::BreaksClients),
    ] {
        assert_eq!(compare(&old, &new, rules).severity(), Some(expected), "{rules:?}");
    }
}

const STRING: Type = Type::Plain(Plain::String);
const U8: Type = Type::Plain(Plain::U8);
const U32: Type = Type::Plain(Plain::U32);
const U64: Type = Type::Plain(Plain::U64);

fn members(name: &str, parts: &[(&str, Type)]) -> Members {
    let members =
        parts.iter().map(|(name, ty)| Member { name: Some((*name).to_owned()), ty: ty.clone() }).collect();
    Members { name: Some(name.to_owned()), members }
}

fn sum(parts: &[(&str, Type)]) -> Type {
    Type::Sum(members("State", parts))
}

fn product(parts: &[(&str, Type)]) -> Type {
    Type::Product(members("Point", parts))
}

fn params(params: &[(&str, Type)]) -> Vec<Param> {
    params.iter().map(|(name, ty)| Param { name: (*name).to_owned(), ty: ty.clone() }).collect()
}

fn table(columns: &[(&str, Type)]) -> Table {
    let column =
        |(name, ty): &(&str, Type)| Column { name: (*name).to_owned(), ty: ty.clone(), has_default: false };
    Table {
        name: "person".to_owned(),
        access: Access::Public,
        system: false,
        event: false,
        columns: columns.iter().map(column).collect(),
        primary_key: None,
        unique: Vec::new(),
        indexes: Vec::new(),
        sequences: Vec::new(),
        schedule: None,
    }
}

fn of_table(table: Table) -> Definition {
    Definition { tables: vec![table], ..Definition::default() }
}

fn changed(change: fn(&mut Table)) -> (Definition, Definition) {
    let old = table(&[("id", U64), ("name", STRING)]);
    let mut new = old.clone();
    change(&mut new);
    (of_table(old), of_table(new))
}

fn unique(columns: &[&str]) -> Unique {
    Unique { name: "person_key".to_owned(), columns: columns.iter().map(|c| (*c).to_owned()).collect() }
}

fn index(accessor: &str, column: &str) -> crate::schema::Index {
    crate::schema::Index {
        name: "person_idx".to_owned(),
        accessor: Some(accessor.to_owned()),
        algorithm: "btree",
        columns: vec![column.to_owned()],
    }
}

type Change = (&'static str, fn(&mut Table));

#[test]
fn every_change_of_a_table_has_its_line() {
    let changes: [Change; 15] = [
        ("private", |t| t.access = Access::Private),
        ("system", |t| t.system = true),
        ("event", |t| t.event = true),
        ("column removed", |t| drop(t.columns.pop())),
        ("column added", |t| t.columns.push(Column { name: "age".into(), ty: U32, has_default: false })),
        ("column with default", |t| {
            t.columns.push(Column { name: "age".into(), ty: U32, has_default: true });
        }),
        ("column in front", |t| {
            t.columns.insert(0, Column { name: "age".into(), ty: U32, has_default: true });
        }),
        ("column renamed", |t| t.columns[1].name = "title".into()),
        ("reordered", |t| t.columns.reverse()),
        ("type", |t| t.columns[0].ty = U32),
        ("primary key", |t| t.primary_key = Some("id".into())),
        ("unique", |t| t.unique.push(unique(&["id"]))),
        ("index", |t| t.indexes.push(index("id", "id"))),
        ("sequence", |t| {
            t.sequences.push(Sequence {
                name: "person_id_seq".into(),
                column: "id".into(),
                start: None,
                min: None,
                max: None,
                increment: 1,
            });
        }),
        ("schedule", |t| t.schedule = Some(Schedule { function: "tick".into(), column: "id".into() })),
    ];
    let mut said = Vec::new();
    for (name, change) in changes {
        let (old, new) = changed(change);
        for (name, old, new) in [(name.to_owned(), &old, &new), (format!("{name}, back"), &new, &old)] {
            let one = shown(&compare(old, new, Rules::V1));
            let two = shown(&compare(old, new, Rules::V2));
            said.push(if one == two {
                format!("{name}\n{one}\n")
            } else {
                format!("{name}\n{one}\n2.x: {two}\n")
            });
        }
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn constraints_and_indexes_are_known_by_their_names() {
    let (mut old, mut new) = changed(|_| {});
    old.tables[0].unique.push(unique(&["id"]));
    new.tables[0].unique.push(unique(&["id", "name"]));
    old.tables[0].indexes.push(index("id", "id"));
    new.tables[0].indexes.push(index("id", "name"));
    let migration = compare(&old, &new, Rules::V1);
    assert_eq!(
        shown(&migration),
        "Manual: unique constraint on person is on (id, name) instead of (id)\n    \
         the server cannot do this by itself: it needs a manual migration, or the data has to go\n\
         Compatible: index person_idx of table person is made anew\n    \
         btree index on id becomes btree index on name"
    );
    new.tables[0].indexes[0].accessor = None;
    let migration = compare(&old, &new, Rules::V1);
    assert_eq!(migration.of_severity(Severity::Manual).count(), 2);
}

/// A server takes what is compatible without a word, and is lost for the database or as a whole after this.
#[test]
fn what_a_server_takes_to_its_own_harm_is_refused() {
    let (mut old, mut new) = changed(|table| table.primary_key = Some("id".into()));
    for definition in [&mut old, &mut new] {
        definition.tables[0].unique.push(unique(&["id"]));
        definition.tables[0].indexes.push(index("id", "id"));
    }
    for (old, new) in [(&old, &new), (&new, &old)] {
        assert_eq!(compare(old, new, Rules::V1).severity(), Some(Severity::Manual));
        assert_ne!(compare(old, new, Rules::V2).severity(), Some(Severity::Manual));
    }

    let mut numbered = old.clone();
    numbered.tables[0].sequences.push(Sequence {
        name: "person_id_seq".into(),
        column: "id".into(),
        start: None,
        min: None,
        max: None,
        increment: 1,
    });
    assert_eq!(compare(&old, &numbered, Rules::V1).severity(), Some(Severity::Manual));
    assert_eq!(compare(&old, &numbered, Rules::V2).severity(), Some(Severity::Compatible));
    assert_eq!(compare(&numbered, &old, Rules::V1).severity(), Some(Severity::Compatible));
}

#[test]
fn types_may_grow_where_their_size_stays() {
    let unit = product(&[]);
    let small = sum(&[("a", unit.clone()), ("b", U32)]);
    let cases = [
        ("one more small variant", small.clone(), sum(&[("a", unit.clone()), ("b", U32), ("c", U32)])),
        ("one more large variant", small.clone(), sum(&[("a", unit.clone()), ("b", U32), ("c", U64)])),
        ("one variant less", small.clone(), sum(&[("a", unit.clone())])),
        ("a renamed variant", small.clone(), sum(&[("a", unit.clone()), ("z", U32)])),
        ("a variant of another type", small.clone(), sum(&[("a", unit.clone()), ("b", U8)])),
        (
            "within an array",
            Type::Array(Box::new(small.clone())),
            Type::Array(Box::new(sum(&[("a", unit.clone()), ("b", U32), ("c", unit.clone())]))),
        ),
        (
            "within a product",
            product(&[("x", small.clone())]),
            product(&[("x", sum(&[("a", unit.clone()), ("b", U32), ("c", U8)]))]),
        ),
        ("a field more", product(&[("x", U32)]), product(&[("x", U32), ("y", U32)])),
        ("a renamed field", product(&[("x", U32)]), product(&[("y", U32)])),
        ("a number to a text", U32, STRING),
        ("from one kind to another", small, product(&[("x", U32)])),
    ];
    let mut said = Vec::new();
    for (name, old, new) in cases {
        let (old, new) = (of_table(table(&[("c", old)])), of_table(table(&[("c", new)])));
        said.push(format!("{name}\n{}\n", shown(&compare(&old, &new, Rules::V1))));
        let strict = compare(&old, &new, Rules::V1Strict);
        assert_eq!(strict.severity(), Some(Severity::Manual), "{name}");
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_type_with_another_name_is_the_same_type() {
    let old = of_table(table(&[("c", Type::Product(members("Old", &[("x", U32)])))]));
    let new = of_table(table(&[("c", Type::Product(members("New", &[("x", U32)])))]));
    assert!(compare(&old, &new, Rules::V1).is_empty());
    assert!(compare(&old, &new, Rules::V1Strict).is_empty());
}

#[test]
fn what_clients_call_is_compared_with_care() {
    let reducer = |name: &str, list: &[(&str, Type)], lifecycle, callable| Reducer {
        name: name.to_owned(),
        params: params(list),
        lifecycle,
        callable,
    };
    let procedure = |name: &str, returns: Type| Procedure {
        name: name.to_owned(),
        params: params(&[]),
        returns,
        callable: true,
    };
    let view = |name: &str, access, anonymous, returns: Type| View {
        name: name.to_owned(),
        access,
        anonymous,
        params: Vec::new(),
        returns,
    };
    let route =
        |path: &str| Route { path: path.to_owned(), method: "GET".to_owned(), handler: "h".to_owned() };
    let old = Definition {
        reducers: vec![
            reducer("become_init", &[], None, true),
            reducer("grown", &[("a", product(&[("x", U32)]))], None, true),
            reducer("hidden", &[], None, true),
            reducer("init", &[], Some(Lifecycle::Init), false),
            reducer("more", &[("a", U32)], None, true),
            reducer("renamed", &[("a", U32)], None, true),
            reducer("swapped", &[("a", U32), ("b", STRING)], None, true),
        ],
        procedures: vec![procedure("gone", U32), procedure("typed", U32)],
        views: vec![view("gone", Access::Public, true, U32), view("mine", Access::Public, true, U32)],
        routes: vec![route("/gone")],
        row_level_security: vec!["select 1".to_owned()],
        ..Definition::default()
    };
    let new = Definition {
        reducers: vec![
            reducer("become_init", &[], Some(Lifecycle::ClientConnected), false),
            reducer("grown", &[("a", product(&[("x", U32), ("y", U32)]))], None, true),
            reducer("hidden", &[], None, false),
            reducer("more", &[("a", U32), ("b", U32)], None, true),
            reducer("new", &[("a", U32)], None, true),
            reducer("renamed", &[("b", U32)], None, true),
            reducer("swapped", &[("b", STRING), ("a", U32)], None, true),
        ],
        procedures: vec![procedure("new", U32), procedure("typed", STRING)],
        views: vec![view("mine", Access::Private, false, STRING), view("new", Access::Public, true, U32)],
        routes: vec![route("/new")],
        row_level_security: vec!["select 2".to_owned()],
        ..Definition::default()
    };
    insta::assert_snapshot!(format!(
        "{}\n\nback:\n{}",
        shown(&compare(&old, &new, Rules::V1)),
        shown(&compare(&new, &old, Rules::V2))
    ));
}

#[test]
fn a_servers_plan_becomes_plain_lines() {
    let recordings = [
        include_str!("../../../../tests/fixtures/recordings/2.8.3/12-pre_publish-unchanged.http"),
        include_str!("../../../../tests/fixtures/recordings/2.8.3/13-pre_publish-compatible.http"),
        include_str!("../../../../tests/fixtures/recordings/2.8.3/14-pre_publish-compatible-ansi.http"),
        include_str!("../../../../tests/fixtures/recordings/2.8.3/16-pre_publish-reducer-removed.http"),
        include_str!("../../../../tests/fixtures/recordings/2.8.3/42-pre_publish-breaking.http"),
    ];
    let lines: Vec<Vec<String>> = recordings
        .iter()
        .map(|recording| {
            let body = recording.trim_end().lines().last().unwrap();
            let answer: serde_json::Value = serde_json::from_str(body).unwrap();
            plan_lines(answer["AutoMigrate"]["migrate_plan"].as_str().unwrap())
        })
        .collect();
    assert!(lines[0].is_empty());
    let created = [
        "Created user table: score (public)",
        "  Columns:",
        "    id: U64",
        "    points: I64",
        "  Unique constraints:",
        "    score_id_key on [id]",
        "  Indexes:",
        "    score_id_idx_btree on [id]",
    ];
    assert_eq!(lines[1], created);
    assert_eq!(lines[2], created);
    assert!(lines[3].is_empty());
    assert_eq!(
        lines[4],
        ["Removed table: score", "Warning: All clients will be disconnected due to breaking schema changes"]
    );
    assert_eq!(plan_lines("a\u{7}\tb\u{1b}[31"), ["a b"]);
}
