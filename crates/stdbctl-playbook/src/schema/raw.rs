//! Descriptions of a module as they travel: versions 9 and 10, the same in BSATN (from the module) and in JSON
//! (from the server). In BSATN the order of the fields and variants is the format.

use std::fmt;

use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

/// A sum's payload where there is nothing to say.
pub(super) type Nothing = IgnoredAny;

#[derive(Debug, Deserialize)]
pub(super) struct Typespace {
    pub(super) types: Vec<RawType>,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawType {
    Ref(u32),
    Sum(RawSum),
    Product(RawProduct),
    Array(Box<RawType>),
    String(Nothing),
    Bool(Nothing),
    I8(Nothing),
    U8(Nothing),
    I16(Nothing),
    U16(Nothing),
    I32(Nothing),
    U32(Nothing),
    I64(Nothing),
    U64(Nothing),
    I128(Nothing),
    U128(Nothing),
    I256(Nothing),
    U256(Nothing),
    F32(Nothing),
    F64(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSum {
    pub(super) variants: Vec<RawMember>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawProduct {
    pub(super) elements: Vec<RawMember>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawMember {
    #[serde(deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) algebraic_type: RawType,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawAccess {
    Public(Nothing),
    Private(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawTableType {
    System(Nothing),
    User(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawLifecycle {
    Init(Nothing),
    OnConnect(Nothing),
    OnDisconnect(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) enum RawAlgorithm {
    BTree(Vec<u16>),
    Hash(Vec<u16>),
    Direct(u16),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawIndex {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "optional")]
    pub(super) accessor_name: Option<String>,
    pub(super) algorithm: RawAlgorithm,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawConstraint {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) data: RawConstraintData,
}

#[derive(Debug, Deserialize)]
pub(super) enum RawConstraintData {
    Unique(RawUnique),
}

#[derive(Debug, Deserialize)]
pub(super) struct RawUnique {
    pub(super) columns: Vec<u16>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSequence {
    #[serde(alias = "source_name", deserialize_with = "optional")]
    pub(super) name: Option<String>,
    pub(super) column: u16,
    #[serde(deserialize_with = "optional")]
    pub(super) start: Option<Wide>,
    #[serde(deserialize_with = "optional")]
    pub(super) min_value: Option<Wide>,
    #[serde(deserialize_with = "optional")]
    pub(super) max_value: Option<Wide>,
    pub(super) increment: Wide,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawScopedName {
    pub(super) scope: Vec<String>,
    #[serde(alias = "source_name")]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawTypeName {
    #[serde(alias = "source_name")]
    pub(super) name: RawScopedName,
    pub(super) ty: u32,
    #[serde(rename = "custom_ordering")]
    _custom_ordering: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawSecurity {
    pub(super) sql: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawView {
    #[serde(alias = "source_name")]
    pub(super) name: String,
    #[serde(rename = "index")]
    _index: u32,
    pub(super) is_public: bool,
    pub(super) is_anonymous: bool,
    pub(super) params: RawProduct,
    pub(super) return_type: RawType,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModuleV9 {
    pub(super) typespace: Typespace,
    pub(super) tables: Vec<TableV9>,
    pub(super) reducers: Vec<ReducerV9>,
    pub(super) types: Vec<RawTypeName>,
    pub(super) misc_exports: Vec<ExportV9>,
    pub(super) row_level_security: Vec<RawSecurity>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TableV9 {
    pub(super) name: String,
    pub(super) product_type_ref: u32,
    pub(super) primary_key: Vec<u16>,
    pub(super) indexes: Vec<RawIndex>,
    pub(super) constraints: Vec<RawConstraint>,
    pub(super) sequences: Vec<RawSequence>,
    #[serde(deserialize_with = "optional")]
    pub(super) schedule: Option<ScheduleV9>,
    pub(super) table_type: RawTableType,
    pub(super) table_access: RawAccess,
}

#[derive(Debug, Deserialize)]
pub(super) struct ScheduleV9 {
    #[serde(rename = "name", deserialize_with = "optional")]
    _name: Option<String>,
    reducer_name: String,
    scheduled_at_column: u16,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReducerV9 {
    pub(super) name: String,
    pub(super) params: RawProduct,
    #[serde(deserialize_with = "optional")]
    pub(super) lifecycle: Option<RawLifecycle>,
}

#[derive(Debug, Deserialize)]
pub(super) enum ExportV9 {
    ColumnDefaultValue(DefaultV9),
    Procedure(ProcedureV9),
    View(RawView),
}

#[derive(Debug, Deserialize)]
pub(super) struct DefaultV9 {
    pub(super) table: String,
    pub(super) col_id: u16,
    #[serde(rename = "value")]
    _value: Bytes,
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcedureV9 {
    pub(super) name: String,
    pub(super) params: RawProduct,
    pub(super) return_type: RawType,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModuleV10 {
    pub(super) sections: Vec<SectionV10>,
}

#[derive(Debug, Deserialize)]
pub(super) enum SectionV10 {
    Typespace(Typespace),
    Types(Vec<RawTypeName>),
    Tables(Vec<TableV10>),
    Reducers(Vec<ReducerV10>),
    Procedures(Vec<ProcedureV10>),
    Views(Vec<RawView>),
    Schedules(Vec<ScheduleV10>),
    LifeCycleReducers(Vec<LifecycleV10>),
    RowLevelSecurity(Vec<RawSecurity>),
    CaseConversionPolicy(CasePolicy),
    ExplicitNames(ExplicitNames),
    HttpHandlers(Vec<HttpHandler>),
    HttpRoutes(Vec<HttpRoute>),
    ViewPrimaryKeys(Vec<ViewPrimaryKey>),
    Submodules(Vec<Submodule>),
}

/// The sections above by name: a newer server may answer with more, which is no reason to understand nothing.
pub(super) const SECTIONS: [&str; 15] = [
    "Typespace",
    "Types",
    "Tables",
    "Reducers",
    "Procedures",
    "Views",
    "Schedules",
    "LifeCycleReducers",
    "RowLevelSecurity",
    "CaseConversionPolicy",
    "ExplicitNames",
    "HttpHandlers",
    "HttpRoutes",
    "ViewPrimaryKeys",
    "Submodules",
];

#[derive(Debug, Deserialize)]
pub(super) struct TableV10 {
    pub(super) source_name: String,
    pub(super) product_type_ref: u32,
    pub(super) primary_key: Vec<u16>,
    pub(super) indexes: Vec<RawIndex>,
    pub(super) constraints: Vec<RawConstraint>,
    pub(super) sequences: Vec<RawSequence>,
    pub(super) table_type: RawTableType,
    pub(super) table_access: RawAccess,
    pub(super) default_values: Vec<DefaultV10>,
    pub(super) is_event: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct DefaultV10 {
    pub(super) col_id: u16,
    #[serde(rename = "value")]
    _value: Bytes,
}

impl DefaultV9 {
    pub(super) fn of_column(&self) -> DefaultV10 {
        DefaultV10 { col_id: self.col_id, _value: Bytes }
    }
}

#[derive(Debug, Deserialize)]
pub(super) enum Visibility {
    Private(Nothing),
    ClientCallable(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) struct ReducerV10 {
    pub(super) source_name: String,
    pub(super) params: RawProduct,
    pub(super) visibility: Visibility,
    #[serde(rename = "ok_return_type")]
    _ok: RawType,
    #[serde(rename = "err_return_type")]
    _err: RawType,
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcedureV10 {
    pub(super) source_name: String,
    pub(super) params: RawProduct,
    pub(super) return_type: RawType,
    pub(super) visibility: Visibility,
}

#[derive(Debug, Deserialize)]
pub(super) struct ScheduleV10 {
    #[serde(rename = "source_name", deserialize_with = "optional")]
    _source_name: Option<String>,
    pub(super) table_name: String,
    pub(super) schedule_at_col: u16,
    pub(super) function_name: String,
}

impl ScheduleV9 {
    pub(super) fn of_table(self, table: &str) -> ScheduleV10 {
        ScheduleV10 {
            _source_name: None,
            table_name: table.to_owned(),
            schedule_at_col: self.scheduled_at_column,
            function_name: self.reducer_name,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct LifecycleV10 {
    pub(super) lifecycle_spec: RawLifecycle,
    pub(super) function_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) enum CasePolicy {
    None(Nothing),
    SnakeCase(Nothing),
}

#[derive(Debug, Deserialize)]
pub(super) struct ExplicitNames {
    pub(super) entries: Vec<ExplicitName>,
}

#[derive(Debug, Deserialize)]
pub(super) enum ExplicitName {
    Table(NameMapping),
    Function(NameMapping),
    Index(NameMapping),
}

#[derive(Debug, Deserialize)]
pub(super) struct NameMapping {
    pub(super) source_name: String,
    pub(super) canonical_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HttpHandler {
    #[serde(rename = "source_name")]
    _source_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HttpRoute {
    pub(super) handler_function: String,
    pub(super) method: HttpMethods,
    pub(super) path: String,
}

#[derive(Debug, Deserialize)]
pub(super) enum HttpMethods {
    Any(Nothing),
    Method(HttpMethod),
}

#[derive(Debug, Deserialize)]
pub(super) enum HttpMethod {
    Get(Nothing),
    Head(Nothing),
    Post(Nothing),
    Put(Nothing),
    Delete(Nothing),
    Connect(Nothing),
    Options(Nothing),
    Trace(Nothing),
    Patch(Nothing),
    Extension(String),
}

#[derive(Debug, Deserialize)]
pub(super) struct ViewPrimaryKey {
    #[serde(rename = "view_source_name")]
    _view: String,
    #[serde(rename = "columns")]
    _columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Submodule {
    pub(super) namespace: String,
    pub(super) module: ModuleV10,
}

#[derive(Deserialize)]
enum Opt<T> {
    #[serde(rename = "some")]
    Some(T),
    #[serde(rename = "none")]
    None(Nothing),
}

fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(match Opt::deserialize(from)? {
        Opt::Some(value) => Some(value),
        Opt::None(_) => None,
    })
}

/// A number of 128 bits: whole in BSATN, in JSON rounded by the reader once 64 bits are not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide(pub(super) i128);

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Wide;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Wide, E> {
                Ok(Wide(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Wide, E> {
                Ok(Wide(number.into()))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Wide, E> {
                Ok(Wide(number))
            }

            #[expect(
                clippy::cast_possible_truncation,
                reason = "out of range it saturates, which is near enough"
            )]
            fn visit_f64<E>(self, number: f64) -> Result<Wide, E> {
                Ok(Wide(number as i128))
            }
        }
        from.deserialize_i128(Number)
    }
}

/// Bytes nobody looks at: an array in BSATN, a text or an array in JSON.
#[derive(Debug)]
pub(super) struct Bytes;

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, _: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes)
            }

            fn visit_str<E>(self, _: &str) -> Result<Bytes, E> {
                Ok(Bytes)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Bytes, A::Error> {
                while elements.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Bytes)
            }
        }
        from.deserialize_byte_buf(Any)
    }
}
