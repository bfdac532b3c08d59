//! The names a server gives to what a module leaves unnamed, or writes in its language's own case.

use std::collections::BTreeMap;

use convert_case::{Case, Casing};

use super::raw::{CasePolicy, ExplicitName, ExplicitNames, RawMember, RawType};

/// How names of the source become names of the database.
#[derive(Debug, Default)]
pub(super) struct Naming {
    convert: bool,
    tables: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
    indexes: BTreeMap<String, String>,
}

impl Naming {
    /// A server's answer has converted names already: its policy is not asked for twice.
    pub(super) fn of_server(explicit: Option<ExplicitNames>) -> Self {
        let mut naming = Self::default();
        naming.learn(explicit);
        naming
    }

    pub(super) fn of_module(policy: Option<&CasePolicy>, explicit: Option<ExplicitNames>) -> Self {
        // A module that says nothing means snake case.
        let convert = !matches!(policy, Some(CasePolicy::None(_)));
        let mut naming = Self { convert, ..Self::default() };
        naming.learn(explicit);
        naming
    }

    fn learn(&mut self, explicit: Option<ExplicitNames>) {
        for name in explicit.into_iter().flat_map(|names| names.entries) {
            let (names, mapping) = match name {
                ExplicitName::Table(mapping) => (&mut self.tables, mapping),
                ExplicitName::Function(mapping) => (&mut self.functions, mapping),
                ExplicitName::Index(mapping) => (&mut self.indexes, mapping),
            };
            names.insert(mapping.source_name, mapping.canonical_name);
        }
    }

    pub(super) fn table(&self, source: &str) -> String {
        self.tables.get(source).cloned().unwrap_or_else(|| self.converted(source))
    }

    pub(super) fn function(&self, source: &str) -> String {
        self.functions.get(source).cloned().unwrap_or_else(|| self.converted(source))
    }

    /// The name the module insists on.
    pub(super) fn index(&self, source: Option<&str>) -> Option<String> {
        self.indexes.get(source?).cloned()
    }

    fn converted(&self, source: &str) -> String {
        if self.convert { source.to_case(Case::Snake) } else { source.to_owned() }
    }

    /// Names of fields and variants; types that mean something by their names keep them.
    pub(super) fn convert_type(&self, ty: &mut RawType) {
        if self.convert {
            convert_members(ty);
        }
    }
}

fn convert_members(ty: &mut RawType) {
    let (members, case) = match ty {
        RawType::Array(element) => return convert_members(element),
        RawType::Product(product) if !is_special_product(&product.elements) => {
            (&mut product.elements, Case::Snake)
        }
        RawType::Sum(sum) if !is_special_sum(&sum.variants) => (&mut sum.variants, Case::Camel),
        _ => return,
    };
    for member in members {
        member.name = member.name.as_ref().map(|name| name.to_case(case));
        convert_members(&mut member.algebraic_type);
    }
}

fn is_special_product(fields: &[RawMember]) -> bool {
    const SPECIAL: [&str; 5] = [
        "__identity__",
        "__connection_id__",
        "__timestamp_micros_since_unix_epoch__",
        "__time_duration_micros__",
        "__uuid__",
    ];
    let [only] = fields else { return false };
    only.name.as_deref().is_some_and(|name| SPECIAL.contains(&name))
}

fn is_special_sum(variants: &[RawMember]) -> bool {
    let [first, second] = variants else { return false };
    matches!(
        (first.name.as_deref(), second.name.as_deref()),
        (Some("some"), Some("none")) | (Some("ok"), Some("err")) | (Some("Interval"), Some("Time"))
    )
}

/// `person_id_idx_btree`.
pub(super) fn of_index(table: &str, columns: &[String], algorithm: &str) -> String {
    format!("{table}_{}_idx_{algorithm}", columns.join("_"))
}

/// `person_id_key`.
pub(super) fn of_unique(table: &str, columns: &[String]) -> String {
    format!("{table}_{}_key", columns.join("_"))
}

/// `person_id_seq`.
pub(super) fn of_sequence(table: &str, column: &str) -> String {
    format!("{table}_{column}_seq")
}
